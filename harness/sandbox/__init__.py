"""Isolated machine-like places: one seam, several backends, one implementation of exec.

Who uses sandboxes needs the names below; who writes a backend finds `create_execd` and `attach_execd` in `bringing_up`, and tests
of what stands above the seam have `ScriptedBackend` in `scripted`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from harness.sandbox.base import Backend as Backend
    from harness.sandbox.base import Check as Check
    from harness.sandbox.base import ExecResult as ExecResult
    from harness.sandbox.base import Mount as Mount
    from harness.sandbox.base import ProcessStatus as ProcessStatus
    from harness.sandbox.base import Relay as Relay
    from harness.sandbox.base import Sandbox as Sandbox
    from harness.sandbox.base import SandboxSpec as SandboxSpec
    from harness.sandbox.host import SandboxHost as SandboxHost
    from harness.sandbox.registry import get_backend as get_backend

# Loaded at first use: the interpreter that makes a sandbox passes through here, and must neither wait nor need packages for it.
_HOMES = {
    "Backend": "base",
    "Check": "base",
    "ExecResult": "base",
    "Mount": "base",
    "ProcessStatus": "base",
    "Relay": "base",
    "Sandbox": "base",
    "SandboxHost": "host",
    "SandboxSpec": "base",
    "get_backend": "registry",
}
__all__ = sorted(_HOMES)


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return [*globals(), *_HOMES]
