"""Questions of the mini profile whose answers are computed: correlation, straight lines, means, sentences made from numbers."""

from __future__ import annotations

import random
import statistics

from ..shared.packaged import PackagedTables, Sample
from ..shared.tablebench import Asked, final, number_text

# A correlation near 0 cannot be answered within 10 %; of two columns one must clearly matter more than the other.
_MIN_CORRELATION, _MIN_GAP = 0.3, 0.3


def correlation(tables: PackagedTables, rng: random.Random, turn: int) -> Asked:
    """Pearson's correlation of two columns."""
    while True:
        sample = tables.draw(5, 2)
        value = statistics.correlation(sample.numbers(1), sample.numbers(2))
        if abs(value) >= _MIN_CORRELATION:
            one, other = sample.table.columns[1:]
            question = f"What is the correlation coefficient of {one} and {other}? Two decimals."
            return _asked(sample, "CorrelationAnalysis", question, number_text(value))


def trend(tables: PackagedTables, rng: random.Random, turn: int) -> Asked:
    """The next value of the straight line that fits best (least squares); never 0."""
    while True:
        sample = tables.draw(5, 1, in_order=True)
        slope, intercept = statistics.linear_regression(range(5), sample.numbers(1))
        value = number_text(intercept + 5 * slope)
        if float(value) > 0:
            question = f"By a straight-line trend, what is the next {sample.table.columns[1]}?"
            return _asked(sample, "TrendForecasting", question, value)


def mean(tables: PackagedTables, rng: random.Random, turn: int) -> Asked:
    """The mean of a column."""
    sample, column = tables.draw(4, 2), rng.choice([1, 2])
    question = f"What is the mean {sample.table.columns[column]}?"
    return _asked(sample, "StatisticalAnalysis", question, number_text(statistics.fmean(sample.numbers(column))))


def median(tables: PackagedTables, rng: random.Random, turn: int) -> Asked:
    """The median of a column."""
    sample, column = tables.draw(5, 2), rng.choice([1, 2])
    question = f"What is the median {sample.table.columns[column]}?"
    return _asked(sample, "StatisticalAnalysis", question, number_text(statistics.median(sample.numbers(column))))


def impact(tables: PackagedTables, rng: random.Random, turn: int) -> Asked:
    """Which of two columns goes with a third more closely; first and second column alike often."""
    wanted = turn % 2
    while True:
        sample = tables.draw(5, 3)
        strength = [abs(statistics.correlation(sample.numbers(n), sample.numbers(3))) for n in (1, 2)]
        if strength[wanted] - strength[1 - wanted] >= _MIN_GAP:
            one, other, target = sample.table.columns[1:]
            question = f"Which has the larger impact on {target}: {one} or {other}?"
            return _asked(sample, "ImpactAnalysis", question, (one, other)[wanted])


def summary(tables: PackagedTables, rng: random.Random, turn: int) -> Asked:
    """A sentence with the extremes of a column."""
    sample = tables.draw(4, 1)
    numbers, (first, head) = sample.numbers(1), sample.table.columns
    low, high = numbers.index(min(numbers)), numbers.index(max(numbers))
    answer = f"{number_text(numbers[low])} for {sample.names[low]}, {number_text(numbers[high])} for {sample.names[high]}."
    question = f"Between which values does the {head} lie, and for which {first}?"
    return _asked(sample, "DescriptiveAnalysis", question, answer)


def anomaly(tables: PackagedTables, rng: random.Random, turn: int) -> Asked:
    """The row whose number lies farthest from the mean, with the number."""
    sample = tables.draw(5, 1)
    numbers = sample.numbers(1)
    middle = statistics.fmean(numbers)
    place = max(range(5), key=lambda n: abs(numbers[n] - middle))
    answer = f"{sample.names[place]} with {number_text(numbers[place])}."
    return _asked(sample, "AnomalyDetection", f"Which {sample.table.columns[1]} is unusual?", answer)


def _asked(sample: Sample, qsubtype: str, question: str, answer: str) -> Asked:
    return Asked(sample.table, sample.keys, qsubtype, question, answer, final(answer))
