"""What this machine can run at once: cores, memory and GPUs, claimed across all dojo processes and users on it.

A claim is a small file in a folder that every user may write to. It counts while the process that wrote it holds its lock, and
beyond that until the agent's budget is over: a sandbox works on when its harness is gone.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import BinaryIO

from harness.executor.tickets import Tickets
from harness.sandbox.nvidia.driver import usable
from harness.spec.errors import DojoError, MissingError, StoreError
from harness.spec.task import Limits

# Looked at again this often, seconds, while there is no room: other processes cannot wake this one.
_LOOK_EVERY_S = 0.5
_LEDGER = "ledger"


@dataclass(frozen=True)
class Claim:
    """What one run holds of the machine."""

    run: str
    user: int
    cpus: float
    memory_mb: int
    gpus: int
    named: tuple[str, ...] = ()


class Slots:
    """Cores, memory and GPUs of this machine. A run waits until what its limits ask for is free, and those before it have had it.

    Args:
        cpus: cores there are.
        memory_mb: megabytes there are.
        gpus: GPUs there are.
        folder: where claims lie; processes with one folder share one machine.
        named: which GPUs these are. Processes that may use different ones (CUDA_VISIBLE_DEVICES) do not wait for each other's.
    """

    def __init__(self, cpus: float, memory_mb: int, gpus: int, folder: Path, named: Sequence[str] = ()) -> None:
        self.cpus, self.memory_mb, self.gpus, self._folder, self._named = cpus, memory_mb, gpus, folder, tuple(named)
        self._held: dict[str, BinaryIO] = {}
        self._own_paths: dict[str, Path] = {}
        self._tickets = Tickets(folder)
        self._mutex = threading.Lock()

    @classmethod
    def of_this_machine(cls) -> Slots:
        """Count the cores, memory and GPUs that this process may use."""
        try:
            gpus = [gpu.name for gpu in usable()]
        except DojoError:  # runs without GPUs are none the worse; `dojo doctor gpu` says why
            gpus = []
        return cls(float(len(os.sched_getaffinity(0))), _memory_mb(), len(gpus), _shared_folder(), gpus)

    def check(self, limits: Limits) -> None:
        """Refuse limits that this machine can never satisfy.

        Raises:
            MissingError: names what is asked for and what is there.
        """
        larger = "a larger machine or another profile of the task"
        asked = (
            (limits.cpus, self.cpus, f"{limits.cpus:g} CPUs", f"{self.cpus:g}", larger),
            (
                limits.gpus,
                self.gpus,
                f"{limits.gpus} GPUs",
                f"{self.gpus}",
                "a machine with GPUs, or --profile mini; `dojo doctor gpu` says what is here",
            ),
            (limits.memory_mb, self.memory_mb, f"{limits.memory_mb} MB of memory", f"{self.memory_mb}", larger),
        )
        for wanted, there, text, has, remedy in asked:
            if wanted > there:
                raise MissingError(f"a run asks for {text}, this machine has {has}", hint=f"use {remedy}")

    @contextmanager
    def take(self, run: str, limits: Limits, stop: threading.Event) -> Iterator[bool]:
        """Hold what ``limits`` asks for while the block runs; yields False when ``stop`` was set while waiting.

        Afterwards the claim lasts until the time that `keep_until` was told, or is gone if it was told none.

        Raises:
            StoreError: another process holds this very run's claim (code ``busy``).
        """
        try:
            while not (taken := self._try(run, limits)):
                if stop.wait(_LOOK_EVERY_S):
                    break
        finally:
            with self._mutex, self._ledger():
                self._tickets.give_back(run)
        try:
            yield taken and not stop.is_set()
        finally:
            if taken:
                self._let_go(run)

    def keep_until(self, run: str, end: datetime) -> None:
        """Let a claim that this process holds outlast it, until ``end`` at the latest."""
        with self._mutex, self._ledger():  # or another process might read it half written, and count on its room
            if (file := self._held.get(run)) is not None:
                claim = json.loads(_read(file))
                _write(file, {**claim, "until": end.timestamp()})

    def forget(self, run: str) -> None:
        """Remove a run's claim: nothing of it is on the machine any more."""
        with contextlib.suppress(OSError):
            self._path(run).unlink()

    def claims(self) -> list[Claim]:
        """Return what is held now, by any process of any user."""
        return [claim for path in sorted(self._folder.glob("*.json")) if (claim := _living(path)) is not None]

    def missing(self, run: str, limits: Limits) -> str:
        """Say what of the machine is not free for a run's ``limits``, or whose turn it is; "" when nothing is in the way."""
        held = self.claims()
        free = self._free(held)
        wanted = {"cores": limits.cpus, "MB of memory": limits.memory_mb, "GPUs": limits.gpus}
        short = [f"{wanted[what]:g} {what}, {max(0.0, free[what]):g} free" for what in wanted if wanted[what] > free[what]]
        if not short:
            with self._ledger():
                first = self._tickets.before(run)
            return f"waits for its turn, after {', '.join(first)}" if first else ""
        return f"waits for {'; '.join(short)}; held by {', '.join(claim.run for claim in held)}"

    def _free(self, held: list[Claim]) -> dict[str, float]:
        return {
            "cores": self.cpus - sum(claim.cpus for claim in held),
            "MB of memory": self.memory_mb - sum(claim.memory_mb for claim in held),
            "GPUs": self.gpus - sum(claim.gpus for claim in held if self._shares_gpus(claim)),
        }

    def _shares_gpus(self, claim: Claim) -> bool:
        """Whether a claim may be on GPUs of ours; one that does not say which may be on any."""
        return not claim.named or not self._named or bool(set(claim.named) & set(self._named))

    def _try(self, run: str, limits: Limits) -> bool:
        with self._mutex, self._ledger():
            self._sweep()
            others = [claim for claim in self.claims() if claim.run != run]
            free = self._free(others)
            # whoever goes on with a run whose agent is at work here takes its room over, and waits for nobody
            goes_on = _living(self._path(run)) is not None
            if not goes_on and self._tickets.before(run):
                self._tickets.take(run)
                return False
            if limits.cpus > free["cores"] or limits.memory_mb > free["MB of memory"] or limits.gpus > free["GPUs"]:
                self._tickets.take(run)
                return False
            path = self._path(run)
            until = _until(path)  # what an earlier process of this run was told holds on
            try:
                descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o644)
            except PermissionError:  # the claim of another user, who drove this run before
                self._own_paths[run] = self._folder / f"{run}.{os.getuid()}.json"
                descriptor = os.open(self._path(run), os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o644)
            file = os.fdopen(descriptor, "r+b")
            if _locked(file):
                file.close()
                raise StoreError(
                    f"run {run} is being driven by another dojo process", hint="`dojo status` shows where it stands", code="busy"
                )
            fcntl.flock(file, fcntl.LOCK_EX)  # waits for those that are just looking
            claim = {"run": run, "user": os.getuid(), "cpus": limits.cpus, "memory_mb": limits.memory_mb, "gpus": limits.gpus}
            _write(file, {**claim, "named": self._named, "until": until})
            self._held[run] = file
            return True

    def _sweep(self) -> None:
        """Remove claims that have run out: of runs whose processes died, and that were ended by another way."""
        for path in self._folder.glob("*.json"):
            if path.stem not in self._held and _living(path) is None:
                with contextlib.suppress(OSError):  # another user's, who removes it himself
                    path.unlink()

    def _let_go(self, run: str) -> None:
        with self._mutex, self._ledger():
            file = self._held.pop(run)
            if _until(self._path(run)) <= time.time():
                self.forget(run)
            file.close()

    def _path(self, run: str) -> Path:
        return self._own_paths.get(run) or self._folder / f"{run}.json"

    @contextmanager
    def _ledger(self) -> Iterator[None]:
        """Let one process at a time look and claim."""
        path = self._folder / _LEDGER
        try:
            descriptor = os.open(path, os.O_RDONLY)
        except FileNotFoundError:
            descriptor = os.open(path, os.O_RDONLY | os.O_CREAT, 0o644)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)


