"""Wheels are fetched without pip: from a real small index over HTTP, from folders, held against their hash whatever answers."""

from __future__ import annotations

import base64
import hashlib
import http.server
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import pytest

from harness.spec.errors import MissingError
from harness.wheels import client, settings
from harness.wheels.client import fetch_wheel
from harness.wheels.settings import Sources, sources

NAME = "some_pkg-1.2-py3-none-any.whl"
CONTENT = b"the wheel's bytes"
SHA = hashlib.sha256(CONTENT).hexdigest()


class Index(http.server.BaseHTTPRequestHandler):
    """An index; what it answers is set by the test."""

    pages: ClassVar[dict[str, tuple[str, bytes]]] = {}
    asked: ClassVar[list[tuple[str, str | None]]] = []
    failures: ClassVar[list[int]] = []

    def do_GET(self) -> None:
        self.asked.append((self.path, self.headers.get("Authorization")))
        if self.failures:
            self.send_error(self.failures.pop(0))
            return
        if self.path not in self.pages:
            self.send_error(404)
            return
        kind, body = self.pages[self.path]
        if kind == "moved":
            self.send_response(302)
            self.send_header("Location", body.decode())
            self.end_headers()
            return
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Keep the test's output clean."""


@pytest.fixture
def index(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setattr(Index, "pages", {})
    monkeypatch.setattr(Index, "asked", [])
    monkeypatch.setattr(Index, "failures", [])
    monkeypatch.setattr(client, "_by_pip", lambda *_: None)
    monkeypatch.setattr(client, "_PAUSE_S", 0.0)
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Index)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()


def offer(sha: str | None = SHA, content: bytes = CONTENT, name: str = NAME) -> None:
    files = [{"filename": name, "url": f"../../files/{name}", "hashes": {"sha256": sha} if sha else {}}]
    page = json.dumps({"files": files, "meta": {"api-version": "1.0"}}).encode()
    Index.pages["/simple/some-pkg/"] = ("application/vnd.pypi.simple.v1+json", page)
    Index.pages[f"/files/{name}"] = ("application/octet-stream", content)


def at(address: str, *links: str) -> Sources:
    return Sources(links, (f"{address}/simple",))


def test_an_index_that_speaks_json_gives_the_wheel(index: str, tmp_path: Path) -> None:
    offer()
    found = fetch_wheel("Some.Pkg", "1.2", SHA, tmp_path, at(index))
    assert found.read_bytes() == CONTENT and [p.name for p in tmp_path.iterdir()] == [NAME]


def test_an_index_of_plain_pages_does_too_and_redirects_are_followed(index: str, tmp_path: Path) -> None:
    page = f'<!DOCTYPE html><a href="/files/{NAME}#sha256={SHA}">{NAME}</a><a>no link</a>'
    Index.pages |= {
        "/simple/some-pkg/": ("moved", b"/elsewhere/some-pkg/"),
        "/elsewhere/some-pkg/": ("text/html", page.encode()),
        f"/files/{NAME}": ("application/octet-stream", CONTENT),
    }
    assert fetch_wheel("some-pkg", "1.2", SHA, tmp_path, at(index)).read_bytes() == CONTENT


@pytest.mark.parametrize("said", ["0" * 64, None, SHA])
def test_another_content_is_never_left_there(said: str | None, index: str, tmp_path: Path) -> None:
    offer(said, b"something else")
    with pytest.raises(MissingError, match="is not the pinned") as caught:
        fetch_wheel("some-pkg", "1.2", SHA, tmp_path, at(index))
    assert caught.value.code == "wrong_content" and "do not use it" in caught.value.hint
    assert list(tmp_path.iterdir()) == []


def test_the_next_source_is_asked_where_one_has_another_file_or_none(index: str, tmp_path: Path) -> None:
    offer("0" * 64)
    links = tmp_path / "links"
    links.mkdir()
    (links / NAME).write_bytes(b"an older build")
    mirror = tmp_path / "mirror" / "some-pkg"
    mirror.mkdir(parents=True)
    (mirror / NAME).write_bytes(CONTENT)
    where = Sources((str(links),), (f"{index}/simple", f"{index}/nothing", mirror.parent.as_uri()))
    target = tmp_path / "target"
    target.mkdir()
    assert fetch_wheel("some-pkg", "1.2", SHA, target, where).read_bytes() == CONTENT


