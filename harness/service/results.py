"""Results: what came out of runs, one by one, ranked, compared, drawn and told."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from harness.executor.planner import BatchPlan
from harness.service.runs import Runs
from harness.spec.errors import UsageError
from harness.spec.result import RunResult
from harness.spec.summary import Summaries, collector_paused
from harness.store.base import Damage, RunFilter

if TYPE_CHECKING:
    from harness.analysis.comparison import Comparison
    from harness.analysis.leaderboard import Leaderboard
    from harness.analysis.plan import Plan

# Every result of so many runs is read to see that it is whole; reading 100,000 would take minutes (`dojo reindex` does).
_LOOKED_THROUGH = 2000


class Results(Runs):
    """What is known of runs that have ended."""

    def show(self, reference: str) -> RunResult:
        """Return the whole result of a run.

        Raises:
            UsageError: it has not ended.
            StoreError: its result.json is damaged (code ``damaged``).
        """
        run = self.store.resolve(reference, "run")
        result = self.store.files(run).result()
        if result is None:
            raise UsageError(f"run {run} has not ended (state {self.store.run(run).state})", hint=f"`dojo status {run}`")
        return result

    def results(self, task: str | None = None, batch: str | None = None) -> list[RunResult]:
        """Return the results of all runs that have ended, filtered; damaged ones are in `damaged`."""
        return self._found(task, batch)[0]

    def damaged(self, batch: str | None = None) -> list[Damage]:
        """Return the runs whose results cannot be read, and why; nothing where there are more than can be looked through.

        Rankings come from the index, which knows the scores; this says of which runs the folder does not bear them out.
        """
        where = self._where(batch)
        runs = [run for run in self.store.runs(where) if run.state.final]
        if len(runs) <= _LOOKED_THROUGH:
            return self.store.results(where)[1]
        return []

    def leaderboard(self, task: str | None = None, batch: str | None = None) -> Leaderboard:
        """Return agents with intervals, beside them base, few-shot base and majority."""
        from harness.analysis.leaderboard import leaderboard

        with collector_paused():
            summaries = self.store.summaries(self._where(batch))
            board = leaderboard(summaries, task)
        return board.model_copy(update={"damaged": self._damaged_of(summaries, batch)})

    def compare(self, a: str, b: str, task: str | None = None, batch: str | None = None, mix: bool = False) -> Comparison:
        """Return the paired difference of two agents with its verdict; ``mix`` compares runs of different settings too."""
        from harness.analysis.compare import compare

        with collector_paused():
            summaries = self.store.summaries(self._where(batch))
            comparison = compare(summaries, a, b, task, mix)
        return comparison.model_copy(update={"damaged": self._damaged_of(summaries, batch)})

    def compare_all(self, task: str | None = None, batch: str | None = None) -> tuple[list[Comparison], list[str]]:
        """Compare every agent with every other, adjusted together; and say which pairs cannot be compared, and why."""
        from harness.analysis.compare import compare_all

        return compare_all(self.store.summaries(self._where(batch)), task)

    def power(self, plan: BatchPlan) -> Plan:
        """Say what the runs of a plan could show about agents, from what earlier runs on its tasks varied by."""
        from harness.analysis.plan import plan as power

        items, runs = {}, 0
        for first in {(run.task.id, run.task.profile): run for run in plan.runs}.values():
            prepared = self._library.assets(first).prepared
            items[first.task.id] = int(prepared.manifest["files"]["hidden.jsonl"]["rows"])
            runs = len({run.seed for run in plan.runs if run.task.id == first.task.id})
        return power(self.store.summaries(), items, runs)

    def plots(self, folder: Path, batch: str | None = None) -> list[Path]:
        """Draw a batch's (default: all) leaderboard, dev scores over time and comparisons; return the files."""
        from harness.analysis.plots import write_plots

        return write_plots(self.results(batch=batch), folder, self.events, self._excluded(batch))

    def report(self, batch: str | None = None, plots: Sequence[Path] = (), page: Path | None = None) -> str:
        """Return a batch (default: the newest) on one page of Markdown.

        Args:
            batch: id, unique prefix or ``@last``.
            plots: pictures to show at the end.
            page: where the page will lie, so that links lead from there; default: the results directory.
        """
        from harness.analysis.report import markdown_report

        status = self.status(self.store.resolve(batch or "@last", "batch"))
        base = (page.parent if page else self.home).resolve()
        folders = {run.id: os.path.relpath(self.home / run.folder, base) for run in status.runs}
        broken = {found.run: found for found in (*status.damaged, *self.damaged(status.batch))}
        waiting = [f"{run.id} ({run.shown}, {run.task}): {run.phase}. {run.why}" for run in status.runs if not run.state.final]
        links = [os.path.relpath(plot.resolve(), base) for plot in plots]
        title = f"Batch {status.batch}" + (f": {status.name}" if status.name else "")
        return markdown_report(title, self.results(batch=status.batch), folders, links, waiting, self._excluded(status.batch),
            [f"{found.run}: {found.message} ({found.hint})" for found in broken.values()],
        )  # fmt: skip

    def _damaged_of(self, summaries: Summaries, batch: str | None) -> tuple[Damage, ...]:
        """Look through the folders behind a ranking, unless there are so many that the ranking would wait for it."""
        return tuple(self.damaged(batch)) if len(summaries.runs) <= _LOOKED_THROUGH else ()

    def _excluded(self, batch: str | None) -> dict[str, str]:
        return {run.id: run.excluded for run in self.store.runs(self._where(batch, excluded=True))}

    def _where(self, batch: str | None, task: str | None = None, excluded: bool | None = None) -> RunFilter:
        return RunFilter(batch=self.store.resolve(batch, "batch") if batch else None, task=task, excluded=excluded)

    def _found(self, task: str | None, batch: str | None) -> tuple[list[RunResult], list[Damage]]:
        return self.store.results(self._where(batch, self.task(task).id if task else None))
