"""Graders of the four protocol tasks: hand-worked cases, independent libraries, fuzz."""

from __future__ import annotations

import json
import random
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from task_cases import grader, task

from harness.spec.errors import GraderFailure, SpecError

PQA, ORD, ERR, GEN = (grader(f"biology/{name}") for name in ("pqa", "ord", "err", "gen"))
TAGGED = "[ANSWER_START]{}[ANSWER_END]".format

CHOICES = ["5 mL", "10 mL", "salt & water", "20 mL"]
QUESTION = {"question": "How much?", "choices": CHOICES, "answer": "10 mL", "type": "parameter"}


@pytest.mark.parametrize(
    ("response", "parsed", "score", "brier"),
    [
        ('{"answer": ["B", 100]}', True, 1, 0),
        ('{"answer": ["B", 90]}', True, 1, 0.01),
        ('{"answer": ["b", 50]}', True, 1, 0.25),
        ('{"answer": [" B ", 0]}', True, 1, 1),
        ('{"answer": ["A", 90]}', True, 0, 0.81),
        ('{"answer": ["A", 0]}', True, 0, 0),
        ('{"answer": ["C", 12.5]}', True, 0, 0.015625),
        ('{"answer": "B"}', True, 1, 0),
        ('{"answer": "D"}', True, 0, 1),
        ('Well. ```json\n{"answer": ["B", 80]}\n```', True, 1, 0.04),
        ('{"answer": ["A", 80]} no, {"answer": ["B", 80]}', True, 1, 0.04),
        ('{"answer": ["B", 80]} {"answer": ["A", ', True, 1, 0.04),
        ('<think>{"answer": "A"}</think>{"answer": "B"}', True, 1, 0),
        (TAGGED("10 mL & 90%"), True, 1, 0.01),
        (TAGGED(" 10 mL & 90 "), True, 1, 0.01),
        (TAGGED("5 mL & 90%"), True, 0, 0.81),
        (TAGGED("salt & water & 20%"), True, 0, 0.04),
        (TAGGED("5 mL & 10%") + " or " + TAGGED("10 mL & 70%"), True, 1, 0.09),
        (TAGGED("10 mL"), False, 0, 1),
        (TAGGED("10 mL & sure"), False, 0, 1),
        (TAGGED("10 mL & 101%"), False, 0, 1),
        (TAGGED("15 mL & 90%"), False, 0, 1),
        ("[ANSWER_START]10 mL & 90%", False, 0, 1),
        ("B", False, 0, 1),
        ("10 mL & 90%", False, 0, 1),
        ('{"answer": "10 mL"}', False, 0, 1),
        ('{"answer": ["B", 101]}', False, 0, 1),
        ('{"answer": ["B", -1]}', False, 0, 1),
        ('{"answer": ["B", true]}', False, 0, 1),
        ('{"answer": ["B", "90"]}', False, 0, 1),
        ('{"answer": ["B"]}', False, 0, 1),
        ('{"answer": ["B", 50, 50]}', False, 0, 1),
        ('{"answer": "E"}', False, 0, 1),
        ('{"answer": NaN}', False, 0, 1),
        ('{"output": "B"}', False, 0, 1),
        ("", False, 0, 1),
    ],
)
def test_a_chosen_option_is_scored_by_hand_worked_cases(response: str, parsed: bool, score: float, brier: float) -> None:
    answer = PQA.score(QUESTION, response, "pqa")
    assert (answer.parsed, answer.score, answer.metrics["brier"]) == (parsed, score, pytest.approx(brier))


def test_the_brier_score_is_scikit_learn_s() -> None:
    from sklearn.metrics import brier_score_loss

    rng = random.Random(1)
    given_answers = [(rng.choice("ABCD"), rng.randint(0, 100)) for _ in range(40)]
    triples = []
    for letter, sure in given_answers:
        triples.append((QUESTION, "pqa", PQA.score(QUESTION, json.dumps({"answer": [letter, sure]}), "pqa")))
    figures = PQA.aggregate(triples, "accuracy").subsets["pqa"]
    right, sureness = [letter == "B" for letter, _ in given_answers], [sure / 100 for _, sure in given_answers]
    assert figures["brier"] == pytest.approx(brier_score_loss(right, sureness, pos_label=True))
    assert figures["accuracy"] == sum(right) / 40 and not PQA.higher_is_better("brier")


