"""What to say where a path is closed to an agent: its own files can be opened again, other places are not for it."""

from __future__ import annotations

import posixpath
import shlex

from harness.spec.errors import UsageError

_OWN = "/workspace"


def not_permitted(path: str, exc: PermissionError) -> UsageError:
    """Return the error for a path that cannot be read or written; ``exc`` may name a file below it."""
    whole = posixpath.normpath(posixpath.join(_OWN, path))
    if whole != _OWN and not whole.startswith(f"{_OWN}/"):
        return UsageError(f"{path!r} is not yours to touch", hint="use /workspace", code="permission")
    named = posixpath.join(whole, exc.filename) if isinstance(exc.filename, str) and exc.filename else whole
    hint = f"`chmod -R u+rwX {shlex.quote(whole)[:300]}` opens what is yours; of what is not, hand in a copy"
    return UsageError(f"{named[:300]!r} is closed to the agent's user by its mode or owner", hint=hint, code="permission")
