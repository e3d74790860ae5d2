"""docs/models.md, its commands run one after another on a small real folder; and what `dojo models` says of what is wrong."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.assets.base_models import known_base_models
from tests.unit.assets.test_added_models import folder  # noqa: F401
from tests.unit.cli.conftest import Answer

Cli = Callable[..., Answer]
PAGE = (Path(__file__).parents[3] / "docs" / "models.md").read_text(encoding="utf-8")
COMMANDS = re.findall(r"^    \$ dojo ([^\n]*)$", PAGE, re.MULTILINE)


@pytest.fixture
def my_model(folder: Path, tmp_path: Path) -> Path:  # noqa: F811
    return folder.rename(tmp_path / "my-model")


def test_the_page_s_commands_list_add_and_verify(dojo_cli: Cli, my_model: Path) -> None:
    listing, add, verify = COMMANDS
    before = dojo_cli(*shlex.split(listing), "--json")
    assert before.json["schema"] == "dojo/models-list/v1"
    assert [model["name"] for model in before.data["models"]] == known_base_models()
    assert all(name in PAGE for name in known_base_models())
    added = dojo_cli(*shlex.split(add), "--json")
    assert (added.data["name"], added.data["licence"], added.data["parameters"]) == ("mine", "our own", 10)
    assert "mine" in dojo_cli(*shlex.split(verify)).out
    after = dojo_cli("models", "--json").data["models"]
    [mine] = [model for model in after if model["added"]]
    assert mine["digest"] == added.data["digest"] and mine["state"] == "in the cache"
    line = next(line for line in dojo_cli("models").out.splitlines() if line.startswith("mine"))
    assert "our own" in line and mine["digest"][:12] in line


def test_a_run_may_name_it_and_a_name_that_nobody_added_says_what_was_meant(dojo_cli: Cli, my_model: Path) -> None:
    assert dojo_cli("models", "add", "my-model", "--name", "mine").code == 0
    words = ("submit", "--agent", "base", "--task", "math/aime25", "--profile", "mini", "--dry-run", "--json", "--base-model")
    refused = dojo_cli(*words, "mime")
    assert (refused.code, refused.json["error"]["code"]) == (2, "not_found")
    assert refused.json["error"]["hint"] == "did you mean mine?"


def test_every_refusal_that_the_page_names_by_code_is_one(dojo_cli: Cli, my_model: Path) -> None:
    for file in my_model.glob("*.safetensors"):
        file.unlink()
    refused = dojo_cli("models", "add", "my-model", "--json")
    assert (refused.code, refused.json["error"]["code"]) == (2, "pickled_weights")
    assert "`pickled_weights`" in PAGE and "`remote_code`" in PAGE and "`no_chat_template`" in PAGE


def test_a_changed_file_ends_verify_with_1_and_no_model_with_3(dojo_cli: Cli, my_model: Path, tmp_path: Path) -> None:
    assert dojo_cli("models", "verify").code == 3
    assert dojo_cli("models", "add", "my-model").code == 0
    (tmp_path / "cache" / "models" / "my-model" / "tokenizer.json").write_text("[]")
    spoilt = dojo_cli("models", "verify", "--json")
    assert (spoilt.code, spoilt.json["error"]["code"]) == (1, "verify_failed")
    assert "tokenizer.json is not what it was" in spoilt.out
