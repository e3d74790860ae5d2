from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from harness.analysis.report import markdown_report
from harness.spec import Cause, Outcome, RunResult, RunState
from harness.spec.result import PhaseTime

Build = Callable[..., RunResult]
ROOT = Path(__file__).parents[3]


def drawn(result: Build, agent: str, level: float, seeds: int) -> list[RunResult]:
    rng = np.random.default_rng([*agent.encode()])
    return [result(agent, s, (rng.random(90) < level).astype(float), references={"base": 0.1}) for s in range(seeds)]


def cells(page: str, start: str) -> list[list[str]]:
    """Return the cells of the table rows that begin with ``start``."""
    rows = [line for line in page.splitlines() if line.startswith(f"| {start}")]
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", row)[1:-1]] for row in rows]


def test_the_page_holds_leaderboard_comparison_runs_and_timelines(result: Build) -> None:
    runs = [
        *drawn(result, "good", 0.8, 3),
        *drawn(result, "bad", 0.2, 2),
        result("bad", 9, [1], cause=Cause.SANDBOX, graded=False),
    ]
    entered = datetime(2026, 1, 1, 9, 30, tzinfo=UTC)
    timeline = (PhaseTime(state=RunState.RUNNING, entered=entered, seconds=75.0), PhaseTime(state=RunState.DONE, entered=entered))
    runs[0] = runs[0].model_copy(update={"timeline": timeline})
    page = markdown_report("Batch b1", runs, {"r001": "runs/r001/"}, ["plots/leaderboard.png"])
    assert page.startswith("# Batch b1\n")
    assert cells(page, "1 | good")[0][2] == "3" and cells(page, "2 | bad")[0][2] == "2"
    assert cells(page, " | (base)")[0][3] == "0.100"
    verdict = cells(page, "good against bad")[0]
    assert verdict[6] == "3+2" and verdict[7].startswith("better")
    assert "r006 (bad, math/sums): sandbox is no measurement" in page
    assert [row[0] for row in cells(page, "r00")] == [f"r00{n}" for n in range(1, 7)]
    assert cells(page, "r001")[0][-1] == "[open](<runs/r001/>)" and cells(page, "r002")[0][-1] == ""
    assert "- r001: 2026-01-01 09:30:00 UTC: running 1 min 15 s → done" in page
    assert "![plots/leaderboard.png](<plots/leaderboard.png>)" in page


def test_text_from_agents_stays_text(result: Build) -> None:
    hostile = "gone | ![x](http://evil) <img src=x>\n# top\x1b[31m\u202e `code`"
    run = drawn(result, "good", 0.8, 1)[0]
    run = run.model_copy(update={"outcome": Outcome(cause=Cause.AGENT_ERROR, phase="agent", message=hostile)})
    page = markdown_report("b", [run])
    assert len(cells(page, "r001")[0]) == 11
    assert "<img" not in page and "http://" not in page and not re.search(r"(?<!\\)\]\(", page)
    assert not re.search(r"[\x1b\u202e]", page) and "\n# top" not in page


def test_a_batch_without_a_measurement_says_so(result: Build) -> None:
    page = markdown_report("b", [result("a", 0, [1], cause=Cause.HARNESS, graded=False)])
    assert "No run has been measured." in page and "harness is no measurement" in page
    assert "## Comparisons" not in page


def test_the_coverage_benchmark_prints_its_table_and_writes_every_cell(tmp_path: Path) -> None:
    out = tmp_path / "coverage.json"
    command = [sys.executable, str(ROOT / "benchmarks/coverage.py"), "--draws", "4", "--json", str(out)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
    assert done.stdout.count(" % |") == 4 * 4
    cells = json.loads(out.read_text())["cells"]
    assert len({(c["runs"], c["items"], c["run_sd"], c["agent_item_sd"]) for c in cells}) == 144
    assert all(0 <= c["crossed"] <= 1 for c in cells)
