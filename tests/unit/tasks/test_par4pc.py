from __future__ import annotations

import json
import random
import re
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from patent_rows import application, write_panorama
from sklearn.metrics import f1_score
from task_cases import grader, lines, primary, task

from harness.assets.prepare import PreparedTask, prepare_task
from harness.assets.task_program import load_build
from harness.service import Dojo
from harness.spec.errors import GraderFailure, SpecError
from harness.spec.run import PUBLIC_HIDDEN
from harness.spec.verdict import ItemScore
from harness.taskkit.scoring.scores import interval, pseudo_values

TASK = task("patent/par4pc")
GRADER = grader("patent/par4pc")
LETTERS = "ABCDEFGH"


def row(gold: object, silver: object = ()) -> dict[str, Any]:
    return {"options": {letter: {} for letter in LETTERS}, "gold_answers": gold, "silver_answers": silver}


@pytest.fixture(scope="module")
def mini(tmp_path_factory: pytest.TempPathFactory) -> PreparedTask:
    return prepare_task(TASK, "mini", tmp_path_factory.mktemp("cache"))


@pytest.mark.parametrize(
    ("gold", "silver", "response", "parsed", "score", "exact"),
    [
        (["A"], [], '{"answer": "A"}', True, 1, 1),
        (["A"], [], '{"answer": ["A"]}', True, 1, 1),
        (["A"], [], '{"answer": "a"}', True, 1, 1),
        (["A"], [], 'I think {"reason": "it fits", "answer": "A"}.', True, 1, 1),
        (["A"], [], '```json\n{"answer": ["A"]}\n```', True, 1, 1),
        (["A"], [], '{"answer": "B"} no: {"answer": "A"}', True, 1, 1),
        (["A"], [], '{"answer": "A"} no: {"answer": "B"}', True, 0, 0),
        (["A"], [], '{"answer": "A"} {"answer": ["B", ', True, 1, 1),
        (["A"], [], '<think>{"answer": "B"}</think>{"answer": "A"}', True, 1, 1),
        (["A"], [], '{"answer": ["A", "A"]}', True, 1, 1),
        # TP 1, FP 1, FN 0: 2 / 3
        (["A"], [], '{"answer": ["A", "B"]}', True, 2 / 3, 0),
        # B is silver: TP 1, FP 0, FN 0, yet not exactly the gold letters
        (["A"], ["B"], '{"answer": ["A", "B"]}', True, 1, 0),
        (["A"], ["B"], '{"answer": "B"}', True, 0, 0),
        # TP 1, FP 0, FN 1: 2 / 3
        (["A", "C"], ["B"], '{"answer": ["A", "B"]}', True, 2 / 3, 0),
        (["A", "C"], [], '{"answer": ["C", "A"]}', True, 1, 1),
        # TP 2, FP 6, FN 0: 4 / 10
        (["A", "C"], [], json.dumps({"answer": list(LETTERS)}), True, 0.4, 0),
        ('["A", "C"]', "[]", '{"answer": ["A", "C"]}', True, 1, 1),
        ("A,C", "B", '{"answer": ["A", "B", "C"]}', True, 1, 0),
        ("A, C", "", '{"answer": "C"}', True, 2 / 3, 0),
        (["A"], [], "A", False, 0, 0),
        (["A"], [], "The answer is A.", False, 0, 0),
        (["A"], [], '{"answer": "A, C"}', False, 0, 0),
        (["A"], [], '{"answer": ["A", "Z"]}', False, 0, 0),
        (["A"], [], '{"answer": "I"}', False, 0, 0),
        (["A"], [], '{"answer": []}', False, 0, 0),
        (["A"], [], '{"answer": ""}', False, 0, 0),
        (["A"], [], '{"answer": null}', False, 0, 0),
        (["A"], [], '{"answer": 1}', False, 0, 0),
        (["A"], [], '{"answer": {"A": true}}', False, 0, 0),
        (["A"], [], '{"output": "A"}', False, 0, 0),
        (["A"], [], '{"answer": "A"', False, 0, 0),
        (["A"], [], "", False, 0, 0),
    ],
)
def test_answers_are_scored_by_hand_worked_cases(
    gold: object, silver: object, response: str, parsed: bool, score: float, exact: int
) -> None:
    answer = GRADER.score(row(gold, silver), response, "par4pc")
    assert (answer.parsed, answer.score, answer.metrics["exact_match"]) == (parsed, pytest.approx(score), exact)


