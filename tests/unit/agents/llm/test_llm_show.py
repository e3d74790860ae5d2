"""The prompts that the page shows come out of the planner's own code and keep within their limits."""

from __future__ import annotations

import json
import re

import pytest
from ft_agent.llm.calls import CALLS
from ft_agent.llm.limits import LIMITS, tokens_of
from ft_agent.llm.parsing import read_reply
from ft_agent.llm.prompting import template
from ft_agent.llm.show import main, prompts

SHOWN = prompts()


@pytest.mark.parametrize("call", CALLS)
def test_one_prompt_of_each_kind_is_written_from_the_facts_of_a_run_within_its_limit(call: str) -> None:
    system, user = SHOWN[call]
    assert (system["role"], user["role"]) == ("system", "user")
    assert tokens_of(system["content"]) + tokens_of(user["content"]) <= LIMITS[call].prompt
    assert "{{" not in user["content"] and "None" not in user["content"]
    assert user["content"].splitlines()[-1].startswith("Now give")


@pytest.mark.parametrize("call", CALLS)
def test_the_worked_example_of_each_template_is_an_answer_of_the_asked_form(call: str) -> None:
    (example,) = re.findall(r"^(\{.*\})$", template(call).split("# Answer")[1].split("\n# ")[0], re.MULTILINE)
    json.loads(example)
    assert isinstance(read_reply(example, CALLS[call]), CALLS[call])


@pytest.mark.parametrize("call", ["propose", "diagnose", "lessons"])
def test_the_newest_facts_stand_last(call: str) -> None:
    text = SHOWN[call][1]["content"]
    assert (
        text.index("# Task") < text.index("# Lessons") < text.index("# History" if call != "diagnose" else "# Iterations before")
    )
    assert text.index("## 2 probe") < text.rindex("## 3 probe")


def test_the_command_prints_the_calls_named_and_refuses_others(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["lessons"]) == 0
    printed = capsys.readouterr().out
    assert printed.startswith("======== lessons: at most") and "======== survey" not in printed
    assert main(["poem"]) == 2
    assert "there is no call poem; there are survey" in capsys.readouterr().err
