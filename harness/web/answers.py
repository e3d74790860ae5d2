"""Answers: JSON that names no folder of this machine and holds nothing of the hidden items."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic_core import to_json

from harness.project import project_root
from harness.service import Dojo
from harness.spec.errors import AccessDenied, DojoError, MissingError, NotFoundError, QuotaExceeded, StoreError, UsageError
from harness.spec.event import Event, EventKind
from harness.spec.result import RunResult

# Of a grade these are for the grader's side alone.
_HIDDEN: tuple[str, ...] = ("item_scores", "item_subsets", "pseudo_values", "failures")


class Cleaner:
    """Turns values into JSON text in which folders of this machine stand as the names of their settings.

    Args:
        places: folder → what is said in its place.
    """

    def __init__(self, places: Mapping[Path, str]) -> None:
        told = {str(form): name for path, name in places.items() for form in {path, path.absolute(), path.resolve()}}
        told = {path: name for path, name in told.items() if len(path) > 1}  # not the root
        self._places = sorted(told.items(), key=lambda pair: -len(pair[0]))

    @classmethod
    def of(cls, dojo: Dojo) -> Cleaner:
        """Return the one for an installation."""
        own = {path: f"$DOJO_{name.split()[0].upper()}" for name, path in dojo.hidden_places().items()}
        return cls(
            {**own, dojo.home: "$DOJO_HOME", dojo.cache: "$DOJO_CACHE", project_root(): "$DOJO", Path(sys.prefix): "$PYTHON"}
        )

    def text(self, text: str) -> str:
        """Return the text without this machine's folders."""
        for path, name in self._places:
            text = text.replace(path, name)
        return text

    def json(self, value: Any) -> bytes:
        """Return ASCII JSON on one line: no control character of an agent's, no line or paragraph separator."""
        plain = json.loads(to_json(value, inf_nan_mode="null"))
        return json.dumps(self._cleaned(plain), ensure_ascii=True, allow_nan=False, separators=(",", ":")).encode()

    def _cleaned(self, value: Any) -> Any:
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, dict):
            return {self.text(key): self._cleaned(each) for key, each in value.items()}
        return [self._cleaned(each) for each in value] if isinstance(value, list) else value


def told_result(result: RunResult) -> RunResult:
    """Return a result without what it knows of single hidden items: who has that can fit the hidden split."""
    blank: dict[str, Any] = {name: {} for name in _HIDDEN}
    references = tuple(one.model_copy(update={"item_scores": {}, "pseudo_values": {}}) for one in result.references)
    grade = result.grade.model_copy(update=blank) if result.grade else None
    return result.model_copy(update={"grade": grade, "references": references})


def told_event(event: Event) -> Event:
    """Return an event likewise, and without the traceback of what broke here."""
    if event.kind is EventKind.GRADED:
        blank: dict[str, Any] = {name: {} for name in _HIDDEN}
        return event.model_copy(update={"data": event.data.model_copy(update=blank)})
    if event.kind is EventKind.ERROR:
        return event.model_copy(update={"data": event.data.model_copy(update={"traceback": None})})
    return event


def status_of(error: DojoError) -> int:
    """Return the HTTP status of an error."""
    match error:
        case AccessDenied(code="unknown_token"):
            return 401
        case AccessDenied():
            return 403
        case QuotaExceeded():
            return 429
        case NotFoundError():
            return 404
        case UsageError(code="too_large"):
            return 413
        case UsageError():
            return 400
        case MissingError(code="draining") | MissingError(code="full"):
            return 503
        case MissingError() | StoreError(code="busy"):
            return 409
        case StoreError():
            return 503
    return 500


def refusal(error: DojoError) -> dict[str, Any]:
    """Return an error as it is answered."""
    return {"error": {**error.as_dict(), "exit_code": error.exit_code}}
