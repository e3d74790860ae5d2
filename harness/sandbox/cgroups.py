"""Memory, process and CPU limits by control groups: version 1 or 2, whichever this host has, in a folder of its root."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from harness.spec.errors import SandboxError
from harness.spec.task import Limits

FOLDER = "dojo"
CONTROLLERS = ("memory", "pids", "cpu")
_PERIOD_US = 100_000
_REMOVE_WAIT_S = 10.0


@dataclass(frozen=True)
class Hierarchies:
    """Where the controllers are: version 1 has a folder each, version 2 one for all."""

    version: int
    paths: dict[str, Path]

    @property
    def missing(self) -> tuple[str, ...]:
        """Controllers that limits need and this host does not give us."""
        return tuple(c for c in CONTROLLERS if c not in self.paths)


def find_hierarchies(mounts: Path = Path("/proc/self/mounts")) -> Hierarchies:
    """Return the controllers in which we may make groups; none for an ordinary user without a delegated group."""
    unified: Path | None = None
    found: dict[str, Path] = {}
    for line in mounts.read_text().splitlines():
        _, point, kind, options, *_ = line.split(" ")
        if kind == "cgroup2":
            unified = Path(point)
        elif kind == "cgroup":
            for name in set(options.split(",")) & {*CONTROLLERS, "cpuacct"}:
                if os.access(point, os.W_OK):
                    found[name] = Path(point)
    if found:
        return Hierarchies(1, found)
    if unified is not None and os.access(unified, os.W_OK):
        return Hierarchies(2, {name: unified for name in _enabled(unified)})
    return Hierarchies(2, {})


def _enabled(root: Path) -> tuple[str, ...]:
    """Return the version 2 controllers that children of ``root`` can have, switching them on where that is allowed."""
    offered = [c for c in CONTROLLERS if c in (root / "cgroup.controllers").read_text().split()]
    for name in offered:
        with contextlib.suppress(OSError):  # processes in a delegated root forbid it; then the controller is not to be had
            _switch_on(root, name)
    return tuple(c for c in offered if c in (root / "cgroup.subtree_control").read_text().split())


def _switch_on(folder: Path, controller: str) -> None:
    """Let version 2 groups below ``folder`` have the controller."""
    control = folder / "cgroup.subtree_control"
    if controller not in control.read_text().split():
        control.write_text(f"+{controller}")


class Group:
    """The control group of one sandbox, in every hierarchy that is there. Found again by its name alone.

    ``folder`` holds the groups of one backend.
    """

    def __init__(self, hierarchies: Hierarchies, name: str, folder: str = FOLDER) -> None:
        self._hierarchies = hierarchies
        self._paths = {c: root / folder / name for c, root in hierarchies.paths.items()}

    @property
    def folders(self) -> list[Path]:
        """The group's folders, each once."""
        return sorted(set(self._paths.values()))

    def create(self, limits: Limits) -> None:
        """Make the group and set its limits.

        Raises:
            SandboxError: the kernel refuses a limit.
        """
        for controller, folder in self._paths.items():
            try:
                if self._hierarchies.version == 2:
                    folder.parent.mkdir(exist_ok=True)
                    _switch_on(folder.parent, controller)
                folder.mkdir(parents=True, exist_ok=True)
                for file, value in self._settings(controller, limits):
                    if file.startswith("?") and not (folder / file[1:]).exists():
                        continue
                    (folder / file.lstrip("?")).write_text(value)
            except OSError as exc:
                raise SandboxError(
                    f"the {controller} limit cannot be set: {exc}", hint="`dojo doctor` shows what is there"
                ) from exc

    def _settings(self, controller: str, limits: Limits) -> Iterator[tuple[str, str]]:
        """Yield (file, value); a leading ``?`` marks a file that older or smaller kernels lack."""
        memory, quota = str(limits.memory_mb * 1024 * 1024), max(1000, int(limits.cpus * _PERIOD_US))
        first = self._hierarchies.version == 1
        if controller == "memory" and first:
            yield from (("memory.limit_in_bytes", memory), ("?memory.memsw.limit_in_bytes", memory))
        elif controller == "memory":
            yield from (("memory.max", memory), ("?memory.swap.max", "0"))
        elif controller == "pids":
            yield "pids.max", str(limits.pids)
        elif controller == "cpu" and first:
            yield from (("cpu.cfs_period_us", str(_PERIOD_US)), ("cpu.cfs_quota_us", str(quota)))
        elif controller == "cpu":
            yield "cpu.max", f"{quota} {_PERIOD_US}"

    @property
    def procs_files(self) -> list[str]:
        """Where a process writes itself in."""
        return [str(folder / "cgroup.procs") for folder in self.folders]

    @property
    def oom_counter(self) -> str:
        """The file with the number of processes killed for want of memory; empty without a memory controller."""
        if "memory" not in self._paths:
            return ""
        return str(self._paths["memory"] / ("memory.oom_control" if self._hierarchies.version == 1 else "memory.events"))

    def oom_kills(self) -> int:
        """Return how many processes were killed for want of memory."""
        return _keyed(Path(self.oom_counter), "oom_kill") if self.oom_counter else 0

    def cpu_s(self) -> float | None:
        """Return the CPU seconds used, None where nobody counts."""
        if "cpuacct" in self._paths:
            return _number(self._paths["cpuacct"] / "cpuacct.usage") / 1e9
        if self._hierarchies.version == 2 and "cpu" in self._paths:
            return _keyed(self._paths["cpu"] / "cpu.stat", "usage_usec") / 1e6
        return None

    def memory_peak_mb(self) -> float | None:
        """Return the most memory that was ever in use, files in memory included; None where nobody counts."""
        if "memory" not in self._paths:
            return None
        names = ("memory.max_usage_in_bytes",) if self._hierarchies.version == 1 else ("memory.peak", "memory.current")
        for name in names:
            if (self._paths["memory"] / name).exists():
                return _number(self._paths["memory"] / name) / 1048576
        return None

    def exists(self) -> bool:
        """Whether anything of the group is there."""
        return any(folder.exists() for folder in self.folders)

    def kill(self) -> None:
        """Send SIGKILL to everything in the group."""
        for folder in self.folders:
            with contextlib.suppress(OSError):
                for pid in (folder / "cgroup.procs").read_text().split():
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(int(pid), signal.SIGKILL)

    def remove(self) -> None:
        """Remove the group once its processes are gone; fine if it is not there.

        Raises:
            SandboxError: processes in it do not die.
        """
        deadline = time.monotonic() + _REMOVE_WAIT_S
        for folder in self.folders:
            while True:
                try:
                    folder.rmdir()
                except FileNotFoundError:
                    break
                except OSError as exc:
                    if time.monotonic() > deadline:
                        raise SandboxError(f"{folder} cannot be removed: {exc.strerror}", hint="see its cgroup.procs") from exc
                    self.kill()
                    time.sleep(0.005)

    @classmethod
    def names(cls, hierarchies: Hierarchies, folder: str = FOLDER) -> set[str]:
        """Return the names of all groups that exist."""
        folders = {root / folder for root in hierarchies.paths.values()}
        return {child.name for folder in folders if folder.is_dir() for child in folder.iterdir() if child.is_dir()}


def _number(path: Path) -> int:
    return int(path.read_text())


def _keyed(path: Path, key: str) -> int:
    for line in path.read_text().splitlines():
        name, _, value = line.partition(" ")
        if name == key:
            return int(value)
    return 0


def rlimits(limits: Limits, missing: tuple[str, ...]) -> dict[str, int]:
    """Return resource limits by name for what control groups do not limit; each process has its own memory limit then."""
    values = {"NOFILE": limits.open_files, "CORE": 0}
    if "memory" in missing:
        values["DATA"] = limits.memory_mb * 1024 * 1024
    if "pids" in missing:
        values["NPROC"] = limits.pids
    return values
