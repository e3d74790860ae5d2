"""Attacks in a live agent phase on its end: time after the deadline (row 34)."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import NamedTuple

from harness.attack.base import Attack, NotStopped, Where, stopped
from harness.attack.ground import Ground
from harness.attack.phase import Phase, python_of_an_agent, standing
from harness.sandbox.contract.promise import LIMITS
from harness.session.agent_phase import AgentPhase, WarmEvaluator
from harness.session.api import ApiContext
from harness.session.end import AgentEnd
from harness.spec.agent import AgentConfig
from harness.spec.budget import Budget
from harness.spec.event import EventKind

_WALL_S, _CPU_S = 5.0, 2.0
# how much later than its end a busy machine may let it be seen alive: measuring and killing take moments
_LATE_S = 1.5
# Hands in a folder that takes long to copy (files that are written through to the harness's disk one by one) a moment before its
# end, while a process that left the tree writes the time into the file that is copied last. More commands are under way than run
# at once, so that those that wait have their turn when the others are killed. A moment is ten times what a call takes just now:
# what has not reached the harness by the end was not handed in before it. argv: how it ends.
_LATE = """
import os, sys, threading, time
import dojo_tool
api, end = dojo_tool.Client(), sys.argv[1]
os.makedirs("out")
for number in range(1800):
    with open(f"out/a{number:04}", "w") as file:
        file.write("x")
with open("out/b", "wb") as file:
    for _ in range(64):
        file.write(bytes(1 << 20))
weights, beat = (os.open(name, os.O_CREAT | os.O_WRONLY) for name in ("out/z", "beat"))
def beats():
    while True:
        now = b"%020.6f" % time.time()
        os.pwrite(weights, now, 0)
        os.pwrite(beat, now, 0)
        time.sleep(0.005)
def escaped(body):
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            body()
        os._exit(0)
    os.wait()
def burn():
    while True:
        pass
def many(body):
    for _ in range(20):
        threading.Thread(target=body, daemon=True).start()
    time.sleep(600)
def moment():
    asked = time.monotonic()
    left = api.budget()
    return left, 0.3 + 10 * (time.monotonic() - asked)
escaped(beats)
escaped(lambda: many(lambda: api.exec(["sleep", "600"])))
if end == "exit":
    escaped(lambda: api.submit("/workspace/out"))
    time.sleep(moment()[1])
    sys.exit(0)
while True:
    left, needed = moment()
    if left[end]["left"] <= needed:
        break
    for _ in range(100_000):
        pass
threading.Thread(target=burn, daemon=True).start()
api.submit("/workspace/out")
"""
_HELD = {"cpu": "the CPU budget", "wall": "the wall budget", "exit": "the exit of its program"}


class _Lived(NamedTuple):
    """How long after its end an agent lived, how much later its submission was written (seconds), and what is left of it."""

    longer: float
    newer: float
    taken: int
    left: int


def _end_of(phase: Phase, end: str) -> datetime:
    """Return when it was over."""
    if end == "wall":
        return phase.of_kind(EventKind.CLOCK_STARTED)[0].time + timedelta(seconds=_WALL_S)
    kind = EventKind.BUDGET_EXHAUSTED if end == "cpu" else EventKind.AGENT_EXITED
    found = phase.of_kind(kind)
    if not found:
        raise NotStopped(f"it did not end by {_HELD[end]}: {[event.kind.value for event in phase.run.events()]}")
    return found[0].time


def _live_on(ground: Ground, end: str, kind: type[AgentPhase]) -> _Lived:
    config = AgentConfig(name="attacker", command=(*python_of_an_agent(_LATE), end))
    budget = Budget(wall=_WALL_S if end == "wall" else 60, cpu=_CPU_S if end == "cpu" else None)
    with standing(ground, config, {}, limits=LIMITS, budget=budget) as phase:
        phase.site.build()
        phase.site.create_sandboxes()
        phase.play(kind)
        over = _end_of(phase, end).timestamp()
        task, _ = phase.site.attach_sandboxes()
        beat = float(task.read_file("/workspace/beat"))
        taken = [path / "z" for path in phase.run.submissions.iterdir()] if phase.run.submissions.exists() else []
        written = max((float(path.read_text()) for path in taken), default=over)
        return _Lived(beat - over, written - over, len(taken), task.usage().processes)


def _live_after(ground: Ground, kind: type[AgentPhase] = AgentPhase) -> str:
    said = []
    for end, what in _HELD.items():
        lived = _live_on(ground, end, kind)
        stopped(lived.longer < _LATE_S, f"after {what} it lived for {lived.longer:.1f} s")
        stopped(lived.newer < _LATE_S, f"after {what} it wrote for {lived.newer:.1f} s into what was handed in")
        stopped(lived.left == 0, f"after {what} {lived.left} processes were left, or came")
        stopped(lived.taken == 1, f"what was handed in before {what} was not taken")
        said.append(f"after {what} it lived for {max(0.0, lived.longer):.2f} s")
    return f"{'; '.join(said)}; what was handed in before is as it was then"


class _LetsItLive(AgentPhase):
    """As it would be if calls were answered to their end before anything is killed."""

    def _end_agent(self) -> None:
        pass

    def _context(self, evaluator: WarmEvaluator) -> ApiContext:
        return replace(super()._context(evaluator), end=AgentEnd())


def _live_after_where_it_may(ground: Ground) -> str:
    return _live_after(ground, _LetsItLive)


ATTACKS = (
    Attack(
        34, "lives-after-the-deadline", Where.SANDBOX,
        "hand in a folder that takes long to copy a moment before the end, write into it from outside the tree meanwhile, and "
        "have more commands wait than run at once",
        "the agent is dead first; what it handed in is then copied from where nothing runs any more",
        _live_after, _live_after_where_it_may,
    ),
)  # fmt: skip
