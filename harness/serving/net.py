"""One net under a served application: whatever nobody foresaw becomes an answer and an event, never a dropped connection."""

from __future__ import annotations

import asyncio
import traceback
from collections.abc import Callable
from typing import Any

from harness.serving.server import App, Receive, Scope, Send
from harness.spec.errors import DojoError

# Told at most so often in one run: a client that has found a bug can ask for it as often as it likes.
_TOLD = 100


class Net:
    """Answers for an application what it did not.

    Args:
        app: the application.
        shape: makes the answer (an ASGI application) for what was not foreseen.
        on_error: told of it.
    """

    def __init__(self, app: App, shape: Callable[[Scope, BaseException], App], on_error: Callable[[DojoError], Any]) -> None:
        self._app, self._shape, self._on_error = app, shape, on_error
        self._told = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        begun = gone = False

        async def sent(message: Any) -> None:
            nonlocal begun, gone
            begun = True
            try:
                await send(message)
            except Exception:
                gone = True  # or does not read: there is nobody to answer
                raise

        try:
            await self._app(scope, receive, sent)
        except Exception as exc:
            if gone:
                raise
            if self._told < _TOLD:
                self._told += 1
                trace = "".join(traceback.format_exception(exc))[-4000:]
                hint = (
                    f"this is a fault of dojo's, not the agent's; it was in {scope.get('method')} {str(scope.get('path'))[:200]}"
                )
                await asyncio.to_thread(self._on_error, DojoError(f"{exc!r}\n{trace}"[:5000], hint=hint, code="internal"))
            if not begun:
                await self._shape(scope, exc)(scope, receive, send)
