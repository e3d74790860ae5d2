"""Makes the agents' own packages importable: inside a sandbox they lie at /agent, here under agents/."""

import sys
from pathlib import Path

AGENTS = Path(__file__).resolve().parents[3] / "agents"
for path in (Path(__file__).parent, AGENTS / "ft_agent"):
    if str(path) not in sys.path:
        sys.path.insert(0, str(path))
