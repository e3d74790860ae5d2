from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from harness.analysis import stats
from harness.analysis.groups import groups_on, repeated_seeds
from harness.analysis.jackknife import pseudo_values
from harness.analysis.measurement import measurements_from
from harness.analysis.tables import difference_of, score_of, score_table
from harness.spec import Budget, Cause, RunResult
from harness.spec.backbone import BackboneRef, Prices
from harness.spec.errors import UsageError

Build = Callable[..., RunResult]


def test_runs_that_do_not_count_are_left_out_with_the_reason(result: Build) -> None:
    measured = measurements_from(
        [
            result("a", 0, [1, 0]),
            result("a", 1, [1, 0], cause=Cause.AGENT_BUDGET),
            result("a", 2, [1, 0], cause=Cause.SANDBOX, graded=False),
            result("a", 3, [1, 0], cause=Cause.GRADER),
            result("a", 4, [1, 0], graded=False),
        ]
    )
    assert [m.seed for m in measured.measurements] == [0, 1]
    assert [(out.run, out.reason.split()[0]) for out in measured.left_out] == [
        ("r003", "sandbox"),
        ("r004", "grader"),
        ("r005", "not"),
    ]


@pytest.mark.parametrize("graded", [True, False])
def test_a_cheating_run_stands_at_the_base_models_scores(result: Build, graded: bool) -> None:
    subsets = {"i000": "x", "i001": "x", "i002": "y"}
    honest = result("b", 0, [1, 0, 1], subsets=subsets)
    cheat = result("a", 0, [1, 1, 1], subsets=subsets, cause=Cause.AGENT_INTEGRITY, references={"base": 0.25}, graded=graded)
    flagged = measurements_from([honest, cheat]).measurements[1]
    assert flagged.flagged and flagged.primary == 0.25
    assert set(flagged.item_values.values()) == {0.25}
    assert flagged.item_subsets == subsets


def test_a_cheating_run_without_the_bases_items_is_an_error_with_a_remedy(result: Build) -> None:
    with pytest.raises(UsageError, match="r001") as caught:
        measurements_from([result("a", 0, [1, 1], cause=Cause.AGENT_INTEGRITY)])
    assert "dojo grade r001" in caught.value.hint


def test_one_subset_gives_the_item_scores_themselves(result: Build) -> None:
    runs = measurements_from([result("a", s, row) for s, row in enumerate([[1, 0, 1, 0.5], [0, 0, 1, 1]])]).measurements
    assert score_table(runs).tolist() == [pytest.approx([1, 0, 1, 0.5]), pytest.approx([0, 0, 1, 1])]


def test_a_rows_mean_is_the_primary_and_the_item_part_is_the_stratified_variance(result: Build) -> None:
    rng = np.random.default_rng(3)
    subsets = {f"i{n:03d}": "x" if n < 12 else "y" if n < 15 else "z" for n in range(40)}
    runs = measurements_from([result("a", s, rng.random(40), subsets=subsets) for s in range(3)]).measurements
    table = score_table(runs)
    assert table.mean(axis=1) == pytest.approx([m.primary for m in runs])
    raw = np.array([[m.item_values[i] for i in sorted(m.item_values)] for m in runs])
    by_subset = [raw[:, :12], raw[:, 12:15], raw[:, 15:]]
    stratified = sum(g.mean(axis=0).var(ddof=1) / g.shape[1] for g in by_subset) / 9
    items = score_of(runs).parts["items"]
    assert items.variance == pytest.approx(stratified)
    shares = [g.mean(axis=0).var(ddof=1) / g.shape[1] / 9 for g in by_subset]
    assert items.df == pytest.approx(stratified**2 / sum(v**2 / (g.shape[1] - 1) for v, g in zip(shares, by_subset, strict=True)))
    # Run means vary as the mean over sub-sets does, and the residual is the noise of exactly that mean.
    residuals = [g - g.mean(axis=1, keepdims=True) - g.mean(axis=0) + g.mean() for g in by_subset]
    noise = sum((r**2).sum() / (2 * (r.shape[1] - 1)) / r.shape[1] for r in residuals) / 9
    assert stats.run_table(table).residual == pytest.approx(40 * noise)


