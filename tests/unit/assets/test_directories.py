"""Finding tasks and agents by name."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.assets.agent_dir import find_agent, list_agents, resolve_name
from harness.assets.task_dir import find_task, list_tasks
from harness.spec.errors import NotFoundError, SpecError


def make_agent(root: Path, name: str, text: str = "") -> Path:
    path = root / name
    path.mkdir(parents=True)
    (path / "agent.toml").write_text(text or f'name = "{name}"\ncommand = ["sh", "run.sh"]\n')
    (path / "run.sh").write_text("true\n")
    return path


def make_task(root: Path, name: str, title: str = "T") -> Path:
    path = root / name
    path.mkdir(parents=True)
    (path / "task.toml").write_text(
        f'[metadata.dojo]\ntitle = "{title}"\nsummary = "s"\nanswer_format = "a"\n'
        'metric = {name = "accuracy", description = "d"}\nsubsets = [{name = "all", metric = "accuracy"}]\n'
        '[metadata.dojo.profiles.mini]\nbase_model = "smol"\nbudget = {wall = "5m"}\n'
    )
    return path


def test_agents_are_found_by_name_with_either_dash_and_by_path(tmp_path: Path) -> None:
    path = make_agent(tmp_path, "my_agent")
    for name in ("my_agent", "my-agent", str(path)):
        assert find_agent(name, [tmp_path]).path == path
    assert [a.name for a in list_agents([tmp_path])] == ["my_agent"]


def test_an_unknown_agent_says_which_is_near(tmp_path: Path) -> None:
    make_agent(tmp_path, "ft_agent")
    with pytest.raises(NotFoundError) as caught:
        find_agent("ft_agnt", [tmp_path])
    assert caught.value.hint == "did you mean ft_agent?" and caught.value.exit_code == 2
    with pytest.raises(NotFoundError, match="no agent named 'x'"):
        resolve_name("x", [])


def test_an_agent_that_does_not_parse_names_its_file(tmp_path: Path) -> None:
    make_agent(tmp_path, "broken", "name = ")
    with pytest.raises(SpecError, match=r"broken/agent\.toml"):
        find_agent("broken", [tmp_path])


def test_the_digest_tells_a_changed_program(tmp_path: Path) -> None:
    path = make_agent(tmp_path, "one")
    before = find_agent("one", [tmp_path]).digest
    (path / "run.sh").write_text("false\n")
    assert find_agent("one", [tmp_path]).digest != before


def test_roots_come_from_the_environment_and_the_first_one_wins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_agent(tmp_path / "a", "one")
    make_agent(tmp_path / "b", "one")
    make_agent(tmp_path / "b", "two")
    monkeypatch.setenv("DOJO_AGENTS", f"{tmp_path / 'a'}:{tmp_path / 'b'}")
    assert [a.path.parent.name for a in list_agents()] == ["a", "b"]


def test_tasks_are_found_by_id(tmp_path: Path) -> None:
    path = make_task(tmp_path, "math/one")
    make_task(tmp_path, "table/two")
    assert [t.id for t in list_tasks([tmp_path])] == ["math/one", "table/two"]
    task = find_task("math/one", [tmp_path])
    assert (task.path, task.dojo.title) == (path, "T")
    with pytest.raises(NotFoundError) as caught:
        find_task("math/onee", [tmp_path])
    assert caught.value.hint == "did you mean math/one?"


def test_a_task_s_digest_tells_its_data_program_but_not_its_readme(tmp_path: Path) -> None:
    path = make_task(tmp_path, "math/one")
    before = find_task("math/one", [tmp_path]).digest
    (path / "README.md").write_text("about")
    assert find_task("math/one", [tmp_path]).digest == before
    (path / "prepare.py").write_text("x = 1\n")
    assert find_task("math/one", [tmp_path]).digest != before


def test_the_project_s_own_tasks_are_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DOJO_TASKS", raising=False)
    assert {"math/aime25", "chemistry/mol_und"} <= {t.id for t in list_tasks()}
