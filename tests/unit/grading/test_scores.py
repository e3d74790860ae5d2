import json
import math
import random

import pytest

from harness.grading.verdict import read_verdict
from harness.spec.errors import GraderFailure
from harness.spec.verdict import ItemScore, Verdict
from harness.taskkit.scoring.contract import load_grader
from harness.taskkit.scoring.scores import aggregate, interval, pseudo_values
from harness.taskkit.scoring.strict_json import StrictJsonError, strict_json
from tests.unit.grading.tiny import TOY_TASK

GRADER = load_grader(TOY_TASK)


def item(id, score, subset="word", **more):
    return ItemScore(id=id, subset=subset, parsed=True, score=score, **more)


def rows(items):
    return {i.id: {"subset": i.subset, "gold": 0} for i in items}


def test_the_primary_score_is_the_plain_mean_over_sub_sets_of_their_own_metric():
    items = [item("a", 1.0), item("b", 0.0), item("c", 0.0), item("d", 0.25, "sum"), item("e", 0.5, "sum")]
    scores = aggregate(items, GRADER, "score", rows(items))
    assert scores.subsets["word"]["accuracy"] == pytest.approx(1 / 3)
    assert scores.subsets["sum"]["best_of_all"] == 0.5
    assert scores.primary.value == pytest.approx((1 / 3 + 0.5) / 2)
    assert scores.items == 5


def test_an_item_that_is_not_of_the_split_is_a_grader_failure():
    with pytest.raises(GraderFailure, match="'x'"):
        aggregate([item("x", 1.0)], GRADER, "score", {})


@pytest.mark.parametrize("score", [0.0, 1.0])
def test_an_interval_at_the_edge_has_a_width_and_shrinks_with_more_items(score):
    widths = []
    for n in (1, 15, 200):
        low, high = interval([item(str(i), score) for i in range(n)])
        assert low <= score <= high
        widths.append(high - low)
    assert widths[0] > widths[1] > widths[2] > 0


def test_intervals_cover_the_true_score_about_as_often_as_they_say():
    rng = random.Random(7)
    hits, draws = 0, 400
    for _ in range(draws):
        items = [item(f"w{i}", float(rng.random() < 0.2)) for i in range(60)]
        items += [item(f"s{i}", float(rng.random() < 0.7), "sum") for i in range(40)]
        low, high = interval(items)
        hits += low <= 0.45 <= high
    assert 0.92 <= hits / draws <= 0.98


def test_pseudo_values_have_the_jackknife_s_mean_and_means_have_none():
    items = [item(f"w{i}", float(i % 2)) for i in range(4)] + [item(f"s{i}", s, "sum") for i, s in enumerate((0.1, 0.9, 0.5))]
    values = pseudo_values(items, GRADER, rows(items))
    # metric: the maximum. Leaving out the best gives 0.5, leaving out another gives 0.9
    assert values == {"s0": pytest.approx(0.9), "s1": pytest.approx(3 * 0.9 - 2 * 0.5), "s2": pytest.approx(0.9)}
    assert interval(items, values) != interval(items)


def good_verdict():
    items = [item("a", 1.0), item("b", 0.0), item("d", 0.25, "sum")]
    return Verdict(split="hidden", scores=aggregate(items, GRADER, "score", rows(items)), items=tuple(items))


def read(data, verdict=None):
    items = (verdict or good_verdict()).items
    subsets = {i.id: i.subset for i in items}
    return read_verdict(data, split="hidden", subsets=subsets, grader=GRADER, rows=rows(items), primary="score")


def test_a_verdict_that_holds_is_read():
    assert read(good_verdict().model_dump_json().encode()) == good_verdict()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda d: d["items"][1].update(score=1.0), "do not follow"),
        (lambda d: d["scores"]["primary"].update(value=0.99), "do not follow"),
        (lambda d: d["scores"]["subsets"].pop("sum"), "do not follow"),
        (lambda d: d["scores"].update(parse_rate=0.1), "do not follow"),
        (lambda d: d["items"][0].update(id="z"), "not the split's"),
        (lambda d: d["items"][0].update(subset="sum"), "not the split's"),
        (lambda d: d["items"].pop(), "schema"),
        (lambda d: d["items"].append(d["items"][0]), "schema"),
        (lambda d: d["items"][0].update(score=1.5), "schema"),
        (lambda d: d["items"][0].update(score="high"), "schema"),
        (lambda d: d.update(extra=1), "schema"),
        (lambda d: d.update(split="dev"), "split"),
    ],
)
def test_a_forged_or_broken_verdict_is_a_grader_failure(change, words):
    document = json.loads(good_verdict().model_dump_json())
    change(document)
    with pytest.raises(GraderFailure, match=words):
        read(json.dumps(document).encode())


@pytest.mark.parametrize(
    "data", [b'{"a": NaN}', b'{"a": Infinity}', b'{"a": 1e999}', b'{"a": 1, "a": 2}', b"\xff", b"[" * 100_000, b"1" * 999]
)
def test_json_that_strangers_could_send_is_refused(data):
    with pytest.raises(StrictJsonError):
        strict_json(data, max_bytes=1_000_000)
    with pytest.raises(GraderFailure):
        read(data)


def test_an_oversized_document_is_refused_unread():
    with pytest.raises(StrictJsonError, match="more than"):
        strict_json(b" " * 101, max_bytes=100)


def test_a_single_item_gives_a_finite_interval():
    low, high = interval([item("a", 0.5)])
    assert math.isfinite(low) and math.isfinite(high) and low < 0.5 < high
