"""Which executors there are: the built-in ones and those of installed packages (entry points in the group ``dojo.executors``).

An entry point names a callable that takes a `Work` and returns an `Executor`.
"""

from __future__ import annotations

from importlib.metadata import EntryPoint, entry_points

from harness.executor.base import Executor, Work
from harness.spec.errors import MissingError, NotFoundError

GROUP = "dojo.executors"


def executor_names() -> list[str]:
    """Return the names that `get_executor` knows."""
    return sorted({"local", "kubernetes", "slurm", *(point.name for point in _installed())})


def get_executor(name: str, work: Work) -> Executor:
    """Return the executor called ``name``. A built-in one cannot be replaced by an installed package.

    Raises:
        NotFoundError: there is none; says which there are.
        MissingError: an installed one cannot be loaded.
    """
    if name == "local":
        from harness.executor.local import LocalExecutor

        return LocalExecutor(work)
    if name == "kubernetes":
        from harness.executor.kubernetes import KubernetesExecutor

        return KubernetesExecutor(work)
    if name == "slurm":
        from harness.executor.slurm import SlurmExecutor

        return SlurmExecutor(work)
    for point in _installed():
        if point.name == name:
            return _load(point, work)
    raise NotFoundError.named("executor", name, executor_names())


def _installed() -> list[EntryPoint]:
    return list(entry_points(group=GROUP))


def _load(point: EntryPoint, work: Work) -> Executor:
    try:
        executor: Executor = point.load()(work)
    except Exception as exc:
        raise MissingError(
            f"the executor {point.name!r} ({point.value}) cannot be loaded: {exc}", hint="reinstall the package it comes from"
        ) from exc
    return executor
