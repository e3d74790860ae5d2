"""The history is what the journal tells, live and after a restart alike."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from ft_agent.history import Chronicle, History, fold
from ft_agent.journal import Journal
from ft_agent.plan import Heat
from ft_agent.thinking import Thought
from ft_cases import a_plan, a_score, an_iteration


def of_an_iteration(number: int, champion: int) -> dict[str, Any]:
    return {"at": 40.0, "champion": champion, "costs": {"submit": 1.0}, "iteration": an_iteration(number).to_json()}


HEAT = Heat((a_plan(knob="a"), a_plan(knob="b")), ((2, 15.0), (1, 60.0)), 2)
RECORDS: list[tuple[str, dict[str, Any]]] = [
    ("submitted", {"number": 0, "at": 0.4, "note": "base"}),
    ("base", {"score": asdict(a_score(0.1)), "speed": 1.5}),
    ("plan", {"number": 1, "plan": a_plan().to_json()}),
    ("speed", {"per_second": 4.0}),
    ("iteration", of_an_iteration(1, 1)),
    ("thought", asdict(Thought("propose", "repaired", "no JSON", 2.0, 900, 80, 2))),
    ("counterfactual", {"number": 2, "plan": a_plan(knob="rate 0.0025").to_json()}),
    ("heat", {"heat": HEAT.to_json()}),
    ("feedback", {"number": 1, "feedback": {"scores": {}}}),
    ("lessons", {"text": "short rows teach the form"}),
    ("submitted", {"number": 1, "at": 41.0, "note": "iteration 1"}),
    ("plan", {"number": 2, "plan": a_plan(knob="a").to_json()}),
]


def test_what_is_appended_is_history_at_once_and_the_same_after_a_restart(tmp_path: Path) -> None:
    chronicle = Chronicle(Journal(tmp_path / "journal.jsonl"))
    for kind, data in RECORDS:
        chronicle.append(kind, **data)
    live = chronicle.history
    assert live == Chronicle(Journal(tmp_path / "journal.jsonl")).history
    assert (live.champion, live.handed_in, live.first_submission, live.next_number) == (1, 1, 0.4, 2)
    assert (live.speed, live.costs, live.at) == (4.0, {"submit": 1.0}, {1: 40.0})
    assert live.base_own == a_score(0.1)
    assert live.open == (2, a_plan(knob="a"))
    assert live.heat == HEAT
    assert live.thoughts == (Thought("propose", "repaired", "no JSON", 2.0, 900, 80, 2),)
    assert live.counterfactuals[2].knob == "rate 0.0025"
    assert live.lessons == "short rows teach the form"
    assert live.iteration(1) == an_iteration(1)
    assert live.iteration(0) is None and live.iteration(None) is None


def test_an_iteration_closes_its_plan() -> None:
    records = [{"kind": kind, **data} for kind, data in RECORDS[:5]]
    assert fold(records).open is None


@pytest.mark.parametrize("kind", ["end", "something of a later version"])
def test_records_that_say_nothing_here_change_nothing(kind: str) -> None:
    assert History().after({"n": 0, "kind": kind, "reason": "x"}) == History()


def test_every_dev_prompt_that_any_evaluation_has_shown_is_remembered() -> None:
    records = [{"kind": "feedback", "number": n, "feedback": {"errors": [{"prompt": f"Say {n}."}]}} for n in (1, 2)]
    assert fold(records).shown == {"Say 1.", "Say 2."}
