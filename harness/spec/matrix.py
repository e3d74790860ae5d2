"""Matrix files: a whole batch in TOML, so that an experiment is a file that can be read, kept and run again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, WithJsonSchema

from harness.spec.base import Spec
from harness.spec.task import ProfileName
from harness.spec.toml import validated
from harness.spec.toml_lines import line_of
from harness.spec.toml_text import read_toml_text

_SCRIPTED = "scripted:"


def _seeds(value: Any) -> Any:
    """Read a number of seeds as the seeds from 0."""
    if isinstance(value, int) and not isinstance(value, bool):
        if value < 1:
            raise ValueError("at least one seed is needed")
        return tuple(range(value))
    if not isinstance(value, (list, tuple)) or not value:
        raise ValueError("say how many seeds, as 4, or which, as [0, 1, 7]")
    return value


def _scalar(value: Any) -> Any:
    if not isinstance(value, (bool, int, float, str)):
        raise ValueError("a value is a text, a number, true or false")
    return value


_SEEDS_SCHEMA = {
    "anyOf": [{"type": "integer", "minimum": 1}, {"type": "array", "items": {"type": "integer", "minimum": 0}, "minItems": 1}],
    "default": 1,
}
Seeds = Annotated[
    tuple[Annotated[int, Field(strict=True, ge=0)], ...],
    BeforeValidator(_seeds),
    WithJsonSchema(_SEEDS_SCHEMA, mode="validation"),
]
Value = Annotated[bool | int | float | str, BeforeValidator(_scalar)]


class AgentEntry(Spec):
    """One ``[[agents]]``: an agent with parameters of its own; the same agent may stand there several times."""

    name: str = Field(min_length=1, description="the agent's name or directory")
    label: str = Field(
        "",
        pattern=r"^([A-Za-z0-9][\w.,+=:/-]*( [\w.,+=:/-]+)*)?$",
        max_length=60,
        description="what tells it apart from its other variants; default: the parameters that differ from agent.toml",
    )
    params: Mapping[str, Value] = Field(default_factory=dict, description="over the params of its agent.toml")


class Matrix(Spec):
    """What one batch runs: every agent on every task, base model, budget, backbone and seed."""

    name: str = Field("", max_length=200, description="of the batch; it works as a reference")
    profile: ProfileName | None = Field(None, description="mini, full or strict; default the setting `profile`")
    seeds: Seeds = Field((0,), description="how many (0 to N-1), or which as a list")
    limit: int | None = Field(
        None, strict=True, gt=0, description="a quick look at so many items; such runs are never compared or ranked"
    )
    public_hidden: bool = Field(
        False,
        strict=True,
        description="draw hidden splits with the seed that everybody knows instead of this installation's secret; marked on "
        "every table",
    )
    tasks: tuple[str, ...] = Field((), description="ids, globs, `all`, or directories as ./mine")
    agents: tuple[AgentEntry, ...] = ()
    budgets: tuple[Mapping[str, Value], ...] = Field((), description='each laid over the task\'s own, as {wall = "2h"}')
    base_models: tuple[str, ...] = Field((), description="instead of the profile's: names, or directories as ./model")
    backbones: tuple[str, ...] = Field((), description="language models that agents think with, as --backbone names them")

    def based_at(self, folder: Path) -> Matrix:
        """Return the same with its relative paths told from ``folder``."""
        return self.model_copy(
            update={
                "tasks": tuple(_rebased(task, folder, told=task.startswith((".", "~"))) for task in self.tasks),
                "agents": tuple(
                    entry.model_copy(update={"name": _rebased(entry.name, folder, told=_is_path(entry.name))})
                    for entry in self.agents
                ),
                "base_models": tuple(_rebased(model, folder, told=_is_path(model)) for model in self.base_models),
                "backbones": tuple(
                    _SCRIPTED + _rebased(name.removeprefix(_SCRIPTED), folder, told=True) if name.startswith(_SCRIPTED) else name
                    for name in self.backbones
                ),
            }
        )


@dataclass(frozen=True)
class MatrixFile:
    """A matrix that was read from a file, and where in it things stand.

    Attributes:
        path: the file, as it was named.
        text: what stands in it.
        matrix: what that says, with its relative paths told from the file's folder.
        said: the keys that stand there; the others are open.
    """

    path: Path
    text: str
    matrix: Matrix
    said: frozenset[str]

    def where(self, *place: int | str) -> str:
        """Return ``FILE:LINE`` of a place in the matrix, as ``("agents", 1, "params", "feedback")``; "" where it is not there."""
        return f"{self.path}:{line_of(self.text, place)}" if place[0] in self.said else ""


def read_matrix(path: Path) -> MatrixFile:
    """Read a matrix file.

    Raises:
        SpecError: it cannot be read, is no TOML, or says what no matrix has; names the line, the value and the fix.
    """
    text, raw = read_toml_text(path)
    matrix = validated(path, text, raw, Matrix, "`dojo schema matrix` prints what may stand there")
    return MatrixFile(path, text, matrix.based_at(path.resolve().parent), frozenset(raw))


def _is_path(name: str) -> bool:
    return "/" in name or name.startswith((".", "~"))


def _rebased(name: str, folder: Path, *, told: bool) -> str:
    return str((folder / Path(name).expanduser()).resolve()) if told else name
