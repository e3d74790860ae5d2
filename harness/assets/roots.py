"""Where tasks and agents are looked for: the user's own folders first, then what dojo brings along."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from harness.project import bundled
from harness.spec.errors import UsageError


@dataclass(frozen=True)
class Place:
    """Where something with a name was found, and what of the same name it stands before (None: nothing)."""

    path: Path
    shadows: Path | None = None


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


def places(found: Iterable[tuple[str, Path]]) -> dict[str, Place]:
    """Sort what was found, in the order of the folders, by name: the first of a name counts, and knows the second."""
    by_name: dict[str, list[Path]] = {}
    for name, path in found:
        by_name.setdefault(name, []).append(path)
    return {name: Place(*paths[:2]) for name, paths in sorted(by_name.items())}
