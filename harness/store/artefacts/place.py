"""The place that ``DOJO_ARTEFACTS`` names, read here alone: objects by key, and errors that say what to do."""

from __future__ import annotations

import os
import re
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

from harness.extras import missing, require
from harness.spec.errors import DojoError, MissingError, StoreError, UsageError
from harness.store.artefacts.files import Bucket, Files, FileSystem

SETTING = "DOJO_ARTEFACTS"
_FORM = f"{SETTING} is an address as s3://bucket/prefix or file:///path"
# In what a store says of a refusal.
_CODE, _STATUS, _NO_BUCKET = re.compile(r"<Code>(\w{1,80})</Code>"), re.compile(r"status code: (\d{3})"), "NoSuchBucket"
_SECRETS = ("AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_ACCESS_KEY_ID")


def open_place(url: str, environment: Mapping[str, str] = os.environ) -> Place:
    """Open the place that an address names; nothing is asked of it yet.

    Raises:
        UsageError: the address is none, names no bucket, or has credentials in it; or no file system is known by its scheme.
        MissingError: it is empty (code ``no_artefacts``), or what its scheme needs is not installed (names the extra).
    """
    if not url:
        raise MissingError(f"{SETTING} names no place", hint=f"set {SETTING}=s3://bucket/prefix", code="no_artefacts")
    try:
        parts = urlsplit(url)
        named = parts.username or parts.password
    except ValueError:
        raise UsageError(f"{SETTING} is no address", hint=_FORM) from None
    if named:  # never said again
        raise UsageError(f"{SETTING} has credentials in it", hint="put them into AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY")
    if not parts.scheme or parts.query or parts.fragment:
        raise UsageError(f"{SETTING}={url!r} is no address", hint=_FORM)
    if parts.scheme == "file" and (parts.netloc or not parts.path.startswith("/")):
        raise UsageError(f"{SETTING}={url!r} names no folder", hint="write file:// and an absolute path: file:///srv/artefacts")
    if parts.scheme == "s3" and not parts.netloc:
        raise UsageError(f"{SETTING}={url!r} names no bucket", hint="write s3://bucket/prefix")
    url = url.rstrip("/")
    if parts.scheme == "s3":
        require("obstore")
        return Place(url, Bucket(parts.netloc, parts.path.strip("/"), environment))
    require("fsspec")
    return Place(url, _file_system(parts.scheme, url))


def _file_system(scheme: str, url: str) -> Files:
    try:
        return FileSystem(scheme, url.partition("://")[2])
    except ImportError as exc:
        raise missing(exc.name) if exc.name else MissingError(f"{SETTING}={url!r}: {exc}", hint="install what it names") from exc
    except ValueError:
        raise UsageError(f"{SETTING}={url!r}: nothing is known that opens {scheme}://", hint=_FORM) from None


def folder_of(url: str) -> Path | None:
    """Return the folder of this machine that an address names; None where it names none."""
    return Path(urlsplit(url).path) if url.startswith("file:///") else None


class Place:
    """Objects by key below one address. Thread-safe; every call raises `MissingError` where the place does not answer or refuses.

    Args:
        url: the address, without credentials.
        files: the way there.
    """

    def __init__(self, url: str, files: Files) -> None:
        self.url, self._files = url, files

    @property
    def here(self) -> bool:
        """Whether it is a folder of this machine."""
        return self.url.startswith("file:")

    def read(self, key: str) -> bytes | None:
        """Return a small object; None where there is none."""
        with self._asking("read"):
            try:
                return self._files.read(key)
            except FileNotFoundError as exc:
                if _NO_BUCKET in str(exc):
                    raise
                return None

    def write(self, key: str, data: bytes) -> None:
        """Write a small object in one step."""
        with self._asking("written"):
            self._files.write(key, data)

    def send(self, key: str, source: Path) -> None:
        """Write a file in one step, streamed.

        Raises:
            FileNotFoundError: the file is not there.
        """
        with self._asking("written"):
            self._files.send(key, source)

    def stream(self, key: str) -> Iterator[bytes]:
        """Yield an object in pieces.

        Raises:
            FileNotFoundError: there is none.
        """
        with self._asking("read"):
            yield from self._files.stream(key)

    def remove(self, key: str) -> None:
        """Delete an object that is there."""
        with self._asking("written"):
            self._files.remove(key)

    def listing(self, folder: str = "") -> dict[str, int | None]:
        """Return what lies directly in a folder: name → size in bytes, None for a folder; nothing where there is none."""
        with self._asking("listed"):
            return {name: size for name, size in self._files.listing(folder).items() if not name.startswith(".")}

    def try_it(self) -> None:
        """Write, read and delete a small object.

        Raises:
            StoreError: what was read is not what was written (code ``artefact_altered``).
        """
        key, data = f".dojo-check-{secrets.token_hex(6)}", secrets.token_bytes(32)
        self.write(key, data)
        try:
            if self.read(key) != data:
                raise StoreError(f"{self.url} does not give back what was written", hint="look into it", code="artefact_altered")
        finally:
            self.remove(key)

    @contextmanager
    def _asking(self, what: str) -> Iterator[None]:
        try:
            yield
        except DojoError:
            raise
        except Exception as exc:
            if isinstance(exc, FileNotFoundError) and _NO_BUCKET not in str(exc):
                raise
            raise self._refusal(exc, what) from None  # what it was made of may quote a request

    def _refusal(self, exc: Exception, what: str) -> MissingError:
        text = str(exc)
        code, status = _CODE.search(text), _STATUS.search(text)
        said = " ".join(found[1] for found in (status, code) if found) or _without_secrets(_gist(text))
        if code and code[1] == _NO_BUCKET:
            return MissingError(
                f"{self.url}: there is no such bucket", hint="make the bucket, or name another", code="artefacts_no_bucket"
            )
        if isinstance(exc, PermissionError) or (status and status[1] in ("401", "403")):
            return MissingError(
                f"{self.url} may not be {what}: {said}",
                hint="AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY are to be of somebody who may read, write, list and delete"
                if not self.here
                else "give yourself the rights to that folder",
                code="artefacts_denied",
            )
        if "169.254." in text or "credential" in text.lower():
            return MissingError(
                f"no credentials for {self.url}", hint="set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY", code="artefacts_denied"
            )
        return MissingError(
            f"{self.url} cannot be {what}: {said or type(exc).__name__}",
            hint="is it up, and do AWS_ENDPOINT_URL and AWS_REGION name it?" if not self.here else "look at its disk",
            code="artefacts_unreachable",
        )


def _gist(text: str) -> str:
    """Return the end of the first line: before it stands which request was tried how often."""
    return text.strip().partition("\n")[0].rpartition(" - ")[2][:300]


def _without_secrets(text: str) -> str:
    for name in _SECRETS:
        if (value := os.environ.get(name)) and len(value) > 3:
            text = text.replace(value, f"${name}")
    return text
