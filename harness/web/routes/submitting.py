"""Uploading, planning, submitting, cancelling, marking: what changes something. Each leaves a line in the audit log."""

from __future__ import annotations

import re
import tempfile
from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from harness.executor.planner import BatchPlan
from harness.files import write_atomic
from harness.service import BatchStatus
from harness.spec.accounts import Token
from harness.spec.errors import NotFoundError, UsageError
from harness.spec.matrix import Matrix
from harness.spec.wire import Ask, Cancelled, Exclude, Marked, Planned, Submit, Tagged, Tags, Uploaded
from harness.store.base import RunFilter
from harness.web.admission import admitted
from harness.web.site import Site, operator, site_of, submitter
from harness.web.uploads import take_in

router = APIRouter(prefix="/v1")
Submitter = Annotated[Token, Depends(submitter)]
Operator = Annotated[Token, Depends(operator)]
_PLAN = re.compile(r"b[A-Za-z0-9_-]{1,58}")
_IN_MEMORY = 1024 * 1024


def _note(request: Request, caller: Token, action: str, subject: str) -> None:
    site_of(request).dojo.accounts.record(caller.user, caller.id, action, subject, "ok", request.scope["state"]["request"])


@router.post("/agents", response_model=Uploaded, status_code=201)
async def upload(request: Request, caller: Submitter, name: Annotated[str, Query(max_length=100)]) -> Response:
    """Take in an agent's directory as a tar archive (plain or gzip); `name` is its folder at the archive's top."""
    site = site_of(request)
    site.require_open()
    with tempfile.SpooledTemporaryFile(max_size=_IN_MEMORY) as spool:
        async for piece in request.stream():
            await run_in_threadpool(spool.write, piece)
        spool.seek(0)
        made = await run_in_threadpool(take_in, spool, name, caller, site)
    await run_in_threadpool(_note, request, caller, "upload", made.agent)
    return site.answer(made, 201)


@router.post("/plans", response_model=Planned)
def plan(request: Request, caller: Submitter, ask: Ask) -> Response:
    """Plan a matrix, or runs once more, and check all that can be checked; nothing is started."""
    site = site_of(request)
    if (ask.matrix is None) == (not ask.again):
        raise UsageError("a plan is of a matrix or of runs", hint='{"matrix": {…}} or {"again": ["r…"]}')
    made = _planned(site, caller, ask.matrix) if ask.matrix else _again(site, caller, ask)
    folder = site.folder("plans", caller.user)
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    write_atomic(folder / f"{made.batch}.json", made.model_dump_json().encode())
    _note(request, caller, "plan", made.batch)
    return site.answer({"plan": made.model_copy(update={"agents": {}})})


@router.get("/plans/{batch}/power")
def power(request: Request, caller: Submitter, batch: str) -> Response:
    """Say what the runs of a plan of one's own could show about agents."""
    site = site_of(request)
    return site.answer(site.dojo.power(_kept(site, caller, batch)))


@router.post("/batches", response_model=BatchStatus, status_code=201)
def submit(request: Request, caller: Submitter, ask: Submit) -> Response:
    """Start what was planned (`plan`), or plan and start a `matrix`; within the caller's quota."""
    site = site_of(request)
    site.require_open()
    if (ask.plan is None) == (ask.matrix is None):
        raise UsageError("a submit names a plan or a matrix", hint='{"plan": "b…"} or {"matrix": {…}}')
    found = _kept(site, caller, ask.plan) if ask.plan is not None else _planned(site, caller, ask.matrix or Matrix())
    if not site.dojo.store.batches(RunFilter(batch=found.batch)):
        site.dojo.record_for(found, caller.user)
        _note(request, caller, "submit", found.batch)
    site.wake.set()
    return site.answer(site.dojo.status(found.batch), 201)


@router.post("/cancel/{reference}", response_model=Cancelled)
def cancel(request: Request, caller: Submitter, reference: str) -> Response:
    """End a run, or every run of a batch, for good: one's own, or anybody's as an operator."""
    site = site_of(request)
    found = site.dojo.store.resolve(reference, "any")
    site.entitled(caller, found)
    ended = site.dojo.cancel(found)
    _note(request, caller, "cancel", found)
    return site.answer({"cancelled": ended})


@router.post("/tags/{reference}", response_model=Tagged)
def tag(request: Request, caller: Submitter, reference: str, tags: Tags) -> Response:
    """Put tags on a run or batch and take others off: one's own, or anybody's as an operator."""
    site = site_of(request)
    found = site.dojo.store.resolve(reference, "any")
    site.entitled(caller, found)
    site.dojo.tag([found], tags.add, tags.remove)
    _note(request, caller, "tag", found)
    return site.answer({"id": found})


@router.post("/exclude/{run}", response_model=Marked)
def exclude(request: Request, caller: Operator, run: str, ask: Exclude) -> Response:
    """Leave a run out of comparisons, with the reason. Owners may not: who could would keep his best runs."""
    found = site_of(request).dojo.exclude(run, ask.why)
    _note(request, caller, "exclude", found)
    return site_of(request).answer({"run": found})


@router.post("/include/{run}", response_model=Marked)
def include(request: Request, caller: Operator, run: str) -> Response:
    """Take a run into comparisons again."""
    found = site_of(request).dojo.include(run)
    _note(request, caller, "include", found)
    return site_of(request).answer({"run": found})


def _planned(site: Site, caller: Token, matrix: Matrix) -> BatchPlan:
    return site.dojo.plan_matrix(admitted(matrix, caller, site), executor=site.executor)


def _again(site: Site, caller: Token, ask: Ask) -> BatchPlan:
    runs = [site.dojo.store.resolve(run, "run") for run in ask.again]
    for run in runs:
        site.entitled(caller, run)
    return site.dojo.plan_again(runs, ask.name, executor=site.executor)


def _kept(site: Site, caller: Token, batch: str) -> BatchPlan:
    path = site.folder("plans", caller.user) / f"{batch}.json"
    if not _PLAN.fullmatch(batch) or not path.is_file():
        raise NotFoundError(f"{caller.user} has planned no batch {batch[:60]!r}", hint="plan it first: POST /v1/plans")
    return BatchPlan.model_validate_json(path.read_bytes())
