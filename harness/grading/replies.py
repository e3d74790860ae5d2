"""What a grader's worker says, read as a stranger's words: bounded, strict, and made clean before anybody is told."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import Field, ValidationError

from harness.grading.worker import protocol
from harness.spec.base import Spec
from harness.spec.engine import EngineRecord
from harness.spec.errors import GraderFailure
from harness.spec.submission import SubmissionReport
from harness.spec.toml import describe
from harness.spec.verdict import MAX_ITEMS, Finite
from harness.taskkit.scoring.plain import plain_text
from harness.taskkit.scoring.strict_json import StrictJsonError, strict_json


def decode_reply(data: bytes) -> dict[str, Any]:
    """Read what a worker replied.

    Raises:
        GraderFailure: it is no reply, or says that the grader broke.
    """
    try:
        reply = strict_json(data, max_bytes=protocol.MAX_REPLY)
    except StrictJsonError as exc:
        raise GraderFailure(f"the grader's reply is no acceptable JSON: {exc}", hint="grade again") from exc
    if not isinstance(reply, dict) or ("report" not in reply and "error" not in reply):
        raise GraderFailure("the grader's reply has neither a report nor an error", hint="grade again")
    if reply.get("ok") is True:
        return reply
    error = reply.get("error")
    said = error if isinstance(error, dict) else {}
    message, hint = (plain_text(str(said.get(name, other))) for name, other in (("message", "the grader failed"), ("hint", "")))
    raise GraderFailure(message[:2000], hint=hint[:500])


def decode_report(reply: Mapping[str, Any]) -> SubmissionReport:
    """Read what a worker's reply says of a submission.

    Raises:
        GraderFailure: it is no report, or contradicts itself.
    """
    try:
        report = SubmissionReport.model_validate(reply.get("report"))
    except ValidationError as exc:
        raise GraderFailure(f"the grader's report breaks its schema: {describe(exc)}", hint="grade again") from exc
    if report.ok == bool(report.problems):
        raise GraderFailure("the grader's report contradicts itself", hint="grade again")
    return report


class LmMetric(Spec):
    """One metric of an lm-eval task: a value for each document."""

    higher_is_better: bool | None = None
    values: tuple[Finite, ...] = Field(min_length=1, max_length=MAX_ITEMS)


class LmTasks(Spec):
    """What a folder of lm-eval tasks gave: task → metric → values."""

    tasks: dict[str, dict[str, LmMetric]] = Field(min_length=1)
    engine: EngineRecord
    seconds: float = Field(ge=0, allow_inf_nan=False)


def decode_lm_tasks(reply: Mapping[str, Any]) -> LmTasks:
    """Read what a worker's reply says of a folder of lm-eval tasks.

    Raises:
        GraderFailure: it breaks its schema.
    """
    try:
        return LmTasks.model_validate({name: reply.get(name) for name in LmTasks.model_fields})
    except ValidationError as exc:
        raise GraderFailure(f"the grader's figures break their schema: {describe(exc)}", hint="grade again") from exc


def decode_progress(data: bytes) -> dict[str, Any]:
    """Read how far a worker is; nothing where that cannot be read, as it may be half written."""
    try:
        document = strict_json(data, max_bytes=4096)
    except StrictJsonError:
        return {}
    return document if isinstance(document, dict) else {}
