"""docs/backbones.md: its files are read by the code that reads them, its commands are commands, its names are all there are."""

from __future__ import annotations

import ast
import inspect
import re
import shlex
import tomllib
from pathlib import Path

import click
import httpx
import pytest
from pydantic import BaseModel

from harness import config
from harness.cli.main import cli
from harness.gateway import policy
from harness.gateway.backbones import KEYS, built_in, find_backbone, key_of
from harness.gateway.shared.serve import shared_of, token_of
from harness.gateway.upstreams.http import SHARED_TOKEN
from harness.gateway.upstreams.script import Script, ScriptedReply, read_script
from harness.gateway.upstreams.scripted import ScriptedUpstream
from harness.spec.backbone import NATIVE, Backbone, SharedLimits
from harness.spec.budget import Budget
from harness.spec.event import LlmCalled
from harness.spec.task import DojoTask
from tests.unit.gateway.conftest import Opening

PAGE = (Path(__file__).parents[3] / "docs" / "backbones.md").read_text(encoding="utf-8")
FILES = re.findall(r"^`([\w./]+)`\n\n```\w+\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
COMMANDS = [line[6:] for line in PAGE.splitlines() if line.startswith("    $ ")]
CODE = " ".join(re.findall(r"`([^`\n]+)`", PAGE)) + " ".join(text for _, text in FILES)


def texts(name: str) -> list[str]:
    return [text for found, text in FILES if found == name]


def script(tmp_path: Path, name: str) -> Script:
    path = tmp_path / name
    path.write_text(texts(name)[0], encoding="utf-8")
    return read_script(path)


def test_every_block_of_a_file_is_tried_here() -> None:
    assert sorted(name for name, _ in FILES) == [
        "dojo.toml",
        "gateway/dojo.toml",
        "replies.jsonl",
        "replies.toml",
        "runs/dojo.toml",
        "task.toml",
    ]
    assert len(FILES) == len(re.findall(r"^```\w+$", PAGE, re.MULTILINE))


@pytest.mark.parametrize("text", texts("dojo.toml"))
def test_each_dojo_toml_is_read(tmp_path: Path, text: str) -> None:
    (tmp_path / "dojo.toml").write_text(text, encoding="utf-8")
    settings = config.load(environ={}, cwd=tmp_path).settings
    assert set(settings.backbones) == {"house", "rehearsal", "again"}
    assert settings.backbone is None or find_backbone(settings.backbone, settings.backbones).prices
    assert settings.backbones["rehearsal"].script == tmp_path / "replies.toml"


def test_what_runs_name_the_shared_gateway_serves(tmp_path: Path) -> None:
    served, named = (_backbones(tmp_path / folder, f"{folder}/dojo.toml") for folder in ("gateway", "runs"))
    environ = {"ANTHROPIC_API_KEY": "of-the-provider", "HOUSE_KEY": "of-the-house", SHARED_TOKEN: "t" * 24}
    assert {each.name for each in shared_of(served, environ)} == set(served) == set(named)
    for name, backbone in named.items():
        assert httpx.URL(backbone.base_url).path.split("/")[1] == name and key_of(backbone, environ) == token_of(environ)
        assert (backbone.upstream, backbone.model, backbone.speaks) == (
            served[name].upstream,
            served[name].model,
            served[name].speaks,
        )


def _backbones(folder: Path, name: str) -> dict[str, Backbone]:
    folder.mkdir()
    (folder / "dojo.toml").write_text(texts(name)[0], encoding="utf-8")
    return config.load(environ={}, cwd=folder).settings.backbones


def test_the_grants_are_powers_that_are_refused() -> None:
    granted = tomllib.loads(texts("task.toml")[0])["metadata"]["dojo"]
    assert set(granted) <= set(DojoTask.model_fields)
    tool = {"type": "web_search_20260209", "name": "web_search"}
    body = {"model": "m", "max_tokens": 9, "messages": [], "tools": [tool]}
    assert policy.refusal("messages", body)
    assert policy.refusal("messages", body, granted["backbone_grants"]) is None


@pytest.mark.parametrize("kind", [Backbone, SharedLimits, ScriptedReply, Script])
def test_every_field_is_told(kind: type[BaseModel]) -> None:
    missing = [name for name in kind.model_fields if not re.search(rf"\b{name}\b", CODE)]
    assert missing == []


def test_every_power_is_told() -> None:
    tree = ast.parse(inspect.getsource(policy))
    given = [node.args[2] for node in ast.walk(tree) if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "_given"]
    powers = {node.value for node in given if isinstance(node, ast.Constant)} | {power for _, power in policy._POWERS}
    assert len(powers) > 10
    assert [power for power in sorted(powers) if power not in PAGE] == []


def test_every_kind_key_and_dimension_is_told() -> None:
    names = [
        *NATIVE,
        *KEYS.values(),
        *(d for d in Budget.model_fields if d in ("tokens", "output_tokens", "requests", "dollars")),
    ]
    assert [name for name in names if not re.search(rf"\b{name}\b", CODE)] == []
    assert "claude-opus-5-5" in built_in()
    for name in ("scripted:PATH", "replay:RUN", "vllm:MODEL", "openai:MODEL", "anthropic:MODEL", "google:MODEL"):
        assert f"`{name}`" in PAGE
        find_backbone(name, {})


@pytest.mark.parametrize("command", COMMANDS)
def test_each_command_is_one(command: str) -> None:
    words = shlex.split(command)
    assert words.pop(0) == "dojo"
    found: click.Command = cli
    context = click.Context(found, info_name="dojo")
    while isinstance(found, click.Group):
        name = words.pop(0)
        inner = found.get_command(context, name)
        assert inner is not None, command
        found, context = inner, click.Context(inner, info_name=name, parent=context)
    options = {option for param in found.params for option in param.opts}
    assert {word for word in words if word.startswith("--")} <= options


@pytest.mark.parametrize(("name", "first"), [("replies.toml", "Let me look."), ("replies.jsonl", "")])
def test_each_script_answers_a_call(tmp_path: Path, gateway: Opening, name: str, first: str) -> None:
    opened = gateway(upstream=ScriptedUpstream(script(tmp_path, name), name), backbone={"upstream": "scripted", "script": name})
    parameters = {"type": "object", "properties": {"command": {"type": "string"}}, "required": ["command"]}
    tools = [{"type": "function", "function": {"name": "bash", "parameters": parameters}}]
    message = opened.chat("begin", tools=tools).json()["choices"][0]["message"]
    assert (message["content"] or "") == first
    assert '"ls /data"' in message["tool_calls"][0]["function"]["arguments"]
    assert opened.chat("begin").json()["choices"][0]["message"]["content"] == "A short title"
    assert opened.chat("there is no space left", tools=tools).status_code == 200
    assert all(called.status == 200 for called in opened.book.of(LlmCalled))


def test_a_reply_in_turn_gets_its_error_once(tmp_path: Path, gateway: Opening) -> None:
    opened = gateway(
        upstream=ScriptedUpstream(script(tmp_path, "replies.toml"), "x"), backbone={"upstream": "scripted", "script": "x"}
    )
    tools = [{"type": "function", "function": {"name": "bash", "parameters": {"type": "object", "properties": {}}}}]
    turns = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}] * 2 + [{"role": "user", "content": "c"}]
    answer = opened.chat(messages=turns, tools=tools)
    assert answer.json()["choices"][0]["message"]["content"] == "Here I am again."
    assert opened.book.of(LlmCalled)[-1].tries == 2
