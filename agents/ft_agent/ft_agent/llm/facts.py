"""What prompts are told, piece by piece, as text. Of the dev split nothing is told but what the task's own feedback shows."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from reading.rows import Row

from ft_agent.cards import Card
from ft_agent.changes import FULL_RATE, differences
from ft_agent.effects import Effect, render
from ft_agent.llm.calls import Lessons, Survey
from ft_agent.llm.desk import Desk
from ft_agent.offline import probe_seconds
from ft_agent.plan import Iteration, Plan
from ft_agent.view import View, clip, curve_text, one_line

# Iterations told in full; older ones get a line each.
TOLD_IN_FULL = 4
# Rows shown of each source, and characters of a text in a row.
SAMPLED, TEXT = 6, 400
# Characters of what the task's goal begins with.
GOAL = 500
# Tokens of the table of effects, by its own careful count.
EFFECT_TOKENS = 900
# Wrong answers shown.
ERRORS = 10


def task_text(view: View) -> str:
    """The task, its answer form, its measure and its limits."""
    task, generation = view.task, view.task["generation"]
    subsets = "; ".join(f"{s['name']} ({s['metric']})" for s in task["subsets"])
    return (
        f"{task['id']} ({task['profile']}). {clip(_aim(str(task['goal'])), GOAL)}\n"
        f"Answers: {task['answer_format']} At most {generation['max_new_tokens']} tokens long; "
        f"question and answer together at most {generation['max_context']}.\n"
        f"Scored by {task['metric']['name']} ({task['metric']['description']}), over {subsets}.\n"
        f"At most {task['max_train_samples']} training samples. Base model: {_model(view.machine)}."
    )


def _aim(goal: str) -> str:
    """What the goal says before its first section, without its title: files, budgets and rules are the program's business."""
    lines = [line for line in goal.partition("\n## ")[0].splitlines() if not line.startswith("# ")]
    return " ".join(" ".join(lines).split()) or " ".join(goal.split())


def _model(machine: Mapping[str, Any]) -> str:
    cores = float(machine.get("cpus") or 1)
    device = str(machine.get("card", "a GPU")) if machine.get("gpu") else f"{cores:g} CPU core{'s' if cores != 1 else ''}"
    return f"{float(machine['parameters']) / 1e6:.0f}M parameters, {machine['layers']} layers, trained on {device}"


def examples_text(view: View, most: int = 6) -> str:
    """The task's worked examples."""
    return "\n".join(
        json.dumps({"prompt": clip(e["prompt"], TEXT), "answer": clip(e["answer"], TEXT)}, ensure_ascii=False)
        for e in view.task["examples"][:most]
    )


def sources_text(view: View) -> str:
    """What the task says of each source, and what was measured."""
    said = {s["name"]: s.get("description", "") for s in view.task.get("data", {}).get("sources", [])}
    return "\n".join(f"- {c.source}: {_sentence(said.get(c.source, ''))}{_card(c)}" for c in view.cards)


def _card(card: Card) -> str:
    slices = ", ".join(f"{k!r} {n}" for k, n in list(card.slices.items())[:8])
    return (
        f"{card.rows} rows, {card.usable} usable; without answer {card.empty:.0%}, wrong kind of answer {card.wrong_kind:.0%}, "
        f"repeated {card.duplicated:.0%}, answers wrong {card.contradicted:.0%} (estimated from {card.checkable}), "
        f"with solution {card.solutions:.0%}; slices {slices}"
    )


def _sentence(text: str) -> str:
    words = " ".join(str(text).split()).rstrip(".")
    return f"{clip(words, 200)}. " if words else ""


def samples_text(desk: Desk, sources: Iterable[str], n: int = SAMPLED, seed: int = 0) -> str:
    """Random rows of each source, one JSON object a line."""
    return "\n".join(json.dumps(_row(row), ensure_ascii=False) for s in sources for row in desk.samples(s, n, seed))


def _row(row: Row) -> dict[str, str]:
    shown = {"source": row.source, "prompt": clip(row.prompt, TEXT), "answer": clip(row.value, TEXT), "slice": row.slice}
    return {**shown, "rationale": clip(row.rationale, TEXT)} if row.rationale else shown


def survey_text(survey: Survey | None) -> str:
    """What the survey found."""
    if survey is None:
        return ""
    sources = [f"- {s.source}: {s.worth}. {s.why}" for s in survey.sources]
    return "\n".join(
        [f"Task: {survey.task}", f"A good row: {survey.good_row}", *sources, *(f"- risk: {r}" for r in survey.risks)]
    )


def lessons_text(lessons: Lessons) -> str:
    """Lessons, one a line."""
    return "\n".join(f"- [{x.scope}] {x.lesson}" + (f" ({x.evidence})" if x.evidence else "") for x in lessons.lessons)


def history_text(iterations: Sequence[Iteration], champion: int, against: Plan | None = None, name: str = "") -> str:
    """What was tried, oldest first, the newest in full: what each set differently from one plan, and what came of it.

    Args:
        iterations: oldest first.
        champion: number of the one that is handed in.
        against: the plan that differences are told from; the first iteration's where there is none.
        name: of that plan.
    """
    if not iterations:
        return ""
    first = iterations[0]
    reference, called = (against, name) if against else (first.plan, f"iteration {first.number}")
    lines = [] if against else [f"Iteration {first.number} set {plan_text(first.plan)}"]
    lines += [one_line(i) for i in iterations[:-TOLD_IN_FULL]]
    lines += [outcome_text(i, reference, called) for i in iterations[-TOLD_IN_FULL:]]
    return "\n".join([*lines, f"Champion: {f'iteration {champion}' if champion else 'the base model'}."])


