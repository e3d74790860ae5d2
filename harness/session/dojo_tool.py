#!/usr/bin/env python3
"""dojo-tool: the agent API as a command and as a small Python client.

This one file is shown inside every sandbox as ``/opt/dojo/bin/dojo-tool`` and ``/opt/dojo/lib/dojo_tool.py``.
Standard library only; it imports nothing of the harness.

    dojo-tool task | budget
    dojo-tool exec [--timeout S] [--cwd DIR] -- ARGV...     (or: dojo-tool exec --command 'shell line')
    dojo-tool files get PATH [LOCAL] | files put PATH [LOCAL]
    dojo-tool validate DIR | evaluate DIR [--note TEXT] | submit DIR [--note TEXT]
    dojo-tool note TEXT [--data JSON]

Prints the API's JSON. Exit code 0: fine; 1: the API said no, or the submission is not ok; 2: wrong usage.
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import json
import os
import sys
import time
import uuid
from collections.abc import Sequence
from typing import Any, cast
from urllib.parse import quote, urlsplit

# A harness that crashed is resumed by a person or a supervisor; a call waits this long for it before giving up.
PATIENCE_S = 900.0
# An evaluation of the full benchmark may take long; the connection carries no bytes until it is done.
CALL_TIMEOUT_S = 6 * 3600.0


class ApiError(Exception):
    """The API said no. Attributes: ``code``, ``message``, ``hint``."""

    def __init__(self, code: str, message: str, hint: str = "") -> None:
        super().__init__(f"{message} ({code})" + (f"; {hint}" if hint else ""))
        self.code, self.message, self.hint = code, message, hint


class Client:
    """Calls the agent API. Reads ``DOJO_API`` and ``DOJO_TOKEN`` unless given.

    Calls that were cut off (the harness restarted), or were told to come again, are sent again with the same idempotency key, so
    nothing is metered twice. Any other answer stands: what failed once inside the harness would fail again.
    """

    def __init__(self, base: str | None = None, token: str | None = None, patience_s: float = PATIENCE_S) -> None:
        base = base or os.environ.get("DOJO_API", "")
        if not base:
            raise ApiError("no_api", "DOJO_API is not set", "run this inside a dojo sandbox")
        parts = urlsplit(base)
        self._host, self._port = parts.hostname or "127.0.0.1", parts.port or 80
        self._token = token or os.environ.get("DOJO_TOKEN", "")
        self._patience_s = patience_s

    def task(self) -> dict[str, Any]:
        """Return the task: goal, answer format, metric, base model, data, examples, limits."""
        return cast(dict[str, Any], self._json("GET", "/v1/task"))

    def budget(self) -> dict[str, dict[str, float | None]]:
        """Return each budget dimension with ``limit``, ``used`` and ``left`` (None: unlimited)."""
        return cast(dict[str, dict[str, float | None]], self._json("GET", "/v1/budget"))

    def exec(
        self,
        argv: Sequence[str] | str,
        *,
        stdin: str = "",
        cwd: str | None = None,
        timeout_s: float | None = None,
        env: dict[str, str] | None = None,
    ) -> dict[str, Any]:
        """Run a command in the task sandbox (a string is run by ``sh -c``).

        Args:
            argv: the command.
            stdin: what it reads.
            cwd: where it runs; None: ``/workspace``.
            timeout_s: seconds until the whole process tree is killed, more than 0 (0 and less are refused); None: it may run
                until the run's time is over.
            env: variables beside the sandbox's own.
        """
        body: dict[str, Any] = {"stdin": stdin, "cwd": cwd, "timeout_s": timeout_s, "env": env or {}}
        body["command" if isinstance(argv, str) else "argv"] = argv if isinstance(argv, str) else list(argv)
        return cast(dict[str, Any], self._json("POST", "/v1/exec", body))

    def read_file(self, path: str) -> bytes:
        """Return the bytes of a file of the task sandbox."""
        return self._call("GET", f"/v1/files?path={_quoted(path)}", b"", {})

    def write_file(self, path: str, data: bytes) -> dict[str, Any]:
        """Write a file into the task sandbox."""
        raw = self._call("PUT", f"/v1/files?path={_quoted(path)}", data, {})
        return cast(dict[str, Any], json.loads(raw))

    def validate(self, path: str) -> dict[str, Any]:
        """Say whether the submission at ``path`` would load. Not metered, no score."""
        return cast(dict[str, Any], self._json("POST", "/v1/validate", {"path": path}))

    def evaluate(self, path: str, note: str = "") -> dict[str, Any]:
        """Score ``path`` on the dev split. Costs one evaluation."""
        return cast(dict[str, Any], self._json("POST", "/v1/evaluate", {"path": path, "note": note}))

    def submit(self, path: str, note: str = "") -> dict[str, Any]:
        """Hand in ``path``. May be repeated; the task says which one counts."""
        return cast(dict[str, Any], self._json("POST", "/v1/submit", {"path": path, "note": note}))

    def note(self, text: str, data: Any = None) -> None:
        """Write a line into the run's trajectory."""
        self._json("POST", "/v1/note", {"text": text, "data": data})

    def _json(self, method: str, path: str, body: Any = None) -> Any:
        data = b"" if body is None else json.dumps(body).encode()
        return json.loads(self._call(method, path, data, {"Content-Type": "application/json"}))

    def _call(self, method: str, path: str, data: bytes, headers: dict[str, str]) -> bytes:
        headers = {**headers, "Authorization": f"Bearer {self._token}", "Idempotency-Key": uuid.uuid4().hex}
        deadline = time.monotonic() + self._patience_s
        pause = 0.05
        while True:
            connection = http.client.HTTPConnection(self._host, self._port, timeout=CALL_TIMEOUT_S)
            try:
                connection.request(method, path, body=data, headers=headers)
                response = connection.getresponse()
                payload = response.read()
                if response.status == 503 and response.headers.get("Retry-After"):
                    raise http.client.HTTPException("it is busy with this agent's other connections")
            except (OSError, http.client.HTTPException) as exc:
                if time.monotonic() > deadline:
                    raise ApiError("unreachable", f"the agent API does not answer: {exc}", "the harness may be gone") from exc
                time.sleep(pause)  # the relay or the harness is restarting
                pause = min(2.0, pause * 2)
                continue
            finally:
                connection.close()
            if response.status < 400:
                return payload
            raise _error_of(payload, response.status)


