"""Keys never leave: whatever goes to an agent, into events, recordings or errors is searched for them, in all their forms."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable
from typing import TypeVar
from urllib.parse import quote

from harness.spec.errors import DojoError
from harness.spec.event import Payload

MARK = b"[redacted]"
# What is shorter is no key but a word like EMPTY or none, which servers without keys are given; replacing it would garble text.
_SHORTEST = 8

P = TypeVar("P", bound=Payload)


class Redactor:
    """Replaces secrets.

    Args:
        secrets: values of keys; those under 8 characters are no secrets.
    """

    def __init__(self, secrets: Iterable[str]) -> None:
        forms = {form for secret in secrets if len(secret) >= _SHORTEST for form in _forms(secret)}
        self._forms = sorted(forms, key=len, reverse=True)
        self._longest = len(self._forms[0]) if self._forms else 0
        self._starts = {form[:1] for form in self._forms}

    def clean(self, data: bytes) -> bytes:
        """Return ``data`` without secrets."""
        for form in self._forms:
            if form in data:
                data = data.replace(form, MARK)
        return data

    def text(self, text: str) -> str:
        """Return ``text`` without secrets."""
        return self.clean(text.encode(errors="surrogatepass")).decode(errors="replace") if self._forms else text

    def payload(self, payload: P) -> P:
        """Return an event's payload without secrets."""
        if not self._forms:
            return payload
        written = payload.model_dump_json().encode()
        clean = self.clean(written)
        return payload if clean == written else type(payload).model_validate_json(clean)

    def error(self, error: DojoError) -> DojoError:
        """Return an error without secrets."""
        error.message, error.hint = self.text(error.message), self.text(error.hint)
        error.args = (error.message,)
        return error

    def stream(self) -> RedactedStream:
        """Return a redactor for bytes that come in pieces."""
        return RedactedStream(self)

    def held(self, data: bytes) -> int:
        """Return how many last bytes may be the beginning of a secret."""
        for size in range(min(self._longest - 1, len(data)), 0, -1):
            tail = data[-size:]
            if tail[:1] in self._starts and any(form.startswith(tail) for form in self._forms if len(form) > size):
                return size
        return 0


class RedactedStream:
    """Replaces secrets also where a piece ends within one; holds back only what may become one."""

    def __init__(self, redactor: Redactor) -> None:
        self._redactor, self._rest = redactor, b""

    def feed(self, data: bytes) -> bytes:
        """Return what may go on."""
        clean = self._redactor.clean(self._rest + data)
        held = self._redactor.held(clean)
        self._rest = clean[len(clean) - held :]
        return clean[: len(clean) - held]

    def end(self) -> bytes:
        """Return what was held back."""
        rest, self._rest = self._rest, b""
        return rest


def _forms(secret: str) -> set[bytes]:
    """Return what a secret looks like: itself, in JSON, in an address, in hexadecimal, within base64 at any place."""
    raw = secret.encode(errors="surrogatepass")
    forms = {raw, json.dumps(secret)[1:-1].encode(), quote(secret, safe="").encode(), raw.hex().encode()}
    for before in range(3):
        # the characters at both ends depend on what stands beside the secret
        written = base64.b64encode(bytes(before) + raw)
        start = (before * 8 + 5) // 6
        inner = written[start : (before + len(raw)) * 8 // 6]
        forms |= {inner, inner.replace(b"+", b"-").replace(b"/", b"_")}
    return {form for form in forms if len(form) >= _SHORTEST}
