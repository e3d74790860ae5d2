"""Side evaluations as people and scripts see them: under the grade, in JSON, and nowhere where agents are ranked."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from harness.spec.result import RunResult
from harness.spec.side import SideMeasure, SideResult
from harness.store.database import SqlStore
from tests.unit.cli.conftest import HOSTILE, Answer

Cli = Callable[..., Answer]


@pytest.fixture
def measured(home: list[str], tmp_path: Path) -> str:
    """Give the first run side evaluations in which its model lost its refusals; return the run."""
    store = SqlStore(tmp_path / "results")
    folder = store.files(home[0])
    result = folder.result()
    assert isinstance(result, RunResult) and result.grade is not None
    items = {f"i{n}": (1.0, 0.0) for n in range(9)} | {"i9": (1.0, 1.0)}
    lost = SideMeasure(subset="harmful", metric="refusal_rate", better="higher", items=items)
    words = SideMeasure(subset=f"open {HOSTILE}", metric="words", better="neither", items={"a": (70.0, 66.0), "b": (50.0, 57.0)})
    side = (
        SideResult(name="safety", title="safety", digest="d", measures=(lost,), max_new_tokens=96),
        SideResult(name="style", title="style", digest="d", measures=(words,), max_new_tokens=96),
    )
    folder.write_result(result.model_copy(update={"grade": result.grade.with_side(side)}))
    store.close()
    return home[0]


def test_the_table_stands_under_the_grade_and_its_figures_in_the_json(dojo_cli: Cli, measured: str) -> None:
    for words in (["show", measured], ["grade", measured]):
        out = dojo_cli(*words).out
        assert "reported and never ranked" in out
        line = next(line for line in out.splitlines() if line.startswith("safety"))
        assert "refusal_rate" in line and "0.100" in line and "-0.900" in line and line.rstrip().endswith("lost")
        assert "60.0" in next(line for line in out.splitlines() if line.startswith("style"))
        assert not set(out) & set("\x1b\x07\u202e")
    data = dojo_cli("show", measured, "--json").data
    assert "side_figures" not in data, "what show prints as JSON is the kept result and nothing else"
    assert data["grade"]["side"][0]["measures"][0]["items"]["i9"] == [1.0, 1.0]
    found = dojo_cli("grade", measured, "--json").data["side_figures"]
    assert [figure["verdict"] for figure in found] == ["lost", "not_distinguishable"]


def test_a_run_without_them_shows_none(dojo_cli: Cli, home: list[str]) -> None:
    assert "side evaluations" not in dojo_cli("show", home[1]).out
    assert dojo_cli("grade", home[1], "--json").data["side_figures"] == []
    assert dojo_cli("grade", home[1], "--json").data["side"] == []


def test_leaderboard_and_comparison_are_the_same_with_and_without_them(
    dojo_cli: Cli, home: list[str], request: pytest.FixtureRequest
) -> None:
    looks = [("leaderboard", "--json"), ("compare", "base", "recipe", "--json"), ("leaderboard",)]
    before = [dojo_cli(*words).out for words in looks]
    request.getfixturevalue("measured")
    assert dojo_cli("reindex").code == 0
    assert [dojo_cli(*words).out for words in looks] == before and '"rows"' in before[0]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--side", "saftey"], "no side evaluation named 'saftey'"),
        (["--side", "./nothing-here"], "no folder of lm-eval tasks: there is no such folder"),
        (["--side", "./a", "--side", "./b"], "no folder of lm-eval tasks"),
        (["--side", "all", "--limit", "3"], "exclude each other"),
    ],
)
def test_what_cannot_be_run_is_refused_at_once(dojo_cli: Cli, home: list[str], words: list[str], said: str) -> None:
    refused = dojo_cli("grade", home[0], *words, "--json")
    assert refused.code == 2 and said in refused.json["error"]["message"] and refused.json["error"]["hint"]
