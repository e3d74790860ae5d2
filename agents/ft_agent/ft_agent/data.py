"""Data recipes: named operations on source rows, each logged with rows in and out.

An operation is a pure function from rows to rows. The loop runs a recipe and gets examples in the task's own form; the cap on
training samples is enforced here whatever the recipe says.
"""

from __future__ import annotations

import math
import random
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from reading.rows import PromptForm, Row, bare_value, is_number, normal, rationale_value

from ft_agent.evidence import answer_votes, contradicts_itself
from ft_agent.forms import Forms, strip_form
from ft_agent.plan import Operation


class RecipeError(ValueError):
    """A data recipe that cannot be run: an unknown operation or argument, or nothing left. Says what to change."""


@dataclass(frozen=True)
class Example:
    """A training or validation example in the task's own form.

    ``gold`` is the bare answer (what a check compares with), ``rejected`` a wrong answer of the model's own, where known.
    """

    id: str
    prompt: str
    answer: str
    slice: str
    gold: str = ""
    rejected: str = ""


@dataclass(frozen=True)
class Context:
    """What operations may look at beside the rows.

    Attributes:
        forms: how the task words prompts and answers.
        held_out: normalised questions that training must not contain (own validation split, dev prompts seen in feedback).
        cap: most training samples the task allows.
        seed: of the run.
        subsets: the task's sub-sets, lower case; empty where sources do not use these names.
        slice_scores: last known score by slice, for rebalancing towards weak ones.
        source_errors: source → estimated share of wrong answers (`error_rates` over all rows).
        makers: operation → what makes or remakes rows and needs more than rows: a backbone (``synthesise``, ``rewrite``), the
            model (``self_generate``) or a child process (``program``). What a run has not is not here.
    """

    forms: Forms
    cap: int
    seed: int = 0
    subsets: frozenset[str] = frozenset()
    held_out: frozenset[str] = frozenset()
    slice_scores: Mapping[str, float] = field(default_factory=dict)
    source_errors: Mapping[str, float] = field(default_factory=dict)
    makers: Mapping[str, Op] = field(default_factory=dict)


@dataclass(frozen=True)
class Dataset:
    """The outcome of a recipe: examples in training order and a log line per operation.

    ``made`` in a line counts, of the rows that go out, those that are not as a source has them, by what made or changed them.
    """

    examples: tuple[Example, ...]
    log: tuple[dict[str, Any], ...]


# rows so far, the operation's arguments, what it may look at → rows
Op = Callable[[list[Row], dict[str, Any], Context], list[Row]]
# an operation that a run brings along (`Context.makers`); raises RecipeError
Maker = Op


def select(rows: list[Row], args: dict[str, Any], _: Context) -> list[Row]:
    """Keep the named ``sources`` (all without the argument)."""
    wanted = args.get("sources")
    return [r for r in rows if not wanted or r.source in wanted]


def clean(rows: list[Row], _: dict[str, Any], __: Context) -> list[Row]:
    """Fold white space, drop empty questions, control characters and questions cut off in mid-sentence."""
    kept = []
    tidy = [replace(r, prompt=re.sub(r"[ \t\u00a0]+", " ", r.prompt).strip()) for r in rows]
    ended = sum(1 for r in tidy if r.prompt[-1:] in ".?!:)}]\"'`$>")
    whole = ended >= 0.8 * max(1, len(tidy))
    for r in tidy:
        if len(r.prompt) < 4 or any(ord(c) < 32 and c not in "\n\r\t" for c in r.prompt) or "\ufffd" in r.prompt:
            continue
        if whole and r.prompt[-1] not in ".?!:)}]\"'`$>":
            continue
        kept.append(r)
    return kept


