"""What an agent's directory may hold, and that looking, digesting and copying see the same files."""

import hashlib
import os
from pathlib import Path

import pytest

from harness.assets import agent_files
from harness.assets.agent_dir import list_agents, load_agent, strangers_of
from harness.assets.agent_files import copy_files, digest_files, left_out_of, strangers_in
from harness.assets.new_agent import new_agent
from harness.executor.agent_checks import check_agent
from harness.spec.errors import SpecError

CONFIG = 'name = "one"\ncommand = ["true"]\n'


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "one"
    (path / "deep").mkdir(parents=True)
    (path / "agent.toml").write_text(CONFIG)
    (path / "deep" / "rows.py").write_text("x = 1\n")
    return path


def test_the_digest_is_over_names_and_contents_in_order(folder: Path) -> None:
    lines = [f"{hashlib.sha256(data).hexdigest()} {name}\n"
             for name, data in (("agent.toml", CONFIG.encode()), ("deep/rows.py", b"x = 1\n"))]  # fmt: skip
    assert digest_files(folder) == hashlib.sha256("".join(lines).encode()).hexdigest()
    assert digest_files(folder, skip=["deep"]) == hashlib.sha256(lines[0].encode()).hexdigest()


def test_a_copy_has_the_digest_of_what_was_copied_and_modes_of_its_own(folder: Path, tmp_path: Path) -> None:
    (folder / "run.sh").write_text("true\n")
    (folder / "run.sh").chmod(0o4700)
    (folder / "deep" / "rows.py").chmod(0o600)
    (folder / "empty").mkdir()
    assert copy_files(folder, tmp_path / "copy") == digest_files(folder) == digest_files(tmp_path / "copy")
    modes = {path.name: oct(path.stat().st_mode & 0o7777) for path in (tmp_path / "copy").rglob("*")}
    assert modes == {"agent.toml": "0o644", "deep": "0o755", "rows.py": "0o644", "run.sh": "0o755"}


def test_modes_do_not_depend_on_the_umask(folder: Path, tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        copy_files(folder, tmp_path / "copy")
    finally:
        os.umask(before)
    assert (tmp_path / "copy" / "deep").stat().st_mode & 0o777 == 0o755
    assert (tmp_path / "copy" / "deep" / "rows.py").stat().st_mode & 0o777 == 0o644


def test_everything_strange_is_told_with_a_remedy(folder: Path) -> None:
    (folder / "link").symlink_to("agent.toml")
    (folder / "way").symlink_to("deep")
    os.mkfifo(folder / "deep" / "pipe")
    (folder / "HEAD").write_text("ref: refs/heads/main\n")
    found = {stranger.path.name: stranger for stranger in strangers_in(folder)}
    assert sorted(found) == ["HEAD", "link", "pipe", "way"]
    assert str(found["pipe"]).endswith("one/deep/pipe is a pipe, and an agent is copied whole into its run")
    assert all(stranger.hint for stranger in found.values())
    failed = [check for check in check_agent(load_agent(folder), folder.parent) if not check.ok]
    assert [check.name for check in failed] == ["files", "README.md"] and "link is a link" in failed[0].detail


def test_what_is_left_out_is_said_when_an_agent_is_checked(folder: Path) -> None:
    (folder / ".envrc").write_text("")
    (folder / ".git").mkdir()
    assert left_out_of(folder) == [".envrc", ".git"] and strangers_in(folder) == []
    checks = {check.name: check for check in check_agent(load_agent(folder), folder.parent)}
    assert checks["files"].ok and checks["files"].detail == "plain files; left out: .envrc, .git"


def test_too_many_files_and_too_many_bytes_are_told_once(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(10):
        (folder / f"f{number}").write_text("12345678")
    monkeypatch.setattr(agent_files, "MAX_FILES", 5)
    assert [stranger.path.name for stranger in strangers_in(folder)] == ["f4"]
    monkeypatch.setattr(agent_files, "MAX_FILES", 50)
    monkeypatch.setattr(agent_files, "MAX_BYTES", 60)
    assert len(strangers_in(folder)) == 1
    assert len(digest_files(folder)) == 64


def test_a_file_that_nobody_may_read_is_told(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.open

    def closed(path, flags, mode=0o777, *, dir_fd=None):  # root reads everything
        if path == "rows.py":
            raise PermissionError(13, "Permission denied")
        return real(path, flags, mode, dir_fd=dir_fd)

    monkeypatch.setattr(os, "open", closed)
    with pytest.raises(SpecError, match=r"rows\.py cannot be read: Permission denied"):
        copy_files(folder, folder.parent / "copy")


def test_a_new_agent_is_made_of_plain_files_only(folder: Path, tmp_path: Path) -> None:
    (folder / ".git").mkdir()
    (folder / ".git" / "config").write_text("[core]\n\tfsmonitor = x\n")
    made = new_agent("two", tmp_path / "mine", load_agent(folder))
    assert sorted(path.name for path in made.path.rglob("*")) == ["README.md", "agent.toml", "deep", "rows.py"]
    (folder / "link").symlink_to("/etc/hostname")
    with pytest.raises(SpecError, match="is a link"):
        new_agent("three", tmp_path / "mine", load_agent(folder))


def test_nothing_of_the_agents_that_come_along_is_refused_or_left_out() -> None:
    found = list_agents()
    assert len(found) > 5
    for agent in found:
        assert strangers_of(agent) == [], agent.name
        assert [name for name in left_out_of(agent.path) if name not in (".venv", ".mypy_cache", ".ruff_cache")] == []
