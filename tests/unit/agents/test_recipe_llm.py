"""Rows cleaned by a backbone: what is believed, what stays as it was, and that a whole run ends well whatever it says."""

import json
import re
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from backbone_server import Reply as Said
from backbone_server import refused, serving
from fake_api import FakeApi, make_task
from reading.backbone import Backbone
from reading.dataset import Material, read_material
from reading.rows import Row
from sources import boxed_sources
from test_agents_run import by_kind, finish, start
from where import AGENTS

sys.path.insert(0, str(AGENTS / "recipe_llm"))

from cleaning import Cleaner, read_rows

Reply = Callable[[list[dict[str, Any]]], Any]  # the rows of a call → what is said about them


class Model:
    """Answers chat completions by a function of the rows that a prompt shows; ``errors`` come first."""

    def __init__(self, reply: Reply) -> None:
        self.prompts: list[str] = []
        self.errors: Iterator[tuple[int, str]] = iter(())
        self.url, self._reply = "", reply

    def answer(self, asked: dict[str, Any]) -> Said:
        prompt = asked["messages"][-1]["content"]
        self.prompts.append(prompt)
        failed = next(self.errors, None)
        if failed is not None:
            return refused(*failed)
        said = self._reply([json.loads(line) for line in prompt.rsplit("every `n`.", 1)[1].strip().splitlines()])
        return Said(said if isinstance(said, str) else json.dumps({"rows": said}))

    def environment(self) -> dict[str, str]:
        return {"LLM_BASE_URL": self.url, "LLM_API_KEY": "key", "LLM_MODEL": "small"}


@contextmanager
def model_of(reply: Reply) -> Iterator[Model]:
    model = Model(reply)
    with serving(model.answer) as server:
        model.url = server.url
        yield model


@pytest.fixture
def task(tmp_path: Path) -> dict[str, Any]:
    return make_task(boxed_sources(tmp_path / "data"), "/nowhere")


@pytest.fixture
def material(task: dict[str, Any]) -> Material:
    return read_material(task)


def cleaner_of(model: Model, task: dict[str, Any], material: Material, seconds: float = 60.0) -> Cleaner:
    backbone = Backbone(model.url, "key", "small", again_after_s=())
    return Cleaner(backbone, task, material, deadline=time.monotonic() + seconds)


def right(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{"n": row["n"]} for row in rows]


def saying(**first: Any) -> Reply:
    """Everything is right but the first row of each call, of which this is said."""
    return lambda rows: [{"n": 1, **first}, *right(rows)[1:]]


def judged(said: Reply, task: dict[str, Any], material: Material, rows: int = 4) -> tuple[list[Row], dict[str, int]]:
    with model_of(said) as model:
        made = cleaner_of(model, task, material).clean(list(material.rows[:rows]), rows_a_call=rows, calls_at_once=1)
    return made.rows, vars(made.counts)


