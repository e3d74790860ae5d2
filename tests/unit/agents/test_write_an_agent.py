"""docs/write-an-agent.md, followed word for word, ends in a working agent."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from fake_api import FakeApi, make_task
from sources import boxed_sources
from test_agents_run import by_kind, finish, start
from tiny_model import make_tiny_model
from where import AGENTS

from harness.sandbox.registry import get_backend

ROOT = AGENTS.parent
PAGE = (ROOT / "docs" / "write-an-agent.md").read_text(encoding="utf-8")
FILES = {name: text for name, _, text in re.findall(r"^`([\w./-]+)`\n\n(````?)\w+\n(.*?)^\2$", PAGE, re.MULTILINE | re.DOTALL)}
COMMANDS = [line[6:] for line in PAGE.splitlines() if line.startswith("    $ ")]
FOLDER, THINKER = "myagents/first_steps", "myagents/thinker"


@pytest.fixture
def followed(tmp_path: Path) -> Path:
    """A folder where the page's ``mkdir`` was run and its files typed in."""
    for command in (c for c in COMMANDS if c.startswith("mkdir")):
        subprocess.run(shlex.split(command), cwd=tmp_path, check=True)
    for name, content in FILES.items():
        (tmp_path / name).write_text(content, encoding="utf-8")
    return tmp_path


def dojo(folder: Path, command: str) -> Any:
    """Run one of the page's commands in the folder, with the page's ``export`` and ``--json``."""
    argv = [sys.executable, "-m", "harness.cli.main", *shlex.split(command)[1:], "--json"]
    environment = {**os.environ, "DOJO_AGENTS": str(folder / "myagents"), "DOJO_HOME": str(folder / "results")}
    done = subprocess.run(argv, cwd=folder, env=environment, capture_output=True, text=True, timeout=300)
    answer = json.loads(done.stdout)
    assert answer["ok"], (answer, done.stderr)
    return answer["data"]


def command_with(text: str) -> str:
    return next(c for c in COMMANDS if text in c)


def test_the_page_shows_every_file_and_only_commands_that_are_tried_here() -> None:
    assert {Path(n).name for n in FILES if n.startswith(FOLDER)} == {"agent.toml", "main.py", "training.py", "README.md"}
    assert {Path(n).name for n in FILES if n.startswith(THINKER)} == {"agent.toml", "main.py", "README.md"}
    assert len(FILES) == 7
    assert [c.split()[0] for c in COMMANDS] == ["mkdir", "export", "dojo", "dojo", "mkdir", "dojo"]


def test_the_agent_passes_its_check(followed: Path) -> None:
    for command in ("agents check first_steps", "agents check thinker"):
        checks = dojo(followed, command_with(command).removesuffix(" --live"))["checks"]
        assert checks and all(c["ok"] for c in checks), checks


def test_the_submit_command_plans_a_run(followed: Path) -> None:
    plan = dojo(followed, command_with("dojo submit") + " --dry-run")
    assert "first_steps" in json.dumps(plan)


@pytest.mark.slow
def test_the_agent_trains_measures_and_hands_in(followed: Path) -> None:
    data = boxed_sources(followed / "data")
    tiny = make_tiny_model(followed / "tiny")
    with FakeApi(make_task(data, str(tiny)), by_kind, wall=30.0) as api:
        out = finish(start(followed / FOLDER, api, followed / "work", share=0.3))
    assert [Path(p).name for p in api.submissions] == ["base", "adapter"]
    assert len(api.feedback) == 1
    assert "dev: {'value': 0.5" in out
    assert int(api.notes[0].split()[0]) > 100


@pytest.mark.e2e
@pytest.mark.slow
def test_the_agent_that_thinks_passes_its_trial(followed: Path) -> None:
    backend = get_backend("namespace")
    if bad := [check.detail for check in backend.check() if not check.ok]:
        pytest.skip(f"no sandbox here: {bad[0]}")
    told = {c["name"]: c for c in dojo(followed, command_with("agents check thinker"))["checks"]}
    assert told["talks"]["detail"].startswith("4 calls (4 chat), 4 answered"), told
    assert told["handed in"]["detail"] == "1 times"


@pytest.mark.parametrize("call", ["task()", "budget()", "validate(path)", "evaluate(path)", "submit(path)", "note(text)"])
def test_the_calls_it_lists_are_those_of_the_client(call: str) -> None:
    from harness.session.dojo_tool import Client

    assert f"`api.{call}`" in PAGE
    assert hasattr(Client, call.split("(")[0])
