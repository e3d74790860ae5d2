"""Loads a task's own code, so that its relative imports work wherever its folder lies.

``from ..shared.x import …`` in ``<domain>/<task>/prepare.py`` and ``from ...shared.x import …`` in ``tests/grader.py`` need the
domain's folder to be a package. Here it is one, under a name made of where it lies and what its code says, so that two versions
of a task, or two domains of one name, never meet. Bytecode is neither read nor written: it is told apart by seconds only.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import sys
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, SourceFileLoader
from pathlib import Path
from types import CodeType, ModuleType

SHARED = "shared"
"""The folder of a domain with the code that its tasks share."""

_PREFIX = "dojo_task_"
_TASK = "task"
_lock = threading.RLock()


@dataclass(frozen=True)
class _Domain:
    """A domain as one task of it sees it: its own folder and the shared one, and how far into its own it may reach."""

    folders: dict[str, Path]
    within: str

    def place(self, inside: str) -> Path:
        """Return where a module lies, without its suffix.

        Raises:
            ModuleNotFoundError: it is out of reach; says what is not.
        """
        head, *rest = inside.split(".")
        if head not in self.folders or (head == _TASK and self.within and rest and rest[0] != self.within):
            own = f"its task's {self.within}/" if self.within else "its task's folder"
            raise ModuleNotFoundError(f"{'/'.join([head, *rest])} is out of reach: this code may import from {own} and {SHARED}/")
        return self.folders[head].joinpath(*rest)


_domains: dict[str, _Domain] = {}


def load_task_module(task_dir: Path, name: str, *, within: str = "") -> ModuleType:
    """Load a module of a task; the same code in the same place is loaded once.

    Args:
        task_dir: the task's directory; the folder around it is its domain.
        name: the module, from the task's directory: ``prepare``, ``tests.grader``.
        within: the one folder of the task that it may import from; empty: all of the task. The domain's ``shared/`` is
            within reach always, other tasks never are.

    Raises:
        Exception: what the module raised while it was loaded.
    """
    task_dir = task_dir.resolve()
    folders = {_TASK: task_dir, SHARED: task_dir.parent / SHARED}
    package = _PREFIX + _key((task_dir / within, folders[SHARED]))
    with _lock:
        if package not in sys.modules:
            domain = ModuleType(package)
            domain.__path__ = []
            sys.modules[package] = domain
            _domains[package] = _Domain(folders, within)
            if _finder not in sys.meta_path:
                sys.meta_path.insert(0, _finder)
        try:
            return importlib.import_module(f"{package}.{_TASK}.{name}")
        except BaseException:
            # what did not load is loaded anew, and whole, the next time
            for loaded in [m for m in sys.modules if m == package or m.startswith(f"{package}.")]:
                del sys.modules[loaded]
            raise


def _key(folders: Sequence[Path]) -> str:
    digest = hashlib.sha256()
    for folder in folders:
        digest.update(f"{folder}\n".encode())
        for path in sorted(folder.rglob("*.py")):
            digest.update(f"{path.relative_to(folder)} {hashlib.sha256(path.read_bytes()).hexdigest()}\n".encode())
    return digest.hexdigest()[:20]


class _Finder(MetaPathFinder):
    """Finds the modules of loaded domains, and nothing that a digest or a sandbox would miss."""

    def find_spec(self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        package, _, inside = fullname.partition(".")
        if not inside or package not in _domains:
            return None
        place = _domains[package].place(inside)
        if place.is_dir():
            return _folder(fullname, place)
        file = place.with_name(place.name + ".py")
        if not file.is_file():
            raise ModuleNotFoundError(f"there is no {file}", name=fullname)
        return importlib.util.spec_from_file_location(fullname, file, loader=_Source(fullname, str(file)))


def _folder(fullname: str, place: Path) -> ModuleSpec | None:
    init = place / "__init__.py"
    if init.is_file():
        loader = _Source(fullname, str(init))
        return importlib.util.spec_from_file_location(fullname, init, loader=loader, submodule_search_locations=[str(place)])
    spec = ModuleSpec(fullname, None, is_package=True)
    spec.submodule_search_locations = [str(place)]
    return spec


class _Source(SourceFileLoader):
    def get_code(self, fullname: str) -> CodeType:
        """Compile the source as it is now."""
        path = self.get_filename(fullname)
        code: CodeType = self.source_to_code(self.get_data(path), path)
        return code


_finder = _Finder()
