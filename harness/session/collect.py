"""Taking files out of a sandbox: a hostile tar stream in, plain files and a manifest out.

Nothing is followed, nothing is executed, nothing lands outside the target. Every refusal has a code (THREATS: archive tricks).
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tarfile
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from harness.files import sha256_file
from harness.grading.submission.leftovers import hinted, left_out_at_top
from harness.sandbox.base import Sandbox, User
from harness.sandbox.execd.tarballs import LEFT_OUT, Room
from harness.spec.errors import SandboxError, StoreError, SubmissionRefused
from harness.spec.submission import Manifest, SealedFile
from harness.spec.task import Limits

MB = 1024 * 1024
# A file name longer than this is refused by common file systems (255 bytes a component, 4,096 a path).
_NAME_BYTES, _PATH_BYTES = 255, 1024


@dataclass(frozen=True)
class Caps:
    """What a collected tree may hold at most, and how long collecting it may take."""

    bytes: int
    files: int
    file_bytes: int
    seconds: float = 3600.0


# Slower than this no disk reads and writes that should hold models; a busy machine is given a minute beside it.
_SLOWEST_BYTES_S, _GRACE_S = 50 * MB, 60.0


# A full fp32 7B model is 31 GB in some ten shards; an adapter a few files. 40 GB and 2,000 files leave room for both.
SUBMISSION_CAPS = Caps(bytes=40_000 * MB, files=2_000, file_bytes=40_000 * MB)


def submission_caps(limits: Limits) -> Caps:
    """Return what a submission out of a sandbox with these limits may hold: not more than its disk, or it is made of holes."""
    most = min(SUBMISSION_CAPS.bytes, limits.disk_mb * MB)
    return Caps(bytes=most, files=SUBMISSION_CAPS.files, file_bytes=most, seconds=_GRACE_S + most / _SLOWEST_BYTES_S)


# The work an agent leaves behind for people to read: reports, journals, curves; no weights.
WORKSPACE_CAPS = Caps(bytes=200 * MB, files=5_000, file_bytes=8 * MB, seconds=60.0)


def archived(
    sandbox: Sandbox, path: str, caps: Caps, user: User = "agent", whole: bool = True, without: tuple[str, ...] = ()
) -> Iterator[bytes]:
    """Stream a directory of a sandbox to be collected, in time or not at all; what the caps refuse anyway comes by name alone.

    ``without``: patterns of names at its top that come by name alone too.

    Raises:
        SubmissionRefused: it takes too long (code ``too_slow``).
        SandboxError, OSError: as `Sandbox.archive`.
    """
    deadline = time.monotonic() + caps.seconds
    for piece in sandbox.archive(path, user=user, room=Room(caps.file_bytes, caps.bytes, without), whole=whole):
        if time.monotonic() > deadline:
            raise SubmissionRefused(
                f"it was not copied within {caps.seconds:.0f} s", hint="hand in only the model", code="too_slow"
            )
        yield piece


# Headers that only describe the next one: long names and PAX records. Names are at most a path long, records a few of that.
_EXTENSIONS = (tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK, tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE)
_EXTENSION_BYTES = 64 * 1024


class _Header(tarfile.TarInfo):
    """A header of a stranger's: the library reads what an extension or a sparse map claims into memory, however much it is."""

    def _proc_member(self, tar: tarfile.TarFile) -> tarfile.TarInfo:
        if self.type in _EXTENSIONS and self.size > _EXTENSION_BYTES:
            raise SubmissionRefused(f"a header of {self.size} bytes", hint="use short file names", code="archive")
        if self.type == tarfile.GNUTYPE_SPARSE:
            self._proc_gnusparse_10()
        return super()._proc_member(tar)  # type: ignore[misc, no-any-return]

    def _proc_gnusparse_10(self, *_: object) -> None:
        raise SubmissionRefused("a sparse file", hint="hand in regular files only", code="device")


class _SourceFailed(Exception):
    """The sandbox's side failed: what it raised goes to the caller as it is."""

    def __init__(self, error: OSError) -> None:
        self.error = error


