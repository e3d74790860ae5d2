"""A half-written last event is cut off, however long it and the file are."""

from pathlib import Path

import pytest

from harness.spec.event import Noted
from harness.store.run_dir import RunDir


@pytest.mark.parametrize("half", [b"", b'{"seq": 2, "ki', b"x" * 200_000])
@pytest.mark.parametrize("whole", [0, 2])
def test_a_half_written_last_event_is_cut_off(tmp_path: Path, half: bytes, whole: int) -> None:
    run = RunDir(tmp_path)
    for number in range(whole):
        run.append(Noted(text=f"{number}" * 70_000))
    with run.events_path.open("ab") as out:
        out.write(half)
    assert RunDir(tmp_path).append(Noted(text="next")).seq == whole
    assert [event.seq for event in RunDir(tmp_path).events()] == list(range(whole + 1))
