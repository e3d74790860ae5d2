"""Runs and batches: what there is, where it stands, what happened, what was left."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Header, Query, Request
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response, StreamingResponse

from harness.export.llm_log import LlmLine
from harness.service import BatchStatus
from harness.service.kept import Workspace
from harness.service.lists import Found
from harness.service.trajectories import Talk
from harness.spec.accounts import Role, Token
from harness.spec.errors import MissingError, UsageError
from harness.spec.event import Event
from harness.spec.result import RunResult
from harness.spec.wire import ENDED_HEADER, EVENTS, OUTPUT_BYTES, Events, Resolved
from harness.store.base import Kind, RunFilter
from harness.web.answers import told_event, told_result
from harness.web.site import Site, site_of, viewer

router = APIRouter(prefix="/v1")
Viewer = Annotated[Token, Depends(viewer)]
# The folder is polled: another replica may write it.
_POLL_S = 0.3
# A comment at least so often, so that nothing between takes the stream for dead.
_QUIET_S = 15.0
_MOST = 10_000
# Of a talk, read at once; each may carry a history.
_CALLS = 16


@router.get("/resolve", response_model=Resolved)
def resolve(request: Request, caller: Viewer, reference: Annotated[str, Query(max_length=200)], kind: Kind = "any") -> Response:
    """Turn an id, a unique prefix, @last or a batch's name into an id."""
    store = site_of(request).dojo.store
    found = store.resolve(reference, kind)
    runs = store.runs(RunFilter(runs=(found,)))
    return site_of(request).answer(Resolved(id=found, excluded=runs[0].excluded if runs else ""))


@router.post("/runs/search", response_model=Found)
def find_runs(
    request: Request, caller: Viewer, where: RunFilter, limit: Annotated[int, Query(ge=1, le=_MOST)] = 30, sizes: bool = False
) -> Response:
    """Find runs, the newest first."""
    return site_of(request).answer(site_of(request).dojo.find_runs(where, limit, sizes))


@router.post("/batches/search", response_model=Found)
def find_batches(
    request: Request, caller: Viewer, where: RunFilter, limit: Annotated[int, Query(ge=1, le=_MOST)] = 30, sizes: bool = False
) -> Response:
    """Find batches, the newest first."""
    return site_of(request).answer(site_of(request).dojo.find_batches(where, limit, sizes))


@router.get("/status/{reference}", response_model=BatchStatus)
async def status(request: Request, caller: Viewer, reference: str) -> Response:
    """Say where a batch or a run stands. Of other users' runs the numbers are told, not what their agents wrote."""
    site = site_of(request)

    def whose() -> tuple[str, bool]:
        found = site.dojo.store.resolve(reference, "any")
        return found, caller.role is Role.OPERATOR or site.dojo.owner_of(found) == caller.user

    found, whole = await run_in_threadpool(whose)
    return await site.shared(("status", found, whole), lambda: _status(site, found, whole))


def _status(site: Site, found: str, whole: bool) -> BatchStatus:
    status = site.dojo.status(found)
    if whole:
        return status
    hidden: dict[str, Any] = {"last_event": "", "why": "", "driven_by": None, "outcome": None, "folder": ""}
    runs = tuple(run.model_copy(update=hidden) for run in status.runs)
    return status.model_copy(update={"runs": runs, "damaged": ()})


@router.get("/runs/{run}", response_model=RunResult)
def show(request: Request, caller: Viewer, run: str) -> Response:
    """Return the whole result of one's own run, without what is known of single hidden items."""
    site, run = _own(request, caller, run)
    return site.answer(told_result(site.dojo.show(run)))


@router.get("/runs/{run}/events", response_model=Events)
async def events(
    request: Request,
    caller: Viewer,
    run: str,
    after: Annotated[int, Query(ge=-1)] = -1,
    accept: Annotated[str, Header()] = "",
    last_event_id: Annotated[str, Header()] = "",
) -> Response:
    """Return the events after a number; as a stream (Accept: text/event-stream) until the run ends.

    A stream goes on where `Last-Event-ID` says, ends with an event `end`, and with `drain` where this replica shuts down.
    """
    site, run = await run_in_threadpool(_own, request, caller, run)
    if last_event_id:
        if not last_event_id.isdecimal() or len(last_event_id) > 12:
            raise UsageError(
                f"Last-Event-ID {last_event_id[:40]!r} is no number of an event", hint="send back the id of the last event"
            )
        after = int(last_event_id)
    if "text/event-stream" not in accept:
        found, ended = await run_in_threadpool(_read, site, run, after)
        return site.answer(Events(events=tuple(found), ended=ended))
    _require_stream(site)
    return StreamingResponse(_stream(site, run, after), media_type="text/event-stream")


