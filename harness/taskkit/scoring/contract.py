r"""The contract between a task's ``tests/grader.py`` and whoever scores answers with it.

``tests/grader.py`` is pure: the standard library, `harness.taskkit.scoring`, its neighbours (``from .x import …``) and its
domain's code (``from ...shared.x import …``) at the top, heavier libraries inside its functions. It touches no file, no clock, no
network, so the same code runs in a grader's sandbox, in ``dojo tasks score`` and in tests. It defines

``SUBSET_METRICS: dict[str, str]``
    sub-set → the name of the metric that counts for it. The task's primary score is the plain mean of these.
``score(row, response, subset) -> dict``
    one answer: ``{"parsed": bool, "value": Any, "score": float, "metrics": {name: float}}``. ``row`` is the item in the
    benchmark's own layout and holds the gold answer, ``score`` lies on 0–1 (higher better), ``parsed`` says that an answer of
    the asked form was found, ``value`` is that answer (JSON-able), ``metrics`` holds further figures of this item. ``response``
    is plain text: no lone surrogate, no NUL. It must not raise on any answer: one that it breaks on counts as none and is told
    with item and line. What is missing for any answer, and a broken gold answer, it raises, whatever ``response`` is.
``subset_of(row) -> str``
    the sub-set of a row in the upstream layout (or from ``row["subset"]`` where upstream names it only by file).
``constant_answers(items) -> list[str]``
    for the majority baseline: candidate responses for items of one question type; the caller keeps the best one.
``process_results(doc, results) -> dict``
    what lm-eval calls (``!function grader.process_results`` in ``tests/task.yaml``): ``{"score": …, "parsed": 0 or 1}``.
    ``doc`` is an item of ``hidden.jsonl``; its ``row`` may come as an object or as JSON text of it (tables want one type).
``summarise(subset, scored) -> dict[str, float]`` (only where a metric is not a mean over items)
    sub-set metrics from ``scored``: the dicts that ``score`` returned, each with its ``row`` added. Overrides the means.
``LOWER_IS_BETTER: frozenset[str]`` (optional)
    names of the side metrics where less is better, such as ``mae``.

A sub-set's figures are then: its own metric = the mean of ``score``; every name in ``metrics`` = the mean over the items that
have it; ``parse_rate`` = the mean of ``parsed``; all overridden by ``summarise``.
"""

from __future__ import annotations

import json
import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

from harness.spec.errors import DojoError, GraderFailure, SpecError
from harness.spec.verdict import Metric, Scores
from harness.taskkit.scoring.broken import where_it_broke
from harness.taskkit.scoring.loading import load_task_module
from harness.taskkit.scoring.plain import plain_text

REQUIRED = ("SUBSET_METRICS", "score", "subset_of", "constant_answers", "process_results")


@dataclass(frozen=True)
class ScoredAnswer:
    """What the grader says of one answer."""

    parsed: bool
    value: Any
    score: float
    metrics: Mapping[str, float] = field(default_factory=dict)
    failure: str = ""
    """Where and how the grader broke on this answer, which then counts as none; empty where it did not."""


