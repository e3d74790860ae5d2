"""A double of the façade that asks a service: the same questions, the same values, for the commands and for Python users."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import httpx

from harness.analysis.comparison import Comparison
from harness.analysis.leaderboard import Leaderboard
from harness.executor.planner import BatchPlan
from harness.remote.catalogue import RemoteCatalogue
from harness.remote.client import Client, part
from harness.remote.following import AGAIN, POLL_S, passed_on
from harness.remote.packing import packed
from harness.remote.trajectories import RemoteTrajectories
from harness.service import BatchStatus
from harness.service.kept import Workspace
from harness.service.lists import Found
from harness.spec.errors import MissingError, UsageError
from harness.spec.event import Event
from harness.spec.matrix import Matrix
from harness.spec.result import RunResult
from harness.spec.wire import ENDED_HEADER, Resolved
from harness.store.base import Damage, RunFilter
from harness.store.kept import unpack_into
from harness.store.run_dir import EventListener

# What the service gives at most of a search.
_MOST = 10_000


class RemoteStore:
    """The little that commands ask of a store."""

    def __init__(self, client: Client) -> None:
        self._client = client

    def resolve(self, reference: str, kind: str) -> str:
        """See `harness.store.base.Store`."""
        return self._resolved(reference, kind).id

    def run(self, run: str) -> Resolved:
        """Return what is known of a run beside its result."""
        return self._resolved(run, "run")

    def runs(self, where: RunFilter | None = None) -> list[Any]:
        """Return runs, the oldest first; at most 10,000."""
        body = (where or RunFilter()).model_dump(mode="json")
        found = Found.model_validate(self._client.ask("POST", "/v1/runs/search", json=body, params={"limit": _MOST}))
        return list(reversed(found.runs))

    def batches(self, where: RunFilter | None = None) -> list[Any]:
        """Return batches, the oldest first."""
        body = (where or RunFilter()).model_dump(mode="json")
        return list(self._client.ask("POST", "/v1/batches/search", json=body, params={"limit": 1})["batches"])

    def _resolved(self, reference: str, kind: str) -> Resolved:
        return Resolved.model_validate(self._client.ask("GET", "/v1/resolve", params={"reference": reference, "kind": kind}))


class RemoteDojo(RemoteCatalogue, RemoteTrajectories):
    """What `harness.service.Dojo` does, at a service.

    Args:
        url: of the service.
        token: default ``DOJO_TOKEN``.
        agents: folders of the user's own agents, which are uploaded.
        transport: in place of the network, for tests.
    """

    def __init__(
        self,
        url: str,
        token: str | None = None,
        agents: Sequence[Path] | None = None,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        self.client = Client(url, token, transport)
        self.store = RemoteStore(self.client)
        self._agents = agents

    def plan_matrix(self, matrix: Matrix, **_: Any) -> BatchPlan:
        """Have a matrix planned; agents that are directories of this machine are uploaded first."""
        entries = tuple(entry.model_copy(update={"name": self._uploaded(entry.name)}) for entry in matrix.agents)
        body = matrix.model_copy(update={"agents": entries}).model_dump(mode="json", warnings=False)
        return BatchPlan.model_validate(self.client.ask("POST", "/v1/plans", json={"matrix": body})["plan"])

    def submit(
        self, plan: BatchPlan, *, detach: bool = False, on_event: EventListener | None = None,
        stop: threading.Event | None = None, **_: Any,
    ) -> BatchStatus:  # fmt: skip
        """Start what was planned; without ``detach`` follow it to its end, or until ``stop``: it goes on there."""
        found = BatchStatus.model_validate(self.client.ask("POST", "/v1/batches", json={"plan": plan.batch}))
        if detach:
            return found
        stop, seen = stop or threading.Event(), {run.id: -1 for run in found.runs}
        while not stop.is_set():
            left = list(seen)
            for run in left:
                page = self._page(run, seen[run])
                for event in page[0]:
                    seen[run] = event.seq
                    if on_event:
                        on_event(run, event)
                if page[1]:
                    del seen[run]
            if not seen or stop.wait(POLL_S):
                break
        return self.status(plan.batch)

    def status(self, reference: str | None = None) -> BatchStatus:
        """See `Dojo.status`."""
        return BatchStatus.model_validate(self.client.ask("GET", f"/v1/status/{part(reference or '@last')}"))

    def plan_again(self, runs: Sequence[str], name: str = "", *_: Any, **__: Any) -> BatchPlan:
        """See `Dojo.plan_again`; the service's executor drives them."""
        body = {"again": list(runs), "name": name}
        return BatchPlan.model_validate(self.client.ask("POST", "/v1/plans", json=body)["plan"])

    def power(self, plan: BatchPlan) -> dict[str, Any]:
        """See `Dojo.power`."""
        return dict(self.client.ask("GET", f"/v1/plans/{part(plan.batch)}/power"))

    def tag(self, references: Sequence[str], add: Sequence[str] = (), remove: Sequence[str] = ()) -> list[str]:
        """See `Dojo.tag`."""
        body = {"add": list(add), "remove": list(remove)}
        return [str(self.client.ask("POST", f"/v1/tags/{part(each)}", json=body)["id"]) for each in references]

    def exclude(self, run: str, why: str) -> str:
        """See `Dojo.exclude`; for operators."""
        return str(self.client.ask("POST", f"/v1/exclude/{part(run)}", json={"why": why})["run"])

    def include(self, run: str) -> str:
        """See `Dojo.include`; for operators."""
        return str(self.client.ask("POST", f"/v1/include/{part(run)}", json={})["run"])

    def report(self, batch: str | None = None, *_: Any, **__: Any) -> str:
        """See `Dojo.report`."""
        return str(self.client.ask("GET", f"/v1/report/{part(batch or '@last')}")["markdown"])

    def damaged(self, batch: str | None = None) -> list[Damage]:
        """Not told by a service beyond what its report says."""
        return []

    def plots(self, *_: Any, **__: Any) -> list[Path]:
        """Not drawn by a service."""
        raise UsageError("a service draws no plots", hint="leave --plots out, or draw them on its machine")

    def find_runs(self, where: RunFilter | None = None, limit: int | None = None, sizes: bool = False) -> Found:
        """See `Dojo.find_runs`; at most 10,000."""
        return self._search("runs", where, limit, sizes)

    def find_batches(self, where: RunFilter | None = None, limit: int | None = None, sizes: bool = False) -> Found:
        """See `Dojo.find_batches`; at most 10,000."""
        return self._search("batches", where, limit, sizes)

    def show(self, run: str) -> RunResult:
        """See `Dojo.show`; single hidden items are not told."""
        return RunResult.model_validate(self.client.ask("GET", f"/v1/runs/{part(run)}"))

    def cancel(self, reference: str) -> list[str]:
        """See `Dojo.cancel`."""
        return list(self.client.ask("POST", f"/v1/cancel/{part(reference)}")["cancelled"])

    def leaderboard(self, task: str | None = None, batch: str | None = None) -> Leaderboard:
        """See `Dojo.leaderboard`."""
        return Leaderboard.model_validate(self.client.ask("GET", "/v1/leaderboard", params=_given(task=task, batch=batch)))

    def compare(self, a: str, b: str, task: str | None = None, batch: str | None = None, mix: bool = False) -> Comparison:
        """See `Dojo.compare`."""
        params = _given(a=a, b=b, task=task, batch=batch, mix=mix)
        return Comparison.model_validate(self.client.ask("GET", "/v1/compare", params=params))

    def files(self, run: str) -> Workspace:
        """See `Dojo.files`."""
        return Workspace.model_validate(self.client.ask("GET", f"/v1/runs/{part(run)}/files"))

    def file(self, run: str, name: str) -> bytes:
        """See `Dojo.file`."""
        return self.client.answer("GET", f"/v1/runs/{part(run)}/file", params={"name": name}).content

    def unpack_files(self, run: str, target: Path, patterns: Sequence[str] = ()) -> dict[str, str]:
        """See `Dojo.unpack_files`."""
        return unpack_into(target, patterns, {each.name: each.bytes for each in self.files(run).files}, lambda names: (
            (name, self.file(run, name)) for name in names
        ))  # fmt: skip

    def events(self, reference: str, follow: bool = False, stop: threading.Event | None = None) -> Iterator[Event]:
        """See `Dojo.events`; a stream that breaks is taken up again after the last event."""
        run, after, stop, broken = self.store.resolve(reference, "run"), -1, stop or threading.Event(), 0
        while not follow:
            found, ended = self._page(run, after)
            yield from found
            if ended or not found:
                return
            after = found[-1].seq
        while not stop.is_set():
            try:
                for kind, data in passed_on(self.client.stream(f"/v1/runs/{run}/events", after), stop):
                    if kind == "end":
                        return
                    if kind != "drain":
                        event = Event.model_validate_json(data)
                        after, broken = event.seq, 0
                        yield event
            except MissingError as exc:
                broken += 1
                if exc.code not in ("server_gone", "full") or broken > AGAIN:
                    raise
            stop.wait(POLL_S)

    def output(
        self, reference: str, stream: str = "stdout", follow: bool = False, stop: threading.Event | None = None
    ) -> Iterator[bytes]:
        """See `Dojo.output`."""
        run, offset, stop = self.store.resolve(reference, "run"), 0, stop or threading.Event()
        while True:
            found = self.client.answer("GET", f"/v1/runs/{run}/output/{part(stream)}", params={"offset": offset})
            offset += len(found.content)
            yield found.content
            if found.headers.get(ENDED_HEADER) == "true" or (not found.content and (not follow or stop.wait(POLL_S))):
                return

    def _page(self, run: str, after: int) -> tuple[list[Event], bool]:
        found = self.client.ask("GET", f"/v1/runs/{run}/events", params={"after": after})
        return [Event.model_validate(event) for event in found["events"]], bool(found["ended"])

    def _search(self, kind: str, where: RunFilter | None, limit: int | None, sizes: bool) -> Found:
        params = {"limit": min(limit or _MOST, _MOST), "sizes": sizes}
        body = (where or RunFilter()).model_dump(mode="json")
        return Found.model_validate(self.client.ask("POST", f"/v1/{kind}/search", json=body, params=params))

    def _uploaded(self, name: str) -> str:
        found = packed(name, self._agents)
        if found is None:
            return name
        folder, archive = found
        with archive:
            said = self.client.ask(
                "POST", "/v1/agents", params={"name": folder}, content=iter(lambda: archive.read(1 << 20), b"")
            )
        return str(said["agent"])


def _given(**params: Any) -> dict[str, Any]:
    return {name: value for name, value in params.items() if value is not None}