def repair(rows: list[Row], _: dict[str, Any], context: Context) -> list[Row]:
    """Bring answers to their bare value: out of boxes, prose, JSON and dressing; a missing one from the row's solution."""
    key = context.forms.answers.key
    repaired = []
    for r in rows:
        value = bare_value(r.value, key) or rationale_value(r.rationale, key)
        plain = value.replace(",", "").replace(" ", "").rstrip(".")
        if not context.forms.fits(value, r.slice) and is_number(plain):
            value = plain
        if is_number(plain) and float(plain).is_integer() and "integer" in context.forms.kinds and abs(float(plain)) < 1e15:
            value = str(int(float(plain)))
        repaired.append(replace(r, value=value))
    return repaired


def kind(rows: list[Row], _: dict[str, Any], context: Context) -> list[Row]:
    """Drop rows whose answer is empty or not of a kind that the task answers with."""
    return [r for r in rows if r.value and context.forms.fits(r.value, r.slice)]


def on_topic(rows: list[Row], _: dict[str, Any], context: Context) -> list[Row]:
    """Where sources label rows with the task's own sub-sets, drop rows labelled otherwise."""
    labelled = sum(1 for r in rows if r.slice.lower() in context.subsets)
    return [r for r in rows if r.slice.lower() in context.subsets] if labelled >= 0.5 * len(rows) else rows


def verify(rows: list[Row], _: dict[str, Any], context: Context) -> list[Row]:
    """Drop rows that can be shown wrong: by their own solution, their own arithmetic, or their duplicates' weighted majority."""
    votes = answer_votes(rows, context.source_errors)
    kept = []
    for r in rows:
        said = votes[normal(r.prompt)]
        others = max((w for value, w in said.items() if value != normal(r.value)), default=0.0)
        if said[normal(r.value)] > others + 1e-9 and not contradicts_itself(r):
            kept.append(r)
    return kept


def dedupe(rows: list[Row], _: dict[str, Any], __: Context) -> list[Row]:
    """Keep the first row of each question (the one with a solution where there is one)."""
    first: dict[str, Row] = {}
    for r in rows:
        key = normal(r.prompt)
        if key not in first or (r.rationale and not first[key].rationale):
            first[key] = r
    return list(first.values())


def drop_leaks(rows: list[Row], _: dict[str, Any], context: Context) -> list[Row]:
    """Drop questions held out for validation, shown as worked examples or seen in dev feedback."""
    return [r for r in rows if not is_barred(r.prompt, context)]


def is_barred(question: str, context: Context) -> bool:
    """Whether a question must not be trained on, bare or in the task's wording: it is held out, or the task has shown it."""
    asked = names_of([question], context.forms.prompts)
    return not (asked.isdisjoint(context.held_out) and asked.isdisjoint(context.forms.leaks))


def names_of(questions: Iterable[str], form: PromptForm) -> frozenset[str]:
    """What questions are known by, however they are worded: themselves, within the task's words, and without them."""
    worded = {text for q in questions for text in (q, form.write(q), strip_form(q, form))}
    return frozenset(normal(text) for text in worded)


def trust(rows: list[Row], args: dict[str, Any], context: Context) -> list[Row]:
    """Use sources that contradict themselves only where nothing better is there.

    A source of which more than ``max_error`` is estimated to be wrong keeps the rows that another source confirms, and, in
    slices with fewer than ``floor`` rows otherwise, as many more as bring the slice up to it. Runs before `dedupe`, which
    removes the confirmations.
    """
    ceiling, floor = float(args.get("max_error", 0.06)), int(args.get("floor", 40))
    errors = context.source_errors
    answered: dict[tuple[str, str], set[str]] = defaultdict(set)
    copies: Counter[tuple[str, str]] = Counter()
    for r in rows:
        answered[normal(r.prompt), normal(r.value)].add(r.source)
        copies[normal(r.prompt), normal(r.value)] += 1
    kept: list[Row] = []
    doubtful: list[Row] = []
    for r in rows:
        confirmed = len(answered[normal(r.prompt), normal(r.value)]) > 1
        (kept if confirmed or errors.get(r.source, 0.0) <= ceiling else doubtful).append(r)
    have = Counter(slice_of(r) for r in kept)
    filled = []
    # repeats within one source may be copies of one mistake: they come first, but they prove nothing
    for r in sorted(doubtful, key=lambda r: (errors.get(r.source, 0.0), -copies[normal(r.prompt), normal(r.value)])):
        if have[slice_of(r)] < floor:
            have[slice_of(r)] += 1
            filled.append(r)
    return kept + filled


