"""Is a task fit to measure with? What answers without a model score on its hidden split, and the rules that hold for them.

A rule that is broken fails `dojo tasks check`, unless the task declares it under ``known_issues`` with a reason for people.
"""

from __future__ import annotations

import json
import random
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import Field

from harness.assets.prepare import PreparedTask
from harness.grading.hostile import hostile_answers
from harness.grading.references import Admission, majority_answers, reference_of, scored_answers
from harness.sandbox.base import Check
from harness.spec.base import Spec
from harness.spec.result import Reference
from harness.taskkit.scoring.contract import TaskGrader, load_grader

# An empty or echoed answer is no answer. A little more than nothing is left to formats that read a letter out of a prompt.
FLOOR = 0.05
# Grading is exact, so the right answer must score everything; the rest is rounding.
CEILING = 0.999
# Where a constant scores more, fine-tuning has nothing left to show.
ROOM = 0.9
_SEED = 20260301

Item = Mapping[str, Any]


class WithoutModel(Spec):
    """What was scored on the hidden split without any model. ``chance`` is that of hitting one answer in the smallest pool."""

    majority: Reference
    degenerate: tuple[Reference, ...]
    oracle: Reference
    chance: float
    broken: dict[str, str] = Field(
        default_factory=dict, description="answers on which the task's grader broke: item and kind of answer → where and how"
    )

    @property
    def best(self) -> Reference:
        """The degenerate submission that scores most."""
        return max(self.degenerate, key=lambda reference: reference.scores.primary.value)


def score_without_model(prepared: PreparedTask) -> WithoutModel:
    """Score the majority answers, degenerate submissions and the oracle on the hidden split.

    The oracle is, item by item, the best of the task's own constant answers to that item alone: its gold answer in the format
    that the instruction asks for.

    Raises:
        GraderFailure: the task's grader broke.
    """
    grader, metric = load_grader(prepared.task.path), prepared.task.dojo.metric.name
    dev, hidden = read_items(prepared.dev_path), read_items(prepared.hidden_path)
    answers = majority_answers(grader, dev)
    pool = {name: grader.constant_answers(items) for name, items in _by_type(dev).items()}
    everywhere = _best_everywhere(grader, dev, list(dict.fromkeys(answers.values())))
    chance, rows = random.Random(_SEED), {item["id"]: item["row"] for item in hidden}
    broken = _broken_by_hostile_answers(grader, hidden)
    drawn = {item["id"]: chance.choice(pool[item["type"]]) if pool.get(item["type"]) else "" for item in hidden}

    def reference(name: str, respond: Any) -> Reference:
        scored = scored_answers(respond, hidden, grader)
        broken.update({f"{item.id}, {name}": item.failure for item in scored if item.failure})
        found = reference_of(name, scored, grader, rows, metric)
        return found.model_copy(update={"item_scores": {}, "pseudo_values": {}})

    return WithoutModel(
        majority=reference("majority", lambda item: answers.get(item["type"], "")),
        degenerate=(
            reference("empty", lambda _item: ""),
            reference("echo", lambda item: str(item["prompt"])),
            reference("constant", lambda _item: everywhere),
            reference("random", lambda item: drawn[item["id"]]),
        ),
        chance=1 / min((len(set(answers)) for answers in pool.values() if answers), default=1),
        oracle=reference("oracle", lambda item: grader.majority_answer([item])[0]),
        broken=broken,
    )


def rules(found: WithoutModel, known_issues: Mapping[str, str]) -> list[Check]:
    """Hold what was scored against the rules; a declared exception is ok and says why."""
    scores = {reference.name: reference.scores.primary.value for reference in found.degenerate}
    by_chance = next(reference for reference in found.degenerate if reference.name == "random")
    majority, oracle = found.majority.scores.primary.value, found.oracle.scores.primary.value
    checks = [
        _rule("empty", scores["empty"] <= FLOOR, f"empty answers score {scores['empty']:.3f} (at most {FLOOR})", known_issues),
        _rule(
            "echo",
            scores["echo"] <= max(FLOOR, majority),
            f"the prompt repeated scores {scores['echo']:.3f} (at most the majority's)",
            known_issues,
        ),
        _rule(
            "random",
            by_chance.ci_low <= max(FLOOR, found.majority.ci_high, found.chance),
            f"answers drawn by chance score {scores['random']:.3f} (within its interval at most the majority's "
            f"{found.majority.ci_high:.3f}, or {found.chance:.3f}, one in as many as there are to draw from)",
            known_issues,
        ),
        _rule(
            "constant",
            max(majority, scores["constant"]) <= ROOM,
            f"one answer to everything scores {scores['constant']:.3f}, one to each type {majority:.3f} (at most {ROOM})",
            known_issues,
        ),
        _rule("oracle", oracle >= CEILING, f"right answers score {oracle:.3f} (at least {CEILING})", known_issues),
        _rule("breaks", not found.broken, _broken_words(found.broken), known_issues),
    ]
    unknown = sorted(set(known_issues) - {check.name for check in checks})
    if unknown:
        hint = f"the rules are {', '.join(check.name for check in checks)}"
        checks.append(Check("known_issues", False, f"task.toml declares {', '.join(unknown)}, which no rule is called", hint))
    return checks


