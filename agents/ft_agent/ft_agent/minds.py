"""What thinks in a run, and what makes rows in it: chosen by the switches and by whether the run has a backbone."""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from reading.backbone import Backbone

from ft_agent.data import Maker
from ft_agent.halves import Halves
from ft_agent.llm.desk import Desk
from ft_agent.llm.lessons import read_lessons
from ft_agent.llm.planner import LlmPlanner
from ft_agent.llm.thinker import Thinker
from ft_agent.loop import Setting
from ft_agent.making.brought import makers
from ft_agent.making.self_generate import Sampler
from ft_agent.offline import Offline
from ft_agent.planner import Fallback, Planner
from ft_agent.programs import Workshop
from ft_agent.rowchecks import Lengths
from ft_agent.switches import Switches
from ft_agent.validate import static_problems
from ft_agent.view import clip

# The agent's own folder, as the sandbox shows it: files that parameters name lie there.
AGENT = Path(__file__).resolve().parent.parent
# Share of the usable time that the answers of one `self_generate`, or one call for rows, may take; no call longer than this.
MAKING_SHARE, MOST_CALL_S = 0.1, 180.0
# Of the task's goal, who makes rows is told the beginning: the rest is about files and rules of the run.
GOAL_CHARS = 600


class NoBackbone(Exception):
    """A language model is asked for and the run has none."""


def thinks_with(switches: Switches, environment: Mapping[str, str] = os.environ) -> bool:
    """Whether the run's planner asks a language model.

    Raises:
        NoBackbone: ``planner=llm`` in a run without a backbone; says what to do.
        ValueError: the file of lessons that the parameters name cannot be read.
    """
    there = bool(environment.get("LLM_BASE_URL"))
    if switches.planner == "llm" and not there:
        raise NoBackbone("planner=llm needs a language model: submit with --backbone NAME, or with planner=offline")
    if switches.lessons:
        read_lessons(AGENT / switches.lessons)
    return there and switches.planner in ("auto", "llm")


def minds(setting: Setting) -> tuple[Planner, dict[str, Maker]]:
    """Make the run's planner, and the operations that need more than rows."""
    experiment = setting.switches.planner in ("plain", "self_taught")
    rules = Halves(setting.switches.planner == "self_taught") if experiment else Offline()
    workshop = Workshop(setting.folder / "programs", lengths=Lengths.of_task(setting.task))
    if not thinks_with(setting.switches):
        return rules, _making(setting, workshop, None)
    if setting.switches.lessons and not setting.chronicle.of("lessons"):
        text = read_lessons(AGENT / setting.switches.lessons)
        setting.chronicle.append("lessons", text=text, iterations=0, given=setting.switches.lessons)
    thinker = Thinker(Backbone.from_environment(os.environ), setting.chronicle)
    desk = Desk(
        rows=setting.material.rows,
        context=setting.material.context,
        folder=setting.folder,
        programs=workshop,
        time_left=setting.counter.timebook.usable,
        problems=partial(static_problems, machine=setting.machine),
    )
    return Fallback(LlmPlanner(thinker, rules, desk), rules, setting.say), _making(setting, workshop, thinker)


def _making(setting: Setting, workshop: Workshop, thinker: Thinker | None) -> dict[str, Maker]:
    if not setting.switches.synthesis:
        return {"program": workshop.maker()}
    times, chronicle, task = setting.counter.timebook, setting.chronicle, setting.task

    def ask(call: str, facts: Mapping[str, str]) -> Any:
        assert thinker is not None
        # a backbone takes its time by the wall, whatever training is paced by
        left = (setting.counter.budget.get("wall") or {}).get("left")
        limit = MOST_CALL_S if left is None else min(MOST_CALL_S, MAKING_SHARE * float(left))
        return thinker.think(call, facts, iteration=chronicle.history.next_number, timeout_s=limit)

    def sampler() -> Sampler:
        held = chronicle.history.iteration(chronicle.history.champion)
        adapter = setting.folder / held.adapter if held and held.adapter else None
        name = f"iteration {held.number}" if held and adapter else "base"
        stint = times.clock.stint(MAKING_SHARE * times.usable())
        return Sampler(partial(setting.trainer.generate, adapter=adapter), name, int(task["generation"]["max_new_tokens"]), stint)

    return makers(
        setting.folder / "made",
        workshop,
        task=f"{clip(str(task['goal']).strip(), GOAL_CHARS)}\n{task['answer_format'].strip()}",
        ask=ask if thinker else None,
        sampler=sampler,
    )
