"""`dojo images` where something is missing: what is said, and the exit code."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from harness.sandbox import engine
from tests.unit.cli.conftest import Answer

Cli = Callable[..., Answer]


@pytest.fixture
def no_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    engine._client.cache_clear()
    monkeypatch.setenv("DOCKER_HOST", "unix:///nowhere/docker.sock")


@pytest.mark.parametrize("words", [["list"], ["build"], ["build", "base", "--offline"], ["verify"], ["verify", "task"]])
def test_without_an_engine_every_command_says_how_to_get_one(dojo_cli: Cli, no_engine: None, words: list[str]) -> None:
    answer = dojo_cli("images", *words, "--json")
    assert answer.code == 3
    assert answer.json["schema"] == f"dojo/images-{words[0]}/v1"
    assert "no Docker engine answers" in answer.json["error"]["message"]
    assert "scripts/engine.sh" in answer.json["error"]["hint"]


def test_an_unknown_image_says_what_was_meant(dojo_cli: Cli) -> None:
    answer = dojo_cli("images", "build", "gradr", "--json")
    assert (answer.code, answer.json["error"]["code"]) == (2, "not_found")
    assert answer.json["error"]["hint"] == "did you mean grader or grader-vllm?"


def test_an_unknown_variant_is_wrong_usage(dojo_cli: Cli) -> None:
    answer = dojo_cli("images", "build", "--variant", "rocm")
    assert answer.code == 2 and "rocm" in answer.err
