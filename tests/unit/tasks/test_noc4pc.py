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
from harness.spec.errors import GraderFailure, SpecError
from harness.spec.verdict import ItemScore
from harness.taskkit.scoring.scores import interval, pseudo_values

TASK = task("patent/noc4pc")
GRADER = grader("patent/noc4pc")
CODES = ("ALLOW", "102", "103")


def row(code: object, *, text: bool = True) -> dict[str, Any]:
    answer = {"code": code, "reason": "because"}
    return {"prior_art_specifications": "[]", "answer": json.dumps(answer) if text else answer}


@pytest.fixture(scope="module")
def mini(tmp_path_factory: pytest.TempPathFactory) -> PreparedTask:
    return prepare_task(TASK, "mini", tmp_path_factory.mktemp("cache"))


@pytest.mark.parametrize(
    ("gold", "response", "parsed", "score", "known"),
    [
        ("102", '{"code": "102"}', True, 1, 1),
        ("102", '{"code": 102}', True, 1, 1),
        ("102", '{"code": " 102 "}', True, 1, 1),
        (102, '{"code": "102"}', True, 1, 1),
        ("ALLOW", '{"code": "ALLOW"}', True, 1, 1),
        ("ALLOW", '{"code": "allow"}', True, 1, 1),
        ("ALLOW", '{"reason": "new", "code": "ALLOW"}', True, 1, 1),
        ("103", 'Two documents: ```json\n{"code": "103"}\n```', True, 1, 1),
        ("103", '{"code": "102"}', True, 0, 1),
        ("103", '{"code": "102"} no, {"code": "103"}', True, 1, 1),
        ("103", '{"code": "103"} no, {"code": "102"}', True, 0, 1),
        ("103", '{"code": "103"} {"code": "10', True, 1, 1),
        ("103", '<think>{"code": "102"}</think>{"code": "103"}', True, 1, 1),
        ("103", '<think>{"code": "103"}</think>', True, 1, 1),
        ("102", '{"code": "101"}', True, 0, 0),
        ("102", '{"code": "REJECT"}', True, 0, 0),
        ("ALLOW", '{"code": "ALLOWED"}', True, 0, 0),
        ("102", '{"code": "102, 103"}', False, 0, 0),
        ("102", '{"code": "the claim is rejected under 102"}', False, 0, 0),
        ("102", '{"code": ["102"]}', False, 0, 0),
        ("102", '{"code": 102.0}', True, 1, 1),
        ("102", '{"code": 102.5}', False, 0, 0),
        ("102", '{"code": true}', False, 0, 0),
        ("102", '{"code": null}', False, 0, 0),
        ("102", '{"code": ""}', False, 0, 0),
        ("102", '{"answer": "102"}', False, 0, 0),
        ("102", '{"code": "102"', False, 0, 0),
        ("102", "102", False, 0, 0),
        ("ALLOW", "ALLOW", False, 0, 0),
        ("102", '{"code": "\\ud800"}', False, 0, 0),
        ("102", "", False, 0, 0),
    ],
)
def test_answers_are_scored_by_hand_worked_cases(gold: object, response: str, parsed: bool, score: int, known: int) -> None:
    for text in (True, False):
        answer = GRADER.score(row(gold, text=text), response, "noc4pc")
        assert (answer.parsed, answer.score, answer.metrics["known_code_rate"]) == (parsed, score, known)


def table(pairs: list[tuple[str, str]]) -> Any:
    triples = [(row(gold), "noc4pc", GRADER.score(row(gold), response, "noc4pc")) for gold, response in pairs]
    return GRADER.aggregate(triples, "macro_f1")


def test_a_hand_worked_table_counts_unparsable_answers_as_misses() -> None:
    # ALLOW: TP 1, FP 1 (the 102 called ALLOW), FN 1 (the unparsable): 2/4. 102: TP 1, FN 1: 2/3. 103: TP 0, FN 1: 0.
    pairs = [
        ("ALLOW", '{"code": "ALLOW"}'),
        ("ALLOW", "I would allow it"),
        ("102", '{"code": "102"}'),
        ("102", '{"code": "ALLOW"}'),
        ("103", '{"code": "112"}'),
    ]
    scores = table(pairs)
    assert scores.primary.value == pytest.approx((1 / 2 + 2 / 3 + 0) / 3)
    assert scores.subsets["noc4pc"] == pytest.approx(
        {
            "macro_f1": 7 / 18,
            "f1_ALLOW": 1 / 2,
            "f1_102": 2 / 3,
            "f1_103": 0,
            "accuracy": 0.4,
            "known_code_rate": 0.6,
            "parse_rate": 0.8,
        }
    )


