"""From a host to a sandbox that answers: the one way for every backend that runs execd."""

from __future__ import annotations

from typing import Protocol

from harness.sandbox.base import SandboxSpec
from harness.sandbox.client import ExecdSandbox
from harness.sandbox.folder import SandboxFolder
from harness.sandbox.host import SandboxHost
from harness.sandbox.this_host import check_spec
from harness.spec.errors import SandboxUnavailable


class LocalHost(SandboxHost, Protocol):
    """A sandbox on this host: it has a folder, and can be built."""

    folder: SandboxFolder

    def build(self, spec: SandboxSpec) -> None:
        """Make all of it but the folder and start execd; returns when that listens. What it leaves on a failure is destroyed."""
        ...


def create_execd(spec: SandboxSpec, host: LocalHost) -> ExecdSandbox:
    """Make the sandbox and wait until it answers; a failure leaves nothing behind.

    Raises:
        SandboxUnavailable: it did not come up.
        DojoError, OSError: from ``host.build``.
    """
    check_spec(spec)
    host.folder.create(spec)
    try:
        host.build(spec)
        return _answering(spec, host, "did not come up", hint="`dojo doctor` shows what is there")
    except BaseException:
        host.destroy()
        raise


def attach_execd(spec: SandboxSpec, host: SandboxHost) -> ExecdSandbox:
    """Return the sandbox that runs on ``host``, made by this or a dead harness.

    Raises:
        SandboxUnavailable: it does not answer.
    """
    return _answering(spec, host, "is dead", hint="destroy it and make a new one")


def _answering(spec: SandboxSpec, host: SandboxHost, otherwise: str, hint: str) -> ExecdSandbox:
    sandbox = ExecdSandbox(spec, host)
    if not sandbox.alive():
        death = host.cause_of_death()
        raise SandboxUnavailable(f"the sandbox {spec.id!r} {otherwise}: {death.text}", hint=hint, death=death)
    return sandbox
