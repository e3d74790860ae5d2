from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from harness.files import sha256_file
from harness.spec.errors import MissingError, SpecError
from harness.taskkit.building.hub import HubData, fetch_data, read_rows

COMMIT = "0123456789" * 4


@pytest.fixture
def mirror(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "mirror" / "datasets" / "org" / "name"
    folder.mkdir(parents=True)
    (folder / "rows.jsonl").write_text('{"a": 1}\n\n{"a": 2}\n')
    monkeypatch.setenv("DOJO_HUB_MIRROR", str(tmp_path / "mirror"))
    return folder


def test_a_mirrored_data_set_is_read_where_it_lies(mirror: Path, tmp_path: Path) -> None:
    found = fetch_data(HubData("org/name", ("rows.jsonl",), "MIT"), tmp_path / "cache")
    assert read_rows(found.path("rows.jsonl")) == [{"a": 1}, {"a": 2}]
    assert found.sha256 == {"rows.jsonl": sha256_file(mirror / "rows.jsonl")} and found.revision == "mirror"


def test_a_mirrored_file_is_checked_against_its_pin(mirror: Path, tmp_path: Path) -> None:
    pinned = sha256_file(mirror / "rows.jsonl")
    fetch_data(HubData("org/name", ("rows.jsonl",), "MIT", COMMIT, {"rows.jsonl": pinned}), tmp_path)
    with pytest.raises(MissingError, match="not the pinned"):
        fetch_data(HubData("org/name", ("rows.jsonl",), "MIT", COMMIT, {"rows.jsonl": "0" * 64}), tmp_path)


def test_what_the_mirror_lacks_is_named(mirror: Path, tmp_path: Path) -> None:
    with pytest.raises(MissingError, match=r"no file other\.jsonl"):
        fetch_data(HubData("org/name", ("other.jsonl",), "MIT"), tmp_path)
    with pytest.raises(MissingError, match="datasets/org/else"):
        fetch_data(HubData("org/else", ("rows.jsonl",), "MIT"), tmp_path)


def test_without_a_pinned_commit_the_hub_is_not_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DOJO_HUB_MIRROR", raising=False)
    data = HubData("some-org/Some.Name", ("rows.jsonl",), "MIT")
    with pytest.raises(MissingError) as caught:
        fetch_data(data, tmp_path)
    assert "DOJO_REVISION_SOME_ORG_SOME_NAME" in caught.value.hint
    monkeypatch.setenv("DOJO_REVISION_SOME_ORG_SOME_NAME", "main")
    with pytest.raises(MissingError, match="'main' is none"):
        data.revision()
    monkeypatch.setenv("DOJO_REVISION_SOME_ORG_SOME_NAME", COMMIT)
    assert data.revision() == COMMIT


def test_a_hub_that_cannot_be_reached_is_a_missing_thing_with_a_way_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DOJO_HUB_MIRROR", raising=False)
    # The client reads its settings at import; a port where nobody listens works either way.
    import huggingface_hub.constants as constants

    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(MissingError, match=r"org/name/rows\.jsonl could not be fetched") as caught:
        fetch_data(HubData("org/name", ("rows.jsonl",), "MIT", COMMIT), tmp_path)
    assert "DOJO_HUB_MIRROR" in caught.value.hint
    assert not list((tmp_path / "hub").rglob("rows.jsonl"))


def test_rows_come_from_json_lines_lists_csv_and_parquet(tmp_path: Path) -> None:
    rows = [{"q": "ä", "n": 1}, {"q": "b", "n": 2}]
    (tmp_path / "a.json").write_text(json.dumps(rows), encoding="utf-8")
    (tmp_path / "a.csv").write_text("\ufeffq,n\nä,1\nb,2\n", encoding="utf-8")
    assert read_rows(tmp_path / "a.json") == rows
    assert read_rows(tmp_path / "a.csv") == [{"q": "ä", "n": "1"}, {"q": "b", "n": "2"}]
    pandas = pytest.importorskip("pandas")
    pytest.importorskip("pyarrow")
    pandas.DataFrame(rows).to_parquet(tmp_path / "a.parquet")
    assert read_rows(tmp_path / "a.parquet") == rows


def test_rows_that_do_not_parse_name_file_and_line(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"a": 1}\n{"a": \n')
    with pytest.raises(SpecError, match=r"a\.jsonl:2"):
        read_rows(tmp_path / "a.jsonl")
    (tmp_path / "a.json").write_text('{"a": 1}')
    with pytest.raises(SpecError, match="a list"):
        read_rows(tmp_path / "a.json")
    with pytest.raises(SpecError, match="xlsx"):
        read_rows(tmp_path / "a.xlsx")


# The hub client writes to disk in pieces of 10 MiB.
PIECE = 10 * 2**20
SMALL = b'{"a": 1}\n'
LARGE = b'{"a": "' + bytes([120]) * (2 * PIECE) + b'"}\n'


class HubServer(ThreadingHTTPServer):
    """The hub's way of giving files away; it stalls in the first download of the large one."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str | None]] = []
        self.stalled, self.go_on = threading.Event(), threading.Event()
        super().__init__(("127.0.0.1", 0), HubFiles)


class HubFiles(BaseHTTPRequestHandler):
    server: HubServer

    def do_HEAD(self) -> None:
        self.answer(with_body=False)

    def do_GET(self) -> None:
        if "/resolve/" in self.path:
            self.answer(with_body=True)
        else:
            self.send_error(404)

    def answer(self, *, with_body: bool) -> None:
        name = self.path.rsplit("/", 1)[-1]
        content = {"small.jsonl": SMALL, "large.jsonl": LARGE}[name]
        wanted = self.headers.get("Range")
        start = int(wanted.removeprefix("bytes=").split("-")[0]) if wanted else 0
        self.send_response(206 if start else 200)
        self.send_header("ETag", f'"{hashlib.sha256(content).hexdigest()}"')
        self.send_header("X-Repo-Commit", COMMIT)
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("Content-Length", str(len(content) - start))
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        self.end_headers()
        if not with_body:
            return
        self.server.asked.append((name, wanted))
        if name == "large.jsonl" and not self.server.stalled.is_set():
            self.wfile.write(content[: PIECE + PIECE // 2])
            self.wfile.flush()
            self.server.stalled.set()
            self.server.go_on.wait(60)
            return
        self.wfile.write(content[start:])

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[HubServer]:
    with HubServer() as found:
        threading.Thread(target=found.serve_forever, daemon=True).start()
        yield found
        found.go_on.set()
        found.shutdown()


FETCH = """
import sys
from pathlib import Path
from harness.taskkit.building.hub import HubData, fetch_data
data = HubData("org/name", ("small.jsonl", "large.jsonl"), "MIT", sys.argv[2])
print(fetch_data(data, Path(sys.argv[1]), lambda text: print(text, flush=True)).sha256)
"""


def fetching(cache: Path, server: HubServer) -> subprocess.Popen[str]:
    left_out = ("HF_HUB_OFFLINE", "DOJO_HUB_MIRROR")
    environment = {k: v for k, v in os.environ.items() if k not in left_out}
    environment |= {"HF_ENDPOINT": f"http://127.0.0.1:{server.server_port}", "HF_HUB_DISABLE_XET": "1"}
    command = [sys.executable, "-c", FETCH, str(cache), COMMIT]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_a_download_that_was_killed_is_continued_by_the_next_process(server: HubServer, tmp_path: Path) -> None:
    first = fetching(tmp_path, server)
    assert server.stalled.wait(60)
    deadline = threading.Event()
    while not (begun := [p for p in tmp_path.rglob("*.incomplete") if p.stat().st_size >= PIECE]):
        assert first.poll() is None and not deadline.wait(0.05)
    first.kill()
    first.communicate()
    held = begun[0].stat().st_size
    server.asked.clear()
    out, err = fetching(tmp_path, server).communicate(timeout=60)
    assert hashlib.sha256(LARGE).hexdigest() in out, err
    # the small file, whole already, is not asked for again
    assert server.asked == [("large.jsonl", f"bytes={held}-")]
    assert f"continuing after {held / 1e6:.1f} MB" in out
    assert [p.name for p in (tmp_path / "hub/datasets/org--name").iterdir() if "part" in p.name] == []


def test_what_arrives_otherwise_than_the_hub_has_it_is_not_kept(server: HubServer, tmp_path: Path) -> None:
    server.stalled.set()
    begun = tmp_path / "hub/datasets/org--name" / f".{COMMIT}.part-kept" / "large.jsonl.incomplete"
    begun.parent.mkdir(parents=True)
    begun.write_bytes(b"something else")
    out, err = fetching(tmp_path, server).communicate(timeout=60)
    assert out.count("fetching") == 2 and "did not arrive as the hub has it" in err
    out, err = fetching(tmp_path, server).communicate(timeout=60)
    assert hashlib.sha256(LARGE).hexdigest() in out, err
