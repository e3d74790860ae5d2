"""Rows made by the model itself or by a backbone: what is kept, what is dropped, and that nothing is paid twice."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from ft_agent.data import Context, Example, RecipeError, build
from ft_agent.forms import Forms
from ft_agent.llm.calls import CALLS, MadeRows, RewrittenRows
from ft_agent.llm.prompting import slots
from ft_agent.making.brought import makers
from ft_agent.making.self_generate import Judged, Sampler, judged, solution
from ft_agent.making.synthesis import BATCH
from ft_agent.plan import Operation
from ft_agent.programs import Workshop
from ft_agent.rowchecks import Lengths
from ft_agent.train import TrainingFailed
from reading.pace import Stint
from reading.rows import AnswerForm, PromptForm, Row, normal

BOXED = AnswerForm("boxed", reasons=True)
FORMS = Forms(PromptForm("", "\nAnswer in \\boxed{}."), BOXED, frozenset({"integer"}))
ROWS = [Row(f"What is {i} + 1?", str(i + 1), "", "easy" if i % 2 else "hard", "a", i) for i in range(40)]
HELD = "What is 7 + 1?"
STINT: Stint = {"clock": "wall", "seconds": 60.0, "wall_at_most": 60.0}


def context(**brought: Any) -> Context:
    return Context(FORMS, 2000, held_out=frozenset({normal(HELD)}), slice_scores={"hard": 0.1, "easy": 0.9}, makers=brought)


# --- self_generate ---


class Model:
    """Answers right where ``knows`` says so, with reasoning on every other sample; remembers what it was asked."""

    def __init__(self, knows: Callable[[Example], bool]) -> None:
        self.knows, self.asked = knows, list[str]()

    def __call__(self, examples: Any, *, samples: int = 1, **_: Any) -> list[list[str]]:
        self.asked += [e.prompt for e in examples]
        return [self.texts(e, samples) for e in examples]

    def texts(self, example: Example, samples: int) -> list[str]:
        right = [f"Way {n}: one more.\n\\boxed{{{example.gold}}}" for n in range(samples - 1)]
        return [*(right if self.knows(example) else ["I do not know."] * (samples - 1)), "No idea.\n\\boxed{0}"]


def generating(model: Any, folder: Path, name: str = "base") -> Context:
    brought = makers(folder, Workshop(folder / "p"), sampler=lambda: Sampler(model, name, 32, STINT))
    return context(**brought)


def test_right_reasoning_becomes_the_solution_and_a_wrong_answer_is_kept_for_contrast(tmp_path: Path) -> None:
    model = Model(lambda e: int(e.gold) % 2 == 0)
    recipe = [Operation("self_generate", {"rows": 40, "samples": 4}), Operation("template", {"style": "rationale"})]
    made = build(ROWS, recipe, generating(model, tmp_path))
    assert len(model.asked) == 39, "what is held out is not asked"
    by_id = {e.id: e for e in made.examples}
    assert by_id["a:3"].answer == "Way 0: one more.\n\\boxed{4}"
    assert by_id["a:3"].rejected == "No idea.\n\\boxed{0}"
    assert by_id["a:2"].answer == "\\boxed{3}"
    assert by_id["a:2"].rejected == "No idea.\n\\boxed{0}", "wrong in the right form teaches more than what cannot be read"
    further = [e for e in made.examples if e.answer.startswith("Way 1")]
    assert len(further) == 19, "two ways at most"
    assert len({e.id for e in made.examples}) == len(made.examples)
    assert made.log[0]["made"] == {"self_generate": 2 * 19}


def test_with_keep_right_nothing_but_right_answers_is_left(tmp_path: Path) -> None:
    model = Model(lambda e: int(e.gold) % 2 == 0)
    made = build(ROWS, [Operation("self_generate", {"rows": 40, "keep": "right"})], generating(model, tmp_path))
    assert {int(e.gold) % 2 for e in made.examples} == {0}


def test_what_is_known_already_can_be_left_out(tmp_path: Path) -> None:
    recipe = [Operation("self_generate", {"rows": 40, "samples": 2, "keep": "wrong"})]

    def model(examples: Any, **_: Any) -> list[list[str]]:
        return [[f"\\boxed{{{e.gold if int(e.gold) < 11 else 0}}}"] * 2 if e.gold != "30" else [] for e in examples]

    made = build(ROWS, recipe, generating(model, tmp_path))
    assert sorted(int(e.gold) for e in made.examples) == [8, *range(11, 41)], "8 is held out, so nobody was asked"


def test_answers_of_the_same_model_are_paid_once_and_of_another_again(tmp_path: Path) -> None:
    first, second, third = (Model(lambda e: True) for _ in range(3))
    recipe = [Operation("self_generate", {"rows": 10})]
    one = build(ROWS, recipe, generating(first, tmp_path))
    again = build(ROWS, recipe, generating(second, tmp_path))
    build(ROWS, recipe, generating(third, tmp_path, "iteration 2"))
    assert one == again
    assert [len(m.asked) for m in (first, second, third)] == [10, 0, 10]


def test_a_model_that_had_no_time_or_is_never_right_is_named_and_not_kept(tmp_path: Path) -> None:
    recipe = [Operation("self_generate", {"rows": 10, "keep": "right"})]
    with pytest.raises(RecipeError, match="60 s were over before a question was answered"):
        build(ROWS, recipe, generating(lambda examples, **_: [[] for _ in examples], tmp_path))
    with pytest.raises(RecipeError, match="got none of 10 questions right"):
        build(ROWS, recipe, generating(Model(lambda e: False), tmp_path))


@pytest.mark.parametrize(
    ("form", "text", "head"),
    [
        (BOXED, "So 2.\n$\\boxed{2}$", "So 2."),
        (BOXED, "\\boxed{2}", ""),
        (BOXED, "no answer", ""),
        (AnswerForm("json", "output"), 'It is two.\n{"output": "2"}', "It is two."),
        (AnswerForm("json", "output"), 'It is two.\n```json\n{"output": "2"}\n```', "It is two."),
        (AnswerForm("json", "output"), 'It is two.\n{"output": {"a": [1, {"b": 2}]}}', "It is two."),
        (AnswerForm("marker", lead="Answer:"), "It is two.\nAnswer: 2", "It is two."),
        (AnswerForm("plain"), "2", ""),
    ],
)
def test_what_an_answer_says_before_its_value_is_its_solution(form: AnswerForm, text: str, head: str) -> None:
    assert solution(text, form) == head


def test_a_direct_right_answer_changes_nothing_and_counts_as_right() -> None:
    assert judged(ROWS[0], ["\\boxed{1}", "\\boxed{1}", ""], BOXED) == Judged(2, (), "")


def test_reasoning_that_arrives_is_kept_though_the_form_is_missing_and_the_answer_counts_as_wrong() -> None:
    said = "None and one is one. The answer is 1."
    assert judged(ROWS[0], [said, "The answer is 2."], BOXED) == Judged(0, (said,), said)


def test_a_solution_that_could_not_be_given_in_the_task_is_not_taken(tmp_path: Path) -> None:
    model = Model(lambda e: True)
    workshop = Workshop(tmp_path / "p")
    short = makers(tmp_path, workshop, sampler=lambda: Sampler(model, "base", 9, STINT))
    made = build(ROWS, [Operation("self_generate", {"rows": 40})], context(**short))
    assert "made" not in made.log[0]
    assert sum(1 for e in made.examples if e.rejected) == 39


def test_a_model_that_breaks_down_is_the_recipes_problem_and_not_the_runs(tmp_path: Path) -> None:
    def model(examples: Any, **_: Any) -> list[list[str]]:
        raise TrainingFailed("stalled", "the training process gave no sign of life in time")

    with pytest.raises(RecipeError, match="no sign of life in time; leave self_generate out"):
        build(ROWS, [Operation("self_generate")], generating(model, tmp_path))


@pytest.mark.slow
def test_a_real_model_answers_and_is_judged(tmp_path: Path) -> None:
    from ft_agent.train import Trainer
    from tiny_model import make_tiny_model

    with Trainer(str(make_tiny_model(tmp_path / "tiny")), tmp_path) as trainer:
        where = makers(tmp_path / "made", Workshop(tmp_path / "p"), sampler=lambda: Sampler(trainer.generate, "base", 8, STINT))
        made = build(ROWS, [Operation("self_generate", {"rows": 6, "samples": 2})], context(**where))
    assert sum(1 for e in made.examples if e.rejected) > 0, "a random model is wrong"


# --- with a backbone ---


class Backbone:
    """Answers calls by a function; remembers the facts it was given."""

    def __init__(self, answer: Callable[[str, Mapping[str, str], int], Any]) -> None:
        self.answer, self.facts = answer, list[Mapping[str, str]]()

    def __call__(self, call: str, facts: Mapping[str, str]) -> Any:
        assert set(facts) == slots(call), "the template's own slots"
        self.facts.append(dict(facts))
        said = self.answer(call, facts, len(self.facts))
        return None if said is None else CALLS[call].model_validate(said)


def asking(backbone: Any, folder: Path, **more: Any) -> Context:
    workshop = Workshop(folder / "p", lengths=Lengths(context=200, answer=60))
    return context(**makers(folder, workshop, task="Add numbers.", ask=backbone, **more))


def sums(start: int, n: int) -> dict[str, Any]:
    return {"rows": [{"prompt": f"What is {i} + 5?", "answer": str(i + 5)} for i in range(start, start + n)]}


def test_new_rows_are_asked_for_in_batches_for_the_weakest_slice_first_and_all_asked_differently(tmp_path: Path) -> None:
    backbone = Backbone(lambda call, facts, n: sums(1000 * n, int(facts["count"])))
    made = build(ROWS, [Operation("synthesise", {"rows": 40, "like": "Sums with 5."})], asking(backbone, tmp_path))
    new = made.examples[40:]
    assert len(new) == 40
    assert made.log[0] == {
        "operation": "synthesise",
        "args": {"rows": 40, "like": "Sums with 5."},
        "rows_in": 40,
        "rows_out": 80,
        "made": {"synthesise": 40},
    }
    assert len(backbone.facts) == -(-40 // BATCH)
    assert "Slice: hard." in backbone.facts[0]["wanted"]
    assert "Slice: easy." in backbone.facts[1]["wanted"]
    assert all("Sums with 5." in f["wanted"] and HELD not in json.dumps(f) for f in backbone.facts)
    assert len({f["examples"] for f in backbone.facts}) == len({f["wanted"] for f in backbone.facts}) == 3
    assert "What is 1000 + 5?" in backbone.facts[2]["avoid"], "what was made is not to be made again"
    assert {e.slice for e in new} == {"hard", "easy"}
    assert len({e.id for e in made.examples}) == 80


BAD_ROWS = {
    "asks what is held out": {"prompt": HELD, "answer": "8"},
    "asks it in the task's words": {"prompt": HELD + "\nAnswer in \\boxed{}.", "answer": "8"},
    "repeats a row": {"prompt": "what is 3 + 1", "answer": "4"},
    "repeats itself": {"prompt": "What is 1 + 5?", "answer": "6"},
    "answers in another kind": {"prompt": "Say one.", "answer": "a lot of words"},
    "answers wrong": {"prompt": "What is 90 + 9?", "answer": "98"},
    "ends elsewhere": {
        "prompt": "Count the sides of a square.",
        "answer": "4",
        "rationale": "A square is a square. The answer is 5.",
    },
    "does not end": {"prompt": "Count the sides of a square.", "answer": "4", "rationale": "It has 4 and is nice."},
    "asks nothing": {"prompt": " . ", "answer": "4"},
    "is too long": {"prompt": "word " * 200, "answer": "4"},
    "answers too long": {"prompt": "Count to one.", "answer": "1", "rationale": "First " * 60 + "1"},
}


@pytest.mark.parametrize("case", BAD_ROWS)
def test_a_made_row_is_dropped_that(case: str, tmp_path: Path) -> None:
    backbone = Backbone(lambda call, facts, n: {"rows": [*sums(1, 1)["rows"], BAD_ROWS[case]]})
    made = build(ROWS, [Operation("synthesise", {"rows": 1})], asking(backbone, tmp_path))
    assert made.log[0]["rows_out"] == 41
    backbone = Backbone(lambda call, facts, n: {"rows": [*sums(1, 1)["rows"], BAD_ROWS[case]]})
    more = build(ROWS, [Operation("synthesise", {"rows": 2})], asking(backbone, tmp_path / "b"))
    assert [e.gold for e in more.examples[40:]] == ["6"]


def test_a_good_solution_is_kept(tmp_path: Path) -> None:
    row = {"prompt": "Count the sides of a square.", "answer": "4", "rationale": "Two and two sides make 4."}
    recipe = [Operation("synthesise", {"rows": 1}), Operation("template", {"style": "rationale"})]
    made = build(ROWS, recipe, asking(Backbone(lambda call, facts, n: {"rows": [row]}), tmp_path))
    assert made.examples[-1].answer == "Two and two sides make 4.\n\\boxed{4}"


def test_a_run_that_is_started_again_pays_only_for_what_is_missing(tmp_path: Path) -> None:
    recipe = [Operation("synthesise", {"rows": 40})]
    broken = Backbone(lambda call, facts, n: sums(1000 * n, 16) if n < 3 else None)
    first = build(ROWS, recipe, asking(broken, tmp_path))
    assert first.log[0]["rows_out"] == 72
    whole = Backbone(lambda call, facts, n: sums(9000, 16))
    second = build(ROWS, recipe, asking(whole, tmp_path))
    assert len(whole.facts) == 1
    assert second.examples[:72] == first.examples
    assert second.log[0]["rows_out"] == 80


def test_a_backbone_that_is_silent_or_useless_is_given_up_and_named(tmp_path: Path) -> None:
    silent = Backbone(lambda call, facts, n: None)
    with pytest.raises(RecipeError, match="the language model gave no answer"):
        build(ROWS, [Operation("synthesise", {"rows": 200})], asking(silent, tmp_path))
    assert len(silent.facts) == 2
    useless = Backbone(lambda call, facts, n: {"rows": [BAD_ROWS["answers wrong"]]})
    with pytest.raises(RecipeError, match="none of the rows it made could be used"):
        build(ROWS, [Operation("synthesise", {"rows": 32})], asking(useless, tmp_path))
    assert len(useless.facts) == 4


@pytest.mark.parametrize(
    ("step", "why"),
    [
        (Operation("synthesise", {"rows": 0}), "rows = 0 is no number from 1"),
        (Operation("synthesise", {"rows": "many"}), "rows = 'many' is no number"),
        (Operation("synthesise", {"rows": 2.5}), "rows = 2.5 must be a whole number"),
        (Operation("synthesise", {"slices": ["unknown"]}), "must be a list of some of: hard, easy"),
        (Operation("self_generate", {"temperature": 0}), "temperature = 0 is no number from 0.01"),
        (Operation("self_generate", {"keep": "some"}), "keep = 'some' is unknown; there are all, right, wrong"),
        (Operation("self_generate", {"samples": True}), "samples = True is no number"),
    ],
)
def test_an_argument_that_makes_no_sense_is_named(step: Operation, why: str, tmp_path: Path) -> None:
    backbone = Backbone(lambda call, facts, n: None)
    model = Model(lambda e: True)
    with pytest.raises(RecipeError, match=why):
        build(ROWS, [step], asking(backbone, tmp_path, sampler=lambda: Sampler(model, "base", 8, STINT)))
    assert not backbone.facts


def rewritten(change: Callable[[dict[str, str]], dict[str, str] | None]) -> Backbone:
    def answer(call: str, facts: Mapping[str, str], n: int) -> Any:
        rows = [json.loads(line) for line in facts["rows"].splitlines()]
        return {"rows": [made for r in rows if (made := change(r)) is not None]}

    return Backbone(answer)


def test_solutions_are_written_out_for_known_answers_and_those_that_end_elsewhere_are_dropped(tmp_path: Path) -> None:
    backbone = rewritten(lambda r: {"id": r["id"], "rationale": f"One more is {r['answer'] if int(r['answer']) % 2 else 0}."})
    recipe = [Operation("rewrite", {"rows": 40, "how": "reason"}), Operation("template", {"style": "rationale"})]
    made = build(ROWS, recipe, asking(backbone, tmp_path))
    by_id = {e.id: e.answer for e in made.examples}
    assert len(by_id) == 40
    assert by_id["a:2"] == "One more is 3.\n\\boxed{3}"
    assert by_id["a:3"] == "\\boxed{4}"
    assert made.log[0]["made"] == {"rewrite": 20}
    assert HELD not in json.dumps(backbone.facts)


def test_reasoning_never_changes_an_answer(tmp_path: Path) -> None:
    backbone = rewritten(lambda r: {"id": r["id"], "answer": "5", "rationale": "So it is 5."})
    made = build(ROWS, [Operation("rewrite", {"rows": 40, "how": "reason"})], asking(backbone, tmp_path))
    assert [e.gold for e in made.examples] == [r.value for r in ROWS]


def test_cleaning_may_drop_rows_but_a_reply_that_was_cut_short_drops_none(tmp_path: Path) -> None:
    most = rewritten(lambda r: {"id": r["id"], "prompt": r["prompt"].lower()} if r["id"] != "a:5" else None)
    made = build(ROWS, [Operation("rewrite", {"rows": 40})], asking(most, tmp_path))
    assert len(made.examples) == 39
    assert made.examples[0].prompt.startswith("what is 0")
    few = rewritten(lambda r: {"id": r["id"], "prompt": r["prompt"].lower()} if r["id"] == "a:5" else None)
    assert len(build(ROWS, [Operation("rewrite", {"rows": 40})], asking(few, tmp_path / "b")).examples) == 40


def test_a_rewrite_may_not_ask_what_is_held_out_nor_invent_rows(tmp_path: Path) -> None:
    backbone = Backbone(
        lambda call, facts, n: {"rows": [{"id": "a:1", "prompt": HELD}, {"id": "b:9", "prompt": "Say 1.", "answer": "1"}]}
    )
    made = build(ROWS, [Operation("rewrite", {"rows": 40})], asking(backbone, tmp_path))
    assert [e.id for e in made.examples] == [f"a:{i}" for i in range(40)]
    assert sum(HELD in e.prompt for e in made.examples) == 1, "the one that was there before"


def test_what_is_not_there_is_no_operation_and_says_so(tmp_path: Path) -> None:
    alone = context(**makers(tmp_path, Workshop(tmp_path)))
    for name in ("synthesise", "rewrite", "self_generate"):
        with pytest.raises(RecipeError, match=rf"nothing for {name} \(it has: program\); leave {name} out"):
            build(ROWS, [Operation(name)], alone)


def test_the_answers_that_are_read_are_those_of_the_calls() -> None:
    assert (CALLS["synthesise"], CALLS["rewrite"]) == (MadeRows, RewrittenRows)
