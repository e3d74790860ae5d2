"""Homes that are read-only, another user's, or one copied run."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from harness.spec.errors import StoreError
from harness.store.database import SqlStore
from harness.store.opening import open_store
from tests.unit.store.test_database import files_of, filled

EXAMPLE = Path(__file__).parents[3] / "results" / "example"


def test_a_single_copied_run_folder_of_an_earlier_dojo_can_be_looked_at(tmp_path):
    copy = tmp_path / "a colleague's run"
    shutil.copytree(EXAMPLE, copy)
    before = files_of(copy)
    store = open_store(copy, warn=pytest.fail)
    (run,) = store.runs()
    assert run.task == "math/aime25" and run.state.final and run.score is not None
    assert store.resolve("@last", "run") == run.id and store.resolve("@last", "batch") == run.batch
    (result,), damages = store.results()
    assert result == store.files(run.id).result() and damages == []
    assert len(list(store.files(run.id).events())) == 20
    assert [row.run for row in store.summaries().runs] == [run.id]
    assert not store.cancel_requested(run.id) and store.holder(run.id) is None
    with pytest.raises(StoreError, match="only be looked at"):
        store.exclude(run.id, "why")
    assert files_of(copy) == before


def test_a_home_with_runs_of_an_earlier_dojo_and_no_database_is_listed_and_indexed(tmp_path):
    folder = tmp_path / "batches" / "b20261125-010442-bbz1e" / "runs" / "r20261125-010442-yb1c9"
    shutil.copytree(EXAMPLE, folder)
    said: list[str] = []
    store = open_store(tmp_path, warn=said.append)
    assert [run.id for run in store.runs()] == [folder.name] and "dojo reindex" in said[0]
    assert store.reindex().damages == ()
    assert open_store(tmp_path, warn=pytest.fail).runs()[0].score is not None


LOOK = """
import os, sys
from pathlib import Path
from harness.spec import RunState
from harness.store.database import SqlStore
SqlStore(Path("/nowhere")).runs()  # imports what this user may read and the other may not
os.setgroups([])
os.setgid(65534)
os.setuid(65534)
said = []
store = SqlStore(Path(sys.argv[1]), warn=said.append)
print([run.id for run in store.runs()], store.holder("r1"), store.resolve("@last", "batch"), len(said))
try:
    store.record_state("r1", RunState.DONE)
except Exception as exc:
    print(type(exc).__name__, exc.hint)
"""


def look_as_nobody(home: Path) -> list[str]:
    """Look at a home as a user who may read it and no more."""
    done = subprocess.run([sys.executable, "-c", LOOK, str(home)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become another user")
@pytest.mark.parametrize("state", ["quiet", "written", "missing", "killed"])
def test_another_users_home_can_be_looked_at_and_not_changed(tmp_path_factory, state):
    home = tmp_path_factory.mktemp("home")
    for folder in (home, *home.parents):
        if folder.stat().st_uid == os.getuid() and folder != Path("/"):
            folder.chmod(folder.stat().st_mode | 0o055)
    store = filled(home)
    if state != "written":
        store.close()
    if state == "missing":
        (home / "dojo.db").unlink()
    if state == "killed":  # a process that died while it wrote leaves its log behind
        command = "import os, sys\nfrom pathlib import Path\nfrom harness.store.database import SqlStore\n"
        command += "SqlStore(Path(sys.argv[1])).record_state('r1', 'running')\nos._exit(1)"
        program = command.replace("'running'", "__import__('harness.spec', fromlist=['RunState']).RunState.RUNNING")
        subprocess.run([sys.executable, "-c", program, str(home)], check=False)
        assert (home / "dojo.db-wal").exists()
    before = files_of(home)
    listed, refused = look_as_nobody(home)
    assert listed == f"['r2', 'r1', 'r3'] None b2 {1 if state == 'missing' else 0}"
    assert refused.startswith("StoreError ")
    assert {n: s for n, s in files_of(home).items() if not n.endswith("-shm")} == {
        n: s for n, s in before.items() if not n.endswith("-shm")
    }
    store.close()


def test_a_read_only_home_is_looked_at_without_a_trace(tmp_path):
    filled(tmp_path).close()
    before = files_of(tmp_path)
    for _ in range(2):
        SqlStore(tmp_path, warn=pytest.fail).runs()
    assert files_of(tmp_path) == before
