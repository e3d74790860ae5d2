"""The planner without a language model: rules over the same view.

It turns one knob for one reason. Probe: short runs, each changing one thing against the best so far. Exploit: the best settings
with most of the time left, going on from the best probe's adapter. Polish: what is left, on the slices that still fail.
Everything is sized by measured costs, so five minutes on one core and twelve hours on a GPU take the same path.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from ft_agent.changes import FULL_RATE
from ft_agent.one_sided import with_other_answers
from ft_agent.plan import Diagnosis, Iteration, Operation, Plan, Score
from ft_agent.validate import ADAPTER_INSTEAD, TRIAL_STEPS
from ft_agent.view import View

# Shares of the usable time. A quarter for finding out is what successive halving would give its cheap rungs.
PROBE_SHARE = 0.25
# A probe needs this many steps before one setting can be told from another, and this long whatever the speed.
PROBE_STEPS, PROBE_MIN_S = 6, 15.0
# Probes beyond this number are worth less than the exploitation they cost.
MAX_PROBES = 10
# Less training time than this is not worth an iteration.
WORTH_S = 12.0
# Between making a plan and checking it some time passes; a plan cut to the last second would be refused.
SLACK_S = 1.0
# More passes over the same rows than this make a small model learn them by heart.
MAX_EPOCHS = 4.0
# Learning rate that suits LoRA at a hidden size of 576 (135M parameters, measured on this project's mini tasks); larger models
# want less.
REFERENCE_RATE, REFERENCE_HIDDEN = 1e-3, 576
# Steps below which a smaller batch, with its noise, still learns more in the same time (135M model, LoRA, minutes on one core).
ENOUGH_STEPS = {"probe": 8, "exploit": 40, "polish": 12}
LEAST_BATCH = 2
# Where no probe fits, one training may come to nothing by chance. Going on from it so long is worth this share of the time, with
# all that the two cost beside it.
SECOND_S, SECOND_SHARE = 1.5 * WORTH_S, 0.25
# Between phases the rate stays up, so that the next phase can go on; at the end of the last it falls to nothing.
BATCH = 8


@dataclass(frozen=True)
class Knob:
    """One change against a plan, with the reason for trying it."""

    name: str
    why: str
    plan: Plan


class Offline:
    """Rules; no language model, no randomness."""

    name = "offline"

    def propose(self, view: View) -> tuple[Plan, ...]:
        """Return the next plan; none when nothing worth its time is left."""
        plan = self._propose(view)
        # it may go on with another planner's settings: whoever thought of them, it is the rules that propose them now
        return (replace(fit_batch(plan, view), author=self.name, evidence=""),) if plan is not None else ()

    def _propose(self, view: View) -> Plan | None:
        caught = view.iterations[-1] if view.iterations and view.iterations[-1].status != "trained" else None
        if caught is not None:
            mended = mend(caught, view)
            if mended is not None:
                return mended
            if len(view.iterations) >= 3 and all(i.status != "trained" for i in view.iterations[-3:]):
                return None
        probe = self._probe(view)
        if probe is not None:
            return probe
        if any(i.plan.phase == "exploit" for i in view.trained()):
            return self._after(view)
        return self._exploit(view)

    def diagnose(self, view: View, iteration: Iteration) -> Diagnosis:
        """Read the outcome: did the loss move, is there room, which slices fail, does dev agree with the own split."""
        return read_outcome(view, iteration)

    def meanwhile(self, view: View, plan: Plan) -> None:
        """Rules need no time to think."""

    def finish(self, view: View) -> None:
        """Rules learn nothing that outlives a run."""

    def _probe(self, view: View) -> Plan | None:
        done = [i for i in view.iterations if i.plan.phase == "probe"]
        if any(i.plan.phase != "probe" for i in view.iterations):
            return None
        seconds = probe_seconds(view)
        each = seconds + view.costs["overhead_own"]
        spent = sum(i.train_seconds + view.costs["overhead_own"] for i in done)
        planned = min(MAX_PROBES, int(PROBE_SHARE * (view.usable + spent) / each))
        # one probe has nothing to be compared with
        if planned < 2 or len(done) >= planned or view.usable < each + view.costs["overhead_dev"] + WORTH_S:
            return None
        if not done:
            return replace(first_plan(view), phase="probe", seconds=seconds, knob="starting point")
        best = best_of([i for i in done if i.status == "trained"])
        tried = {i.plan.knob for i in done}
        start = best.plan if best else first_plan(view)
        knob = next((k for k in knobs(view, start, done) if k.name not in tried), None)
        if knob is None:
            return None
        return replace(
            knob.plan,
            phase="probe",
            seconds=seconds,
            parent=None,
            measure="own",
            knob=knob.name,
            hypothesis=f"{knob.name} learns faster than {best.plan.knob if best else 'the start'}",
            reason=knob.why,
            expected_gain=0.02,
        )

    def _exploit(self, view: View) -> Plan | None:
        probes = [i for i in view.trained() if i.plan.phase == "probe"]
        best = best_of(probes)
        start = best.plan if best else first_plan(view)
        plan = replace(
            start,
            phase="exploit",
            parent=best.number if best else None,
            knob="more time",
            hypothesis="the best settings so far, given most of the time, beat everything before",
            reason=f"probe {best.number} gave whole answers the highest probability"
            if best
            else "no time for probes; sensible defaults",
            expected_gain=0.2,
        )
        view = view if best else replace(view, usable=view.usable - second_look(plan, view))
        return sized(plan, view, min(view.usable, full_seconds(view)))

    def _after(self, view: View) -> Plan | None:
        """After the first exploitation: turn knobs at full length where a full run is cheap, else polish the champion."""
        full = [i for i in view.trained() if i.plan.phase in ("exploit", "polish")]
        champion = next((i for i in full if i.number == view.champion), full[-1])
        if champion.plan.method == "average":
            # a mean has no settings of its own to go on with: its best member has
            champion = best_of([i for i in view.trained() if i.number in champion.plan.average]) or champion
        need = full_seconds(view)
        other = with_other_answers(view, champion)
        if other is not None:
            return sized(other, view, min(view.usable, need))
        if view.usable >= 2.0 * (need + view.costs["overhead_dev"]):
            tried = {i.plan.knob for i in full}
            knob = next((k for k in knobs(view, champion.plan, full) if k.name not in tried), None)
            if knob is not None:
                plan = replace(
                    knob.plan,
                    phase="exploit",
                    parent=None,
                    knob=knob.name,
                    hypothesis=f"{knob.name} ends higher than the champion",
                    reason=knob.why,
                    expected_gain=0.02,
                )
                return sized(plan, view, need)
        if sum(1 for i in full if i.plan.phase == "polish") >= 3 or view.usable < max(2 * WORTH_S, 0.08 * view.wall_limit):
            return None
        weak = weak_slices(champion)
        data = with_operation(champion.plan.data, Operation("curriculum", {"order": "even", "power": 0.3, "boost": 3.0}))
        plan = replace(
            champion.plan,
            phase="polish",
            parent=champion.number,
            data=data,
            trainer={**champion.plan.trainer, "learning_rate": 0.5 * float(champion.plan.trainer["learning_rate"])},
            knob=f"weak slices first ({champion.number})",
            hypothesis="more rows of the slices that fail raise them without losing the others",
            reason="weakest: " + (", ".join(f"{k!r} {v:.2f}" for k, v in weak) or "none stands out; more practice"),
            expected_gain=0.03,
        )
        return sized(plan, view, min(view.usable, need))


def second_look(plan: Plan, view: View) -> float:
    """Return the seconds that a first training without probes leaves for going on from it; 0 where they cost it too much."""
    batch = int(fit_batch(replace(plan, seconds=view.usable), view).trainer["per_device_train_batch_size"])
    # the steps that are tried before the first training; what goes on from it is proven
    tried = (TRIAL_STEPS + 1) * batch / view.speed + 2 * view.costs.get("train_setup", 0.0) if view.speed else 0.0
    room = tried + SECOND_S + view.costs["overhead_dev"] + SLACK_S
    asked = view.evaluations_left is None or view.evaluations_left > 0
    return room if asked and room <= SECOND_SHARE * view.usable else 0.0


def first_plan(view: View) -> Plan:
    """The starting point: believable data in even measure; LoRA on all linear layers at a rate that suits the model's size."""
    rate = REFERENCE_RATE * min(1.0, (REFERENCE_HIDDEN / float(view.machine["hidden"])) ** 0.75)
    gpu = bool(view.machine["gpu"])
    trainer: dict[str, Any] = {
        "learning_rate": float(f"{rate:.2g}"),
        "per_device_train_batch_size": 16 if gpu else BATCH,
        "weight_decay": 0.0,
        "max_grad_norm": 1.0,
        "max_length": int(view.task["generation"]["max_context"]),
    }
    return Plan(
        phase="probe",
        hypothesis="believable rows in the task's own form teach format and skill at once",
        reason="the cards show wrong, repeated and odd rows; equal slices serve a mean over all kinds of questions",
        data=default_recipe(view),
        trainer=trainer,
        lora={"r": 16, "lora_alpha": 32, "lora_dropout": 0.0, "target_modules": "all-linear"},
        seconds=0.0,
        expected_gain=0.2,
        knob="starting point",
    )


