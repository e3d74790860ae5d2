"""The application: routes behind the gate, errors as JSON, an OpenAPI document."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response

import harness
from harness.serving.log import log
from harness.spec.accounts import Token
from harness.spec.environment import environment_error
from harness.spec.errors import DojoError, NotFoundError, UsageError
from harness.web.answers import refusal, status_of
from harness.web.gate import App, Gate
from harness.web.routes import boards, runs, submitting
from harness.web.site import Site, site_of

_METHODS = ("POST", "DELETE", "PUT")


def create_app(site: Site) -> App:
    """Return the ASGI application of one replica."""
    app = FastAPI(
        title="dojo",
        version=harness.__version__,
        openapi_url="/v1/openapi.json",
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
    )
    app.state.site = site
    for part in (submitting, runs, boards):
        app.include_router(part.router)
    app.add_exception_handler(DojoError, _dojo_error)
    app.add_exception_handler(RequestValidationError, _bad_question)
    app.add_exception_handler(HTTPException, _http_error)
    app.add_exception_handler(Exception, _internal)
    return Gate(app, site)


def _answer(request: Request, error: DojoError, status: int | None = None) -> Response:
    site = site_of(request)
    site.measures.refused.labels(error.code).inc()
    caller = request.scope["state"].get("caller")
    if isinstance(caller, Token) and request.method in _METHODS:
        action = getattr(request.scope.get("endpoint"), "__name__", "unknown")
        try:
            site.dojo.accounts.record(caller.user, caller.id, action, "", error.code, request.scope["state"]["request"])
        except DojoError as exc:
            log({"event": "audit", "code": exc.code, "message": site.cleaner.text(exc.message)})
    return site.answer(refusal(error), status or status_of(error))


def _dojo_error(request: Request, exc: Exception) -> Response:
    assert isinstance(exc, DojoError)
    return _answer(request, exc)


def _bad_question(request: Request, exc: Exception) -> Response:
    assert isinstance(exc, RequestValidationError)
    first: dict[str, Any] = exc.errors()[0]
    place = ".".join(str(part) for part in first["loc"][1:]) or str(first["loc"][0])
    return _answer(request, UsageError(f"{place[:100]}: {first['msg']}", hint="GET /v1/openapi.json says what may stand there"))


def _http_error(request: Request, exc: Exception) -> Response:
    assert isinstance(exc, HTTPException)
    hint = "GET /v1/openapi.json lists what there is"
    if exc.status_code == 404:
        return _answer(request, NotFoundError("there is nothing at this address", hint=hint))
    return _answer(request, UsageError(str(exc.detail), hint=hint), exc.status_code)


def _internal(request: Request, exc: Exception) -> Response:
    site = site_of(request)
    known = environment_error(exc, {"DOJO_HOME": site.dojo.home, "DOJO_CACHE": site.dojo.cache})
    if known is not None:
        return _answer(request, known, 503)
    number = request.scope["state"]["request"]
    log({"event": "internal", "id": number, "error": type(exc).__name__, "message": site.cleaner.text(str(exc))})
    hint = f"tell the operator the request's id {number}"
    return _answer(request, DojoError("dojo itself failed", hint=hint, code="internal"))
