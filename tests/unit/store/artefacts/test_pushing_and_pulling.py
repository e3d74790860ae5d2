"""A run put in a place and brought back, in a folder and in an S3-compatible store: what may go wrong on the way."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from harness.spec.errors import MissingError, StoreError, UsageError
from harness.store.artefacts.drop import drop_parts
from harness.store.artefacts.dropped import dropped_parts
from harness.store.artefacts.manifest import StoredFile, StoredRun, manifest_key, read_manifest, runs_there
from harness.store.artefacts.place import Place, open_place
from harness.store.artefacts.pull import bring_parts, faults, pull_run
from harness.store.artefacts.push import push_run
from harness.store.database import SqlStore
from harness.store.folders import Home
from harness.store.marks import BatchFile, read_batch
from harness.store.run_dir import RunDir
from tests.unit.store.artefacts.conftest import BATCH, RUN, S3Server, started, tree

# Puts a run there, and is killed before the third file is sent.
_KILLED = """
import os, signal, sys
from pathlib import Path
from harness.store.artefacts.place import open_place
from harness.store.artefacts.push import push_run
from harness.store.run_dir import RunDir
told = []
def say(text):
    told.append(text)
    if len(told) == 3:
        os.kill(os.getpid(), signal.SIGKILL)
push_run(open_place(sys.argv[1]), RunDir(Path(sys.argv[2])), say)
"""
# Moves a large file both ways; prints by how many megabytes its memory grew.
_LARGE = """
import resource, sys
from pathlib import Path
from harness.store.artefacts.manifest import read_manifest
from harness.store.artefacts.place import open_place
from harness.store.artefacts.pull import pull_run
from harness.store.artefacts.push import push_run
from harness.store.folders import Home
from harness.store.run_dir import RunDir
place, run, home = open_place(sys.argv[1]), RunDir(Path(sys.argv[2])), Home(Path(sys.argv[3]))
place.try_it()
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
push_run(place, run)
pull_run(place, home, read_manifest(place, run.spec().batch, run.spec().id))
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""


def stored(place: Place) -> StoredRun:
    found = read_manifest(place, BATCH, RUN)
    assert found is not None
    return found


