"""What is kept of a run's talk."""

import json
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from harness.gateway.dialogue import Reply, TokenUsage
from harness.gateway.recording import CUT_AT, Exchange, Recording, canonical, request_hash
from tests.unit.gateway.conftest import Opening, chat_reply


def exchange(call: int, body: Any, answer: bytes = b"{}", **more: Any) -> Exchange:
    values: dict[str, Any] = {
        "request": "r", "time": datetime(2026, 1, 1, tzinfo=UTC), "elapsed_s": 1.5, "stream": False, "status": 200,
        "format": "chat", "path": "/v1/chat/completions",
    }  # fmt: skip
    return Exchange(call=call, body=body, answer=answer, **values | more)


def history(turns: int) -> dict[str, Any]:
    return {"model": "m", "messages": [{"role": "user", "content": f"turn {turn} " + "word " * 200} for turn in range(turns)]}


def test_exchanges_are_read_as_they_were_written(tmp_path: Path) -> None:
    recording = Recording(tmp_path / "llm")
    bodies = [history(3), {"messages": "x" * 500, "n": None, "deep": {"messages": [1, {"a": "y" * 100}]}}, {"input": "s"}]
    for number, body in enumerate(bodies, 1):
        recording.write(number, exchange(number, body, chat_reply(), reply=Reply((), usage=TokenUsage(7, 3, cached=2))))
    again = list(Recording(tmp_path / "llm").read())
    assert [each.body for each in again] == bodies and [each.call for each in again] == [1, 2, 3]
    assert again[0].answer == chat_reply() and again[0].elapsed_s == 1.5 and again[0].time.tzinfo is not None
    assert again[0].reply is not None and again[0].reply.usage == TokenUsage(7, 3, cached=2)


def test_histories_that_grow_are_kept_once(tmp_path: Path) -> None:
    recording = Recording(tmp_path / "llm")
    for turns in range(1, 60):
        recording.write(turns, exchange(turns, history(turns)))
    again = Recording(tmp_path / "llm")
    again.write(60, exchange(60, history(60)))
    size = sum(path.stat().st_size for path in (tmp_path / "llm").iterdir())
    assert size < 5 * len(json.dumps(history(60))) and list(again.read())[-1].body == history(60)


def test_nobody_else_can_read_it(tmp_path: Path) -> None:
    os.umask(0o022)
    Recording(tmp_path / "llm").write(1, exchange(1, history(1)))
    assert (tmp_path / "llm").stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o777 for path in (tmp_path / "llm").iterdir()} == {0o600}


def test_lines_that_a_crash_cut_or_a_disk_damaged_are_skipped(tmp_path: Path) -> None:
    recording = Recording(tmp_path / "llm")
    for number in (1, 2, 3):
        recording.write(number, exchange(number, history(number)))
    calls, parts = tmp_path / "llm/calls.jsonl", tmp_path / "llm/parts.jsonl"
    lines = calls.read_bytes().splitlines(keepends=True)
    calls.write_bytes(lines[0] + b"\xff{nonsense\n" + lines[2][:-40])
    parts.write_bytes(parts.read_bytes()[:-30])
    again = Recording(tmp_path / "llm")
    assert [each.call for each in again.read()] == [1] and again.damaged == 2
    again.write(4, exchange(4, history(3)))
    assert [each.call for each in again.read()] == [1, 4]
    assert list(again.read())[-1].body == history(3)


def test_a_run_without_talk_has_none(tmp_path: Path) -> None:
    assert list(Recording(tmp_path / "llm").read()) == [] and not (tmp_path / "llm").exists()


def test_long_answers_are_cut(tmp_path: Path) -> None:
    recording = Recording(tmp_path / "llm")
    recording.write(1, exchange(1, history(1), b"x" * (CUT_AT + 1)))
    (kept,) = recording.read()
    assert kept.cut and len(kept.answer) == CUT_AT


def test_a_full_record_keeps_hashes(tmp_path: Path) -> None:
    recording = Recording(tmp_path / "llm", most=2000)
    for number in range(1, 6):
        recording.write(number, exchange(number, {"messages": [os.urandom(400).hex()]}))
    kept = list(recording.read())
    assert recording.full and kept[0].body and kept[-1].body is None and kept[-1].request == "r"
    assert sum(path.stat().st_size for path in (tmp_path / "llm").iterdir()) < 6000


@pytest.mark.parametrize("mark", ["0" * 32, "../../etc", 7, None])
def test_an_agent_cannot_write_references_of_its_own(tmp_path: Path, mark: Any) -> None:
    forged = {"\u0000part": mark}
    body = {"model": "m", "messages": [forged, {"content": forged}], "metadata2": forged, "x": [forged]}
    recording = Recording(tmp_path / "llm")
    recording.write(1, exchange(1, body))
    (kept,) = recording.read()
    assert kept.body == body and recording.damaged == 0


def test_a_request_is_known_again_whoever_asks_and_however_it_is_written() -> None:
    body = {"model": "a", "messages": [{"role": "user", "content": "hé"}], "temperature": 0}
    same = {"temperature": 0, "messages": [{"content": "hé", "role": "user"}], "model": "b", "user": "u", "metadata": {"x": 1}}
    path = "/v1/chat/completions"
    assert canonical("chat", path, body) == canonical("chat", path, same | {"stream_options": {"include_usage": True}})
    assert request_hash("chat", path, body) != request_hash("chat", path, body | {"temperature": 1})
    google = "/v1beta/models/a:generateContent"
    assert request_hash("google", google, {}) == request_hash("google", google.replace("/a:", "/b:"), {})
    assert request_hash("google", google, {}) != request_hash("google", google.replace("generate", "streamGenerate"), {})


def test_half_a_surrogate_pair_is_kept(tmp_path: Path) -> None:
    recording = Recording(tmp_path / "llm")
    recording.write(1, exchange(1, {"messages": ["\ud800" + "x" * 100]}))
    assert len(list(recording.read())) == 1


def test_that_the_record_is_full_is_told_once(gateway: Opening) -> None:
    open = gateway()
    open.server._app._desk._recording._most = 1500
    for number in range(4):
        open.chat(os.urandom(500).hex() + str(number))
    open.server.close()
    noted = [event for event in open.book.events if type(event).__name__ == "Noted"]
    assert len(noted) == 1 and "full" in noted[0].text
    assert open.server.ledger.calls == 4
