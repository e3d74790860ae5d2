"""What `dojo submit` is asked to run: by its flags, by a matrix file, or by both, where each says what the other leaves open."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from harness.spec.budget import limits_in
from harness.spec.matrix import AgentEntry, Matrix, MatrixFile, read_matrix

# What a file may say → the flags that say the same.
_FLAGS = {
    "agents": ("--agent", "--agent-param"),
    "tasks": ("--task", "--tasks"),
    "seeds": ("--seeds", "--seed"),
    "profile": ("--profile",),
    "budgets": ("--budget",),
    "base_models": ("--base-model",),
    "backbones": ("--backbone",),
    "limit": ("--limit",),
    "public_hidden": ("--public-hidden",),
    "name": ("--name",),
}


def asked(file: Path | None, flags: Mapping[str, Any], settings: Mapping[str, Any]) -> tuple[Matrix, MatrixFile | None]:
    """Return what to run, and the file that says it (or most of it).

    Args:
        file: a matrix file.
        flags: flag → its value as click gave it.
        settings: profile, budget and backbone where neither flag nor file says them.

    Raises:
        click.UsageError: file and flag say the same, or neither names agents and tasks.
        SpecError: the file is none.
    """
    read = read_matrix(file) if file is not None else None
    said = read.said if read else frozenset[str]()
    for key in _FLAGS:
        given = [flag for flag in _FLAGS[key] if flags.get(flag)]
        if given and key in said:
            raise click.UsageError(f"{given[0]} does not go with --from-file {file}: the file says {key}; change it there")
    if flags.get("--seeds") and flags.get("--seed"):
        raise click.UsageError("--seeds and --seed exclude each other")
    params = dict(_pair(text) for text in flags.get("--agent-param") or ())
    told = {
        "agents": tuple(AgentEntry.model_construct(name=name, params=params) for name in flags.get("--agent") or ()),
        "tasks": (*(flags.get("--task") or ()), *(flags.get("--tasks") or ())),
        "seeds": tuple(flags.get("--seed") or range(flags.get("--seeds") or 1)),
        "profile": settings["profile"],
        "budgets": (limits_in(settings["budget"]),) if settings["budget"] else (),
        "base_models": _one(flags.get("--base-model")),
        "backbones": _one(settings["backbone"]),
        "limit": flags.get("--limit"),
        "public_hidden": bool(flags.get("--public-hidden")),
        "name": flags.get("--name") or "",
    }
    matrix = read.matrix if read else Matrix()
    matrix = matrix.model_copy(update={key: value for key, value in told.items() if key not in said})
    if not matrix.agents:
        raise click.UsageError("no agent was named: give --agent A, or repeat a run with --from RUN")
    if not matrix.tasks:
        raise click.UsageError("no task was named: give --task T or --tasks all")
    return matrix, read


def _one(value: str | None) -> Sequence[str]:
    return (value,) if value else ()


def _pair(text: str) -> tuple[str, str]:
    name, sep, value = text.partition("=")
    if not sep or not name:
        raise click.UsageError(f"--agent-param {text!r} is not of the form name=value")
    return name, value
