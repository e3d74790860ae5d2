"""Tasks over ChemCoTBench: its rows, the full profile from the hub, and a mini profile of the same layout."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from harness.spec.errors import SpecError
from harness.taskkit.building.data import BuildContext, Item, Source, SourceRow, TaskData, paper_split
from harness.taskkit.building.hub import HubData, read_rows

from .compounds import CHEMICALS

SUFFIX = '\nReply as {"output": ...}'
_FIELDS = ("id", "query", "task", "subtask", "gt", "meta")
_MINI_SIZES = {"dev": 60, "hidden": 180}
_SHOTS = 2  # of each sub-set


@dataclass(frozen=True)
class Question:
    """A question of a mini profile with a right answer.

    Attributes:
        subset: sub-set of the benchmark.
        kind: question type.
        query: the question, with the molecule where the benchmark has it.
        answer: a right answer: text, or a whole number.
        molecules: canonical SMILES of all molecules that no other split may share.
        gt: the row's ``gt``.
        meta: the row's ``meta``.
    """

    subset: str
    kind: str
    query: str
    answer: int | str
    molecules: tuple[str, ...]
    gt: str = ""
    meta: Mapping[str, str] = field(default_factory=dict)


class Drawer(Protocol):
    """Draws questions about the molecules of one split."""

    def draw(self, kind: str, number: int) -> Question:
        """Draw the ``number``-th question of a type; `StopIteration` when it has no molecule left."""


@dataclass(frozen=True)
class ChemCotTask:
    """What tells one ChemCoT task from another.

    Attributes:
        name: folder and ``task`` of the benchmark, such as ``mol_edit``.
        subsets: sub-sets of the benchmark.
        taught: sub-sets that ChemCoTDataset has.
        native: sub-set → the benchmark's own key of an answer.
        molecules_of: canonical SMILES of the molecules a row is about.
        gold_of: what the grader compares with, for people to see.
        right_answer: a right answer to a training row, checked; empty text where there is none.
        shown: sub-sets of ``full`` that get a worked example; by default all that are taught.
    """

    name: str
    subsets: tuple[str, ...]
    taught: tuple[str, ...]
    native: Mapping[str, str]
    molecules_of: Callable[[Mapping[str, Any]], tuple[str, ...]]
    gold_of: Callable[[Mapping[str, Any]], Any]
    right_answer: Callable[[Mapping[str, Any]], int | str]
    shown: tuple[str, ...] | None = None

    @property
    def bench(self) -> HubData:
        """The benchmark's files."""
        return HubData("OpenMol/ChemCoTBench", tuple(f"{self.name}/{s}.json" for s in self.subsets), "MIT")

    @property
    def cot(self) -> HubData:
        """The training set's files."""
        files = tuple(f"chemcotbench-cot/{self.name}/{s}.json" for s in self.taught)
        return HubData("OpenMol/ChemCoTDataset", files, "MIT")


def field_object(row: Mapping[str, Any], name: str) -> dict[str, Any]:
    """A field that is an object or JSON text of one; empty where it is neither."""
    value = row.get(name)
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except ValueError:
            return {}
    return dict(value) if isinstance(value, Mapping) else {}


def answers_in(row: Mapping[str, Any], keys: Sequence[str]) -> list[str]:
    """Answers a training row gives: ``gt`` as plain text, then every one of ``keys`` in ``gt``, ``meta`` and ``struct_cot``."""
    gt = row.get("gt")
    found = [gt] if isinstance(gt, str) and gt.strip() and not gt.lstrip().startswith("{") else []
    for name in ("gt", "meta", "struct_cot"):
        inside = field_object(row, name)
        found += [inside[key] for key in keys if isinstance(inside.get(key), str) and inside[key].strip()]
    return found


