"""The attack suite: every known way to cheat or to break out, tried for real against an installation.

    from harness.attack import AttackSuite

    with AttackSuite(dojo, "namespace") as suite:
        report = suite.play()

`dojo attack` does the same. What is tried lies in three places: in a live sandbox (`live_*`), in whole runs with hostile agents
(`runs`, `agents/`), and in artefacts handed to the code that a run hands them to (`artefact_*`). Each attack says what it tried
and what stopped it; each can succeed, and its control shows that it does where the defence is missing.
"""

from harness.attack.base import Attack, NotStopped, Played, Verdict, Where
from harness.attack.suite import ATTACKS, AttackSuite, Report, RowReport
from harness.attack.threats import THREATS, Threat

__all__ = [
    "ATTACKS",
    "THREATS",
    "Attack",
    "AttackSuite",
    "NotStopped",
    "Played",
    "Report",
    "RowReport",
    "Threat",
    "Verdict",
    "Where",
]