def default_recipe(view: View, style: str | None = None) -> tuple[Operation, ...]:
    """Every cleaning operation in the order in which each finds its evidence still there."""
    style = style or ("rationale" if view.reasons and any(c.solutions >= 0.5 for c in view.cards) else "direct")
    return (
        Operation("clean"),
        Operation("repair"),
        Operation("kind"),
        Operation("on_topic"),
        Operation("verify"),
        Operation("trust", {"max_error": 0.06, "floor": 40}),
        Operation("dedupe"),
        Operation("drop_leaks"),
        Operation("rebalance", {"power": 0.3}),
        Operation("template", {"style": style}),
        Operation("curriculum", {"order": "shuffled"}),
    )


def knobs(view: View, start: Plan, done: list[Iteration]) -> Iterator[Knob]:
    """Yield single changes, the most promising first. A step in the rate that helped is followed by another the same way."""
    rate = float(start.trainer["learning_rate"])
    rates = sorted({float(i.plan.trainer["learning_rate"]) for i in done if bool(i.plan.lora) == bool(start.lora)})
    if not rates or rate >= rates[-1]:
        yield _rate(
            start,
            rate * 2.5,
            "the highest rate so far is the best so far" if len(rates) > 1 else "few steps fit; they must be large",
        )
    if rates and rate <= rates[0]:
        yield _rate(start, rate / 2.5, "the lowest rate so far is the best so far")
    if start.lora and view.machine.get("full_weights"):
        lower = {**start.trainer, "learning_rate": float(f"{FULL_RATE * rate:.2g}")}
        yield Knob(
            "full weights",
            "all weights fit this card, and may learn what an adapter cannot",
            replace(start, trainer=lower, lora={}),
        )
    batch = int(start.trainer["per_device_train_batch_size"])
    if batch > 2:
        smaller = {**start.trainer, "per_device_train_batch_size": batch // 2}
        yield Knob(f"batch {batch // 2}", "more, noisier steps in the same time", replace(start, trainer=smaller))
    if any(c.contradicted > 0.06 for c in view.cards):
        loose = with_operation(start.data, Operation("trust", {"max_error": 1.0}))
        yield Knob("all sources", "more rows may outweigh some wrong answers", replace(start, data=loose))
    even = with_operation(start.data, Operation("curriculum", {"order": "even"}))
    yield Knob("even mix", "time is up before the rows are: every beginning must hold all slices", replace(start, data=even))
    if start.lora:
        rank = int(start.lora["r"])
        wider = {**start.lora, "r": rank * 4, "lora_alpha": rank * 8}
        yield Knob(f"rank {rank * 4}", "more room to change", replace(start, lora=wider))
    if not any(o.name == "template" and o.args.get("style") == "rationale" for o in start.data):
        if any(c.solutions >= 0.3 for c in view.cards) and view.reasons:
            worked = with_operation(start.data, Operation("template", {"style": "rationale"}))
            yield Knob("worked solutions", "steps before the answer may make it right more often", replace(start, data=worked))
    else:
        bare = with_operation(start.data, Operation("template", {"style": "direct"}))
        yield Knob("bare answers", "short answers give more examples in the same time", replace(start, data=bare))
    order = with_operation(start.data, Operation("curriculum", {"order": "short_first"}))
    yield Knob("short first", "easy rows first settle the format early", replace(start, data=order))
    decay = {**start.trainer, "weight_decay": 0.05}
    yield Knob("weight decay 0.05", "less learning by heart", replace(start, trainer=decay))


def mend(caught: Iteration, view: View) -> Plan | None:
    """Change the one thing that made validation or training stop a plan; None where there is nothing to mend."""
    if len(view.iterations) >= 3 and all(i.status != "trained" for i in view.iterations[-3:]):
        return None
    plan, rung = caught.plan, (caught.caught[-1]["rung"] if caught.caught else "train")
    problem = str(caught.caught[-1]["problem"]) if caught.caught else ""
    trainer = dict(plan.trainer)
    if rung == "time":
        return sized(plan, view, view.usable)
    if "steps fit" in problem and view.speed:
        # slower than thought: the same plan with as many steps as were meant, where they fit
        longer = sized(plan, view, max(plan.seconds, probe_seconds(view)))
        if longer is not None and longer.seconds > plan.seconds:
            return replace(longer, reason=f"{plan.reason}; slower than thought: {problem}")
    if "nan" in problem or "diverged" in problem or "not finite" in problem or "learning_rate" in problem:
        usual = float(first_plan(view).trainer["learning_rate"])
        all_weights = bool(view.machine["gpu"]) and not plan.lora
        trainer["learning_rate"] = (FULL_RATE * usual if all_weights else usual) / 4
        return _mended(plan, view, trainer, "a quarter of the usual rate", problem)
    if view.machine["gpu"] and not plan.lora and ("memory" in problem.lower() or ADAPTER_INSTEAD in problem):
        first = first_plan(view)
        trainer["learning_rate"] = first.trainer["learning_rate"]
        return replace(_mended(plan, view, trainer, "an adapter", problem), lora=first.lora)
    if "memory" in problem.lower() or " MB " in problem or "lower the batch size" in problem:
        if int(trainer.get("per_device_train_batch_size", BATCH)) <= 1:
            return None
        trainer["per_device_train_batch_size"] = max(1, int(trainer["per_device_train_batch_size"]) // 4)
        return _mended(plan, view, trainer, "a quarter of the batch", problem)
    if rung == "data":
        return replace(_mended(plan, view, trainer, "the default data recipe", problem), data=default_recipe(view, "direct"))
    return None


def probe_seconds(view: View) -> float:
    """How long a probe trains: enough steps to tell settings apart, longer where the run is long.

    As long as the first one that was trained: only probes of one length can be compared.
    """
    first = next((i for i in view.trained() if i.plan.phase == "probe" and i.plan.parent is None), None)
    if first is not None:
        return first.plan.seconds
    steps = PROBE_STEPS * BATCH / view.speed if view.speed else PROBE_MIN_S
    return max(PROBE_MIN_S, steps, min(0.02 * view.wall_limit, 0.5 * full_seconds(view)))


def full_seconds(view: View) -> float:
    """Seconds that the most epochs worth training take at the measured speed."""
    rows = min(view.train_rows, int(view.task["max_train_samples"]))
    return max(1.0, MAX_EPOCHS * rows / view.speed) if view.speed else view.usable


def sized(plan: Plan, view: View, seconds: float) -> Plan | None:
    """Give the plan the seconds that fit, with a dev evaluation where it costs less than it leaves; None: too few."""
    dev_cost = view.costs["overhead_dev"] - view.costs["overhead_own"]
    metered = plan.phase != "probe" and (view.evaluations_left is None or view.evaluations_left > 0)
    usable = view.usable - SLACK_S
    with_dev = min(seconds, usable - view.costs["overhead_dev"])
    # where time is short, an evaluation that costs more than it leaves for training tells less than the training would bring
    if metered and (with_dev >= seconds or with_dev >= max(WORTH_S, dev_cost)):
        return replace(plan, seconds=round(with_dev, 1), measure="dev")
    without = min(seconds, usable - view.costs["overhead_own"])
    return replace(plan, seconds=round(without, 1), measure="own") if without >= min(WORTH_S, seconds) else None


def fit_batch(plan: Plan, view: View) -> Plan:
    """Halve the batch until enough steps fit the plan's time, where the machine is slow: few large steps teach little."""
    batch = int(plan.trainer.get("per_device_train_batch_size", BATCH))
    while view.speed and batch > LEAST_BATCH and plan.seconds * view.speed / batch < ENOUGH_STEPS[plan.phase]:
        batch //= 2
    return replace(plan, trainer={**plan.trainer, "per_device_train_batch_size": batch})


def best_of(iterations: list[Iteration]) -> Iteration | None:
    """Return the iteration that gives whole answers of the own split the highest probability."""
    scored = [i for i in iterations if i.own and i.own.credit]
    return max(scored, key=lambda i: (_credit(i.own), -i.number), default=None)


def weak_slices(iteration: Iteration) -> list[tuple[str, float]]:
    """Return the slices that score clearly below the mean, weakest first."""
    score = iteration.own or iteration.dev
    if score is None:
        return []
    return sorted(((k, v) for k, v in score.slices.items() if v < score.value - 0.1), key=lambda kv: kv[1])[:5]


def with_operation(recipe: tuple[Operation, ...], changed: Operation) -> tuple[Operation, ...]:
    """Replace an operation of the recipe by one of the same name."""
    return tuple(changed if o.name == changed.name else o for o in recipe)


def read_outcome(view: View, iteration: Iteration) -> Diagnosis:
    """Turn figures into findings and signals."""
    findings: list[str] = []
    signals: dict[str, Any] = {}
    if iteration.status != "trained":
        problems = "; ".join(str(c["problem"]) for c in iteration.caught)
        return Diagnosis((f"not trained: {problems}",), {"caught": [c["rung"] for c in iteration.caught]})
    values = [v for _, v in iteration.losses]
    if len(values) >= 8:
        quarter = len(values) // 4
        early, late = sum(values[:quarter]) / quarter, sum(values[-quarter:]) / quarter
        middle = sum(values[-2 * quarter : -quarter]) / quarter
        signals["still_falling"] = late < 0.95 * middle
        findings.append(
            f"loss {early:.3f} → {late:.3f}, {'still falling: more time would help' if late < 0.95 * middle else 'level'}"
        )
    if iteration.own:
        base = view.base_own.value if view.base_own else 0.0
        findings.append(f"own split {iteration.own.value:.3f} (base {base:.3f})")
        weak = weak_slices(iteration)
        signals["weak_slices"] = dict(weak)
        if weak:
            findings.append("fails most on " + ", ".join(f"{k!r} {v:.2f}" for k, v in weak))
    if iteration.dev:
        findings.append(f"dev {iteration.dev.value:.3f}, weakest {_weakest(iteration.dev)}")
        if iteration.own and iteration.own.value - iteration.dev.value > 0.15:
            signals["own_too_easy"] = True
            findings.append("own split is easier than dev: its mix of questions differs")
        if iteration.dev.parse_rate is not None and iteration.dev.parse_rate < 0.95:
            signals["parse_rate"] = iteration.dev.parse_rate
            findings.append(f"only {iteration.dev.parse_rate:.0%} of answers have the asked form: format first")
    return Diagnosis(tuple(findings), signals)


def _weakest(score: Score) -> str:
    name, value = min(score.slices.items(), key=lambda kv: kv[1], default=("none", 0.0))
    return f"{name!r} {value:.2f}"


def _credit(score: Score | None) -> float:
    return sum(score.credit.values()) / len(score.credit) if score and score.credit else -1.0


def _rate(plan: Plan, rate: float, why: str) -> Knob:
    rate = float(f"{rate:.2g}")
    return Knob(f"rate {rate:g}", why, replace(plan, trainer={**plan.trainer, "learning_rate": rate}))


def _mended(plan: Plan, view: View, trainer: dict[str, Any], knob: str, problem: str) -> Plan:
    mended = replace(
        plan, trainer=trainer, knob=f"mended: {knob}", reason=f"the last plan was stopped: {problem[:160]}", parent=None
    )
    return sized(mended, view, plan.seconds) or replace(mended, seconds=WORTH_S, measure="own")
