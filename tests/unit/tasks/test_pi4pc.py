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
from task_cases import grader, lines, primary, task

from harness.assets.prepare import PreparedTask, prepare_task
from harness.spec.errors import GraderFailure, SpecError

TASK = task("patent/pi4pc")
GRADER = grader("patent/pi4pc")


def row(gold: object, silver: object = (), options: object = None) -> dict[str, Any]:
    texts = {"3": "c", "17": "q", "42": "d", "0051": "e", "p-9": "n"} if options is None else options
    return {"prior_art_specification": {}, "options": texts, "gold_answers": gold, "silver_answers": silver}


@pytest.fixture(scope="module")
def mini(tmp_path_factory: pytest.TempPathFactory) -> PreparedTask:
    return prepare_task(TASK, "mini", tmp_path_factory.mktemp("cache"))


@pytest.mark.parametrize(
    ("gold", "response", "parsed", "score"),
    [
        ([17], '{"answer": 17}', True, 1),
        ([17], '{"answer": "17"}', True, 1),
        (["17"], '{"answer": 17}', True, 1),
        (["17"], '{"answer": "17"}', True, 1),
        ([17], '{"answer": 17.0}', True, 1),
        ([17], '{"answer": " 17 "}', True, 1),
        ([17], '{"answer": "0017"}', True, 1),
        (["0051"], '{"answer": 51}', True, 1),
        ("[17]", '{"answer": 17}', True, 1),
        ("17", '{"answer": 17}', True, 1),
        (17, '{"answer": 17}', True, 1),
        ("17,42", '{"answer": 42}', True, 1),
        (["p-9"], '{"answer": "p-9"}', True, 1),
        ([17, 42], '{"answer": 42}', True, 1),
        ([17], '{"answer": 42}', True, 0),
        ([17], '{"answer": 99}', True, 0),
        ([17], '{"answer": -17}', True, 0),
        ([17], '{"answer": 17.5}', False, 0),
        ([17], '```json\n{"reason": "it says so", "answer": 17}\n```', True, 1),
        ([17], '{"answer": 42} rather {"answer": 17}', True, 1),
        ([17], '{"answer": 17} rather {"answer": 42}', True, 0),
        ([17], '{"answer": 17} rather {"answer": ', True, 1),
        ([17], '<think>{"answer": 42}</think> {"answer": 17}', True, 1),
        ([17], "17", False, 0),
        ([17], "The answer is 17.", False, 0),
        ([17], '{"answer": [17]}', False, 0),
        ([17], '{"answer": true}', False, 0),
        ([1], '{"answer": true}', False, 0),
        ([17], '{"answer": null}', False, 0),
        ([17], '{"answer": ""}', False, 0),
        ([17], '{"answer": "paragraph 17"}', False, 0),
        ([17], '{"id": 17}', False, 0),
        ([17], '{"answer": 17', False, 0),
        ([17], '{"answer": 1e400}', False, 0),
        ([17], '{"answer": ' + "9" * 3000 + "}", False, 0),
        ([17], '{"answer": ' + "9" * 9000 + "}", False, 0),
        ([17], '{"answer": "\\ud800"}', False, 0),
        ([17], "", False, 0),
    ],
)
def test_answers_are_scored_by_hand_worked_cases(gold: object, response: str, parsed: bool, score: int) -> None:
    answer = GRADER.score(row(gold), response, "pi4pc")
    assert (answer.parsed, answer.score) == (parsed, score)


def test_silver_and_unknown_ids_are_wrong_and_counted_beside() -> None:
    silver = GRADER.score(row([17], ["42"]), '{"answer": 42}', "pi4pc")
    unknown = GRADER.score(row([17], ["42"]), '{"answer": 5}', "pi4pc")
    assert (silver.score, dict(silver.metrics)) == (0, {"silver_hit_rate": 1, "known_id_rate": 1})
    assert (unknown.score, dict(unknown.metrics)) == (0, {"silver_hit_rate": 0, "known_id_rate": 0})


def test_the_hit_rate_is_a_mean_over_every_item() -> None:
    responses = ['{"answer": 17}', '{"answer": 42}', "17", ""]
    triples = [(row([17]), "pi4pc", GRADER.score(row([17]), r, "pi4pc")) for r in responses]
    scores = GRADER.aggregate(triples, "gold_hit_rate")
    assert scores.subsets["pi4pc"] == {"gold_hit_rate": 0.25, "silver_hit_rate": 0, "known_id_rate": 0.5, "parse_rate": 0.5}


@given(st.text(max_size=200) | st.text(alphabet='{}[]":,answer0179. \\', max_size=60).map(lambda s: '{"answer": ' + s))
def test_no_response_breaks_the_grader(response: str) -> None:
    assert GRADER.score(row([17]), response, "pi4pc").score in (0, 1)


@given(st.integers(0, 200), st.integers(0, 200), st.booleans(), st.booleans())
def test_exactly_the_gold_id_hits_as_number_or_text(gold: int, chosen: int, gold_text: bool, chosen_text: bool) -> None:
    response = json.dumps({"answer": str(chosen) if chosen_text else chosen})
    assert GRADER.score(row([str(gold) if gold_text else gold]), response, "pi4pc").score == (gold == chosen)


