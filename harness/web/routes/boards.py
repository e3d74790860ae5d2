"""What is everybody's: rankings, comparisons, and what can be named; the service itself; the audit log and metrics."""

from __future__ import annotations

from typing import Annotated, Any, TypeVar

from fastapi import APIRouter, Depends, Query, Request
from starlette.responses import Response

import harness
from harness.analysis.comparison import Comparison
from harness.analysis.leaderboard import Leaderboard
from harness.assets.added_models import ListedModel
from harness.service.backbones import ListedBackbone
from harness.service.catalogue import ListedAgent, ListedAgents, ListedTask, ListedTasks
from harness.spec.accounts import AuditEntry, Token
from harness.spec.errors import DojoError, NotFoundError
from harness.spec.wire import About, Report
from harness.web.site import operator, site_of, viewer

router = APIRouter()
Viewer = Annotated[Token, Depends(viewer)]
Operator = Annotated[Token, Depends(operator)]
Listed = TypeVar("Listed", ListedTask, ListedAgent)
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


@router.get("/v1/report/{batch}", response_model=Report)
def report(request: Request, caller: Viewer, batch: str) -> Response:
    """Tell a batch of one's own on one page of Markdown."""
    site = site_of(request)
    found = site.dojo.store.resolve(batch, "batch")
    site.entitled(caller, found)
    return site.answer(Report(batch=found, markdown=site.dojo.report(found)))


@router.get("/v1/tasks", response_model=ListedTasks)
async def tasks(request: Request, caller: Viewer) -> Response:
    """List the tasks that a matrix can name."""
    site = site_of(request)
    return await site.shared(("tasks",), lambda: ListedTasks(tasks=tuple(map(_placeless, site.dojo.list_tasks().tasks))))


@router.get("/v1/task")
def task(request: Request, caller: Viewer, id: Annotated[str, Query(max_length=200)]) -> Response:
    """Tell all of a task that agents are told, and how it is measured."""
    site = site_of(request)
    known = sorted(found.id for found in site.dojo.survey_tasks().found)
    if id not in known:  # a path leads nowhere
        raise NotFoundError.named("task", id, known)
    return site.answer(site.dojo.describe_task(id) | {"path": "", "shadows": None})


@router.get("/v1/agents", response_model=ListedAgents)
async def agents(request: Request, caller: Viewer) -> Response:
    """List the service's own agents."""
    site = site_of(request)
    return await site.shared(("agents",), lambda: ListedAgents(agents=tuple(map(_placeless, site.dojo.list_agents().agents))))


@router.get("/v1/backbones", response_model=list[ListedBackbone])
def backbones(request: Request, caller: Viewer) -> Response:
    """List the language models that agents may think with; keys are named and never told."""
    return site_of(request).answer(site_of(request).dojo.backbones())


@router.get("/v1/models", response_model=list[ListedModel])
async def models(request: Request, caller: Viewer) -> Response:
    """List the base models that a matrix can name."""
    site = site_of(request)
    return await site.shared(("models",), lambda: list(map(_folderless, site.dojo.models())))


def _folderless(model: ListedModel) -> ListedModel:
    return model.model_copy(update={"origin": "folder"}) if model.origin.startswith("folder ") else model


def _placeless(listed: Listed) -> Listed:
    """Return it without what says where on this machine it lies."""
    return listed.model_copy(update={"shadows": None})


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