def test_a_stumbling_index_is_asked_again_and_one_that_says_no_is_not(index: str, tmp_path: Path) -> None:
    offer()
    Index.failures += [503, 502]
    assert fetch_wheel("some-pkg", "1.2", SHA, tmp_path, at(index)).name == NAME
    Index.asked.clear()
    with pytest.raises(MissingError, match="HTTP 404") as caught:
        fetch_wheel("other", "1", SHA, tmp_path, at(index))
    assert len(Index.asked) == 1 and "PIP_INDEX_URL" in caught.value.hint


def test_a_password_in_the_address_is_sent_to_that_host_alone_and_never_shown(index: str, tmp_path: Path) -> None:
    offer()
    with_password = index.replace("//", "//me:s%40crt@")
    fetch_wheel("some-pkg", "1.2", SHA, tmp_path, at(with_password))
    assert Index.asked[0][1] == "Basic " + base64.b64encode(b"me:s@crt").decode()
    Index.pages["/simple/some-pkg/"] = ("moved", index.replace("127.0.0.1", "localhost").encode() + b"/x/")
    Index.asked.clear()
    with pytest.raises(MissingError) as caught:
        fetch_wheel("some-pkg", "1.2", SHA, tmp_path, at(with_password))
    assert [sent for path, sent in Index.asked if path == "/x/"] == [None]
    assert "crt" not in caught.value.message


def test_nothing_that_answers_names_every_place_that_was_asked(index: str, tmp_path: Path) -> None:
    with pytest.raises(MissingError) as caught:
        fetch_wheel("some-pkg", "1.2", SHA, tmp_path, Sources((str(tmp_path / "gone"),), ("http://127.0.0.1:9/simple",)))
    assert "gone" in caught.value.message and "127.0.0.1:9" in caught.value.message


def test_certificates_that_are_none_are_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(MissingError, match="holds no certificates"):
        fetch_wheel("a", "1", SHA, tmp_path, Sources((), ("https://127.0.0.1:9/simple",), tmp_path / "gone.pem"))


def test_what_pip_brings_is_held_against_the_same_hash(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With no index of ours that answers, the real pip is asked: it finds the wheel in a folder."""
    links = tmp_path / "links"
    links.mkdir()
    (links / NAME).write_bytes(CONTENT)  # pip looks at names alone until it unpacks
    monkeypatch.setenv("PIP_FIND_LINKS", str(links))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    (tmp_path / "target").mkdir()
    with pytest.raises(MissingError, match="pip"):
        fetch_wheel("some-pkg", "1.2", SHA, tmp_path / "target", Sources((), ()))
    assert list((tmp_path / "target").iterdir()) == []


def test_settings_are_read_as_pip_and_uv_have_them(tmp_path: Path) -> None:
    (tmp_path / ".config" / "pip").mkdir(parents=True)
    (tmp_path / ".config" / "pip" / "pip.conf").write_text(
        "[global]\nindex-url = https://a.example/simple/\nfind_links =\n    /one\n    /two\n[download]\ncert = /ca.pem\n"
    )
    env = {"HOME": str(tmp_path), "XDG_CONFIG_DIRS": str(tmp_path / "none")}
    found = sources(env)
    assert (found.links, found.certificates) == (("/one", "/two"), Path("/ca.pem"))
    assert found.indexes[0] == "https://a.example/simple"
    over = sources(
        env | {"PIP_INDEX_URL": "https://b.example/s", "PIP_EXTRA_INDEX_URL": "https://c.example/s https://b.example/s"}
    )
    assert over.indexes == ("https://b.example/s", "https://c.example/s")
    bare = {"HOME": str(tmp_path), "PIP_CONFIG_FILE": "/dev/null"}
    assert sources(bare) == Sources((), (settings.DEFAULT_INDEX,), None)
    assert sources(bare | {"UV_INDEX_URL": "https://u.example/s", "UV_INDEX": "torch=https://t.example/s"}).indexes == (
        "https://u.example/s",
        "https://t.example/s",
    )
    assert sources(bare | {"PIP_NO_INDEX": "1"}).indexes == ()
    assert sources(bare | {"SSL_CERT_FILE": "/s", "REQUESTS_CA_BUNDLE": "/r"}).certificates == Path("/r")
