"""The parts of the agent that a parameter can take away, to see what each is worth."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Literal, get_args

Planning = Literal["auto", "llm", "offline", "plain", "self_taught"]


@dataclass(frozen=True)
class Switches:
    """The agent's parameters (`--agent-param NAME=VALUE`).

    Attributes:
        planner: ``llm`` thinks with the run's backbone, ``offline`` by rules; ``auto``: llm where the run has a backbone;
            ``plain`` and ``self_taught`` are an experiment (`ft_agent.halves`).
        feedback: False: the metered dev evaluation is never called; the own validation split decides alone.
        ladder: False: plans are trained without validation; only the time and the data recipe are looked at.
        memory: False: the planner sees the champion and the last iteration, nothing before.
        synthesis: False: no rows are made; the sources are all there is.
        data_cap: most training samples; 0: the task's own cap.
        lessons: a file below the agent's folder with the lessons of other runs (``lessons.jsonl``); empty: none.
        processes: how many processes train a plan together; 0: one a GPU, and one where there is none.
    """

    planner: Planning = "auto"
    feedback: bool = True
    ladder: bool = True
    memory: bool = True
    synthesis: bool = True
    data_cap: int = 0
    lessons: str = ""
    processes: int = 0

    @staticmethod
    def read(params: Mapping[str, Any]) -> Switches:
        """Check parameters as they arrive in ``DOJO_AGENT_PARAMS``.

        Raises:
            ValueError: a name is unknown, or a value is not of its kind; names both.
        """
        known = {f.name: f.default for f in fields(Switches)}
        for name, value in params.items():
            if name not in known:
                raise ValueError(f"there is no parameter {name!r}; there are {', '.join(known)}")
            wanted = type(known[name])
            if type(value) is not wanted:
                raise ValueError(f"{name} = {json.dumps(value)} is no {wanted.__name__}, as {name}={json.dumps(known[name])}")
        found = Switches(**params)
        if found.planner not in get_args(Planning):
            raise ValueError(f"planner = {found.planner!r}; there are {', '.join(get_args(Planning))}")
        if found.data_cap < 0:
            raise ValueError(f"data_cap = {found.data_cap} is no number of samples; 0 means the task's own cap")
        if found.processes < 0:
            raise ValueError(f"processes = {found.processes} is no number of processes; 0 means one a GPU")
        return found