STEPS = {"question": "Sort.", "wrong_steps": ["c", "a", "d", "b"], "correct_steps": ["a", "b", "c", "d"]}
TWICE = {"question": "Sort.", "wrong_steps": ["wash", "dry", "wash"], "correct_steps": ["wash", "dry", "wash"]}


@pytest.mark.parametrize(
    ("row", "response", "parsed", "score", "tau"),
    [
        (STEPS, '{"order": [1, 3, 0, 2]}', True, 1, 1),
        (STEPS, 'So: {"order": [1, 3, 0, 2]}.', True, 1, 1),
        (STEPS, '```json\n{"order": [1, 3, 0, 2]}\n```', True, 1, 1),
        (STEPS, '{"order": [0, 1, 2, 3]} no, {"order": [1, 3, 0, 2]}', True, 1, 1),
        (STEPS, '<think>{"order": [0, 1, 2, 3]}</think>{"order": [1, 3, 0, 2]}', True, 1, 1),
        (STEPS, TAGGED("[1, 3, 0, 2]"), True, 1, 1),
        (STEPS, TAGGED(" [1,3,0,2] "), True, 1, 1),
        (STEPS, TAGGED("(1, 3, 0, 2)"), True, 1, 1),
        # c a d b: wrong are c-a, c-b and d-b: (3 − 3) / 6
        (STEPS, '{"order": [0, 1, 2, 3]}', True, 0, 0),
        # d c b a: all six wrong
        (STEPS, '{"order": [2, 0, 3, 1]}', True, 0, -1),
        # b a c d: one of six wrong: (5 − 1) / 6
        (STEPS, '{"order": [3, 1, 0, 2]}', True, 0, 2 / 3),
        # a c b d: the same
        (STEPS, TAGGED("[1, 0, 3, 2]"), True, 0, 2 / 3),
        # b a d c: two of six wrong: (4 − 2) / 6
        (STEPS, '{"order": [3, 1, 2, 0]}', True, 0, 1 / 3),
        # both washes may stand first
        (TWICE, '{"order": [0, 1, 2]}', True, 1, 1),
        (TWICE, '{"order": [2, 1, 0]}', True, 1, 1),
        # dry wash wash: of the pairs with different texts one is right, one wrong
        (TWICE, '{"order": [1, 0, 2]}', True, 0, 0),
        (STEPS, '{"order": [1, 3, 0]}', False, 0, 0),
        (STEPS, '{"order": [1, 3, 0, 0]}', False, 0, 0),
        (STEPS, '{"order": [2, 4, 1, 3]}', False, 0, 0),
        (STEPS, '{"order": [1, 3, 0, 2, 4]}', False, 0, 0),
        (STEPS, '{"order": ["1", "3", "0", "2"]}', True, 1, 1),
        (STEPS, '{"order": [1, 3, false, 2]}', False, 0, 0),
        (STEPS, '{"order": [1.0, 3, 0, 2]}', True, 1, 1),
        (STEPS, '{"order": [1.5, 3, 0, 2]}', False, 0, 0),
        (STEPS, '{"order": "1 3 0 2"}', False, 0, 0),
        (STEPS, "[1, 3, 0, 2]", False, 0, 0),
        (STEPS, TAGGED("1, 3, 0, 2"), False, 0, 0),
        (STEPS, TAGGED("[1, 3, 0, 2] then stop"), False, 0, 0),
        (STEPS, "[ANSWER_START][1, 3, 0, 2]", False, 0, 0),
        (STEPS, '{"order": [1, 3, 0, 2]', False, 0, 0),
        (STEPS, "", False, 0, 0),
    ],
)
def test_an_order_is_scored_by_hand_worked_cases(
    row: dict[str, Any], response: str, parsed: bool, score: float, tau: float
) -> None:
    answer = ORD.score(row, response, "ord")
    assert (answer.parsed, answer.score, answer.metrics["kendall_tau"]) == (parsed, score, pytest.approx(tau))


