"""The planner with a language model: it finds hypotheses, code makes plans of them, and the rules decide wherever it fails.

What it may cost is bounded by code: time that the loop waits for it, time for probes, tokens a call and an iteration. A backbone
that answers nonsense therefore costs little, and what it proposes is never trained at length before a probe or a measured effect
has spoken for it.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

from reading.rows import Row

from ft_agent.data import OPERATIONS
from ft_agent.effects import named, table
from ft_agent.llm import facts
from ft_agent.llm.calls import Causes, Idea, Lessons, Program, Proposal, Survey
from ft_agent.llm.desk import Desk
from ft_agent.llm.ideas import Stage, planned, start_of, untaken
from ft_agent.llm.lessons import write_lessons
from ft_agent.llm.thinker import Read, Thinker
from ft_agent.offline import WORTH_S, Offline, full_seconds, probe_seconds
from ft_agent.plan import Diagnosis, Iteration, Plan
from ft_agent.view import View

# Share of the run's wall time that the loop may spend waiting for thoughts, and of what is left of it for one of them. What runs
# beside a training is free.
WAIT_SHARE, WAIT_SHARE_LEFT = 0.15, 0.25
# Seconds of one call, at most and at least; a call with less is not begun.
MOST_CALL_S, LEAST_CALL_S = 180.0, 5.0
# What a call is expected to take before one was made.
EXPECTED_S = 12.0
# Calls the loop waits for.
WAITED_FOR = ("propose", "diagnose")
# Share of the run that probes of a language model's ideas may take; the rules give theirs a quarter.
PROBE_SHARE = 0.3
# Whole trainings for which there must be time before probes go on beyond their share.
AMPLE = 3.0
# Lessons are written anew after so many iterations.
LESSONS_EVERY = 2
# Tries of a survey that comes to nothing.
SURVEYS = 2


class LlmPlanner:
    """Plans with a language model, and with rules where that fails.

    Args:
        thinker: asks the backbone.
        rules: the planner without one: it begins, falls in, and its choice is recorded beside each of the model's.
        desk: rows, programs, clock.
    """

    name = "llm"

    def __init__(self, thinker: Thinker, rules: Offline, desk: Desk) -> None:
        self.thinker, self.rules, self.desk = thinker, rules, desk
        self._records = thinker.journal
        self._ahead = threading.Lock()
        # ideas whose program is still to be written, and those whose program stands
        self._wished: list[Idea] = []
        self._ready: list[Idea] = []
        # programs that nobody could write
        self._unwritten: set[str] = set()

    def propose(self, view: View) -> tuple[Plan, ...]:
        """Return up to three plans of the model's, or what the rules say."""
        ruled = self.rules.propose(view)
        plans = self._proposed(view, ruled)
        if not plans:
            return ruled
        if ruled:
            self._records.append("counterfactual", number=view.next_number, plan=ruled[0].to_json())
        return plans

    def diagnose(self, view: View, iteration: Iteration) -> Diagnosis:
        """Return the rules' findings, and the model's causes, each with the effect that shows it or the word guess."""
        found = self.rules.diagnose(view, iteration)
        if iteration.status != "trained" or iteration.own is None:
            return found
        if self._allowance(view) < self._expected("diagnose") + self._expected("propose"):
            self.thinker.passed("diagnose", iteration.number, "no time for it beside the next proposal")
            return found
        effects = table((*view.iterations, iteration), view.base_own)
        start, name = start_of(view)
        told = {
            "task": facts.task_text(view),
            "lessons": view.lessons,
            "history": facts.history_text(view.iterations, view.champion),
            "effects": facts.effects_text(effects),
            "findings": "\n".join(f"- {f}" for f in found.findings),
            "errors": facts.errors_text(view.feedback),
            "iteration": f"{facts.outcome_text(iteration, start, name)}\nIt set {facts.plan_text(iteration.plan)}",
        }
        causes: Causes | None = self.thinker.think("diagnose", told, iteration=iteration.number, timeout_s=self._timeout(view))
        if causes is None:
            return found
        lines, kept = [], []
        for cause in causes.causes:
            row = named(effects, cause.evidence)
            shown = f"{row.name} {row.knob} {row.effect:+.3f} ± {row.error:.3f}" if row else "guess"
            lines.append(f"cause: {cause.cause} ({shown})" + (f"; test: {cause.test}" if cause.test else ""))
            kept.append({"cause": cause.cause, "evidence": shown, "test": cause.test})
        return Diagnosis((*found.findings, *lines), {**found.signals, "causes": kept})

    def meanwhile(self, view: View, plan: Plan) -> None:
        """Survey the data once, write the programs that ideas wished for, write the lessons anew."""
        if not self._ahead.acquire(blocking=False):
            return  # what was begun beside an earlier training is still at it
        try:
            if self._survey() is None and len([t for t in self._records.of("thought") if t["call"] == "survey"]) < SURVEYS:
                self._look(view)
            while self._wished:
                idea = self._wished.pop(0)
                if self._write(idea, view, MOST_CALL_S):
                    self._ready.append(idea)
            if view.next_number - 1 - self._lessons_at() >= LESSONS_EVERY:
                self._learn(view, MOST_CALL_S)
        finally:
            self._ahead.release()

    def finish(self, view: View) -> None:
        """Write the last lessons, where there is something new and time for it."""
        seconds = min(MOST_CALL_S, 0.5 * self.desk.time_left())
        if view.next_number - 1 > self._lessons_at() and seconds >= LEAST_CALL_S:
            self._learn(view, seconds)

    # --- proposing ---

    def _proposed(self, view: View, ruled: tuple[Plan, ...]) -> tuple[Plan, ...]:
        if not view.iterations:
            return ()  # every run begins with the rules' starting point; the survey is made beside it
        last = view.iterations[-1]
        if last.status != "trained" and last.plan.author == self.rules.name and ruled:
            return ()  # the rules mend their own plans
        if not ruled and view.usable < view.costs["overhead_dev"] + 2 * WORTH_S:
            return ()
        stage, probes = self._stage(view)
        if not stage.probes and not untaken(view):
            return ()  # nothing is known that the best probe does not have: the rules exploit it
        while self._ready:
            plan, _ = planned(self._ready.pop(0), view, self.desk, stage)
            if plan is not None:
                return (plan,)
        if self._allowance(view) < max(LEAST_CALL_S, 0.5 * self._expected("propose")):
            self.thinker.passed("propose", view.next_number, "the time that may be spent waiting for thoughts is used up")
            return ()
        found: list[tuple[Idea, Plan]] | None = self.thinker.think(
            "propose",
            self._facts(view, stage),
            iteration=view.next_number,
            timeout_s=self._timeout(view),
            read=lambda proposal: self._read(proposal, view, stage),
        )
        plans = self._with_programs(found or [], view)
        return plans[: max(1, probes)] if stage.probes else plans[:1]

    def _facts(self, view: View, stage: Stage) -> dict[str, str]:
        start, name = start_of(view)
        survey = self._survey()
        useful = [c.source for c in view.cards]
        return {
            "probe_seconds": f"{probe_seconds(view):.0f}",
            "task": facts.task_text(view),
            "sources": facts.sources_text(view),
            "survey": facts.survey_text(survey),
            "samples": facts.samples_text(self.desk, useful, 3, view.next_number),
            "lessons": view.lessons,
            "operations": view.operations,
            "arguments": view.arguments,
            "tools": facts.tools_text(view),
            "history": facts.history_text(view.iterations, view.champion, start, "the START PLAN"),
            "effects": facts.effects_text(view.effects),
            "errors": facts.errors_text(view.feedback),
            "start": f"The plan of {name}:\n{facts.plan_text(start)}\nPrograms there are: "
            + (", ".join(self.desk.programs.names()) or "none"),
            "time": facts.time_text(view, stage.words),
        }

    def _read(self, proposal: Proposal, view: View, stage: Stage) -> Read:
        """Make plans of ideas; those that are not fit are left out, and repaired only where none is."""
        plans: list[tuple[Idea, Plan]] = []
        problems: list[str] = []
        for number, idea in enumerate(proposal.ideas, 1):
            plan, wrong = planned(idea, view, self.desk, stage)
            if idea.program and idea.program.name in self._unwritten:
                plan, wrong = None, [f"the program {idea.program.name} could not be written; propose something else"]
            problems += [f"idea {number} ({idea.knob}): {problem}" for problem in wrong]
            if plan is not None and not any(_alike(plan, other) for _, other in plans):
                plans.append((idea, plan))
        return Read(plans, notes=problems) if plans else Read(None, problems)

    def _with_programs(self, found: Sequence[tuple[Idea, Plan]], view: View) -> tuple[Plan, ...]:
        """Return the plans that can be trained now; programs are written beside that, or at once where there is nothing else."""
        there = set(self.desk.programs.names())
        wishing = [(idea, plan) for idea, plan in found if idea.program and idea.program.name not in there]
        plans = tuple(plan for idea, plan in found if not idea.program or idea.program.name in there)
        if plans:
            self._wished = [idea for idea, _ in wishing]
            return plans
        for idea, plan in wishing[:1]:
            if self._allowance(view) >= LEAST_CALL_S and self._write(idea, view, self._timeout(view)):
                return (plan,)
        return ()

    def _stage(self, view: View) -> tuple[Stage, int]:
        """Return what may be proposed now, and how many probes still fit their share."""
        each = probe_seconds(view) + view.costs["overhead_own"]
        spent = sum(i.train_seconds + view.costs["overhead_own"] for i in view.iterations if i.plan.phase == "probe")
        share = PROBE_SHARE * view.wall_limit - spent
        # as much again for what the probes find
        left = 0.5 * (view.usable - view.costs["overhead_dev"] - WORTH_S)
        # once something was trained at length, and time for as much is left several times over, finding out is what time is for
        whole = full_seconds(view) + view.costs["overhead_dev"]
        ample = view.usable >= AMPLE * whole and any(i.plan.phase != "probe" for i in view.trained())
        probes = int((left if ample else min(share, left)) / each)
        return Stage(probes=probes >= 1), probes

    # --- the other calls ---

    def _survey(self) -> Survey | None:
        records = self._records.of("survey")
        return Survey.model_validate(records[-1]["survey"]) if records else None

    def _look(self, view: View) -> None:
        names = [c.source for c in view.cards]

        def read(survey: Survey) -> Read:
            unknown = [s.source for s in survey.sources if s.source not in names]
            kept = survey.model_copy(update={"sources": [s for s in survey.sources if s.source in names]})
            if not kept.sources and names:
                return Read(None, [f"sources: there is no {unknown}; name each of {', '.join(names)}"])
            return Read(kept, notes=[f"no source {name!r}" for name in unknown])

        told = {
            "task": facts.task_text(view),
            "examples": facts.examples_text(view),
            "sources": facts.sources_text(view),
            "samples": facts.samples_text(self.desk, names),
        }
        survey = self.thinker.think("survey", told, iteration=view.next_number, timeout_s=MOST_CALL_S, read=read)
        if survey is not None:
            self._records.append("survey", survey=survey.model_dump())

    def _write(self, idea: Idea, view: View, timeout_s: float) -> bool:
        """Have a program written, tried on rows and kept."""
        assert idea.program is not None
        wish, rows = idea.program, self._rows_before_programs(view)

        def read(program: Program) -> Read:
            trial = self.desk.programs.try_out(program.code, rows, self.desk.context)
            if not trial.ok:
                shown = [f"row {dict(bad.row)}: {bad.problem}" for bad in trial.first_bad[:5]]
                return Read(None, [*trial.problems, *shown])
            try:
                self.desk.programs.save(wish.name, program.code)
            except (ValueError, OSError) as exc:
                return Read(None, [str(exc)])
            self._records.append("program", name=wish.name, walls=list(trial.walls))
            return Read(program)

        told = {
            "purpose": f"{wish.purpose} (name: {wish.name}; for the hypothesis: {idea.hypothesis})",
            "task": facts.task_text(view),
            "sources": facts.sources_text(view),
            "samples": facts.samples_text(self.desk, [c.source for c in view.cards], 5),
            "failed": "",
        }
        written = self.thinker.think("write_program", told, iteration=view.next_number, timeout_s=timeout_s, read=read)
        if written is None:
            self._unwritten.add(wish.name)
        return written is not None

    def _rows_before_programs(self, view: View) -> list[Row]:
        """Return the rows as a program in the recipe gets them."""
        rows = list(self.desk.rows)
        for step in start_of(view)[0].data:
            if step.name not in ("select", "clean", "repair"):
                break
            rows = OPERATIONS[step.name][0](rows, step.args, self.desk.context)
        return rows

    def _learn(self, view: View, timeout_s: float) -> None:
        told = {
            "task": facts.task_text(view),
            "before": view.lessons,
            "history": facts.history_text(view.iterations, view.champion),
            "effects": facts.effects_text(view.effects),
        }
        lessons: Lessons | None = self.thinker.think("lessons", told, iteration=view.next_number, timeout_s=timeout_s)
        if lessons is not None:
            self._records.append("lessons", text=facts.lessons_text(lessons), iterations=view.next_number - 1)
            write_lessons(self.desk.folder, lessons, view.task, _model_name(view.task))

    def _lessons_at(self) -> int:
        """How many iterations there were when lessons were written last, or tried to be."""
        written = [int(record.get("iterations", 0)) for record in self._records.of("lessons")]
        tried = [int(t["iteration"]) - 1 for t in self._records.of("thought") if t["call"] == "lessons"]
        return max([0, *written, *tried])

    # --- time ---

    def _allowance(self, view: View) -> float:
        """Seconds of wall time that may still be spent waiting for thoughts, whatever dimension training is paced by."""
        waited = sum(float(t["seconds"]) for t in self._records.of("thought") if t["call"] in WAITED_FOR)
        wall = view.budget.get("wall") or {}
        limit, left = wall.get("limit") or view.wall_limit, wall.get("left")
        return min(WAIT_SHARE * float(limit) - waited, WAIT_SHARE_LEFT * float(view.usable if left is None else left))

    def _timeout(self, view: View) -> float:
        return max(LEAST_CALL_S, min(MOST_CALL_S, self._allowance(view)))

    def _expected(self, call: str) -> float:
        """What a call of this kind has taken, at the median."""
        took = sorted(float(t["seconds"]) for t in self._records.of("thought") if t["call"] == call and t["seconds"])
        return took[len(took) // 2] if took else EXPECTED_S


def _alike(one: Plan, other: Plan) -> bool:
    """Whether two plans would train the same."""
    return (one.phase, one.data, one.trainer, one.lora, one.method, one.average, one.parent) == (
        (other.phase, other.data, other.trainer, other.lora, other.method, other.average, other.parent)
    )


def _model_name(task: dict[str, Any]) -> str:
    return str(task.get("base_model", {}).get("name", ""))
