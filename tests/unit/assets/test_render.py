from __future__ import annotations

import pytest

from harness.assets.render import budget_text, duration_text, limits_text, render_instruction
from harness.spec.budget import Budget
from harness.spec.errors import SpecError
from harness.spec.task import Limits


def test_placeholders_are_filled_and_other_braces_stay() -> None:
    assert render_instruction(r"{{a}} and {{ b }}: \boxed{42} {a}", {"a": "1", "b": "{{a}}"}) == r"1 and {{a}}: \boxed{42} {a}"


def test_an_unknown_placeholder_says_what_there_is() -> None:
    with pytest.raises(SpecError, match=r"\{\{colour\}\}") as caught:
        render_instruction("{{colour}}", {"a": "1"})
    assert caught.value.hint == "known: a"


@pytest.mark.parametrize(
    ("seconds", "text"), [(90, "90 s"), (300, "5 min"), (5400, "1 h 30 min"), (43200, "12 h"), (0.5, "0.5 s")]
)
def test_durations_are_said_as_people_do(seconds: float, text: str) -> None:
    assert duration_text(seconds) == text


def test_a_budget_names_what_is_limited_only() -> None:
    assert budget_text(Budget(wall=300, evaluations=8)) == "5 min of wall time, 8 dev evaluations"
    full = budget_text(Budget(wall=3600, evaluations=1, cpu=60, gpu=120, disk_mb=2048, tokens=1000, dollars=2))
    assert full.endswith("60 s of CPU time, 2 min of GPU time, 2,048 MB of disk, 1,000 backbone tokens, $2.00 of backbone cost")


def test_limits_are_said_in_words() -> None:
    assert limits_text(Limits(cpus=1, memory_mb=6000)) == "1 CPU core, no GPU, 6,000 MB of memory"
    assert limits_text(Limits(cpus=8, memory_mb=98304, gpus=2)) == "8 CPU cores, 2 GPUs, 98,304 MB of memory"
