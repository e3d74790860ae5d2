"""What an agent can read, searched for what it is asked: a second look at prepared data, apart from how it was decontaminated.

The preparation (`check_data`) knows which text and keys an item is told by, and takes out of the sources what shares them. This
scan knows nothing of that: it reads the files that were written, looks into every string of every row, JSON text inside strings
included, and reports by detector what it finds again.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from harness.assets.check_data import leaks
from harness.assets.prepare import PreparedTask
from harness.assets.task_program import load_build
from harness.spec.errors import MissingError
from harness.taskkit.building.data import Item
from harness.taskkit.building.overlap import ngrams, texts

# A text of fewer words, and one word of fewer characters, is found in many places by chance.
_WORDS, _CHARACTERS = 6, 24
# An item is repeated where this share of its runs of words is found in one text; of fewer runs nothing is said.
_COVERED, _RUNS = 0.9, 5
# A run that more items have tells none of them apart.
_OWNERS = 3
# A prompt inside a longer text is looked for where this many of its tokens stand in a row.
_ANCHOR = 5
_WORD = re.compile(r"\w+")


@dataclass(frozen=True)
class Hit:
    """An evaluation item found again: by which detector, which item, in which file and line.

    Detectors: ``prompt`` (the whole prompt), ``question`` (all that the prompt shows of the item's row), ``ngram`` (nearly all
    its runs of 13 words in one text), ``answers`` (an id or the order of the items gives golds away), ``subject`` (what the item
    asks about, however it is written, where the task's ``prepare.py`` tells subjects).
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
        items_found: which items were found, by whatever detector.
    """

    items: int
    rows: int = 0
    counts: Counter[str] = field(default_factory=Counter)
    hits: list[Hit] = field(default_factory=list)
    not_run: dict[str, str] = field(default_factory=dict)
    items_found: set[str] = field(default_factory=set)

    @property
    def found(self) -> int:
        """Places where an item was found."""
        return self.counts.total()

    def add(self, detector: str, item: str, place: str) -> None:
        """Note one find."""
        self.counts[detector] += 1
        self.items_found.add(item)
        if self.counts[detector] <= 3:
            self.hits.append(Hit(detector, item, place))


def scan_leaks(prepared: PreparedTask) -> LeakReport:
    """Search sources, worked examples, the data card and the task's visible files for dev and hidden items.

    Dev is searched for hidden items too, but where the manifest says what the benchmark's own rule let them share. Time is
    linear in the data; sources are read line by line.
    """
    dev, secret = list(_lines(prepared.dev_path)), list(_lines(prepared.hidden_path))
    items = [*dev, *secret]
    shots = list(_lines(prepared.few_shot_path))
    report = LeakReport(len(items), counts=Counter({"prompt": 0, "question": 0, "ngram": 0, "answers": 0}))
    told = _subjects_told(prepared, report)
    for name, split in {"dev": dev, "hidden": secret}.items():
        for problem in leaks(name, [_item(line) for line in split]):
            report.add("answers", problem, f"{name}.jsonl")
    index = _Index(items, told)
    if not prepared.manifest.get("shared_by_dev_and_hidden"):
        _search_dev(dev, _Index(secret, told), report)
    for source in prepared.sources:
        for number, row in enumerate(_lines(source.path), 1):
            report.rows += 1
            _search_row(row, index, report, f"sources/{source.path.name}:{number}")
    for shot in shots:
        _search_row(shot, index, report, f"few_shot.jsonl, {shot['id']}")
    seen = [prepared.dir / "card.md", prepared.task.path / "instruction.md"]
    for path in seen:
        _search_text(path.read_text(encoding="utf-8", errors="replace"), index, report, path.name)
    return report


def scan_texts(hidden: Path, said: Iterable[tuple[str, str]]) -> LeakReport:
    """Search what an agent said, (place, text) by (place, text), for a split's items: whole prompts, nearly whole wordings."""
    return search_texts(read_lines(hidden), said)


def read_lines(split: Path) -> list[dict[str, Any]]:
    """Return the items of a prepared split."""
    return list(_lines(split))


def search_texts(items: list[dict[str, Any]], said: Iterable[tuple[str, str]]) -> LeakReport:
    """Search texts, (place, text) by (place, text), for items that need not lie in a file; see `scan_texts`."""
    report = LeakReport(len(items), counts=Counter({"prompt": 0, "ngram": 0}))
    index = _Index(items, None)
    for place, text in said:
        report.rows += 1
        _search_text(text, index, report, place)
    return report


@dataclass(frozen=True)
class _Subjects:
    """A task's ``subjects(row)`` and ``mentions(row)``: what a question is about, and all that a row of any kind speaks of."""

    of: Callable[[Any], Collection[str]]
    mentioned: Callable[[Any], Collection[str]]


def _subjects_told(prepared: PreparedTask, report: LeakReport) -> _Subjects | None:
    """Return how the task tells subjects, or None where it does not or something that it needs is missing."""
    module = load_build(prepared.task)
    of = getattr(module, "subjects", None)
    if of is None:
        return None
    told = _Subjects(of, getattr(module, "mentions", of))
    try:
        told.of({}), told.mentioned({})
    except MissingError as exc:
        report.not_run["subject"] = exc.message
        return None
    report.counts["subject"] = 0
    return told


class _Index:
    """What items are known by: their prompts, what a prompt shows of their rows, runs of words in that, their subjects."""

    def __init__(self, items: list[Any], told: _Subjects | None) -> None:
        self.told = told
        self.prompts = {self.form(str(item["prompt"])): str(item["id"]) for item in items}
        self.anchors = _anchors(self.prompts)
        self.contents: dict[str, list[tuple[frozenset[str], str]]] = defaultdict(list)
        owners: dict[tuple[str, ...], set[str]] = defaultdict(set)
        for item in items:
            id, prompt = str(item["id"]), folded(str(item["prompt"]))
            content = frozenset(text for leaf in texts(item.get("row")) if (text := folded(leaf)) and text in prompt)
            if sum(len(text.split()) for text in content) >= _WORDS or any(is_long(text) for text in content):
                self.contents[max(content, key=len)].append((content, id))
            for leaf in content:
                for gram in ngrams(wording(leaf)):
                    owners[gram].add(id)
        # runs that many items have are the task's own wording
        self.runs = {gram: ids for gram, ids in owners.items() if len(ids) <= _OWNERS}
        self.runs_of = Counter(id for ids in self.runs.values() for id in ids)
        self.subjects: dict[str, list[str]] = defaultdict(list)
        for item in items if told else ():
            for subject in told.of(item.get("row")) if told else ():
                self.subjects[subject].append(str(item["id"]))

    def form(self, text: str) -> str:
        """The form in which prompts are compared: case means something in formulas only, and who has them tells subjects."""
        return folded(text) if self.told else folded(text).casefold()

    def prompts_in(self, text: str) -> set[str]:
        """Items whose whole prompt stands in a text."""
        whole = self.form(text)
        found = {self.prompts[whole]} if whole in self.prompts else set()
        tokens = whole.split()
        for start in range(len(tokens) - _ANCHOR + 1):
            for prompt in self.anchors.get(tuple(tokens[start : start + _ANCHOR]), ()):
                if self.prompts[prompt] not in found and f" {prompt} " in f" {whole} ":
                    found.add(self.prompts[prompt])
        return found


def _anchors(prompts: Iterable[str]) -> dict[tuple[str, ...], list[str]]:
    """Run of tokens → prompts told by it: of each prompt the run that the fewest prompts have."""
    runs = {prompt: [run for run in ngrams(prompt.split(), _ANCHOR)] for prompt in prompts}
    common = Counter(run for found in runs.values() for run in found)
    anchors: dict[tuple[str, ...], list[str]] = defaultdict(list)
    for prompt, found in runs.items():
        if found:
            anchors[min(found, key=lambda run: (common[run], run))].append(prompt)
    return anchors


def _search_dev(dev: list[Any], secret: _Index, report: LeakReport) -> None:
    for item in dev:
        place = f"dev.jsonl, {item['id']}"
        if found := secret.prompts.get(secret.form(str(item["prompt"]))):
            report.add("prompt", found, place)
        for subject in sorted(secret.told.of(item.get("row"))) if secret.told else ():
            for id in secret.subjects.get(subject, ()):
                report.add("subject", id, place)


def _search_row(row: Any, index: _Index, report: LeakReport, place: str) -> None:
    leaves = list(texts(row))
    here = {folded(leaf) for leaf in leaves}
    for item in sorted(set().union(*(index.prompts_in(leaf) for leaf in leaves))):
        report.add("prompt", item, place)
    for text in here:
        for content, item in index.contents.get(text, ()):
            if content <= here:
                report.add("question", item, place)
    for leaf in leaves:
        for item in _repeated(leaf, index):
            report.add("ngram", item, place)
    for subject in sorted(index.told.mentioned(row.get("row", row))) if index.told else ():
        for id in index.subjects.get(subject, ()):
            report.add("subject", id, place)


def _search_text(text: str, index: _Index, report: LeakReport, place: str) -> None:
    for item in sorted(index.prompts_in(text)):
        report.add("prompt", item, place)
    for item in _repeated(text, index):
        report.add("ngram", item, place)


def _repeated(text: str, index: _Index) -> list[str]:
    """Items of whose runs of words a text has nearly all."""
    found = Counter(id for run in ngrams(wording(text)) for id in index.runs.get(run, ()))
    return [id for id, count in found.items() if count >= _COVERED * index.runs_of[id] and index.runs_of[id] >= _RUNS]


def is_long(text: str) -> bool:
    """Whether a text is long enough to be told from others by itself."""
    tokens = text.split()
    return len(tokens) >= _WORDS or any(len(token) >= _CHARACTERS for token in tokens)


def wording(text: str) -> list[str]:
    """Return a text's words as `taskkit.building.overlap.words` does, but with digits they keep their case: `c1` is not `C1`."""
    found = _WORD.findall(unicodedata.normalize("NFKC", text))
    return [word.casefold() if word.isalpha() else word for word in found]


def folded(text: str) -> str:
    """Fold white space, punctuation around words and the case of plain words; formulas keep theirs."""
    out = []
    for token in text.split():
        bare = token.strip(".,;:!?\"'“”‘’") or token
        out.append(bare.casefold() if bare.isalpha() else bare)
    return " ".join(out)


def _item(line: Any) -> Item:
    return Item(**{key: line[key] for key in ("id", "subset", "type", "prompt", "gold", "row")})


def _lines(path: Path) -> Iterable[Any]:
    with path.open(encoding="utf-8") as stream:
        for line in stream:
            yield json.loads(line)
