"""dojo's sandboxes for Harbor: an exported task runs in any of our backends, without a container engine.

    harbor run -p TASK -a oracle --env harness.interop.harbor_environment:DojoEnvironment [--ek backend=docker]

Harbor builds an image from a task's Dockerfiles; here the folders that `dojo tasks export` puts beside them are shown read-only
where the Dockerfiles copy them to. Other tasks are refused. Network there is none, for the agent as for the verifier.
`scripts/harbor.sh` makes a venv with Harbor (0.26.0 is tested; it needs Python 3.12, and our training libraries stay in theirs).
"""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from harbor.environments.base import BaseEnvironment, ExecResult
from harbor.environments.capabilities import EnvironmentCapabilities

from harness.project import project_root
from harness.sandbox.base import Mount, Sandbox, SandboxSpec, User
from harness.sandbox.client import Cancellation, ExecdSandbox
from harness.sandbox.registry import get_backend
from harness.sandbox.this_host import SYSTEM_PATH
from harness.session.collect import collect_readable, submission_caps
from harness.spec.errors import MissingError, SandboxError
from harness.spec.task import Limits

_USERS: dict[str, User] = {"agent": "agent", "1000": "agent", "root": "root", "0": "root"}
_WORK = "/workspace"
# What an export has on each side, and where its Dockerfile copies that to.
_AGENT_SIDE = {"data": "/data", "model": "/models/base"}
_VERIFIER_SIDE = {".": "/tests", "model": "/models/base", "harness": "/opt/grader/harness"}
# Harbor writes here from outside; the rest of the root is read-only. These lie on the host's disk, not on the sandbox's.
_WRITABLE = ("/logs", "/solution")
# Harbor waits for few commands of one environment at a time; each takes a thread.
_THREADS = 16
# Where a task names no limit.
_DEFAULT = Limits(cpus=2.0, memory_mb=4096, disk_mb=8192)

T = TypeVar("T")


def _default_python() -> Path:
    own = project_root() / ".venv" / "bin" / "python"
    return own if own.exists() else Path(sys.executable)


