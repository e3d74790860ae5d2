"""What thinking cost is added up by call."""

from ft_agent.thinking import Thought, summed


def test_calls_repairs_fallbacks_tokens_and_seconds_are_added_up_by_call() -> None:
    thoughts = [
        Thought("propose", "good", "", 2.04, 100, 20, 1),
        Thought("propose", "repaired", "no JSON", 3.0, 250, 40, 2),
        Thought("propose", "fell_back", "spent", 0.0, 0, 0, 3),
        Thought("survey", "good", "", 1.0, 80, 30, 1),
    ]
    assert summed(thoughts) == {
        "propose": {"calls": 3, "repaired": 1, "fell_back": 1, "input_tokens": 350, "output_tokens": 60, "seconds": 5.0},
        "survey": {"calls": 1, "repaired": 0, "fell_back": 0, "input_tokens": 80, "output_tokens": 30, "seconds": 1.0},
    }
    assert summed([]) == {}