@dataclass(frozen=True)
class TaskGrader:
    """A task's ``tests/grader.py``, loaded and with every answer it gives checked."""

    path: Path
    module: ModuleType

    @property
    def subset_metrics(self) -> dict[str, str]:
        """Sub-set → the metric that counts for it."""
        return dict(self.module.SUBSET_METRICS)

    def higher_is_better(self, metric: str) -> bool:
        """Whether more of ``metric`` is better."""
        return metric not in getattr(self.module, "LOWER_IS_BETTER", frozenset())

    def subset_of(self, row: Mapping[str, Any]) -> str:
        """Name the sub-set of a row in the upstream layout.

        Raises:
            SpecError: the row belongs to no sub-set of this task.
        """
        try:
            subset = self.module.subset_of(row)
        except (KeyError, ValueError, TypeError) as exc:
            raise SpecError(
                f"the row fits no sub-set of {self.path.parent.parent.name}: {exc}", hint=self._subsets_hint()
            ) from exc
        if subset not in self.module.SUBSET_METRICS:
            raise SpecError(f"{subset!r} is no sub-set of {self.path.parent.parent.name}", hint=self._subsets_hint())
        return str(subset)

    def score(self, row: Mapping[str, Any], response: str, subset: str) -> ScoredAnswer:
        """Score one response; a missing response is the empty text.

        The task's code sees plain text (`plain_text`). An answer that it breaks on, though it scores the same item with an empty
        one, counts as unanswered, and `ScoredAnswer.failure` says where it broke.

        Raises:
            GraderFailure: not the answer's fault: something that the grader needs is missing, or a broken item (no gold answer
                there) cannot be scored whatever is answered.
        """
        raw = self._scored(self.module.score, row, response, subset)
        return ScoredAnswer(raw["parsed"], raw["value"], raw["score"], raw["metrics"], raw["failure"])

    def _scored(self, score: Callable[..., Any], row: Mapping[str, Any], response: str, subset: str) -> dict[str, Any]:
        """Return what ``score`` says of an answer, checked; where it breaks, of none, and where that was."""
        try:
            return _checked(score(row, plain_text(response), subset))
        except GraderFailure:
            raise
        except (DojoError, ImportError, OSError) as exc:
            raise self._failure(subset, exc) from exc
        except Exception as exc:
            if not response:
                raise self._failure(subset, exc) from exc
            broke = exc
        unanswered = self._scored(score, row, "", subset)
        failure = where_it_broke(broke, self.path.parent.parent.parent)
        return {**unanswered, "parsed": False, "value": None, "score": 0.0, "failure": failure}

    def _failure(self, subset: str, exc: Exception) -> GraderFailure:
        return GraderFailure(f"{self.path}: score() failed on sub-set {subset!r}: {exc!r}"[:2000], hint="mend the grader")

    @contextmanager
    def scoring_once(self) -> Iterator[None]:
        """Score every answer once meanwhile, whoever asks: lm-eval's metric and the harness get one and the same result.

        What an answer is worth may depend on chance or on the clock where the answer is a program, and the two would disagree.
        Both are spared an answer that the grader breaks on.
        """
        real, known = self.module.score, dict[tuple[str, str, str], Any]()

        def score(row: Mapping[str, Any], response: str, subset: str) -> Any:
            key = (json.dumps(row, sort_keys=True), response, subset)
            if key not in known:
                known[key] = self._scored(real, row, response, subset)
            return known[key]

        self.module.score = score  # type: ignore[attr-defined]
        try:
            yield
        finally:
            self.module.score = real  # type: ignore[attr-defined]

    def constant_answers(self, items: Sequence[Mapping[str, Any]]) -> list[str]:
        """Candidate responses for the majority baseline on items of one question type."""
        return [str(a) for a in self.module.constant_answers(items)]

    def majority_answer(self, items: Sequence[Mapping[str, Any]]) -> tuple[str, list[ScoredAnswer]]:
        """Find the one response that scores best on ``items`` (all of one question type), with its scores item by item."""
        best: tuple[float, str, list[ScoredAnswer]] | None = None
        for candidate in dict.fromkeys(self.constant_answers(items)):
            answers = [self.score(item["row"], candidate, item["subset"]) for item in items]
            total = sum(a.score for a in answers)
            if best is None or total > best[0]:
                best = (total, candidate, answers)
        if best is None:
            raise GraderFailure(f"{self.path}: constant_answers() gave no candidate", hint="give at least one response text")
        return best[1], best[2]

    def aggregate(self, answers: Iterable[tuple[Mapping[str, Any], str, ScoredAnswer]], primary_name: str) -> Scores:
        """Turn scored answers, as triples (row, sub-set, answer), into the figures of a split.

        The primary score is the plain mean over the sub-sets present of each one's own metric.

        Raises:
            GraderFailure: there is nothing to score, or ``summarise`` broke or gave no value for a sub-set's own metric.
        """
        groups: dict[str, list[tuple[Mapping[str, Any], ScoredAnswer]]] = defaultdict(list)
        for row, subset, answer in answers:
            groups[subset].append((row, answer))
        if not groups:
            raise GraderFailure("no item to score", hint="a split must hold at least one item")
        subsets = {name: self._subset_figures(name, groups[name]) for name in self.module.SUBSET_METRICS if name in groups}
        everyone = [a for group in groups.values() for _, a in group]
        primary = _mean([subsets[name][self.module.SUBSET_METRICS[name]] for name in subsets])
        return Scores(
            primary=Metric(name=primary_name, value=primary, higher_is_better=True),
            metrics={primary_name: primary, "item_mean": _mean([a.score for a in everyone])},
            subsets=subsets,
            parse_rate=_mean([float(a.parsed) for a in everyone]),
            items=len(everyone),
        )

    def _subset_figures(self, subset: str, group: list[tuple[Mapping[str, Any], ScoredAnswer]]) -> dict[str, float]:
        figures: dict[str, float] = {self.module.SUBSET_METRICS[subset]: _mean([a.score for _, a in group])}
        columns: dict[str, list[float]] = defaultdict(list)
        for _, answer in group:
            for name, value in answer.metrics.items():
                columns[name].append(value)
        figures |= {name: _mean(values) for name, values in columns.items()}
        figures["parse_rate"] = _mean([float(a.parsed) for _, a in group])
        if hasattr(self.module, "summarise"):
            scored = [
                {"row": row, "parsed": a.parsed, "value": a.value, "score": a.score, "metrics": dict(a.metrics)}
                for row, a in group
            ]
            try:
                figures |= {str(k): float(v) for k, v in self.module.summarise(subset, scored).items()}
            except Exception as exc:  # values come out of a sandbox
                raise GraderFailure(
                    f"{self.path}: summarise() failed on sub-set {subset!r}: {exc!r}"[:2000], hint="mend the grader"
                ) from exc
        if not all(math.isfinite(v) for v in figures.values()):
            raise GraderFailure(f"{self.path}: a figure of sub-set {subset!r} is not finite: {figures}", hint="mend the grader")
        return figures

    def _subsets_hint(self) -> str:
        return f'sub-sets: {", ".join(self.module.SUBSET_METRICS)}; a row may carry one as "subset"'


