"""Reading a verdict that came out of a sandbox: nothing in it is believed before it has been computed again."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from harness.spec.errors import GraderFailure
from harness.spec.toml import describe
from harness.spec.verdict import Scores, Verdict
from harness.taskkit.scoring.contract import TaskGrader
from harness.taskkit.scoring.scores import Row, aggregate
from harness.taskkit.scoring.strict_json import StrictJsonError, strict_json

# 100,000 items of a few hundred bytes each; the largest split here is a hundred times smaller.
MAX_VERDICT_BYTES = 64 * 1024 * 1024
_TOLERANCE = 1e-9
_AGAIN = "grade the run again; if it stays so, the grader is broken"


def read_verdict(
    data: bytes | Mapping[str, Any],
    *,
    split: str,
    subsets: Mapping[str, str],
    grader: TaskGrader,
    rows: Mapping[str, Row],
    primary: str,
) -> Verdict:
    """Check a verdict.

    Args:
        data: JSON bytes, or an object that `strict_json` has decoded.
        split: the split that was to be scored.
        subsets: item id → sub-set of exactly the items of that split.
        grader: the task's grader, to compute the scores again.
        rows: item id → row.
        primary: the task's primary metric.

    Raises:
        GraderFailure: too large, duplicate keys, NaN or Inf, broken schema, other items than the split's, or scores that do
            not follow from the items.
    """
    if isinstance(data, bytes):
        try:
            data = strict_json(data, max_bytes=MAX_VERDICT_BYTES)
        except StrictJsonError as exc:
            raise GraderFailure(f"the verdict is no acceptable JSON: {exc}", hint=_AGAIN) from exc
    try:
        verdict = Verdict.model_validate(data)
    except ValidationError as exc:
        raise GraderFailure(f"the verdict breaks its schema: {describe(exc)}", hint=_AGAIN) from exc
    if verdict.split != split:
        raise GraderFailure(f"the verdict is about split {verdict.split[:40]!r}, not {split!r}", hint=_AGAIN)
    claimed = {item.id: item.subset for item in verdict.items}
    if claimed != dict(subsets):
        wrong = sorted(set(claimed.items()) ^ set(subsets.items()))[0][0]
        raise GraderFailure(
            f"the verdict's items are not the split's ({len(claimed)} of {len(subsets)}); see {wrong[:80]!r}", hint=_AGAIN
        )
    difference = _difference(verdict.scores, aggregate(verdict.items, grader, primary, rows))
    if difference:
        raise GraderFailure(f"the verdict's scores do not follow from its items: {difference}", hint=_AGAIN)
    return verdict


def _difference(claimed: Scores, computed: Scores) -> str:
    one, other = _flat(claimed), _flat(computed)
    for name in sorted(one.keys() | other.keys()):
        if name not in one or name not in other:
            return f"{name} is only in {'the verdict' if name in one else 'the recomputation'}"
        if abs(one[name] - other[name]) > _TOLERANCE:
            return f"{name} is {one[name]!r} in the verdict, {other[name]!r} computed again"
    return ""


def _flat(scores: Scores) -> dict[str, float]:
    figures = {
        f"primary {scores.primary.name}": scores.primary.value,
        "parse_rate": scores.parse_rate,
        "items": float(scores.items),
    }
    figures |= {f"metric {name}": value for name, value in scores.metrics.items()}
    for subset, values in scores.subsets.items():
        figures |= {f"{subset}: {name}": value for name, value in values.items()}
    return figures
