"""The Docker engine of this host: one client for each process, and its errors in our words."""

from __future__ import annotations

import contextlib
import functools
import os
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from harness.extras import require
from harness.spec.errors import MissingError, SandboxError, SandboxUnavailable

if TYPE_CHECKING:
    from docker import DockerClient

# Stopping a container of many processes on a loaded machine takes a while; an engine that is silent for longer is stuck.
_TIMEOUT_S = 120
# As many sandboxes may be made at once without waiting for a connection.
_CONNECTIONS = 256
_START = "start it (systemctl start docker; without systemd: scripts/engine.sh as root), or use --sandbox namespace"


def client() -> DockerClient:
    """Return this process's client of the engine.

    Raises:
        MissingError: no engine answers, or it is on another machine, or the Python package is not installed.
    """
    return _client(os.getpid())  # a client must not be shared over a fork


@functools.lru_cache(maxsize=1)
def _client(pid: int) -> DockerClient:
    require("docker")
    import docker
    from docker.errors import DockerException

    address = os.environ.get("DOCKER_HOST", "")
    if address and not address.startswith("unix://"):
        raise MissingError(
            f"DOCKER_HOST={address!r} is an engine on another machine, and sandboxes share folders with this one",
            hint="run dojo on that machine, or unset DOCKER_HOST",
        )
    try:
        found = docker.from_env(timeout=_TIMEOUT_S, max_pool_size=_CONNECTIONS)
        found.ping()
    except DockerException as exc:
        raise MissingError(f"no Docker engine answers: {_first_line(exc)}", hint=_START) from exc
    return found


@contextlib.contextmanager
def speaking(what: str) -> Iterator[None]:
    """Turn what the engine answers while doing ``what`` into our errors.

    Raises:
        MissingError: an image is not there.
        SandboxUnavailable: the engine does not answer, or could not do it.
        SandboxError: it refuses.
    """
    import requests
    from docker.errors import APIError, DockerException, ImageNotFound

    try:
        yield
    except ImageNotFound as exc:
        raise MissingError(
            f"{what}: {exc.explanation}", hint="`dojo images build` makes the images; `dojo images list` shows them"
        ) from exc
    except APIError as exc:
        if exc.is_server_error():
            raise SandboxUnavailable(f"{what}: the Docker engine failed: {exc.explanation}", hint="`dojo doctor docker`") from exc
        raise SandboxError(f"{what}: the Docker engine refuses: {exc.explanation}", hint="`dojo doctor docker`") from exc
    except (requests.exceptions.RequestException, DockerException) as exc:
        _client.cache_clear()
        raise SandboxUnavailable(f"{what}: the Docker engine does not answer: {_first_line(exc)}", hint=_START) from exc


def facts() -> dict[str, Any]:
    """Return what the engine says of itself (`docker info`).

    Raises:
        MissingError, SandboxUnavailable: no engine answers.
    """
    engine = client()
    with speaking("asking the engine"):
        found: dict[str, Any] = engine.info()
    return found


def security(found: dict[str, Any]) -> set[str]:
    """Return the names among the engine's security options: apparmor, seccomp, rootless, userns and so on."""
    names = (option.split(",")[0] for option in found.get("SecurityOptions") or ())
    return {name.removeprefix("name=") for name in names}


def _first_line(exc: Exception) -> str:
    return (str(exc).splitlines() or [type(exc).__name__])[0][:300]
