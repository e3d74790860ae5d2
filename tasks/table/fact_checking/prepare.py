"""Data of table/fact_checking. ``mini``: facts of packaged tables. ``full``: TableBench's FactChecking and TableInstruct."""

from __future__ import annotations

import random

from harness.taskkit.building.data import BuildContext, TaskData

from ..shared.packaged import VEGA, PackagedTables, Sample
from ..shared.tablebench import BENCH, INSTRUCT, Asked, TableTask, final, number_text, wrong_final


def build(profile: str, context: BuildContext) -> TaskData:
    """Build the data of one profile."""
    return TASK.build(profile, context)


def look_up(tables: PackagedTables, rng: random.Random, turn: int) -> Asked:
    """One cell."""
    sample = tables.draw(4, 2)
    row, column = rng.randrange(4), rng.choice([1, 2])
    name, head = sample.names[row], sample.table.columns[column]
    return _asked(sample, "MatchBased", f"What is the {head} of {name}?", number_text(sample.numbers(column)[row]))


def find(tables: PackagedTables, rng: random.Random, turn: int) -> Asked:
    """The row with a number."""
    sample = tables.draw(4, 2)
    row, column = rng.randrange(4), rng.choice([1, 2])
    first, head = sample.table.columns[0], sample.table.columns[column]
    value = number_text(sample.numbers(column)[row])
    return _asked(sample, "MatchBased", f"Which {first} has the {head} {value}?", sample.names[row])


def highest(tables: PackagedTables, rng: random.Random, turn: int) -> Asked:
    """The row with the highest or lowest number."""
    sample = tables.draw(4, 1)
    word, pick = rng.choice([("highest", max), ("lowest", min)])
    first, head = sample.table.columns
    row = sample.numbers(1).index(pick(sample.numbers(1)))
    return _asked(sample, "Multi-hop FactChecking", f"Which {first} has the {word} {head}?", sample.names[row])


def compare(tables: PackagedTables, rng: random.Random, turn: int) -> Asked:
    """Whether one number is higher than another; yes and no alike often."""
    sample = tables.draw(3, 1)
    head = sample.table.columns[1]
    low, high = sorted(rng.sample(range(3), 2), key=lambda row: sample.numbers(1)[row])
    answer = ("Yes", "No")[turn % 2]
    one, other = (high, low) if answer == "Yes" else (low, high)
    question = f"Is the {head} of {sample.names[one]} higher than that of {sample.names[other]}? Yes or No?"
    return _asked(sample, "Multi-hop FactChecking", question, answer)


def _asked(sample: Sample, qsubtype: str, question: str, answer: str) -> Asked:
    return Asked(sample.table, sample.keys, qsubtype, question, answer, final(answer))


TASK = TableTask(
    name="fact_checking",
    qtype="FactChecking",
    subset_of=lambda row: "fact_checking",
    suffix="Reply as Final Answer: ...",
    full_suffix="Think first if you need to. End with one line `Final Answer: ...` that holds nothing but the answer.",
    kinds={"fact_checking": {"look_up": look_up, "highest": highest, "find": find, "compare": compare}},
    counts={"dev": 60, "hidden": 160, "few_shot": 4},
    wrong=wrong_final,
)

# what each profile is made from, for `dojo data prepare --dry-run`
FETCHES = {"mini": (VEGA,), "full": (BENCH, INSTRUCT)}
