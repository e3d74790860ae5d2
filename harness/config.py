"""Settings: flags over environment ``DOJO_*`` over ``dojo.toml`` over defaults, each with its origin.

``dojo.toml`` is the nearest one from the working directory upwards, or the file that ``DOJO_CONFIG`` names. A relative path
in it is relative to the file; a relative path in a flag or variable is relative to the working directory.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import Field, ValidationError

from harness.spec.backbone import Backbone
from harness.spec.base import Spec
from harness.spec.broken import Broken
from harness.spec.errors import SpecError, UsageError
from harness.spec.task import ProfileName
from harness.spec.toml import describe, did_you_mean
from harness.spec.toml_text import read_toml_text

FILE_NAME = "dojo.toml"
_FOLDERS = ("home", "cache")
_FOLDER_LISTS = ("tasks", "agents")
# Tables of dojo.toml, which no variable can hold.
_TABLES = ("backbones",)
# Not `dojo config show`: that reads the very settings that are wrong.
_SCHEMA = "`dojo schema settings` prints every setting, and what may stand there"
_VARIABLE = re.compile(r"[A-Z_][A-Z0-9_]*")


class Settings(Spec):
    """What a user may set once instead of on every command. ``None`` means: the harness decides."""

    home: Path = Field(Path("results"), description="batches, runs and the database")
    cache: Path = Field(Path("~/.cache/dojo"), description="models, data and images")
    tasks: tuple[Path, ...] | None = Field(None, description="directories to look for tasks in, before dojo's own")
    agents: tuple[Path, ...] | None = Field(None, description="directories to look for agents in, before dojo's own")
    database: str | None = Field(None, description="SQLAlchemy URL; default SQLite in home")
    artefacts: str | None = Field(None, description="s3://bucket/prefix or file:///path, where runs that have ended are kept too")
    server: str | None = Field(None, description="address of a service that commands ask instead of this machine")
    profile: ProfileName = Field("mini", description="profile that `submit` uses")
    sandbox: str = Field("namespace", description="sandbox backend that runs use")
    executor: str = Field("local", description="executor that `submit` uses")
    backbone: str | None = Field(None, description="language model that agents think with")
    backbones: dict[str, Backbone] = Field(default_factory=dict, description="language models by name, each a [backbones.NAME]")
    budget: str | None = Field(None, description="budget that `submit` lays over the task's own, as wall=2h,evaluations=5")
    parallel: int | None = Field(None, ge=1, description="at most this many runs at once; default what fits")


class Setting(Spec):
    """One value and where it came from."""

    name: str
    value: Any
    origin: str
    description: str


class Config(Spec):
    """All settings with their origins."""

    settings: Settings
    origins: dict[str, str]
    broken: dict[str, Broken] = Field(default_factory=dict, description="backbones of dojo.toml that cannot be used, by name")
    file: Path | None = Field(None, description="the dojo.toml that was read")

    def rows(self) -> tuple[Setting, ...]:
        """Return each setting with its origin, in the order of `Settings`."""
        values = self.settings.model_dump(mode="json")
        return tuple(
            Setting(name=name, value=values[name], origin=self.origins[name], description=field.description or "")
            for name, field in Settings.model_fields.items()
        )


def find_file(start: Path, environ: Mapping[str, str]) -> Path | None:
    """Return the ``dojo.toml`` that counts for ``start``.

    Raises:
        UsageError: ``DOJO_CONFIG`` names a file that is not there.
    """
    named = environ.get("DOJO_CONFIG")
    if named:
        path = Path(named).expanduser()
        if not path.is_file():
            raise UsageError(f"DOJO_CONFIG={named!r} is no file", hint="name an existing dojo.toml or unset DOJO_CONFIG")
        return path
    return next(
        (p / FILE_NAME for p in (start, *start.parents) if os.path.isfile(p / FILE_NAME)), None
    )  # a folder above may be closed to this user


def load(flags: Mapping[str, Any] | None = None, *, environ: Mapping[str, str] | None = None, cwd: Path | None = None) -> Config:
    """Read every source and say which one won, setting by setting.

    Args:
        flags: values given on the command line; None means not given.
        environ: the environment; default this process's.
        cwd: where relative paths start; default the working directory.

    Raises:
        SpecError: dojo.toml does not parse, has an unknown key or a bad value.
        UsageError: an environment variable or flag has a bad value.
    """
    environ = os.environ if environ is None else environ
    cwd = cwd or Path.cwd()
    values: dict[str, Any] = {}
    broken: dict[str, Broken] = {}
    origins = dict.fromkeys(Settings.model_fields, "default")
    path = find_file(cwd, environ)
    layers: list[tuple[str, Mapping[str, Any], Path]] = []
    if path:
        layers.append((str(path), _read(path), path.resolve().parent))
    for name in Settings.model_fields:
        variable = f"DOJO_{name.upper()}"
        if environ.get(variable) and name not in _TABLES:
            layers.append((f"environment {variable}", {name: environ[variable]}, cwd))
    for name, value in (flags or {}).items():
        if value is not None:
            layers.append((f"flag --{name.replace('_', '-')}", {name: value}, cwd))
    for origin, layer, base in layers:
        for name, value in layer.items():
            values[name] = _anchor(name, value, base)
            if name == "backbones" and isinstance(value, dict):
                values[name], broken = _sorted_out(values[name], Path(origin))
            origins[name] = origin
            _check(name, values[name], origin, SpecError if origin == str(path) else UsageError)
    settings = Settings.model_validate(values)
    anchored = {name: cwd / getattr(settings, name).expanduser() for name in _FOLDERS}
    return Config(settings=settings.model_copy(update=anchored), origins=origins, broken=broken, file=path)


def _read(path: Path) -> dict[str, Any]:
    _, raw = read_toml_text(path)
    if isinstance(raw.get("backbone"), dict):
        named = ", ".join(f"[backbones.{each}]" for each in raw["backbone"])
        raise SpecError(
            f"{path}: [backbone]: `backbone` is the name of the one that agents think with",
            hint=f"to describe one, write {named or '[backbones.NAME]'}",
        )
    for name in raw:
        if name not in Settings.model_fields:
            near = did_you_mean(name, Settings.model_fields)
            raise SpecError(f"{path}: unknown setting {name!r}", hint=f"{near} {_SCHEMA}")
    return raw


def _anchor(name: str, value: Any, base: Path) -> Any:
    """Make folders absolute; a list of folders may be one string, separated as in PATH."""
    if name in _FOLDERS and isinstance(value, str):
        return str(base / Path(value).expanduser())
    if name in _FOLDER_LISTS:
        parts = [p for p in value.split(os.pathsep) if p] if isinstance(value, str) else value
        if isinstance(parts, list | tuple) and all(isinstance(p, str) for p in parts):
            return [str(base / Path(p).expanduser()) for p in parts]
    if name == "backbones" and isinstance(value, dict):
        return {each: _anchor_script(table, base) for each, table in value.items()}
    return value


def _anchor_script(backbone: Any, base: Path) -> Any:
    if isinstance(backbone, dict) and isinstance(backbone.get("script"), str):
        return {**backbone, "script": str(base / Path(backbone["script"]).expanduser())}
    return backbone


def _check(name: str, value: Any, origin: str, error: type[UsageError]) -> None:
    """Refuse a bad value with the source it came from named, before the sources are laid over each other."""
    try:
        Settings.model_validate({name: value})
    except ValidationError as exc:
        raise error(f"{origin}: {describe(exc, Settings)}", hint=_SCHEMA) from exc


def _sorted_out(backbones: Mapping[str, Any], path: Path) -> tuple[dict[str, Any], dict[str, Broken]]:
    """Part the backbones that can be used from the others: one that cannot stops no command that does not name it."""
    good, broken = {}, {}
    for name, table in backbones.items():
        try:
            _check_key(name, table, path)
            _check("backbones", {name: table}, str(path), SpecError)
            good[name] = table
        except SpecError as exc:
            broken[name] = Broken(name=name, path=path, message=exc.message, hint=exc.hint)
    return good, broken


def _check_key(name: str, table: Any, path: Path) -> None:
    """Refuse a key that stands in the file itself, without saying it again."""
    key = table.get("key") if isinstance(table, dict) else None
    if isinstance(key, str) and key and not _VARIABLE.fullmatch(key):
        raise SpecError(
            f"{path}: backbones.{name}.key is not the NAME of an environment variable, in capitals",
            hint="put the key itself into a variable of your shell and name that variable here: keys do not belong in files",
        )
