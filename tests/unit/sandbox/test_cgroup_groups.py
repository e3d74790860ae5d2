"""Control groups: version 2 on plain folders, because few hosts have both; the real ones where we may make them."""

import os
from pathlib import Path

import pytest

from harness.sandbox.cgroups import Group, Hierarchies, find_hierarchies, rlimits
from harness.spec.errors import SandboxError
from harness.spec.task import Limits

LIMITS = Limits(cpus=1.5, memory_mb=256, pids=50, open_files=128)


def version_2(root: Path, controllers: str = "cpu memory pids") -> Path:
    """A folder that looks like the root of version 2."""
    for folder in (root, root / "dojo"):
        folder.mkdir(exist_ok=True)
        (folder / "cgroup.controllers").write_text(controllers)
        (folder / "cgroup.subtree_control").write_text(controllers)
    return root


def mounts(tmp_path: Path, *lines: str) -> Path:
    path = tmp_path / "mounts"
    path.write_text("".join(f"{line} 0 0\n" for line in lines))
    return path


def test_version_2_is_found_with_what_it_offers(tmp_path: Path) -> None:
    root = version_2(tmp_path / "cgroup", "cpuset memory pids")
    found = find_hierarchies(mounts(tmp_path, f"cgroup2 {root} cgroup2 rw", "proc /proc proc rw"))
    assert found == Hierarchies(2, {"memory": root, "pids": root})
    assert found.missing == ("cpu",)


def test_version_1_wins_where_both_are_mounted(tmp_path: Path) -> None:
    """Then version 2 has no controllers."""
    memory, cpu = tmp_path / "memory", tmp_path / "cpu,cpuacct"
    memory.mkdir()
    cpu.mkdir()
    root = version_2(tmp_path / "unified", "")
    table = mounts(
        tmp_path, f"cgroup {memory} cgroup rw,memory", f"cgroup {cpu} cgroup rw,cpu,cpuacct", f"cgroup2 {root} cgroup2 rw"
    )
    assert find_hierarchies(table) == Hierarchies(1, {"memory": memory, "cpu": cpu, "cpuacct": cpu})


def test_nothing_is_found_where_nothing_may_be_made(tmp_path: Path) -> None:
    assert find_hierarchies(mounts(tmp_path, "proc /proc proc rw")).missing == ("memory", "pids", "cpu")


def test_version_2_limits_are_written(tmp_path: Path) -> None:
    root = version_2(tmp_path / "cgroup")
    folder = root / "dojo" / "box"
    folder.mkdir()
    (folder / "memory.swap.max").write_text("max")
    group = Group(Hierarchies(2, dict.fromkeys(("memory", "pids", "cpu"), root)), "box")
    group.create(LIMITS)
    assert (folder / "memory.max").read_text() == str(256 * 1024 * 1024)
    assert (folder / "memory.swap.max").read_text() == "0"
    assert (folder / "pids.max").read_text() == "50"
    assert (folder / "cpu.max").read_text() == "150000 100000"
    assert group.procs_files == [str(folder / "cgroup.procs")]


def test_version_2_counts_are_read(tmp_path: Path) -> None:
    root = version_2(tmp_path / "cgroup")
    folder = root / "dojo" / "box"
    folder.mkdir()
    (folder / "memory.events").write_text("low 0\nhigh 0\nmax 9\noom 3\noom_kill 2\noom_group_kill 0\n")
    (folder / "cpu.stat").write_text("usage_usec 1500000\nuser_usec 1\n")
    (folder / "memory.peak").write_text(str(64 * 1024 * 1024))
    group = Group(Hierarchies(2, dict.fromkeys(("memory", "pids", "cpu"), root)), "box")
    assert (group.oom_kills(), group.cpu_s(), group.memory_peak_mb()) == (2, 1.5, 64.0)
    assert group.oom_counter == str(folder / "memory.events")


def test_resource_limits_stand_in_for_what_is_missing() -> None:
    assert rlimits(LIMITS, ()) == {"NOFILE": 128, "CORE": 0}
    assert rlimits(LIMITS, ("memory", "pids"))["DATA"] == 256 * 1024 * 1024
    assert rlimits(LIMITS, ("memory", "pids"))["NPROC"] == 50


@pytest.mark.skipif(not find_hierarchies().paths, reason="no control groups for this user on this host")
def test_a_real_group_limits_and_goes_away() -> None:
    group = Group(find_hierarchies(), f"unit-{os.getpid()}")
    group.create(LIMITS)
    try:
        assert group.exists() and f"unit-{os.getpid()}" in Group.names(find_hierarchies())
        assert group.oom_kills() == 0 and (group.memory_peak_mb() or 0) < 8
        pid = os.fork()
        if pid == 0:
            for path in group.procs_files:
                Path(path).write_text("0")
            sum(range(3_000_000))
            os._exit(0)
        assert os.waitpid(pid, 0)[1] == 0
        assert (group.cpu_s() or 0) > 0.01
    finally:
        group.remove()
    assert not group.exists()
    group.remove()


@pytest.mark.skipif(not find_hierarchies().paths, reason="no control groups for this user on this host")
def test_removing_a_group_kills_what_is_in_it() -> None:
    group = Group(find_hierarchies(), f"unit-kill-{os.getpid()}")
    group.create(LIMITS)
    ready, said = os.pipe()
    pid = os.fork()
    if pid == 0:
        for path in group.procs_files:
            Path(path).write_text("0")
        os.write(said, b"in")
        while True:
            pass
    assert os.read(ready, 2) == b"in"
    group.remove()
    assert os.waitpid(pid, 0)[1] == 9 and not group.exists()


def test_a_limit_that_cannot_be_set_is_said(tmp_path: Path) -> None:
    group = Group(Hierarchies(2, {"memory": tmp_path / "nowhere"}), "box")
    with pytest.raises(SandboxError, match="memory limit cannot be set"):
        group.create(LIMITS)
