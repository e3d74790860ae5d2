"""Errors in the providers' own shapes, written and read."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from harness.gateway.dialogue import Failure

BUDGET = "budget_exceeded"
"""Our code of a spent budget: each provider has a status of its own for an account without credit."""

FINAL = frozenset({BUDGET, "model_not_found", "unauthorised", "not_allowed", "untranslatable", "internal"})
"""Codes of errors that trying again does not mend."""

_OPENAI = {400: "invalid_request_error", 401: "authentication_error", 403: "permission_error", 404: "not_found_error"} | {
    413: "invalid_request_error",
    429: "rate_limit_error",
}
_ANTHROPIC = {400: "invalid_request_error", 401: "authentication_error", 402: "billing_error", 403: "permission_error"} | {
    404: "not_found_error",
    408: "timeout_error",
    413: "request_too_large",
    429: "rate_limit_error",
    504: "timeout_error",
    529: "overloaded_error",
}
_GOOGLE = {400: "INVALID_ARGUMENT", 401: "UNAUTHENTICATED", 403: "PERMISSION_DENIED", 404: "NOT_FOUND", 405: "UNIMPLEMENTED"} | {
    408: "DEADLINE_EXCEEDED",
    413: "INVALID_ARGUMENT",
    429: "RESOURCE_EXHAUSTED",
    499: "CANCELLED",
    501: "UNIMPLEMENTED",
    503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}


def headers_of(failure: Failure) -> dict[str, str]:
    """Return the headers to send with an error: when to try again, or, as OpenAI's and Anthropic's clients read it, that not."""
    if failure.code in FINAL or (400 <= failure.status < 500 and failure.status not in (408, 409, 429)):
        return {"x-should-retry": "false"}
    return {} if failure.retry_after_s is None else {"retry-after": f"{failure.retry_after_s:g}"}


def openai_error(failure: Failure) -> tuple[int, dict[str, Any]]:
    """Return an error as OpenAI's APIs tell it."""
    if failure.code == BUDGET:
        status, kind = 429, "insufficient_quota"
    else:
        status = failure.status
        kind = _OPENAI.get(status, "server_error" if status >= 500 else "invalid_request_error")
    return status, {"error": {"message": failure.message, "type": kind, "param": None, "code": failure.code}}


def anthropic_error(failure: Failure) -> tuple[int, dict[str, Any]]:
    """Return an error as Anthropic's API tells it. An account without credit is a 400 there, which no client tries again."""
    status = 400 if failure.code == BUDGET else 529 if failure.status == 503 else failure.status
    kind = _ANTHROPIC.get(status, "api_error" if status >= 500 else "invalid_request_error")
    if failure.code == BUDGET:
        kind = "billing_error"
    error = {"type": kind, "message": failure.message, "details": {"error_code": failure.code}}
    return status, {"type": "error", "error": error, "request_id": None}


def google_error(failure: Failure) -> tuple[int, dict[str, Any]]:
    """Return an error as Google's APIs tell it.

    Of a quota that will not come back they say "limit: 0" in the message, the one sign by which Gemini CLI ends at once, and
    with the message, where it otherwise tries again for minutes.
    """
    message = f"{failure.message} (limit: 0 from now on)" if failure.code == BUDGET else failure.message
    status = 429 if failure.code == BUDGET else failure.status
    word = _GOOGLE.get(status, "INTERNAL" if status >= 500 else "FAILED_PRECONDITION")
    info: list[dict[str, Any]] = [
        {"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": failure.code, "domain": "dojo"},
    ]
    if failure.code != BUDGET and failure.retry_after_s is not None:
        info.append({"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": f"{failure.retry_after_s:g}s"})
    return status, {"error": {"code": status, "message": message, "status": word, "details": info}}


def read_failure(status: int, body: bytes) -> Failure:
    """Read an upstream's error in whichever shape; what cannot be read is quoted, cut."""
    quoted = body[:500].decode("utf-8", "replace").strip() or f"status {status} without a body"
    try:
        read = json.loads(body)
    except (ValueError, RecursionError):
        return Failure(status, f"upstream_{status}", quoted)
    if isinstance(read, list) and read:  # Google's streams without alt=sse are arrays
        read = read[0]
    error = read.get("error", read) if isinstance(read, Mapping) else None
    if isinstance(error, str):
        return Failure(status, f"upstream_{status}", error[:2000])
    if not isinstance(error, Mapping):
        return Failure(status, f"upstream_{status}", quoted)
    said = next((error[name] for name in ("message", "detail") if isinstance(error.get(name), str) and error[name]), quoted)
    codes = (error.get(name) for name in ("code", "status", "type"))
    code = next((code for code in codes if isinstance(code, str) and code), f"upstream_{status}")
    return Failure(status, code, said[:2000], _retry_delay(error))


def _retry_delay(error: Mapping[str, Any]) -> float | None:
    """Google says in the body when to come again."""
    details = error.get("details")
    for detail in details if isinstance(details, list) else ():
        delay = detail.get("retryDelay") if isinstance(detail, Mapping) else None
        if isinstance(delay, str) and delay.endswith("s"):
            try:
                return max(0.0, float(delay[:-1]))
            except ValueError:
                return None
    return None
