"""Plotting code inside a real grader sandbox, where the answer key lies: it draws, and it cannot see the key."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from harness.assets.grader_side import grader_code, task_code
from harness.grading.worker import protocol
from harness.sandbox.base import Backend, Mount, SandboxSpec
from harness.sandbox.registry import get_backend
from harness.spec.task import Limits

ATTEMPTS = {
    "draws": "plt.bar(df['N'], df['A'])",
    "reads the key": f"open({protocol.ITEMS!r})",
    "lists the key": "import os\nos.listdir('/private')",
    "reads the grader": f"open({protocol.TASK + '/tests/grader.py'!r})",
    "reads its parent's memory": "import os\nopen(f'/proc/{os.getppid()}/mem', 'rb')",
    "kills its parent": "import os\nos.kill(os.getppid(), 9)",
    "leaves a process": "import os\nos.fork()",
}
PROGRAM = """
import json, sys
from pathlib import Path
sys.path.insert(0, {code!r})
assert open({items!r}).read() == "the key"
from harness.taskkit.scoring.contract import load_grader
draw = load_grader(Path({task!r})).module.draw
head = "import pandas as pd\\nimport matplotlib.pyplot as plt\\ndf = pd.read_csv('table.csv')\\n"
found = {{name: draw(head + code, "N,A\\nx,1\\ny,2\\n") for name, code in json.loads(sys.argv[1]).items()}}
print(json.dumps({{name: [d.error, [list(s.values) for s in d.series]] for name, d in found.items()}}))
"""


@pytest.fixture(scope="module")
def backend() -> Backend:
    found = get_backend(os.environ.get("DOJO_TEST_SANDBOX", "namespace"))
    bad = [check for check in found.check() if not check.ok]
    if bad:
        pytest.skip(f"this host cannot isolate: {bad[0].detail}")
    return found


def test_code_draws_in_the_grader_s_sandbox_and_cannot_see_the_key(backend: Backend, tmp_path: Path) -> None:
    (tmp_path / "items.jsonl").write_text("the key")
    task = Path(__file__).resolve().parents[3] / "tasks" / "table" / "visualization"
    mounts = [Mount(source, f"{protocol.CODE}/{place}") for source, place in grader_code()]
    mounts += [Mount(source, f"{protocol.DOMAIN}/{place}") for source, place in task_code(task)]
    mounts += [Mount(tmp_path / "items.jsonl", protocol.ITEMS)]
    sandbox = backend.create(SandboxSpec(f"test-figures-{os.getpid()}", Limits(memory_mb=3000), tuple(mounts)))
    try:
        program = PROGRAM.format(code=protocol.CODE, items=protocol.ITEMS, task=protocol.TASK)
        done = sandbox.exec(["python", "-c", program, json.dumps(ATTEMPTS)], timeout_s=120)
    finally:
        sandbox.close()
    assert done.exit_code == 0, done.stderr.decode()
    found = json.loads(done.stdout)
    assert found.pop("draws") == [None, [[1.0, 2.0]]]
    assert len(found) == 6
    for name, (error, series) in found.items():
        assert error in ("PermissionError", "FileNotFoundError") and series == [], name
