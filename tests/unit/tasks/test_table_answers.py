"""Graders of the three table tasks that are answered by a text: hand-worked cases, fuzz, hostile answers."""

from __future__ import annotations

import json
import re
import string
import time
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.assets.task_dir import find_task
from harness.grading.score_rows import score_rows
from harness.spec.errors import GraderFailure, SpecError
from harness.taskkit.scoring.contract import load_grader
from tasks.table.shared.answers import final_answer, near_answer, normalised_answer, rouge_l, same_answer

TABLE = Path(__file__).resolve().parents[3] / "tasks" / "table"
GRADERS = {name: load_grader(TABLE / name) for name in ("fact_checking", "numerical_reasoning", "data_analysis")}
QTYPES = {"fact_checking": "FactChecking", "numerical_reasoning": "NumericalReasoning", "data_analysis": "DataAnalysis"}
SUBTYPES = {
    "correlation": "CorrelationAnalysis",
    "trend": "TrendForecasting",
    "statistics": "StatisticalAnalysis",
    "impact": "ImpactAnalysis",
    "other": "DescriptiveAnalysis",
}


def row(task: str, gold: str, qsubtype: str = "") -> dict:
    table = {"columns": ["a"], "data": [[1]]}
    head = {"id": "1", "qtype": QTYPES[task], "qsubtype": qsubtype, "table": table}
    return head | {"question": "?", "answer": gold, "chart_type": "", "instruction_type": "TCoT", "instruction": ""}


@pytest.mark.parametrize(
    ("response", "found"),
    [
        ("Final Answer: 12", "12"),
        ("FINAL ANSWER: Paris", "Paris"),
        ("I think so.\nfinal answer: a b\nThat was it.", "a b"),
        ("Final Answer:\n12", "12"),
        ("**Final Answer:**\n12", "12"),
        ("**Final Answer:** 12", "12"),
        ("**Final Answer**: 12", "12"),
        ("**Final Answer** : 12", "12"),
        ("**Final Answer: 12**", "12**"),
        ("**Final Answer**: **12**", "**12**"),
        ("*Final Answer*: 12", "12"),
        ("__Final Answer__: 12", "12"),
        ("***Final Answer:*** 12", "12"),
        ("`Final Answer:` 12", "12"),
        ("- **Final Answer**: 12", "12"),
        ("> Final Answer: 12", "12"),
        ("Final Answer : 12", "12"),
        ("Final  Answer: 12", "12"),
        ("Final Answer\uff1a12", "12"),
        ("Final Answer\uff1a 12", "12"),
        ("**Final Answer**\uff1a12", "12"),
        ("## Final Answer: 12", "12"),
        ("## Final Answer:\n12", "12"),
        ("### **Final Answer:** 12", "12"),
        ("## Final Answer\n12", "12"),
        ("## Final Answer\n\n12", "12"),
        ("### Final Answer ###\n12", "12"),
        ("# **Final Answer**\r\n12", "12"),
        ("**Final Answer**\n12", "12"),
        ("**FINAL ANSWER**\n\n12\nas I said", "12"),
        ("Final Answer: 1\n\n## Final Answer\n\n2", "2"),
        ("## Final Answer\n1\n**Final Answer:** 2", "2"),
        ("## Final Answer\n\n\n12", None),
        ("## Final Answer", None),
        ("## The Final Answer\n12", None),
        ("Final Answer\n12", None),
        ("the final answer\n12", None),
        ("**Final Answer** 12", None),
        ("## Final Answers\n12", None),
        ("Final\nAnswer: 12", None),
        ("FinalAnswer: 12", None),
        ("Final Answer; 12", None),
        ("Final Answer: 1\nFinal Answer: 2", "2"),
        ("Final Answer: x, Final Answer: y", "y"),
        ("Final Answer: 12\r\nmore", "12"),
        ("<think>Final Answer: 1</think>Final Answer: 2", "2"),
        ("<think>Final Answer: 1</think>Two, I guess.", "1"),
        ("Final Answer:\n\n12", None),
        ("Final Answer: 1\nFinal Answer:", None),
        ("Final Answer:", None),
        ("Final Answer 12", None),
        ("The answer is 12", None),
        ("Answer: 12", None),
        ("12", None),
        ("", None),
        ("\x00\ud800", None),
    ],
)
def test_the_last_marker_gives_the_answer(response: str, found: str | None) -> None:
    assert final_answer(response) == found


