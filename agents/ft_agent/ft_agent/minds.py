"""What thinks in a run, and what makes rows in it: chosen by the switches and by whether the run has a backbone."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from ft_agent.data import Maker
from ft_agent.loop import Setting
from ft_agent.offline import Offline
from ft_agent.planner import Planner
from ft_agent.switches import Switches
