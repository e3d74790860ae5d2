"""Asking a dojo service: one question, one answer, and every way that can fail as an error with a remedy."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import httpx

import harness
from harness.spec.errors import AccessDenied, DojoError, MissingError, NotFoundError, UsageError
from harness.spec.wire import API, API_HEADER, VERSION_HEADER

# Planning may prepare data and models there.
_TIMEOUT = httpx.Timeout(60.0, read=900.0)
_URL = re.compile(r"https?://[^/?#@\s]+(/[^?#\s]*)?")


def part(text: str) -> str:
    """Return what a user wrote as one part of a path."""
    return quote(text, safe="@") or "%20"


class Client:
    """Questions to one service.

    Args:
        url: its address.
        token: of the user; default ``DOJO_TOKEN``.
        transport: in place of the network, for tests.
    """

    def __init__(self, url: str, token: str | None = None, transport: httpx.BaseTransport | None = None) -> None:
        if not _URL.fullmatch(url):
            raise UsageError(
                f"{url!r} is no address of a service", hint="for example https://dojo.example.org (DOJO_SERVER, --server)"
            )
        token = os.environ.get("DOJO_TOKEN", "") if token is None else token
        if not token or not token.isascii() or not token.isprintable():
            raise MissingError(
                "there is no token for the service", hint="set DOJO_TOKEN to one that an operator made with `dojo tokens create`"
            )
        self.url = url.rstrip("/")
        self._http = httpx.Client(
            base_url=self.url,
            headers={"authorization": f"Bearer {token}"},
            timeout=_TIMEOUT,
            transport=transport,
            trust_env=False,
        )

    def ask(self, method: str, path: str, **given: Any) -> Any:
        """Return the JSON of an answer.

        Raises:
            DojoError: as the service says it; or it is gone, none, or of another time.
        """
        return self.decoded(self.answer(method, path, **given))

    def answer(self, method: str, path: str, **given: Any) -> httpx.Response:
        """Return an answer that is fine; raises as `ask`."""
        try:
            found = self._http.request(method, path, **given)
        except httpx.HTTPError as exc:
            raise self._gone(exc) from exc
        self._judge(found)
        return found

    def stream(self, path: str, last: int) -> Iterator[tuple[str, str]]:
        """Yield the kind and data of each event of a stream, from after number ``last`` until it breaks or ends."""
        headers = {"accept": "text/event-stream"} | ({"last-event-id": str(last)} if last >= 0 else {})
        kind = ""
        for line in self.lines(path, headers=headers):
            name, _, value = line.partition(": ")
            if name == "event":
                kind = value
            elif name == "data":
                yield kind, value

    def lines(self, path: str, **given: Any) -> Iterator[str]:
        """Yield the lines of a long answer as they come, until it breaks or ends; raises as `ask`."""
        try:
            with self._http.stream("GET", path, timeout=httpx.Timeout(60.0), **given) as found:
                if found.status_code != 200:
                    found.read()
                self._judge(found)
                yield from found.iter_lines()
        except httpx.HTTPError as exc:
            raise self._gone(exc) from exc

    def _judge(self, found: httpx.Response) -> None:
        said = found.headers.get(API_HEADER, "")
        if not said.isdecimal():
            raise MissingError(
                f"{self.url} is no dojo service, or one before it said its version (status {found.status_code})",
                hint="check the address (DOJO_SERVER, --server), and that nothing between answers in its place",
                code="no_service",
            )
        if int(said) != API:
            version = re.sub(r"[^\w.+-]", "?", found.headers.get(VERSION_HEADER, "unknown"))[:40]
            older = "older" if int(said) < API else "newer"
            raise MissingError(
                f"the service at {self.url} is {older}: dojo {version} speaks API {int(said)}, "
                f"this dojo {harness.__version__} speaks API {API}",
                hint=f"install dojo-bench {version} here, or have the service updated",
                code="other_version",
            )
        if found.status_code >= 300:
            raise self._refused(found)

    def _refused(self, found: httpx.Response) -> DojoError:
        try:
            said = found.json()["error"]
            code, message, hint = (str(said[name])[:4000] for name in ("code", "message", "hint"))
            exit_code = int(said.get("exit_code", 1))
        except (ValueError, KeyError, TypeError):
            return MissingError(
                f"{self.url} answers with status {found.status_code}", hint="ask again, or ask its operator", code="no_service"
            )
        kind: type[DojoError] = {2: UsageError, 3: MissingError}.get(exit_code, DojoError)
        if code == "not_found":
            kind = NotFoundError
        if found.status_code in (401, 403):
            kind = AccessDenied
        return kind(message, hint=hint, code=code)

    def _gone(self, exc: httpx.HTTPError) -> MissingError:
        return MissingError(
            f"the service at {self.url} does not answer: {type(exc).__name__}",
            hint="check the address (DOJO_SERVER, --server) and the network; what was submitted goes on there",
            code="server_gone",
        )

    def decoded(self, found: httpx.Response) -> Any:
        """Return the JSON of an answer; raises as `ask`."""
        try:
            return json.loads(found.content)
        except ValueError as exc:
            raise MissingError(
                f"{self.url} answers with no JSON", hint="check the address (DOJO_SERVER, --server)", code="no_service"
            ) from exc
