"""Tries from inside a sandbox to reach addresses outside it; for attacks and for the probe of `dojo doctor k8s`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from harness.sandbox.base import Sandbox
from harness.spec.errors import SandboxError

_PATIENCE_S = 120.0
# argv: a JSON list of [kind, host, port]. All at once, as what is dropped takes its whole time; a refusal is no answer. That a
# connection comes about is enough: what stands behind it need not speak.
PROGRAM = """
import concurrent.futures, json, socket, sys
DNS = b"\\x12\\x34\\x01\\x00\\x00\\x01" + bytes(6) + b"\\x07example\\x03com\\x00\\x00\\x01\\x00\\x01"
def reached(target):
    kind, host, port = target
    try:
        if kind == "name":
            return bool(socket.getaddrinfo(host, port))
        if kind == "tcp":
            socket.create_connection((host, port), timeout=3).close()
        else:
            with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM) as probe:
                probe.settimeout(2)
                probe.sendto(DNS, (host, port))
                probe.recv(1)
        return True
    except OSError:
        return False
targets = json.loads(sys.argv[1])
with concurrent.futures.ThreadPoolExecutor(24) as pool:
    print(json.dumps(list(pool.map(reached, targets))))
"""


@dataclass(frozen=True)
class FarEnd:
    """Something outside that no sandbox may reach.

    Attributes:
        what: in words.
        kind: tcp (a connection), udp (a question of DNS that is answered) or name (one that is resolved).
        host: address, or the name.
        port: 1 to 65535.
    """

    what: str
    kind: Literal["tcp", "udp", "name"]
    host: str
    port: int

    def __str__(self) -> str:
        return f"{self.what} ({self.kind} {self.host}:{self.port})"


def told(ends: Sequence[FarEnd]) -> str:
    """Return what `PROGRAM` takes as its argument."""
    return json.dumps([[end.kind, end.host, end.port] for end in ends])


def heard(printed: bytes | str, ends: Sequence[FarEnd]) -> list[FarEnd]:
    """Return which ends were reached, from what `PROGRAM` printed.

    Raises:
        ValueError: that is not its answer.
    """
    answers = json.loads(printed)
    if not isinstance(answers, list) or len(answers) != len(ends):
        raise ValueError(f"not an answer to {len(ends)} questions: {printed[:200]!r}")
    return [end for end, answer in zip(ends, answers, strict=True) if answer]


def reached_from(sandbox: Sandbox, ends: Sequence[FarEnd]) -> list[FarEnd]:
    """Return which of ``ends`` a command in a sandbox reaches.

    Raises:
        SandboxError: it cannot be tried there.
    """
    result = sandbox.exec(["python3", "-I", "-S", "-c", PROGRAM, told(ends)], timeout_s=_PATIENCE_S)
    try:
        return heard(result.stdout, ends)
    except ValueError as exc:
        said = result.stderr.decode(errors="replace")[-300:]
        raise SandboxError(f"addresses cannot be tried in the sandbox: {said or exc}", hint="the image needs python3") from exc
