"""One of many that is broken, foreign or closed: it is listed with its fault, and whatever does not name it goes on."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harness.service import Dojo
from harness.spec.matrix import Matrix
from tests.unit.assets.test_directories import make_agent, make_task
from tests.unit.cli.conftest import BATCH, Answer
from tests.unit.cli.test_damages import _as_somebody_else

Cli = Callable[..., Answer]


@pytest.fixture
def tasks(dojo_cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of own tasks with a good one in it."""
    good = make_task(tmp_path / "tasks", "mine/good")
    (good / "instruction.md").write_text("Train.\n")
    monkeypatch.setenv("DOJO_TASKS", str(tmp_path / "tasks"))
    return tmp_path / "tasks"


@pytest.fixture
def agents(dojo_cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of own agents with a good one in it."""
    make_agent(tmp_path / "agents", "good")
    monkeypatch.setenv("DOJO_AGENTS", str(tmp_path / "agents"))
    return tmp_path / "agents"


def foreign(folder: Path) -> None:
    (folder / "task.toml").write_text('schema_version = "1.4"\n[task]\nname = "hello/world"\n[environment]\ncpus = 1\n')


def no_toml(folder: Path) -> None:
    (folder / "task.toml").write_text("title = “x”\n")


def utf16(folder: Path) -> None:
    (folder / "task.toml").write_bytes("[metadata]\n".encode("utf-16"))


def empty(folder: Path) -> None:
    (folder / "task.toml").write_bytes(b"")


def a_folder(folder: Path) -> None:
    (folder / "task.toml").unlink()
    (folder / "task.toml").mkdir()


def a_pipe(folder: Path) -> None:
    (folder / "task.toml").unlink()
    os.mkfifo(folder / "task.toml")


def wrong_value(folder: Path) -> None:
    text = (folder / "task.toml").read_text()
    (folder / "task.toml").write_text(text.replace('"5m"', "[5]"))


def unknown_key(folder: Path) -> None:
    text = (folder / "task.toml").read_text()
    (folder / "task.toml").write_text(text.replace("summary", "sumary"))


def nested(folder: Path) -> None:
    (folder / "task.toml").write_text("a = " + "[" * 9000)


TASKS = [
    (foreign, "has no [metadata.dojo]"), (no_toml, "U+201C"), (utf16, "UTF-16"), (empty, "has no [metadata.dojo]"),
    (a_folder, "is a folder"), (a_pipe, "is no plain file"), (wrong_value, "budget"), (unknown_key, "did you mean summary?"),
    (nested, "nested too deep"),
]  # fmt: skip


@pytest.mark.parametrize(("broken", "said"), TASKS, ids=[broken.__name__ for broken, _ in TASKS])
def test_a_broken_task_is_listed_with_its_fault_and_stops_no_other(
    broken: Callable[[Path], None], said: str, tasks: Path, dojo_cli: Cli
) -> None:
    broken(make_task(tasks, "mine/bad"))
    listed = dojo_cli("tasks", "--json")
    assert listed.code == 0 and {"mine/good", "math/aime25"} <= {task["id"] for task in listed.data["tasks"]}
    (fault,) = listed.data["broken"]
    assert fault["name"] == "mine/bad" and said in fault["message"] and str(tasks / "mine" / "bad") in fault["message"]
    assert fault["hint"]
    named = dojo_cli("tasks", "show", "mine/bad", "--json")
    assert named.code == 2 and named.json["error"]["message"] == fault["message"]
    dojo = Dojo()
    assert dojo.task("mine/good").id == "mine/good" and dojo.task("math/aime25").id == "math/aime25"
    assert [task.id for task in dojo.expand_tasks(["mine/*"])] == ["mine/good"]
    assert [each.name for each in dojo.left_out(["mine/*"])] == ["mine/bad"] and not dojo.left_out(["math/*", "mine/good"])
    text = dojo_cli("tasks").out
    assert "mine/bad cannot be used: " in text and "→ " in text


@pytest.mark.parametrize(("data", "said"), [(None, "No such file"), ("Train.".encode("utf-16"), "UTF-16"), (b"\xff", "0xff")])
def test_a_task_without_a_readable_instruction_says_so_when_it_is_shown(
    data: bytes | None, said: str, tasks: Path, dojo_cli: Cli
) -> None:
    path = make_task(tasks, "mine/bad") / "instruction.md"
    if data is not None:
        path.write_bytes(data)
    answer = dojo_cli("tasks", "show", "mine/bad", "--json")
    assert answer.code == 2 and said in answer.json["error"]["message"] and str(path) in answer.json["error"]["message"]
    assert dojo_cli("tasks", "show", "mine/good").code == 0


AGENTS = [
    ("name = “x”", "U+201C"), ("", "name: is missing"), ('name = "other"', "command: is missing"), ("name = 3", "write a text"),
    ('name = "bad"\ncommand = ["sh"]\nshared = ["../nowhere"]', "there is no folder '../nowhere'"),
    ('name = "bad"\ncommand = ["sh"]\nplacment = "own"', "did you mean placement?"),
    ('name = "bad"\ncommand = ["sh"]\n[install]\n', "install says nothing to install"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "said"), AGENTS)
def test_a_broken_agent_is_listed_with_its_fault_and_stops_no_other(text: str, said: str, agents: Path, dojo_cli: Cli) -> None:
    make_agent(agents, "bad")
    (agents / "bad" / "agent.toml").write_text(text)
    listed = dojo_cli("agents", "--json")
    assert listed.code == 0 and {"good", "recipe"} <= {agent["name"] for agent in listed.data["agents"]}
    (fault,) = listed.data["broken"]
    assert fault["name"] == "bad" and said in fault["message"] and str(agents / "bad") in fault["message"] and fault["hint"]
    assert dojo_cli("agents", "check", "bad").code == 2
    assert dojo_cli("agents", "check", "recipe").code == 0
    assert "bad cannot be used: " in dojo_cli("agents").out


def test_a_file_of_experiments_that_is_broken_is_no_part_of_its_agent(agents: Path, dojo_cli: Cli) -> None:
    (agents / "good" / "ablations").mkdir()
    (agents / "good" / "ablations" / "x.toml").write_bytes(b"\xff\xfe[")
    assert dojo_cli("agents", "--json").data["broken"] == []


def completed(dojo_cli: Cli, monkeypatch: pytest.MonkeyPatch, words: str) -> set[str]:
    with monkeypatch.context() as shell:
        shell.setenv("_DOJO_COMPLETE", "bash_complete")
        shell.setenv("COMP_WORDS", words)
        shell.setenv("COMP_CWORD", str(len(words.split(" ")) - 1))
        return {line.partition(",")[2] for line in dojo_cli().out.splitlines()}


def test_completion_knows_the_others(tasks: Path, agents: Path, dojo_cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    no_toml(make_task(tasks, "mine/bad"))
    (make_agent(agents, "bad") / "agent.toml").write_text("name = ")
    assert completed(dojo_cli, monkeypatch, "dojo tasks show mine/") == {"mine/good"}
    assert {"good", "recipe"} <= completed(dojo_cli, monkeypatch, "dojo agents check ")


BACKBONES = [
    ("x = 3", "write a table"), ('[backbones.x]\nupstream = "opnai"', "upstream"),
    ('[backbones.x]\nupstream = "openai"\nmodel = "m"\nkey = "sk-secret"', "is not the NAME"),
    ('[backbones.x]\nupstream = "scripted"', "needs `script`"), ('[backbones.x]\nmodle = "m"', "did you mean model?"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "said"), BACKBONES)
def test_a_broken_backbone_is_listed_with_its_fault_and_stops_no_command_that_does_not_name_it(
    text: str, said: str, tmp_path: Path, dojo_cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    good = '[backbones.good]\nupstream = "manual"\n'
    text = f"[backbones]\n{text}\n{good}" if text.startswith("x") else f"{good}{text}\n"
    (tmp_path / "dojo.toml").write_text(text)
    monkeypatch.chdir(tmp_path)
    for words in (("status",), ("tasks",), ("agents",), ("runs",), ("leaderboard",), ("config",), ("doctor", "host")):
        assert dojo_cli(*words).code in (0, 3), words
    listed = dojo_cli("backbones", "--json")
    assert listed.code == 0 and listed.data["backbones"][0]["name"] == "good"
    (fault,) = listed.data["broken"]
    assert fault["name"] == "x" and said in fault["message"] and fault["hint"] and "sk-secret" not in json.dumps(listed.data)
    assert "x cannot be used: " in dojo_cli("backbones").out
    checked = {each["name"]: each["state"] for each in dojo_cli("backbones", "check", "--json").json["data"]["backbones"]}
    assert checked == {"good": "ok", "x": "failed"}
    assert dojo_cli("backbones", "check", "x").code == 2 and dojo_cli("backbones", "check", "good").code == 0
    assert any(
        not check["ok"] and said in check["detail"] for check in dojo_cli("doctor", "gateway", "--json").json["data"]["checks"]
    )
    assert completed(dojo_cli, monkeypatch, "dojo backbones check g") >= {"good"}


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"digest": 3, "files": [1]}', '{"digest": "a", "files": {"x": {}}}'])
def test_a_damaged_manifest_in_the_cache_is_one_row_of_the_list_and_one_check(
    text: str, tmp_path: Path, dojo_cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = tmp_path / "a_cache"
    for name, kept in (("bad", text), ("whole", '{"digest": "abc", "files": {}}')):
        (cache / "models" / name).mkdir(parents=True)
        (cache / "models" / name / "dojo-manifest.json").write_text(kept)
    (cache / "models" / "smol").mkdir()
    (cache / "models" / "smol" / "dojo-manifest.json").write_text(text)
    rows = {row["name"]: row["digest"] for row in dojo_cli("data", "--json", "--cache", str(cache)).data["data"]}
    assert rows["whole"] == "abc" and set(rows) == {"bad", "whole", "smol"}
    checks = {c["name"]: c["ok"] for c in dojo_cli("data", "verify", "--json", "--cache", str(cache)).json["data"]["checks"]}
    assert checks["model whole"] and not (checks["model bad"] and text != "{}")
    found = dojo_cli("doctor", "data", "--json", "--cache", str(cache)).json["data"]["checks"]
    assert "base model smol" in {check["name"] for check in found}


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become a user to whom a folder is closed")
@pytest.mark.parametrize("mode", [0o000, 0o100, 0o400], ids=["closed", "not to be listed", "not to be entered"])
def test_a_folder_without_permission_among_many_is_listed_with_its_fault(
    mode: int, tasks: Path, agents: Path, dojo_cli: Cli, tmp_path: Path
) -> None:
    make_task(tasks, "mine/closed")
    make_task(tasks, "closed/task")
    make_agent(agents, "closed")
    dojo_cli("tasks"), dojo_cli("agents"), dojo_cli("agents", "check", "good")  # everything is imported now
    for path in (tmp_path, *tmp_path.rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)
    for parent in tmp_path.parents:
        if parent != Path("/"):
            parent.chmod(parent.stat().st_mode | 0o055)
    for path in (tasks / "mine" / "closed", tasks / "closed", agents / "closed"):
        path.chmod(mode)
    looks = [("tasks", "show", "mine/good"), ("agents", "check", "closed")]
    told = tmp_path / "told.json"
    told.touch(mode=0o666)
    told.chmod(0o666)
    codes = _as_somebody_else_telling(told, *looks)
    assert codes == [0, 2]
    found: dict[str, Any] = json.loads(told.read_text())
    assert {"mine/good", "math/aime25"} <= set(found["tasks"]) and {"good", "recipe"} <= set(found["agents"])
    assert len(found["broken"]) == 3, found
    assert all("ermission denied" in message for message in found["broken"]), found


def _as_somebody_else_telling(told: Path, *looks: tuple[str, ...]) -> list[int]:
    """Give commands as an ordinary user, who also writes down what there is."""
    child = os.fork()
    if child == 0:
        try:
            os.setgroups([])
            os.setgid(65534)
            os.setuid(65534)
            dojo = Dojo()
            tasks, agents = dojo.survey_tasks(), dojo.survey_agents()
            found = {
                "tasks": [task.id for task in tasks.found],
                "agents": [agent.name for agent in agents.found],
                "broken": [each.message for each in (*tasks.broken, *agents.broken)],
            }
            told.write_text(json.dumps(found))
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    return _as_somebody_else(*looks)


def test_a_folder_that_is_set_and_not_there_is_one_check_of_doctor(
    dojo_cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOJO_TASKS", str(tmp_path / "nowhere"))
    checks = dojo_cli("doctor", "host", "--json").json["data"]["checks"]
    assert not checks[0]["ok"] and "nowhere" in checks[0]["detail"] and len(checks) > 3


def test_a_plan_for_all_tasks_says_which_are_left_out(tasks: Path, agents: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    foreign(make_task(tasks, "mine/bad"))
    dojo = Dojo()
    assert [task.id for task in dojo._check(Matrix(tasks=("mine/*",), agents=({"name": "good"},)), None).tasks] == ["mine/good"]
    assert ["has no [metadata.dojo]" in each.message for each in dojo.left_out(("all",))] == [True]


def closed_run(batch: Path, run: Path) -> None:
    run.chmod(0)


def closed_spec(batch: Path, run: Path) -> None:
    (run / "run.json").chmod(0)


def closed_events(batch: Path, run: Path) -> None:
    (run / "events.jsonl").chmod(0)


def closed_result(batch: Path, run: Path) -> None:
    (run / "result.json").chmod(0)


def a_file_beside_runs(batch: Path, run: Path) -> None:
    (batch / "runs" / "r20260101-notes").write_text("x")


def a_file_beside_batches(batch: Path, run: Path) -> None:
    (batch.parent / "b20260101-notes").write_text("x")


def an_empty_batch(batch: Path, run: Path) -> None:
    (batch.parent / "b20260102-000000-empty").mkdir()


def a_closed_batch(batch: Path, run: Path) -> None:
    (batch.parent / "b20260102-000000-close").mkdir(mode=0)


def a_folder_for_a_result(batch: Path, run: Path) -> None:
    (run / "result.json").unlink()
    (run / "result.json").mkdir()


RUNS = [
    closed_run, closed_spec, closed_events, closed_result, a_file_beside_runs, a_file_beside_batches, an_empty_batch,
    a_closed_batch, a_folder_for_a_result,
]  # fmt: skip
WITH_DATABASE = (("status",), ("runs",), ("leaderboard",))
WITHOUT = (("runs",), ("batches",), ("reindex",))


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become a user to whom a folder is closed")
@pytest.mark.parametrize("broken", RUNS, ids=lambda broken: broken.__name__)
def test_a_folder_of_results_that_is_closed_or_none_stops_no_listing(
    broken: Callable[[Path, Path], None], home: list[str], dojo_cli: Cli, tmp_path: Path
) -> None:
    batch = tmp_path / "results" / "batches" / BATCH
    for parent in tmp_path.parents:
        if parent != Path("/"):
            parent.chmod(parent.stat().st_mode | 0o055)
    assert [dojo_cli(*words).code for words in (*WITH_DATABASE, *WITHOUT)] == [0] * 6  # everything is imported now
    broken(batch, batch / "runs" / home[0])
    for path in (tmp_path, *tmp_path.rglob("*")):
        os.chown(path, 65534, 65534, follow_symlinks=False)
    assert _as_somebody_else(*WITH_DATABASE) == [0] * 3
    for path in (tmp_path / "results").glob("dojo.db*"):
        path.unlink()
    assert _as_somebody_else(*WITHOUT) == [0] * 3
