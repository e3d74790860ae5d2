"""What thinks in a run, and what makes rows in it: chosen by the switches and by whether the run has a backbone."""

from __future__ import annotations

import os
from collections.abc import Mapping

from ft_agent.data import Maker
from ft_agent.loop import Setting
from ft_agent.offline import Offline
from ft_agent.planner import Planner
from ft_agent.switches import Switches


class NoBackbone(Exception):
    """A language model is asked for and the run has none."""


def thinks_with(switches: Switches, environment: Mapping[str, str] = os.environ) -> bool:
    """Whether the run's planner asks a language model.

    Raises:
        NoBackbone: ``planner=llm`` in a run without a backbone; says what to do.
    """
    there = bool(environment.get("LLM_BASE_URL"))
    if switches.planner == "llm" and not there:
        raise NoBackbone("planner=llm needs a language model: submit with --backbone NAME, or with planner=offline")
    return there and switches.planner != "offline"


def thinks(setting: Setting) -> Planner:
    """Make the run's planner."""
    return Offline()


def makes(setting: Setting, planner: Planner) -> dict[str, Maker]:
    """Make the operations that need more than rows."""
    return {}
