"""What the command line agents are told before they start: written by their run.py, read here as the programs read it."""

import importlib.util
import json
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
from where import AGENTS

NAMES = ("claude_code", "codex", "gemini_cli", "opencode")
GATEWAY = {
    "OPENAI_BASE_URL": "http://127.0.0.1:7789/v1",
    "LLM_BASE_URL": "http://127.0.0.1:7789/v1",
    "LLM_API_KEY": "token",
    "LLM_MODEL": 'a model\'s "name"',
    "DOJO_LLM_CONTEXT": "200000",
    "DOJO_LLM_MAX_OUTPUT": "9000",
}


@pytest.fixture(autouse=True)
def gateway(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name, value in GATEWAY.items():
        monkeypatch.setenv(name, value)
    monkeypatch.syspath_prepend(str(AGENTS))
    yield
    sys.modules.pop("headless", None)


def program(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"run_{name}", AGENTS / name / "run.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_claude_code_asks_one_model_in_every_role():
    settings = program("claude_code").settings()
    models = {name: value for name, value in settings.items() if name.endswith("_MODEL")}
    assert len(models) == 7 and set(models.values()) == {GATEWAY["LLM_MODEL"]}
    assert settings["CLAUDE_CODE_MAX_CONTEXT_TOKENS"] == "200000" and settings["CLAUDE_CODE_MAX_OUTPUT_TOKENS"] == "9000"


def test_codex_reads_its_settings_as_toml_and_talks_to_the_gateway_alone():
    settings = tomllib.loads(program("codex").settings())
    assert settings["model"] == GATEWAY["LLM_MODEL"] and settings["model_context_window"] == 200000
    provider = settings["model_providers"][settings["model_provider"]]
    assert provider["base_url"] == GATEWAY["OPENAI_BASE_URL"] and provider["env_key"] == "OPENAI_API_KEY"
    assert settings["web_search"] == "disabled" and not settings["analytics"]["enabled"] and not settings["agents"]["enabled"]


def test_gemini_cli_asks_one_model_in_its_side_calls_too():
    settings = program("gemini_cli").settings()
    model = GATEWAY["LLM_MODEL"]
    assert {each["modelConfig"]["model"] for each in settings["modelConfigs"]["customOverrides"]} == {model}
    assert settings["modelConfigs"]["modelIdResolutions"] == {model: {"default": model, "contexts": []}}
    assert json.loads(json.dumps(settings))["model"]["name"] == model


def test_opencode_knows_no_provider_but_the_gateway():
    settings = program("opencode").settings()
    assert settings["enabled_providers"] == list(settings["provider"]) == ["dojo"]
    assert settings["model"] == settings["small_model"] == f"dojo/{GATEWAY['LLM_MODEL']}"
    provider = settings["provider"]["dojo"]
    assert provider["options"]["baseURL"] == GATEWAY["LLM_BASE_URL"]
    assert provider["models"][GATEWAY["LLM_MODEL"]]["limit"] == {"context": 200000, "output": 9000}


@pytest.mark.parametrize("name", NAMES)
def test_locks_hold_packages_for_both_processors(name: str):
    lock = json.loads((AGENTS / name / "package-lock.json").read_text())
    linux = [entry for entry in lock["packages"].values() if "linux" in entry.get("os", [])]
    assert {"x64", "arm64"} <= {cpu for entry in linux for cpu in entry.get("cpu", [])}


@pytest.mark.parametrize("name", NAMES)
def test_an_install_without_this_machines_package_is_told(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    module = program(name)
    headless = sys.modules["headless"]
    monkeypatch.setattr(headless, "MODULES", tmp_path)
    with pytest.raises(SystemExit, match="no package for this machine"):
        module.installed("some-linux-*/program")
