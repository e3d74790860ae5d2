"""What is found in an answer, and what is said of one that is none."""

from __future__ import annotations

import json

import pytest
from ft_agent.llm.calls import CALLS, Causes, Idea, Proposal, schema_of
from ft_agent.llm.parsing import MOST_CHARS, Unreadable, read_reply
from hypothesis import given, settings
from hypothesis import strategies as st

GOOD = {"causes": [{"cause": "the rate is too low", "evidence": "guess", "test": "probe a higher one"}]}
TEXT = json.dumps(GOOD)


@pytest.mark.parametrize(
    "said",
    [
        TEXT,
        f"  \n{TEXT}\n",
        f"```json\n{TEXT}\n```",
        f"```\n{TEXT}\n```",
        f"Here you are:\n```json\n{TEXT}\n```\nI hope this helps.",
        f"Sure! {TEXT} That is all.",
        f'The form is {{"causes": []}}; mine is\n{TEXT}',
        f'<think>maybe {{"causes": [1]}}? no</think>\n{TEXT}',
        json.dumps({**GOOD, "confidence": 0.9}),
        TEXT.replace("low", "low\\u0000\\ud800"),
        TEXT.replace("too low", "too\nlow"),
        f"{{}} {TEXT}",
    ],
)
def test_the_answer_is_found_whatever_stands_around_it(said: str) -> None:
    found = read_reply(said, Causes)
    assert isinstance(found, Causes) and found.causes[0].evidence == "guess"
    json.dumps(found.model_dump(), allow_nan=False).encode()


@pytest.mark.parametrize(
    ("said", "problem"),
    [
        ("", "the answer is empty"),
        ("   \n", "the answer is empty"),
        ("I cannot help with that.", "there is no JSON object"),
        ("[1, 2]", "there is no JSON object"),
        ("null", "there is no JSON object"),
        (TEXT[:-10], "it is no JSON"),
        (TEXT.replace('"', "'"), "it is no JSON"),
        ("{" * 50_000, "no JSON|nested"),
        ('{"causes":' * 3000 + "1" + "}" * 3000, "nested|causes|no JSON"),
        ("x" * (MOST_CHARS + 10) + TEXT, "there is no JSON object"),
        ('{"causes": "many"}', "causes: Input should be a valid list"),
        ('{"causes": []}', "causes: List should have at least 1 item"),
        ('{"causes": [{"cause": "x"}]}', "causes.0.evidence: Field required"),
        ('{"causes": [{"cause": 3, "evidence": "x"}]}', "causes.0.cause: Input should be a valid string .you gave 3."),
        (json.dumps({"causes": [{"cause": "x" * 9000, "evidence": "x"}]}), "at most 400 characters"),
        (json.dumps({"causes": GOOD["causes"] * 9}), "at most 4 items"),
    ],
)
def test_what_is_no_answer_is_said_in_words(said: str, problem: str) -> None:
    with pytest.raises(Unreadable, match=problem):
        read_reply(said, Causes)


def idea(**changes: object) -> str:
    whole = {
        "hypothesis": "h",
        "knob": "rate",
        "changes": {"trainer": {"learning_rate": 1e-3}},
        "expected_gain": 0.1,
        "seconds": 9,
    }
    return json.dumps({"ideas": [{**whole, **changes}]})


@pytest.mark.parametrize(
    ("said", "problem"),
    [
        (idea(expected_gain=float("nan")), "NaN is no JSON number"),
        (idea(seconds=float("inf")), "Infinity is no JSON number"),
        (idea(seconds=1).replace('"seconds": 1', '"seconds": 1e999'), "1e999 is no finite number"),
        (idea(seconds=10**400), "too large a number"),
        (idea(changes={"trainer": {"learning_rate": float("nan")}}), "NaN is no JSON number"),
        (idea(seconds=-5), "seconds: Input should be greater than 0"),
        (idea(expected_gain=40), "less than or equal to 1"),
        (idea(expected_gain="a lot"), "expected_gain: Input should be a valid number"),
        (idea(phase="win"), "phase: Input should be 'probe', 'exploit' or 'polish'"),
        (idea(changes={"data": [{"do": "delete", "operation": "clean"}]}), "should be 'put' or 'take_out'"),
        (idea(changes={"data": [{"do": "put", "operation": "os.system('x')"}]}), "String should match pattern"),
        (idea(program={"name": "../../x", "purpose": "p"}), "String should match pattern"),
    ],
)
def test_numbers_and_names_that_mean_nothing_are_refused(said: str, problem: str) -> None:
    with pytest.raises(Unreadable, match=problem):
        read_reply(said, Proposal)


def test_numbers_written_as_text_are_taken() -> None:
    found = read_reply(idea(seconds="30", expected_gain="0.02"), Proposal)
    assert isinstance(found, Proposal) and (found.ideas[0].seconds, found.ideas[0].expected_gain) == (30.0, 0.02)


@pytest.mark.parametrize("call", CALLS)
def test_every_call_has_a_schema_that_names_its_required_fields_and_forbids_others(call: str) -> None:
    schema = schema_of(call)
    assert schema["additionalProperties"] is False and schema["required"] and schema["title"] == CALLS[call].__name__
    json.dumps(schema)


def test_an_idea_without_the_optional_parts_is_a_probe_without_evidence() -> None:
    found = Idea.model_validate({"hypothesis": "h", "knob": "k", "expected_gain": 0, "seconds": 1})
    assert (found.phase, found.evidence, found.program, found.go_on) == ("probe", "", None, False)


@settings(max_examples=150)
@given(st.text(max_size=300) | st.text(alphabet='{}[]",:\\ne0123456789', max_size=120))
def test_whatever_is_said_it_is_an_answer_or_unreadable(said: str) -> None:
    for text in (said, f"{said}{TEXT}", TEXT[: len(said)] + said):
        try:
            json.dumps(read_reply(text, Causes).model_dump(), allow_nan=False).encode()
        except Unreadable as exc:
            assert exc.problems
