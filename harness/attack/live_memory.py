"""Attacks from a live sandbox on the memory of the harness, which all runs of a batch share (row 35)."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import secrets
import threading
import time
import tracemalloc
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from harness.attack.base import Attack, Play, Where, stopped
from harness.attack.ground import Ground
from harness.attack.live_api import Served, attack_spec, memory_given_back_mb, memory_mb, served
from harness.export.atif import Story, write_trajectory
from harness.gateway.ledger import Ledger
from harness.gateway.server import GatewayContext, GatewayServer
from harness.gateway.upstreams.base import Answer, Call
from harness.sandbox.base import Relay, Sandbox
from harness.sandbox.contract.promise import PATIENCE_S, expect
from harness.sandbox.runtime import runtime_root
from harness.session.story import story_of
from harness.spec.backbone import Backbone
from harness.spec.budget import Budget
from harness.spec.event import Event, FileMoved
from harness.store.run_dir import RunDir

_ROW = 35
# What one run may cost the harness, all of its channels together.
MOST_MB = 64
# What an innocent run beside it may be kept waiting, seconds; generous, for loaded machines.
_MOST_DELAY_S = 5.0
# Opens connections, sends on each what its group says, reads nothing, and holds all until the time is over. argv: JSON, a list of
# [port, connections, head, body, times the body is repeated, tail], and the seconds.
_HOLD = """
import json, selectors, socket, sys, time
groups, seconds = json.loads(sys.argv[1]), float(sys.argv[2])
until, chosen, sent = time.monotonic() + seconds, selectors.DefaultSelector(), 0
kept = []
for port, count, head, body, times, tail in groups:
    many = "".join(body.replace("%", str(n)) for n in range(times)) if "%" in body else body * times
    many = (many + tail).encode()
    size = len(many) + len(head[1].encode()) if head[2] is None else head[2]
    data = memoryview((head[0].replace("\\n", "\\r\\n").replace("SIZE", str(size)) + head[1]).encode() + many)
    for _ in range(count):
        connection = socket.socket()
        try:
            connection.settimeout(0.2)
            connection.connect(("127.0.0.1", port))
            connection.setblocking(False)
            chosen.register(connection, selectors.EVENT_WRITE, [data, 0])
        except OSError:
            break
while time.monotonic() < until:
    for key, _ in chosen.select(0.2):
        data, at = key.data
        try:
            key.data[1] = at + key.fileobj.send(data[at : at + (1 << 18)])
            sent += key.data[1] - at
            if key.data[1] == len(data):
                chosen.unregister(key.fileobj)
                kept.append(key.fileobj)
        except BlockingIOError:
            pass
        except OSError:
            chosen.unregister(key.fileobj)
    if not chosen.get_map():
        time.sleep(0.2)
