"""Reading specification files with errors that name file, field, value and fix."""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, TypeVar, get_args

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
        raise SpecError(f"{path}: {describe(exc, model)}", hint=f"`{schema_command(path)}` prints what may stand there") from exc


def schema_command(path: Path) -> str:
    """Return the command that prints the schema of a file, by the file's name."""
    known = {"task.toml": " task", "agent.toml": " agent", "run.json": " run", "result.json": " result", "events.jsonl": " event"}
    return f"dojo schema{known.get(path.name, '')}"


def describe(exc: ValidationError, model: type[BaseModel] | None = None) -> str:
    """Say in one line what a validation error found: field, value, reason; of ``model`` an unknown key's likely name too."""
    parts = []
    # a mistyped key first: it is why another is missing
    for err in sorted(exc.errors(), key=lambda err: err["type"] != "extra_forbidden")[:3]:
        loc = ".".join(str(p) for p in err["loc"]) or "(top)"
        if err["type"] == "extra_forbidden":
            near = did_you_mean(str(err["loc"][-1]), _fields_at(model, err["loc"][:-1])) if model else ""
            parts.append(f"{loc}: there is no such key" + (f"; {near}" if near else ""))
            continue
        shown = "" if err["type"] == "missing" else f" = {err['input']!r}"[:80]
        parts.append(f"{loc}{shown}: {err['msg'].removeprefix('Value error, ')}")
    more = exc.error_count() - 3
    return "; ".join(parts) + (f" (and {more} more)" if more > 0 else "")


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return ``did you mean x?`` where one of the known names is near, else which there are; nothing where there are none."""
    names = list(known)
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    if close:
        return f"did you mean {close[0]}?"
    return f"known: {', '.join(names)}" if names else ""


def _fields_at(model: type[BaseModel], place: Sequence[int | str]) -> list[str]:
    """Return the keys that the model at a place inside ``model`` has: those of every model its field may hold."""
    found = [model]
    for part in place:
        annotations = [m.model_fields[str(part)].annotation for m in found if part in m.model_fields]
        # below a mapping or list the part is a key or position, and the models stay
        found = [inner for annotation in annotations for inner in _models_in(annotation)] or found
    return list(dict.fromkeys(field.alias or name for m in found for name, field in m.model_fields.items()))


def _models_in(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for inner in get_args(annotation) for model in _models_in(inner)]
