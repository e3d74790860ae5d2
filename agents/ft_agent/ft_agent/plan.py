"""The values that pass between planner and loop: plan, data recipe, iteration, diagnosis. All frozen, all plain JSON inside."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any, Literal

Phase = Literal["probe", "exploit", "polish"]
# sft: on answers; dpo: right against wrong answers; grpo: own answers, rewarded; average: of adapters, without training
Method = Literal["sft", "dpo", "grpo", "average"]
METHODS: tuple[Method, ...] = ("sft", "dpo", "grpo", "average")


@dataclass(frozen=True)
class Operation:
    """One named step of a data recipe with its arguments."""

    name: str
    args: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Plan:
    """What to try next, why, and what it is expected to cost and bring.

    Attributes:
        hypothesis: one sentence that the outcome can confirm or refute.
        reason: what in the history speaks for it.
        data: the data recipe, in order.
        trainer: arguments by the trainer's own names (of the method's config, as SFTConfig).
        lora: arguments by the adapter's own names (LoraConfig); empty: full weights.
        seconds: training time asked for, in seconds of the dimension the run is paced by.
        parent: the iteration whose adapter it continues, or None for a fresh one.
        measure: how to judge it: on the agent's own validation split only, or on the metered dev split as well.
        expected_gain: in score, on 0–1.
        knob: the one thing changed against the parent or champion.
        method: how it learns.
        average: the iterations whose adapters are averaged (method ``average``), else empty.
        author: the planner that proposed it.
        evidence: the measured effect that speaks for it, as the table of effects names it; empty: a guess, which a probe must
            confirm before it may cost an exploit.
    """

    phase: Phase
    hypothesis: str
    reason: str
    data: tuple[Operation, ...]
    trainer: dict[str, Any]
    lora: dict[str, Any]
    seconds: float
    parent: int | None = None
    measure: Literal["own", "dev"] = "own"
    expected_gain: float = 0.0
    knob: str = ""
    method: Method = "sft"
    average: tuple[int, ...] = ()
    author: str = "offline"
    evidence: str = ""

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON."""
        return asdict(self)

    @staticmethod
    def from_json(value: dict[str, Any]) -> Plan:
        """Read what `to_json` wrote, or what a language model proposes.

        Raises:
            ValueError: a field is missing, unknown or of the wrong kind; names it.
        """
        try:
            data = tuple(Operation(str(o["name"]), dict(o.get("args") or {})) for o in value["data"])
            average = tuple(int(n) for n in value.get("average") or ())
            plan = Plan(**{**value, "data": data, "average": average})
        except (TypeError, KeyError, AttributeError, ValueError) as exc:
            raise ValueError(f"the plan does not have the asked form: {exc}") from exc
        if plan.phase not in ("probe", "exploit", "polish") or plan.measure not in ("own", "dev"):
            raise ValueError(f"phase {plan.phase!r} or measure {plan.measure!r} is unknown")
        if plan.method not in METHODS:
            raise ValueError(f"method {plan.method!r} is unknown; there are {', '.join(METHODS)}")
        if not isinstance(plan.trainer, dict) or not isinstance(plan.lora, dict):
            raise ValueError("trainer and lora must be objects of argument names and values")
        return plan


@dataclass(frozen=True)
class Heat:
    """Plans that compete: who, in which rounds of (entrants, seconds each), from which iteration on."""

    plans: tuple[Plan, ...]
    rounds: tuple[tuple[int, float], ...]
    first: int

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON."""
        return asdict(self)

    @staticmethod
    def from_json(value: dict[str, Any]) -> Heat:
        """Read what `to_json` wrote."""
        rounds = tuple((int(entrants), float(seconds)) for entrants, seconds in value["rounds"])
        return Heat(tuple(Plan.from_json(p) for p in value["plans"]), rounds, int(value["first"]))


@dataclass(frozen=True)
class Score:
    """Item scores of one model on one split.

    ``value`` is the mean over slices of their means. ``credit`` (own split only) is the probability the model gives each whole
    answer: less noisy than right or wrong, so it is what probes are compared by. ``shares`` (dev only, where the task's metric is
    no mean of item scores) is each item's share in the metric.
    """

    split: Literal["own", "dev"]
    value: float
    slices: dict[str, float]
    items: dict[str, float]
    credit: dict[str, float] = field(default_factory=dict)
    shares: dict[str, float] = field(default_factory=dict)
    parse_rate: float | None = None
    loss: float | None = None
    seconds: float = 0.0


@dataclass(frozen=True)
class Diagnosis:
    """What an iteration's outcome says: findings in words, and signals that rules and models can act on."""

    findings: tuple[str, ...]
    signals: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Iteration:
    """One turn of the loop as it is remembered.

    ``status``: trained, caught (by validation) or failed (in training). ``speed``: of a training, in words.
    """

    number: int
    plan: Plan
    status: Literal["trained", "caught", "failed"]
    data_log: tuple[dict[str, Any], ...] = ()
    caught: tuple[dict[str, Any], ...] = ()
    losses: tuple[tuple[int, float], ...] = ()
    steps: int = 0
    examples: int = 0
    tokens: int = 0
    train_seconds: float = 0.0
    own: Score | None = None
    dev: Score | None = None
    decision: str = ""
    diagnosis: Diagnosis | None = None
    adapter: str | None = None
    notes: tuple[str, ...] = ()
    speed: str = ""

    @property
    def replaces(self) -> bool:
        """Whether it became the champion."""
        return self.decision.startswith("replaces ")

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON."""
        return asdict(self)

    @staticmethod
    def from_json(value: dict[str, Any]) -> Iteration:
        """Read what `to_json` wrote."""
        plan = Plan.from_json(value["plan"])
        own, dev = (Score(**value[k]) if value.get(k) else None for k in ("own", "dev"))
        found = value.get("diagnosis")
        diagnosis = Diagnosis(tuple(found["findings"]), dict(found["signals"])) if found else None
        losses = tuple((int(s), float(v)) for s, v in value.get("losses", ()))
        rest = {k: tuple(value.get(k, ())) for k in ("data_log", "caught", "notes")}
        return Iteration(**{**value, **rest, "plan": plan, "own": own, "dev": dev, "diagnosis": diagnosis, "losses": losses})