def distrust(rows: list[Row], args: dict[str, Any], _: Context) -> list[Row]:
    """Drop the rows a trained model found least believable: ``rows`` lists them as ``source:index``."""
    barred = set(args.get("rows", ()))
    return [r for r in rows if row_id(r) not in barred]


def rebalance(rows: list[Row], args: dict[str, Any], context: Context) -> list[Row]:
    """Even out slices: each gets rows in proportion to its size to the ``power`` (0: equal), weak ones more by ``boost``.

    ``by`` is slice (default) or source. Rows are taken without repetition, so that a small group is used whole; without ``rows``
    every row is, and only `curriculum` decides which come first.
    """
    power, boost = float(args.get("power", 0.5)), float(args.get("boost", 0.0))
    rng = random.Random(context.seed)
    groups: dict[str, list[Row]] = defaultdict(list)
    for r in rows:
        groups[r.source if args.get("by") == "source" else slice_of(r)].append(r)
    total = min(int(args.get("rows", len(rows))), len(rows))
    weight = {g: len(v) ** power * (1 + boost * (1 - context.slice_scores.get(g, 0.5))) for g, v in groups.items()}
    quota = {g: 0 for g in groups}
    remaining, active = total, set(groups)
    while remaining > 0 and active:
        share = remaining / sum(weight[g] for g in active)
        grown = 0
        for g in sorted(active):
            take = min(len(groups[g]) - quota[g], math.ceil(weight[g] * share), remaining - grown)
            quota[g] += take
            grown += take
        remaining -= grown
        active = {g for g in active if quota[g] < len(groups[g])}
        if grown == 0:
            break
    picked = [r for g in sorted(groups) for r in rng.sample(groups[g], quota[g])]
    rng.shuffle(picked)
    return picked


def curriculum(rows: list[Row], args: dict[str, Any], context: Context) -> list[Row]:
    """Order rows, by ``order``: shuffled (default), short_first, weak_last, trusted_last, or even: slices by size^``power``.

    Training goes through the rows in this order until its time is up, so the order decides what is seen at all. With ``even`` any
    beginning holds the slices in that mix (power 0, the default: equally), weak ones more by ``boost``; weak_last ends with the
    slices that fail, trusted_last with the sources that err least. All but ``even`` keep some shuffling.
    """
    rng = random.Random(context.seed + 1)
    shuffled = rng.sample(rows, len(rows))
    order = args.get("order", "shuffled")
    if order == "shuffled":
        return shuffled
    if order == "even":
        return _even(shuffled, float(args.get("power", 0.0)), float(args.get("boost", 0.0)), context.slice_scores)
    longest = max((len(r.prompt) + len(r.value) for r in shuffled), default=1)
    late: dict[str, Callable[[Row], float]] = {
        "short_first": lambda r: (len(r.prompt) + len(r.value)) / longest,
        "weak_last": lambda r: 1.0 - context.slice_scores.get(slice_of(r), 0.5),
        "trusted_last": lambda r: 1.0 - context.source_errors.get(r.source, 0.0),
    }
    if order not in late:
        raise ValueError(f"order {order!r} is unknown; there are shuffled, even, {', '.join(late)}")
    return [r for _, r in sorted(((late[order](r) + 0.3 * rng.random(), r) for r in shuffled), key=lambda pair: pair[0])]


