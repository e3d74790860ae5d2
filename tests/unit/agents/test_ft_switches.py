"""Parameters arrive as JSON that anybody may have written."""

import re
from typing import Any

import pytest
from ft_agent.switches import Switches


def test_without_parameters_every_part_is_at_work() -> None:
    assert Switches.read({}) == Switches("auto", True, True, True, True, 0, "")


def test_each_part_can_be_taken_away() -> None:
    assert Switches.read({"feedback": False, "data_cap": 200, "planner": "offline"}) == Switches(
        "offline", feedback=False, data_cap=200
    )


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"feedbak": False}, "no parameter 'feedbak'; there are planner, feedback"),
        ({"feedback": "no"}, 'feedback = "no" is no bool, as feedback=true'),
        ({"data_cap": True}, "data_cap = true is no int, as data_cap=0"),
        ({"data_cap": 1.5}, "data_cap = 1.5 is no int"),
        ({"data_cap": -1}, "0 means the task's own cap"),
        ({"planner": "oracle"}, "planner = 'oracle'; there are auto, llm, offline, plain, self_taught"),
        ({"lessons": None}, "lessons = null is no str"),
    ],
)
def test_what_is_no_parameter_is_refused_by_name(params: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        Switches.read(params)
