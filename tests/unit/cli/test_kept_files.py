"""``dojo files``: a kept workspace on the command line."""

from collections.abc import Callable
from pathlib import Path

import pytest

from harness.store.kept import pack
from tests.unit.cli.conftest import BATCH, HOSTILE, Answer

Cli = Callable[..., Answer]


@pytest.fixture
def kept(home: list[str], tmp_path: Path) -> str:
    folder = tmp_path / "left"
    for name, text in {"report.md": f"# {HOSTILE}\n", ".git/config": "[core]\n", "it/loss.csv": "1"}.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    run = tmp_path / "results" / "batches" / BATCH / "runs" / home[0]
    pack(folder, run / "workspace.zip")
    (run / "workspace-left-out.txt").write_text("'model.bin' of 90 MB goes over the cap of 200 MB\n")
    return home[0]


def test_the_files_are_listed_with_their_sizes_and_what_was_not_kept(dojo_cli: Cli, kept: str) -> None:
    data = dojo_cli("files", kept, "--json").data
    assert data["files"] == [
        {"name": ".git/config", "bytes": 7}, {"name": "it/loss.csv", "bytes": 1}, {"name": "report.md", "bytes": 30},
    ]  # fmt: skip
    assert len(data["left_out"]) == 1
    text = dojo_cli("files", kept).out
    assert ".git/config" in text and "1 thing not kept" in text


def test_a_file_is_printed_without_what_would_act_on_a_terminal(dojo_cli: Cli, kept: str) -> None:
    answer = dojo_cli("files", kept, "report.md")
    assert answer.code == 0 and "plain text" in answer.out.replace("\u202e", "") and not set(answer.out) & set("\x1b\x07\u202e")
    assert dojo_cli("files", kept, "it/loss.csv").out == "1\n"
    assert dojo_cli("files", kept, "report.md", "--json").data == {"name": "report.md", "text": f"# {HOSTILE}\n"}
    missing = dojo_cli("files", kept, "report.txt", "--json")
    assert missing.code == 2 and "report.md" in missing.json["error"]["hint"]
    assert dojo_cli("files", kept, "report.md", "it/loss.csv").code == 2


def test_files_are_taken_out_byte_by_byte_hidden_ones_renamed(dojo_cli: Cli, kept: str, tmp_path: Path) -> None:
    answer = dojo_cli("files", kept, "--to", str(tmp_path / "out"))
    assert answer.code == 0 and "3 files" in answer.out and "1 name changed" in answer.out
    assert (tmp_path / "out" / "report.md").read_text() == f"# {HOSTILE}\n"
    assert (tmp_path / "out" / "dot.git" / "config").exists() and not (tmp_path / "out" / ".git").exists()
    assert dojo_cli("files", kept, "it/*", "--to", str(tmp_path / "some"), "--json").data["files"] == {
        "it/loss.csv": "it/loss.csv"
    }
    assert dojo_cli("files", kept, "--to", str(tmp_path / "out")).code == 2


def test_a_run_without_kept_files_says_so(dojo_cli: Cli, home: list[str]) -> None:
    answer = dojo_cli("files", home[1], "--json")
    assert answer.code == 3 and "when the agent has ended" in answer.json["error"]["hint"]
