"""`dojo serve` and `dojo --server`: real runs over real HTTP, and two replicas that share them."""

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from tests.e2e.conftest import HAND_IN_BASE, HERE, Commands

pytestmark = pytest.mark.e2e
pytest.importorskip("fastapi", reason="pip install 'dojo-bench[service]'")
pytest.importorskip("prometheus_client", reason="pip install 'dojo-bench[service]'")

QUICK = HAND_IN_BASE + 'api.note("<script>alert(1)</script>\\x1b[2J")\napi.submit("/workspace/out")\nprint("hello over there")\n'
SLOW = HAND_IN_BASE + 'api.submit("/workspace/out")\nfor n in range(40):\n    api.note(f"at {n}")\n    time.sleep(0.5)\n'


class Service:
    """Replicas of one service, whose task starts from the tiny model, and users of it."""

    def __init__(self, dojo: Commands, folder: Path) -> None:
        self.dojo = dojo
        shutil.copytree(HERE / "tasks", folder)
        toml = folder / "test/parity/task.toml"
        toml.write_text(toml.read_text().replace('base_model = "smol"', f'base_model = "{dojo.model}"'))
        dojo.environ["DOJO_TASKS"] = str(folder)

    def start(self, *more: str) -> tuple[subprocess.Popen[str], str]:
        process = self.dojo.start("serve", "--port", "0", *more)
        assert process.stdout is not None
        url = process.stdout.readline().strip()
        assert url.startswith("http://127.0.0.1:"), process.communicate()
        return process, url

    def token(self, user: str, role: str = "submitter") -> str:
        return self.dojo("tokens", "create", "--user", user, "--role", role).data["token"]

    def ask(self, url: str, token: str, *args: str) -> tuple[int, dict]:
        """Run a command over the service, on a machine that has nothing of it."""
        environment = {k: v for k, v in os.environ.items() if not k.startswith("DOJO_")}
        environment |= {"DOJO_SERVER": url, "DOJO_TOKEN": token, "DOJO_HOME": "/nowhere/here"}
        done = subprocess.run(
            [sys.executable, "-m", "harness.cli.main", *args, "--json"],
            env=environment,
            capture_output=True,
            text=True,
            timeout=600,
        )
        return done.returncode, json.loads(done.stdout)


@pytest.fixture
def service(dojo: Commands, tmp_path: Path) -> Service:
    return Service(dojo, tmp_path / "tasks")


def test_a_run_submitted_over_a_service_ends_in_the_leaderboard_and_leaves_its_files(service: Service):
    server, url = service.start()
    ann, bob = service.token("ann"), service.token("bob")
    agent = service.dojo.agent("quick", QUICK)
    (code, said) = service.ask(url, ann, "submit", "--agent", str(agent), "--task", "test/parity", "--profile", "mini")
    assert code == 0, said
    run = said["data"]["runs"][0]
    assert run["state"] == "done" and run["outcome"]["cause"] == "completed" and run["score"] is not None
    assert [row["agent"] for row in said["data"]["leaderboard"]["rows"]] == ["quick"]
    assert service.ask(url, bob, "leaderboard")[1]["data"]["rows"][0]["agent"] == "quick"
    code, result = service.ask(url, ann, "show", "@last")
    assert code == 0 and result["data"]["grade"]["scores"] and not result["data"]["grade"]["item_scores"]
    assert {name["name"] for name in service.ask(url, ann, "files", run["id"])[1]["data"]["files"]} >= {"out/dojo.json"}
    code, refused = service.ask(url, bob, "files", run["id"])
    assert code == 3 and refused["error"]["code"] == "forbidden" and refused["error"]["hint"]
    told = httpx.get(
        f"{url}/v1/runs/{run['id']}/events",
        headers={"authorization": f"Bearer {ann}", "accept": "text/event-stream", "last-event-id": "2"},
        timeout=60,
    )
    assert told.text.startswith("id: 3\n") and told.text.endswith("event: end\ndata: {}\n\n")
    assert "\x1b" not in told.text and str(service.dojo.home) not in told.text and ann not in told.text
    server.send_signal(signal.SIGTERM)
    _, log = server.communicate(timeout=60)
    assert server.returncode == 0, log
    assert ann not in log and all(json.loads(line) for line in log.splitlines())


def test_what_a_drained_replica_left_the_other_one_ends_and_nothing_is_started_twice(service: Service):
    first, url = service.start()
    ann = service.token("ann")
    agent = service.dojo.agent("slow", SLOW)
    code, said = service.ask(url, ann, "submit", "--agent", str(agent), "--task", "test/parity", "--profile", "mini", "--detach")
    assert code == 0, said
    service.dojo.wait_for(lambda events: sum(event["kind"] == "note" for event in events) > 1)
    _second, other = service.start()
    first.send_signal(signal.SIGTERM)
    first.communicate(timeout=60)
    assert first.returncode == 0
    service.dojo.wait_for(lambda events: any(event["data"].get("state") == "sealed" for event in events), seconds=400)
    row = service.ask(other, ann, "status")[1]["data"]["runs"][0]
    assert row["attempt"] == 1 and row["submissions"] == 1, row
    kinds = [event["kind"] for event in service.dojo.events()]
    assert kinds.count("clock_started") == 1 and "attached" in kinds
    notes = [event["data"]["text"] for event in service.dojo.events() if event["kind"] == "note"]
    assert notes == [f"at {number}" for number in range(40)], "the agent noticed nothing"
