"""Finding tasks and agents by name."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import pytest

from harness.assets.agent_dir import copy_agent, find_agent, list_agents, load_agent, resolve_name
from harness.assets.roots import search_roots
from harness.assets.task_dir import find_task, list_tasks
from harness.executor.agent_checks import check_agent
from harness.project import bundled
from harness.spec.errors import NotFoundError, SpecError, UsageError


def make_agent(root: Path, name: str, text: str = "") -> Path:
    path = root / name
    path.mkdir(parents=True)
    (path / "agent.toml").write_text(text or f'name = "{name}"\ncommand = ["sh", "/agent/run.sh"]\n')
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
    assert {"my_agent", "recipe"} <= {a.name for a in list_agents([tmp_path])}


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
    own = {a.name: a for a in list_agents() if a.path.is_relative_to(tmp_path)}
    assert {name: a.path.parent.name for name, a in own.items()} == {"one": "a", "two": "b"}
    assert (own["one"].shadows, own["two"].shadows) == (tmp_path / "b" / "one", None)


def test_own_folders_add_to_what_dojo_brings_along_and_an_own_one_stands_before_a_built_in(tmp_path: Path) -> None:
    mine = make_agent(tmp_path, "recipe")
    task = make_task(tmp_path / "tasks", "math/aime25", "Mine")
    agents = {a.name: a for a in list_agents([tmp_path])}
    assert agents["recipe"].path == mine and agents["recipe"].shadows == bundled("agents") / "recipe"
    assert agents["search"].shadows is None and find_agent("recipe", [tmp_path]).shadows
    found = find_task("math/aime25", [tmp_path / "tasks"])
    assert (found.dojo.title, found.shadows) == ("Mine", bundled("tasks") / "math" / "aime25")
    assert (find_task("math/aime25", []).path, task) == (bundled("tasks") / "math" / "aime25", found.path)


def test_a_folder_that_is_named_twice_shadows_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOJO_TASKS", str(bundled("tasks")))
    monkeypatch.setenv("DOJO_AGENTS", str(bundled("agents")))
    assert {found.shadows for found in (*list_tasks(), *list_agents())} == {None}


@pytest.mark.parametrize("kind", ["tasks", "agents"])
def test_a_folder_that_does_not_exist_is_an_error_that_names_it(
    kind: Literal["tasks", "agents"], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = tmp_path / "gone"
    monkeypatch.setenv(f"DOJO_{kind.upper()}", f"{tmp_path}:{gone}")
    with pytest.raises(UsageError, match=f"{gone}, a folder to look for {kind} in, does not exist") as caught:
        search_roots(kind)
    assert f"DOJO_{kind.upper()}" in caught.value.hint
    with pytest.raises(UsageError, match="does not exist"):
        search_roots(kind, [gone])


def test_a_task_is_found_by_the_path_of_its_directory_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = make_task(tmp_path, "math/one")
    make_task(tmp_path, "math/aime25", "Not by this name")
    monkeypatch.chdir(tmp_path)
    for name in (str(path), "math/one", "./math/one"):
        found = find_task(name)
        assert (found.id, found.path, found.by_path) == ("math/one", path, True)
    assert find_task("math/aime25").dojo.title != "Not by this name"
    assert find_task("./math/aime25").dojo.title == "Not by this name"


def test_shared_folders_are_digested_and_copied_and_must_lie_beside_the_agent(tmp_path: Path) -> None:
    text = 'name = "one"\ncommand = ["sh", "/agent/run.sh"]\nshared = ["../reading"]\n'
    path = make_agent(tmp_path / "agents", "one", text)
    with pytest.raises(SpecError, match="shared: there is no folder"):
        load_agent(path)
    shared = tmp_path / "agents" / "reading"
    shared.mkdir()
    (shared / "rows.py").write_text("x = 1\n")
    before = load_agent(path)
    copy_agent(before, tmp_path / "copy")
    assert (tmp_path / "copy" / "reading" / "rows.py").read_text() == "x = 1\n"
    (shared / "rows.py").write_text("x = 2\n")
    assert load_agent(path).digest != before.digest
    for outside in ("../..", ".", "../../elsewhere"):
        (tmp_path / "elsewhere").mkdir(exist_ok=True)
        (path / "agent.toml").write_text(text.replace("../reading", outside))
        with pytest.raises(SpecError, match=r"shared: .* is not beside one/"):
            load_agent(path)


@pytest.mark.parametrize("place", ["one", "reading"])
def test_an_agent_with_a_link_is_never_copied(place: str, tmp_path: Path) -> None:
    path = make_agent(tmp_path / "agents", "one", 'name = "one"\ncommand = ["sh", "/agent/run.sh"]\nshared = ["../reading"]\n')
    (tmp_path / "agents" / "reading").mkdir()
    (tmp_path / "agents" / place / "secret").symlink_to("/etc/hostname")
    agent = load_agent(path)
    assert [check.name for check in check_agent(agent, tmp_path) if not check.ok] == ["files", "README.md"]
    with pytest.raises(SpecError, match=f"{place}/secret is a link"):
        copy_agent(agent, tmp_path / "copy")
    assert not (tmp_path / "copy").exists()


def test_tasks_are_found_by_id(tmp_path: Path) -> None:
    path = make_task(tmp_path, "math/one")
    make_task(tmp_path, "table/two")
    assert [t.id for t in list_tasks([tmp_path]) if t.path.is_relative_to(tmp_path)] == ["math/one", "table/two"]
    task = find_task("math/one", [tmp_path])
    assert (task.path, task.dojo.title) == (path, "T")
    with pytest.raises(NotFoundError) as caught:
        find_task("math/onee", [tmp_path])
    assert caught.value.hint.startswith("did you mean math/one")


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
