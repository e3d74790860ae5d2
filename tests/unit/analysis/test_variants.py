"""Variants of one agent: other parameters, base models, budgets and backbones, told apart by their names."""

from __future__ import annotations

from typing import Any

import pytest

from harness.analysis.compare import compare, compare_all
from harness.analysis.groups import groups_on
from harness.analysis.leaderboard import leaderboard
from harness.analysis.measurement import measurements_from
from harness.analysis.plots import write_plots
from harness.analysis.report import markdown_report
from harness.spec.backbone import BackboneRef
from harness.spec.budget import Budget
from harness.spec.errors import NotFoundError, UsageError
from harness.spec.run import BaseModelRef

GOOD, BAD = [1, 1, 1, 1, 1, 1, 1, 0], [0, 0, 0, 0, 1, 0, 0, 0]


def model(name: str) -> dict[str, Any]:
    return {"base_model": BaseModelRef(name=name, digest=name), "varied": ("base_model",)}


def mind(name: str, digest: str = "") -> BackboneRef:
    return BackboneRef(name=name, upstream="scripted", digest=digest or name)


@pytest.fixture
def ablation(result):
    """Return an agent as it comes and without feedback, three seeds each."""
    return [
        *(result("ft", seed, GOOD) for seed in range(3)),
        *(result("ft", seed, BAD, variant="feedback=false") for seed in range(3)),
    ]


@pytest.fixture
def sizes(result):
    """Return two agents on two base models."""
    found = []
    for name, items in (("small", BAD), ("large", GOOD)):
        for agent in ("ft", "recipe"):
            more = {"variant": f"base_model={name}", "references": {"base": 0.1 if name == "small" else 0.4}, **model(name)}
            found += [result(agent, seed, items, **more) for seed in range(2)]
    return found


def test_variants_are_ranked_and_compared_by_their_names(ablation):
    board = leaderboard(ablation)
    assert [row.agent for row in board.rows] == ["ft", "ft feedback=false"]
    assert all(row.runs == 3 for row in board.rows) and board.warnings == ()
    found = compare(ablation, "ft", "ft feedback=false")
    assert found.rows[0].verdict == "better" and found.warnings == ()


def test_the_report_compares_variants_and_lists_them_by_name(ablation):
    assert [(c.a, c.b) for c in compare_all(ablation)[0]] == [("ft", "ft feedback=false")]
    page = markdown_report("x", ablation)
    assert "ft against ft feedback=false" in page and "6 runs of ft, ft feedback=false on" in page


def test_an_agents_bare_name_stands_for_its_only_variant(result):
    runs = [result(agent, seed, GOOD, variant=variant) for agent, variant in (("ft", "a=1 b=2"), ("base", "")) for seed in (0, 1)]
    assert compare(runs, "ft", "base").a == "ft a=1 b=2"
    assert compare(runs, "ft b=2 a=1", "base").a == "ft a=1 b=2"
    with pytest.raises(NotFoundError, match="ft a=3") as refused:
        compare(runs, "ft a=3", "base")
    assert "ft a=1 b=2" in refused.value.hint


def test_a_bare_name_of_several_variants_is_refused_with_their_names(result):
    runs = [result("ft", seed, GOOD, variant=variant) for variant in ("a=1", "a=2") for seed in (0, 1)]
    with pytest.raises(UsageError, match="ft ran in several variants: ft a=1, ft a=2"):
        compare(runs, "ft", "ft a=1")


def test_variants_that_name_their_base_models_stand_in_one_table_with_each_models_yardsticks(sizes):
    board = leaderboard(sizes)
    (table,) = board.tables()
    assert len(table.rows) == 4 and "large, small" in table.heading.title
    assert {line.name: line.score for line in table.lines} == pytest.approx({"base of large": 0.4, "base of small": 0.1})


def test_variants_on_unlike_base_models_are_compared_because_their_names_say_so(sizes):
    found = compare(sizes, "ft base_model=large", "ft base_model=small")
    assert found.rows[0].base_model == "large, small"
    assert found.warnings == ("math/sums: ft base_model=large and ft base_model=small differ in base_model, as their names say",)
    same = compare(sizes, "ft base_model=large", "recipe base_model=large")
    assert (same.warnings, same.rows[0].base_model) == ((), "large")


def test_a_variant_is_compared_with_a_run_of_another_batch_in_its_very_setting(sizes, result):
    plain = [result("base", seed, BAD, base_model=BaseModelRef(name="small", digest="small")) for seed in (0, 1)]
    found = compare([*sizes, *plain], "ft base_model=small", "base")
    assert found.rows[0].base_model == "small"
    with pytest.raises(UsageError, match="differ in base_model"):
        compare([*sizes, *plain], "ft base_model=large", "base")


def test_runs_that_do_not_name_their_budget_are_still_not_compared_across_budgets(result):
    budgets = {"": Budget(wall=60), "long": Budget(wall=120)}
    runs = [result("ft", seed, GOOD, budget=budget, variant=name) for name, budget in budgets.items() for seed in (0, 1)]
    with pytest.raises(UsageError, match="differ in budget"):
        compare(runs, "ft", "ft long")
    assert len(groups_on("math/sums", measurements_from(runs).measurements)) == 2


def test_variants_of_budget_and_backbone_stand_beside_agents_that_do_not_think(result):
    runs = []
    for wall in (60, 120):
        shared = {"budget": Budget(wall=wall), "varied": ("budget", "backbone")}
        runs += [result("base", seed, BAD, variant=f"wall={wall}", **shared) for seed in (0, 1)]
        for name in ("wise", "fast"):
            more = {"variant": f"backbone={name} wall={wall}", "backbone": mind(name), **shared}
            runs += [result("ft", seed, GOOD, **more) for seed in (0, 1)]
    (table,) = leaderboard(runs).tables()
    assert {row.agent for row in table.rows} == {
        "base wall=60", "base wall=120",
        *(f"ft backbone={name} wall={wall}" for name in ("wise", "fast") for wall in (60, 120)),
    }  # fmt: skip
    found = compare(runs, "ft backbone=wise wall=60", "ft backbone=fast wall=120")
    assert "differ in budget, backbone, as their names say" in found.warnings[0]
    assert compare(runs, "ft backbone=wise wall=60", "base wall=60").rows[0].budget == "1m, 20 evaluations"


def test_the_plots_of_variants_have_files_that_any_system_can_name(ablation, tmp_path):
    names = {path.name for path in write_plots(ablation, tmp_path)}
    assert "compare-ft-ft-feedback=false.svg" in names
