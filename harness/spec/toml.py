"""Reading specification files with errors that name file, field, value and fix."""

from __future__ import annotations

import difflib
import stat
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ValidationError

from harness.spec.errors import SpecError
from harness.spec.toml_lines import line_of
from harness.spec.toml_text import read_toml_text

T = TypeVar("T", bound=BaseModel)


def read_toml(path: Path, model: type[T]) -> T:
    """Read a TOML file into ``model`` with errors that name the file, the field and the fix."""
    _require_plain(path)
    text, raw = read_toml_text(path)
    return validated(path, text, raw, model, f"`{schema_command(path)}` prints what may stand there")


def validated(path: Path, text: str, raw: dict[str, Any], model: type[T], hint: str) -> T:
    """Read into ``model`` what stands in a TOML file, ``text`` as it is written and ``raw`` as it was parsed.

    Raises:
        SpecError: it is no such model; names the file, the line, the field, the value and the fix.
    """
    try:
        read = model.model_validate(raw)
    except ValidationError as exc:
        raise SpecError(f"{path}:{line_of(text, _first_place(exc))}: {describe(exc, model)}", hint=hint) from exc
    place = _number_from_flag(raw, read)
    if place is not None:
        name = ".".join(str(part) for part in place)
        raise SpecError(f"{path}:{line_of(text, place)}: {name}: true and false are no numbers", hint=hint)
    return read


def _first_place(exc: ValidationError) -> tuple[int | str, ...]:
    """Return the place of what `describe` names first."""
    return min(exc.errors(), key=lambda err: err["type"] != "extra_forbidden")["loc"]


def _number_from_flag(raw: Any, read: Any) -> tuple[int | str, ...] | None:
    """Return the place of a ``true`` or ``false`` that was read as 1 or 0, as Python has it; None where there is none."""
    if isinstance(raw, bool):
        return () if isinstance(read, int | float) and not isinstance(read, bool) else None
    inner: list[tuple[int | str, Any, Any]] = []
    if isinstance(raw, dict):
        held = read if isinstance(read, dict) else {key: getattr(read, key, None) for key in raw}
        inner = [(key, value, held.get(key)) for key, value in raw.items()]
    elif isinstance(raw, list) and isinstance(read, list | tuple):
        inner = [(number, *pair) for number, pair in enumerate(zip(raw, read, strict=False))]
    for key, value, into in inner:
        place = _number_from_flag(value, into)
        if place is not None:
            return (key, *place)
    return None


def _require_plain(path: Path) -> None:
    """Wait for no pipe and no device that lies where a file should."""
    try:
        mode = path.stat().st_mode
    except OSError:
        return  # what reads it says so
    if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
        raise SpecError(f"{path}: is no plain file", hint="write the file itself there")


def schema_command(path: Path) -> str:
    """Return the command that prints the schema of a file, by the file's name."""
    known = {"task.toml": " task", "agent.toml": " agent", "run.json": " run", "result.json": " result", "events.jsonl": " event"}
    return f"dojo schema{known.get(path.name, '')}"


def describe(exc: ValidationError, model: type[BaseModel] | None = None) -> str:
    """Say in one line what a validation error found: field, value, reason; of ``model`` an unknown key's likely name too."""
    parts = []
    found = _as_people_see(exc)
    # a mistyped key first: it is why another is missing
    for err in sorted(found, key=lambda err: err["type"] != "extra_forbidden")[:3]:
        loc = ".".join(str(p) for p in err["loc"]) or "(top)"
        if err["type"] == "extra_forbidden":
            near = did_you_mean(str(err["loc"][-1]), _fields_at(model, err["loc"][:-1])) if model else ""
            parts.append(f"{loc}: there is no such key" + (f"; {near}" if near else ""))
            continue
        shown = "" if err["type"] == "missing" else f" = {err['input']!r}"[:80]
        parts.append(f"{loc}{shown}: {err['msg'].removeprefix('Value error, ')}")
    more = len(found) - 3
    return "; ".join(parts) + (f" (and {more} more)" if more > 0 else "")


def _as_people_see(exc: ValidationError) -> list[dict[str, Any]]:
    """Return the errors at the places that stand in a file, in its words.

    Of a value that may be of several kinds pydantic tells one error a kind, each at a place that names the kind; of a key that is
    none of a closed set it tells the place ``[key]`` below it; and of a list with a bad entry also that it is too short.
    """
    found: dict[tuple[Any, ...], dict[str, Any]] = {}
    for err in exc.errors():
        place, message = err["loc"], _in_toml(err)
        if place[-1:] == ("[key]",):
            place, message = place[:-1], err["msg"].replace("Input", "the key", 1)
        elif len(place) > 1 and place[-1] in _KINDS and err["type"] in _OF_A_KIND:
            place, message = place[:-1], "write a text, a number, true or false"
        known = any(other[: len(place)] == place for other in found)
        if not (known and (err["type"] in ("too_short", *_OF_A_KIND))):
            found[(*place, err["type"])] = {**err, "loc": place, "msg": message}
    return list(found.values())


_KINDS = ("str", "int", "float", "bool")
_OF_A_KIND = (
    "string_type",
    "int_type",
    "float_type",
    "bool_type",
    "int_from_float",
    "int_parsing",
    "float_parsing",
    "bool_parsing",
)


def _in_toml(err: Any) -> str:
    """Say in the words of the files that people write what pydantic calls by Python's names."""
    match err["type"]:
        case "tuple_type" | "list_type" if isinstance(err["input"], dict):
            name = err["loc"][-1]
            return f"write a list of tables: [[{name}]] with two brackets before each, or {name} = [{{ key = value }}]"
        case "tuple_type" | "list_type":
            return 'write a list, as ["…", "…"]'
        case "dict_type" | "model_type" | "model_attributes_type":
            return "write a table, as { key = value }"
        case "string_type":
            return "write a text in quotes"
        case "path_type":
            return "write a path in quotes"
        case "too_short":
            return "write at least one"
        case "missing":
            return "is missing"
        case "string_pattern_mismatch" if err["loc"] == ("name",) and err["ctx"]["pattern"].startswith("^[a-z0-9]"):
            return "a name has small letters, digits and underscores"
    return str(err["msg"])


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
