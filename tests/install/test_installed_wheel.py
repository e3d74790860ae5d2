"""dojo from a wheel, far from its checkout: all is in it, commands work in any folder, and sandboxes see none of it."""

from __future__ import annotations

import json
import subprocess
import tarfile
from pathlib import Path

import pytest

from tests.install.conftest import REPO, Installed, build, members

pytestmark = pytest.mark.slow

BUNDLED = ("tasks", "agents", "images", "k8s", "docs", "constraints.txt", "scripts/wants_cuda.py")


def tracked(*folders: str) -> set[str]:
    listing = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", *folders],
        cwd=REPO,
        capture_output=True,
        text=True,
    )
    if listing.returncode != 0:
        pytest.skip("this copy is no git checkout")
    return {name for name in listing.stdout.split("\0") if name and (REPO / name).is_file()}


def test_the_wheel_holds_every_file_of_the_project_s_folders_and_no_cache_or_test(wheel: Path) -> None:
    found = members(wheel)
    wanted = {f"harness/bundled/{name}" for name in tracked(*BUNDLED)} | tracked("harness")
    assert sorted(wanted - found) == []
    more = {name for name in found - wanted if ".dist-info/" not in name}
    assert more == {"harness/bundled/pyproject.toml"}
    assert wheel.stat().st_size < 3_000_000


def test_the_source_archive_builds_the_same_wheel(wheel: Path, tmp_path: Path) -> None:
    archive = build(tmp_path, sdist=True)
    with tarfile.open(archive) as tar:
        tar.extractall(tmp_path / "source", filter="data")
    again = build(tmp_path / "again", next((tmp_path / "source").iterdir()))
    assert members(again) == members(wheel)


def test_every_task_and_agent_is_listed_in_an_empty_folder(installed: Installed) -> None:
    tasks = installed.dojo("tasks", "list", "--json")
    agents = installed.dojo("agents", "list", "--json")
    ids = {f"{path.parent.parent.name}/{path.parent.name}" for path in (REPO / "tasks").glob("*/*/task.toml")}
    assert {task["id"] for task in json.loads(tasks.stdout)["data"]["tasks"]} == ids, tasks.stderr
    names = {path.parent.name for path in (REPO / "agents").glob("*/agent.toml")}
    assert {agent["name"] for agent in json.loads(agents.stdout)["data"]["agents"]} == names, agents.stderr


@pytest.mark.parametrize(
    "arguments",
    [["doctor", "sandbox"], ["schema", "task"], ["tasks", "new", "text/mine"], ["config", "show"], ["agents", "new", "mine"]],
)
def test_a_command_works_there_as_in_a_checkout(installed: Installed, arguments: list[str]) -> None:
    done = installed.dojo(*arguments)
    assert done.returncode == 0, done.stdout + done.stderr
    if arguments[0] == "tasks":
        assert (installed.folder / "mytasks" / "text" / "mine" / "tests" / "grader.py").is_file()
    if arguments[:2] == ["agents", "new"]:
        assert (installed.folder / "agents" / "mine" / "agent.toml").is_file()


def test_a_checkouts_docs_are_what_is_shown(installed: Installed) -> None:
    program = "from harness.project import bundled, is_checkout; print(is_checkout(), bundled('docs'))"
    done = subprocess.run([installed.python, "-c", program], cwd=installed.folder, capture_output=True, text=True, env={})
    flag, docs = done.stdout.split()
    assert flag == "False" and (Path(docs) / "write-an-agent.md").is_file()


def test_no_agent_sees_the_harness_or_its_tasks(installed: Installed) -> None:
    done = installed.dojo("attack", "--row", "1", "--quick", "--json")
    assert done.returncode in (0, 3), done.stdout + done.stderr
    if done.returncode == 3:
        pytest.skip(f"sandboxes cannot be made here: {done.stdout}")
    program = """
import json, sys
from harness.project import PACKAGE
from harness.sandbox.base import SandboxSpec
from harness.sandbox.registry import get_backend
from harness.spec.task import Limits
backend = get_backend("namespace")
sandbox = backend.create(SandboxSpec("installed-elsewhere", Limits(cpus=1, memory_mb=512, disk_mb=64), ()))
try:
    look = f"find {PACKAGE} {PACKAGE.parent}/dojo_bench* -type f; find / -xdev -name agent.toml -o -xdev -name admission"
    look += " 2>/dev/null; true"
    print(json.dumps(sandbox.exec(["sh", "-c", look], timeout_s=60).stdout.decode()))
finally:
    backend.destroy("installed-elsewhere")
"""
    seen = subprocess.run([installed.python, "-c", program], cwd=installed.folder, capture_output=True, text=True)
    assert seen.returncode == 0, seen.stderr
    assert json.loads(seen.stdout) == ""


def test_a_whole_run_is_graded(installed: Installed) -> None:
    done = installed.dojo("submit", "--agent", "base", "--task", "math/aime25", "--profile", "mini", "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    (run,) = json.loads(done.stdout)["data"]["runs"]
    assert run["outcome"]["cause"] == "completed" and run["score"] is not None
    assert (installed.folder / "results" / "dojo.db").is_file()