@pytest.mark.parametrize(
    ("answer", "gold", "same"),
    [
        ("12", "12.0", True),
        ("12.50", "12.5", True),
        ("1,234", "1234", True),
        ("1,234,567.0", "1234567", True),
        ("−3.5", "-3.5", True),
        ("**-3.50**", "-3.5", True),
        ("+5", "5", True),
        (".5", "0.5", True),
        ("12%", "12.0%", True),
        ("12 %", "12%", True),
        (" Yes. ", "yes", True),
        ("'New  York'", "new york", True),
        ("“Foo”", "foo", True),
        ("Ｆｏｏ", "foo", True),
        ("2001–2002", "2001-2002", True),
        ("1, 2", "1.0, 2", True),
        ("-0.0", "0", True),
        ("3", "-3", False),
        ("12", "12%", False),
        ("125", "12.5", False),
        ("1,2,3", "123", False),
        ("$12", "12", False),
        ("12 apples", "12", False),
        ("1.10.2020", "1.1.2020", False),
        ("York", "New York", False),
        ("", "x", False),
        ("***", "x", False),
    ],
)
def test_answers_are_compared_normalised(answer: str, gold: str, same: bool) -> None:
    assert same_answer(answer, gold) is same
    for task in ("fact_checking", "numerical_reasoning"):
        scored = GRADERS[task].score(row(task, gold), f"So.\nFinal Answer: {answer}", task)
        assert scored.score == float(same)


@pytest.mark.parametrize(
    ("answer", "gold", "near"),
    [
        ("100", "100", True),
        ("110", "100", True),
        ("90", "100", True),
        ("1.1", "1", True),
        ("0.99", "1.1", True),
        ("1,050", "1000", True),
        ("-0.9", "-1", True),
        ("−0.9", "-1", True),
        ("9.5%", "10%", True),
        ("1.05e3", "1000", True),
        ("0.0000009", "0", True),
        ("0", "0", True),
        ("No clear trend", "no clear trend.", True),
        ("110.001", "100", False),
        ("89.999", "100", False),
        ("0.9", "-1", False),
        ("9.5", "10%", False),
        ("0.000001", "0", False),
        ("about 100", "100", False),
        ("100, 101", "100", False),
        ("1e999", "100", False),
        ("nan", "100", False),
        ("inf", "100", False),
        ("Strong", "Weak", False),
        ("10.5", "ten", False),
    ],
)
def test_numbers_count_within_ten_percent_inclusive(answer: str, gold: str, near: bool) -> None:
    for subset in ("correlation", "trend", "statistics"):
        scored = GRADERS["data_analysis"].score(row("data_analysis", gold), f"Final Answer: {answer}", subset)
        assert scored.score == float(near) and scored.parsed


def test_impact_is_exact_and_other_is_rouge_l() -> None:
    grader = GRADERS["data_analysis"]
    assert grader.score(row("data_analysis", "10"), "Final Answer: 10.5", "impact").score == 0
    assert grader.score(row("data_analysis", "Engine size"), "Final Answer: engine size.", "impact").score == 1
    # 4 gold words, 3 given, 2 in common order: precision 2/3, recall 2/4, F1 = 4/7.
    scored = grader.score(row("data_analysis", "sales rose every year"), "Final Answer: sales fell year", "other")
    assert scored.score == pytest.approx(4 / 7)
    # No stemmer: "rises" is not "rise".
    assert grader.score(row("data_analysis", "rises"), "Final Answer: rise", "other").score == 0
    assert grader.score(row("data_analysis", "rises"), "rises", "other").score == 0


@given(st.lists(st.sampled_from("abcd"), min_size=1, max_size=12), st.lists(st.sampled_from("abcd"), min_size=1, max_size=12))
def test_rouge_l_is_the_f1_of_the_longest_common_subsequence(gold: list[str], answer: list[str]) -> None:
    longest = [[0] * (len(answer) + 1) for _ in range(len(gold) + 1)]
    for i, g in enumerate(gold, 1):
        for j, a in enumerate(answer, 1):
            longest[i][j] = longest[i - 1][j - 1] + 1 if g == a else max(longest[i - 1][j], longest[i][j - 1])
    assert rouge_l(" ".join(answer), " ".join(gold)) == pytest.approx(2 * longest[-1][-1] / (len(gold) + len(answer)))


@pytest.mark.parametrize("subset", list(SUBTYPES))
def test_upstream_sub_types_fall_into_their_subset(subset: str) -> None:
    assert GRADERS["data_analysis"].subset_of(row("data_analysis", "1", SUBTYPES[subset])) == subset


@pytest.mark.parametrize("kind", ["AnomalyDetection", "CausalAnalysis"])
def test_what_has_no_subset_of_its_own_is_other(kind: str) -> None:
    assert GRADERS["data_analysis"].subset_of(row("data_analysis", "1", kind)) == "other"


