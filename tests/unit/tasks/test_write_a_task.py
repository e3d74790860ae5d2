"""docs/write-a-task.md, followed word for word, ends in a working task."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
PAGE = (ROOT / "docs" / "write-a-task.md").read_text(encoding="utf-8")
FILES = dict(re.findall(r"^`([\w./-]+)`\n\n```\w+\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL))
CACHE = Path(os.environ.get("DOJO_CACHE") or Path.home() / ".cache" / "dojo")
COMMANDS = [line[6:] for line in PAGE.splitlines() if line.startswith("    $ ")]


@pytest.fixture(scope="module")
def followed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder where the page's commands were run and its files typed in."""
    folder = tmp_path_factory.mktemp("tutorial")
    for command in (c for c in COMMANDS if c.startswith("mkdir")):
        subprocess.run(shlex.split(command), cwd=folder, check=True)
    for name, content in FILES.items():
        (folder / name).write_text(content, encoding="utf-8")
    if (CACHE / "models").is_dir():  # the page's reader has the base model by now, and making it takes half a minute
        (folder / "cache").mkdir()
        (folder / "cache" / "models").symlink_to(CACHE / "models")
    return folder


def dojo(folder: Path, command: str, timeout: float = 120, cache: str | None = None) -> dict:
    """Run one of the page's commands, with ``--json``."""
    argv = shlex.split(command)
    assert argv[0] == "dojo"
    environment = {
        **os.environ,
        "DOJO_TASKS": str(folder / "mytasks"),
        "DOJO_HOME": str(folder / "results"),
        "DOJO_CACHE": cache or str(folder / "cache"),
    }
    argv = [sys.executable, "-c", "from harness.cli.main import main; main()", *argv[1:], "--json"]
    done = subprocess.run(argv, cwd=folder, env=environment, capture_output=True, text=True, timeout=timeout)
    answer = json.loads(done.stdout)
    assert answer["ok"], (answer, done.stderr)
    return answer["data"]


def command_with(text: str) -> str:
    return next(c for c in COMMANDS if text in c)


def test_the_page_shows_every_file_it_needs() -> None:
    names = {name.removeprefix("mytasks/text/initials/") for name in FILES}
    assert names >= {"task.toml", "instruction.md", "prepare.py", "tests/grader.py", "tests/task.yaml", "README.md", "rows.jsonl"}
    assert not [c for c in COMMANDS if not c.startswith(("mkdir", "export DOJO_TASKS", "dojo "))]


def test_the_task_passes_its_check(followed: Path) -> None:
    checks = dojo(followed, command_with("tasks check"))["checks"]
    assert {c["name"] for c in checks} >= {"files", "data", "oracle"} and all(c["ok"] for c in checks), checks


def test_answers_are_scored_as_the_page_says(followed: Path) -> None:
    scores = dojo(followed, command_with("tasks score"))
    assert scores["primary"]["value"] == 0.5 and scores["parse_rate"] == 0.5
    assert [item["score"] for item in scores["items"]] == [1, 0]


def test_the_placeholders_it_lists_are_those_there_are() -> None:
    from harness.assets.render import instruction_values
    from harness.spec.budget import Budget
    from harness.spec.task import Generation, Limits, load_task_config

    dojo_task = load_task_config(ROOT / "tasks" / "math" / "aime25" / "task.toml").metadata.dojo
    known = instruction_values(
        dojo_task, profile="mini", base_model="b", budget=Budget(wall=1), limits=Limits(), generation=Generation(), sources=""
    )
    listed = PAGE[PAGE.index("Known names:") : PAGE.index("An unknown one is an error")]
    assert set(re.findall(r"`(\w+)`", listed)) == set(known)


@pytest.mark.slow
def test_the_task_runs_and_its_leaderboard_has_the_base_model(followed: Path) -> None:
    data = dojo(followed, command_with("submit --agent base"), timeout=900, cache=str(CACHE))
    assert [(run["agent"], run["task"], run["state"]) for run in data["runs"]] == [("base", "text/initials", "done")]
