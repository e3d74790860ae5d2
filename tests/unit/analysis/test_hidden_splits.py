"""Runs on different hidden splits never stand side by side, though their items are called the same; public ones are marked."""

from collections.abc import Callable

import pytest

from harness.analysis.compare import compare
from harness.analysis.leaderboard import leaderboard
from harness.spec.errors import UsageError
from harness.spec.result import RunResult
from harness.spec.run import PUBLIC_HIDDEN

Build = Callable[..., RunResult]


def two_secrets(result: Build) -> list[RunResult]:
    mine = [result("a", seed, [1, 0, 1], data="d1", hidden="1" * 16) for seed in range(2)]
    return mine + [result("b", seed, [0, 0, 1], data="d2", hidden="2" * 16) for seed in range(2)]


def test_runs_of_two_secrets_stand_in_two_tables(result: Build) -> None:
    tables = leaderboard(two_secrets(result)).tables()
    assert [[row.agent for row in table.rows] for table in tables] == [["b"], ["a"]]


def test_runs_of_two_secrets_are_not_compared_not_even_when_settings_are_mixed(result: Build) -> None:
    with pytest.raises(UsageError, match="hidden"):
        compare(two_secrets(result), "a", "b")
    with pytest.raises(UsageError, match=f"drawn with {'1' * 16} and with {'2' * 16}"):
        compare(two_secrets(result), "a", "b", mix=True)


def test_a_hidden_split_that_anybody_can_make_is_marked_over_every_table(result: Build) -> None:
    runs = [result(agent, seed, [1, 0], hidden=PUBLIC_HIDDEN) for agent in "ab" for seed in range(2)]
    titles = [table.heading.title for table in leaderboard(runs).tables()]
    assert titles and all("mini · public hidden split · smol" in title for title in titles)
    assert compare(runs, "a", "b").rows[0].hidden == "public hidden split"
    assert not [row for row in leaderboard(two_secrets(result)).rows if row.hidden]