def test_unequal_subsets_do_not_make_a_constant_lead_look_random(result: Build) -> None:
    subsets = {f"i{n:03d}": "x" if n < 30 else "y" for n in range(35)}
    low = {i: 0.2 if n % 2 else 0.4 for n, i in enumerate(subsets)}
    a = measurements_from([result("a", s, {i: v + 0.3 for i, v in low.items()}, subsets=subsets) for s in range(2)]).measurements
    b = measurements_from([result("b", s, low, subsets=subsets) for s in range(2)]).measurements
    assert np.ptp(score_table(a).mean(axis=0) - score_table(b).mean(axis=0)) < 1e-12


def test_a_subset_at_the_edge_has_a_share_of_the_width(result: Build) -> None:
    subsets = {f"i{n:03d}": "x" if n < 10 else "y" for n in range(30)}
    mixed = [float(n % 2) for n in range(20)]
    a = measurements_from([result("a", s, [0.0] * 10 + mixed, subsets=subsets) for s in range(2)]).measurements
    b = measurements_from([result("b", s, [1.0] * 10 + mixed[::-1], subsets=subsets) for s in range(2)]).measurements
    alone = np.array([0.0] * 10 + [1.0, 0.0]).var(ddof=1) / 12 / 4
    assert score_of(a).parts["items"].variance == pytest.approx(alone + np.var(mixed, ddof=1) / 20 / 4)
    gaps = np.array(mixed) - np.array(mixed[::-1])
    apart = np.array([-1.0] * 10 + [1.0, -1.0]).var(ddof=1) / 12 / 4
    assert difference_of(a, b).parts["items"].variance == pytest.approx(apart + gaps.var(ddof=1) / 20 / 4)


@pytest.mark.parametrize("sizes", [[1, 1, 1], [1, 5, 9], [5, 1], [1, 1, 8]])
def test_subsets_of_one_item_still_give_the_primary_and_a_width(result: Build, sizes: list[int]) -> None:
    names = [f"s{k}" for k, size in enumerate(sizes) for _ in range(size)]
    rng = np.random.default_rng(5)
    subsets = {f"i{n:03d}": name for n, name in enumerate(names)}
    runs = measurements_from([result("a", s, rng.random(len(names)), subsets=subsets) for s in range(2)]).measurements
    table = score_table(runs)
    assert table.mean(axis=1) == pytest.approx([m.primary for m in runs])
    assert score_of(runs).half_width() > 0


def test_several_subsets_without_their_items_are_an_error(result: Build) -> None:
    good = result("a", 0, [1, 0, 1], subsets={"i000": "x", "i001": "x", "i002": "y"})
    assert good.grade is not None
    bad = good.model_copy(update={"grade": good.grade.model_copy(update={"item_subsets": {}})})
    with pytest.raises(UsageError, match="sub-set"):
        measurements_from([bad])


def macro_f1(pairs: list[tuple[str, str]]) -> float:
    classes = ("x", "y", "z")
    hits = {c: sum(g == c and a == c for g, a in pairs) for c in classes}
    named = {c: sum(g == c for g, _ in pairs) + sum(a == c for _, a in pairs) for c in classes}
    return sum(2 * hits[c] / named[c] if named[c] else 0.0 for c in classes) / len(classes)


def test_pseudo_values_of_a_mean_are_the_scores() -> None:
    scores = [0.0, 1.0, 0.25, 0.5]
    assert pseudo_values(scores, lambda s: sum(s) / len(s)) == pytest.approx(scores)
    assert pseudo_values([0.7], lambda s: sum(s) / len(s)) == [0.7]


def test_pseudo_values_estimate_the_spread_of_macro_f1() -> None:
    rng = np.random.default_rng(11)

    def sample() -> list[tuple[str, str]]:
        gold = rng.choice(["x", "y", "z"], 120, p=[0.5, 0.3, 0.2])
        answer = np.where(rng.random(120) < 0.6, gold, rng.choice(["x", "y", "z"], 120))
        return list(zip(gold.tolist(), answer.tolist(), strict=True))

    samples = [sample() for _ in range(300)]
    true_variance = np.var([macro_f1(s) for s in samples])
    estimated = np.mean([np.var(pseudo_values(s, macro_f1), ddof=1) / 120 for s in samples[:40]])
    assert estimated == pytest.approx(true_variance, rel=0.25)