@router.get("/runs/{run}/output/{stream}", response_class=Response)
def output(
    request: Request, caller: Viewer, run: str, stream: Literal["stdout", "stderr"], offset: Annotated[int, Query(ge=0)] = 0
) -> Response:
    """Return what one's own agent printed from a byte on; the header `dojo-ended` says whether more may come."""
    site, run = _own(request, caller, run)
    ended = site.dojo.store.run(run).state.final
    path = site.dojo.store.files(run).path / f"agent.{stream}"
    data = b""
    if path.is_file():
        with path.open("rb") as source:
            source.seek(offset)
            data = source.read(OUTPUT_BYTES)
    return _bytes(data, {ENDED_HEADER: "true" if ended and len(data) < OUTPUT_BYTES else "false"})


@router.get("/runs/{run}/talk", response_class=Response)
async def talk(
    request: Request, caller: Viewer, run: str, follow: bool = False, skip: Annotated[int, Query(ge=0)] = 0
) -> Response:
    """Return one's own agent's talk with its backbone, a JSON object a line; `null` is the last line of a talk that is whole.

    With `follow` that comes when the run has ended; empty lines come while nothing is said. `skip` leaves out so many calls,
    which were received before.
    """
    site, run = await run_in_threadpool(_own, request, caller, run)
    _require_stream(site)
    told = await run_in_threadpool(site.dojo.talk_of, run)
    return StreamingResponse(_talk(site, told, follow, skip), media_type="application/x-ndjson")


@router.get("/runs/{run}/trajectory", response_class=Response)
def trajectory(request: Request, caller: Viewer, run: str) -> Response:
    """Return what one's own agent did and said, as an ATIF trajectory."""
    site, run = _own(request, caller, run)
    with tempfile.TemporaryDirectory(prefix="dojo-told-") as folder:
        return _bytes(site.dojo.export(run, "atif", Path(folder) / "trajectory.json").path.read_bytes(), {})


@router.get("/runs/{run}/files", response_model=Workspace)
def files(request: Request, caller: Viewer, run: str) -> Response:
    """List what one's own agent left in its workspace."""
    site, run = _own(request, caller, run)
    return site.answer(site.dojo.files(run))


@router.get("/runs/{run}/file", response_class=Response)
def file(request: Request, caller: Viewer, run: str, name: Annotated[str, Query(max_length=4096)]) -> Response:
    """Return one file of that workspace, byte by byte, as something to be saved and never shown."""
    site, run = _own(request, caller, run)
    return _bytes(site.dojo.file(run, name), {})


def _own(request: Request, caller: Token, run: str) -> tuple[Site, str]:
    site = site_of(request)
    found = site.dojo.store.resolve(run, "run")
    site.entitled(caller, found)
    return site, found


def _bytes(data: bytes, headers: dict[str, str]) -> Response:
    return Response(data, media_type="application/octet-stream", headers={"content-disposition": "attachment", **headers})


def _read(site: Site, run: str, after: int) -> tuple[list[Event], bool]:
    ended = site.dojo.store.run(run).state.final  # before the events: what was written by then is read
    found = [told_event(event) for event in islice(site.dojo.store.files(run).events(after + 1), EVENTS)]
    return found, ended and len(found) < EVENTS


def _require_stream(site: Site) -> None:
    if site.streams >= site.limits.streams:
        raise MissingError("too many streams are open here", hint="come again, or ask without a stream", code="full")


@contextmanager
def _counted(site: Site) -> Iterator[None]:
    site.streams += 1
    site.measures.streams.set(site.streams)
    try:
        yield
    finally:
        site.streams -= 1
        site.measures.streams.set(site.streams)


async def _talk(site: Site, talk: Talk, follow: bool, skip: int) -> AsyncIterator[bytes]:
    number, quiet = 0, 0.0
    with _counted(site):
        while not site.draining.is_set():
            lines = talk.read(whole=not follow)
            while some := await run_in_threadpool(_some, lines):
                for line in some:
                    number, quiet = number + 1, 0.0
                    if number > skip:
                        yield site.cleaner.json(line) + b"\n"
            if not follow or talk.ended:
                yield b"null\n"
                return
            if quiet >= _QUIET_S:
                quiet = 0.0
                yield b"\n"
            await asyncio.sleep(_POLL_S)
            quiet += _POLL_S


def _some(lines: Iterator[LlmLine]) -> list[LlmLine]:
    return list(islice(lines, _CALLS))


async def _stream(site: Site, run: str, after: int) -> AsyncIterator[bytes]:
    quiet = 0.0
    with _counted(site):
        while not site.draining.is_set():
            found, ended = await run_in_threadpool(_read, site, run, after)
            for event in found:
                after, quiet = event.seq, 0.0
                yield b"id: %d\nevent: %s\ndata: %s\n\n" % (event.seq, event.kind.value.encode(), site.cleaner.json(event))
            if ended:
                yield b"event: end\ndata: {}\n\n"
                return
            if quiet >= _QUIET_S:
                quiet = 0.0
                yield b": still here\n\n"
            await asyncio.sleep(_POLL_S)
            quiet += _POLL_S
        yield b"event: drain\ndata: {}\n\n"
