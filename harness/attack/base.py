"""What an attack is, and how one ended."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from harness.attack.ground import Ground


class Verdict(StrEnum):
    """How an attack, or a row of the threats, stands."""

    STOPPED = "stopped"
    NOT_STOPPED = "NOT STOPPED"
    WAITING = "waiting"
    """The defence, or what is attacked, is not built yet; `Attack.waits_for` says which."""
    NOT_HERE = "does not apply"
    """What is attacked is not there on this backend, or nobody promises it; what was seen says why."""
    LEFT_OUT = "left out"
    """Not played this time."""


class Where(StrEnum):
    """Where an attack is played."""

    SANDBOX = "sandbox"
    RUN = "whole run"
    ARTEFACT = "artefact"


class NotStopped(Exception):
    """An attack got what it wanted; the message says what."""


class DoesNotApply(Exception):
    """An attack has nothing to attack on this backend; the message says why. Never raised for a defence that is missing."""


Play = Callable[["Ground"], str]
"""Tries the attack; returns what was seen to stop it, or raises `NotStopped` or `DoesNotApply`."""


@dataclass(frozen=True)
class Attack:
    """One attack of a row.

    Attributes:
        row: number of the threat, see `threats`.
        name: unique, as ``reads-the-hidden-split``.
        where: where it is played.
        tried: what the attacker does, one sentence without a full stop.
        stopped_by: the defence that must hold, likewise.
        play: None for what cannot be tried yet.
        control: the same attempt with the defence taken away; must raise `NotStopped`. Never played on the host itself.
        waits_for: what has to be built before it can be stopped (or tried); its verdict is ``waiting`` until then.
    """

    row: int
    name: str
    where: Where
    tried: str
    stopped_by: str
    play: Play | None
    control: Play | None = None
    waits_for: str = ""

    def __str__(self) -> str:
        return f"{self.row:02d}-{self.name}"


@dataclass(frozen=True)
class Played:
    """How an attack ended: ``seen`` is the evidence."""

    attack: Attack
    verdict: Verdict
    seen: str
    seconds: float = 0.0


def stopped(unless: bool, loot: object) -> None:
    """Say that the attack succeeded with ``loot`` unless it did not."""
    if not unless:
        raise NotStopped(f"{loot}"[:2000])
