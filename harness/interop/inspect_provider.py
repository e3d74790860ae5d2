"""dojo's sandboxes for Inspect: ``sandbox="dojo"`` runs an evaluation's samples in any of our backends.

```python
Task(..., sandbox="dojo")                                                     # namespaces
Task(..., sandbox=SandboxEnvironmentSpec("dojo", DojoSandboxConfig(backend="docker")))
```

Semantics are Inspect's (`inspect_ai.util.SandboxEnvironment`, 0.3.285), with these differences: a deadline is kept exactly, so
timed-out commands are not run again; output above the limit is always an `OutputLimitExceededError`; users are ``agent`` (1000,
the default) and ``root``, because the system inside is read-only and no others can be added.
"""

from __future__ import annotations

import functools
import os
import uuid
from collections.abc import Callable
from pathlib import PurePath
from typing import Any, Literal, TypeVar

import anyio
from inspect_ai.util import (
    ExecResult,
    OutputLimitExceededError,
    SandboxEnvironment,
    SandboxEnvironmentConfigType,
    SandboxEnvironmentLimits,
    SandboxUnavailableError,
    SandboxUserUnsupportedError,
    sandboxenv,
)
from pydantic import BaseModel, ConfigDict

from harness.sandbox.base import Sandbox, SandboxSpec, User
from harness.sandbox.client import Cancellation, ExecdSandbox
from harness.sandbox.registry import get_backend
from harness.spec.errors import DojoError, SandboxError, SandboxUnavailable
from harness.spec.task import Limits

_USERS: dict[str, User] = {"agent": "agent", "1000": "agent", "root": "root", "0": "root"}
_NOT_EXECUTABLE = 126
# one thread waits for each running command; Inspect has its own cap on how many there are
_THREADS = 512

T = TypeVar("T")


