"""What an agent can read, searched for what it is asked: a second look at prepared data, apart from how it was decontaminated.

The preparation (`check_data`) knows which text and keys an item is told by, and takes out of the sources what shares them. This
scan knows nothing of that: it reads the files that were written, looks into every string of every row, JSON text inside strings
included, and reports by detector what it finds again.
"""

from __future__ import annotations

import json
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from harness.assets.compounds import load_rdkit
from harness.assets.overlap import ngrams, words
from harness.assets.prepare import PreparedTask
from harness.spec.errors import MissingError

# A text of fewer words, and one word of fewer characters, is found in many places by chance.
_WORDS, _CHARACTERS = 6, 24
# Molecules of fewer atoms are reagents and building blocks that every data set of molecules shares.
_ATOMS = 6
_SMILES = re.compile(r"[A-Za-z0-9@+\-\[\]()=#$/\\.%:*]{3,}")

# An item is repeated where this share of its runs of words is found in one text; of fewer runs nothing is said.
_COVERED, _RUNS = 0.9, 5
# A run that more items have tells none of them apart.
_OWNERS = 3


@dataclass(frozen=True)
class Hit:
    """An evaluation item found again: by which detector, which item, in which file and line.

    Detectors: ``prompt`` (the whole prompt), ``question`` (all that the prompt shows of the item's row), ``ngram`` (nearly all
    its runs of 13 words in one text), ``molecule`` (chemistry: the molecule that the item is about, however it is written).
    """

    detector: str
    item: str
    place: str


@dataclass
class LeakReport:
    """What was searched and what was found.

    Attributes:
        items: dev and hidden items searched for.
        rows: source rows searched.
        counts: detector → places where it found an item; a detector that did not run is not here.
        hits: the first few of each detector.
        not_run: detector → why it did not run.
    """

    items: int
    rows: int = 0
    counts: Counter[str] = field(default_factory=Counter)
    hits: list[Hit] = field(default_factory=list)
    not_run: dict[str, str] = field(default_factory=dict)

    @property
    def found(self) -> int:
        """Places where an item was found."""
        return self.counts.total()

    def add(self, detector: str, item: str, place: str) -> None:
        """Note one find."""
        self.counts[detector] += 1
        if self.counts[detector] <= 3:
            self.hits.append(Hit(detector, item, place))


def scan_leaks(prepared: PreparedTask) -> LeakReport:
    """Search sources, worked examples, the data card and the task's visible files for dev and hidden items.

    Time is linear in the data; sources are read line by line.
    """
    items = [*_lines(prepared.dev_path), *_lines(prepared.hidden_path)]
    shots = list(_lines(prepared.few_shot_path))
    report = LeakReport(len(items), counts=Counter({"prompt": 0, "question": 0, "ngram": 0}))
    molecule_of = None
    if prepared.task.id.startswith("chemistry/"):
        try:
            molecule_of = _molecule_reader()
            report.counts["molecule"] = 0
        except MissingError as exc:
            report.not_run["molecule"] = exc.message
    index = _Index(items, molecule_of)
    for source in prepared.sources:
        for number, row in enumerate(_lines(source.path), 1):
            report.rows += 1
            _search_row(row, index, report, f"sources/{source.path.name}:{number}")
    for shot in shots:
        _search_row(shot, index, report, f"few_shot.jsonl, {shot['id']}")
    seen = [prepared.dir / "card.md", prepared.task.path / "instruction.md"]
    seen += sorted(p for p in (prepared.task.path / "environment").rglob("*") if p.is_file())
    for path in seen:
        _search_text(path.read_text(encoding="utf-8", errors="replace"), index, report, path.name)
    return report


