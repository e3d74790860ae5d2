"""What the patent tasks share in their data: PANORAMA's files and splits, and how a claim and a document read in a prompt."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from harness.assets.hub import HubData, read_rows
from harness.assets.overlap import normalised
from harness.assets.task_data import BuildContext, Item, Source, SourceRow, TaskData, paper_split
from harness.spec.errors import SpecError
from harness.spec.panorama import claim_of, object_in

REPOSITORY = "LG-AI-Research/PANORAMA"
LICENCE = "CC-BY-NC-4.0"
# Prompts must fit 32,768 tokens less 8,192 for the answer; patent prose has about four characters a token.
MAX_PROMPT_CHARS = 90_000

MakeItem = Callable[[str, Mapping[str, Any]], Item]


def panorama(folder: str) -> HubData:
    """Return the files of one of PANORAMA's three benchmarks (``PAR4PC``, ``PI4PC``, ``NOC4PC``)."""
    return HubData(REPOSITORY, (f"{folder}/test.parquet", f"{folder}/train.parquet"), LICENCE)


def build_full(
    context: BuildContext, folder: str, make_item: MakeItem, answer_of: Callable[[Mapping[str, Any]], str]
) -> TaskData:
    """Build the ``full`` profile of a patent task: dev and hidden from the test file, the source from the training file.

    Args:
        context: what fetches the files.
        folder: PANORAMA's folder.
        make_item: (id, row) → the item, without its answer.
        answer_of: a row's gold answer in the asked form, for worked examples.

    Raises:
        MissingError: a file cannot be had.
        SpecError: no training row can serve as a worked example.
    """
    data = panorama(folder)
    fetched = context.hub(data)
    tests, training = (read_rows(fetched.path(file)) for file in data.files)
    dev, hidden = ([make_item(f"{folder.lower()}-{n:04d}", tests[n]) for n in split] for split in paper_split(len(tests)))
    protected = {key for item in (*dev, *hidden) for key in item.keys} | {normalised(item.text) for item in (*dev, *hidden)}
    return TaskData(
        dev=dev,
        hidden=hidden,
        few_shot=_worked_examples(training, protected, make_item, answer_of),
        sources=[
            Source(
                "panorama",
                f"PANORAMA {folder}, training split: claims, documents and the examiners' decisions.",
                LICENCE,
                [SourceRow(row, claim_of(row), keys_of(row)) for row in training],
            )
        ],
        origin=[
            f"Benchmark: PANORAMA {folder}, split test, shuffled with seed 42; first half dev, last half hidden, up to 100 each.",
            "Training source: its training split, minus applications of dev and hidden and claims that repeat theirs.",
            f"Documents are cut evenly where a prompt would exceed {MAX_PROMPT_CHARS:,} characters; a cut is marked with […].",
        ],
        licences={REPOSITORY: LICENCE},
        fixed_split=True,
    )


def _worked_examples(
    training: list[dict[str, Any]], protected: set[str], make_item: MakeItem, answer_of: Callable[[Mapping[str, Any]], str]
) -> list[Item]:
    """The first four training rows with four different answers, of four other applications than the benchmark's."""
    found: dict[str, Item] = {}
    for row in training:
        if protected & {*keys_of(row), normalised(claim_of(row))}:
            continue
        answer = answer_of(row)
        if answer not in found:
            item = make_item(f"shot-{len(found)}", row)
            found[answer] = Item(item.id, item.subset, item.type, item.prompt, item.gold, item.row, item.text, item.keys, answer)
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