def test_an_absent_class_has_f1_0() -> None:
    assert table([("102", '{"code": "102"}')] * 3).primary.value == pytest.approx(1 / 3)


@pytest.mark.parametrize("seed", range(25))
def test_the_macro_f1_is_scikit_learn_s(seed: int) -> None:
    rng = random.Random(seed)
    golds = rng.choices(CODES, weights=[rng.random() for _ in CODES], k=15)
    given_codes = [rng.choice([*CODES, "none", "112"]) for _ in golds]
    pairs = [(g, f'{{"code": "{p}"}}' if p != "none" else "no idea") for g, p in zip(golds, given_codes, strict=True)]
    expected = f1_score(golds, given_codes, labels=list(CODES), average="macro", zero_division=0)
    assert table(pairs).primary.value == pytest.approx(expected)


@pytest.mark.parametrize("count", [1, 2, 3, 15])
def test_few_items_still_have_an_interval(count: int) -> None:
    rng = random.Random(count)
    items, rows = [], {}
    for n in range(count):
        rows[str(n)] = row(rng.choice(CODES))
        answer = GRADER.score(rows[str(n)], f'{{"code": "{rng.choice(CODES)}"}}', "noc4pc")
        metrics = dict(answer.metrics)
        items.append(ItemScore(id=str(n), subset="noc4pc", score=answer.score, parsed=True, value=answer.value, metrics=metrics))
    values = pseudo_values(items, GRADER, rows)
    low, high = interval(items, values)
    assert 0 <= low < high <= 1
    assert count < 15 or sum(values.values()) / count != pytest.approx(sum(i.score for i in items) / count)


@given(st.text(max_size=200) | st.text(alphabet='{}[]":,codeALW0123 \\', max_size=60).map(lambda s: '{"code": ' + s))
def test_no_response_breaks_the_grader(response: str) -> None:
    assert GRADER.score(row("102"), response, "noc4pc").score in (0, 1)


