from __future__ import annotations

import pytest

from harness.spec import Budget
from harness.spec.measured import Measured, budget_words, duration_words, measured_together, quick_look


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(300, "5m"), (5400, "1h30m"), (43200, "12h"), (90, "1m30s"), (45, "45s"), (0.5, "0.5s"), (86400, "1d"), (90000, "25h")],
)
def test_durations_are_written_as_budgets_are(seconds: float, words: str) -> None:
    assert duration_words(seconds) == words
    assert Budget.model_validate({"wall": words}).wall == seconds


def test_a_budget_names_every_limit_and_nothing_else() -> None:
    assert budget_words(Budget(wall=300, evaluations=8)) == "5m, 8 evaluations"
    whole = Budget(wall=60, evaluations=1, cpu=120, gpu=3600, disk_mb=4096, tokens=1000, dollars=2.5)
    assert budget_words(whole) == "1m, 1 evaluation, cpu 2m, gpu 1h, disk 4096 MB, 1000 tokens, $2.5"


def of(**facts: str) -> Measured:
    plain = {"profile": "mini", "base_model": "smol", "metric": "accuracy", "budget": "5m", "sandbox": "docker"}
    return Measured(**{**plain, **facts})


def test_a_heading_says_all_that_is_known() -> None:
    assert of(dojo_version="0.1.0").heading("math/aime25") == "math/aime25 · mini · smol · accuracy · 5m · docker · dojo 0.1.0"
    assert of(metric="").heading() == "mini · smol · 5m · docker"


def test_what_differs_is_listed_or_counted() -> None:
    assert measured_together([of(), of()]) == of()
    assert measured_together([of(), of(profile="full")]).profile == "mini, full"
    assert measured_together([of(metric="a"), of(metric="b"), of(metric="c")]).metric == "3 metrics"


def test_only_a_cut_run_is_marked() -> None:
    assert quick_look(None) == "" and quick_look(5) == "quick look at 5 items"
