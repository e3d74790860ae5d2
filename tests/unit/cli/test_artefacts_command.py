"""``dojo artefacts``: runs put in a place, brought back into an empty home, and freed here."""

from __future__ import annotations

import re
import shlex
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.project import bundled
from harness.store.database import SqlStore
from harness.store.kept import pack
from harness.store.run_dir import RunDir
from tests.unit.cli.conftest import BATCH, Answer

Cli = Callable[..., Answer]
PAGE = (bundled("docs") / "artefacts.md").read_text(encoding="utf-8")
COMMANDS = re.findall(r"^dojo .*?(?= *#|$)", PAGE, re.MULTILINE)
pytest.importorskip("fsspec", reason="fsspec is missing: pip install 'dojo-bench[s3]'")


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A place, and something large in each run that has ended."""
    monkeypatch.setenv("DOJO_ARTEFACTS", f"file://{tmp_path}/place")
    return tmp_path / "place"


@pytest.fixture
def ended(home: list[str], tmp_path: Path) -> list[str]:
    """The ids of the runs that have ended, each with something large."""
    for run in home[:-1]:
        folder = folder_of(tmp_path, run)
        (folder.submissions / "1").mkdir()
        (folder.submissions / "1" / "model").write_bytes(b"weights" * 100)
        (folder.private / "token").write_text("secret")
        left = tmp_path / f"left-{run}"
        left.mkdir()
        (left / "report.md").write_text("done")
        pack(left, folder.kept)
    return home[:-1]


def folder_of(tmp_path: Path, run: str) -> RunDir:
    return SqlStore(tmp_path / "results").files(run)


def test_runs_come_back_into_an_empty_home_and_into_its_lists(
    dojo_cli: Cli, ended: list[str], place: Path, tmp_path: Path
) -> None:
    pushed = dojo_cli("artefacts", "push", "--json")
    assert (
        pushed.code == 0
        and [row["run"] for row in pushed.data["runs"]] == ended
        and all(row["moved"] for row in pushed.data["runs"])
    )
    assert f"{ended[0]}: agent.st" in pushed.err or f"{ended[0]}: " in pushed.err
    shown = dojo_cli("show", ended[2], "--json").data
    assert dojo_cli("artefacts", "push").out == "nothing to do\n"
    dojo_cli("tag", ended[2], "good")
    assert [row["moved"] for row in dojo_cli("artefacts", "push", "--json").data["runs"]] == [1]
    shutil.rmtree(tmp_path / "results")
    assert [(row["there"], row["here"]) for row in dojo_cli("artefacts", "--json").data["runs"]] == [("whole", "no")] * 4
    pulled = dojo_cli("artefacts", "pull", ended[2], ended[3], "--json")
    assert pulled.code == 0 and [row["run"] for row in pulled.data["runs"]] == ended[2:]
    assert dojo_cli("reindex", "--json").data == {"batches": 1, "runs": 2, "damaged": []}
    assert dojo_cli("show", ended[2], "--json").data == shown
    assert dojo_cli("files", ended[2], "report.md").out == "done\n"
    assert folder_of(tmp_path, ended[2]).private.stat().st_mode & 0o777 == 0o700
    assert dojo_cli("artefacts", "pull", BATCH).code == 0
    assert dojo_cli("reindex", "--json").data["runs"] == 4


def test_the_list_says_what_is_where(dojo_cli: Cli, ended: list[str], home: list[str], place: Path, tmp_path: Path) -> None:
    assert dojo_cli("artefacts", "push", ended[0], ended[1]).code == 0
    (place / BATCH / f"{ended[1]}.json").unlink()
    assert dojo_cli("artefacts", "drop", ended[0]).code == 0
    rows = {row["run"]: (row["there"], row["here"]) for row in dojo_cli("artefacts", "list", "--json").data["runs"]}
    assert rows == {
        ended[0]: ("whole", "dropped"),
        ended[1]: ("cut off", "whole"),
        ended[2]: ("no", "whole"),
        ended[3]: ("no", "whole"),
    }
    assert "cut off" in dojo_cli("artefacts").out
    refused = dojo_cli("artefacts", "push", home[-1], "--json")
    assert refused.code == 2 and "has not ended" in refused.json["error"]["message"]


def test_verify_names_what_is_altered_or_missing_and_goes_on(dojo_cli: Cli, ended: list[str], place: Path) -> None:
    dojo_cli("artefacts", "push")
    assert dojo_cli("artefacts", "verify", "--json").code == 0
    objects = sorted((place / BATCH / ended[0]).iterdir())
    objects[0].write_bytes(b"altered")
    objects[1].unlink()
    (place / BATCH / f"{ended[1]}.json").write_text("{}")
    found = dojo_cli("artefacts", "verify", "--json")
    assert found.code == 4
    rows = {row["run"]: row for row in found.json["data"]["runs"]}
    assert {fault["fault"] for fault in rows[ended[0]]["faults"]} == {"altered", "missing"}
    assert rows[ended[1]]["error"]["code"] == "artefact_altered" and rows[ended[2]]["error"] is None
    assert "2 runs failed" in found.json["error"]["message"] and "--anew" in found.json["error"]["hint"]
    assert dojo_cli("artefacts", "verify", ended[0]).code == 1
    assert dojo_cli("artefacts", "push", ended[0], ended[1], "--anew").code == 0
    assert dojo_cli("artefacts", "verify").code == 0


def test_drop_frees_what_is_whole_there_and_files_fetches_it(
    dojo_cli: Cli, ended: list[str], place: Path, tmp_path: Path
) -> None:
    dojo_cli("artefacts", "push", ended[0])
    dry = dojo_cli("artefacts", "drop", "--dry-run", "--json")
    assert dry.code == 4 and folder_of(tmp_path, ended[0]).kept.exists()  # the others are not there
    assert dojo_cli("artefacts", "drop", "--older-than", "30d").out == "nothing to do\n"
    freed = dojo_cli("artefacts", "drop", ended[0], "--json").data["runs"][0]["bytes"]
    assert freed > 700 and not folder_of(tmp_path, ended[0]).kept.exists()
    assert dojo_cli("files", ended[0], "report.md").out == "done\n"
    dojo_cli("artefacts", "drop", ended[0])
    shutil.rmtree(place)
    lost = dojo_cli("files", ended[0], "--json")
    assert lost.code == 1 and lost.json["error"]["code"] == "artefact_missing"


def test_a_run_that_somebody_drives_is_left_alone(dojo_cli: Cli, ended: list[str], place: Path, tmp_path: Path) -> None:
    with SqlStore(tmp_path / "results").claim(ended[0]):
        answer = dojo_cli("artefacts", "push", ended[0], ended[1], "--json")
    assert answer.code == 4 and answer.json["data"]["runs"][0]["error"]["code"] == "busy"


@pytest.mark.parametrize("command", [("list",), ("push",), ("pull", "r1"), ("verify",), ("drop",)])
def test_without_a_place_every_command_names_the_setting(dojo_cli: Cli, home: list[str], command: tuple[str, ...]) -> None:
    answer = dojo_cli("artefacts", *command, "--json")
    assert (
        answer.code == 3 and answer.json["error"]["code"] == "no_artefacts" and "DOJO_ARTEFACTS" in answer.json["error"]["hint"]
    )


def test_names_that_mean_nothing_there_or_several_are_refused(dojo_cli: Cli, ended: list[str], place: Path) -> None:
    dojo_cli("artefacts", "push")
    assert dojo_cli("artefacts", "pull", "nosuch").code == 2
    several = dojo_cli("artefacts", "pull", "r2026", "--json")
    assert several.code == 2 and "4 ids" in several.json["error"]["message"]
    assert dojo_cli("artefacts", "pull", ended[0][:-2]).code == 0 and dojo_cli("artefacts", "verify", "@last").code == 0


def test_doctor_tries_the_place(dojo_cli: Cli, place: Path, tmp_path: Path) -> None:
    (good,) = dojo_cli("doctor", "artefacts", "--json").data["checks"]
    assert good["ok"] and "written, read and deleted" in good["detail"] and list(place.iterdir()) == []
    shutil.rmtree(place)
    place.write_text("in the way")
    answer = dojo_cli("doctor", "artefacts", "--json")
    assert answer.code == 3 and not answer.json["data"]["checks"][0]["ok"]


def test_a_submit_with_an_address_that_is_none_is_refused(
    dojo_cli: Cli, home: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOJO_ARTEFACTS", "s3://key:hidden-word@bucket")
    from harness.service import Dojo
    from harness.spec.errors import UsageError

    with pytest.raises(UsageError) as caught:
        Dojo().record(None)  # type: ignore[arg-type]
    assert "credentials" in caught.value.message and "hidden-word" not in caught.value.message


@pytest.mark.parametrize("command", COMMANDS)
def test_the_commands_of_the_page_have_the_options_that_it_gives_them(dojo_cli: Cli, command: str) -> None:
    _, *words = shlex.split(command)
    shown = dojo_cli(*words, "--help")
    assert shown.code == 0 and {word for word in words if word.startswith("--")} <= set(re.findall(r"--[a-z-]+", shown.out))


def test_the_page_names_every_command_and_every_word_for_what_is_wrong() -> None:
    assert len(COMMANDS) >= 9 and all(f"dojo artefacts {name}" in PAGE for name in ("push", "pull", "verify", "drop"))
    for word in (
        "artefact_altered",
        "artefact_missing",
        "artefacts_denied",
        "artefacts_no_bucket",
        "artefacts_unreachable",
        "changed",
    ):
        assert f"`{word}`" in PAGE
