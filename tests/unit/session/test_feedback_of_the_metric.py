"""What an evaluation says of dev is about the task's own metric: its interval, its sub-sets, its change. Agents steer by it."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest

from harness.session.feedback import make_feedback
from harness.spec.feedback import Feedback
from harness.spec.verdict import ItemScore, Verdict
from harness.taskkit.scoring.contract import TaskGrader, load_grader
from harness.taskkit.scoring.scores import aggregate, pseudo_values

TASKS = Path(__file__).resolve().parents[3] / "tasks"
CODES = ("ALLOW", "102", "103")


def noc_row(number: int) -> dict[str, Any]:
    return {"prior_art_specifications": "[]", "answer": {"code": CODES[number % 5 % 3]}}


def par_row(number: int) -> dict[str, Any]:
    return {"options": {}, "gold_answers": ["A", "C"] if number % 3 else ["B"], "silver_answers": []}


def err_row(number: int) -> dict[str, Any]:
    return {"context": {}, "is_correct": number % 4 > 0}


def aime_row(number: int) -> dict[str, Any]:
    return {"question": "?", "answer": str(number % 3)}


# A task with what an item's row is and what a model may say to it.
F1 = {
    "patent/noc4pc": (noc_row, [f'{{"code": "{code}"}}' for code in CODES] + ["?"]),
    "patent/par4pc": (par_row, ['{"answer": ["A"]}', '{"answer": ["A", "C"]}', '{"answer": ["B", "D"]}', "?"]),
    "biology/err": (err_row, ['{"correct": true}', '{"correct": false}', "?"]),
}
MEAN = {"math/aime25": (aime_row, [f"\\boxed{{{n}}}" for n in range(3)])}
ALL = F1 | MEAN
SIZE = 60


def evaluated(task: str, seed: int, earlier: list[dict[str, Any]] | None = None) -> tuple[Feedback, Verdict, TaskGrader]:
    grader, (row, answers) = load_grader(TASKS / task), ALL[task]
    rng, subset = random.Random(seed), next(iter(load_grader(TASKS / task).subset_metrics))
    items = {f"d{n:02d}": {"id": f"d{n:02d}", "subset": subset, "row": row(n), "prompt": "?", "gold": "?"} for n in range(SIZE)}
    found = {name: grader.score(item["row"], rng.choice(answers), subset) for name, item in items.items()}
    scored = tuple(ItemScore(id=n, subset=subset, parsed=a.parsed, score=a.score, value=a.value) for n, a in found.items())
    rows = {name: item["row"] for name, item in items.items()}
    verdict = Verdict(split="dev", scores=aggregate(scored, grader, "metric", rows), items=scored)
    known: dict[str, Any] = {"number": len(earlier or []) + 1, "left": 1, "responses": {}, "earlier": earlier or []}
    told = make_feedback(**known, verdict=verdict, items=items, show_answers=True, max_new_tokens=16, grader=grader)
    return told, verdict, grader


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("task", ALL)
def test_the_interval_holds_the_figure_and_the_sub_set_s_figure_is_its_own_metric(task: str, seed: int) -> None:
    told, verdict, grader = evaluated(task, seed)
    assert told.primary.low <= told.primary.value <= told.primary.high
    assert told.primary.value == verdict.scores.primary.value
    for name, part in told.subsets.items():
        assert part.value == verdict.scores.subsets[name][grader.subset_metrics[name]]
        assert part.low <= part.value <= part.high


@pytest.mark.parametrize("task", F1)
def test_the_interval_is_the_metric_s_and_not_the_share_of_right_items(task: str) -> None:
    told, verdict, _ = evaluated(task, 3)
    share = sum(item.score for item in verdict.items) / SIZE
    assert abs(share - told.primary.value) > 0.01, "the case must tell them apart"
    middle = (told.primary.low + told.primary.high) / 2
    assert abs(middle - told.primary.value) < abs(middle - share)


@pytest.mark.parametrize("task", ALL)
def test_the_change_is_of_the_metric_with_its_own_error_and_items_are_won_by_their_scores(task: str) -> None:
    first, before, grader = evaluated(task, 1)
    second, after, _ = evaluated(task, 2, [first.model_dump(mode="json")])
    change = second.since_last
    assert change is not None
    assert change.difference == pytest.approx(after.scores.primary.value - before.scores.primary.value)
    gaps = [b.score - a.score for a, b in zip(before.items, after.items, strict=True)]
    assert (change.wins, change.losses, change.ties) == (sum(g > 0 for g in gaps), sum(g < 0 for g in gaps), gaps.count(0))
    rows = {f"d{n:02d}": ALL[task][0](n) for n in range(SIZE)}
    shares = [{i.id: i.score for i in v.items} | pseudo_values(v.items, grader, rows) for v in (before, after)]
    paired = [shares[1][name] - shares[0][name] for name in rows]
    mean = sum(paired) / SIZE
    assert change.standard_error == pytest.approx((sum((p - mean) ** 2 for p in paired) / (SIZE - 1) / SIZE) ** 0.5)


@pytest.mark.parametrize(("task", "some"), [*((task, True) for task in F1), *((task, False) for task in MEAN)])
def test_shares_in_the_metric_are_told_where_they_are_not_the_item_scores(task: str, some: bool) -> None:
    told, _, _ = evaluated(task, 1)
    assert bool(told.pseudo_values) == some and set(told.pseudo_values) <= set(told.item_scores)


def test_an_evaluation_of_an_earlier_version_is_compared_by_its_item_scores() -> None:
    first, _, _ = evaluated("patent/noc4pc", 1)
    old = first.model_dump(mode="json")
    del old["pseudo_values"]
    second, _, _ = evaluated("patent/noc4pc", 2, [old])
    assert second.since_last is not None and second.since_last.standard_error > 0
