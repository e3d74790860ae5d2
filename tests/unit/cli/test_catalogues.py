"""Tasks, agents, data, schemas and checks, from the project's own directories and the real façade."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from harness.assets.agent_dir import load_agent
from tests.unit.cli.conftest import Answer

Cli = Callable[..., Answer]


def test_tasks_are_listed_with_their_profiles(dojo_cli: Cli) -> None:
    tasks = {task["id"]: task for task in dojo_cli("tasks", "--json").data["tasks"]}
    assert {"math/aime25", "chemistry/mol_und"} <= set(tasks)
    assert tasks["math/aime25"]["profiles"] == ["full", "mini"]
    listed = next(line for line in dojo_cli("tasks", "list").out.splitlines() if line.startswith("math/aime25"))
    assert "full 15/15/40315, mini 60/156/3400" in listed and "DeepScaleR: MIT" in listed
    assert "60/156/3400" in dojo_cli("tasks", "show", "math/aime25").out


def test_a_task_shows_its_goal_metric_and_budget(dojo_cli: Cli) -> None:
    data = dojo_cli("tasks", "show", "math/aime25", "--json").data
    assert data["profiles"]["mini"]["budget"]["wall"] > 0
    assert data["instruction"]
    out = dojo_cli("tasks", "show", "math/aime25").out
    assert "aime25" in out and "\\boxed" in out


def test_an_unknown_task_or_agent_says_what_was_meant(dojo_cli: Cli) -> None:
    task = dojo_cli("tasks", "show", "math/aime24", "--json")
    assert (task.code, task.json["error"]["code"]) == (2, "not_found")
    assert task.json["error"]["hint"] == "did you mean math/aime25?"
    agent = dojo_cli("submit", "--agent", "recipes", "--task", "math/aime25", "--json")
    assert (agent.code, agent.json["error"]["hint"]) == (2, "did you mean recipe or recipe_llm?")
    assert agent.json["schema"] == "dojo/submit/v1"


def test_tasks_and_agents_of_ones_own_are_listed_beside_dojo_s_with_a_note_where_they_stand_before_them(
    dojo_cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "dojo.toml").write_text('tasks = ["none"]\n')
    refused = dojo_cli("tasks")
    assert refused.code == 2 and f"{tmp_path / 'none'}, a folder to look for tasks in, does not exist" in refused.err
    mine = tmp_path / "agents" / "recipe"
    mine.mkdir(parents=True)
    (mine / "agent.toml").write_text('name = "recipe"\ncommand = ["true"]\n')
    monkeypatch.setenv("DOJO_AGENTS", str(tmp_path / "agents"))
    listed = {agent["name"]: agent["shadows"] for agent in dojo_cli("agents", "--json").data["agents"]}
    assert listed["search"] is None and listed["recipe"].endswith("agents/recipe")
    assert "recipe is your own and stands before " in dojo_cli("agents").out


def test_a_broken_agent_toml_is_named(dojo_cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "agents" / "mine").mkdir(parents=True)
    (tmp_path / "agents" / "mine" / "agent.toml").write_text('name = "mine"\ncommand = []\n')
    monkeypatch.setenv("DOJO_AGENTS", str(tmp_path / "agents"))
    answer = dojo_cli("agents", "check", "mine", "--json")
    assert (answer.code, answer.json["error"]["code"]) == (2, "spec")
    assert "agent.toml" in answer.json["error"]["message"] and "command" in answer.json["error"]["message"]


def test_a_new_agent_is_whole_from_the_start(dojo_cli: Cli, tmp_path: Path) -> None:
    made = dojo_cli("agents", "new", "my-agent", "--in", str(tmp_path / "agents"), "--json")
    path = made.data["path"]
    checks = dojo_cli("agents", "check", path, "--json").data["checks"]
    assert checks and all(check["ok"] for check in checks)
    assert made.data["agent"] == "my_agent"
    assert dojo_cli("agents", "new", "my-agent", "--in", str(tmp_path / "agents")).code == 2


@pytest.mark.parametrize("kind", ["shell", "python", "llm", "cli"])
def test_a_new_agent_of_any_kind_has_all_it_needs_in_its_own_folder(dojo_cli: Cli, tmp_path: Path, kind: str) -> None:
    made = dojo_cli("agents", "new", "mine", "--kind", kind, "--in", str(tmp_path / "agents"), "--json").data
    path = Path(made["path"])
    config = load_agent(path).config
    assert (config.name, config.version, config.shared) == ("mine", "0.1.0", ())
    assert made["backbone"] == (config.backbone == "required") == (kind in ("llm", "cli"))
    assert (path / "general" / "prompt.md").is_file() == (kind in ("llm", "cli"))
    assert dojo_cli("agents", "check", str(path), "--json").code == 0


def test_agents_are_installed_by_name_or_all_and_one_that_needs_nothing_says_so(dojo_cli: Cli) -> None:
    assert dojo_cli("agents", "install").code == 2
    assert dojo_cli("agents", "install", "base", "--all").code == 2
    answer = dojo_cli("agents", "install", "base", "--json")
    assert answer.data["installs"][0] | {"error": None} == answer.data["installs"][0]
    assert (answer.data["installs"][0]["agent"], answer.data["installs"][0]["digest"]) == ("base", None)


def test_an_agent_that_cannot_be_installed_is_named_beside_those_that_can(
    dojo_cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, install in (
        ("one", 'python = "requirements.lock"\npython_version = ">=4.7"'),
        ("two", 'npm = "package-lock.json"'),
    ):
        (tmp_path / "agents" / name).mkdir(parents=True)
        (tmp_path / "agents" / name / "agent.toml").write_text(f'name = "{name}"\ncommand = ["true"]\n[install]\n{install}\n')
    (tmp_path / "agents" / "one" / "requirements.lock").write_text("x==1 --hash=sha256:00\n")
    monkeypatch.setenv("DOJO_AGENTS", str(tmp_path / "agents"))
    answer = dojo_cli("agents", "install", "one", "two", "base", "--json")
    assert answer.code == 3
    first, second, third = answer.json["data"]["installs"]
    assert "needs a Python >=4.7" in first["error"]["message"] and "uv python install" in first["error"]["hint"]
    assert "package-lock.json, which is not there" in second["error"]["message"]
    assert third["error"] is None
    checked = dojo_cli("agents", "check", "one", "--json")
    assert checked.code == 2 and "install" in checked.json["error"]["message"]


@pytest.mark.parametrize("config", ["no/such/file", "broken.yaml", ""])
def test_checks_that_fail_give_the_exit_code_and_what_to_do(
    dojo_cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, config: str
) -> None:
    (tmp_path / "broken.yaml").write_text("a: [b\n")
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / config))
    answer = dojo_cli("doctor", "k8s", "--json")
    assert answer.code == 3
    assert answer.json["data"]["checks"][0]["ok"] is False
    assert answer.json["error"]["hint"]
    text = dojo_cli("doctor", "k8s")
    assert "NO  cluster" in text.out and "→" in text.out
    assert dojo_cli("doctor", "nonsense").code == 2


def test_an_empty_cache_is_listed_as_empty_and_cannot_be_verified(dojo_cli: Cli) -> None:
    assert dojo_cli("data", "--json").data == {"data": []}
    answer = dojo_cli("data", "verify", "math/aime25", "--json")
    assert (answer.code, answer.json["error"]["code"]) == (3, "missing")


def test_schemas_are_printed_by_name(dojo_cli: Cli) -> None:
    assert {"task", "agent", "run", "event", "result"} <= set(dojo_cli("schema", "--json").data)
    assert dojo_cli("schema", "budget", "--json").data["properties"]["wall"]
    assert dojo_cli("schema", "api", "--json").data["openapi"].startswith("3.1")
    assert "did you mean result" in dojo_cli("schema", "resutl").err


def test_cancel_and_resume_without_any_batch_say_how_to_start(dojo_cli: Cli) -> None:
    for words in (["cancel", "@last"], ["resume"], ["report"]):
        answer = dojo_cli(*words)
        assert answer.code == 2
        assert "dojo submit" in answer.err


def test_scoring_given_answers_needs_no_model_and_no_run(dojo_cli: Cli, tmp_path: Path) -> None:
    rows, responses = tmp_path / "rows.jsonl", tmp_path / "responses.jsonl"
    rows.write_text('{"question": "1+1", "answer": "2"}\n{"question": "1+2", "answer": "3"}\n')
    responses.write_text('{"index": 0, "response": "so \\\\boxed{2}"}\n')
    arguments = ["tasks", "score", "math/aime25", "--rows", str(rows), "--responses", str(responses)]
    answer = dojo_cli(*arguments, "--json")
    assert answer.json["schema"] == "dojo/tasks-score/v1"
    data = answer.data
    assert data["primary"] == {"name": "accuracy", "value": 0.5, "higher_is_better": True}
    assert data["parse_rate"] == 0.5
    assert [(item["index"], item["parsed"], item["score"]) for item in data["items"]] == [(0, True, 1.0), (1, False, 0.0)]
    assert "accuracy 0.500" in dojo_cli(*arguments).out
    responses.write_text("no json\n")
    broken = dojo_cli(*arguments, "--json")
    assert broken.code == 2 and "responses.jsonl:1" in broken.json["error"]["message"]


def test_running_without_isolation_says_what_is_lost() -> None:
    from harness.cli.submit import UNSAFE, _lost

    assert any("nothing is isolated" in text for text in _lost(UNSAFE))
    assert _lost("namespace") == []


def test_an_agent_whose_command_cannot_start_is_refused_by_check_and_by_submit_in_the_same_words(
    dojo_cli: Cli, tmp_path: Path
) -> None:
    folder = tmp_path / "agents" / "mine"
    folder.mkdir(parents=True)
    (folder / "agent.toml").write_text('name = "mine"\ncommand = ["/agent/run.sh"]\n')
    (folder / "README.md").write_text("# Mine\n")
    (folder / "run.sh").write_text("#!/bin/sh\r\ntrue\r\n")
    (folder / "run.sh").chmod(0o755)
    (tmp_path / "batch.toml").write_text('tasks = ["math/aime25"]\nseeds = 3\n\n[[agents]]\nname = "./agents/mine"\n')
    check = dojo_cli("agents", "check", str(folder), "--json")
    (bad,) = [each for each in check.json["data"]["checks"] if not each["ok"]]
    assert check.code == 2 and bad["name"] == "command" and "line ends of Windows" in bad["detail"]
    for words in (["--agent", str(folder), "--task", "math/aime25"], ["--from-file", str(tmp_path / "batch.toml")]):
        answer = dojo_cli("submit", *words, "--json")
        error = answer.json["error"]
        assert answer.code == 2 and bad["detail"] in error["message"] and error["hint"] == bad["hint"]
    assert "batch.toml:5: " in error["message"]
    assert not (tmp_path / "cache").exists() and not list((tmp_path / "results").glob("batches/*"))
