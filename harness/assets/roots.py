"""Where tasks and agents are looked for: the user's own folders first, then what dojo brings along.

Folders are shared and copied, so beside what can be used lies what cannot: it is listed with its fault and harms nothing else.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, Literal, TypeVar

from harness.project import bundled
from harness.spec.broken import Broken
from harness.spec.errors import DojoError, UsageError

T = TypeVar("T")


@dataclass(frozen=True)
class Place:
    """Where something with a name was found, and what of the same name it stands before (None: nothing)."""

    path: Path
    shadows: Path | None = None


@dataclass(frozen=True)
class Listing(Generic[T]):
    """What was found, by name, and what of it is broken."""

    found: tuple[T, ...]
    broken: tuple[Broken, ...]


def own_roots(kind: Literal["tasks", "agents"], given: Sequence[Path] | None = None) -> list[Path]:
    """Return the user's own folders: the given ones, else those of ``$DOJO_TASKS`` or ``$DOJO_AGENTS`` (``:`` between them).

    Raises:
        UsageError: one of them does not exist.
    """
    variable = f"DOJO_{kind.upper()}"
    named = [Path(part) for part in os.environ.get(variable, "").split(os.pathsep) if part] if given is None else given
    roots = [path.expanduser().resolve() for path in named]
    for root in roots:
        if not root.is_dir():
            raise UsageError(
                f"{root}, a folder to look for {kind} in, does not exist",
                hint=f"make it, or take it out of {variable}, `{kind}` in dojo.toml or Dojo({kind}=…)",
            )
    return roots


def search_roots(kind: Literal["tasks", "agents"], given: Sequence[Path] | None = None) -> list[Path]:
    """Return every folder to look in, each once; of two things with one name the earlier folder's counts.

    Raises:
        UsageError: one of the user's own does not exist.
    """
    return list(dict.fromkeys([*own_roots(kind, given), bundled(kind).resolve()]))


def look_in(root: Path, file: str, depth: int) -> tuple[list[Path], list[Broken]]:
    """Return the folders ``depth`` below ``root`` that hold ``file``, sorted, and those that cannot be looked into."""
    level, closed = [root], []
    for _ in range(depth):
        below: list[Path] = []
        for folder in level:
            try:
                below += sorted(each for each in folder.iterdir() if each.is_dir())
            except OSError as exc:
                closed.append(_closed(root, folder, exc))
        level = below
    holding = []
    for folder in level:
        try:
            os.stat(folder / file)
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError as exc:
            closed.append(_closed(root, folder, exc))
        else:
            holding.append(folder)
    return holding, closed


def _closed(root: Path, folder: Path, exc: OSError) -> Broken:
    return Broken(
        name=folder.relative_to(root).as_posix(),
        path=folder,
        message=f"{folder}: cannot be looked into: {exc.strerror}",
        hint=f"let yourself, as by `chmod u+rx {shlex.quote(str(folder))}`, or take it out of there",
    )


def listing(places: Mapping[str, Place], load: Callable[[Place], T], closed: Iterable[Broken]) -> Listing[T]:
    """Load everything that was found; what cannot be loaded is listed with its fault."""
    found, broken = [], list(closed)
    for name, place in places.items():
        try:
            found.append(load(place))
        except DojoError as exc:
            broken.append(Broken(name=name, path=place.path, code=exc.code, message=exc.message, hint=exc.hint))
    return Listing(tuple(found), tuple(sorted(broken, key=lambda each: each.name)))


def places(found: Iterable[tuple[str, Path]]) -> dict[str, Place]:
    """Sort what was found, in the order of the folders, by name: the first of a name counts, and knows the second."""
    by_name: dict[str, list[Path]] = {}
    for name, path in found:
        by_name.setdefault(name, []).append(path)
    return {name: Place(*paths[:2]) for name, paths in sorted(by_name.items())}
