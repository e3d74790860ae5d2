"""What looking at a hundred thousand runs costs: the store and the statistics against a bare SQLite query of the same rows.

    python benchmarks/store.py [--runs 100000] [--rounds 5] [--json FILE]

The runs are made up: ten tasks of a hundred items, ten agents, several seeds, a thousand batches, some runs that do not count;
only the index is filled, no folder. Each question is asked as `dojo` asks it, by a store of its own that opens the database for
looking, and beside it the same rows are fetched by `sqlite3` alone. Medians over rounds; imports are paid before. Exit code 1
when a question takes a second or more.
"""

from __future__ import annotations

import argparse
import json
import random
import sqlite3
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from harness.analysis.compare import compare
from harness.analysis.leaderboard import leaderboard
from harness.spec.outcome import Cause, RunState
from harness.spec.result import GradeRecord, RunResult
from harness.spec.summary import Summary, collector_paused, gather, pack
from harness.store.base import RunFilter
from harness.store.contract.stage import Stage
from harness.store.database import SqlStore
from harness.store.filling import insert_batch
from harness.store.folders import FoundBatch, FoundRun, result_columns, spec_columns
from harness.store.marks import BatchFile, Marks

TASKS, AGENTS, ITEMS, BATCH = 10, 10, 100, 100
TAGGED_EVERY = 50  # batches
START = datetime(2026, 1, 1, tzinfo=UTC)


def models() -> dict[tuple[int, int], tuple[RunResult, Summary]]:
    """Return one whole result for each task and agent, from which all others are made."""

    def no_store(_owner: object, _clock: object) -> SqlStore:
        raise AssertionError("only values are made here")

    stage = Stage(no_store)
    found = {}
    for task in range(TASKS):
        for agent in range(AGENTS):
            spec = stage.spec("b", task=f"domain{task % 3}/task{task}", agent=f"agent{agent}")
            result = stage.result(spec, [0.5] * ITEMS)
            assert result.grade is not None
            grade: GradeRecord = result.grade
            subsets = {item: f"part{number % 3}" for number, item in enumerate(grade.item_scores)}
            result = result.model_copy(update={"grade": grade.model_copy(update={"item_subsets": subsets})})
            summaries = gather([result])
            row = summaries.runs[0]
            summary = Summary(
                row, summaries.settings[row.setting], summaries.item_sets[row.items], summaries.references[row.references]
            )
            found[task, agent] = result, summary
    return found


def fill(store: SqlStore, count: int) -> None:
    """Write the index of ``count`` runs."""
    rng = random.Random(1)
    made = models()
    store.add_batch("b-first", "", [], {})
    for first in range(0, count, BATCH):
        batch = f"b{first:07d}"
        runs = []
        for number in range(first, min(first + BATCH, count)):
            task, agent, seed = number % TASKS, number // TASKS % AGENTS, number // (TASKS * AGENTS)
            result, summary = made[task, agent]
            level = 0.3 + 0.03 * agent + rng.gauss(0, 0.03)
            values = [float(rng.random() < level) for _ in range(ITEMS)]
            when = START + timedelta(seconds=number)
            run = f"r{number:07d}"
            spec = result.spec.model_copy(update={"id": run, "batch": batch, "seed": seed, "created": when})
            counts = number % 20 != 7
            primary = sum(values) / ITEMS
            row = summary.row._replace(
                run=run, batch=batch, seed=seed, created=when.isoformat(), primary=primary, values=pack(values),
                why_not="" if counts else "sandbox is no measurement of the agent",
            )  # fmt: skip
            columns = {**result_columns(result), **spec_columns(spec), "excluded": "", "updated": when, "score": primary}
            columns |= {} if counts else {"state": RunState.FAILED.value, "cause": Cause.SANDBOX.value}
            runs.append(FoundRun(spec, columns, Marks(), Summary(row, summary.setting, summary.items, summary.references)))
        tags = ("paper",) if first // BATCH % TAGGED_EVERY == 0 else ()
        ids = tuple(run.spec.id for run in runs)
        file = BatchFile(name=f"batch {first}", created=START + timedelta(seconds=first), runs=ids, tags=tags)
        found = FoundBatch(batch, file, True, runs)
        store._index.write(lambda connection, found=found: insert_batch(connection, found))
    store.remove(["b-first"])


def questions(store: SqlStore) -> dict[str, tuple[Callable[[], Any], str]]:
    """Return each question with the bare query of the rows that it needs."""
    last = store.resolve("@last", "batch")

    def status() -> object:
        batch = store.resolve("@last", "batch")
        return store.runs(RunFilter(batch=batch)), store.batches(RunFilter(batch=batch))

    return {
        "leaderboard": (lambda: together(lambda: leaderboard(store.summaries())), "SELECT * FROM measured"),
        "compare": (lambda: together(lambda: compare(store.summaries(), "agent1", "agent2")), "SELECT * FROM measured"),
        "status of the newest batch": (status, f"SELECT * FROM runs WHERE batch = '{last}'"),
        "runs --tag": (
            lambda: store.runs(RunFilter(tag="paper")),
            "SELECT * FROM runs WHERE batch IN (SELECT ref FROM tags WHERE tag = 'paper')",
        ),
        "resolve a prefix": (lambda: store.resolve("r0012345", "run"), "SELECT id FROM runs WHERE id >= 'r0012345' LIMIT 2"),
    }


def together(call: Callable[[], Any]) -> Any:
    """Read and rank without the garbage collector looking at every row in between."""
    with collector_paused():
        return call()


def median(call: Callable[[], Any], rounds: int) -> float:
    times = []
    for _ in range(rounds):
        started = time.perf_counter()
        call()
        times.append(time.perf_counter() - started)
    return statistics.median(times)


def bare(path: Path, query: str) -> None:
    connection = sqlite3.connect(f"file:{path}?mode=ro&immutable=1", uri=True)
    connection.execute(query).fetchall()
    connection.close()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", type=Path, help="write the figures here")
    options = parser.parse_args()
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as name:
        home = Path(name)
        started = time.perf_counter()
        writer = SqlStore(home)
        fill(writer, options.runs)
        writer.close()
        size = (home / "dojo.db").stat().st_size
        print(f"{options.runs} runs written in {time.perf_counter() - started:.0f} s, {size / 1e6:.0f} MB")
        store = SqlStore(home)
        leaderboard(store.summaries(RunFilter(runs=("r0000000",))))  # imports
        for question, (ask, query) in questions(store).items():
            ask()
            ours, plain = median(ask, options.rounds), median(lambda query=query: bare(home / "dojo.db", query), options.rounds)
            rows.append({"question": question, "seconds": ours, "bare_seconds": plain, "ratio": ours / plain})
            print(f"{question:30} {ours * 1000:8.1f} ms   bare {plain * 1000:8.1f} ms   ratio {ours / plain:6.1f}")
    if options.json:
        options.json.write_text(json.dumps({"runs": options.runs, "rows": rows}, indent=2))
    slow = [row["question"] for row in rows if row["seconds"] >= 1.0]
    if slow:
        print(f"a second or more: {', '.join(slow)}")
    return 1 if slow else 0


if __name__ == "__main__":
    sys.exit(main())
