"""The sandbox seam: what every backend gives and the rest of dojo relies on.

A backend creates a place (mounts, limits, network policy), starts `execd` in it and destroys it. Everything that happens
inside goes through `execd`, so semantics are the same on every backend. Nothing `execd` says is trusted for scoring.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, Literal, Protocol

from harness.sandbox.execd.tarballs import Room
from harness.spec.task import Limits

# Head and tail kept of each output stream when a command prints more; 1 MiB of each is more than an agent can read.
OUTPUT_CAP = 2 * 1024 * 1024

User = Literal["agent", "root"]


@dataclass(frozen=True)
class Mount:
    """A directory or file shown inside. Read-only unless said.

    ``source`` is its path on this host. ``asset`` is what the same thing is called elsewhere ("model:smol") and ``digest`` which
    state of it, for backends whose sandboxes live on other machines; both are empty for what belongs to one run alone.
    """

    source: Path
    target: str
    writable: bool = False
    asset: str = ""
    digest: str = ""


@dataclass(frozen=True)
class Relay:
    """A loopback TCP port inside that leads to a unix socket of the harness: the only way out.

    ``service`` is what answers there ("api"), for backends that reach it by another way than this host's socket.
    """

    port: int
    socket: Path
    service: str = ""


@dataclass(frozen=True)
class SandboxSpec:
    """What a sandbox is made of. ``id`` is unique on the host and is all that is needed to attach again.

    ``image`` is the name of an image of `images/`, for backends that make sandboxes of images; others show the host's system.
    How many GPUs it is shown is ``limits.gpus``; which ones is the backend's business. Sandboxes of one ``gpu_owner`` (a run)
    share theirs; an empty one is an owner of its own. ``gives_way``: nothing of its run has begun, so that where sandboxes
    wait for places making it may fail with the code ``gives_way``, to let an older run have what this one holds.
    """

    id: str
    limits: Limits
    mounts: tuple[Mount, ...] = ()
    relays: tuple[Relay, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)
    image: str = "task"
    gpu_owner: str = ""
    gives_way: bool = False


@dataclass(frozen=True)
class ExecResult:
    """How a command ended. ``timed_out``, ``truncated`` and ``oom_killed`` come from our own records, not from exit codes.

    A missing executable or directory is a result (exit code 127 or 126 with the thing named in ``stderr``), not an error.
    """

    exit_code: int
    stdout: bytes
    stderr: bytes
    timed_out: bool = False
    truncated: bool = False
    oom_killed: bool = False
    duration_s: float = 0.0

    @property
    def ok(self) -> bool:
        """Whether it ended with exit code 0 in time."""
        return self.exit_code == 0 and not self.timed_out


@dataclass(frozen=True)
class ProcessStatus:
    """A detached process, with output from the offsets that were asked for.

    ``deadline``: the sandbox's ended it. ``started``: false where its program could not be executed (126, 127).
    """

    running: bool
    exit_code: int | None
    stdout: bytes
    stderr: bytes
    stdout_offset: int
    stderr_offset: int
    oom_killed: bool = False
    deadline: bool = False
    started: bool = True


@dataclass(frozen=True)
class SandboxUsage:
    """What the sandbox has used since it was made, measured from outside where the backend can."""

    cpu_s: float
    memory_peak_mb: float
    disk_mb: float
    oom_kills: int = 0
    processes: int = 0


@dataclass(frozen=True)
class Check:
    """One thing a backend needs: ok, or what to do."""

    name: str
    ok: bool
    detail: str
    hint: str = ""


class SupportsWrite(Protocol):
    """Takes bytes."""

    def write(self, data: bytes, /) -> object:
        """Take them."""
        ...


class SupportsRead(Protocol):
    """Gives bytes."""

    def read(self, size: int, /) -> bytes:
        """Return at most ``size`` bytes, none at the end."""
        ...


class Sandbox(Protocol):
    """An isolated machine-like place. Safe to use from several threads at once."""

    spec: SandboxSpec

    def exec(
        self,
        argv: Sequence[str],
        *,
        stdin: bytes = b"",
        cwd: str | None = None,
        env: Mapping[str, str] | None = None,
        user: User = "agent",
        timeout_s: float | None = None,
        output_cap: int = OUTPUT_CAP,
    ) -> ExecResult:
        """Run a command to its end or its deadline; then its whole process tree is dead.

        ``timeout_s`` of 0 or less is over at once (``timed_out``); None or infinite: there is no deadline but the sandbox's.

        Raises:
            SandboxUnavailable: the sandbox is gone, with the cause.
            SandboxError: the sandbox's deadline is over (code ``deadline``), or ``timeout_s`` is NaN (code ``bad_timeout``).
        """
        ...

    def start(
        self,
        argv: Sequence[str],
        *,
        cwd: str | None = None,
        env: Mapping[str, str] | None = None,
        user: User = "agent",
        name: str = "",
    ) -> str:
        """Start a detached process that survives a disconnect; return its id. A known ``name`` returns the running one.

        Raises:
            SandboxError: the sandbox's deadline is over (code ``deadline``).
        """
        ...

    def poll(self, process: str, *, stdout_offset: int = 0, stderr_offset: int = 0, wait_s: float = 0.0) -> ProcessStatus:
        """Return state and output from the offsets; waits up to ``wait_s`` for news."""
        ...

    def kill(self, process: str) -> None:
        """Kill the process and its whole tree (SIGKILL); returns when it is dead."""
        ...

    def kill_all(self) -> int:
        """Kill every process of the agent's user, however detached; return how many survived (0 is the promise)."""
        ...

    def set_deadline(self, seconds: float | None) -> None:
        """Let everything of the agent be killed ``seconds`` from now, whoever is connected then, and nothing of it start after.

        Set again, it moves; None takes it back. Files, archives, usage and `poll` work on after it, and commands of root.
        """
        ...

    def read_file(self, path: str, *, max_bytes: int = 64 * 1024 * 1024, user: User = "agent") -> bytes:
        """Return a file's bytes.

        Raises:
            FileNotFoundError, IsADirectoryError, PermissionError: as open() would.
            SandboxError: larger than ``max_bytes`` (code ``too_large``).
        """
        ...

    def write_file(self, path: str, data: bytes, *, user: User = "agent", mode: int = 0o644) -> None:
        """Write a file, making its parents. Raises what open() would; OSError(ENOSPC) when the disk limit is reached."""
        ...

    def read_into(self, path: str, target: SupportsWrite, *, max_bytes: int, user: User = "agent") -> int:
        """Write a file's bytes into ``target`` as they come and return their number; raises as `read_file`."""
        ...

    def write_from(self, path: str, source: SupportsRead, size: int, *, user: User = "agent", mode: int = 0o644) -> None:
        """Write the next ``size`` bytes of ``source`` as a file; see `write_file`."""
        ...

    def archive(self, path: str, *, user: User = "agent", room: Room | None = None, whole: bool = True) -> Iterator[bytes]:
        """Stream a directory as an uncompressed tar (member names relative to ``path``). Untrusted: the reader checks it.

        With ``room``, files that do not fit into it, are mostly holes or are not wanted come by name alone, with the record
        `LEFT_OUT`; so do folders that are not wanted, without what lies below them. What ``user`` cannot read, or lies too deep,
        is an error where the archive is to be ``whole``, else left out.
        """
        ...

    def extract(self, path: str, tar: BinaryIO, *, user: User = "agent") -> None:
        """Unpack a tar made by the harness under ``path``."""
        ...

    def usage(self) -> SandboxUsage:
        """Return what has been used so far."""
        ...

    def alive(self) -> bool:
        """Whether the sandbox still answers."""
        ...

    def close(self) -> None:
        """Destroy it: afterwards no process, mount, file, cgroup or network of it remains. May be called twice."""
        ...


