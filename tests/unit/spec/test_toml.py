"""A file that breaks its schema: what is said names file, key, the key that was probably meant, and the schema's command."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from harness.spec.agent import AgentConfig, load_agent_config
from harness.spec.budget import Budget
from harness.spec.errors import SpecError, UsageError
from harness.spec.run import RunSpec
from harness.spec.task import TaskConfig, load_task_config
from harness.spec.toml import describe, did_you_mean

TASK = """
[metadata.dojo]
title = "T"
summary = "s"
answer_format = "a"
metric = {name = "accuracy", description = "d"}
subsets = [{name = "all", metric = "accuracy"}]
[metadata.dojo.profiles.mini]
base_model = "smol"
budget = {wall = "5m"}
"""


def test_an_unknown_key_of_agent_toml_says_which_is_near_and_how_to_see_the_schema(tmp_path: Path) -> None:
    file = tmp_path / "agent.toml"
    file.write_text('name = "a"\ncommand = ["sh"]\nplacment = "own"\n')
    with pytest.raises(SpecError) as caught:
        load_agent_config(file)
    assert caught.value.message == f"{file}:3: placment: there is no such key; did you mean placement?"
    assert caught.value.hint == "`dojo schema agent` prints what may stand there"


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ("summary =", "sumary =", "metadata.dojo.sumary: there is no such key; did you mean summary?"),
        ('wall = "5m"', 'wall = "5m", evalutions = 3', "mini.budget.evalutions: there is no such key; did you mean evaluations?"),
        ('metric = "accuracy"}]', 'metric = "accuracy", abut = "x"}]', "subsets.0.abut: there is no such key; "),
        ('base_model = "smol"', 'base_model = "smol"\nlimts = {cpus = 1}', "limts: there is no such key; did you mean limits?"),
    ],
)
def test_a_key_deep_in_task_toml_is_held_against_the_keys_of_its_own_place(
    before: str, after: str, said: str, tmp_path: Path
) -> None:
    file = tmp_path / "task.toml"
    assert before in TASK
    file.write_text(TASK.replace(before, after))
    with pytest.raises(SpecError) as caught:
        load_task_config(file)
    assert said in caught.value.message and caught.value.hint == "`dojo schema task` prints what may stand there"


@pytest.mark.parametrize(
    ("before", "after", "line"),
    [
        ('title = "T"', "title = 3", 3),
        ('metric = {name = "accuracy"', "metric = {name = 3", 6),
        ('base_model = "smol"', 'base_model = "smol"\nlimits.gpus = 1\nlimits.cpus = 0', 10),
        ('wall = "5m"', 'wall = "soon"', 10),
        (
            "[metadata.dojo.profiles.mini]",
            "[metadata.dojo.profiles.mini.generation]\nbatch_size = -1\n[metadata.dojo.profiles.mini]",
            9,
        ),
        ('summary = "s"\n', "", 2),
    ],
)
def test_a_value_that_cannot_stand_is_told_with_its_line(before: str, after: str, line: int, tmp_path: Path) -> None:
    file = tmp_path / "task.toml"
    assert before in TASK
    file.write_text(TASK.replace(before, after))
    with pytest.raises(SpecError) as caught:
        load_task_config(file)
    assert caught.value.message.startswith(f"{file}:{line}: metadata.dojo."), caught.value.message


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ('wall = "5m"', "wall = true", ":10: metadata.dojo.profiles.mini.budget.wall: true and false are no numbers"),
        ('wall = "5m"', 'wall = "5m", tokens = false', ":10: metadata.dojo.profiles.mini.budget.tokens: true and"),
        ('base_model = "smol"', 'base_model = "smol"\nlimits = {cpus = true}', ":10: metadata.dojo.profiles.mini.limits.cpus:"),
    ],
)
def test_true_and_false_are_no_numbers(before: str, after: str, said: str, tmp_path: Path) -> None:
    file = tmp_path / "task.toml"
    assert before in TASK
    file.write_text(TASK.replace(before, after))
    with pytest.raises(SpecError) as caught:
        load_task_config(file)
    assert said in caught.value.message


def test_a_parameter_of_an_agent_may_be_true(tmp_path: Path) -> None:
    file = tmp_path / "agent.toml"
    file.write_text('name = "a"\ncommand = ["sh"]\n[params]\nfeedback = true\nshare = 0.5\n')
    assert load_agent_config(file).params == {"feedback": True, "share": 0.5}


def test_the_same_is_said_of_json() -> None:
    with pytest.raises(ValidationError) as caught:
        RunSpec.model_validate_json('{"agent": {"config": {"nme": "x"}, "digest": ""}}')
    assert "agent.config.nme: there is no such key; did you mean name?" in describe(caught.value, RunSpec)
    with pytest.raises(ValidationError) as bare:
        AgentConfig.model_validate({"nme": "x"})
    assert "nme: there is no such key" in describe(bare.value)


def test_a_name_like_no_other_lists_those_there_are() -> None:
    assert did_you_mean("xyzzy", ["wall", "cpu"]) == "known: wall, cpu"
    assert did_you_mean("x", []) == ""
    assert TaskConfig.model_fields


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        ("wal=2h", "there is no dimension 'wal'", "did you mean wall?"),
        ("wall=2h,wall=3h", "names wall twice", "give each dimension once"),
        ("disk-mb=1,disk_mb=2", "names disk_mb twice", "give each dimension once"),
        ("wall", "is not of the form dimension=value", "dimensions: wall, "),
    ],
)
def test_a_budget_names_each_dimension_that_there_is_at_most_once(text: str, message: str, hint: str) -> None:
    with pytest.raises(UsageError, match=message) as caught:
        Budget(wall=60).override(text)
    assert hint in caught.value.hint
