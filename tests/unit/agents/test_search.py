"""A search as a whole in virtual time: what it does under load, with a slow grader, a broken one, or one that says no."""

import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from fake_api import make_task
from reading.dataset import read_material
from reading.pace import BudgetClock, Stint
from sources import boxed_sources
from where import AGENTS

from harness.session import dojo_tool

sys.path.insert(0, str(AGENTS / "search"))

import search
from evaluations import Evaluations
from reading.run import Run

PARAMS = {"trial_share": 0.06, "min_trial_s": 15, "max_trial_s": 900, "final_share": 0.55, "max_length": 512}


@dataclass
class World:
    """A machine with ``load`` processes on each core, and the harness beside it; time passes only by work."""

    task: dict[str, Any]
    load: float = 1.0
    wall_limit: float = 2400.0
    cpu_limit: float | None = 240.0
    evaluation_s: float = 25.0  # on a quiet machine
    evaluations: int = 8
    values: Callable[[Path], float] = lambda path: 0.5
    wall: float = 0.0
    cpu: float = 0.0
    used: int = 0
    submissions: list[str] = field(default_factory=list)
    refused: tuple[str, ...] = ()
    trained: list[tuple[str, float]] = field(default_factory=list)  # name, CPU-seconds

    def work(self, cpu: float) -> None:
        self.cpu += cpu
        self.wall += cpu * self.load

    def api_task(self) -> dict[str, Any]:
        return self.task

    def budget(self) -> dict[str, Any]:
        def line(limit: float | None, used: float) -> dict[str, float | None]:
            return {"limit": limit, "used": used, "left": None if limit is None else max(0.0, limit - used)}

        return {
            "wall": line(self.wall_limit, self.wall),
            "cpu": line(self.cpu_limit, self.cpu),
            "evaluations": line(self.evaluations, self.used),
        }

    def submit(self, path: str, note: str) -> None:
        if Path(path).name in self.refused:
            raise dojo_tool.ApiError("invalid_submission", "it holds no weights")
        self.submissions.append(Path(path).name)

    def evaluate(self, path: str, note: str) -> dict[str, Any]:
        self.used += 1
        return {"scores": {"primary": {"value": self.values(Path(path))}}}

    def note(self, text: str) -> None:
        return

    def wait(self, answered: threading.Event, at_most: float) -> bool:
        """Wait for the grader, which has a share of the machine like everybody."""
        if self.evaluation_s * self.load > at_most:
            self.wall += at_most
            return False
        assert answered.wait(30)
        self.wall += self.evaluation_s * self.load
        return True

    def train(self, model: Any, tokenizer: Any, pairs: Any, settings: Any, *, stint: Stint, seed: int, out: Path) -> object:
        """Take the stint's time, as `train_adapter` does."""
        by_clock = stint["seconds"] if stint["clock"] == "cpu" else stint["seconds"] / self.load
        cpu = min(by_clock, stint["wall_at_most"] / self.load)
        self.work(cpu)
        self.trained.append((out.name, cpu))
        out.mkdir(parents=True)
        return object()


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    world = World(make_task(boxed_sources(tmp_path / "data"), "/nowhere"))

    def load(path: str) -> tuple[object, object]:
        world.work(10.0)
        return object(), object()

    monkeypatch.setattr(search, "load_model", load)
    monkeypatch.setattr(search, "train_adapter", world.train)
    return world


def played(world: World, work: Path) -> search.Search:
    """Do a whole search in ``world``."""
    world.work(5.0)  # imports

    class Api:
        task, budget, submit, evaluate, note = (
            staticmethod(f) for f in (world.api_task, world.budget, world.submit, world.evaluate, world.note)
        )

    run = Run("search", api=Api(), work=work, params=PARAMS, seed=0)
    run.clock = BudgetClock(world.budget(), cores=1.0, wall=lambda: world.wall, cpu=lambda: world.cpu)
    made = search.Search(run, read_material(world.task), Evaluations(run, wait=world.wait))
    made.search()
    made.finish()
    return made


def test_most_of_the_time_goes_into_the_final_training(world: World, tmp_path: Path) -> None:
    played(world, tmp_path / "work")
    final = dict(world.trained)["final"]
    assert final > 0.5 * 240.0 and final > sum(cpu for name, cpu in world.trained if name != "final")
    assert len(world.trained) >= 4 and world.submissions == ["base", "000", "final"]
    assert world.cpu < 240.0


