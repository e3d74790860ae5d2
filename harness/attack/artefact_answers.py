"""Attacks by whoever answers instead of the server inside: frames that never end, that lie, that are none (row 26)."""

from __future__ import annotations

import json
import socket
import struct
import threading
from collections.abc import Callable

from harness.attack.base import Attack, NotStopped, Where, stopped
from harness.attack.ground import Ground
from harness.sandbox.base import SandboxSpec
from harness.sandbox.client import ExecdSandbox
from harness.sandbox.host import Channel
from harness.session.collect import Caps, collect
from harness.spec.errors import SandboxError, SubmissionRefused
from harness.spec.outcome import Cause, Death
from harness.spec.task import Limits

_SIZES = struct.Struct("!IQ")
_MB = 1 << 20
# what one call may take in, whatever answers; the largest honest answer is a file of 64 MB
_MOST_MB = 160
_CAPS = Caps(bytes=50 * _MB, files=50, file_bytes=50 * _MB)


class _Impostor:
    """Stands where a sandbox's server would: answers every request with the same bytes, then with zeros without end if asked."""

    def __init__(self, first: bytes, endless: bytes = b"") -> None:
        self._first, self._endless = first, endless
        self.sent = 0

    def connect(self, channel: Channel) -> socket.socket:
        """Open a connection to it."""
        ours, theirs = socket.socketpair()
        threading.Thread(target=self._answer, args=(theirs,), daemon=True).start()
        return ours

    def _answer(self, sock: socket.socket) -> None:
        with sock:
            try:
                sock.recv(65536)
                sock.sendall(self._first)
                while self._endless and self.sent < 400 * _MB:
                    sock.sendall(self._endless)
                    self.sent += len(self._endless)
            except OSError:
                return

    def cause_of_death(self) -> Death:
        """Say that nothing is known."""
        return Death(Cause.SANDBOX, "an impostor answered")

    def measured(self) -> tuple[float | None, float | None, int]:
        """Say that nothing was measured outside."""
        return None, None, 0

    def destroy(self) -> None:
        """Remove nothing."""


def _frame(head: object, body: bytes = b"", claim: int | None = None) -> bytes:
    encoded = json.dumps(head).encode()
    return _SIZES.pack(len(encoded), len(body) if claim is None else claim) + encoded + body


_PIECE = _frame({}, bytes(_MB))
IMPOSTORS: dict[str, Callable[[], _Impostor]] = {
    "a body of a terabyte": lambda: _Impostor(_frame({"ok": {}}, claim=1 << 40), bytes(_MB)),
    "a head of 4 GB": lambda: _Impostor(_SIZES.pack(0xFFFFFFFF, 0), bytes(_MB)),
    "pieces without end": lambda: _Impostor(b"", _PIECE),
    "no JSON": lambda: _Impostor(_SIZES.pack(4, 0) + b"\xff\xfe{["),
    "a list": lambda: _Impostor(_frame([1, 2, 3])),
    "nothing": lambda: _Impostor(_frame({})),
    "an answer without its fields": lambda: _Impostor(_frame({"ok": {}})),
    "an answer of other types": lambda: _Impostor(
        _frame({"ok": {"exit_code": "zero", "stdout": [], "running": {}, "survivors": "none", "processes": None, "process": {}}})
    ),
    "an error of its own kind": lambda: _Impostor(_frame({"error": {"kind": "os", "errno": "x"}})),
    "an error that is none": lambda: _Impostor(_frame({"error": "no"})),
    "half a frame": lambda: _Impostor(_frame({"ok": {}})[:9]),
    "silence and an end": lambda: _Impostor(b""),
}  # fmt: skip


def _calls(ground: Ground) -> dict[str, Callable[[ExecdSandbox], object]]:
    return {
        "exec": lambda sandbox: sandbox.exec(["true"], timeout_s=5),
        "start": lambda sandbox: sandbox.start(["true"]),
        "poll": lambda sandbox: sandbox.poll("p"),
        "read": lambda sandbox: sandbox.read_file("f", max_bytes=64 * _MB),
        "write": lambda sandbox: sandbox.write_file("f", b"x"),
        "kill_all": lambda sandbox: sandbox.kill_all(),
        "set_deadline": lambda sandbox: sandbox.set_deadline(1.0),
        "usage": lambda sandbox: sandbox.usage(),
        "archive": lambda sandbox: collect(sandbox.archive("d"), ground.folder() / "taken", _CAPS),
    }


def _impostors(ground: Ground) -> str:
    most = 0
    for what, make in IMPOSTORS.items():
        for name, call in _calls(ground).items():
            impostor = make()
            sandbox = ExecdSandbox(SandboxSpec("impostor", Limits()), impostor)
            try:
                call(sandbox)
            except (SandboxError, SubmissionRefused, OSError):
                pass
            except Exception as exc:
                raise NotStopped(f"{what} as the answer to {name}: {type(exc).__name__}: {exc}") from exc
            most = max(most, impostor.sent // _MB)
            stopped(impostor.sent < _MOST_MB * _MB, f"{what} as the answer to {name}: {impostor.sent >> 20} MB were taken in")
    return f"{len(IMPOSTORS)} impostors for {len(_calls(ground))} calls: typed errors, at most {most} MB taken in"


def _believing_client(ground: Ground) -> str:
    """What reads an answer as it comes takes all of it."""
    impostor = IMPOSTORS["a body of a terabyte"]()
    with impostor.connect("control") as sock:
        sock.sendall(b"x")
        taken = 0
        while taken < 300 * _MB and (data := sock.recv(_MB)):
            taken += len(data)
    stopped(taken < _MOST_MB * _MB, f"{taken >> 20} MB were taken in")
    return "little was taken in"


ATTACKS = (
    Attack(
        26, "answers-for-the-server", Where.ARTEFACT,
        "answer calls of the harness with endless and huge frames, lies about their size, other types, no JSON, half a frame",
        "every answer has a cap and a form; what is not that is the sandbox's loss, with its cause",
        _impostors, _believing_client,
    ),
)  # fmt: skip
