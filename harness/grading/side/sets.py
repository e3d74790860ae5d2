"""Side evaluations by name, with their items and rules, or a folder of lm-eval tasks."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.files import tree_digest
from harness.spec.errors import NotFoundError, SpecError, UsageError
from harness.spec.side import EvaluationSpec, SideSet
from harness.spec.task import Generation
from harness.spec.toml import read_toml
from harness.taskkit.scoring.contract import load_grader

SMALL = Path(__file__).parent / "small"
"""dojo's own: a folder like a task's, with ``side.toml`` instead of ``task.toml``."""

ALL = "all"
"""Stands for every side evaluation of a set."""


@dataclass(frozen=True)
class Chosen:
    """Side evaluations that are to be run together.

    Attributes:
        folder: the set's, with ``items.jsonl`` and ``tests/``.
        set: its ``side.toml``.
        names: the evaluations, in the set's order.
        digest: SHA-256 over the set's files.
        lm_tasks: a folder of lm-eval tasks that is run beside them; None: none.
    """

    folder: Path
    set: SideSet
    names: tuple[str, ...]
    digest: str
    lm_tasks: Path | None = None

    @property
    def evaluations(self) -> dict[str, EvaluationSpec]:
        """Those that were chosen, by name."""
        return {name: self.set.evaluations[name] for name in self.names}

    def items(self) -> list[dict[str, Any]]:
        """Return their items, in the order of the file."""
        wanted = {subset for evaluation in self.evaluations.values() for subset in evaluation.subsets}
        lines = (self.folder / "items.jsonl").read_text(encoding="utf-8").splitlines()
        return [item for item in map(json.loads, lines) if item["subset"] in wanted]

    def generation(self, like: Generation) -> Generation:
        """Return how answers are generated: as in the run, without worked examples, up to the set's own lengths."""
        lengths = {"max_new_tokens": self.set.max_new_tokens, "max_context": self.set.max_context}
        return like.model_copy(update={**lengths, "fewshot": 0})


def known_side_evaluations(folder: Path = SMALL) -> list[str]:
    """Return the names that `choose` takes beside `ALL`."""
    return list(_read(folder).evaluations)


def choose(names: Sequence[str], folder: Path = SMALL, *, beside: Path | None = None) -> Chosen:
    """Find side evaluations.

    Args:
        names: of the set's evaluations, or the path of a folder of lm-eval tasks.
        folder: the set.
        beside: where a relative path begins; default: the working directory.

    Raises:
        NotFoundError: there is none of a name, or no such folder.
        UsageError: there are two folders.
        SpecError: the set is broken: a sub-set without rules.
    """
    found = _read(folder)
    known = list(found.evaluations)
    for name in names:
        if name not in (ALL, *known) and not is_folder(name):
            raise NotFoundError.named("side evaluation", name, [*known, ALL])
    wanted = known if ALL in names else [name for name in known if name in names]
    folders = [_lm_folder((beside or Path()) / Path(name).expanduser()) for name in names if is_folder(name)]
    if len(folders) > 1:
        raise UsageError("two folders of lm-eval tasks at once", hint="put their tasks into one")
    return Chosen(folder, found, tuple(wanted), tree_digest(folder), folders[0] if folders else None)


def is_folder(name: str) -> bool:
    """Whether a side evaluation is named by its folder."""
    return "/" in name or name.startswith((".", "~"))


def _lm_folder(path: Path) -> Path:
    path = path.resolve()
    if not any(path.rglob("*.yaml")):
        why = "no YAML file lies in it" if path.is_dir() else "there is no such folder"
        raise NotFoundError(
            f"{path} is no folder of lm-eval tasks: {why}", hint="a task is a YAML file with `task: NAME`, data beside it"
        )
    return path


def _read(folder: Path) -> SideSet:
    found = read_toml(folder / "side.toml", SideSet)
    rules = load_grader(folder).subset_metrics
    for name, evaluation in found.evaluations.items():
        missing = [subset for subset in evaluation.subsets if subset not in rules]
        if missing:
            raise SpecError(f"{folder / 'side.toml'}: {name}: no rule scores {missing[0]!r}", hint="add it to SUBSET_METRICS")
    return found