print(sent >> 20)
"""


@dataclass(frozen=True)
class Held:
    """Connections that send something and read nothing.

    Attributes:
        port: inside.
        connections: how many.
        call: method and path.
        body: what is repeated.
        times: how often.
        announced: length of the body; None says what it is.
        more: further header lines.
        around: what stands before and after the repeated part.
    """

    port: int
    connections: int
    call: str
    body: str = ""
    times: int = 1
    announced: int | None = None
    more: tuple[str, ...] = ()
    around: tuple[str, str] = ("", "")
    unfinished: bool = False

    def told(self, token: str) -> list[Any]:
        """Return it as `_HOLD` reads it."""
        lines = [f"{self.call} HTTP/1.1", "Host: x", f"Authorization: Bearer {token}", "Content-Length: SIZE", *self.more]
        end = "" if self.unfinished else "\n\n"
        return [
            self.port, self.connections, ["\n".join(lines) + end, self.around[0], self.announced],
            self.body, self.times, self.around[1],
        ]  # fmt: skip


API, LLM = 7788, 7789
# A quarter of a megabyte on either stream, one letter of it wide: the most that an answer can be.
_LONG = "python3 -c \"import sys; t = 'a' * 262000 + '\\U0001f600'; sys.stdout.write(t); sys.stderr.write(t)\""
UNREAD = Held(API, 60, "POST /v1/exec", json.dumps({"command": _LONG}))
# What decodes into the most: an empty list is two letters here and seventy bytes there. More of them than are taken, and as many.
VALUES = Held(API, 40, "POST /v1/note", "[],", 340_000, around=('{"text": "", "data": [', "1]}"))
LISTS = Held(API, 40, "POST /v1/note", '{"%":[]},', 6_500, around=('{"text": "", "data": [', "1]}"))
VARIABLES = Held(API, 40, "POST /v1/exec", '"a%":"b%",', 19_500, around=('{"command": "sleep 4", "env": {', '"x":""}}'))
INPUT = Held(API, 40, "POST /v1/exec", "0", 990_000, around=('{"command": "sleep 4", "stdin": "\U0001f600', '"}'))
FILES = Held(API, 30, "PUT /v1/files?path=/workspace/held", "0", 6 << 20, announced=62 << 20)
_HEADERS = tuple(f"X-{n}: " + "h" * 150 for n in range(180))
WAITING = Held(API, 128, "GET /v1/task", more=_HEADERS, announced=0, unfinished=True)
_CHAT, _BEGIN = "POST /v1/chat/completions", '{"model": "m", "max_tokens": 9, "messages": ['
_SAID = '{"role": "user", "content": "%s"}'
LLM_VALUES = Held(LLM, 40, _CHAT, "[],", 19_500, around=(_BEGIN, "1]}"))
LLM_TURNS = Held(LLM, 60, _CHAT, _SAID % "0" + ",", 13_000, around=(_BEGIN, _SAID % "0" + "]}"))
LLM_LETTERS = Held(LLM, 40, _CHAT, "0", 1_000_000, around=(_BEGIN + '{"role": "user", "content": "\U0001f600', '"}]}'))
LLM_LARGE = Held(LLM, 40, _CHAT, "0", 5 << 20, around=(_BEGIN + _SAID % "\U0001f600" + '], "user": "', '"}'))
LLM_WAITING = Held(LLM, 256, _CHAT, more=_HEADERS, announced=0, unfinished=True)


class _Silent:
    """An upstream that takes calls and never answers: every call is held as long as its client holds it."""

    async def send(self, call: Call) -> Answer:
        """Wait."""
        await asyncio.Event().wait()
        raise AssertionError("not reached")

    async def probe(self) -> None:
        """Work."""

    async def close(self) -> None:
        """Hold nothing."""


@contextlib.contextmanager
def _served(ground: Ground, room: int = 0) -> Iterator[Served]:
    """A run's API and its gateway, served to a live sandbox, with one token; with so much room, where it is not their own."""
    folder = runtime_root() / f"attack-{os.getpid()}-{secrets.token_hex(4)}"
    folder.mkdir(mode=0o700)
    socket = folder / "llm.sock"
    try:
        with served(ground, also=[Relay(LLM, socket)]) as at:
            context = GatewayContext(
                backbone=Backbone(upstream="openai", model="m", concurrency=64),
                name="silent",
                upstream=_Silent(),
                budget=Budget(wall=600),
                ledger=Ledger(),
                emit=lambda payload: None,
                elapsed=lambda: 0.0,
                recording=ground.folder() / "llm",
            )
            gateway = GatewayServer(context, socket, at.token, lambda error: None)
            if room:
                at.server.make_room(room)
                gateway.make_room(room)
            try:
                yield at
            finally:
                gateway.close()
    finally:
        socket.unlink(missing_ok=True)
        folder.rmdir()


def measured(sandbox: Sandbox, token: str, held: Sequence[Held], seconds: float = 5.0) -> tuple[float, float, int]:
    """Return by how many MB the harness grew, its longest pause in seconds, and how many MB were sent."""
    before = peak = memory_given_back_mb()
    longest, ended = 0.0, threading.Event()

    def watch() -> None:
        nonlocal peak, longest
        last = time.monotonic()
        while not ended.wait(0.01):
            now = time.monotonic()
            peak, longest, last = max(peak, memory_mb()), max(longest, now - last), now

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        argv = ["python3", "-c", _HOLD, json.dumps([group.told(token) for group in held]), str(seconds)]
        result = sandbox.exec(argv, timeout_s=4 * PATIENCE_S)
    finally:
        ended.set()
        watcher.join()
    expect(result.ok, result)
    return peak - before, longest, int(result.stdout)