def test_rows_that_are_called_right_stay_in_their_order(task: dict[str, Any], material: Material) -> None:
    with model_of(right) as model:
        made = cleaner_of(model, task, material).clean(list(material.rows), rows_a_call=5, calls_at_once=3)
    assert made.rows == list(material.rows) and made.stopped == ""
    assert made.counts.unchanged == len(material.rows) and made.counts.calls == -(-len(material.rows) // 5)
    assert made.counts.tokens == 120 * made.counts.calls


def test_a_wrong_answer_and_a_broken_question_are_mended_and_what_does_not_belong_goes(
    task: dict[str, Any], material: Material
) -> None:
    def mend(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return [{"n": 1, "answer": "77"}, {"n": 2, "question": "Say 12 now.", "answer": 12}, {"n": 3, "drop": True}, {"n": 4}]

    rows, counts = judged(mend, task, material)
    assert [(r.prompt, r.value) for r in rows] == [
        (material.rows[0].prompt, "77"),
        ("Say 12 now.", "12"),
        (material.rows[3].prompt, material.rows[3].value),
    ]
    assert (counts["mended"], counts["dropped"], counts["unchanged"]) == (2, 1, 1)


@pytest.mark.parametrize(
    "said",
    [
        {"answer": "seventy-seven"},  # every worked example's answer is a number
        {"answer": ""},
        {"answer": None},
        {"answer": ["7"]},
        {"answer": "7" * 200},
        {"question": ""},
        {"question": 7},
        {"question": "What is 3 + 40?"},  # a worked example
        {"question": "x" * 5000},
    ],
)
def test_a_row_stays_as_it_was_where_what_is_said_of_it_is_unusable(
    said: dict[str, Any], task: dict[str, Any], material: Material
) -> None:
    rows, counts = judged(saying(**said), task, material)
    assert rows == list(material.rows[:4]) and (counts["unusable"], counts["unchanged"]) == (1, 3)


def test_rows_that_nothing_is_said_of_stay_as_they_were(task: dict[str, Any], material: Material) -> None:
    rows, counts = judged(lambda rows: [{"n": 1}, {"n": 99, "answer": "1"}, "?", {"answer": "5"}], task, material)
    assert rows == list(material.rows[:4]) and counts["unusable"] == 3


def test_a_model_that_would_drop_most_of_a_batch_is_not_believed(task: dict[str, Any], material: Material) -> None:
    rows, counts = judged(lambda rows: [{"n": row["n"], "drop": row["n"] < 4} for row in rows], task, material)
    assert rows == list(material.rows[:4]) and (counts["dropped"], counts["unusable"]) == (0, 4)


def test_answers_from_a_closed_set_stay_in_it(task: dict[str, Any], material: Material) -> None:
    rows = tuple(Row(f"Is {i} even?", "Yes" if i % 2 == 0 else "No", "", "", "s", i) for i in range(120))
    closed = Material(rows, 120, material.form, material.prompts, False, frozenset(), 2000)
    made, counts = judged(saying(answer="Maybe"), task, closed)
    assert made == list(rows[:4]) and counts["unusable"] == 1
    made, counts = judged(saying(answer="No"), task, closed)
    assert made[0].value == "No" and counts["mended"] == 1


def test_a_reply_may_think_aloud_and_fence_its_json(task: dict[str, Any], material: Material) -> None:
    said = 'The first is off: {"n": 1}.\n```json\n{"rows": [{"n": 1, "answer": "8"}, {"n": 2}]}\n```\nDone.'
    rows, counts = judged(lambda rows: said, task, material, rows=2)
    assert rows[0].value == "8" and (counts["mended"], counts["unchanged"]) == (1, 1)


@pytest.mark.parametrize("text", ["", "no JSON", '{"rows": 7}', '[{"n": 1}]', '{"rows": [', "null"])
def test_what_is_no_object_with_rows_is_nothing(text: str) -> None:
    assert read_rows(text) is None


def test_a_spent_budget_ends_the_asking_and_keeps_what_was_mended(task: dict[str, Any], material: Material) -> None:
    with model_of(saying(answer="77")) as model:
        cleaner = cleaner_of(model, task, material)
        first = cleaner.clean(list(material.rows[:4]), rows_a_call=4, calls_at_once=1)
        model.errors = iter([(429, "budget_exceeded")] * 100)
        made = cleaner.clean(list(material.rows), rows_a_call=4, calls_at_once=1)
    assert first.rows[0].value == "77"
    assert made.rows == list(material.rows) and made.counts.unasked == len(material.rows)
    assert made.stopped.startswith("spent") and len(model.prompts) == 2


def test_one_failed_call_costs_its_batch_and_three_in_a_row_end_the_asking(task: dict[str, Any], material: Material) -> None:
    with model_of(right) as model:
        model.errors = iter([(500, "overloaded")])
        made = cleaner_of(model, task, material).clean(list(material.rows[:12]), rows_a_call=4, calls_at_once=1)
    assert (made.counts.unasked, made.counts.unchanged, made.stopped) == (4, 8, "")
    with model_of(lambda rows: "I would rather not.") as model:
        made = cleaner_of(model, task, material).clean(list(material.rows), rows_a_call=4, calls_at_once=1)
    assert len(model.prompts) == 3 and "3 calls in a row" in made.stopped and made.rows == list(material.rows)


def test_after_its_time_nothing_is_asked(task: dict[str, Any], material: Material) -> None:
    with model_of(right) as model:
        made = cleaner_of(model, task, material, seconds=-1.0).clean(list(material.rows), rows_a_call=4, calls_at_once=2)
    assert model.prompts == [] and made.stopped == "the time for cleaning is over" and made.rows == list(material.rows)


def test_a_call_fits_a_third_of_the_context_and_shows_goal_form_and_examples(task: dict[str, Any], material: Material) -> None:
    with model_of(right) as model:
        cleaner = cleaner_of(model, task, material)
        cleaner.backbone.context = 2048
        cleaner.clean(list(material.rows), rows_a_call=1000, calls_at_once=1)
    assert len(model.prompts) > 1 and max(map(len, model.prompts)) <= 3 * 2048 / 3 + 100
    for part in (task["goal"], task["answer_format"], task["examples"][0]["prompt"], material.rows[0].prompt):
        assert part in model.prompts[0]


@pytest.mark.slow
def test_a_whole_run_trains_on_what_was_mended(
    tmp_path: Path,
    tiny: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    data = boxed_sources(tmp_path / "data")
    with (
        model_of(saying(answer="77")) as model,
        FakeApi(make_task(data, str(tiny)), by_kind, wall=120.0) as api,
    ):
        for name, value in model.environment().items():
            monkeypatch.setenv(name, value)
        out = finish(start(AGENTS / "recipe_llm", api, tmp_path / "work", train_share=0.1))
    assert [Path(p).name for p in api.submissions] == ["base", "adapter"], out
    counted = re.search(r"recipe_llm: cleaned (\{.*?\})", out)
    assert counted, out
    counts = json.loads(counted.group(1))
    assert counts["mended"] == counts["calls"] == len(model.prompts) and counts["failed_calls"] == 0
    assert any("rows to train on" in note for note in api.notes)


@pytest.mark.slow
def test_a_whole_run_without_an_answer_is_the_plain_recipe(
    tmp_path: Path,
    tiny: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    data = boxed_sources(tmp_path / "data")
    with model_of(right) as model, FakeApi(make_task(data, str(tiny)), by_kind, wall=120.0) as api:
        model.errors = iter([(429, "budget_exceeded")] * 100)
        for name, value in model.environment().items():
            monkeypatch.setenv(name, value)
        out = finish(start(AGENTS / "recipe_llm", api, tmp_path / "work", train_share=0.1))
    assert [Path(p).name for p in api.submissions] == ["base", "adapter"], out
    assert "stopped early: spent" in out and '"mended": 0' in out
