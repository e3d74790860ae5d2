"""FT-Agent's entry: reads its environment, takes a planner, runs the loop in the current folder."""

from __future__ import annotations

import json
import os
from functools import partial
from pathlib import Path

import dojo_tool
from ft_agent.loop import Agent
from ft_agent.offline import Offline
from ft_agent.planner import Planner

# name of a planner (`--agent-param planner=…`) → how it is made
PLANNERS: dict[str, type[Planner]] = {"offline": Offline}


def main() -> None:
    """Do one run."""
    params = json.loads(os.environ.get("DOJO_AGENT_PARAMS") or "{}")
    name = str(params.get("planner", "offline"))
    if name not in PLANNERS:
        raise SystemExit(f"no planner {name!r}; there is {', '.join(PLANNERS)}")
    seed = int(os.environ.get("DOJO_SEED") or 0)
    Agent(dojo_tool.Client(), PLANNERS[name](), Path.cwd(), seed=seed, say=partial(print, flush=True)).run()


if __name__ == "__main__":
    main()
