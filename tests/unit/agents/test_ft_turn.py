"""One turn: what its planner is shown when the iteration is over."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ft_agent.data import Dataset
from ft_agent.history import Chronicle
from ft_agent.journal import Journal
from ft_agent.plan import Diagnosis, Iteration, Score
from ft_agent.turn import Turn
from ft_agent.view import View
from ft_cases import a_plan, a_view

OLD, NEW = {"errors": [], "evaluation": 1}, {"errors": [], "evaluation": 2}


class Asked:
    """A planner that keeps what it was shown."""

    def diagnose(self, view: View, iteration: Iteration) -> Diagnosis:
        self.feedback = view.feedback
        return Diagnosis((), {})


@pytest.mark.parametrize(("evaluated", "shown"), [(NEW, NEW), (None, OLD)], ids=["evaluated", "not evaluated"])
def test_an_iteration_is_diagnosed_from_its_own_dev_evaluation_where_it_has_one(
    evaluated: dict[str, Any] | None, shown: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    times = SimpleNamespace(used=lambda: 0.0)
    bench: Any = SimpleNamespace(folder=tmp_path, say=lambda _: None, counter=SimpleNamespace(timebook=times))
    planner: Any = Asked()
    turn = Turn(bench, planner, Chronicle(Journal(tmp_path / "journal.jsonl")))
    monkeypatch.setattr(turn, "_validate", lambda plan: (Dataset((), ()), []))
    monkeypatch.setattr(turn, "_train", lambda iteration, *rest: replace(iteration, status="trained"))
    monkeypatch.setattr(turn, "_measure", lambda iteration: iteration)
    monkeypatch.setattr(turn, "_choose", lambda iteration: (iteration, evaluated))
    turn.take(a_plan(), a_view(feedback=OLD))
    assert planner.feedback == shown


class Metered:
    """A counter whose dev evaluations give a score by the folder's name, and count."""

    def __init__(self, left: int, dev: dict[str, float]) -> None:
        self.left, self.dev = left, dev
        self.asked: list[str] = []
        self.submitted: list[int] = []
        self.timebook = SimpleNamespace(used=lambda: 0.0)

    def may_evaluate(self, times: int = 1) -> bool:
        return self.left >= times

    def evaluate(self, path: Path, note: str) -> tuple[Score, dict[str, Any]]:
        self.left -= 1
        self.asked.append(path.parent.name)
        return score("dev", self.dev[path.parent.name]), {"errors": [{"prompt": f"seen by {path.parent.name}"}]}

    def submit(self, path: Path, number: int, note: str) -> bool:
        self.submitted.append(number)
        return True


def score(split: Any, value: float, spread: float = 0.3) -> Score:
    items = {str(n): min(1.0, max(0.0, value + spread * (-1) ** n)) for n in range(40)}
    return Score(split, value, {}, items, items)


@pytest.mark.parametrize(
    ("own", "held_dev", "left", "asked", "replaces"),
    [
        (0.50, None, 8, ["001", "002"], True),  # the own split says nothing: dev is asked about both, and shows it
        (0.49, None, 8, ["001", "002"], True),
        (0.50, 0.30, 8, ["002"], True),  # of the champion it is known already
        (0.50, None, 1, ["002"], False),  # one evaluation is left, and one score alone compares nothing
        (0.50, None, 0, [], False),
        (0.70, None, 8, ["002"], True),  # the own split says it
        (0.20, None, 8, ["002"], False),
    ],
)
def test_what_the_own_split_does_not_tell_apart_is_asked_of_the_metered_one_about_both(
    own: float, held_dev: float | None, left: int, asked: list[str], replaces: bool, tmp_path: Path
) -> None:
    counter = Metered(left, {"001": 0.3, "002": 0.6})
    chronicle = Chronicle(Journal(tmp_path / "journal.jsonl"))
    champion = Iteration(1, a_plan(), "trained", own=score("own", 0.5, 0.2), adapter="iterations/001/adapter")
    champion = replace(champion, dev=score("dev", held_dev) if held_dev else None)
    chronicle.append("iteration", iteration=champion.to_json(), champion=1, costs={}, at=1.0)
    bench: Any = SimpleNamespace(folder=tmp_path, say=lambda _: None, counter=counter)
    turn = Turn(bench, Asked(), chronicle)  # type: ignore[arg-type]
    plan = replace(a_plan(), measure="dev", phase="exploit")
    challenger = Iteration(2, plan, "trained", own=score("own", own), adapter="iterations/002/adapter")

    chosen, feedback = turn._choose(challenger)
    assert counter.asked == asked
    assert chosen.decision.startswith("replaces iteration 1" if replaces else "iteration 1 stays"), chosen.decision
    assert counter.submitted[-1:] == ([2] if replaces else [1])
    if "002" in asked:  # what is shown is the challenger's own
        assert feedback == {"errors": [{"prompt": "seen by 002"}]}
    if asked == ["001", "002"]:  # and is known after a restart
        again = Chronicle(Journal(tmp_path / "journal.jsonl")).history
        assert again == chronicle.history
        held = again.iteration(1)
        assert held and held.dev and held.dev.value == 0.3 and again.shown == {"seen by 001", "seen by 002"}
