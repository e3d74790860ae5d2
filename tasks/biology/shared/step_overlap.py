"""How many words two protocols share: ROUGE, BLEU and matching of steps. Pure, exact, linear in the answer's length.

Words are those of Google's rouge-score without stemmer: runs of a–z and 0–9 in lower case. The answer never costs more than its
length times the reference's, and the longest common subsequence is found with whole-word bit operations.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Sequence

_WORD = re.compile(r"[a-z0-9]+")
# Two steps say the same when their words overlap this much (F1 of single words). The benchmark uses 0.7 for the cosine of two
# sentence embeddings, a figure that depends on a model; the threshold is kept, the measure is exact.
MATCH = 0.7
# The smoothing that stands for no shared pair of words (method 1 of Chen and Cherry, 2014).
_EPSILON = 0.1


def words(text: str) -> list[str]:
    """Words of a text as ROUGE counts them."""
    return _WORD.findall(text.lower())


def f_measure(shared: int, given: int, wanted: int) -> float:
    """F1 of ``shared`` things of ``given`` and ``wanted`` ones; 0 where nothing is shared."""
    return 2 * shared / (given + wanted) if shared else 0.0


def rouge_n(given: Sequence[str], wanted: Sequence[str], size: int) -> float:
    """ROUGE-N F1: runs of ``size`` words that both have, each as often as both have it."""
    a, b = _runs(given, size), _runs(wanted, size)
    return f_measure((a & b).total(), a.total(), b.total())


def rouge_l(given: Sequence[str], wanted: Sequence[str]) -> float:
    """ROUGE-L F1: the longest common subsequence of words."""
    return f_measure(longest_common(given, wanted), len(given), len(wanted))


def longest_common(given: Sequence[str], wanted: Sequence[str]) -> int:
    """Length of the longest common subsequence (Hyyrö's bit-vector method: one pass over ``given``)."""
    places: dict[str, int] = {}
    for place, word in enumerate(wanted):
        places[word] = places.get(word, 0) | 1 << place
    full = (1 << len(wanted)) - 1
    row = full
    for word in given:
        here = row & places.get(word, 0)
        if here:
            row = ((row + here) | (row - here)) & full
    return len(wanted) - row.bit_count()


def bleu_2(given: Sequence[str], wanted: Sequence[str]) -> float:
    """BLEU of single words and pairs, equal weights, with brevity penalty; a count of 0 is smoothed to 0.1.

    0 where no single word is shared.
    """
    logs = []
    for size in (1, 2):
        a, b = _runs(given, size), _runs(wanted, size)
        shared, all_runs = (a & b).total(), max(1, a.total())
        if size == 1 and not shared:
            return 0.0
        logs.append(math.log((shared or _EPSILON) / all_runs))
    brevity = min(0.0, 1 - len(wanted) / len(given))
    return math.exp(brevity + math.fsum(logs) / 2)


def matched_steps(wanted: Sequence[str], given: Sequence[str]) -> int:
    """How many reference steps have an answered step of their own that says the same (`MATCH`); the largest such matching."""
    left = [Counter(words(step)) for step in given]
    sizes = [counts.total() for counts in left]
    edges = []
    for step in wanted:
        counts = Counter(words(step))
        total = counts.total()
        edges.append(
            [
                n
                for n, other in enumerate(left)
                if f_measure(_shared(counts, other), sizes[n], total) >= MATCH and sizes[n] and total
            ]
        )
    taken: dict[int, int] = {}
    return sum(_augment(step, edges, taken, set()) for step in range(len(edges)))


def _augment(step: int, edges: Sequence[Sequence[int]], taken: dict[int, int], seen: set[int]) -> bool:
    """Give ``step`` an answered step, moving others to another of theirs where that helps."""
    for candidate in edges[step]:
        if candidate not in seen:
            seen.add(candidate)
            if candidate not in taken or _augment(taken[candidate], edges, taken, seen):
                taken[candidate] = step
                return True
    return False


def _shared(few: Counter[str], many: Counter[str]) -> int:
    return sum(min(count, many[word]) for word, count in few.items())


def _runs(tokens: Sequence[str], size: int) -> Counter[tuple[str, ...]]:
    return Counter(zip(*(tokens[start:] for start in range(size)), strict=False))
