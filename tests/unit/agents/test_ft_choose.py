import math
import random

import pytest
from ft_agent.choose import compare


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