def outcome_text(iteration: Iteration, reference: Plan, called: str) -> str:
    """One iteration: hypothesis, what differs from the reference, rows, loss, scores, diagnosis, decision."""
    plan = iteration.plan
    changed = [c for c in differences(reference, plan) if c.knob not in ("seconds", "phase")]
    told = "; ".join(f"{c.knob} {c.after} instead of {c.before}" for c in changed) or "nothing"
    lines = [
        f"## {iteration.number} {plan.phase} ({iteration.status}): {clip(plan.hypothesis, 200)}",
        f"Differs from {called} in: {told}",
    ]
    if iteration.data_log:
        lines.append("rows: " + ", ".join(f"{d['operation']} {d['rows_out']}" for d in iteration.data_log))
    if iteration.caught:
        lines.append("stopped: " + "; ".join(f"[{c['rung']}] {clip(str(c['problem']), 200)}" for c in iteration.caught))
    if iteration.losses:
        lines.append(f"{iteration.steps} steps in {iteration.train_seconds:.0f} s, loss {curve_text(iteration.losses)}")
    for score in (iteration.own, iteration.dev):
        if score:
            weak = sorted(score.slices.items(), key=lambda kv: kv[1])[:4]
            lines.append(f"{score.split} {score.value:.3f}; weakest {', '.join(f'{k!r} {v:.2f}' for k, v in weak)}")
    if iteration.diagnosis:
        lines += [clip(f, 240) for f in iteration.diagnosis.findings if f.startswith("cause: ")]
    return "\n".join([*lines, f"decision: {iteration.decision}"])


def effects_text(effects: Sequence[Effect]) -> str:
    """The table of effects."""
    return render(effects, EFFECT_TOKENS)


def errors_text(feedback: Mapping[str, Any] | None) -> str:
    """Wrong answers of the last dev evaluation, as its feedback shows them; a right answer only where it shows that too."""
    if not feedback:
        return ""
    scores = feedback.get("scores", {})
    parts = {name: round(float(line["value"]), 3) for name, line in feedback.get("subsets", {}).items()}
    lines = [
        f"Last dev evaluation: {scores.get('primary', {}).get('value')}, by sub-set {parts}, "
        f"answers of the asked form {scores.get('parse_rate')}, tokens of an answer {feedback.get('response_tokens')}"
    ]
    for error in feedback.get("errors", [])[:ERRORS]:
        shown = {"prompt": clip(str(error.get("prompt")), 240), "model said": clip(str(error.get("response")), 200)}
        if error.get("answer") is not None:
            shown["right"] = clip(str(error["answer"]), 80)
        lines.append(json.dumps(shown, ensure_ascii=False))
    return "\n".join(lines)


def plan_text(plan: Plan) -> str:
    """What a plan sets, as JSON; long lists are told by their length."""
    recipe = [{"operation": o.name, **({"args": _short(o.args)} if o.args else {})} for o in plan.data]
    return json.dumps(
        {"method": plan.method, "trainer": plan.trainer, "lora": plan.lora or "full weights", "data": recipe}, ensure_ascii=False
    )


def _short(args: Mapping[str, Any]) -> dict[str, Any]:
    return {k: f"{len(v)} entries" if isinstance(v, list) and len(v) > 8 else v for k, v in args.items()}


def tools_text(view: View) -> str:
    """Methods and what an iteration costs beside its training."""
    own, dev = view.costs["overhead_own"], view.costs["overhead_dev"]
    speed = f"{view.speed:.1f} examples a second" if view.speed else "speed not measured yet"
    where = "where memory allows"
    if view.machine.get("gpu"):
        fits = "they fit this card" if view.machine.get("full_weights") else "they do not fit this card with its disk"
        where = f"at {FULL_RATE:g} of the adapter's rate where you name none; {fits}"
    return (
        f"- a probe: about {probe_seconds(view):.0f} s of training and {own:.0f} s beside it; {speed}\n"
        f"- an exploit or polish with a dev evaluation: its training and {dev:.0f} s beside it\n"
        "- method sft: learns the rows' answers (the default). dpo: right answers against the model's own wrong ones; needs "
        "self_generate in the recipe. grpo: own answers, rewarded where they are right; many times slower a row than sft\n"
        '- "average": [numbers] in "changes": mean of the adapters of trained iterations of one rank; no training at all\n'
        f'- "full_weights": true in "changes": trains all weights instead of an adapter, {where}'
    )


def time_text(view: View, stage: str) -> str:
    """The time left, every budget, and what may be proposed now."""
    lines = [f"{view.usable:.0f} s of {view.wall_limit:.0f} s are left for training and measuring."]
    for name, line in view.budget.items():
        limit, left = line.get("limit"), line.get("left")
        if name != "wall" and limit is not None and left is not None:
            lines.append(f"{name}: {left:.4g} of {limit:g} left.")
    return "\n".join([*lines, stage])
