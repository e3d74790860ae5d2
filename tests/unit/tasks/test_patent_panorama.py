from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.patent.shared.panorama import claim_of, decoded, name_of, names_in, object_in, objects_in, options_of


@given(st.dictionaries(st.text(), st.integers() | st.text() | st.none()))
def test_an_object_and_json_text_of_it_read_alike(value: dict[str, Any]) -> None:
    plain, text = {"field": value}, {"field": json.dumps(value)}
    assert object_in(plain, "field") == object_in(text, "field")


def test_parts_of_an_object_may_be_json_text_too() -> None:
    assert options_of({"options": {"A": '{"title": "T"}', "B": None}}) == {"A": {"title": "T"}}


@pytest.mark.parametrize("value", ["prose", "{broken", [1], 3, None])
def test_what_is_no_object_is_refused_by_name(value: object) -> None:
    with pytest.raises(ValueError, match="'options'"):
        options_of({"options": value})


def test_a_list_of_objects_reads_alike_as_list_as_text_and_as_list_of_texts() -> None:
    arts = [{"title": "a"}, {"title": "b"}]
    for value in (arts, json.dumps(arts), [json.dumps(art) for art in arts]):
        assert objects_in({"arts": value}, "arts") == arts
    for broken in ("prose", [1], 3, None, {"title": "a"}):
        with pytest.raises(ValueError, match="'arts'"):
            objects_in({"arts": broken}, "arts")


@pytest.mark.parametrize(
    ("value", "names"),
    [
        (["A", "C"], ("A", "C")),
        ('["A", "C"]', ("A", "C")),
        ("A, C", ("A", "C")),
        ("A", ("A",)),
        (17, ("17",)),
        ([17, "17", "0017"], ("17",)),
        ("[17, 4]", ("17", "4")),
        ([], ()),
        ("", ()),
        (None, ()),
    ],
)
def test_names_come_as_lists_texts_and_numbers(value: object, names: tuple[str, ...]) -> None:
    assert names_in({"gold": value}, "gold") == names
    assert names_in({}, "gold") == ()


@pytest.mark.parametrize(
    ("value", "name"),
    [
        (0, "0"),
        ("000", "0"),
        (-3, "-3"),
        (4.0, "4"),
        (4.5, ""),
        (True, ""),
        (None, ""),
        ([4], ""),
        (" x1 ", "x1"),
        (float("inf"), ""),
    ],
)
def test_ids_are_written_in_one_way(value: object, name: str) -> None:
    assert name_of(value) == name


def row(number: object, claims: list[str]) -> dict[str, Any]:
    return {"claim_number": number, "context": json.dumps({"claims": claims})}


def test_a_claim_is_found_by_its_place_or_by_the_number_it_carries() -> None:
    assert claim_of(row(2, ["A pump.", "The pump of claim 1."])) == "The pump of claim 1."
    assert claim_of(row("7", ["1. A pump.", "7. A lamp.", "17. A cart."])) == "7. A lamp."
    for number in (0, 3, -1):
        with pytest.raises(ValueError, match="of 2 claims"):
            claim_of(row(number, ["A pump.", "A lamp."]))
    with pytest.raises(KeyError):
        claim_of({"context": {"claims": ["A pump."]}})


def test_text_that_only_looks_like_json_stays_text() -> None:
    assert decoded("[0012] The pump") == "[0012] The pump" and decoded("plain") == "plain" and decoded(5) == 5