def test_pseudo_values_fill_the_table_around_the_graded_score(result: Build) -> None:
    pairs = [("x", "x"), ("x", "y"), ("y", "y"), ("z", "z"), ("z", "x"), ("y", "y")]
    values = pseudo_values(pairs, macro_f1)
    pseudo = {f"i{n:03d}": v for n, v in enumerate(values)}
    right = [float(g == a) for g, a in pairs]
    measured = measurements_from([result("a", 0, right, primary=macro_f1(pairs), pseudo_values=pseudo)])
    table = score_table(measured.measurements)
    assert not measured.warnings
    assert table.mean() == pytest.approx(macro_f1(pairs))
    assert table.var(ddof=1) == pytest.approx(np.var(values, ddof=1))


def test_a_primary_that_is_no_mean_without_pseudo_values_is_warned_about(result: Build) -> None:
    measured = measurements_from([result("a", 0, [1, 0, 1], primary=0.5)])
    assert len(measured.warnings) == 1 and "macro_f1 is not the mean" in measured.warnings[0]


def test_runs_on_different_items_are_refused_with_both_digests(result: Build) -> None:
    runs = measurements_from([result("a", 0, {"p": 1, "q": 0}), result("a", 1, {"p": 1, "r": 0})]).measurements
    with pytest.raises(UsageError) as caught:
        score_table(runs)
    assert all(m.items_digest in caught.value.message for m in runs)


def test_settings_are_kept_apart_and_named_by_what_differs(result: Build) -> None:
    measured = measurements_from([result("a", 0, [1, 0]), result("a", 0, [1, 0], budget=Budget(wall=600))]).measurements
    groups = groups_on("math/sums", measured)
    assert [g.differs for g in groups] == [(), ("budget",)]
    assert [len(g.runs) for g in groups] == [1, 1]
    assert groups[0].runs[0].run == "r002"
    assert len(groups_on("math/sums", measured, mix=True)) == 1


def test_agents_without_a_backbone_stand_beside_each_backbone(result: Build) -> None:
    measured = measurements_from(
        [result("recipe", 0, [1, 0]), result("ft", 0, [1, 1], backbone=mind("x")), result("ft", 0, [0, 1], backbone=mind("y"))]
    ).measurements
    groups = groups_on("math/sums", measured)
    found = [((g.setting.backbone or "").split()[0], sorted(g.agents)) for g in groups]
    assert found == [("y", ["ft", "recipe"]), ("x", ["ft", "recipe"])]


@pytest.mark.parametrize(
    ("changed", "same"),
    [
        ({}, True),
        ({"prices": Prices(input=1, output=2)}, True),
        ({"name": "b"}, False),
        ({"model": "n"}, False),
        ({"max_output": 100}, False),
        ({"digest": "other"}, False),
    ],
)
def test_runs_thought_with_one_backbone_when_upstream_model_and_caps_are_equal(result: Build, changed: Any, same: bool) -> None:
    one, other = mind("a"), mind("a").model_copy(update=changed)
    groups = groups_on(
        "math/sums", measurements_from([result("p", 0, [1], backbone=one), result("q", 0, [1], backbone=other)]).measurements
    )
    assert (len(groups) == 1) is same


def mind(name: str) -> BackboneRef:
    return BackboneRef(name=name, upstream="openai", model="m")


def test_versions_of_an_agent_are_agents_of_their_own(result: Build) -> None:
    measured = measurements_from([result("a", 0, [1, 0]), result("a", 1, [1, 0], version="v2")]).measurements
    names = list(groups_on("math/sums", measured)[0].agents)
    assert len(names) == 2 and all(n.startswith("a@") for n in names)


def test_a_repeated_seed_is_pointed_out(result: Build) -> None:
    runs = measurements_from([result("a", s, [1, 0]) for s in (0, 1, 1)]).measurements
    assert "seed 1 " in repeated_seeds("a", runs)
    assert repeated_seeds("a", runs[:2]) == ""
