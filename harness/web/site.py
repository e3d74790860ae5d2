"""What every route works with: the façade, what it may say, and whether this replica still takes work."""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from harness.service import Dojo
from harness.spec.accounts import Role, Token
from harness.spec.errors import AccessDenied, MissingError
from harness.web.answers import Cleaner
from harness.web.measures import Measures
from harness.web.together import Together

_WORKS = {
    Role.VIEWER: "reads what is there",
    Role.SUBMITTER: "submits, and ends its own runs",
    Role.OPERATOR: "reads and ends everybody's runs, and the audit log",
}


@dataclass(frozen=True)
class Limits:
    """What one replica bears.

    Attributes:
        upload_bytes: of an agent's archive.
        kept_bytes: of a user's uploads together; the ones unused for longest go first. Runs have copies of their own.
        connections: open at once; a further request is told to come again (503).
        streams: of events, at once, over all users.
    """

    upload_bytes: int = 64 * 1024 * 1024
    kept_bytes: int = 2 * 1024**3
    connections: int = 512
    streams: int = 200


@dataclass
class Site:
    """One replica."""

    dojo: Dojo
    executor: str = "local"
    limits: Limits = field(default_factory=Limits)
    draining: threading.Event = field(default_factory=threading.Event)
    wake: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        self.cleaner = Cleaner.of(self.dojo)
        self.measures = Measures(self.dojo)
        self.streams = 0
        self._together = Together[bytes]()

    def folder(self, kind: str, user: str) -> Path:
        """Return a user's own folder for uploads or plans; the name of a user can be nothing but one folder's."""
        return self.dojo.home / "service" / kind / user

    def answer(self, value: Any, status: int = 200) -> Response:
        """Return a value as JSON."""
        return Response(self.cleaner.json(value), status, media_type="application/json")

    async def shared(self, question: Hashable, make: Callable[[], Any]) -> Response:
        """Return what ``make`` returns as JSON; who asks the same ``question`` meanwhile shares it (see `Together`)."""
        body = await self._together.answer(question, lambda: self.cleaner.json(make()))
        return Response(body, media_type="application/json")

    def require_open(self) -> None:
        """Take no new work while this replica ends.

        Raises:
            MissingError: it does (code ``draining``).
        """
        if self.draining.is_set():
            raise MissingError(
                "this replica is shutting down", hint="send it again in some seconds: another takes it", code="draining"
            )

    def entitled(self, caller: Token, reference: str) -> str:
        """Return whose a run or batch is, where the caller may read what it holds, or end it.

        Raises:
            AccessDenied: it is another user's, and the caller is no operator.
        """
        owner = self.dojo.owner_of(reference)
        if caller.role is not Role.OPERATOR and caller.user != owner:
            raise AccessDenied(
                f"{reference} is not {caller.user}'s",
                hint="its owner and operators may do this; leaderboard and status are everybody's",
            )
        return owner


def site_of(request: Request) -> Site:
    """Return the replica that answers a request."""
    site = request.app.state.site
    assert isinstance(site, Site)
    return site


def caller_of(request: Request) -> Token:
    """Return who asks; the gate has let in nobody else."""
    caller = request.scope["state"]["caller"]
    assert isinstance(caller, Token)
    return caller


def _needs(role: Role, request: Request) -> Token:
    caller = caller_of(request)
    if not caller.role.covers(role):
        raise AccessDenied(
            f"this needs a token of the role {role.value}, and {caller.user}'s is one of the role {caller.role.value}",
            hint=f"such a token {_WORKS[role]}; an operator makes one: "
            f"`dojo tokens create --user {caller.user} --role {role.value}`",
        )
    return caller


def viewer(request: Request) -> Token:
    """Return the caller: any token will do."""
    return _needs(Role.VIEWER, request)


def submitter(request: Request) -> Token:
    """Return the caller, a submitter or operator."""
    return _needs(Role.SUBMITTER, request)


def operator(request: Request) -> Token:
    """Return the caller, an operator."""
    return _needs(Role.OPERATOR, request)
