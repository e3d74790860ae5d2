"""Attacks from a live sandbox on the agent API's own server: memory and disk of the harness (row 25)."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import json
import os
import secrets
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from harness.attack.base import Attack, Where, stopped
from harness.attack.ground import Ground
from harness.sandbox.base import Relay, Sandbox
from harness.sandbox.contract.promise import LIMITS, PATIENCE_S, expect
from harness.sandbox.runtime import runtime_root
from harness.session.api import ApiContext, SessionApi
from harness.session.clock import BudgetClock
from harness.session.journal import Journal
from harness.session.server import ApiServer
from harness.session.told import EVENTS_BYTES, Told
from harness.spec.agent import AgentConfig
from harness.spec.budget import Budget, Usage
from harness.spec.errors import DojoError, GraderFailure
from harness.spec.run import AgentRef, BaseModelRef, RunSpec, TaskRef
from harness.spec.submission import SubmissionReport
from harness.spec.task import Generation, Limits
from harness.spec.verdict import Verdict
from harness.store.run_dir import RunDir

_PORT = 7788
# Sixty commands at once have more than the promises' sandbox gives, and what is asked here is what they cost outside.
_ROOMY = LIMITS.model_copy(update={"memory_mb": 2048})
_MB = 1024 * 1024
_CONNECTIONS, _BODY_MB = 40, 15
# what one run may cost the harness; all bodies together would take ten times as much
_MEMORY_MB = 64
_EVENTS_MB = 8
# Sends bodies that never end on many connections and holds them; argv: token, connections, MB of each.
_HOLD = """
import socket, sys, threading, time
token, connections, size = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]) << 20
lines = ("PUT /v1/files?path=/workspace/held HTTP/1.1", "Host: x", f"Authorization: Bearer {token}", f"Content-Length: {size}")
head = "".join(line + "\\r\\n" for line in (*lines, ""))
until, piece, sent = time.monotonic() + 4, bytes(1 << 20), [0] * connections
def hold(number):
    with socket.create_connection(("127.0.0.1", 7788)) as connection:
        connection.sendall(head.encode())
        connection.settimeout(0.5)
        while time.monotonic() < until:
            try:
                if sent[number] < size - len(piece):
                    sent[number] += connection.send(piece)
                else:
                    time.sleep(0.2)
            except TimeoutError:
                pass
            except OSError:
                return
