"""The loop: plan, prepare data, validate, train, measure, choose, diagnose; again until the time is used up."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from ft_agent.choose import compare
from ft_agent.config import ModelFacts, describe, schema_from_json
from ft_agent.data import OPERATIONS, Context, Dataset, build
from ft_agent.evaluate import Api, dev_score, own_score
from ft_agent.journal import Journal
from ft_agent.material import read_material
from ft_agent.plan import Iteration, Plan, Score
from ft_agent.planner import Planner
from ft_agent.report import write_iteration, write_report
from ft_agent.timebook import TimeBook
from ft_agent.train import Trainer, TrainingFailed
from ft_agent.validate import Catch, Machine, climb
from ft_agent.view import View

# Iterations whose planner proposes nothing that passes validation, before the loop gives up on it.
MAX_CAUGHT_IN_A_ROW = 5
# Adapters kept on disk beside the champion's and those still to be continued.
KEPT_ADAPTERS = 3
SCHEDULES = {
    "probe": {"start": 0.1, "warm": 0.15, "end": 0.3},
    "exploit": {"start": 0.3, "warm": 0.04, "end": 0.02},
    "polish": {"start": 0.2, "warm": 0.1, "end": 0.0},
}


class Agent:
    """One run. Everything it has done is in the journal; started again on the same folder it goes on."""

    def __init__(self, api: Api, planner: Planner, folder: Path, *, seed: int = 0, say: Callable[[str], None] = print) -> None:
        self.api, self.planner, self.folder, self.seed, self.say = api, planner, folder, seed, say
        self.journal = Journal(folder / "journal.jsonl")
        self.task = api.task()
        budget = api.budget()
        wall = budget["wall"]
        self.timebook = TimeBook(float(wall["limit"] or 3600.0), float(wall["left"] or 3600.0))
        self.iterations: list[Iteration] = []
        self.champion = 0
        self.base_own: Score | None = None
        self.feedback: dict[str, Any] | None = None
        self.speed: float | None = None
        self.evaluations_left: int | None = None
        self.proven: dict[str, int] = {}
        self.events: dict[str, float] = {}
        self._take_budget(budget)
        self._recall()

    def run(self) -> None:
        """Do the run to its end; a valid submission exists from the first second on."""
        base = self.folder / "base"
        if not self.journal.of("submitted"):
            base.mkdir(parents=True, exist_ok=True)
            (base / "dojo.json").write_text(json.dumps({"dojo": "base"}), encoding="utf-8")
            self._submit(base, 0, "the base model, so that a valid submission exists")
        with Trainer(
            self.task["base_model"]["path"], self.folder / "scratch", memory_mb=float(self.task["limits"]["memory_mb"])
        ) as trainer:
            self.trainer = trainer
            self._read_data()
            try:
                trainer.ready(self.timebook.usable())
            except TrainingFailed as exc:
                self._finish(f"the base model could not be loaded: {exc}")
                return
            self._meet_machine()
            if self.base_own is None and self.material.own:
                self._measure_base()
            reason = self._iterate()
        self._finish(reason)

    def _iterate(self) -> str:
        while True:
            self._sync()
            view = self.view()
            plan = self.planner.propose(view)
            if plan is None:
                return "nothing worth its time was left"
            iteration = self._turn(plan, view)
            self._remember(iteration)
            caught = self.iterations[-MAX_CAUGHT_IN_A_ROW:]
            if len(caught) == MAX_CAUGHT_IN_A_ROW and all(i.status != "trained" for i in caught):
                return f"the last {MAX_CAUGHT_IN_A_ROW} plans came to nothing"

    def view(self) -> View:
        """Gather everything a planner may know."""
        costs = {**self.timebook.costs}
        costs["overhead_own"], costs["overhead_dev"] = self.timebook.overhead(False), self.timebook.overhead(True)
        return View(
            task=self.task,
            cards=self.material.cards,
            machine=self.machine_facts,
            arguments=self.arguments,
            operations="\n".join(
                f"- {n}({', '.join(sorted(a))}): {(op.__doc__ or '').splitlines()[0]}" for n, (op, a) in OPERATIONS.items()
            ),
            wall_limit=self.timebook.limit,
            usable=self.timebook.usable(),
            budget=self.budget,
            costs=costs,
            speed=self.speed,
            train_rows=self.material.train_rows,
            evaluations_left=self.evaluations_left,
            iterations=tuple(self.iterations),
            champion=self.champion,
            base_own=self.base_own,
            feedback=self.feedback,
            reasons=self.material.context.forms.answers.reasons,
        )

    # --- one turn ---

    def _turn(self, plan: Plan, view: View) -> Iteration:
        number = len(self.iterations) + 1
        folder = self.folder / "iterations" / f"{number:03d}"
        self.journal.append("plan", number=number, plan=plan.to_json())
        self.say(f"[{self.timebook.used():.0f} s] {number} {plan.phase}: {plan.knob} ({plan.seconds:.0f} s). {plan.hypothesis}")
        context = self._context()
        dataset, caught, measured = climb(
            plan,
            lambda: build(self.material.rows, plan.data, context),
            context,
            self.machine,
            self.timebook,
            self._trial,
            proven=self.proven,
        )
        if measured:
            self.speed = float(measured["per_second"])
        iteration = Iteration(number, plan, "caught", dataset.log if dataset else (), tuple(_catch(c) for c in caught))
        feedback: dict[str, Any] | None = None
        if not caught and dataset is not None:
            iteration = self._train(iteration, dataset, folder)
        if iteration.status == "trained":
            iteration = self._measure(iteration)
            iteration, feedback = self._choose(iteration)
        else:
            self.say(f"    {iteration.status}: " + "; ".join(str(c["problem"]) for c in iteration.caught))
            iteration = replace(iteration, decision="not trained; nothing changes")
        iteration = replace(iteration, diagnosis=self.planner.diagnose(view, iteration))
        write_iteration(folder, iteration, dataset, feedback)
        return iteration

    def _train(self, iteration: Iteration, dataset: Dataset, folder: Path) -> Iteration:
        plan, out = iteration.plan, folder / "adapter"
        overhead = self.timebook.overhead(plan.measure == "dev")
        seconds = min(plan.seconds, self.timebook.usable() - overhead)
        if seconds < 0.5 * plan.seconds:
            late = Catch("time", f"validation took so long that {seconds:.0f} of {plan.seconds:.0f} s are left", 0.0)
            return replace(iteration, caught=(_catch(late),))
        losses: list[tuple[int, float]] = []
        told = time.monotonic()

        def on_step(event: dict[str, Any]) -> None:
            nonlocal told
            if event["loss"] is not None:
                losses.append((int(event["step"]), float(event["loss"])))
            if time.monotonic() - told > 20:
                told = time.monotonic()
                self.say(f"[{self.timebook.used():.0f} s]   step {event['step']}, loss {event['loss']}, rate {event['rate']:.2g}")

        parent = next((i for i in self.iterations if i.number == plan.parent and i.adapter), None)
        init = self.folder / parent.adapter if parent and parent.adapter else None
        begun = time.monotonic()
        try:
            done = self.trainer.train(
                dataset.examples,
                plan.trainer,
                plan.lora,
                method=plan.method,
                form=self.material.context.forms.answers,
                seconds=seconds,
                seed=self.seed + iteration.number,
                schedule=SCHEDULES[plan.phase],
                init=init if init and init.exists() else None,
                out=out,
                on_step=on_step,
            )
        except TrainingFailed as exc:
            spent = time.monotonic() - begun
            failure = {"rung": "train", "problem": f"{exc.kind}: {exc}", "seconds": round(spent, 1)}
            return replace(iteration, status="failed", losses=tuple(losses), train_seconds=spent, caught=(failure,))
        spent = time.monotonic() - begun
        self.timebook.record("train_setup", max(0.0, spent - seconds))
        self.speed = float(done["per_second"])
        return replace(
            iteration,
            status="trained",
            losses=tuple(losses),
            steps=int(done["steps"]),
            examples=int(done["examples"]),
            tokens=int(done["tokens"]),
            train_seconds=spent,
            adapter=str(out.relative_to(self.folder)),
            notes=(f"layout {done['layout']}, {done['mean_tokens']:.0f} tokens an example, {done['per_second']:.2f} examples/s",),
        )

    def _measure(self, iteration: Iteration) -> Iteration:
        assert iteration.adapter is not None
        try:
            own = own_score(self.trainer, self.material.own, self.folder / iteration.adapter, seconds=self._own_seconds())
        except TrainingFailed as exc:
            return replace(iteration, notes=(*iteration.notes, f"own split not measured: {exc}"))
        self.timebook.record("own_score", own.seconds)
        return replace(iteration, own=own)

    def _choose(self, iteration: Iteration) -> tuple[Iteration, dict[str, Any] | None]:
        """Decide on the own split, hand in a new champion, then let the metered split confirm or overrule."""
        assert iteration.adapter is not None
        path, before = self.folder / iteration.adapter, self.champion
        held = next((i for i in self.iterations if i.number == before), None)
        reference = held.own if held else self.base_own
        replaces, why = self._better(iteration.own, reference)
        if replaces and self._may_submit(iteration):
            replaces = self._submit(path, iteration.number, f"iteration {iteration.number}: {iteration.plan.knob}")
            why += "" if replaces else "; but it was not accepted as a submission"
        feedback = None
        if iteration.plan.measure == "dev" and self._may_evaluate():
            iteration, feedback = self._evaluate(iteration, path)
        if iteration.dev and held and held.dev:
            comparison = compare(iteration.dev.items, held.dev.items)
            overruled, why = comparison.replaces, f"on dev, {comparison.describe()}"
            if overruled and not replaces and self._may_submit(iteration):
                overruled = self._submit(path, iteration.number, f"iteration {iteration.number}, better on dev")
            replaces = overruled
        if replaces:
            self.champion = iteration.number
        elif self._handed_in() != before:
            self._submit(self._path_of(before), before, "back to the champion")
        name = f"iteration {before}" if before else "the base model"
        decision = f"replaces {name}: {why}" if replaces else f"{name} stays: {why}"
        self.say(f"    own {_shown(iteration.own)}, dev {_shown(iteration.dev)}; {decision}")
        return replace(iteration, decision=decision), feedback

    def _better(self, challenger: Score | None, champion: Score | None) -> tuple[bool, str]:
        if challenger is None:
            return False, "it could not be measured"
        if champion is None:
            return True, "the champion was never measured"
        comparison = compare(challenger.credit, champion.credit)
        return comparison.replaces, f"probability of whole answers, {comparison.describe()}"

    def _evaluate(self, iteration: Iteration, path: Path) -> tuple[Iteration, dict[str, Any] | None]:
        try:
            score, feedback = dev_score(self.api, path, f"iteration {iteration.number}: {iteration.plan.knob}")
        except (
            Exception
        ) as exc:  # the client's own error class is known only inside the sandbox; a failed evaluation must not end the run
            self._sync()
            return replace(iteration, notes=(*iteration.notes, f"dev evaluation failed: {exc}")), None
        self.timebook.record("evaluate", score.seconds)
        self.feedback, self.evaluations_left = feedback, feedback.get("evaluations_left")
        return replace(iteration, dev=score), feedback

    # --- small duties ---

    def _may_evaluate(self) -> bool:
        self._sync()
        metered = self.evaluations_left is None or self.evaluations_left > 0
        # what is to be measured has been handed in already; afterwards at most the former champion is handed in again
        afterwards = max(3.0, 2 * self.timebook.cost("submit"))
        return metered and self.timebook.left() > self.timebook.cost("evaluate") + afterwards

    def _may_submit(self, iteration: Iteration) -> bool:
        """Handing in takes seconds: between probes only the first that beats the base model is worth them."""
        return iteration.plan.phase != "probe" or self._handed_in() == 0

    def _submit(self, path: Path, number: int, note: str) -> bool:
        begun = time.monotonic()
        try:
            self.api.submit(str(path), note=note)
        except Exception as exc:  # see _evaluate: refusal or outage, the run goes on with what was handed in before
            self.say(f"    submission of {path.name} failed: {exc}")
            return False
        self.timebook.record("submit", time.monotonic() - begun)
        self.events.setdefault("first_submission", round(self.timebook.used(), 1))
        self.journal.append("submitted", number=number, at=round(self.timebook.used(), 1), note=note)
        return True

    def _handed_in(self) -> int:
        last = self.journal.last("submitted")
        return int(last["number"]) if last else -1

    def _path_of(self, number: int) -> Path:
        held = next((i for i in self.iterations if i.number == number), None)
        return self.folder / held.adapter if held and held.adapter else self.folder / "base"

    def _trial(self, plan: Plan, examples: Any, steps: int) -> dict[str, Any]:
        return self.trainer.train(
            examples,
            plan.trainer,
            plan.lora,
            method=plan.method,
            form=self.material.context.forms.answers,
            seconds=max(30.0, 0.1 * self.timebook.usable()),
            max_steps=steps,
            seed=self.seed,
        )

    def _own_seconds(self) -> float:
        return max(5.0, min(0.06 * self.timebook.limit, 0.3 * self.timebook.usable()))

    def _sync(self) -> None:
        self._take_budget(self.api.budget())

    def _take_budget(self, budget: dict[str, Any]) -> None:
        self.budget = budget
        self.timebook.sync(budget)
        left = (budget.get("evaluations") or {}).get("left")
        self.evaluations_left = None if left is None else int(left)

    def _context(self) -> Context:
        weak = next((i.own.slices for i in reversed(self.iterations) if i.own), {})
        return replace(self.material.context, slice_scores=weak)

    # --- start and end ---

    def _read_data(self) -> None:
        self.material = read_material(self.task, self.seed, self.timebook.limit, self.say)
        found = self.material
        self.say(
            f"[{self.timebook.used():.0f} s] {len(found.rows)} rows in {len(found.cards)} sources, {found.train_rows} usable; "
            f"own split {len(found.own)}"
        )
        for card in found.cards:
            self.say(
                f"    {card.source}: {card.usable} of {card.rows} usable, about {card.contradicted:.0%} of its answers wrong"
            )

    def _meet_machine(self) -> None:
        info = self.trainer.info
        limits, facts = self.task["limits"], ModelFacts(**info["model"])
        memory = float(limits["memory_mb"])
        fits = memory if info["gpu_memory_mb"] is None else float(info["gpu_memory_mb"])
        self.machine = Machine(fits, bool(info["cuda"]), facts, {k: schema_from_json(v) for k, v in info["schemas"].items()})
        self.machine_facts = {"cpus": limits["cpus"], "memory_mb": memory, "gpu": bool(info["cuda"]), **info["model"]}
        self.arguments = describe(self.machine.schemas)
        self.say(
            f"[{self.timebook.used():.0f} s] model loaded; shared batch layout "
            + ("works" if info["shared_layout"] else "does not work here")
        )

    def _measure_base(self) -> None:
        try:
            self.base_own = own_score(self.trainer, self.material.own, None, seconds=self._own_seconds())
        except TrainingFailed as exc:
            self.say(f"    base model not measured: {exc}")
            return
        self.timebook.record("own_score", self.base_own.seconds)
        if self.speed is None and self.base_own.items:
            # until training is measured: a training step costs about three times a forward pass
            self.speed = len(self.base_own.items) / max(0.01, self.base_own.seconds) / 3.0
        self.journal.append("base", score=asdict(self.base_own))
        self.say(f"[{self.timebook.used():.0f} s] base model on the own split: {self.base_own.value:.3f}")

    def _remember(self, iteration: Iteration) -> None:
        self.iterations.append(iteration)
        self.events[f"iteration {iteration.number}"] = round(self.timebook.used(), 1)
        self.journal.append(
            "iteration",
            at=round(self.timebook.used(), 1),
            champion=self.champion,
            costs=self.timebook.costs,
            speed=self.speed,
            iteration=iteration.to_json(),
        )
        try:
            self.api.note(f"iteration {iteration.number} ({iteration.plan.phase}, {iteration.plan.knob}): {iteration.decision}")
        except Exception as exc:  # a note is not worth a run
            self.say(f"    note not taken: {exc}")
        self._tidy()
        self._report("The run went on after this.")

    def _recall(self) -> None:
        """Take up where the journal ends; a plan without an outcome was cut off and counts as failed."""
        for record in self.journal.of("iteration"):
            iteration = Iteration.from_json(record["iteration"])
            self.iterations.append(iteration)
            self.champion, self.speed = int(record["champion"]), record["speed"]
            self.timebook.costs.update(record["costs"])
            self.events[f"iteration {iteration.number}"] = float(record["at"])
            if iteration.dev:
                self.feedback = None
        first = next(iter(self.journal.of("submitted")), None)
        if first:
            self.events["first_submission"] = float(first["at"])
        base = self.journal.last("base")
        if base:
            self.base_own = Score(**base["score"])
        plan = self.journal.last("plan")
        if plan and int(plan["number"]) > len(self.iterations):
            cut = {"rung": "train", "problem": "interrupted: the agent was stopped", "seconds": 0.0}
            self._remember(
                Iteration(
                    int(plan["number"]),
                    Plan.from_json(plan["plan"]),
                    "failed",
                    caught=(cut,),
                    decision="interrupted; nothing changes",
                )
            )

    def _tidy(self) -> None:
        """Remove adapters that nothing will go on from."""
        keep = {self.champion, *(i.number for i in self.iterations[-KEPT_ADAPTERS:])}
        scored = [i for i in self.iterations if i.own and i.adapter]
        keep |= {i.number for i in sorted(scored, key=lambda i: -sum(i.own.credit.values()) if i.own else 0.0)[:KEPT_ADAPTERS]}
        for i in self.iterations:
            if i.adapter and i.number not in keep:
                shutil.rmtree(self.folder / i.adapter, ignore_errors=True)

    def _finish(self, reason: str) -> None:
        if self._handed_in() != self.champion:
            self._submit(self._path_of(self.champion), self.champion, "the champion, at the end")
        self._report(f"Ended because {reason}.")
        self.journal.append("end", reason=reason, champion=self.champion, at=self.events["end"])
        self.say(f"[{self.timebook.used():.0f} s] end: {reason}; handed in {self._handed_in() or 'the base model'}")

    def _report(self, reason: str) -> None:
        """Write the report: after every iteration, so that a run cut off leaves one too."""
        self.events["end"] = round(self.timebook.used(), 1)
        last = self.iterations[-1] if self.iterations else None
        falling = bool(last and last.diagnosis and last.diagnosis.signals.get("still_falling"))
        next_step = "More training time: the loss was still falling. " if falling else "Other data: the loss had levelled off. "
        weak = (last.diagnosis.signals.get("weak_slices") if last and last.diagnosis else None) or {}
        next_step += f"More rows for {', '.join(repr(k) for k in weak)}." if weak else "No slice stands out."
        write_report(
            self.folder,
            self.task,
            self.iterations,
            self.champion,
            self.base_own,
            self.events,
            f"{next_step} ({reason})",
        )


def _catch(catch: Catch) -> dict[str, Any]:
    return asdict(catch)


def _shown(score: Score | None) -> str:
    return f"{score.value:.3f}" if score else "–"
