"""What a dojo service and its clients say to each other: shared by both ends, so that neither guesses."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from harness.spec.accounts import Account, Role
from harness.spec.base import Spec
from harness.spec.event import Event
from harness.spec.matrix import Matrix

API = 1
"""Raised whenever an answer or a question changes in a way that the other end must know."""

API_HEADER, VERSION_HEADER, REQUEST_HEADER, ENDED_HEADER = "dojo-api", "dojo-version", "x-request-id", "dojo-ended"

UPLOAD = "upload:"
"""Begins the name of an agent that was uploaded, in place of its directory."""

JSON_BYTES = 1024 * 1024
"""The most a JSON body may hold."""

OUTPUT_BYTES = 256 * 1024
"""Of a run's output in one answer."""

EVENTS = 1000
"""Events in one answer that is no stream."""


class Ask(Spec):
    """What to run, as `dojo submit` is asked for it: a matrix, or runs once more as they were.

    Agents are names of the service's own, or of uploads (``upload:…``).
    """

    matrix: Matrix | None = None
    again: tuple[str, ...] = Field((), max_length=10_000, description="runs of one's own, by id")
    name: str = Field("", max_length=200, description="with `again`: of the batch; a matrix has its own")


class Planned(Spec):
    """What would run. `submit` of this id, within a week, starts exactly this."""

    plan: dict[str, Any] = Field(description="the batch with its RunSpecs")


class Submit(Spec):
    """Start what was planned, or plan and start at once."""

    plan: str | None = Field(None, max_length=60, description="the id that planning gave; starting it twice starts it once")
    matrix: Matrix | None = None


class Uploaded(Spec):
    """An agent that the service took in."""

    agent: str = Field(description="what a matrix calls it: ``upload:…``")
    name: str
    digest: str = Field(description="SHA-256 over its files, as `dojo agents list` shows it")
    checks: tuple[dict[str, Any], ...] = Field(description="what `dojo agents check` says of it")


class Events(Spec):
    """Events of a run from a number on."""

    events: tuple[Event, ...]
    ended: bool = Field(description="the run has ended, and this is the last of it")


class Cancelled(Spec):
    """What was ended."""

    cancelled: tuple[str, ...]


class Tags(Spec):
    """Tags to put on a run or a batch, and to take off."""

    add: tuple[str, ...] = Field((), max_length=100)
    remove: tuple[str, ...] = Field((), max_length=100)


class Tagged(Spec):
    """What has the tags now."""

    id: str


class Exclude(Spec):
    """Why a run is left out of comparisons."""

    why: str = Field(max_length=2000)


class Marked(Spec):
    """A run that was left out of comparisons, or taken in again."""

    run: str


class Report(Spec):
    """A batch on one page."""

    batch: str
    markdown: str


class Resolved(Spec):
    """What a reference means."""

    id: str
    excluded: str = Field("", description='of a run: why it is left out of comparisons; "" when it is not')


class About(Spec):
    """The service, and who asks."""

    version: str
    api: int = API
    user: str
    role: Role
    account: Account


class Fault(Spec):
    """What is wrong, and what to do."""

    code: str
    message: str
    hint: str
    exit_code: int = Field(description="what `dojo` exits with")


class Refusal(Spec):
    """The answer to what was not done."""

    error: Fault
