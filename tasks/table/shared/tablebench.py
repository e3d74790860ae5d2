"""What the tasks about tables share: TableBench and TableInstruct in their own layout, small questions about packaged tables."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from harness.spec.errors import SpecError, UsageError
from harness.taskkit.building.data import BuildContext, Item, Source, SourceRow, TaskData
from harness.taskkit.building.hub import HubData, read_rows

from .packaged import VEGA, PackagedTables
from .table import Table

BENCH = HubData("Multilingual-Multimodal-NLP/TableBench", ("TableBench_TCoT.jsonl",), "Apache-2.0")
INSTRUCT = HubData(
    "Multilingual-Multimodal-NLP/TableInstruct",
    ("TableInstruct_instructions.jsonl",),
    "Apache-2.0",
    commit="41f6406234f22dee9323d4ce6aa5fdb33d9a2bd1",
)
_FIELDS = ("id", "qtype", "qsubtype", "table", "question", "answer", "chart_type", "instruction_type", "instruction")
_LICENCE = "MIT (tables of vega_datasets 0.9.0; questions and answers made by this task)"
_SHOTS = 4


@dataclass(frozen=True)
class Asked:
    """A question about a small table.

    Attributes:
        table: what is asked about.
        keys: what no other split may show.
        qsubtype: as TableBench names it.
        question: the question.
        answer: the gold answer, as TableBench writes it.
        response: what an assistant says.
        chart_type: of a figure that is asked for.
    """

    table: Table
    keys: tuple[str, ...]
    qsubtype: str
    question: str
    answer: str
    response: str
    chart_type: str = ""


Maker = Callable[[PackagedTables, random.Random, int], Asked]
"""Makes a question; the number says how many of its type there are already, so that answers can take turns."""


@dataclass(frozen=True)
class TableTask:
    """What is one task's own.

    Attributes:
        name: of the task, for ids.
        qtype: as TableBench names it.
        subset_of: a row's sub-set.
        suffix: what follows table and question in the mini profile's prompts: the form of the answer.
        full_suffix: the same in the full profile, where answers may be reasoned out.
        kinds: sub-set → question type → its maker.
        counts: split → items a sub-set.
        wrong: a wrong answer and its response, for sources.
        few_shot_from: where the full profile's worked examples come from: ``instruct``, or ``packaged`` tables.
    """

    name: str
    qtype: str
    subset_of: Callable[[Mapping[str, Any]], str]
    suffix: str
    full_suffix: str
    kinds: Mapping[str, Mapping[str, Maker]]
    counts: Mapping[str, int]
    wrong: Callable[[Asked, random.Random], tuple[str, str]]
    few_shot_from: str = "instruct"

    def build(self, profile: str, context: BuildContext) -> TaskData:
        """Build the data of one profile.

        Raises:
            UsageError: there is no such profile.
            MissingError: a package or data set cannot be had.
            SpecError: the benchmark's file holds nothing for this task.
        """
        if profile == "mini":
            return self._mini(context)
        if profile in ("full", "strict"):
            return self._full(context)
        raise UsageError(f"there is no profile {profile!r}", hint="mini, full or strict")

    # -- mini -------------------------------------------------------------------------------------------------------

    def _mini(self, context: BuildContext) -> TaskData:
        folder = context.package(VEGA)
        splits = {split: self._questions(context, split) for split in ("dev", "hidden", "few_shot")}
        tables = {name: PackagedTables(folder, "sources", context.rng(f"{name}-tables")) for name in ("tidy", "crowd", "scraped")}
        return TaskData(
            dev=splits["dev"],
            hidden=splits["hidden"],
            few_shot=splits["few_shot"],
            sources=[
                self._tidy(tables["tidy"], context.rng("tidy")),
                self._crowd(tables["crowd"], context.rng("crowd")),
                self._scraped(tables["scraped"], context.rng("scraped")),
            ],
            origin=[
                f"Mini profile: small cuts of real tables (cars, airports, weather, employment, driving, prices) of {VEGA.pin}.",
                "Every answer is computed from the table's numbers; rows are in TableBench's layout, with shorter questions.",
                "No row of a packaged table is shown in more than one of: training sources, worked examples, dev, hidden.",
                "The sources are raw: wrong, repeated and useless rows, answers in other forms, question types spread unevenly.",
            ],
            licences={VEGA.pin: VEGA.licence},
        )

    def _questions(self, context: BuildContext, split: str) -> list[Item]:
        rng = context.rng(split)
        tables = PackagedTables(context.package(VEGA), split, rng)
        items: list[Item] = []
        for subset, kinds in self.kinds.items():
            seen: set[str] = set()
            while len(seen) < self.counts[split]:
                kind = list(kinds)[len(seen) % len(kinds)]
                asked = kinds[kind](tables, rng, len(seen) // len(kinds))
                prompt = self.prompt(asked.table, asked.question, self.suffix)
                if prompt not in seen:
                    seen.add(prompt)
                    items.append(self._item(split, subset, kind, len(seen), asked, prompt))
        if split != "few_shot":
            rng.shuffle(items)
        return items

    def _item(self, split: str, subset: str, kind: str, number: int, asked: Asked, prompt: str) -> Item:
        name = f"{'shot' if split == 'few_shot' else split}-{subset}-{number:03d}"
        return Item(
            id=name,
            subset=subset,
            type=kind,
            prompt=prompt,
            gold=asked.answer,
            row=self._row(name, asked),
            keys=asked.keys,
            answer=asked.response if split == "few_shot" else "",
        )

    def _row(self, name: str, asked: Asked) -> dict[str, Any]:
        values = (name, self.qtype, asked.qsubtype, asked.table.as_json(), asked.question, asked.answer, asked.chart_type, "", "")
        return dict(zip(_FIELDS, values, strict=True))

    def _drawn(self, tables: PackagedTables, rng: random.Random, kinds: Sequence[str]) -> Asked:
        makers = {kind: maker for own in self.kinds.values() for kind, maker in own.items()}
        return makers[rng.choice(kinds)](tables, rng, rng.randrange(1000))

    def _all_kinds(self) -> list[str]:
        return [kind for own in self.kinds.values() for kind in own]

    def _source_row(self, name: str, asked: Asked, answer: str, response: str) -> SourceRow:
        return SourceRow(self._row(name, asked) | {"answer": answer, "response": response}, keys=asked.keys)

    def _tidy(self, tables: PackagedTables, rng: random.Random, count: int = 600) -> Source:
        kinds = self._all_kinds()[::2]
        rows = [self._drawn(tables, rng, kinds) for _ in range(count)]
        made = [self._source_row(f"tidy-{n:04d}", asked, asked.answer, asked.response) for n, asked in enumerate(rows)]
        return Source("tidy", "Checked questions about tables, of some types only.", _LICENCE, made)

    def _crowd(self, tables: PackagedTables, rng: random.Random, count: int = 1200) -> Source:
        asked: list[Asked] = []
        made = []
        for number in range(count):
            one = rng.choice(asked) if asked and rng.random() < 0.2 else self._drawn(tables, rng, self._all_kinds())
            asked.append(one)
            answer, response = self.wrong(one, rng) if rng.random() < 0.3 else (one.answer, one.response)
            made.append(self._source_row(f"crowd-{number:04d}", one, answer, response))
        return Source("crowd", "Questions of all types, answered by volunteers; nobody checked them.", _LICENCE, made)

    def _scraped(self, tables: PackagedTables, rng: random.Random, count: int = 900) -> Source:
        made = []
        for number in range(count):
            one = self._drawn(tables, rng, self._all_kinds()[1::2] or self._all_kinds())
            if rng.random() < 0.3:
                useless = Asked(one.table, one.keys, "Other", rng.choice(_OFF_TOPIC), "", "I am not sure, sorry.")
                made.append(self._source_row(f"scraped-{number:04d}", useless, "", useless.response))
                continue
            form = rng.choice(["{r}", "The answer is {a}.", "<b>{a}</b>", "{r}\n\nHope this helps!", "A: {a}"])
            response = form.format(r=one.response, a=one.answer)
            made.append(self._source_row(f"scraped-{number:04d}", one, one.answer, response))
        return Source("scraped", "Question-and-answer pairs scraped from pages, in many forms.", _LICENCE, made)

    # -- full -------------------------------------------------------------------------------------------------------

    def _full(self, context: BuildContext) -> TaskData:
        bench = context.hub(BENCH)
        rows = [row for file in BENCH.files for row in read_rows(bench.path(file)) if row.get("qtype") == self.qtype]
        groups = {subset: [row for row in rows if self.subset_of(row) == subset] for subset in self.kinds}
        dev, hidden = context.split([self._bench_item(s, n, row) for s, group in groups.items() for n, row in enumerate(group)])
        if not hidden:
            raise SpecError(f"{BENCH.repo}: no two rows of {self.qtype} in a sub-set", hint="check the mirror's file")
        instruct = context.hub(INSTRUCT)
        raw = [row for file in INSTRUCT.files for row in read_rows(instruct.path(file))]
        raw = [row for row in raw if row.get("qtype", self.qtype) == self.qtype]
        protected = {key for item in (*dev, *hidden) for key in item.keys}
        packaged = self.few_shot_from == "packaged"
        shots = self._questions(context, "few_shot") if packaged else self._instruct_shots(raw, protected)
        licences = {BENCH.repo: BENCH.licence, INSTRUCT.repo: INSTRUCT.licence} | ({VEGA.pin: VEGA.licence} if packaged else {})
        return TaskData(
            dev=dev,
            hidden=hidden,
            few_shot=shots,
            sources=[
                Source(
                    "tableinstruct",
                    f"TableInstruct, {self.qtype}: tables, questions and instructions.",
                    INSTRUCT.licence,
                    [SourceRow(row, str(row.get("question", "")), table_keys(row)) for row in raw],
                )
            ],
            origin=[
                f"Benchmark: TableBench, {self.qtype}.",
                context.split_rule(),
                "Training source: TableInstruct, minus rows with a table or a question of dev or hidden.",
            ],
            licences=licences,
            fixed_split=not context.strict,
        )

    def _bench_item(self, subset: str, number: int, row: Mapping[str, Any]) -> Item:
        table = Table.read(row["table"])
        question = str(row["question"])
        return Item(
            id=f"{self.name}-{subset}-{number:03d}",
            subset=subset,
            type=str(row.get("qsubtype") or subset),
            prompt=self.prompt(table, question, self.full_suffix),
            gold=row["answer"],
            row={field: row.get(field, "") for field in _FIELDS if field != "instruction"} | {"table": table.as_json()},
            text=question,
            keys=(table.key(),),
        )

    def _instruct_shots(self, raw: Sequence[dict[str, Any]], protected: set[str]) -> list[Item]:
        """The first rows of TableInstruct with a table of their own and an answer, spread over the sub-sets."""
        shots: list[Item] = []
        for subset in self.kinds:
            found: list[dict[str, Any]] = []
            for row in raw:
                if len(found) == max(1, _SHOTS // len(self.kinds)):
                    break
                keys = table_keys(row)
                if keys and not protected & set(keys) and row.get("answer") and self._is_of(row, subset) and "table" in row:
                    found.append(row)
            for n, row in enumerate(found):
                item = self._bench_item(subset, n, row)
                response = f"Final Answer: {' '.join(str(row['answer']).split())}"
                shots.append(Item(**{**vars(item), "id": f"shot-{subset}-{n}", "text": "", "answer": response}))
        if not shots:
            raise SpecError(f"{INSTRUCT.repo}: no row of {self.qtype} fit for a worked example", hint="check the mirror's file")
        return shots

    def _is_of(self, row: Mapping[str, Any], subset: str) -> bool:
        try:
            return self.subset_of(row) == subset
        except (KeyError, ValueError):
            return False

    @staticmethod
    def prompt(table: Table, question: str, suffix: str) -> str:
        """The whole user message."""
        return f"{table.as_text()}\n{question}\n{suffix}"


def table_keys(row: Mapping[str, Any]) -> tuple[str, ...]:
    """Key of the table of a row, from its field or from the instruction that holds it; none where there is none to read."""
    value = row.get("table")
    if not value:
        text = str(row.get("instruction", ""))
        start = text.find('{"columns"')
        if start < 0:
            return ()
        try:
            value = json.JSONDecoder().raw_decode(text[start:])[0]
        except ValueError:
            return ()
    try:
        return (Table.read(value).key(),)
    except ValueError:
        return ()


def final(answer: object) -> str:
    """What an assistant says whose answer is ``answer``."""
    return f"Final Answer: {answer}"


def number_text(value: float) -> str:
    """A number as tables and answers show it: at most two decimals, none where there are none."""
    value = round(value, 2)
    return str(int(value)) if float(value).is_integer() else str(value)


def wrong_final(asked: Asked, rng: random.Random) -> tuple[str, str]:
    """A wrong answer of the right kind: the other word, another number, or something else that stands in the table."""
    if asked.answer in ("Yes", "No"):
        answer = "No" if asked.answer == "Yes" else "Yes"
    else:
        pool = {str(cell) for row in asked.table.rows for cell in row} | set(asked.table.columns)
        if _is_number(asked.answer):
            pool = {text for text in pool if _is_number(text)} | {number_text(float(asked.answer) * 10 + 1)}
        else:
            pool = {text for text in pool if not _is_number(text)}
        answer = rng.choice(sorted(pool - {asked.answer}))
    return answer, final(answer)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


_OFF_TOPIC = (
    "Who made this table?",
    "Is this table pretty?",
    "What is the meaning of it all?",
    "Please write a poem about the table.",
)
