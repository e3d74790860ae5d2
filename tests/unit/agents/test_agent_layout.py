"""What worked examples teach about rows: the prompts they give back, the answers they name, and what is not believed."""

import json
from typing import Any

import pytest
from reading.layout import Layout, learn_layout
from reading.rows import layout_of, learn_answer_form, learn_prompt_form, parse_source, read_jsonl
from reading.rules import Rule
from reading.wordings import Loop, Slot

from harness.assets.prepare import prepare_task
from harness.assets.task_dir import Task, list_tasks
from harness.service import Dojo

STEPS = [["Heat it.", "Stir it."], ["Stir it.", "Weigh it.", "Heat it."], ["Weigh it.", "Stir it."]]


def example(prompt: str, row: dict[str, Any]) -> dict[str, Any]:
    return {"prompt": prompt, "row": row}


def read_again(layout: Layout, rows: list[dict[str, Any]]) -> list[tuple[str | None, Any]]:
    return [(layout.prompt(r), layout.value(r)) for r in layout.adapt(rows)]


def test_a_list_is_found_line_by_line_and_an_order_is_an_answer() -> None:
    def shown(steps: list[str]) -> str:
        return "Sort the steps.\n" + "\n".join(f"{i}: {s}" for i, s in enumerate(steps)) + "\nReply with numbers."

    examples = [example(shown(s), {"wrong": s, "right": sorted(s)}) for s in STEPS]
    layout = learn_layout(examples, [[s.index(t) for t in sorted(s)] for s in STEPS])
    assert layout.rule == Rule(("right",), ("wrong",))
    steps = ["Wash it.", "Cool it.", "Dry it.", "Age it."]
    assert read_again(layout, [{"wrong": steps, "right": sorted(steps)}]) == [(shown(steps), [3, 1, 2, 0])]


def test_a_table_is_a_list_of_lists() -> None:
    def shown(columns: list[str], data: list[list[Any]], question: str) -> str:
        return "\n".join(f"| {' | '.join(map(str, r))} |" for r in [columns, *data]) + f"\n{question}\nReply in a word."

    tables = [
        (["Car", "Miles"], [["Ada", 12], ["Bo", 5]], "Which is far?", "Ada"),
        (["Town", "Size"], [["Ur", 3], ["Uz", 4]], "Big?", "Uz"),
    ]
    examples = [
        example(shown(c, d, q), {"table": {"columns": c, "data": d}, "question": q, "answer": a}) for c, d, q, a in tables
    ]
    layout = learn_layout(examples, [a for *_, a in tables])
    row = {
        "table": json.dumps({"columns": ["x", "y", "z"], "data": [[1, 2, 3], [4, 5, 6], [7, 8, 9]]}),
        "question": "Sum?",
        "answer": 45,
    }
    assert read_again(layout, [row]) == [(shown(["x", "y", "z"], [[1, 2, 3], [4, 5, 6], [7, 8, 9]], "Sum?"), 45)]


def test_a_line_that_is_left_out_where_its_value_is_empty_makes_two_wordings() -> None:
    def shown(before: str, step: str) -> str:
        return (f"Step before: {before}\n" if before else "") + f"Step: {step}\nIs it right?"

    cases = [("", "Heat it."), ("Heat it.", "Stir it."), ("", "Cool it."), ("Stir it.", "Dry it.")]
    layout = learn_layout([example(shown(b, s), {"before": b, "step": s, "ok": True}) for b, s in cases], [True] * 4)
    assert len(layout.wordings) == 2
    rows = [{"before": "", "step": "Wash it.", "ok": False}, {"before": "Wash it.", "step": "Dry it.", "ok": True}]
    assert read_again(layout, rows) == [(shown("", "Wash it."), False), (shown("Wash it.", "Dry it."), True)]


def test_letters_and_keys_name_the_elements() -> None:
    choices = [["red", "blue"], ["oak", "elm", "fir"]]
    examples = [
        example("Which?\n" + "\n".join(f"{chr(65 + i)}. {c}" for i, c in enumerate(cs)), {"choices": cs, "answer": cs[1]})
        for cs in choices
    ]
    layout = learn_layout(examples, [["B", 100], ["B", 100]])
    assert (layout.rule, layout.tail) == (Rule(("answer",), ("choices",), ("@A",)), (100,))
    assert read_again(layout, [{"choices": ["x", "y", "z"], "answer": "z"}]) == [("Which?\nA. x\nB. y\nC. z", ["C", 100])]
    keyed = [
        example("\n".join(f"[{k}] {v}" for k, v in d.items()), {"docs": d})
        for d in ({"p7": "cat", "p9": "dog"}, {"p1": "hen", "p2": "cow"})
    ]
    assert read_again(learn_layout(keyed, ["", ""]), [{"docs": {"q": "owl", "r": "elk"}}])[0][0] == "[q] owl\n[r] elk"


