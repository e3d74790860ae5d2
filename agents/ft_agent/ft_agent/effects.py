"""What one knob did: effects measured between iterations that differ in nothing else, kept by code, whatever a planner claims.

Two iterations are an experiment where their plans set one knob differently: the same phase, the same start, about the same
seconds. The effect is the mean difference of the probability they give the whole answers of the own split, paired by item.
"""

from __future__ import annotations

import math
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from statistics import median

from ft_agent.changes import Change, differences, differing_parts
from ft_agent.choose import compare
from ft_agent.plan import Iteration, Score

# An effect counts as shown beyond this many errors: chance passes it one time in forty, and a table has dozens of rows at most.
SHOWN_ERRORS = 2.0
# An effect that would be told as 0.000 is none, however sure: a model that knows nothing moves in the eighth decimal.
LEAST_EFFECT = 0.0005
# Paired items below which an error estimated from them says nothing; a slice is only shown beside the whole, so fewer will do.
FEWEST_ITEMS, FEWEST_IN_SLICE = 10, 5
# Fewest characters a token stands for in these rows: some tokenizers give every digit one of its own.
CHARS_PER_TOKEN = 1.5
# What two plans may differ in where one goes on from the other with nothing changed.
GOING_ON = frozenset({"phase", "parent", "seconds"})


@dataclass(frozen=True)
class Effect:
    """One knob's effect.

    Attributes:
        knob: what differs, as ``trainer.learning_rate``, ``data.trust``, ``more training``, ``training`` (against the base).
        against: number of the iteration it is measured against (0: the base model).
        with_: number of the iteration that has the change.
        effect: mean paired difference of the probability of whole answers, on -1 to 1.
        error: its standard error, over items and, where plans were repeated, over trainings.
        items: how many were paired.
        slices: slice → (effect, error) there.
        confirmed: whether it helped beyond the noise; False: it harmed; None: within the noise.
        before: the knob's value in ``against``, in words.
        after: its value in ``with_``.
        noise: what of the error trainings bring that vary by themselves (`repeat_noise`); None: not known, no plan was repeated.
    """

    knob: str
    against: int
    with_: int
    effect: float
    error: float
    items: int
    slices: dict[str, tuple[float, float]] = field(default_factory=dict)
    confirmed: bool | None = None
    before: str = ""
    after: str = ""
    noise: float | None = None

    @property
    def name(self) -> str:
        """What evidence names it by, as ``3v1``."""
        return f"{self.with_}v{self.against}"

    @property
    def certainty(self) -> float:
        """How many errors it is away from nothing."""
        return abs(self.effect) / self.error if self.error > 0 else (math.inf if self.effect else 0.0)


def table(iterations: Sequence[Iteration], base: Score | None, slices: Mapping[str, str] | None = None) -> tuple[Effect, ...]:
    """Book the effect of every knob that two measured iterations alone differ in.

    An iteration is compared, knob by knob, with the newest before it that is one knob away: which pair is booked must not depend
    on how the pairs came out, or the effects would be those of the luckiest.

    Args:
        iterations: the history, oldest first.
        base: the base model on the own split, where measured; the first iteration that started from it is held against it.
        slices: item of the own split → its slice; without it effects are told as a whole only.
    """
    measured = [i for i in iterations if i.status == "trained" and i.own and i.own.credit]
    noise = repeat_noise(measured)
    by_number = {i.number: i for i in iterations}
    found: list[Effect] = []
    for position, after in enumerate(measured):
        booked: set[str] = set()
        for before in _candidates(after, measured[:position]):
            change = one_change(before, after, by_number)
            if change is None or change.knob in booked:
                continue
            effect = _weigh(change, before.number, before.own, after, noise, slices or {})
            if effect is not None:
                booked.add(change.knob)
                found.append(effect)
    first = next((i for i in measured if i.plan.parent is None and i.plan.method != "average"), None)
    if first is not None and base is not None:
        effect = _weigh(Change("training", "none", first.plan.knob or "the first plan"), 0, base, first, noise, slices or {})
        found += [effect] if effect is not None else []
    return tuple(sorted(found, key=lambda e: (e.with_, e.against)))


