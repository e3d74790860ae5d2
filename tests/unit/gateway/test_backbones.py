"""Backbones by name, their keys, and what a run is planned with."""

from pathlib import Path
from typing import Any

import pytest

from harness import config
from harness.gateway.backbones import backbone_ref, built_in, find_backbone, key_name, key_of
from harness.spec.backbone import Backbone
from harness.spec.errors import MissingError, NotFoundError, SpecError, UsageError

HOUSE = Backbone(upstream="openai", model="h", base_url="http://127.0.0.1:8000/v1")


def no_runs(run: str) -> Path:
    raise AssertionError(run)


def test_a_configured_backbone_goes_before_a_built_in_one_of_its_name() -> None:
    assert find_backbone("anthropic", {"anthropic": HOUSE}) is HOUSE
    assert find_backbone("anthropic", {}) == built_in()["anthropic"]
    assert find_backbone("scripted:a", {"scripted:a": HOUSE}) is HOUSE


@pytest.mark.parametrize(
    ("name", "facts"),
    [
        ("scripted:a/b.toml", {"upstream": "scripted", "script": Path("a/b.toml")}),
        ("replay:@last", {"upstream": "replay", "run": "@last"}),
        ("vllm:org/Model", {"upstream": "openai", "model": "org/Model", "base_url": "http://127.0.0.1:8000/v1"}),
        ("openai:x:y", {"upstream": "openai", "model": "x:y", "formats": ("responses", "chat")}),
        ("google:g", {"upstream": "google", "model": "g", "formats": ()}),
    ],
)
def test_a_name_may_say_it_all(name: str, facts: dict[str, Any]) -> None:
    found = find_backbone(name, {})
    assert {fact: getattr(found, fact) for fact in facts} == facts


@pytest.mark.parametrize(("name", "meant"), [("scripted:", "scripted:PATH"), ("replay", "replay:RUN"), ("vllm", "vllm:MODEL")])
def test_half_a_name_says_what_is_missing(name: str, meant: str) -> None:
    with pytest.raises(UsageError, match="does not say which") as caught:
        find_backbone(name, {})
    assert meant in caught.value.hint


@pytest.mark.parametrize(("name", "near"), [("antropic", "anthropic"), ("hause", "house")])
def test_an_unknown_name_is_answered_with_a_near_one(name: str, near: str) -> None:
    with pytest.raises(NotFoundError, match=name) as caught:
        find_backbone(name, {"house": HOUSE})
    assert near in caught.value.hint


@pytest.mark.parametrize(
    ("backbone", "variable"),
    [
        ({"upstream": "openai", "model": "m"}, "OPENAI_API_KEY"),
        ({"upstream": "anthropic", "model": "m"}, "ANTHROPIC_API_KEY"),
        ({"upstream": "google", "model": "m"}, "GEMINI_API_KEY"),
        ({"upstream": "anthropic", "model": "m", "base_url": "http://h"}, ""),
        ({"upstream": "anthropic", "model": "m", "base_url": "http://h", "key": "MINE"}, "MINE"),
        ({"upstream": "manual"}, ""),
    ],
)
def test_a_key_stands_in_its_own_variable_and_goes_nowhere_unasked(backbone: dict[str, Any], variable: str) -> None:
    found = Backbone(**backbone)
    assert key_name(found) == variable
    assert key_of(found, dict.fromkeys(("OPENAI_API_KEY", "ANTHROPIC_API_KEY", "GEMINI_API_KEY", "MINE"), " k ")) == (
        "k" if variable else None
    )
    if variable:
        with pytest.raises(MissingError, match=f"{variable} is not set"):
            key_of(found, {variable: " "})


@pytest.mark.parametrize("key", ["two words", "schlüssel", "a\x07b"])
def test_what_is_no_key_is_refused_without_saying_it_again(key: str) -> None:
    with pytest.raises(UsageError, match="OPENAI_API_KEY holds no key") as caught:
        key_of(built_in()["openai"], {"OPENAI_API_KEY": key})
    assert key not in caught.value.message + caught.value.hint


def test_a_key_in_dojo_toml_is_refused_without_saying_it_again(tmp_path: Path) -> None:
    (tmp_path / "dojo.toml").write_text('[backbones.a]\nupstream = "openai"\nmodel = "m"\nkey = "sk-secret"\n')
    broken = config.load(environ={}, cwd=tmp_path).broken
    with pytest.raises(SpecError, match=r"backbones\.a\.key") as caught:
        find_backbone("a", broken)
    assert "sk-secret" not in caught.value.message + caught.value.hint


def test_a_script_in_dojo_toml_is_relative_to_it_and_no_variable_holds_backbones(tmp_path: Path) -> None:
    (tmp_path / "dojo.toml").write_text('[backbones.a]\nupstream = "scripted"\nscript = "s/a.toml"\n')
    (tmp_path / "below").mkdir()
    found = config.load(environ={"DOJO_BACKBONES": "nonsense"}, cwd=tmp_path / "below").settings.backbones
    assert {name: each.script for name, each in found.items()} == {"a": tmp_path / "s" / "a.toml"}


def test_a_run_is_planned_with_the_digest_of_its_script(tmp_path: Path) -> None:
    def ref(name: str, text: str) -> Any:
        (tmp_path / f"{name}.toml").write_text(text)
        return backbone_ref(name, Backbone(upstream="scripted", script=tmp_path / f"{name}.toml"), runs=no_runs)

    one, same, other = ref("a", 'last = "x"'), ref("b", 'last = "x"'), ref("c", 'last = "y"')
    assert len(one.digest) == 64 and one.model == "scripted"
    assert one.identity == same.identity != other.identity


def test_neither_address_key_nor_price_makes_another_backbone() -> None:
    first = backbone_ref("a", HOUSE, runs=no_runs)
    moved = HOUSE.model_copy(update={"base_url": "http://h", "key": "MINE"})
    assert backbone_ref("b", moved, runs=no_runs).identity == first.identity
    assert "http" not in first.model_dump_json()
    assert backbone_ref("a", HOUSE.model_copy(update={"model": "i"}), runs=no_runs).identity != first.identity
