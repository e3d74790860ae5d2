"""What prompts are told of a task."""

from dataclasses import replace

import pytest
from ft_agent.llm.facts import task_text
from ft_cases import a_view

GOAL = "# Facts in tables\n\nFine-tune the base model so that it reads\na table.\n\n## Data\n\nRaw sources.\n"


def test_a_task_is_told_by_its_aim_without_title_and_sections() -> None:
    view = a_view()
    text = task_text(replace(view, task={**view.task, "goal": GOAL}))
    assert text.splitlines()[0].endswith("). Fine-tune the base model so that it reads a table.")
    only_a_title = task_text(replace(view, task={**view.task, "goal": "# Facts in tables\n"}))
    assert only_a_title.splitlines()[0].endswith("). # Facts in tables")


@pytest.mark.parametrize(("cpus", "said"), [(1.0, "on 1 CPU core."), (2, "on 2 CPU cores."), (1.5, "on 1.5 CPU cores.")])
def test_cores_are_counted_in_words(cpus: float, said: str) -> None:
    view = a_view()
    assert task_text(replace(view, machine={**view.machine, "cpus": cpus, "gpu": False})).endswith(said)