def _even(rows: list[Row], power: float, boost: float, slice_scores: Mapping[str, float]) -> list[Row]:
    """Deal out the slices in proportion to their weights, as evenly as whole rows allow; a slice that runs out drops out."""
    groups: dict[str, list[Row]] = defaultdict(list)
    for r in rows:
        groups[slice_of(r)].append(r)
    placed: list[tuple[float, Row]] = []
    for name, members in groups.items():
        weight = len(members) ** power * (1 + boost * (1 - slice_scores.get(name, 0.5)))
        if weight <= 0:
            raise ValueError(f"power {power:g} and boost {boost:g} leave slice {name!r} no weight; boost must be above -1")
        placed += [((n + 0.5) / weight, r) for n, r in enumerate(members)]
    return [r for _, r in sorted(placed, key=lambda pair: pair[0])]


def favour(rows: list[Row], args: dict[str, Any], context: Context) -> list[Row]:
    """Let any beginning hold ``share`` (default two thirds) of rows whose answer, as the task's form reads it, is ``answer``.

    Both groups keep their order; where one runs out the other goes on.
    """
    form, share = context.forms.answers, float(args.get("share", 2 / 3))
    if not 0 < share < 1:
        raise ValueError(f"share {share:g} is not between 0 and 1")
    groups: tuple[list[Row], list[Row]] = ([], [])
    for r in rows:
        groups[form.read(form.write(r.value)) != args.get("answer")].append(r)
    if not groups[0]:
        raise ValueError(f"no row has the answer {args.get('answer')!r}")
    dealt = zip(groups, (share, 1 - share), strict=True)
    places = [((n + 0.5) / weight, r) for group, weight in dealt for n, r in enumerate(group)]
    return [r for _, r in sorted(places, key=lambda pair: pair[0])]


def template(rows: list[Row], args: dict[str, Any], _: Context) -> list[Row]:
    """Choose how answers are written: ``style`` direct (the bare answer) or rationale (the source's solution before it)."""
    if str(args.get("style", "direct")) not in ("direct", "rationale"):
        raise ValueError(f"style {args['style']!r} is unknown; there are direct and rationale")
    return rows


def cap(rows: list[Row], args: dict[str, Any], context: Context) -> list[Row]:
    """Keep the first ``rows`` rows, at most the task's own cap."""
    return rows[: max(0, min(int(args.get("rows", context.cap)), context.cap))]


def program(rows: list[Row], args: dict[str, Any], context: Context) -> list[Row]:
    """Run the data program ``name`` (written by a language model, in a process of its own)."""
    return _brought(context, "program")(rows, args, context)


def synthesise(rows: list[Row], args: dict[str, Any], context: Context) -> list[Row]:
    """Add ``rows`` new rows from the language model, for ``slices`` (default: all), ``like`` what is described."""
    return _brought(context, "synthesise")(rows, args, context)


def rewrite(rows: list[Row], args: dict[str, Any], context: Context) -> list[Row]:
    """Have the language model rewrite ``rows`` rows, ``how``: clean (the question) or reason (write the solution out)."""
    return _brought(context, "rewrite")(rows, args, context)


def self_generate(rows: list[Row], args: dict[str, Any], context: Context) -> list[Row]:
    """Let the model answer ``rows`` questions ``samples`` times at ``temperature``; ``keep`` all, right or wrong ones."""
    return _brought(context, "self_generate")(rows, args, context)


def _brought(context: Context, name: str) -> Op:
    if name not in context.makers:
        there = ", ".join(context.makers) or "none"
        raise RecipeError(f"this run has nothing for {name} (it has: {there}); leave {name} out of the recipe")
    return context.makers[name]


