"""What an agent may send to the API by mistake is answered as its mistake, in a real sandbox: never as a fault of the harness."""

import json

from harness.attack.ground import Ground
from harness.attack.live_api import _served
from harness.sandbox.contract.promise import PATIENCE_S

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
    {"command": "true", "env": {"": "x"}},
    {"command": "true", "env": {"a=b": "x"}},
    {"command": "true", "env": {"a": "\0"}},
    {"command": "true", "env": {"a\0": "x"}},
    {"command": "true", "env": {"a": "x" * 200_000}},
    {"command": "true", "timeout_s": 1e-300},
    {"command": "true", "timeout_s": 1e300},
    {"command": "cat", "stdin": "\0\ud800"},
]
PATHS = ["", "%00", "a%00b", "/etc", "/nowhere", "/dev/zero", "/proc/self/mem", "x" * 5000, "%ff", "/workspace/", "/etc/passwd/x"]
SEND = """
import http.client, json, sys
for method, path, body in json.load(sys.stdin):
    connection = http.client.HTTPConnection("127.0.0.1", 7788, timeout=60)
    connection.request(method, path, body, {"Authorization": f"Bearer {sys.argv[1]}"})
    answer = connection.getresponse()
    data = answer.read()
    print(json.dumps([answer.status, data[:300].decode(errors="replace"), method, path[:60], (body or "")[:60]]))
"""


def test_odd_calls_are_the_agents_mistakes(ground: Ground) -> None:
    calls = [("POST", "/v1/exec", json.dumps(body)) for body in BODIES]
    calls += [(method, f"/v1/files?path={path}", "x" if method == "PUT" else None) for path in PATHS for method in ("GET", "PUT")]
    with _served(ground) as served:
        done = served.sandbox.exec(
            ["python3", "-c", SEND, served.token], stdin=json.dumps(calls).encode(), timeout_s=4 * PATIENCE_S
        )
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(answers) == len(calls), done
    assert [answer for answer in answers if answer[0] >= 500] == []