def _broken_words(broken: Mapping[str, str]) -> str:
    if not broken:
        return "no answer breaks the grader"
    first = "; ".join(f"{what}: {where}" for what, where in list(broken.items())[:3])
    return f"{len(broken)} answers break the grader, and a run's would count as wrong: {first}"


def _rule(name: str, holds: bool, detail: str, known_issues: Mapping[str, str]) -> Check:
    hint = f'mend the grader or the data, or declare it: [metadata.dojo.known_issues] {name} = "why it is so" in task.toml'
    if name not in known_issues:
        return Check(name, holds, detail, hint)
    if holds:
        return Check(name, False, f"{detail}; declared as a known issue, but it holds", "take it out of task.toml")
    return Check(name, True, f"{detail}; KNOWN ISSUE: {known_issues[name]}")


class Row(Spec):
    """A task in the table of all: its yardsticks side by side. None where nothing was measured."""

    task: str
    domain: str
    metric: str
    profile: str
    hidden: int
    dev: int
    base: float | None
    few_shot_base: float | None
    majority: float
    degenerate: str
    oracle: float
    grade_s: float | None
    memory_mb: float | None
    verdict: str


def row_of(prepared: PreparedTask, found: WithoutModel, checks: Sequence[Check], admission: Admission | None) -> Row:
    """Put a task's figures into one row."""
    measured = {r.name: r.scores.primary.value for r in admission.references} if admission else {}
    memory = admission.settings.get("memory_peak_mb") if admission else None
    bad = [check.name for check in checks if not check.ok]
    verdict = f"not fit: {', '.join(bad)}" if bad else "known issue" if any("KNOWN ISSUE" in c.detail for c in checks) else "fit"
    return Row(
        task=prepared.task.id,
        domain=prepared.task.id.partition("/")[0],
        metric=prepared.task.dojo.metric.name,
        profile=prepared.profile,
        hidden=found.oracle.scores.items,
        dev=len(read_items(prepared.dev_path)),
        base=measured.get("base"),
        few_shot_base=measured.get("few_shot_base"),
        majority=found.majority.scores.primary.value,
        degenerate=f"{found.best.name} {found.best.scores.primary.value:.3f}",
        oracle=found.oracle.scores.primary.value,
        grade_s=admission.seconds.get("base") if admission else None,
        memory_mb=float(memory) if memory is not None else None,
        verdict=verdict,
    )


def read_items(path: Path) -> list[dict[str, Any]]:
    """Return the items of a prepared split."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def _by_type(items: Sequence[Item]) -> dict[str, list[Item]]:
    found: dict[str, list[Item]] = {}
    for item in items:
        found.setdefault(item["type"], []).append(item)
    return found


def _broken_by_hostile_answers(grader: TaskGrader, items: Sequence[Item]) -> dict[str, str]:
    """Score answers made to break a grader on the first item of each sub-set; return those on which it broke, and where."""
    first: dict[str, Item] = {}
    for item in items:
        first.setdefault(item["subset"], item)
    broken = {}
    for item in first.values():
        for name, answer in hostile_answers(grader.majority_answer([item])[0]).items():
            failure = grader.score(item["row"], answer, item["subset"]).failure
            if failure:
                broken[f"{item['id']}, {name}"] = failure
    return broken


def _best_everywhere(grader: TaskGrader, dev: Sequence[Item], candidates: Sequence[str]) -> str:
    """Return the one answer that scores best on all of dev, whatever the question."""
    totals = {c: sum(grader.score(item["row"], c, item["subset"]).score for item in dev) for c in candidates}
    return max(totals, key=lambda candidate: totals[candidate]) if totals else ""
