from pathlib import Path

import pytest
from ft_agent.cards import describe_source, hold_out
from ft_agent.data import Context, RecipeError, build
from ft_agent.evidence import arithmetic, error_rates
from ft_agent.forms import Forms, learn_forms, value_kind
from ft_agent.plan import Operation
from ft_agent.slices import name_slices
from reading.rows import AnswerForm, PromptForm, Row, normal, parse_source, read_jsonl
from sources import SUFFIX, boxed_sources

BOXED = Forms(PromptForm("", SUFFIX), AnswerForm("boxed"), frozenset({"integer"}))


def row(prompt: str, value: str, rationale: str = "", slice_name: str = "s", source: str = "a", index: int = 0) -> Row:
    return Row(prompt, value, rationale, slice_name, source, index)


def run(rows: list[Row], *steps: Operation, **context: object) -> tuple[list[str], list[tuple[str, int, int]]]:
    numbered = [Row(r.prompt, r.value, r.rationale, r.slice, r.source, i) for i, r in enumerate(rows)]
    made = build(numbered, steps, Context(BOXED, 2000, **context))  # type: ignore[arg-type]
    return [e.answer for e in made.examples], [(d["operation"], d["rows_in"], d["rows_out"]) for d in made.log]


def test_each_operation_logs_rows_in_and_out() -> None:
    rows = [
        row("What is 1 + 2?", "3"),
        row("What is 1 + 2?", "3"),
        row("Say 5.", "five"),
        row("Say 6.", "$6.0$"),
        row("Cut off in mid", "7"),
    ]
    answers, log = run(rows * 1, *(Operation(n) for n in ("clean", "repair", "kind", "dedupe")))
    assert log == [("clean", 5, 4), ("repair", 4, 4), ("kind", 4, 3), ("dedupe", 3, 2)]
    assert answers == ["\\boxed{3}", "\\boxed{6}"]


def test_verify_drops_what_contradicts_its_solution_its_arithmetic_or_its_duplicates() -> None:
    rows = [
        row("Say 9.", "9", "We say it. The answer is 8."),
        row("What is 20 + 22?", "43"),
        row("What is 20 + 23?", "43"),
        *[row("Pick one.", v) for v in ("1", "2", "2")],
        *[row("Pick two.", v) for v in ("1", "2")],
    ]
    answers, _ = run(rows, Operation("verify"))
    assert answers == ["\\boxed{43}", "\\boxed{2}", "\\boxed{2}"]


def test_between_two_answers_the_more_reliable_source_is_believed() -> None:
    rows = [row("Pick one.", "1", source="good"), row("Pick one.", "2", source="bad")]
    answers, _ = run(rows, Operation("verify"), source_errors={"good": 0.0, "bad": 0.3})
    assert answers == ["\\boxed{1}"]


def test_trust_uses_a_doubtful_source_only_where_nothing_better_is_there() -> None:
    good = [row(f"Good {i}.", "1", slice_name="x", source="good") for i in range(5)]
    bad = [row(f"Bad {i}.", "2", slice_name=s, source="bad") for i, s in enumerate("xxxyyyyy")]
    _, log = run(good + bad, Operation("trust", {"floor": 4}), source_errors={"bad": 0.3, "good": 0.0})
    assert log == [("trust", 13, 5 + 4)]


def test_a_repeat_in_the_same_doubtful_source_confirms_nothing_but_another_source_does() -> None:
    rows = [row("Pick one.", "1", source="bad"), row("Pick one.", "1", source="bad"), row("Pick two.", "2", source="bad")]
    rows.append(row("Pick two.", "2", source="good"))
    answers, _ = run(rows, Operation("trust", {"floor": 0}), source_errors={"bad": 0.3, "good": 0.0})
    assert answers == ["\\boxed{2}", "\\boxed{2}"]


def test_a_source_is_not_blamed_for_one_row_that_another_outvotes() -> None:
    careless = [Row(f"Q{i}?", str(i if i % 2 else 0), "", "", "careless", i) for i in range(60) for _ in range(2)]
    careful = [Row("Q3?", "4", "", "", "careful", 0)]
    assert error_rates(careless + careful)["careful"] == 0.0


def test_error_rates_blame_the_careless_source_and_not_the_one_it_disagrees_with(tmp_path: Path) -> None:
    boxed_sources(tmp_path / "data", rows=300)
    rows = [r for p in (tmp_path / "data/sources").glob("*.jsonl") for r in parse_source(p)]
    errors = error_rates([r for r in rows if r.value])
    assert errors["good"] < 0.05
    assert 0.3 < errors["careless"] < 0.5


