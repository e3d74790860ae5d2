"""What execd is told at its start: frozen, from the backend's JSON."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, NamedTuple

# privileged: root made the sandbox; commands become another user.
# nested: an ordinary user made it, one user id is all there is; each command gets namespaces of its own below execd's.
# open: no isolation (`unsafe-local`); commands run as who started the harness.
Mode = Literal["privileged", "nested", "open"]

# who the agent is inside where no other user id is to be had, and in user namespaces of a sandbox's own; user and group alike
AGENT_ID = 1000
# root's own folder inside: nothing of the agent may look into it
PRIVATE_DIR = "/run/dojo"


class RelaySettings(NamedTuple):
    """A loopback port, the descriptor of the socket's folder, and the socket's name in it."""

    port: int
    directory: int
    name: str


class Settings(NamedTuple):
    """Everything execd knows about its sandbox."""

    mode: Mode
    env: Mapping[str, str]
    agent: int = AGENT_ID  # its user id and its group id
    workspace: str = "/workspace"
    spool: str = f"{PRIVATE_DIR}/spool"
    cgroup_procs: tuple[int, ...] = ()
    oom_counter: int = -1
    cpu_counter: int = -1  # where nobody counts outside: the container's own count
    rlimits: Mapping[str, int] = {}
    relays: tuple[RelaySettings, ...] = ()
    paths: Mapping[str, str] = {}

    def real_path(self, path: str) -> str:
        """Return where ``path`` really lies: relative ones below the workspace; without isolation, moved by ``paths``."""
        if not path.startswith("/"):
            path = f"{self.workspace}/{path}"
        for shown, real in self.paths.items():
            if path == shown or path.startswith(f"{shown}/"):
                return real + path[len(shown) :]
        return path

    def real_text(self, text: str) -> str:
        """Return an argument or environment value; without isolation, one that is a path inside is moved."""
        return self.real_path(text) if self.paths and text.startswith("/") else text