@given(st.permutations(range(6)))
def test_kendall_s_tau_is_scipy_s(order: list[int]) -> None:
    from scipy.stats import kendalltau

    steps = [f"step {n}" for n in range(6)]
    answer = ORD.score({"wrong_steps": steps, "correct_steps": steps}, json.dumps({"order": order}), "ord")
    assert answer.metrics["kendall_tau"] == pytest.approx(kendalltau(order, range(6)).statistic)
    assert answer.score == (order == list(range(6)))


def step(correct: bool) -> dict[str, Any]:
    return {"context": {}, "corrected_text": "Add 5 mL.", "corrupted_text": "Add 50 mL.", "is_correct": correct}


@pytest.mark.parametrize(
    ("response", "value"),
    [
        ('{"correct": true}', True),
        ('{"correct": false}', False),
        ('{"correct": "true"}', True),
        ('{"correct": "False"}', False),
        ('{"correct": " TRUE "}', True),
        ('I think {"reason": "too much", "correct": false}.', False),
        ('```json\n{"correct": true}\n```', True),
        ('{"correct": true} no: {"correct": false}', False),
        ('{"correct": false} {"correct": tr', False),
        ('<think>{"correct": true}</think>{"correct": false}', False),
        (TAGGED("True"), True),
        (TAGGED("False"), False),
        (TAGGED(" false\n"), False),
        (TAGGED("True") + TAGGED("False"), False),
        (TAGGED("It is True"), None),
        (TAGGED("True or False"), None),
        (TAGGED(""), None),
        ("[ANSWER_START]True", None),
        ("True", None),
        ("The step is false.", None),
        ('{"correct": 1}', None),
        ('{"correct": "yes"}', None),
        ('{"correct": null}', None),
        ('{"correct": [true]}', None),
        ('{"answer": true}', None),
        ("", None),
    ],
)
def test_a_verdict_on_a_step_is_scored_by_hand_worked_cases(response: str, value: bool | None) -> None:
    for correct in (True, False):
        answer = ERR.score(step(correct), response, "err")
        assert (answer.parsed, answer.value, answer.score) == (value is not None, value, float(value is correct))


@pytest.mark.parametrize("seed", range(20))
def test_the_pooled_f1_is_scikit_learn_s_with_an_unparsable_answer_finding_no_error(seed: int) -> None:
    from sklearn.metrics import precision_recall_fscore_support

    rng = random.Random(seed)
    cases = [(rng.random() < 0.5, rng.choice([True, False, None])) for _ in range(15)]
    triples = []
    for correct, said in cases:
        response = "Hm." if said is None else json.dumps({"correct": said})
        triples.append((step(correct), "err", ERR.score(step(correct), response, "err")))
    scores = ERR.aggregate(triples, "error_f1")
    precision, recall, f1, _ = precision_recall_fscore_support(
        [not correct for correct, _ in cases], [said is False for _, said in cases], average="binary", zero_division=0
    )
    figures = scores.subsets["err"]
    assert scores.primary.value == figures["error_f1"] == pytest.approx(f1)
    assert (figures["error_precision"], figures["error_recall"]) == (pytest.approx(precision), pytest.approx(recall))


def test_a_hand_worked_table_counts_errors_that_were_found() -> None:
    # Errors: found, missed, unparsable. Right steps: called wrong, called right. TP 1, FP 1, FN 2: 2 / (2 + 1 + 2).
    table = [(False, "false"), (False, "true"), (False, "?"), (True, "false"), (True, "true")]
    triples = [(step(c), "err", ERR.score(step(c), f'{{"correct": {said}}}', "err")) for c, said in table]
    scores = ERR.aggregate(triples, "error_f1")
    assert scores.primary.value == pytest.approx(0.4) and scores.parse_rate == 0.8
    assert scores.subsets["err"]["accuracy"] == pytest.approx(0.4)


PROTOCOL = {"input": "Make it.", "output": ["Weigh 5 g of urea.", "Add 20 mL of water.", "Stir it."]}


def said(*steps: str) -> str:
    return json.dumps({"steps": list(steps)})


