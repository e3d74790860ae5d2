from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.taskkit.building.overlap import NGRAM, Overlap, OverlapIndex, ngrams, normalised, words

LONG = "Let p and q be the two roots of the given equation and find the value of their sum."
SHORT = "What is 12 + 34?"


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        (SHORT, "exact"),
        ("what is 12+34", "normalised"),
        ("What  is\n12 + 34 ?!", "normalised"),
        ("What is 12 + 35?", None),
        ("Now then. What is 12 + 34?", None),
        (LONG, "exact"),
        (f"Exercise 3. {LONG.upper()}", "ngram"),
        ("Let p and q be the two roots of the given equation and find their product.", "ngram"),
        ("Let p and q be the two roots of another equation and find the value of their sum.", None),
    ],
)
def test_a_repetition_is_found_in_every_form_and_chance_is_not(text: str, kind: str | None) -> None:
    found = OverlapIndex([SHORT, LONG]).find(text)
    assert (found.kind if found else None) == kind


def test_the_repeated_text_is_named() -> None:
    assert OverlapIndex([SHORT, LONG]).find(LONG) == Overlap("exact", 1)


def test_words_fold_case_width_and_punctuation() -> None:
    assert words("Ｗhat’s  THE “sum”?") == ["what", "s", "the", "sum"]


def test_runs_of_words_are_all_runs() -> None:
    assert ngrams(["a", "b", "c"], 2) == {("a", "b"), ("b", "c")} and ngrams(["a"], 2) == set()


@given(st.text())
def test_a_text_always_overlaps_with_itself(text: str) -> None:
    assert OverlapIndex([text]).find(text) == Overlap("exact", 0)


@given(
    st.lists(st.sampled_from("abcdef"), min_size=NGRAM, max_size=40), st.text("xyz ", max_size=30), st.text("xyz ", max_size=30)
)
def test_a_long_text_is_found_inside_another(tokens: list[str], before: str, after: str) -> None:
    text = " ".join(tokens)
    assert OverlapIndex([text]).find(f"{before} {text} {after}") is not None
    assert normalised(text) == text
