"""Calls to the harness whose refusals have a type: a run goes on after each of them, and knows after which."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol, TypeVar

T = TypeVar("T")


class Client(Protocol):
    """What this agent needs of `dojo_tool.Client`."""

    def task(self) -> dict[str, Any]:
        """Return the task."""
        ...

    def budget(self) -> dict[str, dict[str, float | None]]:
        """Return each budget dimension with limit, used and left."""
        ...

    def evaluate(self, path: str, note: str = "") -> dict[str, Any]:
        """Score on the dev split (metered)."""
        ...

    def submit(self, path: str, note: str = "") -> dict[str, Any]:
        """Hand in."""
        ...

    def note(self, text: str, data: Any = None) -> None:
        """Write into the trajectory."""
        ...


class Refused(Exception):
    """The harness said no, or could not be reached. ``code`` is the agent API's, or ``unreachable``."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(f"{message} ({code})")
        self.code = code


class Harness:
    """The agent API with typed refusals: what the client raises (its class is known only inside a sandbox) becomes `Refused`."""

    def __init__(self, client: Client) -> None:
        self._client = client

    def task(self) -> dict[str, Any]:
        """Return the task.

        Raises:
            Refused: of this call, as of all others.
        """
        return _typed(self._client.task)

    def budget(self) -> dict[str, dict[str, float | None]]:
        """Return each budget dimension with limit, used and left."""
        return _typed(self._client.budget)

    def evaluate(self, path: str, note: str = "") -> dict[str, Any]:
        """Score on the dev split (metered)."""
        return _typed(lambda: self._client.evaluate(path, note=note))

    def submit(self, path: str, note: str = "") -> dict[str, Any]:
        """Hand in."""
        return _typed(lambda: self._client.submit(path, note=note))

    def note(self, text: str, data: Any = None) -> None:
        """Write into the trajectory."""
        _typed(lambda: self._client.note(text, data))


def _typed(call: Callable[[], T]) -> T:
    try:
        return call()
    except OSError as exc:
        raise Refused("unreachable", str(exc)) from exc
    except Exception as exc:
        code = getattr(exc, "code", None)
        if not isinstance(code, str):
            raise  # a fault of ours, not an answer
        raise Refused(code, str(exc)) from exc
