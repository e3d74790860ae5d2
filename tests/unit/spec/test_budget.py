import pytest

from harness.spec.budget import Budget, Usage, budget_lines, parse_duration
from harness.spec.errors import UsageError


@pytest.mark.parametrize(
    ("text", "seconds"), [("12h", 43200), ("90m", 5400), ("1h30m", 5400), ("300", 300), ("300s", 300), ("1.5h", 5400), (7, 7)]
)
def test_durations_are_read_in_every_usual_form(text, seconds):
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "h", "12x", "1h-3m", "nan", "12 parsecs"])
def test_what_is_no_duration_is_refused_by_name(text):
    with pytest.raises(ValueError, match="no duration"):
        parse_duration(text)


def test_an_override_changes_only_what_it_names():
    budget = Budget(wall=3600, evaluations=20).override("wall=2h, evaluations=5,cpu=30m")
    assert (budget.wall, budget.evaluations, budget.cpu) == (7200, 5, 1800)


@pytest.mark.parametrize(
    "text", ["wall=-1", "wall=0", "evaluations=-3", "evaluations=x", "speed=9", "wall", "wall=none", "dollars=nan"]
)
def test_a_bad_override_names_the_value_and_the_fix(text):
    with pytest.raises(UsageError) as refused:
        Budget(wall=3600).override(text)
    assert text.split("=")[-1] in refused.value.message and refused.value.hint


def test_an_unlimited_dimension_has_no_rest():
    lines = budget_lines(Budget(wall=10, evaluations=2), Usage(wall=12, evaluations=1, cpu=3))
    assert lines["wall"].left == 0 and lines["evaluations"].left == 1
    assert lines["cpu"].limit is None and lines["cpu"].left is None and lines["cpu"].used == 3


def test_a_negative_duration_is_called_negative():
    with pytest.raises(UsageError, match="negative"):
        Budget(wall=3600).override("wall=-1")


def test_at_full_speed_cpu_seconds_are_wall_seconds_of_busy_cores() -> None:
    assert Budget(wall=2400, cpu=240).at_full_speed(1.0) == 240.0
    assert Budget(wall=2400, cpu=960).at_full_speed(4.0) == 240.0
    assert Budget(wall=300).at_full_speed(1.0) == 300.0 == Budget(wall=300, cpu=900).at_full_speed(1.0)
