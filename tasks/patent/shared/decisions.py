"""What the patent tasks share in their data: PANORAMA's files and splits, and how a claim and a document read in a prompt."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from harness.spec.errors import SpecError
from harness.taskkit.building.data import BuildContext, Item, Source, SourceRow, TaskData
from harness.taskkit.building.hub import HubData, read_rows
from harness.taskkit.building.overlap import normalised

from .panorama import claim_of, object_in

REPOSITORY = "LG-AI-Research/PANORAMA"
LICENCE = "CC-BY-NC-4.0"
# Prompts must fit 32,768 tokens less 8,192 for the answer; patent prose has about four characters a token.
MAX_PROMPT_CHARS = 90_000


@dataclass(frozen=True)
class PatentTask:
    """What is particular to one of the patent tasks.

    Attributes:
        subset: the one sub-set, which is the folder of PANORAMA in small letters.
        prompt: a row's whole question.
        gold_of: what an item shows as its gold answer.
        answer_of: a row's gold answer in the asked form.
    """

    subset: str
    prompt: Callable[[Mapping[str, Any]], str]
    gold_of: Callable[[Mapping[str, Any]], Any]
    answer_of: Callable[[Mapping[str, Any]], str]

    def item(self, name: str, row: Mapping[str, Any], keys: tuple[str, ...], *, kind: str = "", answered: bool = False) -> Item:
        """Make an item of a row; ``answered`` for a worked example."""
        return Item(
            id=name,
            subset=self.subset,
            type=kind or self.subset,
            prompt=self.prompt(row),
            gold=self.gold_of(row),
            row=dict(row),
            text=claim_of(row),
            keys=keys,
            answer=self.answer_of(row) if answered else "",
        )


def panorama(folder: str) -> HubData:
    """Return the files of one of PANORAMA's three benchmarks (``PAR4PC``, ``PI4PC``, ``NOC4PC``)."""
    return HubData(REPOSITORY, (f"{folder}/test.parquet", f"{folder}/train.parquet"), LICENCE)


def build_full(context: BuildContext, task: PatentTask) -> TaskData:
    """Build ``full`` or ``strict`` of a patent task: dev and hidden from the test file, the source from the training file.

    Raises:
        MissingError: a file cannot be had.
        SpecError: no training row can serve as a worked example.
    """
    folder = task.subset.upper()
    data = panorama(folder)
    fetched = context.hub(data)
    decided, training = (read_rows(fetched.path(file)) for file in data.files)
    tests = [row for row in decided if task.gold_of(row)]
    dev, hidden = context.split([task.item(f"{task.subset}-{n:04d}", row, keys_of(row)) for n, row in enumerate(tests)])
    protected = {key for item in (*dev, *hidden) for key in item.keys} | {normalised(item.text) for item in (*dev, *hidden)}
    return TaskData(
        dev=dev,
        hidden=hidden,
        few_shot=_worked_examples(training, protected, task),
        sources=[
            Source(
                "panorama",
                f"PANORAMA {folder}, training split: claims, documents and the examiners' decisions.",
                LICENCE,
                [SourceRow(row, claim_of(row), keys_of(row)) for row in training],
            )
        ],
        origin=[
            f"Benchmark: PANORAMA {folder}, split test, {len(tests)} rows.",
            context.split_rule(),
            f"Left out before the split: {len(decided) - len(tests)} rows without a gold answer.",
            "Training source: its training split, minus applications of dev and hidden and claims that repeat theirs.",
            f"Documents are cut evenly where a prompt would exceed {MAX_PROMPT_CHARS:,} characters; a cut is marked with […].",
        ],
        licences={REPOSITORY: LICENCE},
        fixed_split=not context.strict,
    )


def _worked_examples(training: list[dict[str, Any]], protected: set[str], task: PatentTask) -> list[Item]:
    """The first four training rows with four different answers, of other applications than the benchmark's."""
    found: dict[str, Item] = {}
    for row in training:
        if not task.gold_of(row):
            continue
        answer = task.answer_of(row)
        if answer not in found and not protected & {*keys_of(row), normalised(claim_of(row))}:
            found[answer] = task.item(f"shot-{len(found)}", row, keys_of(row), answered=True)
        if len(found) == 4:
            break
    if not found:
        raise SpecError("PANORAMA's training file has no row of another application", hint="check the mirror's files")
    return list(found.values())


def keys_of(row: Mapping[str, Any]) -> tuple[str, ...]:
    """What no two splits may share: the application."""
    return (f"application {row['application_number']}",)


def head(row: Mapping[str, Any], limit: int) -> str:
    """The application and the claim asked about, as they stand in a prompt."""
    about = object_in(row, "context")
    lines = [f"Application: {about.get('title') or ''}".rstrip()]
    if about.get("abstract"):
        lines.append(cut(str(about["abstract"]), limit))
    return "\n".join([*lines, f"Claim {int(row['claim_number'])}: {cut(claim_of(row), limit)}"])


def document(part: Mapping[str, Any], limit: int) -> str:
    """A prior-art document in one paragraph: title, abstract, claims, paragraphs, as far as there are any."""
    paragraphs = [f"[{p.get('key')}] {p.get('content')}" for p in part.get("paragraphs") or [] if isinstance(p, Mapping)]
    claims = [str(claim) for claim in part.get("claims") or []]
    body = " ".join(" ".join(text.split()) for text in (str(part.get("abstract") or ""), *claims, *paragraphs) if text.strip())
    return cut(": ".join(text for text in (str(part.get("title") or "").strip(), body) if text), limit)


def cut(text: str, limit: int) -> str:
    """Shorten a text to ``limit`` characters, with a mark that it was cut."""
    return text if len(text) <= limit else text[: limit - 4].rstrip() + " […]"
