"""Seeded questions with four options in Chinese for the mini profile: a calculation and a comparison a subject, all computed."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable
from dataclasses import dataclass

LETTERS = "ABCD"
KINDS = ("compute", "pick")
# Which sixteenths of the operand space belong to which split: no operands of one are ever used in another.
_SHARES = {"hidden": range(0, 4), "dev": range(4, 6), "few_shot": range(6, 8), "sources": range(8, 16)}


@dataclass(frozen=True)
class Question:
    """A question with four options.

    Attributes:
        subject: one of the ten exams.
        kind: ``compute`` or ``pick``.
        key: subject, kind and operands; equal for all orders of the options.
        text: the question without its options.
        options: what stands at A, B, C and D.
        answer: the right letter.
    """

    subject: str
    kind: str
    key: str
    text: str
    options: tuple[str, ...]
    answer: str


# operands, question, right value, unit, values of usual slips
Drawn = tuple[tuple[int, ...], str, int, str, tuple[int, ...]]


def _equity(rng: random.Random) -> Drawn:
    debt, equity = rng.randint(1, 60) * 10, rng.randint(1, 60) * 10
    asked = f"某公司资产{debt + equity}万元，负债{debt}万元。所有者权益是多少？"
    return (debt, equity), asked, equity, "万元", (debt, debt + equity, 2 * debt + equity)


def _interest(rng: random.Random) -> Drawn:
    principal, rate = rng.randint(1, 99) * 100, rng.randint(1, 9)
    interest = principal * rate // 100
    return (
        (principal, rate),
        f"存款{principal}元，年利率{rate}%。一年的利息是多少？",
        interest,
        "元",
        (principal + interest, 10 * interest),
    )


def _shares(rng: random.Random) -> Drawn:
    price, count = rng.randint(2, 60), rng.randint(1, 9) * 100
    return (
        (price, count),
        f"股价{price}元，买入{count}股。不计费用需要多少钱？",
        price * count,
        "元",
        (price + count, price * count * 10),
    )


def _fund(rng: random.Random) -> Drawn:
    value, units = rng.randint(2, 9), rng.randint(1, 90) * 10
    return (
        (value, units),
        f"基金净值{value}元，赎回{units}份。不计费用得到多少钱？",
        value * units,
        "元",
        (value + units, value * units // 2),
    )


def _premium(rng: random.Random) -> Drawn:
    yearly, years = rng.randint(1, 40) * 100, rng.choice([2, 3, 5, 10, 20])
    return (
        (yearly, years),
        f"保费每年{yearly}元，缴{years}年。一共缴多少？",
        yearly * years,
        "元",
        (yearly + years, yearly * (years - 1)),
    )


def _profit(rng: random.Random) -> Drawn:
    cost, profit = rng.randint(1, 60) * 10, rng.randint(1, 60) * 10
    asked = f"某企业收入{cost + profit}万元，成本{cost}万元。利润是多少？"
    return (cost, profit), asked, profit, "万元", (cost, cost + profit, 2 * cost + profit)


def _tax(rng: random.Random) -> Drawn:
    income, rate = rng.randint(1, 90) * 100, rng.choice([3, 6, 9, 10, 13, 20, 25])
    tax = income * rate // 100
    asked = f"应税收入{income}元，税率{rate}%。应纳税多少？"
    return (income, rate), asked, tax, "元", (income - tax, income + tax)


def _future(rng: random.Random) -> Drawn:
    bought, gain = rng.randint(200, 900) * 10, rng.randint(1, 60) * 10
    asked = f"期货买入价{bought}元，卖出价{bought + gain}元。每吨盈利多少？"
    return (bought, gain), asked, gain, "元", (bought, bought + gain)


def _saving(rng: random.Random) -> Drawn:
    spent, saved = rng.randint(10, 90) * 100, rng.randint(1, 60) * 100
    asked = f"月收入{spent + saved}元，月支出{spent}元。每月结余多少？"
    return (spent, saved), asked, saved, "元", (spent, spent + saved)


def _simple_interest(rng: random.Random) -> Drawn:
    principal, rate, years = rng.randint(1, 40) * 100, rng.randint(1, 9), rng.choice([2, 3, 4, 5])
    interest = principal * rate * years // 100
    asked = f"本金{principal}元，单利{rate}%，{years}年后利息是多少？"
    return (principal, rate, years), asked, interest, "元", (principal + interest, principal * rate // 100)


# Subject → its calculation, and what is compared in its other kind of question.
SUBJECTS: dict[str, tuple[Callable[[random.Random], Drawn], str]] = {
    "注册会计师（CPA）": (_equity, "应收账款"),
    "银行从业资格": (_interest, "贷款金额"),
    "证券从业资格": (_shares, "股价"),
    "基金从业资格": (_fund, "基金规模"),
    "保险从业资格CICE": (_premium, "保险金额"),
    "经济师": (_profit, "产值"),
    "税务师": (_tax, "应纳税额"),
    "期货从业资格": (_future, "保证金"),
    "理财规划师": (_saving, "月支出"),
    "精算师-金融数学": (_simple_interest, "年金现值"),
}


def draw(subject: str, kind: str, split: str, rng: random.Random) -> Question:
    """Draw one question whose operands belong to ``split``."""
    calculation, compared = SUBJECTS[subject]
    while True:
        if kind == "compute":
            operands, text, right, unit, slips = calculation(rng)
            values = [right, *_wrong(right, slips, rng)]
        else:
            values = rng.sample(range(10, 100), 4)
            highest = rng.random() < 0.5
            right, unit = (max(values) if highest else min(values)), "万元"
            operands, text = (highest, *sorted(values)), f"下列{compared}中，哪一项最{'高' if highest else '低'}？"
        key = f"{subject}:{kind}:{','.join(str(int(o)) for o in operands)}"
        if hashlib.sha256(key.encode()).digest()[0] % 16 in _SHARES[split]:
            rng.shuffle(values)
            options = tuple(f"{value}{unit}" for value in values)
            return Question(subject, kind, key, text, options, LETTERS[values.index(right)])


def draw_distinct(subject: str, kind: str, count: int, split: str, rng: random.Random) -> list[Question]:
    """Draw ``count`` questions with different operands."""
    found: dict[str, Question] = {}
    while len(found) < count:
        question = draw(subject, kind, split, rng)
        found.setdefault(question.key, question)
    return list(found.values())


def _wrong(right: int, slips: tuple[int, ...], rng: random.Random) -> list[int]:
    """Three different wrong values: usual slips first, then values near the right one."""
    near = [right + step for step in rng.sample([-20, -10, 10, 20, 30], 5)]
    wrong = [value for value in dict.fromkeys((*slips, *near)) if value > 0 and value != right]
    return wrong[:3]