class DojoEnvironment(BaseEnvironment):  # type: ignore[misc]  # Harbor is in a venv of its own
    """One of our sandboxes behind Harbor's interface.

    Options (``--ek name=value``): ``backend`` (default ``namespace``); ``python``, the interpreter of the venv that agents train
    and graders score with (default: this checkout's ``.venv``, else the one that runs Harbor).
    """

    def __init__(self, *args: Any, backend: str = "namespace", python: str = "", **kwargs: Any) -> None:
        self._backend = get_backend(backend)
        self._python = Path(python) if python else _default_python()
        self._sandbox: Sandbox | None = None
        self._written: Path | None = None
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="dojo-harbor")
        super().__init__(*args, **kwargs)

    @staticmethod
    def type() -> str:
        """Return the name that Harbor records."""
        return "dojo"

    @property
    def capabilities(self) -> EnvironmentCapabilities:
        """Say what sandboxes can do for Harbor; everything else it asks for is refused before a start."""
        return EnvironmentCapabilities(disable_internet=True, gpus=True)

    def _validate_definition(self) -> None:
        if missing := [name for name in self._side() if not (self.environment_dir / name).is_dir()]:
            raise FileNotFoundError(
                f"{self.environment_dir} has no {missing[0]}/: only what `dojo tasks export` wrote runs in dojo's sandboxes"
            )
        if not self._network_disabled:
            raise ValueError("a dojo sandbox has no network: the task must say network_mode = 'no-network'")

    async def start(self, force_build: bool) -> None:
        """Make the sandbox; there is nothing to build.

        Raises:
            MissingError, IsolationUnavailable: the backend or the training venv is not to be had here; says what to do.
        """
        self._written = Path(tempfile.mkdtemp(prefix="dojo-harbor-"))
        mounts = [*self._task_mounts(), *self._written_mounts(self._written)]
        environment = self._environment()
        if self._backend.name != "docker":  # images have a Python of their own
            prefix, base = await self._in_thread(self._training_python)
            mounts += [Mount(place, str(place)) for place in {prefix, base} if not place.is_relative_to("/usr")]
            environment["PATH"] = f"{prefix}/bin:{SYSTEM_PATH}"
        spec = SandboxSpec(
            f"pid{os.getpid()}-harbor-{uuid.uuid4().hex[:8]}",
            self._limits(),
            tuple(mounts),
            env={**environment, **self._startup_env()},
            labels={"harbor.session": self.session_id},
            image="grader" if self._is_verifier() else "task",
        )
        self._sandbox = await self._in_thread(partial(self._backend.create, spec))
        await self.ensure_dirs(self._mount_targets(writable_only=True))

    async def stop(self, delete: bool) -> None:
        """Destroy the sandbox with all that is in it; nothing of it can be kept."""
        if self._sandbox is not None:
            await self._in_thread(self._sandbox.close)
            self._sandbox = None
        if self._written is not None:
            await self._in_thread(partial(shutil.rmtree, self._written, ignore_errors=True))
            self._written = None

    async def exec(
        self,
        command: str,
        cwd: str | None = None,
        env: dict[str, str] | None = None,
        timeout_sec: int | None = None,
        user: str | int | None = None,
    ) -> ExecResult:
        """Run a shell line; a deadline or a cancelled call kills its whole process tree.

        Raises:
            RuntimeError: the deadline passed, as Harbor's own environments say it.
        """
        argv = ["/bin/bash", "-c", command]
        call: dict[str, Any] = {"cwd": cwd, "env": self._merge_env(env), "user": self._user(user), "timeout_s": timeout_sec}
        cancellation = Cancellation()
        if isinstance(self._live(), ExecdSandbox):
            call["cancellation"] = cancellation
        try:
            done = await self._in_thread(partial(self._live().exec, argv, **call))
        except asyncio.CancelledError:
            cancellation.cancel()
            raise
        if done.timed_out:
            raise RuntimeError(f"Command timed out after {timeout_sec} seconds")
        stdout, stderr = (stream.decode(errors="replace") for stream in (done.stdout, done.stderr))
        if done.truncated:
            stderr += "\n[the middle of the output was cut out]"
        return ExecResult(stdout=stdout, stderr=stderr, return_code=done.exit_code)

    async def upload_file(self, source_path: Path | str, target_path: str) -> None:
        """Write a file of the host's into the sandbox, as root."""
        source = Path(source_path)
        data, mode = source.read_bytes(), source.stat().st_mode & 0o777
        await self._in_thread(partial(self._live().write_file, target_path, data, user="root", mode=mode))

    async def upload_dir(self, source_dir: Path | str, target_dir: str) -> None:
        """Write a folder's content into the sandbox, as root."""
        await self.exec(f'mkdir -p "{target_dir}"', user="root")
        await self._in_thread(partial(self._upload, Path(source_dir), target_dir))

    async def download_file(self, source_path: str, target_path: Path | str) -> None:
        """Fetch a file; at most as large as the sandbox's disk."""
        most = self._limits().disk_mb * 1024 * 1024
        data = await self._in_thread(partial(self._live().read_file, source_path, max_bytes=most, user="root"))
        Path(target_path).parent.mkdir(parents=True, exist_ok=True)
        Path(target_path).write_bytes(data)

    async def download_dir(self, source_dir: str, target_dir: Path | str) -> None:
        """Fetch a folder's plain files; links, devices and whatever a submission may not hold are left out and logged.

        Raises:
            FileNotFoundError: there is no such folder.
        """
        if not await self.is_dir(source_dir, user="root"):
            raise FileNotFoundError(f"{source_dir} is no folder in the sandbox")
        for line in await self._in_thread(partial(self._download, source_dir, Path(target_dir))):
            self.logger.warning(f"{source_dir}: left out: {line}")

    def _upload(self, source: Path, target: str) -> None:
        with tempfile.TemporaryFile() as packed:
            with tarfile.open(fileobj=packed, mode="w") as tar:
                for path in sorted(source.rglob("*")):
                    tar.add(path.resolve(), arcname=str(path.relative_to(source)), recursive=False)
            packed.seek(0)
            self._live().extract(target, packed, user="root")

    def _download(self, source: str, target: Path) -> list[str]:
        with tempfile.TemporaryDirectory(prefix="dojo-harbor-") as folder:
            fetched = Path(folder) / "fetched"
            left_out = collect_readable(self._live().archive(source, user="root"), fetched, submission_caps(self._limits()))
            shutil.copytree(fetched, target, dirs_exist_ok=True)
        return left_out

    def _live(self) -> Sandbox:
        if self._sandbox is None:
            raise SandboxError("the environment was not started, or is stopped", hint="start it first")
        return self._sandbox

    def _is_verifier(self) -> bool:
        return bool(self.environment_dir.name == "tests")

    def _side(self) -> dict[str, str]:
        return _VERIFIER_SIDE if self._is_verifier() else _AGENT_SIDE

    def _task_mounts(self) -> list[Mount]:
        return [Mount(self.environment_dir / name, target) for name, target in self._side().items()]

    def _written_mounts(self, folder: Path) -> list[Mount]:
        for target in _WRITABLE:
            (folder / target[1:]).mkdir()
            (folder / target[1:]).chmod(0o777)
        return [Mount(folder / target[1:], target, writable=True) for target in _WRITABLE]

    def _training_python(self) -> tuple[Path, Path]:
        """Return the folders of the training venv and of the Python it was made with."""
        if not self._python.exists():
            raise MissingError(f"{self._python} is not there", hint="run make install, or name a venv: --ek python=PATH")
        code = "import sys; print(sys.prefix, sys.base_prefix, sep='\\n')"
        found = subprocess.run([str(self._python), "-c", code], capture_output=True, text=True, check=True).stdout
        prefix, base = found.splitlines()
        return Path(prefix).resolve(), Path(base).resolve()

    def _environment(self) -> dict[str, str]:
        return {
            "OMP_NUM_THREADS": str(max(1, int(self._limits().cpus))),
            "OMP_WAIT_POLICY": "passive",
            "HF_HUB_OFFLINE": "1",
            "TOKENIZERS_PARALLELISM": "false",
            "PYTHONPATH": "/opt/grader" if self._is_verifier() else "",
        }

    def _limits(self) -> Limits:
        asked = self.task_env_config
        return Limits(
            cpus=float(asked.cpus or _DEFAULT.cpus),
            memory_mb=asked.memory_mb or _DEFAULT.memory_mb,
            disk_mb=asked.storage_mb or _DEFAULT.disk_mb,
            gpus=asked.gpus or 0,
        )

    def _user(self, asked: str | int | None) -> User:
        name = str(self._resolve_user(asked) if self._resolve_user(asked) is not None else "agent")
        if name not in _USERS:
            raise ValueError(f"there is no user {name!r} in a dojo sandbox, only {', '.join(_USERS)}")
        return _USERS[name]

    async def _in_thread(self, call: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._threads, call)