def drawn(seed: int, count: int) -> list[tuple[dict[str, Any], list[str]]]:
    """Rows with random labels, and random answers: some empty."""
    rng = random.Random(seed)
    cases = []
    for _ in range(count):
        order = rng.sample(LETTERS, 8)
        gold, silver = rng.randint(1, 3), rng.randint(0, 3)
        cases.append((row(order[:gold], order[gold : gold + silver]), rng.sample(LETTERS, rng.randint(0, 4))))
    return cases


def respond(chosen: list[str]) -> str:
    return json.dumps({"answer": chosen}) if chosen else "I do not know."


@pytest.mark.parametrize("seed", range(25))
def test_the_pooled_f1_is_scikit_learn_s_micro_f1_with_silver_letters_left_out(seed: int) -> None:
    cases = drawn(seed, 12)
    right = [[letter in r["gold_answers"] for letter in LETTERS] for r, _ in cases]
    given_letters = [[letter in chosen and letter not in r["silver_answers"] for letter in LETTERS] for r, chosen in cases]
    scores = GRADER.aggregate([(r, "par4pc", GRADER.score(r, respond(c), "par4pc")) for r, c in cases], "micro_f1")
    assert scores.primary.value == pytest.approx(f1_score(right, given_letters, average="micro", zero_division=0))
    assert scores.metrics["item_mean"] == pytest.approx(f1_score(right, given_letters, average="samples", zero_division=0))


def test_a_hand_worked_table_pools_counts_and_not_items() -> None:
    # TP 1 FP 0 FN 0; TP 0 FP 1 FN 2; unparsable: TP 0 FP 0 FN 1. Pooled 2 / (2 + 1 + 3) = 1/3, mean of items 1/3 too,
    # so a fourth item (TP 2 FP 2 FN 0, own F1 2/3) tells them apart: pooled 6 / (6 + 3 + 3), mean 5/12.
    cases = [
        (row(["A"]), '{"answer": "A"}'),
        (row(["A", "B"]), '{"answer": "C"}'),
        (row(["D"]), "D"),
        (row(["A", "B"]), '{"answer": ["A", "B", "C", "D"]}'),
    ]
    scores = GRADER.aggregate([(r, "par4pc", GRADER.score(r, a, "par4pc")) for r, a in cases], "micro_f1")
    assert scores.primary.value == pytest.approx(6 / 12)
    assert scores.metrics["item_mean"] == pytest.approx(5 / 12)
    assert scores.subsets["par4pc"] == pytest.approx({"micro_f1": 0.5, "exact_match": 0.25, "parse_rate": 0.75})


@pytest.mark.parametrize("count", [1, 2, 3, 12])
def test_few_items_still_have_an_interval(count: int) -> None:
    cases = drawn(3, count)
    rows = {str(n): r for n, (r, _) in enumerate(cases)}
    items = []
    for n, (r, chosen) in enumerate(cases):
        answer = GRADER.score(r, respond(chosen), "par4pc")
        items.append(
            ItemScore(
                id=str(n),
                subset="par4pc",
                score=answer.score,
                parsed=answer.parsed,
                value=answer.value,
                metrics=dict(answer.metrics),
            )
        )
    low, high = interval(items, pseudo_values(items, GRADER, rows))
    assert 0 <= low < high <= 1


@given(st.text(max_size=200) | st.text(alphabet='{}[]":,answerABC \\', max_size=60).map(lambda s: '{"answer": ' + s))
def test_no_response_breaks_the_grader(response: str) -> None:
    assert 0 <= GRADER.score(row(["A"]), response, "par4pc").score <= 1


@given(st.lists(st.sampled_from(LETTERS), min_size=1), st.lists(st.sampled_from(LETTERS), min_size=1))
def test_an_answer_scores_1_exactly_where_it_is_the_gold_set(gold: list[str], chosen: list[str]) -> None:
    answer = GRADER.score(row(gold), respond(chosen[:64]), "par4pc")
    assert (answer.score == 1) == (set(chosen[:64]) == set(gold))


