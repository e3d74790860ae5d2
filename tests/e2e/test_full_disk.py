"""The harness's own disk runs full while a submission is taken in: an error with a remedy, and nothing is lost."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.e2e.conftest import HERE, SANDBOX, Commands

pytestmark = pytest.mark.e2e

HAND_IN_WEIGHTS = """
import shutil
os.makedirs("out")
for name in ("model.safetensors", "config.json"):
    shutil.copyfile("/models/base/" + name, "out/" + name)
for attempt in range(200):
    try:
        api.submit("/workspace/out")
        break
    except dojo_tool.ApiError as exc:
        assert exc.code == "disk_full" and exc.hint, exc
        time.sleep(0.2)
else:
    sys.exit("never taken in")
"""

# A results directory that is too small for the submission, and grows once that was noticed.
SCRIPT = """
set -eu
mount -t tmpfs -o size=2m dojo-test "$DOJO_HOME"
trap 'umount -l "$DOJO_HOME"' EXIT
"$@" > "$DOJO_HOME/../answer.json" 2> "$DOJO_HOME/../stderr.txt" &
run=$!
for i in $(seq 600); do
  if grep -qs disk_full "$DOJO_HOME"/batches/*/runs/*/events.jsonl; then break; fi
  kill -0 $run || break
  sleep 0.1
done
mount -o remount,size=100m "$DOJO_HOME"
wait $run && code=0 || code=$?
cat "$DOJO_HOME"/batches/*/runs/*/events.jsonl > "$DOJO_HOME/../events.jsonl"
exit $code
"""


def test_a_submission_that_does_not_fit_is_refused_with_a_remedy_and_taken_in_once_there_is_room(dojo: Commands, tmp_path: Path):
    if os.geteuid() != 0:
        pytest.skip("a small file system can be mounted by root only")
    agent = dojo.agent("keeper", HAND_IN_WEIGHTS)
    dojo.home.mkdir()
    environment = {
        **os.environ,
        "DOJO_HOME": str(dojo.home),
        "DOJO_CACHE": str(dojo.cache),
        "DOJO_TASKS": str(HERE / "tasks"),
        "DOJO_SANDBOX": SANDBOX,
    }
    command = [sys.executable, "-m", "harness.cli.main", *dojo.submit(agent), "--json"]
    # an engine shows its containers what it sees itself, and that is not a mount namespace of ours
    apart = [] if SANDBOX == "docker" else ["unshare", "--mount"]
    ended = subprocess.run(
        [*apart, "sh", "-c", SCRIPT, "sh", *command], env=environment, capture_output=True, text=True, timeout=240
    )
    assert ended.returncode == 0, (ended, (tmp_path / "stderr.txt").read_text()[-2000:])
    events = [json.loads(line) for line in (tmp_path / "events.jsonl").read_text().splitlines()]
    errors = [e["data"] for e in events if e["kind"] == "error"]
    assert errors and all(error["code"] == "disk_full" and error["hint"] for error in errors)
    run = json.loads((tmp_path / "answer.json").read_text())["data"]["runs"][0]
    assert run["state"] == "done" and run["outcome"]["cause"] == "completed" and run["submissions"] == 1