def full_data(task: ChemCotTask, context: BuildContext) -> TaskData:
    """Build the full profile: ChemCoTBench split by the paper's rule, ChemCoTDataset as the source.

    Raises:
        MissingError: a data set cannot be had.
        SpecError: a sub-set of the training set has no row with a right answer.
    """
    bench = context.hub(task.bench)
    rows = [row for file in task.bench.files for row in read_rows(bench.path(file)) if row.get("task", task.name) == task.name]
    dev: list[Item] = []
    hidden: list[Item] = []
    for subset in task.subsets:
        group = [row for row in rows if row.get("subtask") == subset]
        first, last = paper_split(len(group))
        dev += [_bench_item(task, subset, n, group[n]) for n in first]
        hidden += [_bench_item(task, subset, n, group[n]) for n in last]
    protected = {key for item in (*dev, *hidden) for key in item.keys}
    cot = context.hub(task.cot)
    raw = [row for file in task.cot.files for row in read_rows(cot.path(file))]
    source_rows = [SourceRow(row, keys=task.molecules_of(row)) for row in raw]
    return TaskData(
        dev=dev,
        hidden=hidden,
        few_shot=[_shot(task, subset, source_rows, protected) for subset in task.shown or task.taught],
        sources=[
            Source(
                "chemcot",
                f"ChemCoTDataset, {task.name}: questions with structured chains of thought.",
                task.cot.licence,
                source_rows,
            )
        ],
        origin=[
            f"Benchmark: ChemCoTBench, {task.name}; each sub-set shuffled with seed 42, first half dev, last half hidden.",
            f"Training source: ChemCoTDataset, {task.name}, minus rows about a molecule of dev or hidden.",
        ],
        licences={task.bench.repo: task.bench.licence, task.cot.repo: task.cot.licence},
        fixed_split=True,
    )


