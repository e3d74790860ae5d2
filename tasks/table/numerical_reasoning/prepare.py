"""Data of table/numerical_reasoning. ``mini``: sums over packaged tables. ``full``: TableBench and TableInstruct."""

from __future__ import annotations

import random

from harness.taskkit.building.data import BuildContext, TaskData

from ..shared.packaged import VEGA, PackagedTables, Sample
from ..shared.tablebench import BENCH, INSTRUCT, Asked, TableTask, final, number_text, wrong_final


def build(profile: str, context: BuildContext) -> TaskData:
    """Build the data of one profile."""
    return TASK.build(profile, context)


def extreme(tables: PackagedTables, rng: random.Random, turn: int) -> Asked:
    """The highest or lowest number of a column."""
    sample = tables.draw(4, 2)
    column = rng.choice([1, 2])
    word, pick = rng.choice([("highest", max), ("lowest", min)])
    question = f"What is the {word} {sample.table.columns[column]}?"
    return _asked(sample, "Comparison", question, pick(sample.numbers(column)))


def ranked(tables: PackagedTables, rng: random.Random, turn: int) -> Asked:
    """The second highest number of a column."""
    sample = tables.draw(4, 1)
    question = f"What is the second highest {sample.table.columns[1]}?"
    return _asked(sample, "Ranking", question, sorted(sample.numbers(1))[-2])


def count(tables: PackagedTables, rng: random.Random, turn: int) -> Asked:
    """How many rows lie above a number that lies between two of them; each count is equally likely."""
    sample = tables.draw(5, 1)
    numbers = sorted(sample.numbers(1))
    place = 1 + turn % 4
    bound = number_text((numbers[place - 1] + numbers[place]) / 2)
    above = sum(number > float(bound) for number in numbers)
    return _asked(sample, "Counting", f"How many rows have a {sample.table.columns[1]} above {bound}?", above)


def total(tables: PackagedTables, rng: random.Random, turn: int) -> Asked:
    """The sum of two rows."""
    sample = tables.draw(3, 1)
    one, other = rng.sample(range(3), 2)
    question = f"What is the {sample.table.columns[1]} of {sample.names[one]} and {sample.names[other]} together?"
    return _asked(sample, "Aggregation", question, sample.numbers(1)[one] + sample.numbers(1)[other])


def difference(tables: PackagedTables, rng: random.Random, turn: int) -> Asked:
    """The difference of two rows, which may be negative."""
    sample = tables.draw(3, 1)
    one, other = rng.sample(range(3), 2)
    question = f"What is the {sample.table.columns[1]} of {sample.names[one]} minus that of {sample.names[other]}?"
    return _asked(sample, "ArithmeticCalculation", question, sample.numbers(1)[one] - sample.numbers(1)[other])


def _asked(sample: Sample, qsubtype: str, question: str, answer: float) -> Asked:
    text = number_text(answer)
    return Asked(sample.table, sample.keys, qsubtype, question, text, final(text))


TASK = TableTask(
    name="numerical_reasoning",
    qtype="NumericalReasoning",
    subset_of=lambda row: "numerical_reasoning",
    suffix="Reply as Final Answer: ...",
    full_suffix="Think first if you need to. End with one line `Final Answer: ...` that holds nothing but the answer.",
    kinds={
        "numerical_reasoning": {"extreme": extreme, "total": total, "ranked": ranked, "difference": difference, "count": count}
    },
    counts={"dev": 60, "hidden": 200, "few_shot": 5},
    wrong=wrong_final,
)

# what each profile is made from, for `dojo data prepare --dry-run`
FETCHES = {"mini": (VEGA,), "full": (BENCH, INSTRUCT)}