class _Index:
    """What items are known by: their prompts, what a prompt shows of their rows, runs of words in that, their molecule."""

    def __init__(self, items: list[Any], molecule_of: Callable[[Any], str | None] | None) -> None:
        self.molecule_of = molecule_of
        self.prompts = {folded(str(item["prompt"])): str(item["id"]) for item in items}
        self.contents: dict[str, list[tuple[frozenset[str], str]]] = defaultdict(list)
        owners: dict[tuple[str, ...], set[str]] = defaultdict(set)
        for item in items:
            id, prompt = str(item["id"]), folded(str(item["prompt"]))
            content = frozenset(text for leaf in texts(item.get("row")) if (text := folded(leaf)) and text in prompt)
            if sum(len(text.split()) for text in content) >= _WORDS or any(is_long(text) for text in content):
                self.contents[max(content, key=len)].append((content, id))
            for leaf in content:
                for gram in ngrams(words(leaf)):
                    owners[gram].add(id)
        # runs that many items have are the task's own wording
        self.runs = {gram: ids for gram, ids in owners.items() if len(ids) <= _OWNERS}
        self.runs_of = Counter(id for ids in self.runs.values() for id in ids)
        found = [(molecule_of(item.get("row")), str(item["id"])) for item in items] if molecule_of else []
        self.molecules = {molecule: id for molecule, id in found if molecule}


def _search_row(row: Any, index: _Index, report: LeakReport, place: str) -> None:
    leaves = list(texts(row))
    here = {folded(leaf) for leaf in leaves}
    for text in here:
        if text in index.prompts:
            report.add("prompt", index.prompts[text], place)
        for content, item in index.contents.get(text, ()):
            if content <= here:
                report.add("question", item, place)
    for leaf in leaves:
        for item in _repeated(leaf, index):
            report.add("ngram", item, place)
    if index.molecule_of and (molecule := index.molecule_of(row.get("row", row))) in index.molecules:
        report.add("molecule", index.molecules[str(molecule)], place)


def _search_text(text: str, index: _Index, report: LeakReport, place: str) -> None:
    whole = folded(text)
    for prompt, item in index.prompts.items():
        if prompt in whole:
            report.add("prompt", item, place)
    for item in _repeated(text, index):
        report.add("ngram", item, place)


def _repeated(text: str, index: _Index) -> list[str]:
    """Items of whose runs of words a text has nearly all."""
    found = Counter(id for run in ngrams(words(text)) for id in index.runs.get(run, ()))
    return [id for id, count in found.items() if count >= _COVERED * index.runs_of[id] and index.runs_of[id] >= _RUNS]


def texts(value: Any) -> Iterator[str]:
    """Yield every string in a JSON value; a string that is JSON text itself gives the strings inside."""
    if isinstance(value, str):
        if value[:1] in ("{", "[", '"'):
            try:
                yield from texts(json.loads(value))
                return
            except (ValueError, RecursionError):
                pass
        yield value
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from texts(item)
    elif isinstance(value, list):
        for item in value:
            yield from texts(item)


def is_long(text: str) -> bool:
    """Whether a text is long enough to be told from others by itself."""
    tokens = text.split()
    return len(tokens) >= _WORDS or any(len(token) >= _CHARACTERS for token in tokens)


def folded(text: str) -> str:
    """Fold white space, punctuation around words and the case of plain words; formulas such as a SMILES keep theirs."""
    out = []
    for token in text.split():
        bare = token.strip(".,;:!?\"'“”‘’") or token
        out.append(bare.casefold() if bare.isalpha() else bare)
    return " ".join(out)


def _molecule_reader() -> Callable[[Any], str | None]:
    """Return a function that gives a row's subject, the largest molecule in its longest text, as canonical SMILES.

    Raises:
        MissingError: RDKit is not installed.
    """
    chem = load_rdkit()

    def read(row: Any) -> str | None:
        longest = max(texts(row), key=len, default="")
        found = [chem.MolFromSmiles(token.strip(".,:;")) for token in _SMILES.findall(longest) if not token.isdigit()]
        largest = max((m for m in found if m is not None), key=lambda m: int(m.GetNumHeavyAtoms()), default=None)
        return str(chem.MolToSmiles(largest)) if largest is not None and largest.GetNumHeavyAtoms() >= _ATOMS else None

    return read


def _lines(path: Path) -> Iterable[Any]:
    with path.open(encoding="utf-8") as stream:
        for line in stream:
            yield json.loads(line)
