"""Which backends there are: the built-in ones and those of installed packages (entry points in the group ``dojo.sandboxes``)."""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import EntryPoint, entry_points

from harness.sandbox.base import Backend
from harness.spec.errors import MissingError, NotFoundError

GROUP = "dojo.sandboxes"


def _namespace() -> Backend:
    from harness.sandbox.namespace import NamespaceBackend

    return NamespaceBackend()


def _unsafe_local() -> Backend:
    from harness.sandbox.unsafe_local import UnsafeLocalBackend

    return UnsafeLocalBackend()


def _docker() -> Backend:
    from harness.sandbox.docker import DockerBackend

    return DockerBackend()


def _kubernetes() -> Backend:
    from harness.sandbox.kubernetes import KubernetesBackend

    return KubernetesBackend()


_BUILT_IN: dict[str, Callable[[], Backend]] = {
    "namespace": _namespace,
    "docker": _docker,
    "kubernetes": _kubernetes,
    "unsafe-local": _unsafe_local,
}


def backend_names() -> list[str]:
    """Return the names that `get_backend` knows."""
    return sorted({*_BUILT_IN, *(point.name for point in _installed())})


def get_backend(name: str) -> Backend:
    """Return the backend called ``name``. A built-in one cannot be replaced by an installed package.

    Raises:
        NotFoundError: there is none; says which there are.
        MissingError: an installed one cannot be loaded.
    """
    if name in _BUILT_IN:
        return _BUILT_IN[name]()
    for point in _installed():
        if point.name == name:
            return _load(point)
    raise NotFoundError.named("sandbox backend", name, backend_names())


def _installed() -> list[EntryPoint]:
    return list(entry_points(group=GROUP))


def _load(point: EntryPoint) -> Backend:
    try:
        backend: Backend = point.load()()
    except Exception as exc:
        raise MissingError(
            f"the sandbox backend {point.name!r} ({point.value}) cannot be loaded: {exc}",
            hint="reinstall the package it comes from",
        ) from exc
    return backend