@pytest.mark.parametrize(
    ("response", "parsed", "score", "recall"),
    [
        # The reference has 5 + 5 + 2 = 12 words.
        (said("Weigh 5 g of urea.", "Add 20 mL of water.", "Stir it."), True, 1, 1),
        (said("weigh 5 g of urea", "add 20 ml of water", "stir it"), True, 1, 1),
        (said("1. Weigh 5 g of urea.", "2) Add 20 mL of water.", "3. Stir it."), True, 1, 1),
        (said("Weigh 5 g of urea. Add 20 mL of water. Stir it."), True, 1, 0),  # one step of 12: F1 with 5 is 10 / 17
        ("So: " + said("Weigh 5 g of urea."), True, 10 / 17, 1 / 3),
        (said("Add 20 mL of water."), True, 10 / 17, 1 / 3),
        (said("Stir it."), True, 4 / 14, 1 / 3),
        (said("Stir it.", "Stir it."), True, 4 / 16, 1 / 3),
        # In another order the longest common subsequence is the longer step: 5 of 12 and 10.
        (said("Add 20 mL of water.", "Weigh 5 g of urea."), True, 10 / 22, 2 / 3),
        # 4 of 5 words are right: F1 of the step 0.8, which matches.
        (said("Weigh 7 g of urea."), True, 8 / 17, 1 / 3),
        # 3 of 5: 0.6, which does not.
        (said("Weigh 7 g of salt."), True, 6 / 17, 0),
        (said("Nothing shared."), True, 0, 0),
        (f"```json\n{said('Stir it.')}\n```", True, 4 / 14, 1 / 3),
        (said("Nothing shared.") + said("Stir it."), True, 4 / 14, 1 / 3),
        ("<think>" + said("No.") + "</think>" + said("Stir it."), True, 4 / 14, 1 / 3),
        (TAGGED("1. Weigh 5 g of urea.\n2. Add 20 mL of water.\n\n3. Stir it."), True, 1, 1),
        (TAGGED("Stir it."), True, 4 / 14, 1 / 3),
        ("Weigh 5 g of urea.", False, 0, 0),
        ("1. Weigh 5 g of urea.\n2. Stir it.", False, 0, 0),
        (said(), False, 0, 0),
        (said("Stir it.", ""), False, 0, 0),
        ('{"steps": "Stir it."}', False, 0, 0),
        ('{"steps": [["Stir it."]]}', False, 0, 0),
        ('{"steps": [1, 2]}', False, 0, 0),
        ('{"protocol": ["Stir it."]}', False, 0, 0),
        ('{"steps": ["Stir it."', False, 0, 0),
        ("[ANSWER_START]Stir it.", False, 0, 0),
        (TAGGED("…"), False, 0, 0),
        (said(*["Stir it."] * 201), False, 0, 0),
        ("", False, 0, 0),
    ],
)
def test_written_steps_are_scored_by_hand_worked_cases(response: str, parsed: bool, score: float, recall: float) -> None:
    answer = GEN.score(PROTOCOL, response, "gen")
    assert (answer.parsed, answer.score) == (parsed, pytest.approx(score))
    assert answer.metrics["step_recall"] == pytest.approx(recall)


@pytest.mark.parametrize("seed", range(25))
def test_word_overlap_is_that_of_rouge_score_and_nltk(seed: int) -> None:
    from nltk.translate.bleu_score import SmoothingFunction, sentence_bleu
    from rouge_score.rouge_scorer import RougeScorer

    rng = random.Random(seed)
    draw = lambda: [" ".join(rng.choices("add the 5 ml water of heat salt".split(), k=rng.randint(1, 7))) for _ in range(4)]  # noqa: E731, SIM905
    wanted, given_steps = draw(), draw()
    answer = GEN.score({"input": "x", "output": wanted}, said(*given_steps), "gen")
    target, prediction = " ".join(wanted), " ".join(given_steps)
    rouge = RougeScorer(["rouge1", "rouge2", "rougeL"]).score(target, prediction)
    assert answer.score == pytest.approx(rouge["rougeL"].fmeasure)
    assert answer.metrics["rouge_1"] == pytest.approx(rouge["rouge1"].fmeasure)
    assert answer.metrics["rouge_2"] == pytest.approx(rouge["rouge2"].fmeasure)
    bleu = sentence_bleu([target.split()], prediction.split(), (0.5, 0.5), SmoothingFunction().method1)
    assert answer.metrics["bleu_2"] == pytest.approx(bleu)


