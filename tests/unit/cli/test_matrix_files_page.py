"""docs/matrix-files.md, followed word for word: its files are read, its commands run, its output is what comes."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Callable
from pathlib import Path

import click
import pytest

from harness.cli.main import cli
from harness.spec.matrix import AgentEntry, Matrix
from tests.unit.cli.conftest import Answer

REPO = Path(__file__).parents[3]
PAGE = (REPO / "docs" / "matrix-files.md").read_text(encoding="utf-8")
FILES = re.findall(r"^`([\w./]+)`\n\n```\w+\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
COMMANDS = [line[6:] for line in PAGE.splitlines() if line.startswith("    $ ")]
OUTPUTS = dict(re.findall(r"^    \$ ([^\n]*)\n\n```\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL))
REAL = Path(os.environ.get("DOJO_CACHE") or Path.home() / ".cache/dojo")


@pytest.fixture
def followed(dojo_cli: Callable[..., Answer], tmp_path: Path) -> Callable[..., Answer]:
    """Write the page's files, and run its commands where they lie."""
    for name, text in FILES:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return lambda command, *more: dojo_cli(*shlex.split(command)[1:], *more)


def test_every_block_is_tried_here() -> None:
    assert [name for name, _ in FILES] == [
        "agents/careful/agent.toml", "agents/careful/main.py", "experiments/feedback.toml", "experiments/mistyped.toml",
    ]  # fmt: skip
    assert len(FILES) == len(re.findall(r"^```\w+$", PAGE, re.MULTILINE)) and len(OUTPUTS) == 2
    for name, text in FILES:
        if name.endswith(".py"):
            compile(text, name, "exec")


def test_the_dry_run_prints_the_table_of_the_page(followed, monkeypatch: pytest.MonkeyPatch) -> None:
    if not (REAL / "data/math/aime25/mini").is_dir() or not (REAL / "models/smol").is_dir():
        pytest.skip("the mini data of math/aime25 or its base model is not prepared")
    monkeypatch.setenv("DOJO_CACHE", str(REAL))
    command = next(command for command in COMMANDS if "feedback.toml --dry-run" in command)
    answer = followed(command)
    assert answer.code == 0, answer.err
    assert answer.out.partition("\n")[2].startswith(OUTPUTS[command])
    assert "12 runs, at most 2h 00m of agent time one after the other, 48 evaluations, 18m 00s cpu" in answer.out
    data = followed(command, "--json").data
    assert {"runs", "total", "max_dollars", "max_wall_s"} <= set(data)
    assert {(run["agent"], run["variant"]) for run in data["runs"]} >= {("careful", "feedback=false cpu=1m")}


def test_a_mistyped_file_is_refused_with_the_words_of_the_page(followed) -> None:
    command = next(command for command in COMMANDS if "mistyped" in command)
    answer = followed(command)
    assert (answer.code, answer.err) == (2, OUTPUTS[command])


@pytest.mark.parametrize("model", [Matrix, AgentEntry])
def test_every_key_is_told(model: type[Matrix]) -> None:
    assert [name for name in model.model_fields if f"`{name}`" not in PAGE] == []


def test_every_ablation_is_told() -> None:
    shipped = {path.name for path in (REPO / "agents/ft_agent/ablations").glob("*.toml")}
    assert shipped == set(re.findall(r"\]\(\.\./agents/ft_agent/ablations/([\w-]+\.toml)\)", PAGE))


@pytest.mark.parametrize("command", COMMANDS)
def test_each_command_is_one(command: str) -> None:
    words = shlex.split(command)
    assert words[0] == "dojo"
    found = cli.get_command(click.Context(cli), words[1])
    assert found is not None
    assert {word for word in words if word.startswith("--")} <= {option for param in found.params for option in param.opts}
