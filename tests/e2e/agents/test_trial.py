"""`dojo agents check --live`: an agent is run in a real sandbox behind the real gateway, and what it did is told."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from harness.assets.base_models import find_base_model
from harness.assets.new_agent import EXAMPLES
from harness.sandbox.registry import get_backend
from harness.spec.errors import DojoError
from tests.unit.agents.where import AGENTS

pytestmark = [pytest.mark.e2e, pytest.mark.slow]
SANDBOX = os.environ.get("DOJO_TEST_SANDBOX", "namespace")
CACHE = Path(os.environ.get("DOJO_CACHE") or Path.home() / ".cache/dojo")


@pytest.fixture(autouse=True)
def _possible() -> None:
    bad = [check for check in get_backend(SANDBOX).check() if not check.ok]
    if bad:
        pytest.skip(f"sandbox {SANDBOX} is not to be had here: {bad[0].detail}")
    try:
        find_base_model("smol", CACHE)
    except DojoError as exc:
        pytest.skip(exc.message)


def check(agent: Path | str, home: Path) -> tuple[int, dict[str, dict[str, Any]]]:
    command = [sys.executable, "-m", "harness.cli.main", "agents", "check", str(agent), "--live", "--json"]
    environment = {**os.environ, "DOJO_HOME": str(home), "DOJO_CACHE": str(CACHE), "DOJO_SANDBOX": SANDBOX}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
    document = json.loads(done.stdout)
    return done.returncode, {found["name"]: found for found in document["data"]["checks"]}


def make(folder: Path, program: str) -> Path:
    folder.mkdir()
    (folder / "agent.toml").write_text('name = "mine"\ncommand = ["python", "/agent/main.py"]\nbackbone = "required"\n')
    (folder / "main.py").write_text(program)
    (folder / "README.md").write_text("# mine\n")
    return folder


@pytest.mark.parametrize("kind", ["llm", "shell"])
def test_a_new_agent_passes_its_trial_at_once_and_nothing_of_it_is_kept(tmp_path: Path, kind: str) -> None:
    command = [sys.executable, "-m", "harness.cli.main", "agents", "new", "mine", "--kind", kind, "--in", str(tmp_path)]
    subprocess.run(command, check=True, capture_output=True)
    code, told = check(tmp_path / "mine", tmp_path / "home")
    assert code == 0, told
    assert told["ends"]["detail"].startswith("exit code 0 after")
    if kind == "llm":
        assert told["talks"]["detail"] == "4 calls (4 chat), 4 answered, 3 tool calls"
        assert told["handed in"]["detail"] == "1 times"
    assert not (tmp_path / "home").exists()


def test_an_agent_that_breaks_is_quoted(tmp_path: Path) -> None:
    code, told = check(make(tmp_path / "mine", "raise SystemExit('no model called gpt')"), tmp_path / "home")
    assert code == 2
    assert "exit code 1" in told["ends"]["detail"] and "no model called gpt" in told["ends"]["detail"]
    assert not told["talks"]["ok"] and told["talks"]["detail"].startswith("no call")
    assert not told["handed in"]["ok"] and "base model" in told["handed in"]["hint"]


def test_every_kind_has_an_example() -> None:
    assert all((AGENTS / example / "agent.toml").is_file() for example in EXAMPLES.values())
