"""Makes the agents' own packages importable: inside a sandbox they lie at /agent, here under agents/."""

import sys
from pathlib import Path

from harness.session import dojo_tool

HERE = Path(__file__).resolve().parent
AGENTS = HERE.parents[2] / "agents"
for path in (HERE, AGENTS / "ft_agent"):
    if str(path) not in sys.path:
        sys.path.insert(0, str(path))
# last, because every agent's folder is a name there
if str(AGENTS) not in sys.path:
    sys.path.append(str(AGENTS))
# the client's name inside a sandbox; one module, so that its error is one class for all tests
sys.modules["dojo_tool"] = dojo_tool