def test_drop_leaks_drops_what_is_held_out_and_the_worked_examples() -> None:
    forms = Forms(PromptForm("", SUFFIX), AnswerForm("boxed"), frozenset({"integer"}), leaks=frozenset({normal("Say 1.")}))
    rows = [row("Say 1.", "1"), row("Say 2.", "2", index=1), row("say 3", "3", index=2)]
    context = Context(forms, 100, held_out=frozenset({normal("Say 2." + SUFFIX)}))
    made = build(rows, [Operation("drop_leaks")], context)
    assert [e.answer for e in made.examples] == ["\\boxed{3}"]


def test_rebalance_evens_out_slices_and_boosts_weak_ones() -> None:
    rows = [row(f"A {i}.", "1", slice_name="big") for i in range(100)] + [
        row(f"B {i}.", "2", slice_name="small") for i in range(30)
    ]
    even, _ = run(rows, Operation("rebalance", {"power": 0.0, "rows": 40}))
    assert abs(even.count("\\boxed{1}") - 20) <= 1
    boosted, _ = run(
        rows, Operation("rebalance", {"power": 0.0, "boost": 3.0, "rows": 40}), slice_scores={"big": 1.0, "small": 0.0}
    )
    assert boosted.count("\\boxed{2}") == 30


def test_without_a_number_of_rows_rebalance_keeps_all_and_even_order_puts_the_mix_into_every_beginning() -> None:
    rows = [row(f"A {i}.", "1", slice_name="big", index=i) for i in range(100)] + [
        row(f"B {i}.", "2", slice_name="small", index=100 + i) for i in range(30)
    ]
    assert run(rows, Operation("rebalance", {"power": 0.0}))[1] == [("rebalance", 130, 130)]
    even, _ = run(rows, Operation("curriculum", {"order": "even"}))
    for beginning in (10, 20, 40, 60):
        assert even[:beginning].count("\\boxed{1}") == beginning // 2
    assert even[60:] == ["\\boxed{1}"] * 70
    natural, _ = run(rows, Operation("curriculum", {"order": "even", "power": 1.0}))
    assert abs(natural[:65].count("\\boxed{1}") - 50) <= 1
    weak, _ = run(rows, Operation("curriculum", {"order": "even", "boost": 3.0}), slice_scores={"big": 1.0, "small": 0.0})
    assert weak[:30].count("\\boxed{2}") == 24


def test_rows_of_slices_that_fail_or_of_sources_that_err_least_can_come_last() -> None:
    rows = [row(f"A {i}.", "1", slice_name="good", source="a", index=i) for i in range(50)] + [
        row(f"B {i}.", "2", slice_name="bad", source="b", index=i) for i in range(50)
    ]
    weak, _ = run(rows, Operation("curriculum", {"order": "weak_last"}), slice_scores={"good": 0.9, "bad": 0.1})
    assert set(weak[:40]) == {"\\boxed{1}"}
    trusted, _ = run(rows, Operation("curriculum", {"order": "trusted_last"}), source_errors={"a": 0.0, "b": 0.6})
    assert set(trusted[:40]) == {"\\boxed{2}"}
    assert sorted(trusted) == sorted(weak)


def test_any_beginning_holds_the_favoured_answer_in_the_share_that_was_asked_for() -> None:
    rows = [row(f"Q {i}.", str(i % 5), index=i) for i in range(100)]
    answers, _ = run(rows, Operation("favour", {"answer": "3"}))
    for beginning in (3, 9, 27):
        assert answers[:beginning].count("\\boxed{3}") == 2 * beginning // 3
    assert answers.count("\\boxed{3}") == 20, "none is repeated, none is lost"
    assert len(answers) == 100
    half, _ = run(rows, Operation("favour", {"answer": "3", "share": 0.5}))
    assert half[:10].count("\\boxed{3}") == 5
    forms = Forms(PromptForm("", ""), AnswerForm("json", key="correct", types=frozenset({"bool"})))
    said = [row(f"R {i}.", "yes" if i % 2 else "No", index=i) for i in range(12)]
    made = build(said, [Operation("favour", {"answer": False})], Context(forms, 100))
    assert [e.gold for e in made.examples[:6]].count("No") == 4


def test_the_cap_of_the_task_is_enforced_whatever_the_recipe_says() -> None:
    made = build([row(f"Say {i}.", "1", index=i) for i in range(50)], [Operation("cap", {"rows": 40})], Context(BOXED, 10))
    assert len(made.examples) == 10


