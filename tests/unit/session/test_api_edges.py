"""Every field of every call with every value that it is not made for: a 400 that names the field, or taken as documented."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from harness.session import dojo_tool
from harness.session.dojo_tool import Client
from tests.unit.session.test_api import World
from tests.unit.session.test_hostile_clients import TEXT, called


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    made = World(tmp_path_factory.mktemp("edges"))
    yield made
    made.close()


# field → calls that have it, what is refused, what is taken; values as they stand in the body
NUL, LONE, HUGE = '"\\u0000"', '"\\ud800"', "1" + "0" * 400
NO_TEXT = ("1", "[]", "{}", "true")
FIELDS: dict[str, tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]] = {
    "timeout_s": (
        ("exec",),
        ("0", "-0.0", "-1", "NaN", "Infinity", "-Infinity", "1e999", HUGE, '"x"', "[]", "{}"),
        ("null", "1", "0.5", "1e308", '"5"'),
    ),
    "argv": (("exec",), ("[]", '"ls"', "[1]", "[null]", "[[]]", "{}", f"[{NUL}]", "1"), ('["ls"]', f"[{LONE}]", '[""]')),
    "command": (("exec",), (*NO_TEXT, NUL), ('"ls"', LONE)),
    "stdin": (("exec",), (*NO_TEXT, "null"), ('""', NUL, LONE)),
    "cwd": (("exec",), (*NO_TEXT, NUL), ("null", '"/"', LONE)),
    "env": (
        ("exec",),
        ("1", "[]", "null", '"x"', '{"a": 1}', '{"a": null}', '{"": "x"}', '{"a=b": "x"}', f'{{"a": {NUL}}}', f'{{{NUL}: "x"}}'),
        ("{}", '{"a": ""}', f"{{{LONE}: {LONE}}}"),
    ),
    "path": (("validate", "evaluate", "submit"), (*NO_TEXT, "null", '""', NUL), ()),
    "note": (("evaluate", "submit"), (*NO_TEXT, "null"), (LONE, NUL, '""')),
    "text": (("note",), (*NO_TEXT, "null"), (LONE, NUL, '""')),
    "data": (("note",), ("NaN", "1e999", "-Infinity"), (HUGE, "null", LONE, "[" * 90 + "]" * 90)),
    "nonsense": (("exec", "validate", "evaluate", "submit", "note"), ("1", "null", LONE), ()),
}
NEEDED = {
    "exec": {"command": '"ls"'},
    "validate": {"path": '"/workspace/out"'},
    "evaluate": {"path": '"/workspace/out"'},
    "submit": {"path": '"/workspace/out"'},
    "note": {"text": '"x"'},
}
CASES = [
    (call, field, value, taken)
    for field, (calls, refused, allowed) in FIELDS.items()
    for call in calls
    for taken, values in ((False, refused), (True, allowed))
    for value in values
]


@pytest.mark.parametrize(("call", "field", "value", "taken"), CASES, ids=lambda value: str(value)[:20])
def test_a_value_is_taken_as_documented_or_refused_by_its_fields_name(
    world: World, call: str, field: str, value: str, taken: bool
) -> None:
    fields = {**({} if field == "argv" else NEEDED[call]), field: value}
    body = "{" + ", ".join(f'"{name}": {each}' for name, each in fields.items()) + "}"
    status, content = called(world, "POST", f"/v1/{call}", body.encode())
    if taken:
        assert status == 200 or (call == "evaluate" and status == 429), content  # of evaluations there are few
    else:
        error = json.loads(content)["error"]
        assert status == 400 and error["code"] == "usage" and error["message"].startswith(field), error
    assert not world.errors


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(path=TEXT | st.binary(max_size=30).map(lambda raw: raw.decode("utf-8", "surrogateescape")), key=TEXT)
def test_paths_and_keys_of_any_bytes_are_answered(world: World, path: str, key: str) -> None:
    quoted = dojo_tool._quoted(path)
    odd = "".join(char for char in key if char >= " ").encode("utf-8", "replace").decode("latin-1").replace("\x7f", "")
    for method in ("GET", "PUT"):
        status, _ = called(world, method, f"/v1/files?path={quoted}", b"" if method == "GET" else b"x", f"Idempotency-Key: {odd}")
        assert status in (200, 400)
    assert not world.errors


@pytest.mark.parametrize("name", ["\udcff", "a\ud800b", "", "\0", "x" * 5000])
def test_the_client_names_files_of_any_name_without_failing(world: World, name: str) -> None:
    with pytest.raises(dojo_tool.ApiError):
        world.client.read_file(f"/nowhere/{name}")


@pytest.fixture
def tool(world: World, monkeypatch: pytest.MonkeyPatch) -> World:
    monkeypatch.setenv("DOJO_API", f"http://127.0.0.1:{world.relay.port}")
    monkeypatch.setenv("DOJO_TOKEN", "secret")
    return world


@pytest.mark.parametrize("seconds", ["0", "-1", "nan", "-inf", "inf"])
def test_the_command_says_which_timeouts_are_refused(tool: World, capsys: pytest.CaptureFixture[str], seconds: str) -> None:
    assert dojo_tool.main(["exec", f"--timeout={seconds}", "--", "ls"]) == 1
    assert json.loads(capsys.readouterr().out)["error"]["message"].startswith("timeout_s")
    with pytest.raises(SystemExit):
        dojo_tool.main(["exec", "--help"])
    assert "more than 0" in " ".join(capsys.readouterr().out.split())


class Full(io.StringIO):
    """Standard output on a full disk."""

    def write(self, text: str) -> int:
        raise OSError(28, "No space left on device")


def test_an_answer_that_cannot_be_printed_is_a_line_and_exit_code_1(
    tool: World, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "stdout", Full())
    assert dojo_tool.main(["note", "x"]) == 1
    assert "cannot be printed: [Errno 28]" in capsys.readouterr().err


def test_an_answer_is_json_also_where_the_output_takes_ascii_alone(tool: World, monkeypatch: pytest.MonkeyPatch) -> None:
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, encoding="ascii"))
    assert dojo_tool.main(["exec", "--", "é", "\udcff"]) == 0
    assert json.loads(raw.getvalue())["stdout"] == "é �"


def test_a_fault_of_ours_is_asked_for_once(tmp_path_factory: pytest.TempPathFactory) -> None:
    world = World(tmp_path_factory.mktemp("fault"))
    try:
        calls = 0

        def broken(*_: object) -> object:
            nonlocal calls
            calls += 1
            raise LookupError("a bug")

        for name in ("task", "budget", "exec", "read_file", "write_file", "validate", "evaluate", "submit", "note"):
            setattr(world.api, name, broken)
        client: Client = world.client
        for call in (
            client.task, client.budget, lambda: client.exec("ls"), lambda: client.read_file("/x"),
            lambda: client.write_file("/x", b""),
            lambda: client.validate("/x"), lambda: client.evaluate("/x"), lambda: client.submit("/x"), lambda: client.note("x"),
        ):  # fmt: skip
            with pytest.raises(dojo_tool.ApiError) as refused:
                call()
            assert refused.value.code == "internal"
        assert calls == len(world.errors) == 9
    finally:
        world.close()