class _Stream:
    """A read-only file over an iterator of byte pieces."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces
        self._rest = b""

    def read(self, size: int = -1) -> bytes:
        while size < 0 or len(self._rest) < size:
            try:
                piece = next(self._pieces, None)
            except OSError as exc:  # the sandbox's, not the harness's disk
                raise _SourceFailed(exc) from exc
            if piece is None:
                break
            self._rest += piece
        cut = len(self._rest) if size < 0 else size
        data, self._rest = self._rest[:cut], self._rest[cut:]
        return data


def collect(pieces: Iterable[bytes], target: Path, caps: Caps) -> Manifest:
    """Unpack the tar stream ``pieces`` into the new directory ``target``; raises as `collect_submission`."""
    return _collected(pieces, target, caps, lambda path, folder: None)


def collect_submission(pieces: Iterable[bytes], target: Path, caps: Caps) -> tuple[Manifest, list[str]]:
    """Unpack a submission's tar stream into the new directory ``target``, without what is no part of a model.

    Returns:
        The manifest of what is there, and the names at the top that were left out (folders end in ``/``).

    Raises:
        SubmissionRefused: codes ``link``, ``device``, ``path``, ``duplicate``, ``too_many_files``, ``too_large``, ``sparse``,
            ``archive``, ``empty``.
        StoreError: the harness's own disk is full (code ``disk_full``); nothing half-written is left.
    """
    left_out: set[str] = set()

    def passed(path: str, folder: bool) -> str | None:
        name = left_out_at_top(path, folder=folder)
        if name:
            left_out.add(name)
        return name

    with hinted(left_out):
        manifest = _collected(pieces, target, caps, passed)
    return manifest, sorted(left_out)


# (path in the archive, whether it is a folder) → the name for which it is passed over, or None where it is taken
_Passed = Callable[[str, bool], str | None]


def _collected(pieces: Iterable[bytes], target: Path, caps: Caps, passed: _Passed) -> Manifest:
    target.mkdir(parents=True)
    try:
        _unpack(iter(pieces), target, caps, passed)
        manifest = manifest_of(target)
        if not manifest.files:
            raise SubmissionRefused("the directory holds no file of a model", hint="write the model there first", code="empty")
        return manifest
    except _SourceFailed as exc:
        shutil.rmtree(target, ignore_errors=True)
        raise exc.error from None
    except (tarfile.TarError, RecursionError) as exc:  # headers of headers without end
        shutil.rmtree(target, ignore_errors=True)
        raise SubmissionRefused(f"the archive is broken: {exc}", hint="hand in a plain directory", code="archive") from exc
    except OSError as exc:
        shutil.rmtree(target, ignore_errors=True)
        code = "disk_full" if exc.errno in (28, 122) else "store"
        raise StoreError(
            f"collecting into {target.name} failed: {exc.strerror}", hint="free disk space, then `dojo resume`", code=code
        ) from exc
    except BaseException:
        shutil.rmtree(target, ignore_errors=True)
        raise


def collect_readable(pieces: Iterable[bytes], target: Path, caps: Caps = WORKSPACE_CAPS) -> list[str]:
    """Like `collect`, but leave out what is refused and go on; return one line for each thing left out.

    For the work an agent leaves behind: people want the reports even if a socket or a checkpoint lies beside them.
    """
    target.mkdir(parents=True)
    left_out: list[str] = []
    try:
        _unpack(iter(pieces), target, caps, lambda path, folder: None, left_out)
    except (tarfile.TarError, RecursionError, SubmissionRefused, SandboxError, _SourceFailed) as exc:
        left_out.append(f"the rest: {exc}")
    return left_out


def _unpack(pieces: Iterator[bytes], target: Path, caps: Caps, passed: _Passed, left_out: list[str] | None = None) -> None:
    files = total = entries = 0
    seen: set[str] = set()
    with tarfile.open(fileobj=_Stream(pieces), mode="r|", errorlevel=2, tarinfo=_Header) as tar:  # type: ignore[call-overload]
        for member in tar:
            tar.members = []  # the stream reader keeps every header otherwise
            entries += 1
            if entries > caps.files * 4:
                raise SubmissionRefused(f"more than {caps.files * 4} entries", hint="hand in fewer files", code="too_many_files")
            try:
                path = _checked_path(member)
                if "/" in path and passed(path, member.isdir()):
                    continue  # whatever it is: nothing below a folder that is passed over is looked at
                _require_plain(member)
                if path and passed(path, member.isdir()):
                    continue
                _require_sent(member, path, caps)
                if member.isdir():
                    if path:
                        _make_folder(target / path, path)
                    continue
                if path in seen:
                    raise SubmissionRefused(f"{path!r} occurs twice", hint="hand in a plain directory", code="duplicate")
                if member.size > caps.file_bytes or total + member.size > caps.bytes:
                    raise _too_large(path, member.size, caps)
                if files + 1 > caps.files:
                    raise SubmissionRefused(f"more than {caps.files} files", hint="hand in fewer files", code="too_many_files")
            except SubmissionRefused as exc:
                if left_out is None or exc.code == "too_many_files":
                    raise
                left_out.append(exc.message)
                continue
            seen.add(path)
            files, total = files + 1, total + member.size
            try:
                _write(tar, member, target / path)
            except SubmissionRefused as exc:
                if left_out is None:
                    raise
                left_out.append(exc.message)


def _checked_path(member: tarfile.TarInfo) -> str:
    name = member.name
    pure = PurePosixPath(name)
    shown = repr(name[:120])
    if pure.is_absolute() or ".." in pure.parts or "\\" in name or any(ord(c) < 32 or ord(c) == 127 for c in name):
        raise SubmissionRefused(f"{shown} is no plain relative path", hint="use simple file names", code="path")
    try:
        encoded = name.encode()
    except UnicodeEncodeError:
        raise SubmissionRefused(f"{shown} is not valid UTF-8", hint="use simple file names", code="path") from None
    if len(encoded) > _PATH_BYTES or any(len(part.encode()) > _NAME_BYTES for part in pure.parts):
        raise SubmissionRefused(f"{shown}… is too long", hint="use short file names", code="path")
    return "/".join(pure.parts)


def _require_plain(member: tarfile.TarInfo) -> None:
    shown = repr(member.name[:120])
    if member.issym() or member.islnk():
        raise SubmissionRefused(f"{shown} is a link", hint="copy the file itself into the directory", code="link")
    if not (member.isreg() or member.isdir()) or member.issparse():
        raise SubmissionRefused(f"{shown} is neither a file nor a directory", hint="hand in regular files only", code="device")


def _require_sent(member: tarfile.TarInfo, path: str, caps: Caps) -> None:
    reason, _, length = member.pax_headers.get(LEFT_OUT, "").partition(" ")
    if reason == "sparse":
        raise SubmissionRefused(
            f"{path!r} is mostly holes: {length[:20]} bytes long and far fewer on the disk",
            hint="write the file whole",
            code="sparse",
        )
    if reason:
        raise _too_large(path, int(length) if length.isascii() and length.isdigit() else 0, caps)


def _too_large(path: str, size: int, caps: Caps) -> SubmissionRefused:
    return SubmissionRefused(
        f"{path!r} of {size / MB:.0f} MB goes over the cap of {caps.bytes / MB:.0f} MB",
        hint="hand in only the model",
        code="too_large",
    )


def _make_folder(path: Path, name: str) -> None:
    try:
        path.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError):
        raise SubmissionRefused(
            f"{name[:120]!r} lies below a file, or is one", hint="hand in a plain directory", code="duplicate"
        ) from None


def _write(tar: tarfile.TarFile, member: tarfile.TarInfo, path: Path) -> None:
    _make_folder(path.parent, member.name)
    source = tar.extractfile(member)
    assert source is not None  # a regular file
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o644)
    except (FileExistsError, IsADirectoryError):
        raise SubmissionRefused(
            f"{member.name[:120]!r} is there as a directory", hint="hand in a plain directory", code="duplicate"
        ) from None
    with os.fdopen(descriptor, "wb") as out:
        shutil.copyfileobj(source, out, MB)
        out.flush()
        os.fsync(out.fileno())


def manifest_of(directory: Path) -> Manifest:
    """List every file under ``directory`` with size and SHA-256; the digest covers them all."""
    files = []
    for path in sorted(p for p in directory.rglob("*") if p.is_file() and not p.is_symlink()):
        files.append(SealedFile(path=path.relative_to(directory).as_posix(), size=path.stat().st_size, sha256=sha256_file(path)))
    lines = "".join(f"{f.sha256} {f.size} {f.path}\n" for f in files)
    return Manifest(digest=hashlib.sha256(lines.encode()).hexdigest(), files=tuple(files), bytes=sum(f.size for f in files))


def seal(directory: Path) -> None:
    """Make a collected directory read-only."""
    for path in [*directory.rglob("*"), directory]:
        path.chmod(0o555 if path.is_dir() else 0o444)


def unseal_and_remove(directory: Path) -> None:
    """Remove a directory, sealed or not; fine if it is not there."""
    if directory.exists():
        for path in [directory, *directory.rglob("*")]:
            if path.is_dir() and not path.is_symlink():
                path.chmod(0o755)
        shutil.rmtree(directory)