@pytest.mark.parametrize("hostile", ["[", '{"code": [', '{"code":', '"', "\x00", "\ud800", "</think>", '{"code": 102} ', "{"])
def test_hostile_answers_take_linear_time(hostile: str) -> None:
    started = time.process_time()
    GRADER.score(row("102"), hostile * (1_000_000 // len(hostile)), "noc4pc")
    assert time.process_time() - started < 20


@pytest.mark.parametrize("gold", [None, "101", "", "102/103"])
def test_a_broken_gold_is_a_grader_failure_and_no_score(gold: object) -> None:
    with pytest.raises(GraderFailure, match="gold code"):
        GRADER.score(row(gold), '{"code": "102"}', "noc4pc")


def test_a_row_of_another_task_fits_no_subset() -> None:
    assert GRADER.subset_of(row("102")) == "noc4pc"
    with pytest.raises(SpecError, match="prior_art_specifications"):
        GRADER.subset_of({"answer": {"code": "102"}})
    with pytest.raises(SpecError, match="answer"):
        GRADER.subset_of({"prior_art_specifications": [], "answer": "102"})


def test_the_format_that_agents_are_told_is_the_format_that_scores() -> None:
    examples = re.findall(r"`(\{.*?\})`", TASK.dojo.answer_format)
    assert [json.loads(example)["code"] for example in examples] == list(CODES)
    for example in examples:
        assert GRADER.score(row(json.loads(example)["code"]), f"Thus {example}.", "noc4pc").score == 1


def decision(claim: str, documents: list[str]) -> str:
    """Decide by reading, by other means than the program that made the claim."""
    parts = set(re.findall(r"a (\w+)", claim.split("with", 1)[1]))
    shown = [set(re.findall(r"\w+", text)) for text in documents]
    if any(parts <= words for words in shown):
        return "102"
    return "103" if parts <= set().union(*shown) else "ALLOW"


@pytest.mark.parametrize("split", ["dev", "hidden", "few_shot"])
def test_every_decision_is_right_by_reading_the_prompt_alone(mini: PreparedTask, split: str) -> None:
    for item in lines(mini.dir / f"{split}.jsonl"):
        claim = re.search(r"^Claim 1: (.*)$", item["prompt"], re.MULTILINE).group(1)
        documents = re.findall(r"^D\d: \w+: \[1\] (.*)$|^D\d: \w+: \[2\] (.*)$", item["prompt"], re.MULTILINE)
        assert item["gold"] == decision(claim, ["".join(found) for found in documents])
        assert item["gold"] == json.loads(item["row"]["answer"])["code"]


def test_the_oracle_scores_1_and_empty_echoed_and_constant_answers_stay_near_the_floor(mini: PreparedTask) -> None:
    items = lines(mini.hidden_path)
    assert Counter(i["type"] for i in items) == {"one part": 40, "two parts": 40, "three parts": 40}
    # decisions are drawn: of 40 secrets' splits the rarest had 19 to 35, the best constant 0.18 to 0.22
    assert min(Counter(i["gold"] for i in items).values()) >= 10 and len({i["gold"] for i in items}) == 3
    assert primary(GRADER, items, lambda i: json.dumps({"code": i["gold"]})) == 1
    assert primary(GRADER, items, lambda i: "") == 0
    assert primary(GRADER, items, lambda i: i["prompt"]) == 0
    for code in CODES:
        assert primary(GRADER, items, lambda i, code=code: json.dumps({"code": code})) < 0.26


def test_worked_examples_are_answered_in_the_form_that_scores(mini: PreparedTask) -> None:
    for item in lines(mini.few_shot_path):
        assert GRADER.score(item["row"], item["answer"], item["subset"]).score == 1


def test_the_sources_are_raw_uneven_and_partly_wrong(mini: PreparedTask) -> None:
    rows = {s.name: lines(s.path) for s in mini.sources}

    def wrong(r: dict[str, Any]) -> bool:
        arts = json.loads(r["prior_art_specifications"])
        right = decision(json.loads(r["context"])["claims"][0], [art["paragraphs"][0]["content"] for art in arts])
        return json.loads(r["answer"])["code"] != right

    assert not any(map(wrong, rows["examined"]))
    assert 0.2 < sum(map(wrong, rows["crawl"])) / len(rows["crawl"]) < 0.36
    assert 0.25 < sum(r["answer"] == "" for r in rows["scans"]) / len(rows["scans"]) < 0.45
    assert {type(r["context"]) for r in rows["scans"]} == {str, dict}


@pytest.fixture
def mirror(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Small copies in the upstream layout: context, documents and answer as JSON text."""

    def rows(numbers: range, words: str) -> list[dict[str, Any]]:
        made = []
        for n in numbers:
            art = {"patent_id": f"US{n}", "title": "Art", "abstract": f"Art {n}.", "claims": [f"1. Claim {n}."]}
            art["paragraphs"] = [{"key": 7, "content": f"It moves {n}."}]
            head = application(n, words)
            made.append(
                head
                | {
                    "context": json.dumps(head["context"]),
                    "prior_art_specifications": json.dumps([art, art]),
                    "answer": json.dumps({"code": CODES[n % 3], "reason": f"Reason {n}."}),
                }
            )
        return made

    write_panorama(
        tmp_path / "mirror", "NOC4PC", rows(range(8), "with a spring"), [*rows(range(50, 70), "with oil"), *rows(range(1), "x")]
    )
    monkeypatch.setenv("DOJO_HUB_MIRROR", str(tmp_path / "mirror"))
    return tmp_path


def test_full_splits_the_test_file_and_frees_the_source_of_its_applications(mirror: Path) -> None:
    full = prepare_task(TASK, "full", mirror / "cache")
    order = list(range(8))
    random.Random(42).shuffle(order)
    assert full.manifest["ids"]["dev"] == [f"noc4pc-{n:04d}" for n in order[:4]]
    assert full.manifest["ids"]["hidden"] == [f"noc4pc-{n:04d}" for n in order[4:]]
    for item in lines(full.hidden_path):
        number = int(item["id"][-4:])
        document = f"D2: Art: Art {number}. 1. Claim {number}. [7] It moves {number}."
        assert document in item["prompt"] and f"Reason {number}" not in item["prompt"]
        assert item["gold"] == CODES[number % 3]
        assert GRADER.score(item["row"], json.dumps({"code": item["gold"]}), "noc4pc").score == 1
    assert full.manifest["removed"]["panorama"] == {"before": 21, "removed": 1, "shared key": 1}
    shots = lines(full.few_shot_path)
    assert {s["gold"] for s in shots} == set(CODES)
