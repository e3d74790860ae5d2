"""What recipe, recipe_llm and search train on: read and cleaned once, drawn by seed and shares."""

from pathlib import Path

from fake_api import make_task
from reading.dataset import Material, agreed, read_material
from reading.rows import AnswerForm, PromptForm, Row
from sources import SUFFIX, boxed_sources


def rows_of(*answers: str, prompt: str = "q") -> list[Row]:
    return [Row(prompt, answer, "", "", "s", i) for i, answer in enumerate(answers)]


def test_each_question_is_kept_once_with_the_answer_of_the_majority() -> None:
    assert [r.value for r in agreed(rows_of("1", "2", "2"))] == ["2"]


def test_a_question_whose_answers_are_equally_frequent_is_dropped() -> None:
    assert agreed(rows_of("1", "2")) == []


def test_sources_become_pairs_in_the_tasks_own_form(tmp_path: Path) -> None:
    material = read_material(make_task(boxed_sources(tmp_path), "/nowhere"))
    pairs = material.pairs(material.drawn(0))
    assert material.read > len(material.rows) == len(pairs) > 50
    assert all(prompt.endswith(SUFFIX) and answer.startswith("\\boxed{") for prompt, answer in pairs)


def test_a_worked_example_is_no_training_row_though_its_wording_is_left_out_in_the_source(tmp_path: Path) -> None:
    data = boxed_sources(tmp_path)
    with (data / "sources" / "good.jsonl").open("a") as file:
        file.write('{"problem": "Say 71 again.", "answer": "71", "solution": ""}\n')
    material = read_material(make_task(data, "/nowhere"))
    assert not [r for r in material.rows if r.prompt == "Say 71 again."]


def test_rows_are_drawn_by_seed_up_to_the_cap(tmp_path: Path) -> None:
    material = read_material(make_task(boxed_sources(tmp_path), "/nowhere", max_train_samples=20))
    assert material.drawn(1) == material.drawn(1) != material.drawn(2)
    assert len(material.drawn(0)) == 20


def test_of_each_source_its_share_is_drawn() -> None:
    rows = tuple(Row(f"{name} {i}", "1", "", "", name, i) for name in ("a", "b", "c") for i in range(10))
    material = Material(rows, 30, AnswerForm("plain"), PromptForm(), False, frozenset(), 100)
    drawn = material.drawn(0, {"a": 0.5, "b": 0.0})
    assert {name: sum(r.source == name for r in drawn) for name in ("a", "b", "c")} == {"a": 5, "b": 0, "c": 10}
