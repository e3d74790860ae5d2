"""docs/agents.md tells of every agent what its own files say."""

import json
import re
import tomllib

import pytest
from where import AGENTS

from harness.assets.agent_dir import Agent, list_agents

PAGE = (AGENTS.parent / "docs" / "agents.md").read_text(encoding="utf-8")
COLUMNS = ("agent", "what it is", "backbone", "install", "version", "licence", "tried")


def rows() -> dict[str, dict[str, str]]:
    table = [line for line in PAGE.splitlines() if line.startswith("|")]
    assert [cell.strip() for cell in table[0].strip("|").split("|")] == list(COLUMNS)
    found = {}
    for line in table[2:]:
        cells = dict(zip(COLUMNS, (cell.strip() for cell in line.strip("|").split("|")), strict=True))
        name = re.match(r"\[(\w+)\]", cells["agent"])
        assert name, line
        found[name[1]] = cells
    return found


def own_agents() -> list[Agent]:
    return [agent for agent in list_agents([]) if agent.path.parent == AGENTS]


def pinned(agent: Agent) -> set[str]:
    """The versions of the programs an agent wraps, by what its locks are made from; its own where it wraps none."""
    found = set()
    if (file := agent.path / "requirements.in").is_file():
        found |= set(re.findall(r"==(\S+)", file.read_text()))
    if (file := agent.path / "package.json").is_file():
        wanted = json.loads(file.read_text())
        packages = {**wanted.get("dependencies", {}), **wanted.get("optionalDependencies", {})}
        found |= {re.sub(r"^npm:.*@|-linux-\w+$", "", v) for name, v in packages.items() if not name.startswith("node-linux-")}
    return found or {agent.config.version}


def test_every_agent_has_a_row_and_every_row_an_agent() -> None:
    assert sorted(rows()) == sorted(agent.name for agent in own_agents())


@pytest.mark.parametrize("agent", own_agents(), ids=lambda agent: agent.name)
def test_a_row_says_what_the_agents_files_say(agent: Agent) -> None:
    row, install = rows()[agent.name], agent.config.install
    assert row["backbone"] == agent.config.backbone
    kinds = [word for word, lock in (("Python", install and install.python), ("npm", install and install.npm)) if lock]
    assert row["install"] == (" and ".join(kinds) or "nothing")
    assert {row["version"]} == pinned(agent)
    assert row["licence"] and row["tried"]


@pytest.mark.parametrize("agent", [a for a in own_agents() if a.config.install], ids=lambda agent: agent.name)
def test_locks_name_no_address_and_pin_everything_by_hash(agent: Agent) -> None:
    install = agent.config.install
    assert install is not None
    for name in filter(None, (install.python, install.npm)):
        text = (agent.path / name).read_text()
        assert "://" not in re.sub(r'"(url|funding)": .*', "", text), name
        assert "--index" not in text and '"resolved"' not in text
    if install.python:
        text = (agent.path / install.python).read_text().replace("\\\n", " ")
        pins = [line for line in text.splitlines() if line and not line.startswith("#")]
        assert pins and all("==" in line and "--hash=sha256:" in line for line in pins)
        assert tomllib.loads((agent.path / "agent.toml").read_text())["install"]["python_version"]
    if install.npm:
        packages = json.loads((agent.path / install.npm).read_text())["packages"]
        assert all("integrity" in package for name, package in packages.items() if name)


GENERAL = [a for a in own_agents() if a.config.backbone == "required" and a.name != "recipe_llm"]


@pytest.mark.parametrize("agent", GENERAL, ids=lambda agent: agent.name)
def test_a_general_agent_is_at_most_a_hundred_lines_of_ours(agent: Agent) -> None:
    programs = [path for path in agent.path.glob("*.py")]
    assert programs and sum(len(path.read_text().splitlines()) for path in programs) <= 130
    assert all(len(path.read_text().splitlines()) <= 100 for path in programs if path.name == "run.py")
    assert "../general" in agent.config.shared, "all are given one prompt"
