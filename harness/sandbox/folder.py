"""What one sandbox leaves on the host: a folder with its specification, its sockets and who its first process is.

```
<runtime root>/<kind>/<id>/
  state.json   the specification            c, x         execd's sockets: control, commands
  launcher     pid and start time           init         the same of the first process inside
  lock         shared by all that lives     log          what execd had to say
```
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import re
import shutil
import signal
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from harness.sandbox.base import Mount, Relay, SandboxSpec
from harness.sandbox.host import Channel
from harness.sandbox.runtime import runtime_root
from harness.spec.errors import SandboxError, SandboxUnavailable, UsageError
from harness.spec.outcome import Cause, Death
from harness.spec.task import Limits

_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,79}")
_DEATH_WAIT_S = 20.0
# a killed process may be seen running for a moment after its sockets are closed
_DYING_S = 0.5
_SOCKETS: dict[Channel, str] = {"control": "c", "commands": "x"}


class SandboxFolder:
    """The folder of the sandbox ``id`` of backends of one ``kind``."""

    def __init__(self, kind: str, id: str) -> None:
        refuse_bad_id(id)
        self.id = id
        self.path = runtime_root() / kind / id

    @classmethod
    def ids(cls, kind: str) -> list[str]:
        """Return the ids of all folders of this kind."""
        root = runtime_root() / kind
        return sorted(child.name for child in root.iterdir()) if root.is_dir() else []

    def create(self, spec: SandboxSpec) -> None:
        """Make the folder and write the specification.

        Raises:
            SandboxError: the id is taken (code ``exists``).
        """
        self.path.parent.mkdir(mode=0o700, exist_ok=True)
        try:
            self.path.mkdir(mode=0o700)
        except FileExistsError:
            raise SandboxError(f"there is a sandbox {self.id!r} already", hint="destroy it first", code="exists") from None
        part = self.path / "state.new"
        part.touch(0o600)
        part.write_text(json.dumps(to_json(spec)))
        part.rename(self.path / "state.json")

    def spec(self) -> SandboxSpec:
        """Return the specification.

        Raises:
            SandboxUnavailable: there is no such sandbox, or it was never finished.
        """
        try:
            return from_json(json.loads((self.path / "state.json").read_text()))
        except FileNotFoundError:
            raise SandboxUnavailable(
                f"there is no sandbox {self.id!r} on this host", hint="it was destroyed, or never made"
            ) from None

    def first_process(self) -> int | None:
        """Return the pid of the first process inside, None if it is not running."""
        return self._recorded("init")

    def connect(self, channel: Channel) -> socket.socket:
        """Open a connection to execd. Raises OSError when nobody answers."""
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            sock.connect(str(self.path / _SOCKETS[channel]))
        except OSError:
            sock.close()
            raise
        return sock

    def cause_of_death(self) -> Death:
        """Return what is known about why execd does not answer."""
        if not self.path.exists():
            return Death(Cause.SANDBOX, "it was destroyed")
        deadline = time.monotonic() + _DYING_S
        while (running := self.first_process() is not None) and time.monotonic() < deadline:
            time.sleep(0.01)
        state = "its first process runs" if running else "its first process is gone"
        log = self._log()
        return Death(Cause.SANDBOX, f"{state}; execd's last words: {log}" if log else state)

    def _log(self) -> str:
        try:
            return (self.path / "log").read_text(errors="replace")[-2000:].strip()
        except FileNotFoundError:
            return ""

    def remove(self, kill_more: Callable[[], None]) -> None:
        """Kill everything of the sandbox and remove the folder.

        Args:
            kill_more: called again and again until nothing lives, beside killing the recorded processes.

        Raises:
            SandboxError: something does not die.
        """
        if not self.path.exists():
            kill_more()
            return
        deadline = time.monotonic() + _DEATH_WAIT_S
        with contextlib.suppress(FileNotFoundError), open(self.path / "lock", "ab") as lock:
            while True:
                for name in ("launcher", "init"):
                    if (pid := self._recorded(name)) is not None:
                        with contextlib.suppress(ProcessLookupError):
                            os.kill(pid, signal.SIGKILL)
                kill_more()
                with contextlib.suppress(BlockingIOError):
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    if self.first_process() is None:  # the last of its namespaces to go
                        break
                if time.monotonic() > deadline:
                    raise SandboxError(f"processes of the sandbox {self.id!r} do not die", hint="try again later")
                time.sleep(0.003)
            # a launcher that only now gets the lock finds no folder and ends
            shutil.rmtree(self.path, ignore_errors=True)
        while self.path.exists():  # one that was just born may have left a file in the folder while it was being emptied
            shutil.rmtree(self.path, ignore_errors=True)
            if time.monotonic() > deadline:
                raise SandboxError(f"the folder of the sandbox {self.id!r} cannot be removed", hint="try again later")
            time.sleep(0.003)

    def _recorded(self, name: str) -> int | None:
        try:
            record = json.loads((self.path / name).read_text())
            fields = Path(f"/proc/{record['pid']}/stat").read_text().rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            return None
        return int(record["pid"]) if fields[19] == record["started"] and fields[0] not in "ZX" else None


def refuse_bad_id(id: str) -> None:
    """Refuse what cannot be a file's name everywhere.

    Raises:
        UsageError: names it.
    """
    if not _ID.fullmatch(id):
        raise UsageError(f"a sandbox cannot be called {id!r}", hint="use up to 80 letters, digits, dots, dashes and underscores")


def to_json(spec: SandboxSpec) -> dict[str, Any]:
    """Return a specification as an object of JSON."""
    return {
        "id": spec.id,
        "limits": spec.limits.model_dump(),
        "mounts": [[str(m.source), m.target, m.writable, m.asset, m.digest] for m in spec.mounts],
        "relays": [[r.port, str(r.socket), r.service] for r in spec.relays],
        "env": dict(spec.env),
        "labels": dict(spec.labels),
        "image": spec.image,
        "gpu_owner": spec.gpu_owner,
    }


def from_json(raw: dict[str, Any]) -> SandboxSpec:
    """Return the specification that `to_json` wrote."""
    return SandboxSpec(
        id=raw["id"],
        limits=Limits.model_validate(raw["limits"]),
        mounts=tuple(Mount(Path(source), *rest) for source, *rest in raw["mounts"]),
        relays=tuple(Relay(port, Path(path), service) for port, path, service in raw["relays"]),
        env=raw["env"],
        labels=raw["labels"],
        image=raw["image"],
        gpu_owner=raw["gpu_owner"],
    )
