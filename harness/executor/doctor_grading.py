"""`dojo doctor task T`: would its grades fit on a card, and how long would one take? Told on paper; nothing is loaded."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.assets.base_models import find_base_model
from harness.grading.memory import CARDS, SHAPES, Need, Shape, bandwidth_of, most_tokens_per_s, need_of, shape_of
from harness.sandbox.base import Check
from harness.sandbox.nvidia.driver import HOST, DriverTree, usable
from harness.spec.errors import DojoError, MissingError
from harness.spec.measured import duration_words
from harness.spec.task import ProfileSpec

_GB = 1e9
# Hidden items that are reckoned with where a profile does not declare how many it has: most benchmarks' halves are about that.
_ITEMS = 100
_MIB = 2**20


@dataclass(frozen=True)
class Card:
    """A GPU by its name and its memory in bytes."""

    name: str
    memory: float

    @property
    def words(self) -> str:
        """What people call it."""
        return f"{self.name} ({self.memory / _GB:.0f} GB)"


@dataclass(frozen=True)
class Speed:
    """Tokens a second, of all answers together, and who says so."""

    tokens_per_s: float
    whence: str


def cards_here(tree: DriverTree = HOST) -> list[Card]:
    """Return the GPUs that graders may use, as `nvidia-smi` tells them.

    Raises:
        MissingError, SandboxError: there are GPUs and no `nvidia-smi` that tells them.
    """
    gpus = usable(tree)
    told = tree.smi.status([gpu.uuid or str(gpu.index) for gpu in gpus]) if gpus else []
    return [Card(status.name, status.memory_total_mb * _MIB) for status in told if status.memory_total_mb]


def diagnose_grading(
    profile: ProfileSpec, base_model: str, cache: Path, cards: Sequence[Card], speed: Speed | None = None
) -> list[Check]:
    """Say what grading with ``base_model`` on a GPU takes, and what it would take with other sizes.

    Args:
        profile: its generation settings, sizes and limits.
        base_model: the one that runs would have.
        cache: where its files lie, if they are there.
        cards: GPUs that graders may use; empty: none is here.
        speed: of all answers together, where it is known.
    """
    try:
        shape, parameters = _shape(base_model, cache)
    except DojoError as exc:
        return [Check("grading memory", False, f"{base_model}: {exc.message}", exc.hint)]
    need = need_of(shape, profile.generation, parameters)
    others = {name: need_of(other, profile.generation) for name, other in SHAPES.items() if name != base_model}
    return [
        _memory(base_model, need, profile, cards),
        _time(need, profile, cards, speed),
        *(Check(f"on paper {name}", True, _on_paper(other)) for name, other in others.items()),
    ]


def _shape(name: str, cache: Path) -> tuple[Shape, int | None]:
    """Return a base model's shape, and the number of its weights where its files are here."""
    try:
        model = find_base_model(name, cache)
    except MissingError:
        if name in SHAPES:
            return SHAPES[name], None
        raise
    return shape_of(json.loads((model.path / "config.json").read_bytes())), model.parameters


def _memory(name: str, need: Need, profile: ProfileSpec, cards: Sequence[Card]) -> Check:
    wanted = profile.generation.batch_size
    what = f"{name}: {_parts(need, profile.generation.max_context)}"
    if not cards:
        told = f"no GPU is here; one of {need.card(1) / _GB:.0f} GB or more is needed, {need.card(wanted) / _GB:.0f} GB for all"
        return Check("grading memory", True, f"{what}; {told} {wanted} answers of a batch at their longest")
    card = min(cards, key=lambda one: one.memory)  # a grader has one, and may get any
    held = need.at_once(card.memory)
    hint = f"a card of {need.card(1) / _GB:.0f} GB or more, a smaller base model, or a smaller max_context in the profile"
    return Check(
        "grading memory", held > 0, f"{what}; {card.words} holds {held} answers at their longest, asked for {wanted}", hint
    )


def _time(need: Need, profile: ProfileSpec, cards: Sequence[Card], speed: Speed | None) -> Check:
    """Say how long a grade takes at most, by a known speed, or at least, by what the card's memory can read."""
    generation, sizes = profile.generation, profile.sizes
    count = sizes.hidden if sizes else _ITEMS
    supposed = "" if sizes else " (task.toml tells no sizes)"
    longest = f"{count} items{supposed} with answers of {generation.max_new_tokens:,} tokens"
    tokens = count * generation.max_new_tokens
    if speed is not None:
        took = duration_words(round(tokens / speed.tokens_per_s) or 1)
        at = f"at {speed.tokens_per_s:,.0f} tokens a second ({speed.whence})"
        return Check("grading time", True, f"at most {took}: {longest} {at}")
    known = [(card, rate) for card in cards if (rate := bandwidth_of(card.name)) is not None and need.at_once(card.memory)]
    if not known:
        return Check("grading time", True, f"not told: no speed is known; --tokens-per-second N says one ({longest})")
    card, rate = min(known, key=lambda one: one[1])
    most = most_tokens_per_s(need, min(generation.batch_size, need.at_once(card.memory), count), rate)
    took = duration_words(round(tokens / most) or 1)
    why = f"{card.words} cannot read weights and contexts faster than for {most:,.0f} tokens a second"
    return Check("grading time", True, f"{took} or more, were all answers the longest: {longest}; {why}")


def _parts(need: Need, context: int) -> str:
    return (
        f"{need.weights / _GB:.1f} GB of weights, {need.work / _GB:.1f} GB beside them,"
        f" {need.answer / _GB:.2f} GB for an answer at {context:,} tokens"
    )


def _on_paper(need: Need) -> str:
    """Say how many answers cards of the usual sizes hold."""
    held = [f"{gb} GB: {need.at_once(gb * _GB) or 'too small'}" for gb in CARDS]
    return f"{need.weights / _GB:.1f} GB of weights, {need.answer / _GB:.2f} GB an answer; at once on a card of {', '.join(held)}"
