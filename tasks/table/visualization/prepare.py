"""Data of table/visualization. ``mini``: figures of packaged tables. ``full``: TableBench's Visualization and TableInstruct."""

from __future__ import annotations

import json
import random

from harness.taskkit.building.data import BuildContext, TaskData

from ..shared.packaged import VEGA, PackagedTables, Sample
from ..shared.tablebench import BENCH, INSTRUCT, Asked, TableTask

_HEAD = "import pandas as pd\nimport matplotlib.pyplot as plt\ndf = pd.read_csv('table.csv')\n"


def build(profile: str, context: BuildContext) -> TaskData:
    """Build the data of one profile."""
    return TASK.build(profile, context)


def bar(tables: PackagedTables, rng: random.Random, turn: int) -> Asked:
    """Bars of one of two columns."""
    sample, column = tables.draw(4, 2), rng.choice([1, 2])
    return _asked(sample, column, "bar", "Draw a bar chart of {0} by {1}.", "plt.bar(df['{1}'], df['{0}'])")


def line(tables: PackagedTables, rng: random.Random, turn: int) -> Asked:
    """A line of one of two columns, in the table's order."""
    sample, column = tables.draw(5, 2, in_order=True, distinct=False), rng.choice([1, 2])
    return _asked(sample, column, "line", "Draw a line chart of {0} over {1}.", "plt.plot(df['{1}'], df['{0}'])")


def pie(tables: PackagedTables, rng: random.Random, turn: int) -> Asked:
    """Shares of one of two columns; positive numbers only."""
    while True:
        sample, column = tables.draw(3, 2), rng.choice([1, 2])
        if min(sample.numbers(column)) > 0:
            return _asked(sample, column, "pie", "Draw a pie chart of {0} by {1}.", "plt.pie(df['{0}'], labels=df['{1}'])")


def scatter(tables: PackagedTables, rng: random.Random, turn: int) -> Asked:
    """Points of one of two columns."""
    sample, column = tables.draw(4, 2), rng.choice([1, 2])
    return _asked(sample, column, "scatter", "Draw a scatter plot of {0} by {1}.", "plt.scatter(df['{1}'], df['{0}'])")


def _asked(sample: Sample, column: int, chart: str, question: str, call: str) -> Asked:
    head, first = sample.table.columns[column], sample.table.columns[0]
    answer = f"y_references = {json.dumps([sample.numbers(column)])}"
    question, call = question.format(head, first), call.format(head, first)
    return Asked(sample.table, sample.keys, "ChartGeneration", question, answer, _block(call), chart)


def _block(call: str) -> str:
    return f"```python\n{_HEAD}{call}\n```"


def _wrong(asked: Asked, rng: random.Random) -> tuple[str, str]:
    """Code that draws nothing, does not run, or draws another column."""
    columns = asked.table.columns
    call = rng.choice(["plt.show()", f"plt.bar(df['{columns[0]}'])", f"plt.plot(df['{columns[0]}'], df['{columns[0]}'])"])
    return asked.answer, _block(call)


TASK = TableTask(
    name="visualization",
    qtype="Visualization",
    subset_of=lambda row: "visualization",
    suffix="The table is in table.csv. Reply with a ```python block.",
    full_suffix="The table lies as `table.csv` (with a header, without an index) in the working folder. "
    "Write a complete Python program that reads it and draws the figure with matplotlib or pandas, in one ```python block.",
    kinds={"visualization": {"bar": bar, "line": line, "pie": pie, "scatter": scatter}},
    counts={"dev": 24, "hidden": 48, "few_shot": 4},
    wrong=_wrong,
    few_shot_from="packaged",
)

# what each profile is made from, for `dojo data prepare --dry-run`; full takes its worked examples from the packaged tables
FETCHES = {"mini": (VEGA,), "full": (BENCH, INSTRUCT, VEGA)}
