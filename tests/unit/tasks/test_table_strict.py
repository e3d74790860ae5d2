"""The strict profile of a table task: hidden is what dev leaves, and no table is in both."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from task_cases import lines, task

from harness.assets.prepare import PreparedTask, prepare_task
from tasks.table.shared.tablebench import table_keys

TASK = task("table/numerical_reasoning")


def row(table: int, question: int) -> dict[str, Any]:
    shown = {"columns": ["place", "size"], "data": [[f"town {table}", 10 + table], ["hill", 3]]}
    return {
        "id": f"{table}-{question}",
        "qtype": "NumericalReasoning",
        "qsubtype": ["Counting", "Ranking"][question % 2],
        "table": json.dumps(shown),
        "question": f"What is asked as number {question} about town {table}?",
        "answer": str(table),
        "chart_type": "",
        "instruction_type": "TCoT",
        "instruction": "",
    }


@pytest.fixture
def prepared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[PreparedTask, PreparedTask]:
    root = tmp_path / "mirror" / "datasets" / "Multilingual-Multimodal-NLP"
    bench = [row(table, question) for table in range(100) for question in range(4)]
    instruct = [row(table, 9) for table in range(98, 110)]
    files = {"TableBench/TableBench_TCoT.jsonl": bench, "TableInstruct/TableInstruct_instructions.jsonl": instruct}
    for file, rows in files.items():
        (root / file).parent.mkdir(parents=True)
        (root / file).write_text("".join(json.dumps(r) + "\n" for r in rows))
    monkeypatch.setenv("DOJO_HUB_MIRROR", str(tmp_path / "mirror"))
    full, strict = (prepare_task(TASK, profile, tmp_path / "cache") for profile in ("full", "strict"))
    return full, strict


def test_strict_hides_all_that_dev_leaves_and_no_table_is_in_both(prepared: tuple[PreparedTask, PreparedTask]) -> None:
    full, strict = prepared
    assert (len(lines(full.dev_path)), len(lines(full.hidden_path))) == (100, 100)
    assert full.manifest["shared_by_dev_and_hidden"]
    dev, hidden = lines(strict.dev_path), lines(strict.hidden_path)
    assert (len(dev), len(hidden)) == (100, 300) and strict.manifest["shared_by_dev_and_hidden"] == []
    tables = [{key for item in split for key in table_keys(item["row"])} for split in (dev, hidden)]
    assert len(tables[0]) == 25 and len(tables[1]) == 75 and not tables[0] & tables[1]
    assert sum(item["type"] == "Ranking" for item in dev) == 50


def test_strict_frees_its_source_of_every_table_of_either_split(prepared: tuple[PreparedTask, PreparedTask]) -> None:
    _, strict = prepared
    assert strict.manifest["removed"]["tableinstruct"]["removed"] == 2