class DojoSandboxConfig(BaseModel):
    """What a sample's sandbox is."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    backend: str = "namespace"
    limits: Limits = Limits(cpus=2.0, memory_mb=4096, pids=512, disk_mb=4096)
    user: Literal["agent", "root"] = "agent"


@sandboxenv(name="dojo")
class DojoSandboxEnvironment(SandboxEnvironment):  # type: ignore[misc]  # Inspect is in a venv of its own
    """One of our sandboxes behind Inspect's interface."""

    def __init__(self, sandbox: Sandbox, user: User = "agent") -> None:
        super().__init__()
        self.sandbox = sandbox
        self.user: User = user
        self._threads = anyio.CapacityLimiter(_THREADS)

    @classmethod
    async def sample_init(
        cls, task_name: str, config: SandboxEnvironmentConfigType | None, metadata: dict[str, str]
    ) -> dict[str, SandboxEnvironment]:
        """Make the sandbox of a sample.

        Raises:
            MissingError, IsolationUnavailable: the backend is not to be had here; says what to do.
        """
        chosen = _config(config)
        backend = get_backend(chosen.backend)
        spec = SandboxSpec(f"pid{os.getpid()}-inspect-{uuid.uuid4().hex[:8]}", chosen.limits, labels={"inspect.task": task_name})
        sandbox = await anyio.to_thread.run_sync(backend.create, spec)
        return {"default": cls(sandbox, chosen.user)}

    @classmethod
    async def sample_cleanup(
        cls,
        task_name: str,
        config: SandboxEnvironmentConfigType | None,
        environments: dict[str, SandboxEnvironment],
        interrupted: bool,
    ) -> None:
        """Destroy a sample's sandbox with all that is in it."""
        with anyio.CancelScope(shield=True):
            for environment in environments.values():
                await anyio.to_thread.run_sync(environment.as_type(cls).sandbox.close)

    @classmethod
    async def cli_cleanup(cls, id: str | None) -> None:
        """Remove what samples of dead processes left (``inspect sandbox cleanup dojo``)."""
        for name in ("namespace", "docker"):
            backend = get_backend(name)
            for found in backend.list():
                process, marker, _ = found.removeprefix("pid").partition("-inspect-")
                if marker and (id is None or id == found) and not os.path.exists(f"/proc/{process}"):
                    backend.destroy(found)

    @classmethod
    def config_deserialize(cls, config: dict[str, Any]) -> BaseModel:
        """Read a configuration from a log."""
        return DojoSandboxConfig.model_validate(config)

    async def exec(
        self,
        cmd: list[str],
        input: str | bytes | None = None,
        cwd: str | None = None,
        env: dict[str, str] | None = None,
        user: str | None = None,
        timeout: int | None = None,
        timeout_retry: bool = True,
        concurrency: bool = True,
    ) -> ExecResult[str]:
        """Run a command; cancelling the call kills its whole tree."""
        stdin = input.encode() if isinstance(input, str) else input or b""
        limit = SandboxEnvironmentLimits.MAX_EXEC_OUTPUT_SIZE
        call: dict[str, Any] = {
            "stdin": stdin, "cwd": cwd, "env": env, "user": self._user(user), "timeout_s": timeout, "output_cap": limit,
        }  # fmt: skip
        cancellation = Cancellation()
        if isinstance(self.sandbox, ExecdSandbox):
            call["cancellation"] = cancellation
        try:
            done = await self._in_thread(functools.partial(self.sandbox.exec, cmd, **call), abandon=True)
        except anyio.get_cancelled_exc_class():
            cancellation.cancel()
            raise
        stdout, stderr = (stream.decode(errors="replace") for stream in (done.stdout, done.stderr))
        if done.timed_out:
            raise TimeoutError(f"the command did not end within {timeout} s")
        if done.truncated:
            raise OutputLimitExceededError(SandboxEnvironmentLimits.MAX_EXEC_OUTPUT_SIZE_STR, stdout or stderr)
        if done.exit_code == _NOT_EXECUTABLE and "permission denied" in stderr.lower():
            raise PermissionError(stderr.strip())
        return ExecResult(done.exit_code == 0, done.exit_code, stdout, stderr)

    async def write_file(self, file: str, contents: str | bytes) -> None:
        """Write a file, making its parents."""
        data = contents.encode() if isinstance(contents, str) else contents
        await self._in_thread(functools.partial(self.sandbox.write_file, file, data, user=self.user))

    async def read_file(self, file: str, text: bool = True) -> Any:
        """Return a file's text, newlines as they are, or its bytes."""
        limit = SandboxEnvironmentLimits.MAX_READ_FILE_SIZE
        try:
            data = await self._in_thread(functools.partial(self.sandbox.read_file, file, max_bytes=limit, user=self.user))
        except SandboxError as exc:
            if exc.code != "too_large":
                raise
            raise OutputLimitExceededError(SandboxEnvironmentLimits.MAX_READ_FILE_SIZE_STR, None) from exc
        return data.decode() if text else data

    def default_polling_interval(self) -> float:
        """Polling costs a millisecond here."""
        return 0.2

    def _user(self, asked: str | None) -> User:
        if asked is None:
            return self.user
        if asked not in _USERS:
            raise SandboxUserUnsupportedError(f"there is no user {asked!r} in a dojo sandbox, only {', '.join(_USERS)}")
        return _USERS[asked]

    async def _in_thread(self, call: Callable[[], T], *, abandon: bool = False) -> T:
        try:
            return await anyio.to_thread.run_sync(call, abandon_on_cancel=abandon, limiter=self._threads)
        except SandboxUnavailable as exc:
            raise SandboxUnavailableError(f"{exc.message}: {exc.hint}") from exc


def _config(config: SandboxEnvironmentConfigType | None) -> DojoSandboxConfig:
    """Return what a task asked for: nothing, a backend's name, or a configuration.

    Raises:
        DojoError: a configuration of another kind.
    """
    if config is None:
        return DojoSandboxConfig()
    if isinstance(config, str):
        # Inspect takes a text for a file's name and gives it with the task's folder before it
        return DojoSandboxConfig(backend=PurePath(config).name)
    if isinstance(config, DojoSandboxConfig):
        return config
    raise DojoError(f"{type(config).__name__} is no configuration of a dojo sandbox", hint="give a DojoSandboxConfig")