def is_elsewhere(backend: object) -> bool:
    """Whether a backend's sandboxes, or an executor's runs, take none of this machine's cores, memory and GPUs."""
    return bool(getattr(backend, "elsewhere", False))


def not_promised(backend: Backend) -> Mapping[str, str]:
    """Return the groups of the contract's promises that a backend does not give, each with its reason."""
    return getattr(backend, "not_promised", {})


def is_of_images(backend: object) -> bool:
    """Whether a backend makes sandboxes of images, and so has a method ``has_image``; others show a host's own system."""
    return hasattr(backend, "has_image")


def why_they_wait(backend: Backend) -> Mapping[str, str]:
    """Return why sandboxes wait that were asked for, by id; nothing where a backend has no scheduler."""
    ask = getattr(backend, "waiting", None)
    return {} if ask is None else ask()


class Backend(Protocol):
    """Creates, finds and destroys sandboxes of one kind.

    A class may say more of itself: ``isolates = False`` where nothing is kept out of anything, and ``elsewhere = True`` where its
    sandboxes are on other machines, whose own scheduler says when there is room. ``not_promised`` names groups of the contract
    that it does not give, each with its reason. A method ``waiting`` says why sandboxes that were asked for wait, id by id,
    in the words of what they wait for. ``has_image(name, gpus)`` of one that makes sandboxes of images says whether an image of
    `images/` is there, in the variant that a sandbox with so many GPUs gets; None where that cannot be told from here.
    """

    name: str

    def check(self) -> list[Check]:
        """Say what this backend needs and whether it is there."""
        ...

    def create(self, spec: SandboxSpec) -> Sandbox:
        """Make a sandbox and wait until it answers.

        Raises:
            IsolationUnavailable: this host cannot isolate; says why and what to do.
            SandboxUnavailable: it did not come up.
        """
        ...

    def attach(self, id: str) -> Sandbox:
        """Return the running sandbox ``id`` of this or a dead harness.

        Raises:
            SandboxUnavailable: there is none that answers.
        """
        ...

    def list(self) -> list[str]:
        """Return the ids of everything of this backend that exists on the host, dead remains included."""
        ...

    def destroy(self, id: str) -> None:
        """Remove ``id`` and all remains of it; fine if there are none."""
        ...
