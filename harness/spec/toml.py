"""Reading specification files with errors that name file, field, value and fix."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from harness.spec.errors import SpecError

T = TypeVar("T", bound=BaseModel)


def read_toml(path: Path, model: type[T]) -> T:
    """Read a TOML file into ``model`` with errors that name the file, the field and the fix."""
    try:
        raw = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as exc:
        raise SpecError(f"{path}: not valid TOML: {exc}", hint="mend the line it names") from exc
    except OSError as exc:
        raise SpecError(f"{path}: cannot be read: {exc.strerror}", hint="check that the file is there and readable") from exc
    try:
        return model.model_validate(raw)
    except ValidationError as exc:
        raise SpecError(f"{path}: {describe(exc)}", hint="`dojo schema` prints the schema of every file") from exc


def describe(exc: ValidationError) -> str:
    """Say in one line what a validation error found: field, value, reason."""
    parts = []
    for err in exc.errors()[:3]:
        loc = ".".join(str(p) for p in err["loc"]) or "(top)"
        shown = "" if err["type"] in ("missing", "extra_forbidden") else f" = {err['input']!r}"[:80]
        parts.append(f"{loc}{shown}: {err['msg'].removeprefix('Value error, ')}")
    more = exc.error_count() - 3
    return "; ".join(parts) + (f" (and {more} more)" if more > 0 else "")
