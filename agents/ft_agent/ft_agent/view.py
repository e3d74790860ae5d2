"""Everything a planner may know, as one frozen value, and as text within a stated number of tokens."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ft_agent.cards import Card
from ft_agent.effects import Effect, render
from ft_agent.plan import Iteration, Score

# Fewest characters a token stands for in text like ours, counted with room to spare, so that a rendered view never exceeds its
# limit.
CHARS_PER_TOKEN = 2.5
# What the table of effects and the lessons may take of a view.
EFFECTS_TOKENS, LESSONS_CHARS = 800, 1500


@dataclass(frozen=True)
class View:
    """What is known when a plan is made.

    Attributes:
        task: the agent API's answer to ``task``.
        cards: one card a source.
        machine: cores, memory in MB, GPU or not, the base model's facts.
        arguments: the trainer's and the adapter's arguments with type, default and range, in words.
        operations: the data operations and their arguments, in words.
        wall_limit: seconds of the whole run.
        usable: seconds left before the reserve for the final submission.
        budget: every dimension as the API gives it.
        costs: step → measured seconds; ``overhead_own`` and ``overhead_dev`` are what an iteration costs beside training.
        speed: training examples a second, measured, or None before anything was trained.
        train_rows: rows a plain cleaning leaves, for sizing.
        evaluations_left: metered evaluations left (None: unlimited).
        iterations: the whole history, oldest first.
        champion: number of the iteration whose model is handed in (0: the base model).
        base_own: the base model on the agent's own validation split, where measured.
        feedback: the last dev evaluation, whole.
        reasons: whether the worked examples reason before they answer.
        effects: what changing one knob did, measured by code.
        lessons: what the run, or runs before it, have taught, in words.
        next_number: the number that the next iteration will have.
    """

    task: dict[str, Any]
    cards: tuple[Card, ...]
    machine: dict[str, Any]
    arguments: str
    operations: str
    wall_limit: float
    usable: float
    budget: dict[str, Any]
    costs: dict[str, float]
    speed: float | None
    train_rows: int
    evaluations_left: int | None
    iterations: tuple[Iteration, ...] = ()
    champion: int = 0
    base_own: Score | None = None
    feedback: dict[str, Any] | None = None
    reasons: bool = False
    effects: tuple[Effect, ...] = ()
    lessons: str = ""
    next_number: int = 1

    def trained(self) -> list[Iteration]:
        """Return the iterations that were trained to their end."""
        return [i for i in self.iterations if i.status == "trained"]

    def render(self, max_tokens: int = 6000) -> str:
        """Write the view as text of at most ``max_tokens`` tokens.

        What does not fit is cut in this order: old iterations to one line each, sampled errors, the arguments' list, then the
        oldest iterations. The task, the budget and the newest iterations always stay.

        Raises:
            ValueError: ``max_tokens`` is too small for even those.
        """
        limit = int(max_tokens * CHARS_PER_TOKEN)
        details: list[tuple[int, bool, bool]] = [
            (len(self.iterations), True, True),
            (6, True, True),
            (3, False, True),
            (2, False, False),
        ]
        for full, errors, arguments in details:
            text = self._text(full, errors, arguments, len(self.iterations))
            if len(text) <= limit:
                return text
        for shown in (40, 20, 10, 5, 2, 1):
            text = self._text(1, False, False, shown)
            if len(text) <= limit:
                return text
        raise ValueError(f"a view does not fit {max_tokens} tokens; at least {math.ceil(len(text) / CHARS_PER_TOKEN)} are needed")

    def _text(self, full: int, errors: bool, arguments: bool, shown: int) -> str:
        parts = [self._task_text(), self._budget_text(), self._cards_text()]
        if arguments:
            parts += [f"## Data operations\n{self.operations}", f"## Arguments\n{self.arguments}"]
        parts.append(self._history_text(full, shown))
        if self.effects:
            parts.append(f"## Effects (one knob changed, paired on the own split)\n{render(self.effects, EFFECTS_TOKENS)}")
        if self.lessons:
            parts.append(f"## Lessons\n{clip(self.lessons, LESSONS_CHARS)}")
        if self.feedback:
            parts.append(self._feedback_text(errors))
        return "\n\n".join(parts)

    def _task_text(self) -> str:
        task = self.task
        subsets = "; ".join(f"{s['name']}: {s['metric']}" for s in task["subsets"])
        examples = "\n".join(f"- {clip(e['prompt'], 300)!r} → {clip(e['answer'], 200)!r}" for e in task["examples"][:4])
        return (
            f"## Task {task['id']} ({task['profile']})\n{clip(str(task['goal']), 1500)}\nAnswer format: {task['answer_format']}\n"
            f"Metric: {task['metric']['name']} ({task['metric']['description']}); sub-sets: {subsets}\n"
            f"At most {task['max_train_samples']} training samples. Machine: {self.machine}\nExamples:\n{examples}"
        )

    def _budget_text(self) -> str:
        lines = [
            f"- {name}: {line['left']:.0f} of {line['limit']:.0f} left"
            for name, line in self.budget.items()
            if line.get("limit") is not None and line.get("left") is not None
        ]
        costs = ", ".join(f"{k} {v:.1f} s" for k, v in sorted(self.costs.items()))
        speed = f"{self.speed:.2f} examples/s" if self.speed else "not measured"
        return (
            "## Budget\n"
            + "\n".join(lines)
            + f"\nUsable before the reserve: {self.usable:.0f} s. Costs: {costs}. Training speed: {speed}."
        )

    def _cards_text(self) -> str:
        lines = [
            f"- {c.source}: {c.rows} rows, {c.usable} usable; empty {c.empty:.0%}, "
            f"wrong kind {c.wrong_kind:.0%}, repeated {c.duplicated:.0%}, "
            f"answers estimated wrong {c.contradicted:.0%} (from {c.checkable} checkable), with solution {c.solutions:.0%}; "
            f"slices {', '.join(f'{k!r} {n}' for k, n in list(c.slices.items())[:8])}"
            for c in self.cards
        ]
        return "## Sources\n" + "\n".join(lines)

    def _history_text(self, full: int, shown: int) -> str:
        lines = [f"## History ({len(self.iterations)} iterations, champion: {self.champion or 'the base model'})"]
        if shown < len(self.iterations):
            lines.append(f"({len(self.iterations) - shown} older iterations are left out)")
        recent = self.iterations[len(self.iterations) - shown :] if shown else ()
        for position, iteration in enumerate(recent):
            lines.append(distil(iteration) if position >= len(recent) - full else one_line(iteration))
        return "\n".join(lines)

    def _feedback_text(self, errors: bool) -> str:
        feedback = self.feedback or {}
        scores = feedback.get("scores", {})
        lines = [
            "## Last dev evaluation",
            f"primary {scores.get('primary', {}).get('value')}, parse rate {scores.get('parse_rate')}, "
            f"response tokens {feedback.get('response_tokens')}",
            f"sub-sets { ({k: v['value'] for k, v in feedback.get('subsets', {}).items()}) }",
        ]
        for error in feedback.get("errors", [])[:8] if errors else []:
            lines.append(
                f"- {clip(error['prompt'], 160)!r} → {clip(error['response'], 120)!r}, "
                f"wanted {clip(str(error.get('answer')), 60)!r}"
            )
        return "\n".join(lines)


def distil(iteration: Iteration) -> str:
    """Write one iteration with everything that later decisions need, in a few lines."""
    plan = iteration.plan
    lines = [
        f"### {iteration.number} {plan.phase} ({iteration.status}): {clip(plan.hypothesis, 200)}",
        f"knob {plan.knob}; parent {plan.parent}; trainer {plan.trainer}; lora {plan.lora}; data "
        + " → ".join(f"{o.name}{o.args or ''}" for o in plan.data),
    ]
    if iteration.data_log:
        lines.append("rows " + ", ".join(f"{d['operation']} {d['rows_in']}→{d['rows_out']}" for d in iteration.data_log))
    if iteration.caught:
        lines.append("caught: " + "; ".join(f"[{c['rung']}] {clip(c['problem'], 160)}" for c in iteration.caught))
    if iteration.losses:
        lines.append(f"{iteration.steps} steps, {iteration.train_seconds:.0f} s, loss " + curve_text(iteration.losses))
    for score in (iteration.own, iteration.dev):
        if score:
            weak = sorted(score.slices.items(), key=lambda kv: kv[1])[:4]
            lines.append(f"{score.split} {score.value:.3f}; weakest {', '.join(f'{k!r} {v:.2f}' for k, v in weak)}")
    if iteration.diagnosis:
        lines.append("diagnosis: " + " ".join(clip(f, 200) for f in iteration.diagnosis.findings))
    lines.append(f"decision: {iteration.decision}")
    return "\n".join(lines)


def one_line(iteration: Iteration) -> str:
    """Write one iteration in a line."""
    own = f" own {iteration.own.value:.3f}" if iteration.own else ""
    dev = f" dev {iteration.dev.value:.3f}" if iteration.dev else ""
    plan = iteration.plan
    return (
        f"- {iteration.number} {plan.phase} {iteration.status}: {clip(plan.knob, 60)};{own}{dev}; {clip(iteration.decision, 80)}"
    )


def curve_text(losses: Sequence[tuple[int, float]]) -> str:
    """Write a loss curve as at most six points, each the mean of a sixth of it."""
    n = max(1, math.ceil(len(losses) / 6))
    parts = [losses[i : i + n] for i in range(0, len(losses), n)]
    return " ".join(f"{sum(v for _, v in p) / len(p):.3f}" for p in parts)


def clip(text: str, length: int) -> str:
    """Cut text to ``length`` characters, marking the cut."""
    return text if len(text) <= length else text[: length - 1] + "…"
