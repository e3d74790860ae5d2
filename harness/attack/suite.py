"""The suite: plays attacks on one backend and says what held."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from harness.attack.artefact_agents import ATTACKS as ARTEFACT_AGENTS
from harness.attack.artefact_answers import ATTACKS as ARTEFACT_ANSWERS
from harness.attack.artefact_archives import ATTACKS as ARTEFACT_ARCHIVES
from harness.attack.artefact_broken_grades import ATTACKS as ARTEFACT_BROKEN_GRADES
from harness.attack.artefact_cheats import ATTACKS as ARTEFACT_CHEATS
from harness.attack.artefact_code import ATTACKS as ARTEFACT_CODE
from harness.attack.artefact_feedback import ATTACKS as ARTEFACT_FEEDBACK
from harness.attack.artefact_generator import ATTACKS as ARTEFACT_GENERATOR
from harness.attack.artefact_provenance import ATTACKS as ARTEFACT_PROVENANCE
from harness.attack.artefact_submissions import ATTACKS as ARTEFACT_SUBMISSIONS
from harness.attack.artefact_talk import ATTACKS as ARTEFACT_TALK
from harness.attack.artefact_tasks import ATTACKS as ARTEFACT_TASKS
from harness.attack.artefact_text import ATTACKS as ARTEFACT_TEXT
from harness.attack.artefact_verdicts import ATTACKS as ARTEFACT_VERDICTS
from harness.attack.artefact_voids import ATTACKS as ARTEFACT_VOIDS
from harness.attack.base import Attack, DoesNotApply, NotStopped, Played, Verdict, Where
from harness.attack.ground import Ground
from harness.attack.live_api import ATTACKS as LIVE_API
from harness.attack.live_calls import ATTACKS as LIVE_CALLS
from harness.attack.live_clocks import ATTACKS as LIVE_CLOCKS
from harness.attack.live_cluster import ATTACKS as LIVE_CLUSTER
from harness.attack.live_collection import ATTACKS as LIVE_COLLECTION
from harness.attack.live_deadline import ATTACKS as LIVE_DEADLINE
from harness.attack.live_endings import ATTACKS as LIVE_ENDINGS
from harness.attack.live_gateway import ATTACKS as LIVE_GATEWAY
from harness.attack.live_kept import ATTACKS as LIVE_KEPT
from harness.attack.live_limits import ATTACKS as LIVE_LIMITS
from harness.attack.live_memory import ATTACKS as LIVE_MEMORY
from harness.attack.live_placement import ATTACKS as LIVE_PLACEMENT
from harness.attack.live_places import ATTACKS as LIVE_PLACES
from harness.attack.live_secrets import ATTACKS as LIVE_SECRETS
from harness.attack.live_server import ATTACKS as LIVE_SERVER
from harness.attack.live_small import ATTACKS as LIVE_SMALL
from harness.attack.live_users import ATTACKS as LIVE_USERS
from harness.attack.live_walls import ATTACKS as LIVE_WALLS
from harness.attack.played_runs import ATTACKS as PLAYED_RUNS
from harness.attack.threats import THREATS, Threat
from harness.sandbox.registry import get_backend
from harness.service import Dojo
from harness.spec.errors import DojoError, MissingError, UsageError

# in the order of rows; within a row what is quick comes first
ATTACKS: tuple[Attack, ...] = tuple(
    sorted(
        (
            *LIVE_PLACES, *LIVE_SECRETS, *LIVE_WALLS, *LIVE_KEPT, *LIVE_LIMITS, *LIVE_API, *LIVE_CALLS, *LIVE_CLOCKS,
            *LIVE_CLUSTER, *LIVE_COLLECTION, *LIVE_DEADLINE, *LIVE_ENDINGS, *LIVE_GATEWAY, *LIVE_MEMORY, *LIVE_PLACEMENT,
            *LIVE_SERVER, *LIVE_SMALL, *LIVE_USERS,
            *ARTEFACT_AGENTS, *ARTEFACT_ANSWERS, *ARTEFACT_ARCHIVES, *ARTEFACT_BROKEN_GRADES, *ARTEFACT_CHEATS, *ARTEFACT_CODE,
            *ARTEFACT_FEEDBACK, *ARTEFACT_GENERATOR, *ARTEFACT_PROVENANCE, *ARTEFACT_SUBMISSIONS, *ARTEFACT_TALK,
            *ARTEFACT_TASKS, *ARTEFACT_TEXT, *ARTEFACT_VERDICTS, *ARTEFACT_VOIDS,
            *PLAYED_RUNS,
        ),
        key=lambda attack: attack.row,
    )
)  # fmt: skip


@dataclass(frozen=True)
class RowReport:
    """How one threat stands."""

    threat: Threat
    attacks: tuple[Played, ...]

    @property
    def verdict(self) -> Verdict:
        """The first of NOT STOPPED, waiting, stopped and does not apply that one attack had; else left out."""
        found = {played.verdict for played in self.attacks}
        for verdict in (Verdict.NOT_STOPPED, Verdict.WAITING, Verdict.STOPPED, Verdict.NOT_HERE):
            if verdict in found:
                return verdict
        return Verdict.LEFT_OUT


@dataclass(frozen=True)
class Report:
    """What held on one backend."""

    sandbox: str
    rows: tuple[RowReport, ...]

    @property
    def held(self) -> bool:
        """Whether nothing was NOT STOPPED."""
        return all(row.verdict is not Verdict.NOT_STOPPED for row in self.rows)


class AttackSuite:
    """Plays the attacks against the backend ``sandbox`` of an installation.

    Raises:
        UsageError: the backend isolates nothing.
        MissingError: the backend is not to be had here.
    """

    def __init__(self, dojo: Dojo, sandbox: str) -> None:
        self.sandbox = sandbox
        self._ground = Ground(get_backend(sandbox), dojo.cache)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None) -> None:
        self._ground.close()

    def play(self, rows: Sequence[int] = (), *, quick: bool = False, on_played: Callable[[Played], None] | None = None) -> Report:
        """Play the attacks of some rows.

        Args:
            rows: numbers of threats; none means all.
            quick: leave out whole runs.
            on_played: called after each attack.

        Raises:
            UsageError: there is no such row.
            MissingError: whole runs need what is not here; the hint says how to get it.
        """
        chosen = chosen_rows(rows)
        if not quick and any(a.where is Where.RUN and a.row in chosen for a in ATTACKS):
            self._ground.runs.require()
        found: list[Played] = []
        for played in self._each(chosen, quick):
            found.append(played)
            if on_played is not None:
                on_played(played)
        reports = [RowReport(THREATS[row], tuple(p for p in found if p.attack.row == row)) for row in chosen]
        return Report(self.sandbox, tuple(reports))

    def _each(self, rows: Sequence[int], quick: bool) -> Iterator[Played]:
        for attack in ATTACKS:
            if attack.row not in rows:
                continue
            if quick and attack.where is Where.RUN:
                yield Played(attack, Verdict.LEFT_OUT, "whole runs were left out")
            else:
                yield play(attack, self._ground)


def chosen_rows(rows: Sequence[int]) -> list[int]:
    """Return the numbers asked for, in order; all where none was.

    Raises:
        UsageError: there is no such row.
    """
    unknown = sorted(set(rows) - THREATS.keys())
    if unknown:
        raise UsageError(f"there is no row {unknown[0]}", hint=f"rows are {min(THREATS)} to {max(THREATS)}")
    return sorted(set(rows)) or sorted(THREATS)


def play(attack: Attack, ground: Ground) -> Played:
    """Play one attack. What breaks in it is NOT STOPPED: nobody knows that it was.

    Raises:
        MissingError: something it needs is not here.
    """
    if attack.play is None:
        return Played(attack, Verdict.WAITING, f"cannot be tried yet: {attack.waits_for}")
    started = time.monotonic()
    try:
        seen, verdict = attack.play(ground), Verdict.STOPPED
    except NotStopped as exc:
        seen, verdict = str(exc), Verdict.NOT_STOPPED
        if attack.waits_for:
            seen, verdict = f"{seen}; waits for {attack.waits_for}", Verdict.WAITING
    except DoesNotApply as exc:
        seen, verdict = str(exc), Verdict.NOT_HERE
    except MissingError:
        raise
    except (AssertionError, DojoError, OSError, ValueError, KeyError, TypeError, IndexError) as exc:
        seen, verdict = f"the attack itself broke: {type(exc).__name__}: {exc}"[:2000], Verdict.NOT_STOPPED
    return Played(attack, verdict, seen, round(time.monotonic() - started, 3))