@pytest.mark.parametrize("hostile", ["[", '{"answer": [', '{"answer":', '"', "\x00", "\ud800", "</think>", '{"answer": ["A"]} '])
def test_hostile_answers_take_linear_time(hostile: str) -> None:
    started = time.process_time()
    GRADER.score(row(["A"]), hostile * (1_000_000 // len(hostile)), "par4pc")
    assert time.process_time() - started < 20


@pytest.mark.parametrize("gold", [[], "", ["Z"], None])
def test_a_broken_gold_is_a_grader_failure_and_no_score(gold: object) -> None:
    with pytest.raises(GraderFailure, match="letters"):
        GRADER.score(row(gold), '{"answer": "A"}', "par4pc")


def test_a_row_without_options_fits_no_subset() -> None:
    assert GRADER.subset_of(row(["A"])) == "par4pc"
    assert GRADER.subset_of({"options": json.dumps({"A": {}}), "gold_answers": ["A"]}) == "par4pc"
    with pytest.raises(SpecError, match="options"):
        GRADER.subset_of({"gold_answers": ["A"]})


def test_the_format_that_agents_are_told_is_the_format_that_scores() -> None:
    examples = re.findall(r"`(\{.*?\})`", TASK.dojo.answer_format)
    assert len(examples) == 2
    for example in examples:
        letters = re.findall(r'"([A-H])"', example)
        assert GRADER.score(row(letters), f"Thus {example}.", "par4pc").score == 1


@pytest.mark.parametrize("split", ["dev", "hidden", "few_shot"])
def test_every_label_is_right_by_reading_the_prompt_alone(mini: PreparedTask, split: str) -> None:
    for item in lines(mini.dir / f"{split}.jsonl"):
        claimed = set(re.findall(r"a (\w+)", re.search(r"with (.*)\.", item["prompt"]).group(1)))
        shown = {m[0]: set(m[1].split(", ")) for m in re.findall(r"^([A-H]): \w+: (.*)$", item["prompt"], re.MULTILINE)}
        assert set(shown) == set(LETTERS)
        assert item["gold"] == [letter for letter in LETTERS if claimed <= shown[letter]] == item["row"]["gold_answers"]
        assert item["row"]["silver_answers"] == [k for k in LETTERS if claimed & shown[k] and not claimed <= shown[k]]


def test_the_oracle_scores_1_and_empty_echoed_and_constant_answers_stay_near_the_floor(mini: PreparedTask) -> None:
    items = lines(mini.hidden_path)
    assert Counter(i["type"] for i in items) == {"one part": 40, "two parts": 40, "two documents": 40}
    assert primary(GRADER, items, lambda i: json.dumps({"answer": i["gold"]})) == 1
    assert primary(GRADER, items, lambda i: "") == 0
    assert primary(GRADER, items, lambda i: i["prompt"]) == 0
    assert primary(GRADER, items, lambda i: '{"answer": "A"}') < 0.3
    assert primary(GRADER, items, lambda i: json.dumps({"answer": list(LETTERS)})) < 0.4


def test_worked_examples_are_answered_in_the_form_that_scores(mini: PreparedTask) -> None:
    for item in lines(mini.few_shot_path):
        assert GRADER.score(item["row"], item["answer"], item["subset"]).score == 1


def test_no_claim_is_shared_and_the_sources_are_uneven_and_partly_wrong(mini: PreparedTask) -> None:
    def claim(r: dict[str, Any]) -> str:
        context = json.loads(r["context"]) if isinstance(r["context"], str) else r["context"]
        device, *parts = re.findall(r"[Aa] (\w+)", context["claims"][0])
        return f"{device} {sorted(parts)}"

    asked = {split: {claim(i["row"]) for i in lines(mini.dir / f"{split}.jsonl")} for split in ("dev", "hidden", "few_shot")}
    rows = {s.name: lines(s.path) for s in mini.sources}
    trained = {claim(r) for source in rows.values() for r in source}
    assert (
        not asked["dev"] & asked["hidden"] and not trained & (asked["dev"] | asked["hidden"]) and not trained & asked["few_shot"]
    )

    def wrong(r: dict[str, Any]) -> bool:
        parts = set(re.findall(r" a (\w+)", r["context"]["claims"][0]))
        return r["gold_answers"] != [k for k in LETTERS if parts <= set(r["options"][k]["abstract"].split(", "))]

    assert not any(wrong(r) for r in rows["examined"])
    assert 0.2 < sum(map(wrong, rows["crawl"])) / len(rows["crawl"]) < 0.36
    assert 0.25 < sum(r["gold_answers"] == "" for r in rows["scans"]) / len(rows["scans"]) < 0.45
    assert any(isinstance(r["options"], str) for r in rows["scans"]) and any(
        isinstance(r["options"], dict) for r in rows["scans"]
    )
    assert len({claim(r) for r in rows["crawl"]}) < len(rows["crawl"]) - 150


def test_the_same_seed_gives_the_same_data(tmp_path: Path) -> None:
    one, other = (prepare_task(TASK, "mini", cache, hidden=PUBLIC_HIDDEN) for cache in (Dojo().cache, tmp_path))
    assert one.digest == other.digest


@pytest.fixture
def mirror(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Small copies in the upstream layout; the context comes once as an object and once as JSON text."""

    def rows(numbers: range, words: str) -> list[dict[str, Any]]:
        made = []
        for n in numbers:
            text = {"title": "T", "abstract": f"Abstract {n}.", "claims": [f"1. Thing {n}."], "patent_id": f"US{n}"}
            made.append(
                application(n, words)
                | {
                    "options": {letter: text for letter in LETTERS},
                    "gold_answers": [LETTERS[n % 8]],
                    "silver_answers": [LETTERS[(n + 1) % 8]],
                    "negative_answers": [LETTERS[(n + k) % 8] for k in range(2, 8)],
                }
            )
        return made

    training = [*rows(range(100, 120), "with a lever"), *rows(range(3), "with other words")]
    training.append(rows(range(5, 6), "with a spring")[0] | {"application_number": 999})
    for r in training:
        r["context"], r["options"] = json.dumps(r["context"]), json.dumps(r["options"])
    write_panorama(tmp_path / "mirror", "PAR4PC", rows(range(11), "with a spring"), training)
    monkeypatch.setenv("DOJO_HUB_MIRROR", str(tmp_path / "mirror"))
    return tmp_path


def test_full_splits_the_test_file_by_the_paper_s_rule(mirror: Path) -> None:
    full = prepare_task(TASK, "full", mirror / "cache")
    order = list(range(11))
    random.Random(42).shuffle(order)
    assert full.manifest["ids"] == {
        "dev": [f"par4pc-{n:04d}" for n in order[:5]],
        "hidden": [f"par4pc-{n:04d}" for n in order[-5:]],
    }
    for item in lines(full.hidden_path):
        number = int(item["id"][-4:])
        assert f"Claim 2: 2. The device of claim 1, with a spring, number {number}," in item["prompt"]
        assert f"H: T: Abstract {number}. 1. Thing {number}." in item["prompt"]
        assert GRADER.subset_of(item["row"]) == "par4pc"
        assert GRADER.score(item["row"], json.dumps({"answer": item["gold"]}), "par4pc").score == 1


def test_full_frees_its_source_of_the_benchmark_s_applications_and_claims(mirror: Path) -> None:
    full = prepare_task(TASK, "full", mirror / "cache")
    used = {int(name[-4:]) for split in full.manifest["ids"].values() for name in split}
    removed = full.manifest["removed"]["panorama"]
    assert removed["before"] == 24 and removed.get("shared key", 0) == len(used & {0, 1, 2})
    assert removed["removed"] - removed.get("shared key", 0) == (5 in used)
    shots = lines(full.few_shot_path)
    assert len(shots) == 4 and all(GRADER.score(s["row"], s["answer"], "par4pc").score == 1 for s in shots)


def test_a_prompt_of_long_documents_is_cut_evenly(mirror: Path) -> None:
    module = load_build(TASK)
    long = application(1, "x" * 200_000) | row(["A"])
    long["options"] = {letter: {"title": letter, "abstract": "word " * 50_000} for letter in LETTERS}
    prompt = module.prompt(long)
    assert len(prompt) < 91_000 and prompt.count("[…]") == 9 and "H: H: word" in prompt