def test_under_four_times_the_load_a_search_by_cpu_seconds_does_the_very_same(world: World, tmp_path: Path) -> None:
    played(world, tmp_path / "quiet")
    quiet, submitted = world.trained, world.submissions
    world.load, world.wall, world.cpu, world.used = 4.0, 0.0, 0.0, 0
    world.trained, world.submissions = [], []
    played(world, tmp_path / "loaded")
    assert world.trained == quiet and world.submissions == submitted
    assert world.wall < 2400.0


@pytest.mark.parametrize("load", [1.0, 4.0, 8.0])
def test_by_wall_time_it_ends_in_time_with_a_final_training_however_slow_the_machine(
    world: World, tmp_path: Path, load: float
) -> None:
    world.cpu_limit, world.wall_limit, world.load = None, 300.0, load
    played(world, tmp_path / "work")
    assert world.submissions[-1] == "final" and world.wall < 300.0
    assert dict(world.trained)["final"] * load > 0.3 * 300.0


def test_a_grader_that_never_answers_costs_patience_and_not_the_final_training(world: World, tmp_path: Path) -> None:
    world.evaluation_s = 10**6
    hold = threading.Event()
    world.values = lambda path: 0.5 if hold.wait(60) else 0.0
    made = played(world, tmp_path / "work")
    hold.set()
    assert [t.value for t in made.trials] == [None] and "no score within" in made.trials[0].why
    assert world.submissions == ["base", "000", "final"] and world.wall < 2400.0


def test_a_grader_that_always_breaks_leaves_what_was_trained(world: World, tmp_path: Path) -> None:
    def broken(path: Path) -> float:
        raise dojo_tool.ApiError("grader", "its sandbox died")

    world.values = broken
    made = played(world, tmp_path / "work")
    assert len(made.trials) == search.MOST_BROKEN and world.submissions == ["base", "000", "final"]


def test_one_failed_evaluation_costs_one_trial(world: World, tmp_path: Path) -> None:
    def once(path: Path) -> float:
        if path.name == "001":
            raise dojo_tool.ApiError("grader", "its sandbox died")
        return 0.5

    world.values = once
    made = played(world, tmp_path / "work")
    assert [t.value for t in made.trials[:3]] == [0.5, None, 0.5]


def test_a_score_that_is_no_number_is_none(world: World, tmp_path: Path) -> None:
    world.values = lambda path: float("nan")
    made = played(world, tmp_path / "work")
    assert {t.value for t in made.trials} == {None} and made.best is None


def test_the_best_trial_is_handed_in_when_it_is_known_and_again_where_the_final_training_is_worse(
    world: World, tmp_path: Path
) -> None:
    world.values = lambda path: {"001": 0.7, "final": 0.4}.get(path.name, 0.5)
    made = played(world, tmp_path / "work")
    assert world.submissions == ["base", "000", "001", "final", "001"]
    assert made.best is not None and made.best.number == 1
    assert (tmp_path / "work" / "trials" / "001").is_dir() and not (tmp_path / "work" / "trials" / "002").exists()


def test_what_the_harness_does_not_take_is_not_the_best(world: World, tmp_path: Path) -> None:
    world.values = lambda path: {"001": 0.7}.get(path.name, 0.5)
    world.refused = ("001", "final")
    made = played(world, tmp_path / "work")
    assert world.submissions == ["base", "000"] and made.best is not None and made.best.number == 0


def test_a_setting_that_breaks_costs_its_trial(world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def narrow(*args: Any, out: Path, **more: Any) -> object:
        if out.name == "000":
            raise MemoryError("no room")
        return world.train(*args, out=out, **more)

    monkeypatch.setattr(search, "train_adapter", narrow)
    made = played(world, tmp_path / "work")
    assert made.trials[0].why == "MemoryError: no room" and world.submissions[:2] == ["base", "001"]


def test_without_evaluations_it_is_one_training_by_the_recipes_settings(world: World, tmp_path: Path) -> None:
    world.evaluations = 0
    played(world, tmp_path / "work")
    assert world.submissions == ["base", "final"] and dict(world.trained)["final"] > 0.8 * 240.0


def test_with_no_time_the_base_model_stays(world: World, tmp_path: Path) -> None:
    world.cpu_limit = 30.0
    played(world, tmp_path / "work")
    assert world.submissions == ["base"]
