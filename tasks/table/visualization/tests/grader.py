"""Scores answers to table/visualization: the code of the last ```python block is run, and what it draws is compared."""

from __future__ import annotations

import ast
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

from harness.taskkit.scoring.extraction import as_object

from ...shared.answers import last_code_block
from ...shared.figures import draw, same_series
from ...shared.table import Table

SUBSET_METRICS = {"visualization": "pass_at_1"}
QTYPE = "Visualization"

_REFERENCES = re.compile(r"\s*(?:y_references\s*=)?\s*(\[.*\])\s*", re.DOTALL)
# More than 16,384 tokens of code.
_MAX_CODE = 200_000


def subset_of(row: Mapping[str, Any]) -> str:
    """There is one sub-set; a row of another question type is none of it."""
    if row.get("qtype", QTYPE) != QTYPE:
        raise ValueError(f"qtype {row['qtype']!r} is not {QTYPE}")
    row["answer"], row["table"]
    return "visualization"


def references(answer: Any) -> list[list[float]]:
    """The gold series, from ``y_references = [[…], …]`` or the lists themselves.

    Raises:
        ValueError: they are no lists of finite numbers.
    """
    if isinstance(answer, str):
        match = _REFERENCES.fullmatch(answer)
        if match is None:
            raise ValueError(f"gold answer {answer[:100]!r} holds no y_references")
        answer = ast.literal_eval(match.group(1))
    rows = answer if answer and all(isinstance(row, list | tuple) for row in answer) else [answer]
    series = [[float(value) for value in row] for row in rows]
    if not all(row and all(math.isfinite(value) for value in row) for row in series):
        raise ValueError("gold series are lists of finite numbers")
    return series


def score(row: Mapping[str, Any], response: str, subset: str) -> dict[str, Any]:
    """1 if the code ends normally in time and draws exactly the gold series; ``executed_rate`` says whether it ended so."""
    wanted = references(row["answer"])
    table = Table.read(row["table"]).as_csv()
    code = last_code_block(response, "python")
    if code is None or len(code) > _MAX_CODE:
        return {"parsed": code is not None, "value": None, "score": 0.0, "metrics": {"executed_rate": 0.0}}
    drawing = draw(code, table)
    executed = drawing.error is None
    right = executed and same_series(drawing.series, wanted)
    return {"parsed": True, "value": code, "score": float(right), "metrics": {"executed_rate": float(executed)}}


def constant_answers(items: Sequence[Mapping[str, Any]]) -> list[str]:
    """For each chart type that occurs: the program that draws the first, or the last, column of numbers of any table.

    A program for each gold answer would have to be run on every item and could draw no other table.
    """
    calls = {"pie": "plt.pie({y})", "scatter": "plt.scatter(df.index, {y})", "line": "plt.plot({y})"}
    kinds = dict.fromkeys(str(item["row"].get("chart_type") or "bar") for item in items)
    head = "import pandas as pd\nimport matplotlib.pyplot as plt\ndf = pd.read_csv('table.csv')\n"
    columns = ["df.iloc[:, 1]", "df.iloc[:, -1]"]
    answers = [calls.get(kind, "plt.bar(df.index, {y})").format(y=y) for kind in kinds for y in columns]
    return list(dict.fromkeys(f"```python\n{head}{call}\n```" for call in answers))


def process_results(doc: Mapping[str, Any], results: Sequence[str]) -> dict[str, float]:
    """What lm-eval calls for each item."""
    scored = score(as_object(doc["row"]), results[0], doc["subset"])
    return {"score": scored["score"], "parsed": float(scored["parsed"])}
