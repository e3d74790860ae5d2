import math
import random

import pytest
from ft_agent.choose import compare, compare_on_dev
from ft_agent.evaluate import dev_score
from ft_agent.plan import Score


def scores(values: list[float]) -> dict[str, float]:
    return {f"i{n}": v for n, v in enumerate(values)}


def test_the_standard_error_is_that_of_the_paired_difference() -> None:
    result = compare(scores([1, 1, 1, 0]), scores([0, 1, 0, 0]))
    assert result.difference == pytest.approx(0.5)
    assert result.standard_error == pytest.approx(math.sqrt((4 * 0.25) / 3 / 4))
    assert (result.wins, result.losses, result.items) == (2, 0, 4)
    assert result.replaces


def test_a_lead_within_one_standard_error_does_not_replace_the_champion() -> None:
    result = compare(scores([1, 0, 1, 0, 1, 0, 1, 1, 0, 1]), scores([0, 1, 0, 1, 1, 0, 1, 0, 1, 1]))
    assert result.standard_error > 0
    assert result.difference >= 0
    assert not result.replaces


def test_equal_models_tie_and_the_champion_stays() -> None:
    same = scores([1, 0, 1])
    assert not compare(same, same).replaces


def test_only_shared_items_count() -> None:
    result = compare({"a": 1, "b": 1, "c": 1}, {"b": 0, "c": 0, "d": 1})
    assert result.items == 2


@pytest.mark.parametrize("values", [[], [1.0]])
def test_fewer_than_two_items_show_nothing(values: list[float]) -> None:
    assert not compare(scores(values), scores([0.0] * len(values))).replaces


def test_an_equal_challenger_gets_through_about_one_time_in_six() -> None:
    rng = random.Random(0)
    won = 0
    for _ in range(2000):
        champion = [float(rng.random() < 0.5) for _ in range(60)]
        challenger = [float(rng.random() < 0.5) for _ in range(60)]
        won += compare(scores(challenger), scores(champion)).replaces
    assert 0.12 < won / 2000 < 0.20


@pytest.mark.parametrize(
    ("challenger", "champion", "said"),
    [
        ([1, 1, 1, 1, 0], [0, 0, 0, 0, 0], "ahead by more than the margin"),
        ([0, 0, 0, 0, 0], [1, 1, 1, 1, 0], "behind by more than the margin"),
        ([1, 0, 1, 0, 0], [0, 1, 0, 1, 0], "within the margin"),
        ([1, 0, 1, 0, 1], [0, 1, 0, 1, 0], "within the margin"),
        ([0, 0, 0], [0, 0, 0], "within the margin"),
        ([0.0], [1.0], "within the margin"),
        ([], [], "within the margin"),
    ],
)
def test_it_says_who_is_ahead_and_whether_beyond_the_margin(challenger: list[float], champion: list[float], said: str) -> None:
    result = compare(scores(challenger), scores(champion))
    assert result.describe().endswith(f"{said} of 1 standard error")
    assert result.undecided == said.startswith("within") and result.replaces == said.startswith("ahead")


def test_on_dev_models_are_compared_by_the_metric_and_items_won_by_their_scores() -> None:
    better, worse = {"a": 1.0, "b": 0.0, "c": 1.0}, {"a": 1.0, "b": 1.0, "c": 1.0}
    found = compare_on_dev(
        Score("dev", 0.6, {}, better, shares={"a": 0.9, "b": 0.1, "c": 0.8}),
        Score("dev", 0.4, {}, worse, shares=dict.fromkeys("abc", 0.4)),
    )
    assert found.difference == pytest.approx(0.2) and (found.wins, found.losses) == (0, 1)
    assert compare_on_dev(Score("dev", 0.6, {}, better), Score("dev", 0.4, {}, worse)).difference == pytest.approx(-1 / 3)


@pytest.mark.parametrize(
    ("told", "shares"), [({}, {}), ({"pseudo_values": {}}, {}), ({"pseudo_values": {"a": 1.5}}, {"a": 1.5, "b": 0.0})]
)
def test_a_feedback_s_shares_in_the_metric_are_read_where_it_gives_some(told: dict, shares: dict[str, float]) -> None:
    class Harness:
        def evaluate(self, path: str, note: str) -> dict:
            scored = {"primary": {"value": 0.5}, "parse_rate": 1.0}
            return {"scores": scored, "subsets": {}, "item_scores": {"a": 1.0, "b": 0.0}, **told}

    score, _ = dev_score(Harness(), "model", "note")
    assert score.shares == shares and score.items == {"a": 1.0, "b": 0.0}
