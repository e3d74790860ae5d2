"""The one prompt of all general agents, made of the task and budget of a run."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from fake_api import FakeApi, make_task
from general.prompt import prompt
from sources import boxed_sources
from where import AGENTS

UNLIMITED = {"limit": None, "used": 0.0, "left": None}


@pytest.fixture
def task(tmp_path: Path) -> dict[str, Any]:
    return make_task(boxed_sources(tmp_path / "data"), "/models/base", goal="# Title\n\nCosts $5 at most.\n\n## Data\n\nRows.")


def lines(**budget: tuple[float, float]) -> dict[str, dict[str, float | None]]:
    return {"cpu": UNLIMITED, **{name: {"limit": a, "used": a - b, "left": b} for name, (a, b) in budget.items()}}


def test_the_goal_stands_whole_below_the_prompts_own_heading(task: dict[str, Any]) -> None:
    text = prompt(task, lines(wall=(3600, 3000)))
    assert "## Title\n\nCosts $5 at most.\n\n### Data\n\nRows." in text


def test_the_examples_and_the_machine_are_shown(task: dict[str, Any]) -> None:
    text = prompt(task, lines(wall=(3600, 3000)))
    assert task["examples"][0]["prompt"] in text and task["examples"][1]["answer"] in text
    assert "1 CPU core, no GPU and 4,096 MB" in text
    assert "the last valid one counts" in text


def test_only_what_is_limited_is_told_and_what_is_left_of_it(task: dict[str, Any]) -> None:
    text = prompt(task, lines(wall=(43_200, 42_000), evaluations=(20, 19), tokens=(5_000_000, 4_999_000)))
    assert "- 42,000 of 43,200 s of wall time" in text and "- 19 of 20 evaluations" in text
    assert "- 4,999,000 of 5,000,000 tokens" in text and "CPU time" not in text
    assert "Hand in before" in text, "a backbone that can be spent ends the agent's thinking"
    assert "Hand in before" not in prompt(task, lines(wall=(60, 60)))


def test_every_call_that_an_agent_may_make_is_named(task: dict[str, Any]) -> None:
    text = prompt(task, lines(wall=(60, 60)))
    assert all(f"`dojo-tool {call}" in text for call in ("task", "budget", "validate", "evaluate", "submit", "note"))
    assert '{"dojo": "base"}' in text and "adapter_model.safetensors" in text


def test_it_is_printed_for_agents_in_other_languages(task: dict[str, Any]) -> None:
    with FakeApi(task, lambda path: {}) as api:
        program = AGENTS / "general" / "prompt.py"
        env = {**api.env(), "PYTHONPATH": str(AGENTS.parent / "harness" / "session"), "PATH": "/usr/bin:/bin"}
        done = subprocess.run([sys.executable, program], env=env, capture_output=True, text=True, check=True)
    assert done.stdout.startswith("You work alone in a sandbox") and "## Title" in done.stdout