@pytest.mark.parametrize(
    ("step", "message"),
    [
        (Operation("distil"), "no data operation 'distil'"),
        (Operation("cap", {"row": 3}), r"cap takes \['rows'\], not \['row'\]"),
        (Operation("cap", {"rows": "many"}), "cap with"),
        (Operation("template", {"style": "verse"}), "style 'verse' is unknown"),
        (Operation("curriculum", {"order": "random"}), "order 'random' is unknown; there are shuffled, even"),
        (Operation("curriculum", {"order": ["even"]}), "curriculum with"),
        (Operation("curriculum", {"order": "even", "boost": -2}), "leave slice 's' no weight"),
        (Operation("favour", {"answer": "7"}), "no row has the answer '7'"),
        (Operation("favour", {"answer": "1", "share": 1.0}), "share 1 is not between 0 and 1"),
        (Operation("rebalance", {"boost": -2.0}), "rebalance with"),
        (Operation("select", {"sources": ["nowhere"]}), "after select no row is left of 1"),
    ],
)
def test_a_recipe_that_cannot_be_run_says_why(step: Operation, message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        build([row("Say 1.", "1")], [step], Context(BOXED, 10))


def test_on_topic_drops_other_labels_only_where_the_sources_use_the_tasks_own() -> None:
    rows = [row("Say 1.", "1", slice_name="Count"), row("Say 2.", "2", slice_name="chat")]
    assert run(rows, Operation("on_topic"), subsets=frozenset({"count"}))[1] == [("on_topic", 2, 1)]
    assert run(rows, Operation("on_topic"), subsets=frozenset({"other"}))[1] == [("on_topic", 2, 2)]


def test_worked_solutions_keep_the_answer_at_the_end_once() -> None:
    made = build(
        [row("Say 1.", "3", "One and two. The answer is \\boxed{3}.")],
        [Operation("template", {"style": "rationale"})],
        Context(BOXED, 10),
    )
    assert made.examples[0].answer == "One and two.\n\\boxed{3}"


@pytest.mark.parametrize(
    ("question", "result"),
    [
        ("What is 12 + 30?", 42),
        ("Compute (2 + 3) * 4.", 20),
        ("7 × 6 =", 42),
        ("What is the sum of 12 and 30?", None),
        ("A box holds 3 - 4 apples.", None),
        ("What is 1 / 0?", None),
    ],
)
def test_arithmetic_is_worked_out_only_where_the_question_is_nothing_else(question: str, result: float | None) -> None:
    assert arithmetic(question) == result


def test_slices_are_the_templates_of_the_questions() -> None:
    names = ["Ana", "Ben", "Cleo", "Dan", "Eva", "Finn", "Gus", "Ida", "Kai"]
    rows = [row(f"{n} has {i} red apples. How many?", "1", slice_name="") for i, n in enumerate(names * 20)]
    rows += [row(f"What is the tens digit of {i}?", "1", slice_name="") for i in range(100, 200)]
    found = {r.slice for r in name_slices(rows)}
    assert found == {"* has * red apples how many", "what is the tens digit of"} or found == {
        "* has * red apples how",
        "what is the tens digit of",
    }


def test_rows_that_name_their_slice_keep_it() -> None:
    assert name_slices([row("Say 1.", "1", slice_name="mine")])[0].slice == "mine"


def test_the_own_split_is_believable_spread_and_left_out_of_training(tmp_path: Path) -> None:
    data = boxed_sources(tmp_path / "data", rows=300)
    few = read_jsonl(data / "few_shot.jsonl")
    forms = learn_forms(few, "")
    rows = name_slices([r for p in sorted((data / "sources").glob("*.jsonl")) for r in parse_source(p)])
    context = Context(forms, 2000, source_errors={"good": 0.0, "careless": 0.4})
    own, held = hold_out(rows, context, 30)
    assert len(own) == 30
    for example in own:
        question = example.prompt.removesuffix(SUFFIX)
        value = int(example.answer.removeprefix("\\boxed{").removesuffix("}"))
        if " + " in question:
            assert arithmetic(question) == value
    sizes = [sum(1 for e in own if e.slice == s) for s in {e.slice for e in own}]
    assert len(sizes) == 3
    assert max(sizes) - min(sizes) <= 3
    made = build(rows, [Operation("repair"), Operation("kind"), Operation("drop_leaks")], Context(forms, 2000, held_out=held))
    assert not {e.prompt for e in made.examples} & {e.prompt for e in own}


def test_a_card_tells_the_faults_of_a_source(tmp_path: Path) -> None:
    data = boxed_sources(tmp_path / "data", rows=200)
    forms = learn_forms(read_jsonl(data / "few_shot.jsonl"), "")
    rows = parse_source(data / "sources" / "good.jsonl")
    card = describe_source(name_slices(rows), Context(forms, 2000, source_errors={"good": 0.01}))
    assert card.rows == len(rows)
    assert 0.05 < card.empty < 0.2
    assert card.wrong_kind == pytest.approx(0.0, abs=1e-9)
    assert card.contradicted == 0.01
    assert 0 < card.usable < card.rows


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        ("42", "integer"),
        ("-3", "integer"),
        ("4.5", "number"),
        ("Yes", "yesno"),
        ("B", "letter"),
        ("c1ccccc1", "code"),
        ("CCO", "code"),
        ("[1, 2]", "list"),
        ("two words", "text"),
        ("paris", "word"),
    ],
)
def test_kinds_of_answers(value: str, kind: str) -> None:
    assert value_kind(value) == kind
