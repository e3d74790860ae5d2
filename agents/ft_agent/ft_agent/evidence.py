"""What can be known of a row without knowing the answer: duplicates, solutions, arithmetic, and how reliable its source is."""

from __future__ import annotations

import ast
import operator
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence

from reading.rows import Row, is_number, normal, rationale_value

# A share estimated from fewer rows says nothing about a source.
FEWEST_CHECKED = 10


def answer_votes(rows: Sequence[Row], source_errors: Mapping[str, float] | None = None) -> dict[str, dict[str, float]]:
    """Weigh, for each question, the answers given: each row counts with its source's share of right answers."""
    votes: dict[str, dict[str, float]] = defaultdict(lambda: defaultdict(float))
    for r in rows:
        votes[normal(r.prompt)][normal(r.value)] += 1.0 - (source_errors or {}).get(r.source, 0.0)
    return votes


def error_rates(rows: Sequence[Row], rounds: int = 4) -> dict[str, float]:
    """Estimate each source's share of wrong answers from its checkable rows: those repeated somewhere or with a worked solution.

    Votes and error rates are worked out in turn (the idea of Dawid and Skene, 1979), so that a reliable source is not blamed for
    disagreeing with an unreliable one. A source with fewer than `FEWEST_CHECKED` such rows is not blamed for anything.
    """
    errors: dict[str, float] = {}
    for _ in range(rounds):
        votes = answer_votes(rows, errors)
        checked: Counter[str] = Counter()
        wrong: dict[str, float] = defaultdict(float)
        for r in rows:
            said = votes[normal(r.prompt)]
            alone = said[normal(r.value)] < 2 * (1.0 - errors.get(r.source, 0.0)) - 1e-9 and len(said) == 1
            if alone and not rationale_value(r.rationale) and arithmetic(r.prompt) is None:
                continue
            checked[r.source] += 1
            top, weight = max(said.values()), said[normal(r.value)]
            tied = sum(1 for w in said.values() if w > top - 1e-9)
            wrong[r.source] += 1.0 if contradicts_itself(r) or weight < top - 1e-9 else 1.0 - 1.0 / tied
        errors = {s: min(0.9, wrong[s] / checked[s]) if checked[s] >= FEWEST_CHECKED else 0.0 for s in {r.source for r in rows}}
    return errors


def contradicts_itself(row: Row) -> bool:
    """Whether a row's solution ends elsewhere than its answer, or its question is plain arithmetic with another result."""
    said = rationale_value(row.rationale)
    if said and normal(said) != normal(row.value) and is_number(said) == is_number(row.value):
        return True
    result = arithmetic(row.prompt)
    return result is not None and is_number(row.value) and abs(result - float(row.value)) > 1e-6


_EXPRESSION = re.compile(r"(?<![\w.])\(*-?\d[\d\s.()]*(?:[-+*/×÷]\s*\(*\s*-?\d[\d.]*\s*\)*\s*)+")
_ASKS = re.compile(r"^(?:what is|compute|calculate|evaluate|find|work out|the value of|=|\W)*$", re.IGNORECASE)
_OPERATORS: dict[type[ast.AST], Callable[[float, float], float]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
}


def arithmetic(question: str) -> float | None:
    """Return the value of a question that is nothing but an expression of + − × ÷ and brackets, else None."""
    match = _EXPRESSION.search(question)
    if not match or not _ASKS.match(question[: match.start()].strip()) or not _ASKS.match(question[match.end() :].strip()):
        return None
    text = match.group(0).replace("×", "*").replace("÷", "/").strip()
    if len(text) > 100:
        return None
    try:
        return _value(ast.parse(text, mode="eval").body)
    except (SyntaxError, ValueError, ZeroDivisionError, OverflowError):
        return None


def _value(node: ast.AST) -> float:
    if isinstance(node, ast.BinOp) and type(node.op) in _OPERATORS:
        return _OPERATORS[type(node.op)](_value(node.left), _value(node.right))
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        return -_value(node.operand)
    if isinstance(node, ast.Constant) and isinstance(node.value, int | float):
        return float(node.value)
    raise ValueError("not plain arithmetic")