def _living(path: Path) -> Claim | None:
    """Read a claim; None where its process is gone and its time over."""
    try:
        with path.open("rb") as file:
            raw = json.loads(_read(file))
            if raw["until"] > time.time() or _locked(file):
                return Claim(raw["run"], raw["user"], raw["cpus"], raw["memory_mb"], raw["gpus"], tuple(raw.get("named", ())))
    except (OSError, ValueError, KeyError, TypeError):  # gone, or a stranger's file: no claim
        return None
    return None


def _locked(file: BinaryIO) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    return False


def _until(path: Path) -> float:
    try:
        return float(json.loads(path.read_bytes())["until"])
    except (OSError, ValueError, KeyError, TypeError):
        return 0.0


def _read(file: BinaryIO) -> bytes:
    file.seek(0)
    return file.read()


def _write(file: BinaryIO, claim: dict[str, object]) -> None:
    data = json.dumps(claim).encode()
    file.seek(0)
    file.truncate()
    file.write(data)
    file.flush()


def _memory_mb() -> int:
    """Return the memory there is: the machine's, or less where a control group says so."""
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    for path in ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"):
        with contextlib.suppress(OSError, ValueError):
            total = min(total, int(Path(path).read_text()))
    return total // (1024 * 1024)


def _shared_folder() -> Path:
    """Return the folder of claims, which every user of the machine may write to, as in /tmp.

    Raises:
        MissingError: it cannot be made.
    """
    base = next((Path(p) for p in ("/run/lock", "/var/lock", "/tmp") if os.access(p, os.W_OK)), Path("/tmp"))
    folder = base / "dojo-slots"
    try:
        folder.mkdir(exist_ok=True)
        if folder.stat().st_uid == os.getuid():
            folder.chmod(0o1777)
    except OSError as exc:
        raise MissingError(
            f"{folder}, where runs claim the machine, cannot be made: {exc.strerror}", hint=f"make {base} writable"
        ) from exc
    return folder