@pytest.mark.parametrize("task", list(GRADERS))
def test_a_row_of_another_question_type_is_refused_and_an_empty_gold_is_a_grader_failure(task: str) -> None:
    with pytest.raises(SpecError, match="qtype"):
        GRADERS[task].subset_of(row(task, "1", "ImpactAnalysis") | {"qtype": "Visualization"})
    subset = next(iter(GRADERS[task].subset_metrics))
    with pytest.raises(GraderFailure, match="gold"):
        GRADERS[task].score(row(task, " "), "Final Answer: 1", subset)


@pytest.mark.parametrize("task", list(GRADERS))
def test_the_format_that_agents_are_told_scores(task: str) -> None:
    text = find_task(f"table/{task}", [TABLE.parent]).dojo.answer_format
    example = re.search(r"`(Final Answer: [^`]+)`", text)
    assert example is not None and final_answer(example.group(1)) == "12"


@given(st.decimals(-(10**6), 10**6, places=3), st.decimals(-(10**6), 10**6, places=3))
def test_near_is_the_rule_in_exact_arithmetic(answer: object, gold: object) -> None:
    a, g = Fraction(str(answer)), Fraction(str(gold))
    expected = abs(a - g) <= abs(g) / 10 if g else abs(a) < Fraction(1, 10**6)
    assert near_answer(str(answer), str(gold)) is expected


@given(st.integers(-(10**12), 10**12), st.integers(0, 3))
def test_a_number_is_the_same_however_it_is_written(number: int, zeros: int) -> None:
    written = f"{number:,}" + ("." + "0" * zeros if zeros else "")
    assert same_answer(written, str(number)) and same_answer(written.replace("-", "\u2212"), str(number))
    assert not same_answer(written, str(-number)) or number == 0


@given(st.text(max_size=80))
def test_normalising_twice_changes_nothing_more_for_a_plain_answer(text: str) -> None:
    plain = "".join(c for c in text if c in string.ascii_letters + string.digits + " -%")
    once = normalised_answer(plain)
    assert normalised_answer(once) == once


@given(st.text(max_size=200), st.sampled_from(["", "Final Answer: ", "</think>Final Answer:\n"]))
def test_no_answer_breaks_a_grader(text: str, before: str) -> None:
    for task, grader in GRADERS.items():
        for subset in grader.subset_metrics:
            assert 0 <= grader.score(row(task, "12"), before + text, subset).score <= 1


@pytest.mark.parametrize(
    "piece",
    [
        "Final Answer:",
        "Final Answer: 1,234",
        "{[(",
        "\x00",
        "1,",
        "9",
        ".",
        "-",
        "**",
        " \n",
        "\ud800",
        "</think>",
        "\u0301",
        "a ",
    ],
)
def test_hundreds_of_kilobytes_of_anything_are_read_in_linear_time(piece: str) -> None:
    def seconds(size: int) -> float:
        response = "Final Answer: " + piece * (size // len(piece))
        started = time.process_time()
        for task, grader in GRADERS.items():
            for subset in grader.subset_metrics:
                grader.score(row(task, "12 words of gold"), response, subset)
        return time.process_time() - started

    small, large = seconds(40_000), seconds(400_000)
    assert large < 30 * max(small, 0.05), (small, large)


def test_rows_in_the_upstream_layout_are_scored_with_slices_and_the_same_bytes_twice(tmp_path: Path) -> None:
    rows = [row("fact_checking", "Yes", "MatchBased"), row("fact_checking", "12", "Multi-hop FactChecking")]
    rows[1]["table"] = json.dumps(rows[1]["table"])
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows))
    (tmp_path / "responses.jsonl").write_text(json.dumps({"index": 0, "response": "Final Answer: yes"}) + "\n")
    found = [score_rows(TABLE / "fact_checking", tmp_path / "rows.jsonl", tmp_path / "responses.jsonl") for _ in range(2)]
    assert json.dumps(found[0]) == json.dumps(found[1])
    assert found[0]["primary"] == {"name": "exact_match", "value": 0.5, "higher_is_better": True}
    assert found[0]["parse_rate"] == 0.5
    figures = found[0]["subsets"]["fact_checking"]
    assert (figures["exact_match_MatchBased"], figures["exact_match_Multi-hop_FactChecking"]) == (1, 0)


def test_the_primary_of_data_analysis_is_the_plain_mean_of_the_subsets_present() -> None:
    grader = GRADERS["data_analysis"]
    cases = [("correlation", "1", "1"), ("correlation", "1", "2"), ("impact", "x", "x"), ("other", "a b", "a c")]
    triples = []
    for subset, gold, answer in cases:
        one = row("data_analysis", gold, SUBTYPES[subset])
        triples.append((one, subset, grader.score(one, f"Final Answer: {answer}", subset)))
    assert grader.aggregate(triples, "mean_score").primary.value == pytest.approx((0.5 + 1 + 0.5) / 3)
