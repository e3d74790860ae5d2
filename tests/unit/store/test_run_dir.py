import subprocess
import sys

import pytest

from harness.spec.errors import StoreError
from harness.spec.event import EventKind, payload_of
from harness.store.run_dir import RunDir


def test_events_are_numbered_without_gaps_over_restarts(tmp_path):
    RunDir(tmp_path).append(payload_of(EventKind.NOTE, {"text": "one"}))
    RunDir(tmp_path).append(payload_of(EventKind.NOTE, {"text": "two"}))
    assert [(e.seq, e.data.text) for e in RunDir(tmp_path).events()] == [(0, "one"), (1, "two")]


def test_a_half_written_last_line_is_no_event_and_is_cut_off_before_the_next(tmp_path):
    run = RunDir(tmp_path)
    run.append(payload_of(EventKind.NOTE, {"text": "whole"}))
    with run.events_path.open("ab") as out:
        out.write(b'{"seq": 1, "ki')
    assert len(list(RunDir(tmp_path).events())) == 1
    again = RunDir(tmp_path)
    again.append(payload_of(EventKind.NOTE, {"text": "after"}))
    assert [e.data.text for e in again.events()] == ["whole", "after"]


def test_two_processes_never_drive_one_run_and_the_lock_dies_with_its_holder(tmp_path):
    holder = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import sys, pathlib\nfrom harness.store.run_dir import RunDir\n"
            "with RunDir(pathlib.Path(sys.argv[1])).driving():\n    print('held', flush=True)\n    sys.stdin.read()",
            str(tmp_path),
        ],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    try:
        assert holder.stdout is not None and holder.stdout.readline() == b"held\n"
        run = RunDir(tmp_path)
        assert run.driven()
        with pytest.raises(StoreError) as busy, run.driving():
            pass
        assert busy.value.code == "busy"
    finally:
        holder.kill()
        holder.wait()
    assert not RunDir(tmp_path).driven()
