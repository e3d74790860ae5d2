"""The calls of the agent API as one table: what serves them, and the OpenAPI document that agents' authors read."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import BaseModel

import harness
from harness.session.api import EvaluateCall, ExecCall, NoteCall, PathCall, SessionApi
from harness.spec.base import Spec
from harness.spec.budget import BudgetLine
from harness.spec.feedback import Feedback
from harness.spec.submission import SubmissionReport


class ExecAnswer(Spec):
    """Answer of ``POST /v1/exec``; the output as text, bytes that are no UTF-8 replaced."""

    exit_code: int
    stdout: str
    stderr: str
    timed_out: bool
    truncated: bool
    oom_killed: bool
    duration_s: float


class FileAnswer(Spec):
    """Answer of ``PUT /v1/files``."""

    path: str
    bytes: int


class SubmitAnswer(Spec):
    """Answer of ``POST /v1/submit``."""

    submission: int
    digest: str
    bytes: int
    report: SubmissionReport


class NoteAnswer(Spec):
    """Answer of ``POST /v1/note``: nothing."""


@dataclass(frozen=True)
class Operation:
    """One call.

    Attributes:
        call: carries it out: (API, body, path parameter, idempotency key) → JSON value. What comes or goes as bytes is a `Spool`,
            given as the body.
        summary: what it does.
        takes: what its body is.
        model: of a JSON body.
        answer: model of the answer where there is one.
        answers_bytes: whether it answers with a file's bytes.
        path: whether it takes the query parameter ``path``.
        keyed: whether a repeated idempotency key gets the first answer again.
    """

    call: Callable[[SessionApi, Any, str, str], Any]
    summary: str
    takes: Literal["nothing", "json", "bytes"] = "nothing"
    model: type[BaseModel] | None = None
    answer: type[BaseModel] | None = None
    answers_bytes: bool = False
    path: bool = False
    keyed: bool = False


OPERATIONS: Mapping[tuple[str, str], Operation] = {
    ("GET", "/v1/task"): Operation(lambda api, body, path, key: api.task(), "The task: goal, data, metric, limits."),
    ("GET", "/v1/budget"): Operation(
        lambda api, body, path, key: api.budget(), "Limit, use and rest of every budget dimension.", answer=BudgetLine
    ),
    ("POST", "/v1/exec"): Operation(
        lambda api, body, path, key: api.exec(body),
        "Run a command in the task sandbox, to its end or its deadline.",
        takes="json",
        model=ExecCall,
        answer=ExecAnswer,
    ),
    ("GET", "/v1/files"): Operation(
        lambda api, body, path, key: api.read_file(path, body), "Read a file of the task sandbox.", path=True, answers_bytes=True
    ),
    ("PUT", "/v1/files"): Operation(
        lambda api, body, path, key: api.write_file(path, body),
        "Write a file into the task sandbox, making its folders.",
        takes="bytes",
        path=True,
        answer=FileAnswer,
    ),
    ("POST", "/v1/validate"): Operation(
        lambda api, body, path, key: api.validate(body),
        "Say whether a submission would load. Not metered, no score.",
        takes="json",
        model=PathCall,
        answer=SubmissionReport,
    ),
    ("POST", "/v1/evaluate"): Operation(
        lambda api, body, path, key: api.evaluate(body, key),
        "Score a submission on the dev split. Costs one evaluation.",
        takes="json",
        model=EvaluateCall,
        answer=Feedback,
        keyed=True,
    ),
    ("POST", "/v1/submit"): Operation(
        lambda api, body, path, key: api.submit(body, key),
        "Hand a submission in. May be repeated; the task says which one counts.",
        takes="json",
        model=EvaluateCall,
        answer=SubmitAnswer,
        keyed=True,
    ),
    ("POST", "/v1/note"): Operation(
        lambda api, body, path, key: api.note(body, key),
        "Put a line into the run's trajectory.",
        takes="json",
        model=NoteCall,
        answer=NoteAnswer,
        keyed=True,
    ),
}


def openapi() -> dict[str, Any]:
    """Return the OpenAPI 3.1 document of the agent API."""
    schemas: dict[str, Any] = {}
    paths: dict[str, dict[str, Any]] = {}
    for (method, path), operation in OPERATIONS.items():
        paths.setdefault(path, {})[method.lower()] = _described(method, path, operation, schemas)
    schemas["Error"] = {
        "type": "object",
        "properties": {
            "error": {
                "type": "object",
                "properties": {name: {"type": "string"} for name in ("code", "message", "hint")},
                "required": ["code", "message", "hint"],
            }
        },
        "required": ["error"],
    }
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "dojo agent API",
            "version": harness.__version__,
            "description": "What an agent may call. Its address is in DOJO_API, its token in DOJO_TOKEN.",
        },
        "servers": [{"url": "http://127.0.0.1:7788"}],
        "security": [{"run": []}],
        "paths": paths,
        "components": {"schemas": schemas, "securitySchemes": {"run": {"type": "http", "scheme": "bearer"}}},
    }


def _described(method: str, path: str, operation: Operation, schemas: dict[str, Any]) -> dict[str, Any]:
    parameters: list[dict[str, Any]] = []
    if operation.path:
        parameters.append({"name": "path", "in": "query", "required": True, "schema": {"type": "string"}})
    if operation.keyed:
        about = "a repeated key gets the first answer again, so a call that was cut off may be sent again"
        key = {"name": "Idempotency-Key", "in": "header", "required": False, "schema": {"type": "string", "maxLength": 200}}
        parameters.append({**key, "description": about})
    answer: dict[str, Any] = {"type": "object"}
    if operation.answer is BudgetLine:
        answer["additionalProperties"] = _reference(BudgetLine, schemas)
    elif operation.answer is not None:
        answer = _reference(operation.answer, schemas)
    content = {"application/octet-stream": {}} if operation.answers_bytes else {"application/json": {"schema": answer}}
    refused = {"description": "an error", "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}}}
    found: dict[str, Any] = {
        "operationId": f"{method.lower()}_{path.removeprefix('/v1/')}",
        "summary": operation.summary,
        "parameters": parameters,
        "responses": {"200": {"description": "done", "content": content}, "default": refused},
    }
    if operation.model is not None:
        found["requestBody"] = {
            "required": True,
            "content": {"application/json": {"schema": _reference(operation.model, schemas)}},
        }
    elif operation.takes == "bytes":
        found["requestBody"] = {"required": True, "content": {"application/octet-stream": {}}}
    return found


def _reference(model: type[BaseModel], schemas: dict[str, Any]) -> dict[str, Any]:
    """Put a model's schema, and those it refers to, among the components."""
    schema = model.model_json_schema(ref_template="#/components/schemas/{model}")
    schemas |= schema.pop("$defs", {})
    schemas[model.__name__] = schema
    return {"$ref": f"#/components/schemas/{model.__name__}"}