def _quoted(path: str) -> str:
    """Return a path for a query; of a name that is no text its bytes, which the API then does not find."""
    return quote(path, safe="", errors="surrogatepass")


def _error_of(payload: bytes, status: int) -> ApiError:
    with contextlib.suppress(ValueError, KeyError, TypeError):
        error = json.loads(payload)["error"]
        return ApiError(str(error["code"]), str(error["message"]), str(error.get("hint", "")))
    return ApiError("http", f"the agent API answered with status {status}")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="dojo-tool", description="The agent API of dojo.")
    commands = parser.add_subparsers(dest="call", required=True)
    commands.add_parser("task", help="goal, data, answer format, metric, limits")
    commands.add_parser("budget", help="what is left, in every dimension")
    run = commands.add_parser("exec", help="run a command in the task sandbox")
    run.add_argument(
        "--timeout",
        type=float,
        default=None,
        help="seconds until the whole process tree is killed, more than 0; without it: until the run's time is over",
    )
    run.add_argument("--cwd", default=None)
    run.add_argument("--command", default=None, help="a shell line instead of ARGV")
    run.add_argument("argv", nargs="*")
    files = commands.add_parser("files", help="read or write a file of the task sandbox")
    files.add_argument("direction", choices=("get", "put"))
    files.add_argument("path")
    files.add_argument("local", nargs="?", help="local file; standard output or input without it")
    for name, text in (
        ("validate", "would this submission load?"),
        ("evaluate", "score on the dev split (metered)"),
        ("submit", "hand in"),
    ):
        call = commands.add_parser(name, help=text)
        call.add_argument("path")
        if name != "validate":
            call.add_argument("--note", default="")
    note = commands.add_parser("note", help="write into the trajectory")
    note.add_argument("text")
    note.add_argument("--data", type=json.loads, default=None, help="JSON")
    return parser


def _files(client: Client, args: argparse.Namespace) -> Any:
    if args.direction == "put":
        if args.local:
            with open(args.local, "rb") as source:
                return client.write_file(args.path, source.read())
        return client.write_file(args.path, sys.stdin.buffer.read())
    data = client.read_file(args.path)
    if not args.local:
        sys.stdout.buffer.write(data)
        return None
    with open(args.local, "wb") as target:
        target.write(data)
    return {"path": args.path, "bytes": len(data)}


def main(argv: Sequence[str] | None = None) -> int:
    """Run one call and print its JSON."""
    try:
        return _run(argv)
    except BrokenPipeError:
        return 1
    except OSError as exc:
        print(f"dojo-tool: the call was made, its answer cannot be printed: {exc}", file=sys.stderr)
        return 1


def _print(answer: Any) -> None:
    """Print an answer's JSON as the terminal's or the pipe's letters allow."""
    utf8 = (sys.stdout.encoding or "").lower().replace("-", "") == "utf8"
    print(json.dumps(answer, ensure_ascii=not utf8), flush=True)


def _run(argv: Sequence[str] | None) -> int:
    args = _parser().parse_args(argv)
    client = Client()
    try:
        if args.call == "exec":
            if bool(args.argv) == bool(args.command):
                raise ApiError("usage", "give either ARGV after -- or --command", "dojo-tool exec -- ls -l")
            answer: Any = client.exec(args.command or args.argv, cwd=args.cwd, timeout_s=args.timeout)
        elif args.call == "files":
            answer = _files(client, args)
        elif args.call in ("evaluate", "submit"):
            answer = getattr(client, args.call)(args.path, note=args.note)
        elif args.call == "validate":
            answer = client.validate(args.path)
        elif args.call == "note":
            client.note(args.text, args.data)
            answer = {}
        else:
            answer = getattr(client, args.call)()
    except (ApiError, OSError) as exc:
        error = (exc.code, exc.message, exc.hint) if isinstance(exc, ApiError) else ("file", str(exc), "check the local path")
        _print({"error": dict(zip(("code", "message", "hint"), error, strict=True))})
        return 1
    if answer is not None:
        _print(answer)
    return 1 if args.call == "validate" and not answer["ok"] else 0


if __name__ == "__main__":
    sys.exit(main())
