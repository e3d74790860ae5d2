import json
from pathlib import Path
from typing import Any

import pytest
from reading.rows import (
    AnswerForm,
    bare_value,
    last_boxed,
    learn_answer_form,
    learn_prompt_form,
    normal,
    parse_source,
    rationale_value,
)


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("42", "42"),
        (42, "42"),
        ("42.0", "42"),
        ("$42$", "42"),
        ("<b>42</b>", "42"),
        ("answer: 42", "42"),
        ("So the answer is 42.", "42"),
        ("We get \\boxed{42}", "42"),
        ("\\boxed{\\frac{1}{2}}", "\\frac{1}{2}"),
        ('{"count": 3}', "3"),
        ('{"reason": "x", "output": "c1ccccc1"}', "c1ccccc1"),
        ({"output": True}, "Yes"),
        (["A", "C"], '["A", "C"]'),
        (None, ""),
        ("", ""),
        ("{broken", "{broken"),
        ("```python\nprint(1)\n```", "```python\nprint(1)\n```"),
    ],
)
def test_bare_values_are_taken_out_of_whatever_they_are_written_in(written: Any, value: str) -> None:
    assert bare_value(written) == value


@pytest.mark.parametrize(
    ("text", "content"),
    [("\\boxed{1} then \\boxed{2}", "2"), ("\\boxed{1} then \\boxed{2", "1"), ("\\boxed{a{b}c}", "a{b}c"), ("none", None)],
)
def test_the_last_closed_box_counts(text: str, content: str | None) -> None:
    assert last_boxed(text) == content


def test_a_solution_that_names_no_answer_gives_none() -> None:
    assert rationale_value("hi, I did it in my head: 42, hope that helps!") == ""
    assert rationale_value("So the answer is 42.") == "42"


@pytest.mark.parametrize(
    ("examples", "form"),
    [
        ([{"answer": "\\boxed{5}"}], AnswerForm("boxed")),
        ([{"answer": "First we add, then we carry. \\boxed{5}"}], AnswerForm("boxed", reasons=True)),
        (
            [{"answer": '{"output": 2}'}, {"answer": '{"output": "Yes"}'}],
            AnswerForm("json", "output", types=frozenset({"int", "str"})),
        ),
        ([{"answer": '```json\n{"code": "ALLOW"}\n```'}], AnswerForm("json", "code", fenced=True, types=frozenset({"str"}))),
        ([{"answer": "Final Answer: 12"}, {"answer": "Final Answer: up"}], AnswerForm("marker", lead="Final Answer:")),
        ([{"answer": "B"}, {"answer": "A"}], AnswerForm("plain")),
    ],
)
def test_answer_forms_are_learned_from_examples(examples: list[dict[str, str]], form: AnswerForm) -> None:
    assert learn_answer_form(examples) == form


def test_without_examples_the_tasks_own_words_tell_the_form() -> None:
    assert learn_answer_form([], "The answer is in a box: `\\boxed{42}`.").kind == "boxed"
    assert learn_answer_form([], 'A JSON object: `{"label": "x"}`') == AnswerForm("json", "label")


def test_answers_are_written_as_the_form_says() -> None:
    assert AnswerForm("json").write("3") == '{"output": 3}'
    assert AnswerForm("json").write("C\\C=C/C") == '{"output": "C\\\\C=C/C"}'
    assert AnswerForm("json").write("007") == '{"output": "007"}'
    assert AnswerForm("json", types=frozenset({"str"})).write("102") == '{"output": "102"}'
    assert AnswerForm("json", types=frozenset({"bool"})).write("Yes") == '{"output": true}'
    assert AnswerForm("json", types=frozenset({"str", "list"})).write('["A", "B"]') == '{"output": ["A", "B"]}'
    assert AnswerForm("boxed").write("3", "One and two.") == "One and two.\n\\boxed{3}"
    assert AnswerForm("marker", lead="Final Answer:").write("3") == "Final Answer: 3"


@pytest.mark.parametrize(
    ("form", "answer", "value"),
    [
        (AnswerForm("json", "a"), 'I think {"b": 1} {"a": [1, 2]}', [1, 2]),
        (AnswerForm("json", "a"), "none", None),
        (AnswerForm("boxed"), "So \\boxed{3}", "3"),
        (AnswerForm("marker", lead="答案是:"), "答案是: B", "B"),
        (AnswerForm("plain"), " B ", "B"),
    ],
)
def test_the_value_is_read_from_an_answer_of_each_form(form: AnswerForm, answer: str, value: Any) -> None:
    assert form.read(answer) == value


def test_the_tasks_words_around_a_question_are_learned_and_put_once() -> None:
    examples = [
        {"prompt": f"{q}\nAnswer in a box.", "row": {"question": q}} for q in ("How many apples?", "What is one and one?")
    ]
    form = learn_prompt_form(examples)
    assert form.write("Name a colour.") == "Name a colour.\nAnswer in a box."
    assert form.write(form.write("Name a colour.")) == form.write("Name a colour.")


def test_without_rows_the_shared_lines_are_the_tasks_words() -> None:
    prompts = [
        "You are a clerk.\nHow many apples?\nReply with a number.",
        "You are a clerk.\nHow many pears are there?\nReply with a number.",
    ]
    form = learn_prompt_form([{"prompt": p} for p in prompts])
    assert form.write("How old?") == "You are a clerk.\nHow old?\nReply with a number."


@pytest.mark.parametrize(
    "row",
    [
        {"problem": "How many?", "answer": "3", "solution": "We count."},
        {"Question": "How many?", "Gold": 3, "rationale": "We count."},
        {"query": "How many?", "gt": "3", "struct_cot": "We count.", "subtask": "count"},
        {
            "messages": [{"role": "user", "content": "How many?"}, {"role": "assistant", "content": "3"}],
            "explanation": "We count.",
        },
    ],
)
def test_layouts_are_read_by_what_their_fields_are_called(tmp_path: Path, row: dict[str, Any]) -> None:
    path = tmp_path / "s.jsonl"
    path.write_text(json.dumps(row) + "\nnot json\n[]\n")
    (read,) = parse_source(path)
    assert (read.prompt, read.value, read.rationale) == ("How many?", "3", "We count.")


def test_the_slice_field_is_the_one_that_names_the_sub_sets(tmp_path: Path) -> None:
    path = tmp_path / "s.jsonl"
    rows = [{"query": f"Q{i}?", "gt": "1", "task": t, "kind": k} for i, (t, k) in enumerate([("a", "x"), ("b", "y")] * 5)]
    path.write_text("".join(json.dumps(r) + "\n" for r in rows))
    assert {r.slice for r in parse_source(path, subsets=["x", "y"])} == {"x", "y"}


def test_a_source_without_questions_is_an_error_that_lists_its_fields(tmp_path: Path) -> None:
    path = tmp_path / "s.jsonl"
    path.write_text('{"smiles": "CCO"}\n')
    with pytest.raises(ValueError, match=r"no field looks like a question among \['smiles'\]"):
        parse_source(path)


def test_comparison_folds_words_but_never_smiles() -> None:
    assert normal("What  is 2 + 2?") == normal("what is 2 + 2 ")
    assert normal("Scaffold of C1CCCCC1?") != normal("Scaffold of c1ccccc1?")
    assert normal("How many in CCCC?") != normal("How many in cccc?")