@given(st.lists(st.text("ab ", min_size=1, max_size=12), min_size=1, max_size=5))
def test_the_reference_itself_scores_1(steps: list[str]) -> None:
    if not any(s.strip() for s in steps):
        return
    row = {"input": "x", "output": steps}
    answer = GEN.score(row, GEN.module.answer_of(row), "gen")
    assert (answer.parsed, answer.score, answer.metrics["step_recall"]) == (True, 1, 1)


ROWS = {"pqa": QUESTION, "ord": STEPS, "err": step(True), "gen": PROTOCOL}
GRADERS = {"pqa": PQA, "ord": ORD, "err": ERR, "gen": GEN}
PIECES = st.sampled_from(
    ["[ANSWER_START]", "[ANSWER_END]", '{"answer": ', '{"order": [', '{"correct": ', '{"steps": [', "]", "}", "True", "1", ","]
)


@given(st.sampled_from(sorted(ROWS)), st.text(max_size=80) | st.lists(PIECES | st.text(max_size=4), max_size=14).map("".join))
def test_no_response_breaks_a_grader(name: str, response: str) -> None:
    answer = GRADERS[name].score(ROWS[name], response, name)
    assert 0 <= answer.score <= 1 and (answer.parsed or answer.score == 0)


@given(st.sampled_from(sorted(ROWS)), st.text(max_size=60).filter(lambda t: not re.search(r"[{}\[\]<]", t)))
def test_prose_without_an_answer_is_never_taken_for_one(name: str, prose: str) -> None:
    assert not GRADERS[name].score(ROWS[name], prose, name).parsed


@pytest.mark.parametrize(
    ("name", "row"),
    [
        ("pqa", {**QUESTION, "answer": "7 mL"}),
        ("pqa", {**QUESTION, "choices": ["10 mL", "10 mL"]}),
        ("pqa", {**QUESTION, "choices": "10 mL"}),
        ("ord", {**STEPS, "correct_steps": ["a", "b", "c", "x"]}),
        ("ord", {**STEPS, "correct_steps": None}),
        ("err", {**step(True), "is_correct": "perhaps"}),
        ("err", {**step(True), "is_correct": None}),
        ("gen", {**PROTOCOL, "output": []}),
        ("gen", {**PROTOCOL, "output": None}),
        ("gen", {**PROTOCOL, "output": ["…"]}),
    ],
)
def test_a_broken_gold_is_a_grader_failure_and_no_score(name: str, row: dict[str, Any]) -> None:
    with pytest.raises(GraderFailure):
        GRADERS[name].score(row, '{"answer": "A"}', name)


@pytest.mark.parametrize("name", sorted(ROWS))
def test_a_row_of_another_task_fits_no_subset(name: str) -> None:
    assert GRADERS[name].subset_of(ROWS[name]) == name
    with pytest.raises(SpecError):
        GRADERS[name].subset_of({"query": "?"})


@pytest.mark.parametrize(
    ("name", "row"),
    [
        ("pqa", QUESTION),
        ("ord", {"wrong_steps": ["b", "c", "a"], "correct_steps": ["a", "b", "c"]}),
        ("err", step(True)),
        ("gen", {"input": "x", "output": ["Weigh 5 g of urea.", "Add 20 mL of water."]}),
    ],
)
def test_the_format_that_agents_are_told_is_the_format_that_scores(name: str, row: dict[str, Any]) -> None:
    told = task(f"biology/{name}")
    examples = re.findall(r"`(\{.*?\})`", told.dojo.answer_format)
    assert examples and "{{answer_format}}" in told.instruction
    assert GRADERS[name].score(row, f"Thus {examples[0]}.", name).score == 1
    assert all(GRADERS[name].score(row, example, name).parsed for example in examples)