# name → (operation, argument names)
OPERATIONS: dict[str, tuple[Op, frozenset[str]]] = {
    "select": (select, frozenset({"sources"})),
    "clean": (clean, frozenset()),
    "repair": (repair, frozenset()),
    "kind": (kind, frozenset()),
    "on_topic": (on_topic, frozenset()),
    "verify": (verify, frozenset()),
    "trust": (trust, frozenset({"max_error", "floor"})),
    "dedupe": (dedupe, frozenset()),
    "drop_leaks": (drop_leaks, frozenset()),
    "distrust": (distrust, frozenset({"rows"})),
    "rebalance": (rebalance, frozenset({"by", "power", "boost", "rows"})),
    "curriculum": (curriculum, frozenset({"order", "power", "boost"})),
    "favour": (favour, frozenset({"answer", "share"})),
    "cap": (cap, frozenset({"rows"})),
    "template": (template, frozenset({"style"})),
    "program": (program, frozenset({"name"})),
    "synthesise": (synthesise, frozenset({"rows", "slices", "like"})),
    "rewrite": (rewrite, frozenset({"rows", "how"})),
    "self_generate": (self_generate, frozenset({"rows", "samples", "temperature", "keep"})),
}
# operations that a run must bring along (`Context.makers`)
NEED_MAKERS = frozenset({"program", "synthesise", "rewrite", "self_generate"})


def build(rows: Sequence[Row], recipe: Sequence[Operation], context: Context) -> Dataset:
    """Run a recipe.

    Raises:
        RecipeError: an operation or argument is unknown, fails on its arguments, or no row is left; the message names the
            operation.
    """
    current, log = list(rows), []
    style = "direct"
    for step in recipe:
        if step.name not in OPERATIONS:
            raise RecipeError(f"no data operation {step.name!r}; there are {', '.join(OPERATIONS)}")
        operation, known = OPERATIONS[step.name]
        unknown = set(step.args) - known
        if unknown:
            raise RecipeError(f"{step.name} takes {sorted(known) or 'no arguments'}, not {sorted(unknown)}")
        before = len(current)
        try:
            current = operation(current, step.args, context)
        except RecipeError:
            raise
        except (TypeError, ValueError, ArithmeticError) as exc:
            raise RecipeError(f"{step.name} with {step.args}: {exc}") from exc
        if step.name == "template":
            style = str(step.args.get("style", "direct"))
        log.append({"operation": step.name, "args": _short(step.args), "rows_in": before, "rows_out": len(current)})
        if any(r.made for r in current):
            log[-1]["made"] = _made(current)
        if not current:
            raise RecipeError(f"after {step.name} no row is left of {before}")
    if len(current) > context.cap:
        log.append({"operation": "cap", "args": {"by": "the task"}, "rows_in": len(current), "rows_out": context.cap})
        current = current[: context.cap]
        log[-1]["made"] = _made(current)
    return Dataset(tuple(to_example(r, context.forms, style) for r in current), tuple(log))


def to_example(row: Row, forms: Forms, style: str = "direct") -> Example:
    """Write a row as the task would: its wording around the question, its form around the answer."""
    rationale = _without_answer(row.rationale) if style == "rationale" else ""
    answer = forms.answers.write(row.value, rationale)
    return Example(row_id(row), forms.prompts.write(row.prompt), answer, slice_of(row), gold=row.value, rejected=row.rejected)


def row_id(row: Row) -> str:
    """Name a row for good: its source and its line."""
    return f"{row.source}:{row.index}"


def slice_of(row: Row) -> str:
    """The slice a row names (`ft_agent.slices` names those whose source does not)."""
    return row.slice or "all"


def _without_answer(rationale: str) -> str:
    text = re.sub(
        r"\s*(?:so |thus |therefore,? )?the (?:final )?answer is:?.*$", "", rationale.strip(), flags=re.IGNORECASE | re.DOTALL
    )
    return re.sub(r"\s*\$?\\boxed\{[^{}]*\}\$?\.?\s*$", "", text).strip()


def _made(rows: Sequence[Row]) -> dict[str, int]:
    """How many rows are not as a source has them, by what made or changed them."""
    return dict(Counter(r.made for r in rows if r.made))


def _short(args: dict[str, Any]) -> dict[str, Any]:
    return {k: (f"{len(v)} entries" if isinstance(v, list) and len(v) > 8 else v) for k, v in args.items()}
