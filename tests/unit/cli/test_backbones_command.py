"""``dojo backbones`` and ``dojo backbone answer``."""

import io
import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from harness.spec import EventKind, RunState
from harness.spec.backbone import BackboneRef
from harness.spec.event import payload_of
from harness.store.database import SqlStore
from tests.unit.cli.conftest import Answer, spec_of

Cli = Callable[..., Answer]


@pytest.fixture
def asking(tmp_path: Path) -> tuple[str, Path]:
    """A run whose agent waits for two answers by hand: its id and the folder of its talk."""
    store = SqlStore(tmp_path / "results")
    spec = spec_of(9, "base", 0).model_copy(update={"batch": "b20260102-000000-aaaaa"})
    spec = spec.model_copy(update={"backbone": BackboneRef(name="manual", upstream="manual", model="manual")})
    run = store.run_dir(spec.batch, spec.id)
    type(run).create(run.path, spec)
    store.add_batch(spec.batch, "", [spec], {})
    for state in ("preparing", "running"):
        run.append(payload_of(EventKind.STATE, {"state": state}))
    store.record_state(spec.id, RunState.RUNNING)
    store.close()
    for name in ("pending", "answers"):
        (run.talk / name).mkdir(parents=True)
    for call in (2, 10):
        told = {"call": call, "time": datetime.now(UTC).isoformat(), "format": "chat", "model": "manual", "max_output": None}
        told |= {"messages": [{"role": "user", "text": f"question {call}"}], "tools": []}
        (run.talk / "pending" / f"{call}.json").write_text(json.dumps(told))
    return spec.id, run.talk


def answered(talk: Path, call: int) -> Any:
    return json.loads((talk / "answers" / f"{call}.json").read_text())


def test_backbones_are_listed_with_where_they_come_from(dojo_cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "dojo.toml").write_text('[backbones.house]\nupstream = "openai"\nmodel = "h"\nbase_url = "http://127.0.0.1:1"\n')
    listed = {each["name"]: each["origin"] for each in dojo_cli("backbones", "--json").data["backbones"]}
    assert (listed["house"], listed["manual"], next(iter(listed))) == ("dojo.toml", "built in", "house")
    assert "house" in dojo_cli("backbones", "list").out


def test_check_says_by_its_exit_code_what_is_wrong(dojo_cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    (tmp_path / "good.toml").write_text('last = "ok"')
    (tmp_path / "bad.toml").write_text("last = { status = 500 }")
    good = dojo_cli("backbones", "check", "scripted:good.toml", "--json")
    assert good.code == 0 and good.data["backbones"][0]["state"] == "ok"
    assert dojo_cli("backbones", "check", "scripted:bad.toml").code == 1
    assert dojo_cli("backbones", "check", "scripted:bad.toml", "scripted:none.toml").code == 3
    missing = dojo_cli("backbones", "check", "openai", "--json")
    assert missing.code == 3 and "OPENAI_API_KEY" in missing.out
    assert dojo_cli("backbones", "check").code == 2


@pytest.mark.parametrize(
    ("options", "reply"),
    [
        (("--text", "Rest."), {"text": "Rest."}),
        (("--shell", "ls"), {"shell": "ls"}),
        (("--tool", 'look={"at": 1}'), {"tools": [{"name": "look", "arguments": {"at": 1}}]}),
        (("--file", "reply.json"), {"text": "filed"}),
    ],
)
def test_the_call_that_waited_longest_is_answered(
    dojo_cli: Cli, asking: tuple[str, Path], tmp_path: Path, options: tuple[str, ...], reply: Any
) -> None:
    (tmp_path / "reply.json").write_text('{"text": "filed"}')
    answer = dojo_cli("backbone", "answer", asking[0], *options, "--json")
    assert answer.data == {"run": asking[0], "answered": 2} and answered(asking[1], 2) == reply


def test_questions_are_shown_with_what_was_wrong_with_the_last_answer(dojo_cli: Cli, asking: tuple[str, Path]) -> None:
    (asking[1] / "answers" / "2.error").write_text("no reply at all")
    shown = dojo_cli("backbone", "answer", asking[0])
    assert shown.code == 0 and "question 10" in shown.out and "the last answer was none: no reply at all" in shown.out
    dojo_cli("backbone", "answer", asking[0], "--text", "Rest.")
    assert not (asking[1] / "answers" / "2.error").exists()


def test_follow_takes_good_lines_and_tells_bad_ones(
    dojo_cli: Cli, asking: tuple[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = ["no json", "[" * 100_000, '{"call": 10, "txt": "a"}', '{"call": 99, "text": "a"}', '{"call": 10, "text": "ten"}']
    monkeypatch.setattr("sys.stdin", io.StringIO("\n".join([*lines, '{"text": "two"}'])))
    told = dojo_cli("backbone", "answer", asking[0], "--follow")
    said = [json.loads(line) for line in told.out.splitlines()]
    assert told.code == 0 and [each["call"] for each in said if "messages" in each] == [2, 10]
    assert [each.get("call") for each in said if "messages" not in each] == [None, None, 10, 99]
    assert (answered(asking[1], 2), answered(asking[1], 10)) == ({"text": "two"}, {"text": "ten"})


def test_a_run_that_is_not_answered_by_hand_says_so(dojo_cli: Cli, home: list[str]) -> None:
    answer = dojo_cli("backbone", "answer", home[0])
    assert answer.code == 2 and "is not answered by hand: it has no backbone" in answer.err
