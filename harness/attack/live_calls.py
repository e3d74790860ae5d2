"""Attacks from a live sandbox on a run's record and blame: errors without end, mistakes that look like faults (row 37)."""

from __future__ import annotations

import json
from collections.abc import Callable
from urllib.parse import quote

from harness.attack.base import Attack, Where, stopped
from harness.attack.ground import Ground
from harness.attack.live_api import Served, served
from harness.sandbox.contract.promise import PATIENCE_S, expect
from harness.session.journal import Journal
from harness.spec.errors import DojoError
from harness.spec.event import EventKind, Failed

_ERRORS = 100
_TOLD = 40
# Makes a call that fails on the harness's side again and again; argv: token, how often.
_FAIL = """
import http.client, json, sys
connection, seen = http.client.HTTPConnection("127.0.0.1", 7788, timeout=60), {}
for number in range(int(sys.argv[2])):
    body = json.dumps({"path": "/workspace/base"})
    connection.request("POST", "/v1/validate", body, {"Authorization": f"Bearer {sys.argv[1]}"})
    answer = connection.getresponse()
    answer.read()
    seen[answer.status] = seen.get(answer.status, 0) + 1
print(json.dumps(seen))
"""

BODIES = [
    {"argv": []},
    {"argv": [""]},
    {"argv": ["a\0b"]},
    {"argv": ["no-such-program"]},
    {"argv": ["/etc"]},
    {"argv": ["echo", "\ud800"]},
    {"argv": ["echo", "x" * 200_000]},
    {"argv": ["true"] * 20_000},
    {"command": ""},
    {"command": "a\0b"},
    {"command": "echo \udfff"},
    {"command": "true", "cwd": "/nowhere"},
    {"command": "true", "cwd": "/etc/passwd"},
    {"command": "true", "cwd": "a\0b"},
    {"command": "true", "cwd": "x" * 5000},
    {"command": "true", "cwd": "d/" * 1500},
    {"command": "true", "env": {"": "x"}},
    {"command": "true", "env": {"a=b": "x"}},
    {"command": "true", "env": {"a": "\0"}},
    {"command": "true", "env": {"a\0": "x"}},
    {"command": "true", "env": {"a": "x" * 200_000}},
    {"command": "true", "timeout_s": 1e-300},
    {"command": "true", "timeout_s": 1e300},
    {"command": "true", "timeout_s": -1},
    {"command": "true", "timeout_s": float("nan")},
    {"command": "true", "timeout_s": float("inf")},
    {"command": "cat", "stdin": "\0\ud800"},
]
"""Bodies of ``exec``; NaN and infinities go out as Python writes them, which is no JSON."""
PATHS = [
    "", "\0", "a\0b", "/", "..", "/etc", "/etc/shadow", "/etc/passwd/x", "/nowhere", "/dev/zero", "/dev/full", "/proc",
    "/proc/kmsg", "/proc/self/mem", "/proc/self/fd", "/sys", "/run/dojo", "/run/dojo/spool", "/workspace/", "x" * 5000,
    "d/" * 1500, "d/" * 3000, "\ud800", "closed", "deep", "loop", "pipe", "way",
]  # fmt: skip
_PREPARE = (
    "mkdir closed deep; chmod 0 closed; ln -s loop loop; mkfifo pipe; ln -s / way; "
    "cd deep; i=0; while [ $i -lt 200 ]; do mkdir d; cd d; i=$((i+1)); done"
)
_FILL = "head -c 1000000 /dev/zero > spare; cat /dev/zero > fill 2>/dev/null; cat /dev/zero > rest 2>/dev/null; true"
_SEND = """
import http.client, json, sys
for method, path, body in json.load(sys.stdin):
    connection = http.client.HTTPConnection("127.0.0.1", 7788, timeout=60)
    connection.request(method, path, body, {"Authorization": f"Bearer {sys.argv[1]}"})
    answer = connection.getresponse()
    data = answer.read()
    print(json.dumps([answer.status, data[:300].decode(errors="replace"), method, path[:60], (body or "")[:60]]))
"""


