"""The loop: plan, prepare data, validate, train, measure, choose, diagnose; again until the time is used up."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from ft_agent.ablate import next_ablation, under_way
from ft_agent.bench import Bench, meet
from ft_agent.counter import Counter
from ft_agent.data import Maker
from ft_agent.effects import table
from ft_agent.evaluate import own_score
from ft_agent.figures import facts_of
from ft_agent.heats import next_in_heat, open_heat
from ft_agent.history import Chronicle
from ft_agent.journal import Journal
from ft_agent.material import Material, read_material
from ft_agent.plan import Iteration, Plan
from ft_agent.planner import Planner
from ft_agent.refusals import Client, Harness
from ft_agent.report import write_report
from ft_agent.switches import Switches
from ft_agent.train import Trainer, TrainingFailed
from ft_agent.turn import Turn
from ft_agent.validate import Machine
from ft_agent.view import View

# Iterations whose planner proposes nothing that passes validation, before the loop gives up on it.
MAX_CAUGHT_IN_A_ROW = 5
# Adapters kept on disk beside the champion's and those still to be continued.
KEPT_ADAPTERS = 3


@dataclass(frozen=True)
class Setting:
    """What planners and makers are made from, once the data are read and the model is loaded."""

    task: dict[str, Any]
    folder: Path
    seed: int
    material: Material
    trainer: Trainer
    machine: Machine
    chronicle: Chronicle
    counter: Counter
    switches: Switches
    say: Callable[[str], None]


# makes the run's planner, and the operations that need more than rows
Minds = Callable[[Setting], tuple[Planner, dict[str, Maker]]]


class Agent:
    """One run. Everything it has done is in the journal; started again on the same folder it goes on."""

    def __init__(
        self,
        client: Client,
        minds: Minds,
        folder: Path,
        *,
        switches: Switches | None = None,
        seed: int = 0,
        say: Callable[[str], None] = print,
    ) -> None:
        self.folder, self.seed, self.say, self.switches = folder, seed, say, switches or Switches()
        self._minds = minds
        # item of the own split → its slice, once the data are read
        self._slices: dict[str, str] = {}
        harness = Harness(client)
        self.task = _capped(harness.task(), self.switches.data_cap)
        self.chronicle = Chronicle(Journal(folder / "journal.jsonl"))
        cores = float(self.task["limits"]["cpus"])
        self.counter = Counter(harness, folder, self.chronicle.append, say, cores=cores, feedback=self.switches.feedback)
        self.times = self.counter.timebook
        self.times.costs.update(self.chronicle.history.costs)

    def run(self) -> None:
        """Do the run to its end; a valid submission exists from the first second on."""
        self._take_up()
        if self.chronicle.history.handed_in is None:
            self.counter.hand_in_base()
        memory = float(self.task["limits"]["memory_mb"])
        base, processes = self.task["base_model"]["path"], self.switches.processes
        with Trainer(base, self.folder / "scratch", memory_mb=memory, processes=processes) as trainer:
            material = read_material(self.task, self.seed, self.times.limit, self.say)
            self._slices = {e.id: e.slice for e in material.own}
            self._introduce(material)
            try:
                info = trainer.ready(self.times.usable())
            except TrainingFailed as exc:
                self._finish(None, f"the base model could not be loaded: {exc}")
                return
            machine, facts, arguments = meet(info, self.task)
            setting = Setting(
                self.task,
                self.folder,
                self.seed,
                material,
                trainer,
                machine,
                self.chronicle,
                self.counter,
                self.switches,
                self.say,
            )
            planner, makers = self._minds(setting)
            bench = Bench(
                self.task,
                self.folder,
                self.seed,
                self.counter,
                trainer,
                material,
                machine,
                facts,
                arguments,
                makers,
                self.switches,
                self.say,
            )
            works = "works" if info["shared_layout"] else "does not work here"
            self.say(f"[{self.times.used():.0f} s] model loaded; shared batch layout {works}; planner {planner.name}")
            if self.chronicle.history.base_own is None and material.own:
                self._measure_base(bench)
            turn = Turn(bench, planner, self.chronicle)
            reason = self._iterate(bench, turn, planner)
            self._finish(turn, reason)
            planner.finish(self._view(bench))

    def _iterate(self, bench: Bench, turn: Turn, planner: Planner) -> str:
        while True:
            self.counter.sync()
            view = self._view(bench)
            plan = self._next(view, planner)
            if plan is None:
                return "nothing worth its time was left"
            self._remember(turn.take(plan, view))
            recent = self.chronicle.history.iterations[-MAX_CAUGHT_IN_A_ROW:]
            if len(recent) == MAX_CAUGHT_IN_A_ROW and all(i.status != "trained" for i in recent):
                return f"the last {MAX_CAUGHT_IN_A_ROW} plans came to nothing"

    def _next(self, view: View, planner: Planner) -> Plan | None:
        """Return the next plan: of the open heat, else of the planner; where it has none, an ablation for the time left over."""
        plan = next_in_heat(self.chronicle.history, view)
        if plan is not None:
            return plan
        plans = () if under_way(view) else planner.propose(view)
        heat = open_heat(plans, view)
        if heat is not None:
            self.chronicle.append("heat", heat=heat.to_json())
            return next_in_heat(self.chronicle.history, view)
        return plans[0] if plans else next_ablation(replace(view, iterations=self.chronicle.history.iterations))

    def _view(self, bench: Bench) -> View:
        """Gather everything a planner may know."""
        history = self.chronicle.history
        iterations = history.iterations
        if not self.switches.memory:
            last = iterations[-1:]
            held = history.iteration(history.champion)
            iterations = (held, *last) if held and held not in last else last
        return View(
            task=self.task,
            cards=bench.material.cards,
            machine=bench.facts,
            arguments=bench.arguments,
            operations=bench.operations(),
            wall_limit=self.times.limit,
            usable=self.times.usable(),
            budget=self.counter.budget,
            costs={
                **self.times.costs,
                "overhead_own": self.times.overhead(False),
                "overhead_dev": self.times.overhead(True),
            },
            speed=history.speed,
            train_rows=bench.material.train_rows,
            evaluations_left=self.counter.evaluations_left,
            iterations=iterations,
            champion=history.champion,
            base_own=history.base_own,
            feedback=history.feedback,
            reasons=bench.material.context.forms.answers.reasons,
            effects=table(iterations, history.base_own, self._slices),
            lessons=history.lessons if self.switches.memory else "",
            next_number=history.next_number,
        )

    # --- start and end ---

    def _take_up(self) -> None:
        """A plan without an outcome was cut off with the agent and counts as failed."""
        cut = self.chronicle.history.open
        if cut is not None:
            caught = {"rung": "train", "problem": "interrupted: the agent was stopped", "seconds": 0.0}
            number, plan = cut
            self._remember(Iteration(number, plan, "failed", caught=(caught,), decision="interrupted; nothing changes"))

    def _introduce(self, found: Material) -> None:
        self.say(
            f"[{self.times.used():.0f} s] {len(found.rows)} rows in {len(found.cards)} sources, {found.train_rows} usable; "
            f"own split {len(found.own)}"
        )
        for card in found.cards:
            wrong = f"about {card.contradicted:.0%} of its answers wrong"
            self.say(f"    {card.source}: {card.usable} of {card.rows} usable, {wrong}")

    def _measure_base(self, bench: Bench) -> None:
        begun = self.times.used()
        try:
            base = own_score(bench.trainer, bench.material.own, None, bench.own_stint())
        except TrainingFailed as exc:
            self.say(f"    base model not measured: {exc}")
            return
        spent = self.counter.used() - begun
        self.times.record("own_score", spent)
        # until training is measured: a training step costs about three times a forward pass
        speed = len(base.items) / max(0.01, spent) / 3.0 if base.items else None
        self.chronicle.append("base", score=asdict(base), speed=speed)
        self.say(f"[{self.times.used():.0f} s] base model on the own split: {base.value:.3f}")

    def _remember(self, iteration: Iteration) -> None:
        before = self.chronicle.history.champion
        champion = iteration.number if iteration.replaces else before
        self.chronicle.append(
            "iteration",
            at=round(self.counter.used(), 1),
            champion=champion,
            costs=self.times.costs,
            iteration=iteration.to_json(),
        )
        plan = iteration.plan
        self.counter.note(f"iteration {iteration.number} ({plan.phase}, {plan.knob}): {iteration.decision}")
        self._tidy()
        self._report("The run went on after this.")

    def _tidy(self) -> None:
        """Remove adapters that nothing will go on from."""
        history = self.chronicle.history
        keep = {history.champion, *(i.number for i in history.iterations[-KEPT_ADAPTERS:])}
        keep |= {i.number for i in history.iterations if history.heat and i.number >= history.heat.first}
        scored = [i for i in history.iterations if i.own and i.adapter]
        best = sorted(scored, key=lambda i: -sum(i.own.credit.values()) if i.own else 0.0)
        keep |= {i.number for i in best[:KEPT_ADAPTERS]}
        for i in history.iterations:
            if i.adapter and i.number not in keep:
                shutil.rmtree(self.folder / i.adapter, ignore_errors=True)

    def _finish(self, turn: Turn | None, reason: str) -> None:
        champion = self.chronicle.history.champion
        if turn is not None and self.chronicle.history.handed_in != champion:
            self.counter.submit(turn.path_of(champion), champion, "the champion, at the end")
        self._report(f"Ended because {reason}.")
        at = round(self.counter.used(), 1)
        self.chronicle.append("end", reason=reason, champion=champion, at=at)
        self.say(f"[{at:.0f} s] end: {reason}; handed in {self.chronicle.history.handed_in or 'the base model'}")

    def _report(self, reason: str) -> None:
        """Write the report: after every iteration, so that a run cut off leaves one too."""
        facts = facts_of(self.chronicle.history, self.times.used(), self.counter.budget, self._slices)
        write_report(self.folder, self.task, facts, reason)


def _capped(task: dict[str, Any], cap: int) -> dict[str, Any]:
    allowed = int(task["max_train_samples"])
    return {**task, "max_train_samples": min(cap, allowed)} if cap else task