def load_grader(task_dir: Path) -> TaskGrader:
    """Load ``tests/grader.py`` of a task directory.

    Raises:
        SpecError: the file is missing, does not load, or lacks a part of the contract; names the part.
    """
    path = task_dir / "tests" / "grader.py"
    if not path.is_file():
        raise SpecError(f"{path}: there is no grader", hint="docs/write-a-task.md shows one")
    try:
        module = load_task_module(task_dir, "tests.grader", within="tests")
    except Exception as exc:
        raise SpecError(
            f"{path}: does not load: {exc!r}", hint="import heavy libraries inside the functions that use them"
        ) from exc
    missing = [part for part in REQUIRED if not hasattr(module, part)]
    if missing:
        raise SpecError(f"{path}: lacks {', '.join(missing)}", hint="harness/taskkit/scoring/contract.py states the contract")
    return TaskGrader(path=path, module=module)


def _checked(raw: Any) -> dict[str, Any]:
    """Return what ``score()`` gave, in its types.

    Raises:
        KeyError, TypeError, ValueError: it is no score of an answer.
    """
    metrics = {str(name): float(value) for name, value in raw["metrics"].items()}
    score = float(raw["score"])
    if not 0.0 <= score <= 1.0 or not all(math.isfinite(value) for value in metrics.values()):
        raise ValueError(f"score() gave {score} with {metrics}; scores lie on 0–1, metrics are finite")
    failure = str(raw.get("failure", ""))
    return {"parsed": bool(raw["parsed"]), "value": raw["value"], "score": score, "metrics": metrics, "failure": failure}


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values)