def one_change(before: Iteration, after: Iteration, history: Mapping[int, Iteration]) -> Change | None:
    """Return the one knob in which the two differ; None where they differ in none or in several.

    Where each goes on from an iteration of its own, those must differ in the same knob in the same way, and in nothing else.
    """
    if after.plan.method == "average":
        if before.number not in after.plan.average:
            return None
        return Change("average", f"{before.number} alone", "of " + ", ".join(str(n) for n in after.plan.average))
    went_on = after.plan.parent == before.number
    # most pairs of a long history are far apart
    if not went_on and differing_parts(before.plan, after.plan) > 2:
        return None
    changes = differences(before.plan, after.plan)
    if went_on and {c.knob for c in changes} <= GOING_ON:
        return Change("more training", "none", f"{after.plan.seconds:.0f} s")
    if len(changes) == 2 and changes[0].knob == "parent":
        parents = [history.get(i.plan.parent or 0) for i in (before, after)]
        if parents[0] and parents[1] and one_change(parents[0], parents[1], history) == changes[1]:
            return changes[1]
    return changes[0] if len(changes) == 1 else None


def repeat_noise(iterations: Sequence[Iteration]) -> float | None:
    """Return how much a training varies by itself (standard deviation of the mean score), or None where no plan was repeated.

    From the differences d of repeats: their variance is twice that of a training, beside the error over items.
    """
    measured = [i for i in iterations if i.status == "trained" and i.own and i.own.credit and i.plan.method != "average"]
    excess = []
    for position, after in enumerate(measured):
        for before in measured[:position]:
            if not differing_parts(before.plan, after.plan):
                assert before.own and after.own
                pair = compare(after.own.credit, before.own.credit)
                if pair.items >= FEWEST_ITEMS:
                    excess.append(pair.difference**2 - pair.standard_error**2)
    return math.sqrt(max(0.0, sum(excess) / len(excess)) / 2) if excess else None


def difference_noise(iterations: Sequence[Iteration]) -> float | None:
    """Return the usual error of a difference between two trainings, items and repeats together; None: fewer than two."""
    measured = [i for i in iterations if i.status == "trained" and i.own and i.own.credit]
    pairs = [compare(b.own.credit, a.own.credit) for a, b in pairwise(measured) if a.own and b.own]
    errors = [p.standard_error for p in pairs if p.items >= FEWEST_ITEMS]
    return math.hypot(median(errors), math.sqrt(2) * (repeat_noise(iterations) or 0.0)) if errors else None


def named(effects: Sequence[Effect], text: str) -> Effect | None:
    """Return the row that a stated evidence names, or None where there is none: then it is a guess.

    A row is named by its name (``3v1``) or by its knob; a name beside another row's knob, or beside a sign that the row does not
    have, names nothing.
    """
    pairs = {(int(a), int(b)) for a, b in re.findall(r"\b(\d+)\s*(?:v|vs\.?|against)\s*(\d+)\b", text)}
    knobs = {e.knob for e in effects if re.search(rf"(?<![\w.]){re.escape(e.knob)}(?![\w])", text)}
    if pairs:
        rows = [e for e in effects if (e.with_, e.against) in pairs and (not knobs or e.knob in knobs)]
    else:
        rows = [e for e in effects if e.knob in knobs]
    signs = set(re.findall(r"(?<![\w.])([+−-])\s*\d*\.\d", text))
    rows = [e for e in rows if not signs or ("+" if e.effect >= 0 else "-") in {s.replace("−", "-") for s in signs}]
    return rows[-1] if rows else None


