"""Who may do what at a service: roles, tokens, quotas and the audit log."""

from __future__ import annotations

import re
from datetime import datetime
from enum import StrEnum
from typing import Literal

from pydantic import Field

from harness.spec.base import Spec
from harness.spec.errors import UsageError

USER = re.compile(r"[a-z0-9](?:[a-z0-9._-]{0,38}[a-z0-9])?")
"""A user's name. It names a folder of uploads, so it can be nothing that a path means something by."""

OWNER = "owner"
"""The setting of a batch that says whose it is; a batch submitted at the machine has none."""

QuotaName = Literal["runs_at_once", "runs_in_total", "gpu_hours", "dollars"]


class Role(StrEnum):
    """What a token may do; each may do what the ones before it may."""

    VIEWER = "viewer"
    SUBMITTER = "submitter"
    OPERATOR = "operator"

    def covers(self, needed: Role) -> bool:
        """Whether this role may do what ``needed`` may."""
        order = list(Role)
        return order.index(self) >= order.index(needed)


class Token(Spec):
    """A token as the store knows it: never its secret."""

    id: str
    user: str
    role: Role
    created: datetime
    revoked: datetime | None = None
    note: str = ""


class NewToken(Token):
    """A token that was just made. ``token`` is told this once."""

    token: str = Field(repr=False)


class Quota(Spec):
    """What a user may use; None does not limit."""

    runs_at_once: int | None = Field(None, ge=0, description="runs that have not ended, waiting ones too")
    runs_in_total: int | None = Field(None, ge=0, description="runs that were ever submitted")
    gpu_hours: float | None = Field(None, ge=0, description="GPUs × hours of agents' time; runs that go on count whole")
    dollars: float | None = Field(None, ge=0, description="spent at backbones; runs that go on count at their limit")


class Charge(Spec):
    """What one run may use at most."""

    run: str
    gpu_hours: float
    dollars: float | None = Field(description="None: nothing bounds it")


class Spent(Spec):
    """What a user has used, or set aside for runs that go on."""

    runs_at_once: int = 0
    runs_in_total: int = 0
    gpu_hours: float = 0.0
    dollars: float = 0.0


class Account(Spec):
    """A user with quota and use."""

    user: str
    quota: Quota
    spent: Spent


class AuditEntry(Spec):
    """One line of the audit log: who did what, and how it went."""

    number: int
    time: datetime
    user: str
    token: str = Field(description="id of the token; empty for who sits at the machine")
    action: str = Field(description="as submit, cancel, upload, token.create")
    subject: str = Field("", description="what it was done to: a batch, a run, a token, an upload")
    outcome: str = Field("ok", description="ok, or the code of the error")
    request: str = Field("", description="id of the request, as in the server's log")


def user_name(name: str) -> str:
    """Return a user's name.

    Raises:
        UsageError: it is none.
    """
    if not USER.fullmatch(name) or ".." in name:
        raise UsageError(
            f"{name[:80]!r} is no user name",
            hint="1 to 40 of a-z, 0-9, '.', '_' and '-', beginning and ending with one of a-z, 0-9",
        )
    return name