def test_a_prompt_never_shows_the_answer_of_a_row() -> None:
    examples = [example(f"{c} Reply with ALLOW or DENY.", {"claim": c, "code": "DENY"}) for c in ("A lamp.", "A loom.")]
    layout = learn_layout(examples, ["DENY", "DENY"])
    assert Slot(("code",)) not in layout.wordings[0].parts
    assert layout.prompt({"claim": "A boat.", "code": "ALLOW"}) == "A boat."  # the words around it are PromptForm's


def test_a_field_that_a_source_calls_otherwise_is_known_by_its_values() -> None:
    examples = [
        example(f"{s} exam.\n{q}", {"subset": s, "question": q, "answer": "A"})
        for s, q in (("Tax", "Who pays?"), ("Law", "Who is right?"))
    ]
    layout = learn_layout(examples, ["A", "A"])
    rows = [
        {"subject": s, "question": q, "answer": a}
        for s, q, a in (("Tax", "When?", "b"), ("Law", "Why?", "answer C"), ("Law", "", "C"), ("Law", "Who?", "A or C"))
    ]
    assert read_again(layout, rows) == [
        ("Tax exam.\nWhen?", "B"),
        ("Law exam.\nWhy?", None),
        (None, "C"),
        ("Law exam.\nWho?", None),
    ]


def test_answers_that_no_row_names_are_taken_from_the_source_by_how_they_begin() -> None:
    programs = ["```python\nprint(1)\n```", "```python\nprint(2)\n```"]
    layout = learn_layout([example(f"Print {i}.", {"n": i + 1, "question": f"Print {i}."}) for i in range(2)], programs)
    rows = [{"question": "Print 5.", "response": "```python\nprint(5)\n```"}, {"question": "Print 6.", "response": "Sorry."}]
    assert [v for _, v in read_again(layout, rows)] == ["```python\nprint(5)\n```", None]


def test_what_gives_no_prompt_back_is_not_believed() -> None:
    strange = [example(f"Riddle {i * 7919}: {q}", {"id": i, "text": "something else"}) for i, q in enumerate(("Who?", "Why?"))]
    assert learn_layout(strange, ["x", "y"]).wordings == ()
    assert learn_layout([example("Who?", {"q": "Who?"})], ["x"]) == Layout()
    assert learn_layout([{"prompt": "Who?"}, {"prompt": "Why?"}], ["x", "y"]) == Layout()


def test_broken_rows_have_no_prompt_and_no_answer() -> None:
    examples = [
        example("Names:\n" + "\n".join(f"- {x}" for x in n), {"names": n, "answer": n[0]}) for n in (["Al", "Bo"], ["Cy", "Di"])
    ]
    layout = learn_layout(examples, ["Al", "Cy"])
    assert any(isinstance(p, Loop) for p in layout.wordings[0].parts)
    for row in (
        {},
        {"names": None},
        {"names": "[" * 5000},
        {"names": ["Al", None]},
        {"names": 3, "answer": ""},
        {"answer": None},
    ):
        assert read_again(layout, [row]) == [(None, None)]


def test_rows_of_whole_documents_are_left_alone() -> None:
    documents = {"paragraphs": [{"key": i, "content": "so it is"} for i in range(400)], "answer": "B"}
    assert learn_layout([example("Who?", documents), example("Why?", documents)], ["B", "B"]) == Layout()


@pytest.mark.parametrize("task", list_tasks(), ids=lambda t: t.id)
def test_the_sources_of_every_task_are_read_into_its_own_form(task: Task) -> None:
    folder = prepare_task(task, "mini", Dojo().cache).dir
    few = read_jsonl(folder / "few_shot.jsonl")
    form, prompts = learn_answer_form(few), learn_prompt_form(few)
    layout = layout_of(few, form)
    rows = [r for p in sorted((folder / "sources").glob("*.jsonl")) for r in parse_source(p, key=form.key, layout=layout)]
    usable = [r for r in rows if r.prompt and r.value]
    assert len(usable) >= 0.6 * len(rows)
    # the words of the task that all its prompts end with stand in every training prompt, and answers look like the examples'
    ending = few[0]["prompt"].rsplit("\n", 1)[-1]
    if all(e["prompt"].endswith(ending) for e in few):
        assert all(prompts.write(r.prompt).endswith(ending) for r in usable)
    assert {type(form.read(form.write(r.value))) for r in usable} >= {type(form.read(e["answer"])) for e in few}