def mini_splits(
    task: ChemCotTask,
    context: BuildContext,
    kinds: Mapping[str, Sequence[str]],
    drawer: Callable[[str, random.Random], Drawer],
) -> dict[str, list[Item]]:
    """Draw the questions of ``dev``, ``hidden`` and ``few_shot`` of a mini profile, as many of each sub-set."""
    splits: dict[str, list[Item]] = {}
    for split, size in {**_MINI_SIZES, "few_shot": _SHOTS * len(kinds)}.items():
        context.log(f"drawing questions of {split}")
        rng = context.rng(split)
        draw = drawer(split, rng)
        splits[split] = []
        for names in kinds.values():
            asked = [draw.draw(names[n % len(names)], n // len(names)) for n in range(size // len(kinds))]
            splits[split] += [_mini_item(task, split, question, n) for n, question in enumerate(asked)]
        if split != "few_shot":
            rng.shuffle(splits[split])
    return splits


def mini_data(
    task: ChemCotTask,
    context: BuildContext,
    kinds: Mapping[str, Sequence[str]],
    drawer: Callable[[str, random.Random], Drawer],
    slip: Callable[[Question, random.Random], int | str],
    origin: Sequence[str],
) -> TaskData:
    """Build a mini profile: questions drawn for each split, and three raw sources of uneven quality.

    Args:
        task: the task.
        context: of this build.
        kinds: sub-set → its question types, asked in turn; the sub-sets of this profile.
        drawer: makes the drawer of a split.
        slip: a wrong answer of the right kind.
        origin: further sentences for the data card.
    """
    splits = mini_splits(task, context, kinds, drawer)
    context.log("drawing the sources")
    return TaskData(
        dev=splits["dev"],
        hidden=splits["hidden"],
        few_shot=splits["few_shot"],
        sources=[_mini_source(task, context, kinds, drawer, slip, plan) for plan in _PLANS],
        origin=[
            f"Mini profile: real compounds with short SMILES from the compound table of {CHEMICALS.pin}; RDKit computes answers.",
            *origin,
            "No molecule is asked about, or is a reference answer, in more than one of: sources, worked examples, dev, hidden.",
            "The sources are raw: wrong, repeated and useless rows, answers under several names, sub-sets spread unevenly.",
        ],
        licences={CHEMICALS.pin: CHEMICALS.licence, "RDKit (computes the answers)": "BSD-3-Clause"},
    )


@dataclass(frozen=True)
class _Plan:
    """A raw source: how many rows, and which shares of them are wrong, repeated or useless; does it use native keys?"""

    name: str
    description: str
    rows: int
    wrong: float = 0.0
    repeated: float = 0.0
    useless: float = 0.0
    native: bool = False


_PLANS = (
    _Plan("curated", "Questions with answers checked by a chemist.", 600),
    _Plan("crowd", "Answers by volunteers; nobody checked them.", 1200, wrong=0.3, repeated=0.2),
    _Plan("extracted", "Question-and-answer pairs extracted from documents by a program.", 800, useless=0.3, native=True),
)


def _mini_source(
    task: ChemCotTask,
    context: BuildContext,
    kinds: Mapping[str, Sequence[str]],
    drawer: Callable[[str, random.Random], Drawer],
    slip: Callable[[Question, random.Random], int | str],
    plan: _Plan,
) -> Source:
    rng = context.rng(plan.name)
    draw, numbers = drawer("sources", rng), dict.fromkeys((k for names in kinds.values() for k in names), 0)
    # Checked answers are the scarcer the later a sub-set stands in the benchmark.
    weights = [1.0 / (1 + n) if plan.name == "curated" else 1.0 for n in range(len(kinds))]
    asked: list[Question] = []
    rows = []
    for number in range(plan.rows):
        if asked and rng.random() < plan.repeated:
            question = rng.choice(asked)
        else:
            kind = rng.choice(kinds[rng.choices(list(kinds), weights=weights)[0]])
            try:
                question = draw.draw(kind, numbers[kind])
            except StopIteration:
                draw = drawer("sources", rng)  # its molecules are used up: it starts anew
                question = draw.draw(kind, numbers[kind])
            numbers[kind] += 1
            asked.append(question)
        useless = rng.random() < plan.useless
        answer = slip(question, rng) if rng.random() < plan.wrong else question.answer
        key = rng.choice(["output", "answer", task.native[question.subset]]) if plan.native else "output"
        row = {
            "id": f"{plan.name}-{number:04d}",
            "query": f"Name a use of {question.molecules[0]}." if useless else question.query,
            "task": task.name,
            "subtask": question.subset,
            "struct_cot": "" if useless else json.dumps({key: answer}),
            "gt": "solvent" if useless else "",
            "meta": json.dumps({"molecule": question.molecules[0]}),
        }
        rows.append(SourceRow(row, keys=question.molecules))
    return Source(plan.name, plan.description, "MIT (compounds of chemicals 1.5.2, answers by RDKit)", rows)


def _mini_item(task: ChemCotTask, split: str, question: Question, number: int) -> Item:
    name = f"{'shot' if split == 'few_shot' else split}-{question.subset}-{number:03d}"
    row = {
        "id": name,
        "query": question.query,
        "task": task.name,
        "subtask": question.subset,
        "gt": question.gt,
        "meta": json.dumps(dict(question.meta)),
    }
    return Item(
        id=name,
        subset=question.subset,
        type=question.kind,
        prompt=question.query + SUFFIX,
        gold=question.answer,
        row=row,
        keys=question.molecules,
        answer=json.dumps({"output": question.answer}) if split == "few_shot" else "",
    )


def _bench_item(task: ChemCotTask, subset: str, number: int, row: dict[str, Any]) -> Item:
    return Item(
        id=f"{subset}-{number:03d}",
        subset=subset,
        type=subset,
        prompt=str(row["query"]) + SUFFIX,
        gold=task.gold_of(row),
        row={key: row.get(key, "") for key in _FIELDS},
        keys=task.molecules_of(row),
    )


def _shot(task: ChemCotTask, subset: str, rows: Sequence[SourceRow], protected: set[str]) -> Item:
    for source in rows:
        if source.row.get("subtask") != subset or not source.keys or protected & set(source.keys):
            continue
        answer = task.right_answer(source.row)
        if answer != "":
            row = {key: source.row.get(key, "") for key in _FIELDS}
            return Item(
                id=f"shot-{subset}",
                subset=subset,
                type=subset,
                prompt=str(row["query"]) + SUFFIX,
                gold=answer,
                row=row | {"gt": row["gt"] or str(answer)},
                keys=source.keys,
                answer=json.dumps({"output": answer}),
            )
    raise SpecError(f"ChemCoTDataset: no row of {subset} with a right answer", hint="check the mirror's files")