def _fail_without_end(at: Served) -> str:
    at.sandbox.write_file("/workspace/base/dojo.json", b'{"dojo": "base"}')
    done = at.sandbox.exec(["python3", "-c", _FAIL, at.token, str(_ERRORS)], timeout_s=6 * PATIENCE_S)
    expect(done.ok and json.loads(done.stdout) == {"503": _ERRORS}, done)
    errors = sum(event.kind is EventKind.ERROR for event in at.run.events())
    size = at.run.events_path.stat().st_size / 1e3
    stopped(errors <= _TOLD, f"{_ERRORS} failing calls wrote {errors} events of {size:.0f} kB")
    return f"{_ERRORS} failing calls left {errors} events of {size:.0f} kB, the last of which counts them"


def _errors_counted(ground: Ground) -> str:
    with served(ground) as at:
        return _fail_without_end(at)


def _errors_repeated(ground: Ground) -> str:
    def each(journal: Journal) -> Callable[[DojoError], None]:
        def write(exc: DojoError) -> None:
            journal.emit(Failed(where="agent API", **exc.as_dict()))

        return write

    with served(ground, on_error=each) as at:
        return _fail_without_end(at)


def _odd_calls(ground: Ground) -> str:
    calls: list[tuple[str, str, str | None]] = [("POST", "/v1/exec", json.dumps(body)) for body in BODIES]
    for path in PATHS:
        asked = f"/v1/files?path={quote(path.encode('utf-8', 'surrogatepass'))}"
        calls += [("GET", asked, None), ("PUT", asked, "x")]
        # where there is a folder to collect, this server's grader is asked, which there is none of
        calls += [("POST", "/v1/validate", json.dumps({"path": path}))]
    full: list[tuple[str, str, str | None]] = [("PUT", f"/v1/files?path={path}", "x" * 900_000) for path in ("big", "a/b/c")]
    with served(ground) as at:
        expect(at.sandbox.exec(["sh", "-c", _PREPARE], timeout_s=PATIENCE_S).ok, "preparing")
        answers = sent(at, calls)
        at.sandbox.exec(["sh", "-c", _FILL], timeout_s=2 * PATIENCE_S)
        answers += sent(at, full)
        events = [event.data for event in at.run.events() if isinstance(event.data, Failed)]
    wrong = [answer for answer in answers if answer[0] >= 500 and "nothing is scored here" not in answer[1]]
    stopped(not wrong, f"{len(wrong)} mistakes of the agent's were answered as the harness's faults: {wrong[:5]}")
    faults = [event for event in events if "nothing is scored here" not in event.message]
    stopped(not faults, f"in the run's record they are faults of the harness: {faults[:5]}")
    return (
        f"{len(answers)} calls with empty, endless, closed, looping and impossible paths, texts and times were the caller's fault"
    )


def sent(at: Served, calls: list[tuple[str, str, str | None]]) -> list[tuple[int, str, str, str, str]]:
    """Make calls one by one from the sandbox; return status, begin of the answer and what was called of each."""
    done = at.sandbox.exec(["python3", "-c", _SEND, at.token], stdin=json.dumps(calls).encode(), timeout_s=6 * PATIENCE_S)
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    stopped(len(answers) == len(calls), f"the call after {answers[-1:]} got no answer: {done.stderr[-500:]!r}")
    return answers


ATTACKS = (
    Attack(
        37, "errors-without-end", Where.SANDBOX,
        "make a call that fails on the harness's side again and again, to fill its disk with its own complaints",
        "one writer of what agents cause, with one cap; an error that repeats is counted",
        _errors_counted, _errors_repeated,
    ),
    Attack(
        37, "mistakes-as-faults", Where.SANDBOX,
        "call with paths, texts, times and folders that cannot be, on a full disk too, so that the harness seems at fault",
        "what an agent asks for wrongly is answered as its mistake (4xx) and leaves no error in the record",
        _odd_calls,
    ),
)  # fmt: skip
