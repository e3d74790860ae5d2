r"""What a grader reads out of a response: `harness.taskkit.scoring.extraction`."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.taskkit.scoring.extraction import after_thinking, as_object, last_boxed, last_json_value


def text_or_number(value: object) -> str | int | None:
    return value if isinstance(value, str | int) and not isinstance(value, bool) else None


def json_of(text: str) -> str | int | None:
    return last_json_value(text, ["output", "count"], text_or_number)


@pytest.mark.parametrize(
    ("text", "content"),
    [
        (r"\boxed{5}", "5"),
        (r"It is \boxed{1}, no, \boxed{2}.", "2"),
        (r"\boxed{1} and then \boxed{", "1"),
        (r"\boxed{1} and then \boxed{}", "1"),
        (r"\boxed{ 7 }", "7"),
        (r"\boxed {7}", "7"),
        (r"\boxed{\frac{1}{2}}", r"\frac{1}{2}"),
        (r"\boxed{\boxed{9}}", "9"),
        (r"\boxed{ \boxed{9} }", "9"),
        (r"\boxed{x = \boxed{9}}", r"x = \boxed{9}"),
        (r"\boxed{\{1\}}", r"\{1\}"),
        (r"{ stray \boxed{3}", "3"),
        (r"} stray \boxed{3}", "3"),
        (r"\\boxed{8}", "8"),
        (r"\boxed{}", None),
        (r"\boxed{   }", None),
        (r"\boxed{5", None),
        ("the answer is 5", None),
        (r"\fbox{5}", None),
        ("boxed{5}", None),
        ("", None),
    ],
)
def test_the_last_closed_box_that_is_not_empty_counts(text: str, content: str | None) -> None:
    assert last_boxed(text) == content


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ('{"output": 2}', 2),
        ('I think {"output": 2} is right.', 2),
        ('```json\n{"output": "CCO"}\n```', "CCO"),
        ('{"output": 1} or {"output": 2}', 2),
        ('{"output": 1} {"note": 2}', 1),
        ('{"output": 1} {"output": 2', 1),
        ('{"output": 1} {"output": null}', 1),
        ('{"output": 1} {"output": [2]}', 1),
        ('{"count": 3}', 3),
        ('{"count": 3, "output": 4}', 4),
        ('{"reason": "{\\"output\\": 1}", "output": 2}', 2),
        ('{"steps": {"output": 1}}', None),
        ('{"steps": [{"output": 1}], "output": ', None),
        ('{{"output": 3}}', 3),
        ('{"note": "quote " {"output": 4}', 4),
        (r'{"output": "C/C=C\C"}', "C/C=C\\C"),
        (r'{"output": "F/C=C\\F"}', "F/C=C\\F"),
        (r'{"output": "N[C@@H](C)C(=O)O"}', "N[C@@H](C)C(=O)O"),
        ('{"output": "a\\u0041"}', "aA"),
        ('{"output": "a\\u00"}', "a\\u00"),
        ("{'output': 2}", None),
        ('{"output": 2,}', None),
        ('{"Output": 2}', None),
        ('{"output": NaN}', None),
        ('["output", 2]', None),
        ('[{"output": 2}]', 2),
        ('"output": 2', None),
        ("2", None),
    ],
)
def test_the_last_outermost_whole_object_with_the_key_counts(text: str, value: object) -> None:
    assert json_of(text) == value


@pytest.mark.parametrize(
    ("text", "content"),
    [
        (r"<think>\boxed{1}</think> \boxed{2}", "2"),
        (r"<think>\boxed{1}</think> so it is.", "1"),
        (r"\boxed{1}</think> \boxed{2}", "2"),
        (r"<think>\boxed{1}", "1"),
        (r"<THINK>\boxed{1}</THINK>\boxed{2}", "2"),
        (r"\boxed{2} <think>\boxed{1}</think>", "1"),
        (r"<think>a</think>\boxed{3}<thinking>\boxed{4}</thinking>\boxed{5}", "5"),
    ],
)
def test_closed_think_blocks_are_ignored_when_an_answer_follows(text: str, content: str) -> None:
    assert after_thinking(text, last_boxed) == content


@given(st.text(alphabet='{}[]":,\\ abox0d\n'))
def test_no_text_makes_a_finder_raise(text: str) -> None:
    assert last_boxed(text) is None or last_boxed(text)
    json_of(text)


@given(st.dictionaries(st.text(max_size=5), st.integers() | st.text(max_size=8) | st.lists(st.integers()), max_size=4), st.text())
def test_an_object_written_by_a_program_is_found_behind_prose_without_braces(value: dict[str, object], prose: str) -> None:
    prose = prose.replace("{", "").replace('"', "")
    text = prose + json.dumps({**value, "output": 7})
    assert json_of(text) == 7


PROSE = st.text(alphabet="abc .,:\n\\[]()0", max_size=12)
OBJECTS = st.dictionaries(st.sampled_from(["output", "note", "x"]), st.integers() | st.text(max_size=6), max_size=3)


@given(st.lists(st.tuples(PROSE, OBJECTS), max_size=6), PROSE)
def test_of_many_objects_among_prose_the_last_with_the_key_counts(parts: list[tuple[str, dict[str, object]]], rest: str) -> None:
    text = "".join(prose + json.dumps(value) for prose, value in parts) + rest
    expected = next((value["output"] for _, value in reversed(parts) if "output" in value), None)
    assert json_of(text) == expected


HOSTILE = ["{", '{"a":', '{"a":[', '{"a{', '{"a": "x {"a', "\\boxed{", "\\boxed{{", "\\", '"{', '{"a":{"b":1},', '[{"a":1},', "}"]


@pytest.mark.parametrize("piece", [*HOSTILE, "</think>", "<think>", '{"output": 1}', "\\boxed{\\boxed{1}"])
def test_hostile_text_costs_linear_work(piece: str) -> None:
    """Counts executed lines, not seconds: twice the text may cost at most about twice the lines."""

    def lines_of(count: int) -> int:
        text = piece * count
        lines = 0

        def tracer(frame: object, event: str, argument: object) -> Callable[..., object]:
            nonlocal lines
            lines += event == "line"
            return tracer

        before = sys.gettrace()
        sys.settrace(tracer)
        try:
            after_thinking(text, last_boxed)
            after_thinking(text, json_of)
        finally:
            sys.settrace(before)
        return lines

    assert lines_of(800) <= 2.5 * lines_of(400) + 50


def test_closed_nested_boxes_cost_linear_work() -> None:
    assert last_boxed("\\boxed{" * 50_000 + "1" + "}" * 50_000) == "1"


def test_a_field_comes_as_object_or_as_json_text() -> None:
    assert as_object({"a": 1}) == as_object('{"a": 1}') == {"a": 1}
    with pytest.raises(ValueError, match="list"):
        as_object("[1]")
