"""Rankings and comparisons, which are everybody's; the service itself; the audit log and metrics."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request
from starlette.responses import Response

import harness
from harness.analysis.comparison import Comparison
from harness.analysis.leaderboard import Leaderboard
from harness.spec.accounts import AuditEntry, Token
from harness.spec.errors import DojoError
from harness.spec.wire import About
from harness.web.site import operator, site_of, viewer

router = APIRouter()
Viewer = Annotated[Token, Depends(viewer)]
Operator = Annotated[Token, Depends(operator)]
Name = Annotated[str | None, Query(max_length=200)]


@router.get("/v1/about", response_model=About)
def about(request: Request, caller: Viewer) -> Response:
    """Say who the caller is, what they may use and have used, and what the service is."""
    account = site_of(request).dojo.account(caller.user)
    return site_of(request).answer(About(version=harness.__version__, user=caller.user, role=caller.role, account=account))


@router.get("/v1/leaderboard", response_model=Leaderboard)
async def leaderboard(request: Request, caller: Viewer, task: Name = None, batch: Name = None) -> Response:
    """Rank agents with intervals, beside the yardsticks."""
    site = site_of(request)
    return await site.shared(("leaderboard", task, batch), lambda: site.dojo.leaderboard(task, batch))


@router.get("/v1/compare", response_model=Comparison)
async def compare(
    request: Request, caller: Viewer, a: Annotated[str, Query(max_length=200)], b: Annotated[str, Query(max_length=200)],
    task: Name = None, batch: Name = None, mix: bool = False,
) -> Response:  # fmt: skip
    """Compare two agents: paired difference, interval, verdict."""
    site = site_of(request)
    return await site.shared(("compare", a, b, task, batch, mix), lambda: site.dojo.compare(a, b, task, batch, mix))


@router.get("/v1/audit", response_model=list[AuditEntry])
def audit(
    request: Request, caller: Operator, limit: Annotated[int, Query(ge=1, le=1000)] = 100, before: int | None = None
) -> Response:
    """Return the newest lines of the audit log, the newest first."""
    return site_of(request).answer(site_of(request).dojo.audit(limit, before))


@router.get("/metrics", response_class=Response)
def metrics(request: Request, caller: Viewer) -> Response:
    """Tell Prometheus."""
    measures = site_of(request).measures
    return Response(measures.text(), media_type=measures.content_type)


@router.get("/healthz")
def healthz(request: Request) -> Response:
    """Say that this replica answers."""
    return site_of(request).answer({"ok": True})


@router.get("/readyz")
def readyz(request: Request) -> Response:
    """Say whether this replica takes work: not while it drains, or its database does not answer."""
    site = site_of(request)
    ready: dict[str, Any] = {"ok": not site.draining.is_set()}
    try:
        site.dojo.accounts.quota("nobody")
    except DojoError as exc:
        ready = {"ok": False, "why": exc.code}
    return site.answer(ready, 200 if ready["ok"] else 503)