@pytest.mark.parametrize(
    "hostile", ["[", '{"answer": [', '{"answer":', '"', "\x00", "\ud800", "</think>", '{"answer": 17} ', "9"]
)
def test_hostile_answers_take_linear_time(hostile: str) -> None:
    started = time.process_time()
    GRADER.score(row([17]), hostile * (1_000_000 // len(hostile)), "pi4pc")
    assert time.process_time() - started < 20


@pytest.mark.parametrize("gold", [[], "", None])
def test_a_row_without_gold_is_a_grader_failure_and_no_score(gold: object) -> None:
    with pytest.raises(GraderFailure, match="gold"):
        GRADER.score(row(gold), '{"answer": 17}', "pi4pc")


def test_a_row_of_another_task_fits_no_subset() -> None:
    assert GRADER.subset_of(row([17], options='{"17": "q"}')) == "pi4pc"
    with pytest.raises(SpecError, match="prior_art_specification"):
        GRADER.subset_of({"options": {"A": {}}, "gold_answers": ["A"]})


def test_the_format_that_agents_are_told_is_the_format_that_scores() -> None:
    examples = re.findall(r"`(\{.*?\})`", TASK.dojo.answer_format)
    assert len(examples) == 2
    for example in examples:
        assert GRADER.score(row([17]), f"Thus {example}.", "pi4pc").score == 1


@pytest.mark.parametrize("split", ["dev", "hidden", "few_shot"])
def test_every_gold_is_right_by_reading_the_prompt_alone(mini: PreparedTask, split: str) -> None:
    for item in lines(mini.dir / f"{split}.jsonl"):
        claimed = set(re.findall(r"a (\w+)", re.search(r"with (.*)\.", item["prompt"]).group(1)))
        shown = {m[0]: set(m[1].split(", ")) for m in re.findall(r"^(\d+): (.*)$", item["prompt"], re.MULTILINE)}
        assert len(shown) == 5
        assert item["gold"] == [key for key in shown if claimed <= shown[key]] == [str(g) for g in item["row"]["gold_answers"]]


def test_the_oracle_scores_1_and_empty_echoed_and_constant_answers_stay_near_the_floor(mini: PreparedTask) -> None:
    items = lines(mini.hidden_path)
    assert Counter(i["type"] for i in items) == {"one part": 40, "two parts": 40, "three parts": 40}
    assert primary(GRADER, items, lambda i: json.dumps({"answer": i["gold"][0]})) == 1
    assert primary(GRADER, items, lambda i: "") == 0
    assert primary(GRADER, items, lambda i: i["prompt"]) == 0
    for kind in {i["type"] for i in items}:
        group = [i for i in items if i["type"] == kind]
        assert sum(a.score for a in GRADER.majority_answer(group)[1]) / len(group) < 0.2
    first = primary(GRADER, items, lambda i: json.dumps({"answer": next(iter(i["row"]["options"]))}))
    assert first < 0.35


def test_worked_examples_are_answered_in_the_form_that_scores(mini: PreparedTask) -> None:
    for item in lines(mini.few_shot_path):
        assert GRADER.score(item["row"], item["answer"], item["subset"]).score == 1


def test_a_wrong_decision_of_the_crawl_is_another_paragraph(mini: PreparedTask) -> None:
    rows = lines(next(s.path for s in mini.sources if s.name == "crawl"))
    wrong = 0
    for r in rows:
        parts = set(re.findall(r" a (\w+)", r["context"]["claims"][0]))
        right = [int(k) for k, text in r["options"].items() if parts <= set(text.split(", "))]
        wrong += r["gold_answers"] != right
        assert sorted(r["gold_answers"] + r["silver_answers"] + r["negative_answers"]) == sorted(map(int, r["options"]))
    assert 0.2 < wrong / len(rows) < 0.36


@pytest.fixture
def mirror(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Small copies in the upstream layout: options as a column of objects, so that each row has all other rows' ids as nulls."""

    def rows(numbers: range, words: str, *, text: bool = False) -> list[dict[str, Any]]:
        made = []
        for n in numbers:
            art = {"patent_id": f"US{n}", "title": "Art", "abstract": f"Art {n}.", "specification": "Long."}
            options = {str(10 * n + k): f"Paragraph {k} of {n}." for k in range(5)}
            made.append(
                application(n, words)
                | {
                    "prior_art_specification": json.dumps(art) if text else art,
                    "options": json.dumps(options) if text else options,
                    "gold_answers": [10 * n + 2],
                    "silver_answers": [10 * n + 1],
                    "negative_answers": [10 * n, 10 * n + 3, 10 * n + 4],
                }
            )
        return made

    tests = rows(range(10, 20), "with a spring")
    tests.append(rows(range(20, 21), "with a spring")[0] | {"gold_answers": []})
    training = [*rows(range(100, 110), "with a lever", text=True), *rows(range(12, 13), "with other words", text=True)]
    write_panorama(tmp_path / "mirror", "PI4PC", tests, training)
    monkeypatch.setenv("DOJO_HUB_MIRROR", str(tmp_path / "mirror"))
    return tmp_path


def test_full_splits_the_rows_with_a_decision_and_shows_their_own_paragraphs_only(mirror: Path) -> None:
    full = prepare_task(TASK, "full", mirror / "cache")
    order = list(range(10))
    random.Random(42).shuffle(order)
    assert full.manifest["ids"]["dev"] == [f"pi4pc-{n:04d}" for n in order[:5]]
    assert full.manifest["ids"]["hidden"] == [f"pi4pc-{n:04d}" for n in order[5:]]
    assert "1 rows without a gold answer" in (full.dir / "card.md").read_text(encoding="utf-8")
    for item in lines(full.hidden_path) + lines(full.few_shot_path):
        assert len(re.findall(r"^\d+: Paragraph \d of \d+\.$", item["prompt"], re.MULTILINE)) == 5
        assert "Prior art: Art\nArt " in item["prompt"]
        assert GRADER.score(item["row"], json.dumps({"answer": item["gold"][0]}), "pi4pc").score == 1
    assert full.manifest["removed"]["panorama"] == {"before": 11, "removed": 1, "shared key": 1}
