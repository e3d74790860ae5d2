"""What becomes of calls that are under way when the agent's time ends; harness/attack plays it in real sandboxes."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest

from harness.sandbox.scripted import ScriptedSandbox
from harness.session.api import SessionApi
from harness.session.clock import BudgetClock
from harness.session.end import AgentEnd
from harness.spec.errors import BudgetExhausted
from harness.spec.event import EventKind
from tests.unit.session.test_api import World, task_sandbox

OUT = {"path": "/workspace/out"}
CONFIG = "/workspace/out/dojo.json"


class SlowlyRead(ScriptedSandbox):
    """A sandbox in which something happens while a folder is read for the first time."""

    meanwhile: Callable[[], None] | None = None

    def archive(self, path: str, **options: Any) -> Iterator[bytes]:
        read = list(super().archive(path, **options))
        meanwhile, self.meanwhile = self.meanwhile, None
        if meanwhile is not None:
            meanwhile()
        yield from read


class Ending:
    """A run whose agent's time is about to end."""

    def __init__(self, world: World) -> None:
        self.sandbox = SlowlyRead(task_sandbox().spec, files=task_sandbox().files)
        self.end, self.now = AgentEnd(), 0.0
        self.run, self.journal = world.run, world.journal
        clock = BudgetClock(world.run.spec().budget, world.run.spec().created, monotonic=lambda: self.now, now=self._created)
        self.api = SessionApi(replace(world.api._context, sandbox=self.sandbox, clock=clock, end=self.end))

    def _created(self) -> Any:
        return self.run.spec().created

    def at_the_end(self, dead: bool) -> None:
        """Let the time be over while a folder is read, and the agent write on until it is dead."""
        self.now = 10_000.0
        self.sandbox.files["/workspace/out/later"] = b"by the end"
        self.end.tell(dead=dead)


@pytest.fixture
def ending(tmp_path):
    world = World(tmp_path)
    yield Ending(world)
    world.close()


def submitted(ending: Ending) -> list[str]:
    return sorted(path.name for path in (ending.run.submissions / "1").iterdir())


def test_what_is_handed_in_before_the_end_is_copied_from_where_nothing_runs_any_more(ending):
    ending.sandbox.meanwhile = lambda: ending.at_the_end(dead=True)
    assert ending.api.submit(OUT, "k")["submission"] == 1
    assert submitted(ending) == ["dojo.json", "later"]  # the second reading, whole
    with pytest.raises(BudgetExhausted):
        ending.api.submit(OUT, "another")


def test_it_is_refused_where_the_agent_may_live(ending):
    ending.sandbox.meanwhile = lambda: ending.at_the_end(dead=False)
    with pytest.raises(BudgetExhausted):
        ending.api.submit(OUT, "k")
    assert not [event for event in ending.run.events() if event.kind is EventKind.SUBMIT]
    assert not list(ending.run.private.glob("incoming-*"))


def test_what_was_read_before_the_end_counts_as_it_was_read(ending):
    scorer = ending.api._context.evaluator

    class EndsWhileItChecks:
        def check(self, folder: Any) -> Any:
            ending.at_the_end(dead=True)
            return scorer.check(folder)

    ending.api._context = replace(ending.api._context, evaluator=EndsWhileItChecks())
    assert ending.api.submit(OUT, "k")["submission"] == 1 and submitted(ending) == ["dojo.json"]


@pytest.mark.parametrize("call", ["evaluate", "validate"])
def test_what_is_not_handed_in_is_not_read_beyond_the_end(ending, call):
    ending.sandbox.meanwhile = lambda: ending.at_the_end(dead=True)
    with pytest.raises(BudgetExhausted):
        ending.api.evaluate(OUT, "k") if call == "evaluate" else ending.api.validate(OUT)
    assert ending.journal.record.evaluations == ()


def test_nothing_is_written_after_the_end(ending):
    ending.end.tell(dead=True)
    with ending.api.spool(10) as spool:
        spool.write(b"late")
        with pytest.raises(BudgetExhausted):
            ending.api.write_file("/workspace/out/late", spool)
    assert "/workspace/out/late" not in ending.sandbox.files


def test_the_first_word_on_the_end_counts():
    end = AgentEnd()
    assert not end.over
    end.tell(dead=True)
    end.tell(dead=False)
    assert end.over and end.await_death()
