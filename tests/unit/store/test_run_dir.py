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