threads = [threading.Thread(target=hold, args=(number,)) for number in range(connections)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
print(sum(sent) >> 20)
"""
# Writes notes of 60 kB until 60 are refused or 600 are taken; argv: token.
_NOTES = """
import http.client, json, sys
taken = refused = 0
body = json.dumps({"text": "x" * 60_000})
while taken < 600 and refused < 60:
    connection = http.client.HTTPConnection("127.0.0.1", 7788, timeout=60)
    connection.request("POST", "/v1/note", body, {"Authorization": f"Bearer {sys.argv[1]}"})
    ok = connection.getresponse().status == 200
    taken, refused = taken + ok, refused + (not ok)
    connection.close()
print(json.dumps([taken, refused]))
"""


@dataclass(frozen=True)
class Served:
    """A run's API, served to a live sandbox."""

    sandbox: Sandbox
    run: RunDir
    server: ApiServer
    token: str


def attack_spec() -> RunSpec:
    """Return the plan of a run that is only attacked."""
    return RunSpec(
        id="attack",
        batch="attack",
        agent=AgentRef(config=AgentConfig(name="attacker", command=("true",)), digest="-"),
        task=TaskRef(id="attack/api", profile="mini", digest="-", data_digest="-"),
        base_model=BaseModelRef(name="none", digest="-"),
        seed=0,
        budget=Budget(wall=600),
        limits=Limits(),
        generation=Generation(),
        sandbox="-",
    )


class _NothingScored:
    """These attacks hand nothing in."""

    def check(self, folder: Path) -> SubmissionReport:
        """Say that there is no grader here."""
        raise GraderFailure("nothing is scored here")

    def score(self, folder: Path) -> tuple[Verdict, dict[str, str]]:
        """Say that there is no grader here."""
        raise GraderFailure("nothing is scored here")


@contextlib.contextmanager
def served(
    ground: Ground,
    events_bytes: int = EVENTS_BYTES,
    on_error: Callable[[Journal], Callable[[DojoError], None]] | None = None,
    also: Sequence[Relay] = (),
) -> Iterator[Served]:
    """Serve the API of a run to a live sandbox, whose relays lead to it and to what else is served.

    ``on_error`` makes what is told of errors out of the run's journal.
    """
    spec = attack_spec()
    run = RunDir.create(ground.folder() / "run", spec)
    socket = runtime_root() / f"attack-{os.getpid()}-{secrets.token_hex(4)}" / "api.sock"
    socket.parent.mkdir(mode=0o700)
    token = secrets.token_urlsafe(24)
    try:
        with ground.stage.new(limits=_ROOMY, relays=[Relay(_PORT, socket), *also]) as sandbox:
            journal = Journal(run, lambda state: None)
            told = Told(journal, events_bytes)
            place = ApiContext(
                spec=spec,
                run=run,
                journal=journal,
                clock=BudgetClock(spec.budget, datetime.now(UTC)),
                sandbox=sandbox,
                evaluator=_NothingScored(),
                task_view={},
                dev_items={},
                show_answers=False,
                usage=Usage,
                told=told,
            )
            server = ApiServer(
                SessionApi(place), socket, token, on_error(journal) if on_error else partial(told.fault, "agent API")
            )
            try:
                yield Served(sandbox, run, server, token)
            finally:
                server.close()
    finally:
        socket.unlink(missing_ok=True)
        socket.parent.rmdir()


def memory_mb() -> float:
    """Return what this process holds, the harness of the run."""
    fields = Path("/proc/self/statm").read_text().split()
    return int(fields[1]) * os.sysconf("SC_PAGE_SIZE") / _MB


def memory_given_back_mb() -> float:
    """Return the same once what is free has gone back to the kernel: later growth would else go into it unseen."""
    gc.collect()
    with contextlib.suppress(AttributeError):  # musl has no such call and gives back by itself
        ctypes.CDLL(None).malloc_trim(0)
    return memory_mb()


def _hold_bodies(at: Served) -> str:
    before = peak = memory_given_back_mb()
    ended = threading.Event()

    def watch() -> None:
        nonlocal peak
        while not ended.wait(0.02):
            peak = max(peak, memory_mb())

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        argv = ["python3", "-c", _HOLD, at.token, str(_CONNECTIONS), str(_BODY_MB)]
        result = at.sandbox.exec(argv, timeout_s=2 * PATIENCE_S)
    finally:
        ended.set()
        watcher.join()
    expect(result.ok, result)
    stopped(peak - before < _MEMORY_MB, f"the harness grew by {peak - before:.0f} MB, {int(result.stdout)} MB were sent")
    return f"{_CONNECTIONS} bodies of {_BODY_MB} MB held at once: the harness grew by {max(0.0, peak - before):.0f} MB"


def _bodies_in_turn(ground: Ground) -> str:
    with served(ground) as at:
        said = _hold_bodies(at)
        answer = at.sandbox.exec(["sh", "-c", "test -e held && echo half"], timeout_s=PATIENCE_S)
        stopped(answer.stdout == b"", "a body that broke off was written as if it were whole")
        return said


def _bodies_all_at_once(ground: Ground) -> str:
    with served(ground) as at:
        at.server.make_room(_CONNECTIONS * _BODY_MB * _MB)
        return _hold_bodies(at)


def _write_notes(at: Served) -> str:
    started = time.monotonic()
    result = at.sandbox.exec(["python3", "-c", _NOTES, at.token], timeout_s=4 * PATIENCE_S)
    expect(result.ok, result)
    taken, refused = json.loads(result.stdout)
    size = at.run.events_path.stat().st_size / _MB
    stopped(refused > 0 and size < _EVENTS_MB + 1, f"{taken} notes, {size:.0f} MB of events, none refused")
    return f"after {taken} notes the rest was refused; events stay at {size:.1f} MB ({time.monotonic() - started:.0f} s)"


def _notes_without_end(ground: Ground) -> str:
    """With a cap of 8 MB; a run's is larger."""
    with served(ground, _EVENTS_MB * _MB) as at:
        return _write_notes(at)


def _notes_without_a_cap(ground: Ground) -> str:
    with served(ground, 1 << 40) as at:
        return _write_notes(at)


ATTACKS = (
    Attack(
        25, "holds-large-bodies", Where.SANDBOX,
        "open many connections to the API and hold a large unfinished body on each, to fill the harness's memory",
        "large bodies take turns, one at a time",
        _bodies_in_turn, _bodies_all_at_once,
    ),
    Attack(
        25, "fills-the-events", Where.SANDBOX,
        "write notes without end, to fill the harness's disk",
        "what is not metered is recorded up to a cap",
        _notes_without_end, _notes_without_a_cap,
    ),
)  # fmt: skip
