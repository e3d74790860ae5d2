"""One turn of the loop: a plan goes up the ladder, is trained, measured, compared with the champion and diagnosed."""

from __future__ import annotations

import threading
import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from ft_agent.averaging import CannotAverage, average
from ft_agent.bench import Bench
from ft_agent.choose import Comparison, compare, compare_on_dev
from ft_agent.data import Dataset, RecipeError, build
from ft_agent.evaluate import own_score
from ft_agent.history import Chronicle
from ft_agent.plan import Iteration, Plan, Score
from ft_agent.planner import Planner
from ft_agent.refusals import Refused
from ft_agent.report import write_iteration
from ft_agent.train import TrainingFailed
from ft_agent.validate import Catch, climb, time_problems
from ft_agent.view import View

SCHEDULES = {
    "probe": {"start": 0.1, "warm": 0.15, "end": 0.3},
    "exploit": {"start": 0.3, "warm": 0.04, "end": 0.02},
    "polish": {"start": 0.2, "warm": 0.1, "end": 0.0},
}
# Between two lines about a training that is going on.
TELL_EVERY_S = 20.0
# Thinking ahead may go on this long after the training it ran beside; then the loop goes on without it.
THOUGHT_PATIENCE_S = 20.0


class Turn:
    """Takes plans to iterations. What happens on the way is in the chronicle before the next thing begins."""

    def __init__(self, bench: Bench, planner: Planner, chronicle: Chronicle) -> None:
        self.bench, self.planner, self.chronicle = bench, planner, chronicle
        self.times, self.say = bench.counter.timebook, bench.say

    def take(self, plan: Plan, view: View) -> Iteration:
        """Do one plan to its end, whatever that is; the iteration is not in the chronicle yet."""
        number = self.chronicle.history.next_number
        folder = self.bench.folder / "iterations" / f"{number:03d}"
        self.chronicle.append("plan", number=number, plan=plan.to_json())
        self.say(f"[{self.times.used():.0f} s] {number} {plan.phase}: {plan.knob} ({plan.seconds:.0f} s). {plan.hypothesis}")
        dataset, caught = self._validate(plan)
        iteration = Iteration(number, plan, "caught", dataset.log if dataset else (), tuple(asdict(c) for c in caught))
        feedback: dict[str, Any] | None = None
        if not caught and dataset is not None:
            iteration = self._train(iteration, dataset, folder, view)
        if iteration.status == "trained":
            iteration = self._measure(iteration)
            iteration, feedback = self._choose(iteration)
        else:
            self.say(f"    {iteration.status}: " + "; ".join(str(c["problem"]) for c in iteration.caught))
            iteration = replace(iteration, decision="not trained; nothing changes")
        seen = view if feedback is None else replace(view, feedback=feedback)
        iteration = replace(iteration, diagnosis=self.planner.diagnose(seen, iteration))
        write_iteration(folder, iteration, dataset, feedback)
        return iteration

    # --- validation and training ---

    def _validate(self, plan: Plan) -> tuple[Dataset | None, list[Catch]]:
        history, bench = self.chronicle.history, self.bench
        context = bench.context(history)
        if plan.method == "average":
            return Dataset((), ()), []
        if not bench.switches.ladder:
            late = [Catch("time", problem, 0.0) for problem in time_problems(plan, self.times)]
            try:
                return (None, late) if late else (build(bench.material.rows, plan.data, context), [])
            except RecipeError as exc:
                return None, [Catch("data", str(exc), 0.0)]
        dataset, caught, measured = climb(
            plan,
            lambda: build(bench.material.rows, plan.data, context),
            context,
            bench.machine,
            self.times,
            self._trial,
            proven=bench.proven,
            init=self._init(plan),
        )
        if measured:
            self.chronicle.append("speed", per_second=float(measured["per_second"]))
        return dataset, caught

    def _trial(self, plan: Plan, examples: Any, steps: int) -> dict[str, Any]:
        return self.bench.trainer.train(
            examples,
            plan.trainer,
            plan.lora,
            **self.times.clock.stint(max(30.0, 0.1 * self.times.usable())),
            method=plan.method,
            form=self.bench.material.context.forms.answers,
            max_steps=steps,
            seed=self.bench.seed,
        )

    def _train(self, iteration: Iteration, dataset: Dataset, folder: Path, view: View) -> Iteration:
        plan, out = iteration.plan, folder / "adapter"
        if plan.method == "average":
            return self._average(iteration, out)
        self.bench.counter.sync()
        seconds = min(plan.seconds, self.times.usable() - self.times.overhead(plan.measure == "dev"))
        if seconds < 0.5 * plan.seconds:
            late = Catch("time", f"validation took so long that {seconds:.0f} of {plan.seconds:.0f} s are left", 0.0)
            return replace(iteration, caught=(asdict(late),))
        losses: list[tuple[int, float]] = []
        told = time.monotonic()

        def on_step(event: dict[str, Any]) -> None:
            nonlocal told
            if event["loss"] is not None:
                losses.append((int(event["step"]), float(event["loss"])))
            if time.monotonic() - told > TELL_EVERY_S:
                told = time.monotonic()
                self.say(f"[{self.times.used():.0f} s]   step {event['step']}, loss {event['loss']}, rate {event['rate']:.2g}")

        ahead = threading.Thread(target=self.planner.meanwhile, args=(view, plan), daemon=True)
        ahead.start()
        begun = self.times.used()
        try:
            done = self.bench.trainer.train(
                dataset.examples,
                plan.trainer,
                plan.lora,
                **self.times.clock.stint(seconds),
                method=plan.method,
                form=self.bench.material.context.forms.answers,
                seed=self.bench.seed + iteration.number,
                schedule=SCHEDULES[plan.phase],
                init=self._init(plan),
                out=out,
                on_step=on_step,
            )
        except TrainingFailed as exc:
            spent = self.bench.counter.used() - begun
            failure = {"rung": "train", "problem": f"{exc.kind}: {exc}", "seconds": round(spent, 1)}
            return replace(iteration, status="failed", losses=tuple(losses), train_seconds=spent, caught=(failure,))
        spent = self.bench.counter.used() - begun
        ahead.join(THOUGHT_PATIENCE_S)
        self.times.record("train_setup", max(0.0, spent - seconds))
        self.chronicle.append("speed", per_second=float(done["per_second"]))
        return replace(
            iteration,
            status="trained",
            losses=tuple(losses),
            steps=int(done["steps"]),
            examples=int(done["examples"]),
            tokens=int(done["tokens"]),
            train_seconds=spent,
            adapter=str(out.relative_to(self.bench.folder)),
            notes=(_told(done),),
            speed=str(done["speed"]),
        )

    def _init(self, plan: Plan) -> Path | None:
        """The folder that a plan goes on from."""
        parent = self.chronicle.history.iteration(plan.parent)
        init = self.bench.folder / parent.adapter if parent and parent.adapter else None
        return init if init and init.exists() else None

    def _average(self, iteration: Iteration, out: Path) -> Iteration:
        members = [self.chronicle.history.iteration(n) for n in iteration.plan.average]
        folders = [self.bench.folder / i.adapter for i in members if i and i.adapter]
        try:
            average(folders, None, out)
        except CannotAverage as exc:
            return replace(iteration, caught=(asdict(Catch("static", str(exc), 0.0)),))
        return replace(iteration, status="trained", adapter=str(out.relative_to(self.bench.folder)))

    # --- measuring and choosing ---

    def _measure(self, iteration: Iteration) -> Iteration:
        assert iteration.adapter is not None
        begun = self.times.used()
        try:
            own = own_score(
                self.bench.trainer,
                self.bench.material.own,
                self.bench.folder / iteration.adapter,
                self.bench.own_stint(),
            )
        except TrainingFailed as exc:
            return replace(iteration, notes=(*iteration.notes, f"own split not measured: {exc}"))
        self.times.record("own_score", self.bench.counter.used() - begun)
        return replace(iteration, own=own)

    def _choose(self, iteration: Iteration) -> tuple[Iteration, dict[str, Any] | None]:
        """Decide on the own split, hand in a new champion, then let the metered split confirm or overrule.

        What the own split does not tell apart the metered one is asked about: of both, where one has not been there yet.
        """
        assert iteration.adapter is not None
        history, counter = self.chronicle.history, self.bench.counter
        path, before = self.bench.folder / iteration.adapter, history.champion
        held = history.iteration(before)
        comparison, why = _compared(iteration.own, held.own if held else history.base_own)
        replaces = iteration.own is not None and (comparison is None or comparison.replaces)
        if replaces and self._may_submit(iteration):
            replaces = counter.submit(path, iteration.number, f"iteration {iteration.number}: {iteration.plan.knob}")
            why += "" if replaces else "; but it was not accepted as a submission"
        feedback = None
        if iteration.plan.measure == "dev":
            if held and not held.dev and comparison and comparison.undecided and counter.may_evaluate(2):
                held = self._ask_of_the_champion(held)
            if counter.may_evaluate():
                iteration, feedback = self._evaluate(iteration, path)
        if iteration.dev and held and held.dev:
            on_dev = compare_on_dev(iteration.dev, held.dev)
            overruled, why = on_dev.replaces, f"on dev, {on_dev.describe()}"
            if overruled and not replaces and self._may_submit(iteration):
                overruled = counter.submit(path, iteration.number, f"iteration {iteration.number}, better on dev")
            replaces = overruled
        if not replaces and self.chronicle.history.handed_in != before:
            counter.submit(self.path_of(before), before, "back to the champion")
        name = f"iteration {before}" if before else "the base model"
        decision = f"replaces {name}: {why}" if replaces else f"{name} stays: {why}"
        self.say(f"    own {_shown(iteration.own)}, dev {_shown(iteration.dev)}; {decision}")
        return replace(iteration, decision=decision), feedback

    def _evaluate(self, iteration: Iteration, path: Path) -> tuple[Iteration, dict[str, Any] | None]:
        try:
            score, feedback = self.bench.counter.evaluate(path, f"iteration {iteration.number}: {iteration.plan.knob}")
        except Refused as exc:
            self.bench.counter.sync()
            return replace(iteration, notes=(*iteration.notes, f"dev evaluation failed: {exc}")), None
        self.chronicle.append("feedback", number=iteration.number, feedback=feedback)
        return replace(iteration, dev=score), feedback

    def _ask_of_the_champion(self, held: Iteration) -> Iteration:
        """Measure the champion on the metered split too, before its challenger, whose errors are the newest then."""
        known, _ = self._evaluate(held, self.path_of(held.number))
        if known.dev:
            self.chronicle.append("dev", number=held.number, score=asdict(known.dev))
        return known

    def _may_submit(self, iteration: Iteration) -> bool:
        """Handing in takes seconds: between probes only the first that beats the base model is worth them."""
        return iteration.plan.phase != "probe" or not self.chronicle.history.handed_in

    def path_of(self, number: int) -> Path:
        """The folder of what an iteration left (0: the base model)."""
        held = self.chronicle.history.iteration(number)
        return self.bench.folder / held.adapter if held and held.adapter else self.bench.counter.path_of_base()


def _compared(challenger: Score | None, champion: Score | None) -> tuple[Comparison | None, str]:
    """Compare on the own split, and say it; None where one of them was never measured."""
    if challenger is None:
        return None, "it could not be measured"
    if champion is None:
        return None, "the champion was never measured"
    comparison = compare(challenger.credit, champion.credit)
    return comparison, f"probability of whole answers, {comparison.describe()}"


def _told(done: dict[str, Any]) -> str:
    """Say how a training's batches were computed."""
    said = f"layout {done['layout']}, {done['mean_tokens']:.0f} tokens an example, {done['per_second']:.2f} examples/s"
    return f"{said}; {done['fit']}" if done["fit"] else said


def _shown(score: Score | None) -> str:
    return f"{score.value:.3f}" if score else "–"
