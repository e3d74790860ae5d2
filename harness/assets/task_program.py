"""A task's program: its ``prepare.py`` loaded, what it says it fetches, and what it builds."""

from __future__ import annotations

from types import ModuleType

from harness.assets.task_dir import Task
from harness.spec.errors import DojoError, SpecError
from harness.taskkit.building.data import BuildContext, TaskData
from harness.taskkit.building.hub import HubData
from harness.taskkit.building.package import PackageFile
from harness.taskkit.scoring.loading import load_task_module


def load_build(task: Task) -> ModuleType:
    """Load a task's ``prepare.py``; it may import its neighbours and its domain's ``shared/``.

    Raises:
        SpecError: there is none, or it does not load.
    """
    path = task.path / "prepare.py"
    if not path.is_file():
        raise SpecError(f"{path}: there is no data preparation", hint="docs/write-a-task.md shows one")
    try:
        module = load_task_module(task.path, "prepare")
    except Exception as exc:
        raise SpecError(f"{path}: does not load: {exc!r}", hint="run it with Python to see the whole error") from exc
    if not callable(getattr(module, "build", None)):
        raise SpecError(f"{path}: has no build(profile, context)", hint="docs/write-a-task.md shows one")
    return module


def declared_fetches(task: Task, profile: str) -> tuple[PackageFile | HubData, ...]:
    """Return what a task's ``prepare.py`` says it fetches for ``profile``, in ``FETCHES = {"mini": (…,), "full": (…,)}``.

    ``strict`` is made from what ``full`` is made from, where it is not named.

    Raises:
        SpecError: it says nothing.
    """
    found = _declared(load_build(task), profile)
    if found is None:
        raise SpecError(
            f"{task.path / 'prepare.py'} does not declare what {profile} fetches",
            hint='add FETCHES = {"mini": (…,), "full": (…,)} with its PackageFile and HubData objects',
        )
    return found


def _declared(module: ModuleType, profile: str) -> tuple[PackageFile | HubData, ...] | None:
    declared = getattr(module, "FETCHES", {})
    found = declared.get(profile, declared.get("full") if profile == "strict" else None)
    return None if found is None else tuple(found)


def _name(source: PackageFile | HubData) -> str:
    return source.pin if isinstance(source, PackageFile) else source.repo


def built(task: Task, context: BuildContext) -> TaskData:
    """Call a task's ``build`` and return what it gave.

    Raises:
        SpecError: it failed, gave something else, or fetched what it does not declare.
    """
    module, profile = load_build(task), context.profile
    try:
        data = module.build(profile, context)
    except DojoError:
        raise
    except Exception as exc:
        raise SpecError(f"{task.path / 'prepare.py'}: build({profile!r}) failed: {exc!r}", hint="mend the task") from exc
    declared = {_name(source) for source in _declared(module, profile) or ()}
    if hasattr(module, "FETCHES") and declared != context.fetched.keys():
        raise SpecError(
            f"{task.path / 'prepare.py'}: FETCHES names {sorted(declared)} for {profile}, fetched was {sorted(context.fetched)}",
            hint="declare what build() fetches",
        )
    if not isinstance(data, TaskData):
        raise SpecError(f"{task.path / 'prepare.py'}: build() gave a {type(data).__name__}", hint="return a TaskData")
    return data
