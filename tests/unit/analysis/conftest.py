"""Results as the harness writes them, with the scores a test wants."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from harness.spec import (
    AgentConfig,
    Budget,
    Cause,
    GradeRecord,
    Limits,
    Metric,
    Outcome,
    Reference,
    RunResult,
    RunSpec,
    RunState,
    Scores,
    Usage,
)
from harness.spec.engine import EngineRecord
from harness.spec.run import AgentRef, BaseModelRef, TaskRef
from harness.spec.task import Generation

START = datetime(2026, 1, 1, tzinfo=UTC)


def scores_of(values: Mapping[str, float], subsets: Mapping[str, str]) -> Scores:
    """Score as graders do: the unweighted mean over sub-sets of the mean over items."""
    groups: dict[str, list[float]] = {}
    for item, value in values.items():
        groups.setdefault(subsets[item], []).append(value)
    means = {name: sum(group) / len(group) for name, group in groups.items()}
    primary = Metric(name="accuracy", value=sum(means.values()) / len(means))
    return Scores(primary=primary, subsets={n: {"accuracy": m} for n, m in means.items()}, parse_rate=1.0, items=len(values))


@pytest.fixture
def result() -> Callable[..., RunResult]:
    """Build a RunResult from item scores; later calls make newer runs."""
    made = 0

    def build(
        agent: str,
        seed: int,
        items: Sequence[float] | Mapping[str, float],
        *,
        task: str = "math/sums",
        cause: Cause = Cause.COMPLETED,
        subsets: Mapping[str, str] | None = None,
        primary: float | None = None,
        pseudo_values: Mapping[str, float] | None = None,
        references: Mapping[str, float] | None = None,
        budget: Budget | None = None,
        graded: bool = True,
        data: str = "data-1",
        hidden: str = "5555555555555555",
        version: str = "v1",
        engine: str | None = "transformers",
        usage: Mapping[str, float] | None = None,
        integrity: Mapping[str, Any] | None = None,
        **spec: Any,
    ) -> RunResult:
        nonlocal made
        made += 1
        values = dict(items) if isinstance(items, Mapping) else {f"i{n:03d}": float(v) for n, v in enumerate(items)}
        groups = dict(subsets or dict.fromkeys(values, "all"))
        scored = scores_of(values, groups)
        if primary is not None:
            scored = scored.model_copy(update={"primary": Metric(name="macro_f1", value=primary)})
        budget = budget or Budget(wall=60)
        run = RunSpec(
            id=f"r{made:03d}",
            batch="b1",
            agent=AgentRef(config=AgentConfig(name=agent, command=("run",)), digest=version),
            task=TaskRef(id=task, profile="mini", digest="task-1", data_digest=data, hidden=hidden),
            seed=seed,
            budget=budget,
            limits=Limits(),
            generation=Generation(),
            created=START + timedelta(minutes=made),
            **{
                "base_model": BaseModelRef(name="smol", digest="m"),
                "sandbox": "namespace",
                "versions": {"dojo": "0.1.0"},
                **spec,
            },
        )
        grade = GradeRecord(
            number=1,
            time=START,
            scores=scored,
            ci_low=0.0,
            ci_high=1.0,
            item_scores=values,
            item_subsets=groups,
            pseudo_values=dict(pseudo_values or {}),
            verdict_sha256="0" * 64,
            seconds=1.0,
            engine=EngineRecord(name=engine) if engine else None,
        )
        yardsticks = []
        for name, level in (references or {}).items():
            flat = dict.fromkeys(values, level)
            yardsticks.append(
                Reference(name=name, scores=scores_of(flat, groups), ci_low=0.0, ci_high=level + 0.05, item_scores=flat)
            )
        done = cause not in (Cause.SANDBOX, Cause.HARNESS)
        return RunResult(
            spec=run,
            state=RunState.DONE if done else RunState.FAILED,
            outcome=Outcome(cause=cause, phase="agent"),
            grade=grade if graded else None,
            grades=int(graded),
            references=tuple(yardsticks),
            budget=budget,
            usage=Usage(wall=12.0, **(usage or {})),
            integrity=dict(integrity or {}),
        )

    return build
