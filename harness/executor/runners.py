"""What executors share whose runs ``dojo run`` drives somewhere else: how it ended, and the end of what nobody drives."""

from __future__ import annotations

import json
import time
from collections.abc import Collection
from dataclasses import dataclass

from harness.executor.base import Work
from harness.spec.errors import DojoError, MissingError, SandboxError, StoreError, UsageError
from harness.spec.outcome import Death
from harness.store.base import AWAY, Store
from harness.store.leases import TTL_S

# what `dojo run` exits with when it was asked to stop; killed, and asked to stop before it listened, as a shell says them
ENDED = frozenset({130, 137, 143})
MENDED_BY_ANOTHER = frozenset({"lost", AWAY})
"""What a runner may say at its end that another one may go on after."""
# how long after its time a lease may still be seen, and how often is looked
_LATE_S, _LOOK_S = 5.0, 0.5
_OF_EXIT: dict[int, type[DojoError]] = {2: UsageError, 3: MissingError}
_SANDBOX = frozenset({"sandbox", "sandbox_unavailable", "refused", "exists"})


@dataclass(frozen=True)
class End:
    """How a job ended while its run had not.

    Attributes:
        error: what its runner said, or what nobody but a person mends; None where another job may go on with the run.
        death: what became of the runner, in the words of whoever ran the job.
    """

    error: DojoError | None
    death: Death


def error_said(text: str, code: int) -> DojoError | None:
    """Read the error that ``dojo run --json`` printed in its last line; None where it printed none.

    Args:
        text: the last of what it printed.
        code: what it exited with.
    """
    for line in reversed(text.splitlines()):
        try:
            error = json.loads(line)["error"]
            kind = SandboxError if error["code"] in _SANDBOX else _OF_EXIT.get(code, StoreError)
            return kind(str(error["message"]), hint=str(error["hint"]), code=str(error["code"]))
        except (ValueError, KeyError, TypeError):
            continue
    return None


def end_undriven(work: Work, run: str) -> None:
    """End a run whose end was asked for, where nobody drives it; one that begins to be driven meanwhile is its driver's to end.

    Raises:
        DojoError: it cannot be recorded.
    """
    try:
        work.runner.drive(run, None, work.listener)
    except DojoError as exc:
        if exc.code != "busy":
            raise


def await_leases(store: Store, runs: Collection[str]) -> None:
    """Wait until nobody has the leases of runs whose runners are gone, so that another may go on at once.

    A runner that was killed, or that lost its network before it could give its lease back, leaves it to run out.
    """
    end = time.monotonic() + TTL_S + _LATE_S
    while store.holders(list(runs)) and time.monotonic() < end:
        time.sleep(_LOOK_S)
