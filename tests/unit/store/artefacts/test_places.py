"""What an address must be, and what is said where the place refuses or does not answer; never a credential."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from harness.spec.errors import DojoError, MissingError, UsageError
from harness.store.artefacts import place as places
from harness.store.artefacts.place import Place, open_place
from tests.unit.store.artefacts.conftest import KEY, SECRET, S3Server


@pytest.mark.parametrize(
    ("url", "error", "said"),
    [
        ("", MissingError, "DOJO_ARTEFACTS names no place"),
        ("bucket/prefix", UsageError, "is no address"),
        ("s3://", UsageError, "names no bucket"),
        ("s3:///prefix", UsageError, "names no bucket"),
        ("s3://bucket?versionId=1", UsageError, "is no address"),
        ("s3://[bucket", UsageError, "is no address"),
        ("file://host/folder", UsageError, "names no folder"),
        ("file:folder", UsageError, "names no folder"),
        ("nosuch://bucket", UsageError, "nothing is known that opens nosuch://"),
        ("s3://key:very-secret@bucket", UsageError, "has credentials in it"),
    ],
)
def test_an_address_that_is_none_is_refused_before_anything_is_asked(url: str, error: type[DojoError], said: str) -> None:
    with pytest.raises(error) as caught:
        open_place(url)
    assert said in caught.value.message and caught.value.hint and "very-secret" not in caught.value.message


@pytest.mark.parametrize(("package", "url"), [("fsspec", "file:///place"), ("obstore", "s3://bucket")])
def test_a_missing_package_names_its_extra(package: str, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    found = places.require

    def require(*names: str) -> None:
        if package in names:
            raise places.missing(package)
        found(*names)

    monkeypatch.setattr(places, "require", require)
    with pytest.raises(MissingError) as caught:
        open_place(url)
    assert "dojo-bench[s3]" in caught.value.hint


def test_a_place_is_written_read_and_listed(place: Place) -> None:
    assert place.listing() == {} and place.read("a/b") is None
    place.try_it()
    place.write("a/b", b"one")
    place.write("a/c/d", b"two!")
    assert place.listing("a") == {"b": 3, "c": None} and place.read("a/b") == b"one"
    assert b"".join(place.stream("a/c/d")) == b"two!"
    with pytest.raises(FileNotFoundError):
        list(place.stream("a/x"))
    place.remove("a/b")
    assert place.listing("a") == {"c": None} and place.listing() == {"a": None}


def test_a_folder_that_is_made_is_its_owners_alone(tmp_path: Path) -> None:
    pytest.importorskip("fsspec", reason="fsspec is missing: pip install 'dojo-bench[s3]'")
    open_place(f"file://{tmp_path}/deep/place").try_it()
    assert (tmp_path / "deep" / "place").stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize(
    ("variable", "value", "url", "code", "said"),
    [
        ("AWS_SECRET_ACCESS_KEY", "another-secret-0123", "s3://bucket", "artefacts_denied", "403 SignatureDoesNotMatch"),
        ("AWS_ACCESS_KEY_ID", "another-key-0123", "s3://bucket", "artefacts_denied", "403 InvalidAccessKeyId"),
        ("AWS_REGION", "us-east-1", "s3://nosuch/prefix", "artefacts_no_bucket", "no such bucket"),
        ("AWS_ENDPOINT_URL", "http://127.0.0.1:1", "s3://bucket", "artefacts_unreachable", "s3://bucket cannot be"),
    ],
)
def test_what_a_store_refuses_is_said_without_credentials(
    s3: S3Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, variable: str, value: str, url: str, code: str, said: str
) -> None:
    s3.speak_to(monkeypatch)
    monkeypatch.setenv(variable, value)
    place = open_place(url)
    (tmp_path / "file").write_text("x")
    acts = (
        place.try_it,
        place.listing,
        lambda: place.read("a"),
        lambda: list(place.stream("a")),
        lambda: place.send("a", tmp_path / "file"),
        lambda: place.remove("a"),
    )
    for act in acts[:2] if code == "artefacts_unreachable" else acts:  # which is asked for again and again
        with pytest.raises(MissingError) as caught:
            act()
        text = f"{caught.value.message} {caught.value.hint}"
        assert caught.value.code == code and said in text
        assert not any(secret in text for secret in (KEY, SECRET, value) if secret.startswith(("dojo-test", "another")))
        assert caught.value.__cause__ is None and caught.value.__suppress_context__


@pytest.mark.parametrize("act", ["try_it()", "stream('a').__next__()"])
def test_ctrl_c_is_heard_while_a_store_is_silent(act: str, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("obstore", reason="the object store's client is missing: pip install 'dojo-bench[s3]'")
    # whoever runs the tests in the background has SIGINT ignored, and so have their children
    heard = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)"
    program = f"{heard}; from harness.store.artefacts.place import open_place; open_place('s3://bucket').{act}"
    with socket.create_server(("127.0.0.1", 0)) as silent:
        S3Server.at(f"127.0.0.1:{silent.getsockname()[1]}").speak_to(monkeypatch)
        with subprocess.Popen([sys.executable, "-c", program], stderr=subprocess.PIPE) as process:
            silent.accept()[0].recv(1)
            process.send_signal(signal.SIGINT)
            # the store is given up after many minutes
            assert b"KeyboardInterrupt" in process.communicate(timeout=60)[1]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_may_not_be_written_is_said(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(MissingError) as caught:
        open_place(f"file://{tmp_path}/place").try_it()
    assert caught.value.code == "artefacts_denied"
