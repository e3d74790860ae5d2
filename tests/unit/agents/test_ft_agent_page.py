"""docs/ft-agent.md says what the code says: parameters, operations, and a prompt of each kind as the planner writes it."""

import json
import os
import re
import subprocess
import sys
import tomllib

from ft_agent.data import NEED_MAKERS
from ft_agent.plan import METHODS
from ft_agent.switches import Switches
from where import AGENTS

PAGE = AGENTS.parent / "docs" / "ft-agent.md"
FENCE = "````"
# What a command that writes the page anew needs.
ANEW = f"{AGENTS / 'ft_agent'}:{AGENTS}"


def prompts() -> str:
    """The prompts as the page shows them."""
    environment = {**os.environ, "PYTHONPATH": ANEW}
    command = [sys.executable, "-m", "ft_agent.llm.show"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    return f"{FENCE}text\n{done.stdout.strip()}\n{FENCE}\n"


def renewed(text: str) -> str:
    """The page with today's prompts."""
    head, _, rest = text.partition("<!-- prompts -->\n")
    _, mark, tail = rest.partition("<!-- end of prompts -->")
    return f"{head}<!-- prompts -->\n{prompts()}{mark}{tail}"


def test_a_prompt_of_each_kind_is_shown_as_the_planner_writes_it() -> None:
    text = PAGE.read_text(encoding="utf-8")
    assert text == renewed(text), f"the prompts have changed: PYTHONPATH={ANEW} python {__file__} writes the page anew"


def test_every_parameter_is_listed_with_its_default() -> None:
    listed = dict(re.findall(r"^\| `(\w+)` \| (?:`([^`]*)`|–) \|", PAGE.read_text(encoding="utf-8"), re.MULTILINE))
    defaults = vars(Switches())
    shipped = tomllib.loads((AGENTS / "ft_agent" / "agent.toml").read_text())["params"]
    assert shipped == defaults
    assert {name: listed[name] for name in defaults} == {
        name: value if isinstance(value, str) else json.dumps(value) for name, value in defaults.items()
    }


def test_every_operation_that_a_run_brings_along_and_every_method_is_named() -> None:
    text = PAGE.read_text(encoding="utf-8")
    assert all(f"`{name}`" in text for name in (*NEED_MAKERS, *METHODS[:3]))


if __name__ == "__main__":
    PAGE.write_text(renewed(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
