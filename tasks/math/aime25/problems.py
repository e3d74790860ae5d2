"""Seeded problems with integer answers 0–999, for the mini profile. Every answer is computed, none is looked up."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable
from dataclasses import dataclass

_ONES = [
    "zero",
    "one",
    "two",
    "three",
    "four",
    "five",
    "six",
    "seven",
    "eight",
    "nine",
    "ten",
    "eleven",
    "twelve",
    "thirteen",
    "fourteen",
    "fifteen",
    "sixteen",
    "seventeen",
    "eighteen",
    "nineteen",
]
_TENS = ["_", "_", "twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"]
_NAMES = [
    "Ana",
    "Ben",
    "Cleo",
    "Dan",
    "Eva",
    "Finn",
    "Gus",
    "Ida",
    "Kai",
    "Lea",
    "Max",
    "Nora",
    "Omar",
    "Pia",
    "Rosa",
    "Sam",
    "Tess",
    "Uma",
    "Vic",
    "Zoe",
]
_THINGS = ["apples", "pens", "coins", "cards", "shells", "books", "stamps", "beads", "eggs", "nuts"]
_COLOURS = ["red", "blue", "green", "black", "white"]
_ORDINALS = ["first", "second", "third", "fourth"]

# Which sixteenths of the operand space belong to which split: no operands of one are ever used in another.
_SHARES = {"hidden": range(0, 4), "dev": range(4, 6), "few_shot": range(6, 7), "sources": range(7, 16)}


@dataclass(frozen=True)
class Problem:
    """A question with its answer.

    Attributes:
        type: question type.
        key: type and operands; equal for all wordings of one calculation.
        text: the question.
        answer: 0–999.
        reason: one sentence that leads to the answer.
    """

    type: str
    key: str
    text: str
    answer: int
    reason: str


def in_words(number: int) -> str:
    """Write 0–999 in English words."""
    if number < 20:
        return _ONES[number]
    if number < 100:
        return _TENS[number // 10] + (f"-{_ONES[number % 10]}" if number % 10 else "")
    rest = number % 100
    return f"{_ONES[number // 100]} hundred" + (f" and {in_words(rest)}" if rest else "")


def split_of(key: str) -> str:
    """The one split that may use these operands."""
    share = hashlib.sha256(key.encode()).digest()[0] % 16
    return next(split for split, shares in _SHARES.items() if share in shares)


def draw(kind: str, split: str, rng: random.Random) -> Problem:
    """Draw one problem of a type whose operands belong to ``split``."""
    while True:
        operands, text, answer, reason = TYPES[kind](rng)
        key = f"{kind}:{','.join(map(str, operands))}"
        if split_of(key) == split and 0 <= answer <= 999:
            return Problem(kind, key, text, answer, reason)


def draw_distinct(kind: str, split: str, count: int, rng: random.Random) -> list[Problem]:
    """Draw ``count`` problems of a type with different operands.

    Raises:
        ValueError: the split's operand space is too small.
    """
    found: dict[str, Problem] = {}
    for _ in range(1000 * count):
        problem = draw(kind, split, rng)
        found.setdefault(problem.key, problem)
        if len(found) == count:
            return list(found.values())
    raise ValueError(f"no {count} different {kind} problems for {split}")


Drawn = tuple[tuple[int, ...], str, int, str]


def _number_words(rng: random.Random) -> Drawn:
    number = rng.randint(100, 999)
    text = rng.choice(["Write {} in digits.", "Which number is {}?"]).format(in_words(number))
    return (number,), text, number, "Read the hundreds, the tens and the ones."


def _read_off(rng: random.Random) -> Drawn:
    a, b = rng.randint(10, 99), rng.randint(10, 99)
    one, two = rng.sample(_COLOURS, 2)
    asked, answer = rng.choice([(one, a), (two, b)])
    text = f"{rng.choice(_NAMES)} has {a} {one} and {b} {two} {rng.choice(_THINGS)}. How many are {asked}?"
    return tuple(sorted((a, b))), text, answer, f"The text says how many are {asked}."


def _largest(rng: random.Random) -> Drawn:
    numbers = rng.sample(range(100, 1000), 3)
    text = rng.choice(["Which is the largest: {}?", "Find the maximum of {}."]).format(", ".join(map(str, numbers)))
    return tuple(sorted(numbers)), text, max(numbers), "Compare the hundreds first, then the tens, then the ones."


def _place_value(rng: random.Random) -> Drawn:
    number = rng.randint(100, 999)
    h, t, o = number // 100, number // 10 % 10, number % 10
    return (number,), f"Which number has {h} hundreds, {t} tens and {o} ones?", number, "Put the digits side by side."


def _round_to_ten(rng: random.Random) -> Drawn:
    number = rng.choice([n for n in range(101, 990) if n % 10 not in (0, 5)])
    answer = (number + 5) // 10 * 10
    return (number,), f"Round {number} to the nearest ten.", answer, f"The last digit is {number % 10}."


def _next_term(rng: random.Random) -> Drawn:
    start, step = rng.randint(1, 60), rng.choice([2, 3, 4, 5, 10])
    terms = ", ".join(str(start + i * step) for i in range(4))
    return (start, step), f"What comes next: {terms}?", start + 4 * step, f"Each term is {step} more than the one before."


def _times_ten(rng: random.Random) -> Drawn:
    number = rng.randint(2, 99)
    text = rng.choice(["What is 10 times {n}?", "{n} {t} cost 10 coins each. What is the total?"])
    return (number,), text.format(n=number, t=rng.choice(_THINGS)), 10 * number, f"10 times {number} is {10 * number}."


def _nth_number(rng: random.Random) -> Drawn:
    numbers = rng.sample(range(10, 100), 4)
    place = rng.randrange(4)
    text = f"Which number is {_ORDINALS[place]} in {', '.join(map(str, numbers))}?"
    return tuple(sorted(numbers)), text, numbers[place], f"Count to the {_ORDINALS[place]} number."


def _digit_of(rng: random.Random) -> Drawn:
    number, place = rng.randint(100, 999), rng.randrange(3)
    text = f"What is the {('hundreds', 'tens', 'ones')[place]} digit of {number}?"
    return (number,), text, int(str(number)[place]), "Look at the digit in that place."


def _add_small(rng: random.Random) -> Drawn:
    a, b = rng.randint(11, 99), rng.randint(2, 9)
    text = rng.choice(["What is {a} + {b}?", "{n} has {a} {t} and gets {b} more. How many now?"])
    return (a, b), text.format(a=a, b=b, n=rng.choice(_NAMES), t=rng.choice(_THINGS)), a + b, f"{a} + {b} = {a + b}."


def _add(rng: random.Random) -> Drawn:
    a, b = rng.randint(11, 99), rng.randint(11, 99)
    text = rng.choice(["Find the sum of {a} and {b}.", "A box holds {a} {t}, a bag {b}. How many in total?"])
    return tuple(sorted((a, b))), text.format(a=a, b=b, t=rng.choice(_THINGS)), a + b, f"{a} + {b} = {a + b}."


def _remainder(rng: random.Random) -> Drawn:
    a, b = rng.randint(11, 99), rng.randint(3, 9)
    text = rng.choice(["What is the remainder of {a} divided by {b}?", "{a} {t} go into bags of {b}. How many are left over?"])
    return (a, b), text.format(a=a, b=b, t=rng.choice(_THINGS)), a % b, f"{a} = {a // b} x {b} + {a % b}."


TYPES: dict[str, Callable[[random.Random], Drawn]] = {
    "number_words": _number_words,
    "read_off": _read_off,
    "largest": _largest,
    "place_value": _place_value,
    "round_to_ten": _round_to_ten,
    "next_term": _next_term,
    "times_ten": _times_ten,
    "nth_number": _nth_number,
    "digit_of": _digit_of,
    "add_small": _add_small,
    "add": _add,
    "remainder": _remainder,
}