def _hold(ground: Ground, held: Sequence[Held], room: int = 0, seconds: float = 5.0) -> str:
    with _served(ground, room) as at:
        grown, longest, sent = measured(at.sandbox, at.token, held, seconds)
    connections = sum(group.connections for group in held)
    said = f"{connections} connections sent {sent} MB and read nothing: the harness grew by {grown:.0f} MB"
    stopped(grown < MOST_MB, said)
    stopped(longest < _MOST_DELAY_S, f"others waited {longest:.1f} s")
    return f"{said}, others waited {longest:.2f} s at most"


def _held(*groups: Held) -> Play:
    return lambda ground: _hold(ground, groups)


def _held_in_wide_rooms(*groups: Held) -> Play:
    def held(ground: Ground) -> str:
        _hold(ground, groups, room=4 << 30, seconds=8.0)
        return _hold(ground, groups, room=4 << 30, seconds=40.0)  # a busy machine takes in less in a time

    return held


_OF_COMMANDS = (UNREAD, VARIABLES, INPUT)
_OF_BODIES = (VALUES, LISTS)
_OF_THE_GATEWAY = (LLM_TURNS, LLM_VALUES, LLM_LETTERS, LLM_LARGE, LLM_WAITING)
# Calls that an agent makes for nothing, and letters of the path that each one names: held in memory, they are beyond what a run
# may cost, and fewer calls with longer names cost the suite less than more with shorter ones.
_RECORDED, _NAMED = 20_000, 3_000


def _recorded(ground: Ground) -> RunDir:
    """A run whose agent has called and called."""
    run = RunDir.create(ground.folder() / "run", attack_spec())
    moved = FileMoved(op="write", path="/workspace/" + "x" * _NAMED, bytes=1)
    now = datetime.now(UTC)
    with run.events_path.open("w", encoding="utf-8") as out:
        for number in range(_RECORDED):
            out.write(Event(seq=number, kind=moved.kind, data=moved, time=now).model_dump_json() + "\n")
    return run


def _told(run: RunDir, story: Callable[[], Story]) -> str:
    tracemalloc.start()
    try:
        steps = write_trajectory(run.trajectory_path, story())
        most = tracemalloc.get_traced_memory()[1] / 1_048_576
    finally:
        tracemalloc.stop()
    stopped(most < MOST_MB, f"{most:.0f} MB for {_RECORDED} events")
    return f"the trajectory of {_RECORDED} events ({steps} steps are told) takes {most:.0f} MB"


def _end_dearly(ground: Ground) -> str:
    run = _recorded(ground)
    return _told(run, lambda: story_of(attack_spec(), run, None))


def _end_with_all_in_memory(ground: Ground) -> str:
    run = _recorded(ground)
    return _told(run, lambda: Story(attack_spec(), list(run.events())))


ATTACKS = (
    Attack(
        _ROW, "leaves-answers-unread", Where.SANDBOX,
        "have 60 commands answer with all they may and read nothing, with 19,500 variables each, with a megabyte of input each",
        "output stays bytes until it is written to a file; bodies and their values have room of their own, and wait for it",
        _held(*_OF_COMMANDS), _held_in_wide_rooms(*_OF_COMMANDS),
    ),
    Attack(
        _ROW, "sends-many-small-values", Where.SANDBOX,
        "send bodies of a megabyte of empty lists and objects, forty at once",
        "values are counted before any is built; more are refused, and those that are taken have room of their own",
        _held(*_OF_BODIES),
    ),
    Attack(
        _ROW, "fills-the-gateway", Where.SANDBOX,
        "hold calls to a backbone that does not answer: many turns, many values, wide letters, large images, endless headers",
        "a call is charged for what its body becomes, and waits for room",
        _held(*_OF_THE_GATEWAY), _held_in_wide_rooms(LLM_TURNS),
    ),
    Attack(
        _ROW, "does-all-at-once", Where.SANDBOX,
        "all of that together, on every connection that there is, with unfinished files",
        "all rooms of a run together are less than what it may cost",
        _held(LLM_TURNS, UNREAD, LLM_LETTERS, VARIABLES, FILES, LLM_LARGE, INPUT, LISTS, WAITING, LLM_WAITING),
    ),
    Attack(
        _ROW, "makes-its-end-dear", Where.ARTEFACT,
        f"call {_RECORDED} times for nothing, so that telling the run's story fills the memory",
        "events are told from the file, never held; steps are told up to a number",
        _end_dearly, _end_with_all_in_memory,
    ),
)  # fmt: skip