def render(effects: Sequence[Effect], limit: int) -> str:
    """Write the table in at most ``limit`` tokens: what cannot be shown in full loses its slices, then the least certain rows.

    Args:
        effects: the rows.
        limit: in tokens.

    Raises:
        ValueError: not even the heading fits.
    """
    room = int(limit * CHARS_PER_TOKEN)
    by_certainty = sorted(effects, key=lambda e: (-e.certainty, -e.with_))
    for sliced in (True, False):
        text = _text(by_certainty, sliced, len(effects))
        if len(text) <= room:
            return text
    shown = list(by_certainty)
    while shown:
        shown.pop()
        text = _text(shown, False, len(effects))
        if len(text) <= room:
            return text
    raise ValueError(
        f"the table of effects does not fit {limit} tokens; its heading needs {math.ceil(len(text) / CHARS_PER_TOKEN)}"
    )


def row_text(effect: Effect, sliced: bool = True) -> str:
    """Write one effect in a line."""
    verdict = {True: "helps", False: "harms", None: "within noise"}[effect.confirmed]
    line = (
        f"{effect.name} {effect.knob} {effect.before} -> {effect.after}: "
        f"{effect.effect:+.3f} +- {effect.error:.3f}, {effect.items} items, {verdict}"
    )
    # the slices it moves most, measured in their own errors
    moved = sorted(effect.slices.items(), key=lambda kv: -abs(kv[1][0]) / max(kv[1][1], 1e-9))[:3] if sliced else []
    return line + "".join(f"; {name!r} {value:+.3f} +- {error:.3f}" for name, (value, error) in moved)


def _text(rows: Sequence[Effect], sliced: bool, total: int) -> str:
    if not total:
        return "No effect measured yet: no two iterations differ in one knob alone."
    noise = next((e.noise for e in rows if e.noise is not None), None)
    error = (
        "+- holds items only, no plan was repeated"
        if noise is None
        else f"+- holds items and trainings, these vary by {noise:.3f}"
    )
    missing = f"; {total - len(rows)} less certain rows are left out" if len(rows) < total else ""
    return "\n".join([f"Effects, 3v1 is 3 against 1 ({error}{missing}):", *(row_text(e, sliced) for e in rows)])


def _candidates(after: Iteration, earlier: Sequence[Iteration]) -> list[Iteration]:
    """Newest first; for an average its best member, which is what would be handed in without it."""
    if after.plan.method != "average":
        return list(reversed(earlier))
    members = [i for i in earlier if i.number in after.plan.average]
    return sorted(members, key=lambda i: -_mean(i.own))


def _weigh(
    change: Change, number: int, before: Score | None, after: Iteration, noise: float | None, slices: Mapping[str, str]
) -> Effect | None:
    if before is None or after.own is None:
        return None
    pair = compare(after.own.credit, before.credit)
    if pair.items < FEWEST_ITEMS:
        return None
    # the base model was not trained
    trained = math.sqrt(1 if number == 0 else 2) * (noise or 0.0)
    error = math.hypot(pair.standard_error, trained)
    groups: dict[str, list[str]] = defaultdict(list)
    for item in sorted(set(after.own.credit) & set(before.credit)):
        if item in slices:
            groups[slices[item]].append(item)
    parts = {}
    for name, items in sorted(groups.items()):
        part = compare({k: after.own.credit[k] for k in items}, {k: before.credit[k] for k in items})
        if part.items >= FEWEST_IN_SLICE:
            parts[name] = (part.difference, math.hypot(part.standard_error, trained))
    shown = abs(pair.difference) > max(SHOWN_ERRORS * error, LEAST_EFFECT)
    confirmed = pair.difference > 0 if shown else None
    return Effect(
        change.knob,
        number,
        after.number,
        pair.difference,
        error,
        pair.items,
        parts,
        confirmed,
        change.before,
        change.after,
        noise,
    )


def _mean(score: Score | None) -> float:
    return sum(score.credit.values()) / len(score.credit) if score and score.credit else 0.0
