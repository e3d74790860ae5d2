"""FT-Agent's entry: reads its environment, takes a planner, runs the loop in the current folder."""

from __future__ import annotations

import json
import os
from functools import partial
from pathlib import Path

import dojo_tool
from ft_agent.loop import Agent
from ft_agent.minds import NoBackbone, minds, thinks_with
from ft_agent.switches import Switches


def main() -> None:
    """Do one run."""
    try:
        switches = Switches.read(json.loads(os.environ.get("DOJO_AGENT_PARAMS") or "{}"))
        thinks_with(switches)
    except (ValueError, NoBackbone) as exc:
        raise SystemExit(f"ft_agent: {exc}") from exc
    seed = int(os.environ.get("DOJO_SEED") or 0)
    say = partial(print, flush=True)
    Agent(dojo_tool.Client(), minds, Path.cwd(), switches=switches, seed=seed, say=say).run()


if __name__ == "__main__":
    main()
