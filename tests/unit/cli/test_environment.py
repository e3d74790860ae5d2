"""What the machine does not allow, in the cache, the home and the temporary folder: exit code 3 with place and remedy."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.unit.cli import environment_driver

TASKS = Path(__file__).parents[2] / "e2e" / "tasks"
# Commands that cannot do without the place, whatever is wrong with it.
WRITERS = {("cache", "data secret"), ("cache", "data prepare test/parity --profile mini"), ("home", "reindex")}


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, object]]:
    folder = tmp_path_factory.mktemp("environment")
    for above in (folder, *folder.parents[:3]):  # xdist has a folder for each worker
        above.chmod(0o755)
    alone = ["unshare", "-m"] if os.geteuid() == 0 else ["unshare", "-Urm"]
    if subprocess.run([*alone, "mount", "-t", "tmpfs", "x", folder], capture_output=True, check=False).returncode:
        pytest.skip("no file system can be mounted here")
    command = [*alone, sys.executable, "-m", environment_driver.__name__, folder]
    environment = {**os.environ, "DOJO_TASKS": str(TASKS)}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=Path(__file__).parents[3], check=True)
    assert not done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_every_fault_of_every_place_is_told_as_the_machines_with_a_remedy_that_works(table: list[dict[str, object]]) -> None:
    cases = sum(len(commands) for commands in environment_driver.COMMANDS.values()) * len(environment_driver.FAULTS)
    assert len(table) == cases
    wrong = []
    for row in table:
        err, fine = str(row["err"]), True
        writes = (row["place"], row["command"]) in WRITERS
        if row["fault"] == "no permission" and os.geteuid() != 0:
            continue  # who maps himself to root has all rights
        if row["code"] == 3 and "not ok" not in err:
            variable = environment_driver.VARIABLES[str(row["place"])]
            fine = err.count("\n") == 2 and (str(row["path"])[:200] in err or variable in err)
            mended = str(row["err_again"])
            fine = fine and (row["again"] == 0 if writes else str(row["path"]) not in mended and "itself failed" not in mended)
        fine = fine and (row["code"] == 3 or (row["code"] in (0, 2) and not writes))
        if not fine or "itself failed" in err:
            wrong.append(row)
    assert not wrong, "\n".join(map(str, wrong))