def python(program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", program, *arguments], capture_output=True, text=True)


def test_a_run_comes_back_as_it_was_into_an_empty_home(place: Place, run: RunDir, tmp_path: Path) -> None:
    pushed = push_run(place, run)
    assert pushed.files == len([path for path in run.path.rglob("*") if path.is_file()]) and pushed.left_out == ()
    assert list(runs_there(place)) == [(BATCH, RUN, True)]
    fresh = Home(tmp_path / "fresh")
    before = os.umask(0o000)
    try:
        pulled = pull_run(place, fresh, stored(place))
    finally:
        os.umask(before)
    assert tree(fresh.run(BATCH, RUN)) == tree(run.path) and pulled.brought == pulled.files
    batch = read_batch(fresh.batch(BATCH))
    assert batch is not None and (batch.name, batch.tags, batch.runs) == ("first", ("good",), (RUN,))
    report = SqlStore(fresh.path).reindex()
    assert (report.runs, len(report.damages)) == (1, 1)  # the run never had a result
    assert "result.json is missing" in report.damages[0].message


def test_equal_contents_are_sent_once_and_what_is_there_never_again(place: Place, run: RunDir) -> None:
    first = push_run(place, run)
    assert first.sent == len(stored(place).objects()) == first.files - 1  # a submission is what was sealed
    assert push_run(place, run).sent == 0
    (run.path / "marks.json").write_text('{"tags": ["good"]}')
    assert push_run(place, run).sent == 1
    assert push_run(place, run, anew=True).sent == first.sent + 1


def test_a_push_that_is_killed_is_nothing_there_and_goes_on(place: Place, run: RunDir, home: Home) -> None:
    assert python(_KILLED, place.url, str(run.path)).returncode == -signal.SIGKILL
    assert list(runs_there(place)) == [(BATCH, RUN, False)] and read_manifest(place, BATCH, RUN) is None
    again = push_run(place, run)
    assert again.sent == len(stored(place).objects()) - 2
    assert faults(place, stored(place), stored(place).files) == []


def test_a_pull_that_fails_leaves_no_run_and_goes_on(place: Place, run: RunDir, tmp_path: Path) -> None:
    push_run(place, run)
    fresh, files = Home(tmp_path / "fresh"), stored(place).files
    last = files[-1]
    place.remove(stored(place).key(last.sha256))
    with pytest.raises(StoreError) as caught:
        pull_run(place, fresh, stored(place))
    assert caught.value.code == "artefact_missing" and last.path in caught.value.message
    assert not fresh.run(BATCH, RUN).exists() and SqlStore(fresh.path).reindex().runs == 0
    place.send(stored(place).key(last.sha256), run.path / last.path)
    assert pull_run(place, fresh, stored(place)).brought == 1
    assert tree(fresh.run(BATCH, RUN)) == tree(run.path)


@pytest.mark.parametrize(
    "change", [b"weightz" * 1000, b"weights" * 999, b"weights" * 1001, b""], ids=["same", "short", "long", "none"]
)
def test_an_altered_object_is_refused_by_name_and_can_be_mended(place: Place, run: RunDir, tmp_path: Path, change: bytes) -> None:
    push_run(place, run)
    (model,) = (file for file in stored(place).files if file.path == "sealed/model.safetensors")
    place.write(stored(place).key(model.sha256), change)
    with pytest.raises(StoreError) as caught:
        pull_run(place, Home(tmp_path / "fresh"), stored(place))
    assert caught.value.code == "artefact_altered" and "sealed/model.safetensors" in caught.value.message
    assert [(fault.path, fault.fault) for fault in faults(place, stored(place), stored(place).files)] == [(model.path, "altered")]
    push_run(place, run, anew=True)
    assert faults(place, stored(place), stored(place).files) == []


@pytest.mark.parametrize("make", [lambda text: text.replace("talk.jsonl", "walk.jsonl"), lambda text: text[:-40], lambda _: ""])
def test_an_altered_manifest_is_refused_and_not_written_over_unasked(place: Place, run: RunDir, make) -> None:
    push_run(place, run)
    key = manifest_key(BATCH, RUN)
    data = place.read(key)
    assert data is not None
    place.write(key, make(data.decode()).encode())
    for act in (lambda: read_manifest(place, BATCH, RUN), lambda: push_run(place, run)):
        with pytest.raises(StoreError) as caught:
            act()
        assert caught.value.code == "artefact_altered" and "--anew" in caught.value.hint
    push_run(place, run, anew=True)
    assert stored(place).run == RUN


def test_a_manifest_under_another_runs_name_is_refused(place: Place, run: RunDir) -> None:
    push_run(place, run)
    place.write(manifest_key(BATCH, "r2"), place.read(manifest_key(BATCH, RUN)) or b"")
    with pytest.raises(StoreError, match="it is of run"):
        read_manifest(place, BATCH, "r2")


@pytest.mark.parametrize("path", ["../out", "/etc/passwd", "a/../../b", "", "a//b", "./a", "a/", "nul\0"])
def test_a_manifest_that_leads_out_of_the_run_is_no_manifest(path: str) -> None:
    file = {"path": path, "size": 1, "sha256": "0" * 64, "mode": 0o644}
    with pytest.raises(ValueError, match="plain relative path"):
        StoredFile.model_validate(file)


def test_modes_in_a_manifest_open_nothing_that_is_private(place: Place, run: RunDir, tmp_path: Path) -> None:
    for path in run.private.rglob("*"):
        path.chmod(0o777)
    run.private.chmod(0o777)
    push_run(place, run)
    fresh = Home(tmp_path / "fresh")
    pull_run(place, fresh, stored(place))
    modes = {name: mode for name, (mode, _) in tree(fresh.run(BATCH, RUN)).items() if name.startswith("private")}
    assert modes == {"private": 0o700, "private/llm": 0o700, "private/llm/talk.jsonl": 0o600, "private/token": 0o600}


def test_two_pushes_and_two_pulls_at_once_are_each_whole(place: Place, run: RunDir, tmp_path: Path) -> None:
    fresh, errors = Home(tmp_path / "fresh"), []

    def twice(act) -> None:
        def guarded() -> None:
            try:
                act()
            except Exception as exc:
                errors.append(exc)

        threads = [threading.Thread(target=guarded) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    twice(lambda: push_run(place, run))
    assert errors == [] and faults(place, stored(place), stored(place).files) == []
    twice(lambda: pull_run(place, fresh, stored(place)))
    assert errors == [] and tree(fresh.run(BATCH, RUN)) == tree(run.path)


def test_links_and_half_made_things_are_not_kept(place: Place, run: RunDir, tmp_path: Path) -> None:
    (run.path / "agent" / "link").symlink_to("/etc/passwd")
    (run.private / "incoming-workspace").mkdir()
    (run.private / "incoming-workspace" / "half").write_text("half")
    (run.path / os.fsdecode(b"agent/\xff")).write_text("no text")
    assert push_run(place, run).left_out == ("agent/link", "'agent/\\udcff'")
    assert not any("half" in file.path or "link" in file.path for file in stored(place).files)


def test_a_run_that_is_here_is_completed_and_one_that_differs_is_left_alone(place: Place, run: RunDir, home: Home) -> None:
    push_run(place, run)
    before = tree(run.path)
    (run.path / "workspace.zip").unlink()
    (run.private / "token").unlink()
    (run.path / "marks.json").write_text('{"tags": ["mine"]}')
    assert pull_run(place, home, stored(place)).brought == 2
    (run.path / "marks.json").unlink()
    assert tree(run.path) == before
    run.append(run_event())
    now = tree(run.path)
    with pytest.raises(UsageError) as caught:
        pull_run(place, home, stored(place))
    assert caught.value.code == "differs" and "events.jsonl" in caught.value.message and tree(run.path) == now


def run_event():
    from harness.spec.event import Failed

    return Failed(where="test")


def test_big_parts_are_dropped_and_come_back_as_they_were(place: Place, run: RunDir) -> None:
    before = tree(run.path)
    push_run(place, run)
    freed = drop_parts(place, run, BATCH)
    assert freed == 2 * 7000 + 2 + 2 and not (run.sealed.exists() or run.submissions.exists() or run.kept.exists())
    assert set(dropped_parts(run)) == {"sealed", "submissions", "workspace.zip"}
    assert push_run(place, run).sent == 0 and len(stored(place).files) == len([name for name, (_, d) in before.items() if d]) + 1
    bring_parts(place, run, BATCH, ["workspace.zip"])
    assert run.kept.read_bytes() == b"PK" and set(dropped_parts(run)) == {"sealed", "submissions"}
    bring_parts(place, run, BATCH, dropped_parts(run))
    assert tree(run.path) == before


def test_a_drop_that_is_cut_off_and_a_fetch_that_is_cut_off_are_gone_on_with(
    place: Place, run: RunDir, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = tree(run.path)
    push_run(place, run)

    def killed(folder: Path) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr("harness.store.artefacts.drop.delete_folder", killed)
        drop_parts(place, run, BATCH)
    drop_parts(place, run, BATCH)
    (config,) = (file for file in stored(place).files if file.path.endswith("adapter_config.json"))
    place.remove(stored(place).key(config.sha256))
    with pytest.raises(StoreError):
        bring_parts(place, run, BATCH, dropped_parts(run))
    assert "sealed" in dropped_parts(run)
    data = run.path.parent / "again"
    data.write_bytes(b"{}")
    place.send(stored(place).key(config.sha256), data)
    bring_parts(place, run, BATCH, dropped_parts(run))
    assert tree(run.path) == before


@pytest.mark.parametrize("fault", ["altered", "missing", "not there", "changed here", "left out"])
def test_nothing_is_dropped_that_is_not_whole_there(place: Place, run: RunDir, fault: str) -> None:
    push_run(place, run)
    (model,) = (file for file in stored(place).files if file.path == "sealed/model.safetensors")
    if fault == "altered":
        place.write(stored(place).key(model.sha256), b"weightz" * 1000)
    elif fault == "missing":
        place.remove(stored(place).key(model.sha256))
    elif fault == "not there":
        place.remove(manifest_key(BATCH, RUN))
    elif fault == "changed here":
        (run.submissions / "2" / "model.safetensors").write_bytes(b"newer")
    else:
        (run.submissions / "link").symlink_to("2")
    now = tree(run.path)
    with pytest.raises(StoreError) as caught:
        drop_parts(place, run, BATCH)
    assert "artefacts push" in caught.value.hint and tree(run.path) == now and dropped_parts(run) == ()


def test_a_dropped_run_is_not_put_in_a_place_that_lacks_its_parts(place: Place, run: RunDir, tmp_path: Path) -> None:
    push_run(place, run)
    drop_parts(place, run, BATCH)
    other = open_place(f"file://{tmp_path}/other")
    with pytest.raises(StoreError) as caught:
        push_run(other, run)
    assert caught.value.code == "artefact_missing" and list(runs_there(other)) == []
    (model,) = (file for file in stored(place).files if file.path == "sealed/model.safetensors")
    place.remove(stored(place).key(model.sha256))
    with pytest.raises(StoreError, match="are not whole in"):
        push_run(place, run)


def test_a_file_that_changes_while_it_is_sent_is_not_kept(place: Place, run: RunDir) -> None:
    def say(text: str) -> None:
        if "agent.stdout" in text:
            (run.path / "agent.stdout").write_bytes(b"SAID")

    with pytest.raises(StoreError) as caught:
        push_run(place, run, say)
    assert caught.value.code == "changed" and read_manifest(place, BATCH, RUN) is None
    push_run(place, run)
    assert faults(place, stored(place), stored(place).files) == []


def test_batches_keep_their_order_whichever_run_comes_first(place: Place, run: RunDir, tmp_path: Path) -> None:
    push_run(place, run)
    fresh, first = Home(tmp_path / "fresh"), stored(place)
    later = first.model_copy(update={"batch_file": BatchFile(created=first.batch_file.created, runs=("r0", RUN))})
    pull_run(place, fresh, later)
    (fresh.run(BATCH, RUN)).rename(fresh.run(BATCH, "r0"))
    pull_run(place, fresh, later)
    batch = read_batch(fresh.batch(BATCH))
    assert batch is not None and batch.runs == (RUN,)


@pytest.mark.slow
def test_a_large_file_with_holes_goes_both_ways_in_little_memory(
    s3: S3Server, run: RunDir, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    s3.speak_to(monkeypatch)
    size = 128 * 1024 * 1024
    with (run.submissions / "2" / "holes").open("wb") as file:
        file.truncate(size)
    moved = python(_LARGE, "s3://bucket/large", str(run.path), str(tmp_path / "fresh"))
    assert moved.returncode == 0, moved.stderr
    assert (Home(tmp_path / "fresh").run(BATCH, RUN) / "submissions" / "2" / "holes").stat().st_size == size
    assert int(moved.stdout) < 96


def test_a_server_that_goes_in_the_middle_is_said_and_the_push_goes_on_when_it_is_back(
    run: RunDir, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = started(tmp_path / "own")
    try:
        server.speak_to(monkeypatch)
        place = open_place("s3://bucket")
        told: list[str] = []

        def say(text: str) -> None:
            told.append(text)
            if len(told) == 3:
                server.kill()

        with pytest.raises(MissingError) as caught:
            push_run(place, run, say)
        assert caught.value.code == "artefacts_unreachable" and "s3://bucket" in caught.value.message
        server.start()
        assert push_run(place, run).sent == len(stored(place).objects()) - 2
    finally:
        server.kill()
