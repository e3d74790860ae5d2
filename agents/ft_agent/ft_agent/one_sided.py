"""A model that has one answer for everything, as the errors of a dev evaluation show it, and the plan that offers the other."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from ft_agent.plan import Iteration, Operation, Plan
from ft_agent.view import View

# So many shown errors, each the same answer where the same other is right, are no chance.
FEWEST_ERRORS = 4


def one_sided(feedback: Mapping[str, Any]) -> tuple[str, Any] | None:
    """Return what the shown errors all say and the answer that is right in all of them; None where they differ, or are few."""
    errors = feedback.get("errors") or []
    if len(errors) < FEWEST_ERRORS or not all(e["parsed"] for e in errors):
        return None
    pairs = {(str(e["response"]).strip(), json.dumps(e.get("answer"))) for e in errors}
    if len(pairs) != 1:
        return None
    ((said, written),) = pairs
    answer = json.loads(written)
    return (said, answer) if isinstance(answer, (bool, str)) else None


def with_other_answers(view: View, champion: Iteration) -> Plan | None:
    """Return the plan that goes on from a one-sided champion with more rows of the answer that it never gives.

    None where the newest evaluation is of another model or shows no such thing, and where the same was tried before.
    """
    evaluated = [i for i in view.trained() if i.dev]
    if view.feedback is None or not evaluated or evaluated[-1].number != champion.number:
        return None
    found = one_sided(view.feedback)
    if found is None:
        return None
    said, right = found
    knob = f"more of {right!r}"
    if knob in {i.plan.knob for i in view.iterations}:
        return None
    kept = tuple(o for o in champion.plan.data if o.name != "favour")
    return replace(
        champion.plan,
        phase="polish",
        parent=champion.number,
        data=(*kept, Operation("favour", {"answer": right})),
        knob=knob,
        hypothesis=f"more rows answered {right!r} end that there is one answer for everything",
        reason=f"every error that was shown says {said} where {right!r} is right",
        expected_gain=0.1,
    )
