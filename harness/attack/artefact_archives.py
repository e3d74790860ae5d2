"""Attacks with hostile archives, given to the code that takes submissions in (row 18)."""

from __future__ import annotations

import contextlib
import io
import os
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path

from harness.attack.base import Attack, NotStopped, Where, stopped
from harness.attack.ground import Ground
from harness.session.collect import SUBMISSION_CAPS, Caps, collect
from harness.spec.errors import SubmissionRefused

_MARK = b"dojo-attack-secret"
_CAPS = Caps(bytes=1_000_000, files=50, file_bytes=500_000)

Build = Callable[[tarfile.TarFile, Path], None]
"""Adds hostile entries to an archive; the folder is the one outside that must stay as it is."""


def _file(tar: tarfile.TarFile, name: str, data: bytes = b"x", kind: bytes = tarfile.REGTYPE, link: str = "") -> None:
    info = tarfile.TarInfo(name)
    info.size, info.type, info.linkname = (len(data) if kind == tarfile.REGTYPE else 0), kind, link
    tar.addfile(info, io.BytesIO(data) if kind == tarfile.REGTYPE else None)


def _link_then_write(tar: tarfile.TarFile, outside: Path) -> None:
    _file(tar, "way", kind=tarfile.SYMTYPE, link=str(outside))
    _file(tar, "way/planted", b"planted")


def _hard_link(tar: tarfile.TarFile, outside: Path) -> None:
    _file(tar, "config.json", kind=tarfile.LNKTYPE, link=str(outside / "secret"))


def _many(tar: tarfile.TarFile, outside: Path) -> None:
    for number in range(_CAPS.files + 1):
        _file(tar, f"f{number}", b"")


def _many_folders(tar: tarfile.TarFile, outside: Path) -> None:
    for number in range(_CAPS.files * 4 + 1):
        _file(tar, f"d{number}", kind=tarfile.DIRTYPE)


def _twice(tar: tarfile.TarFile, outside: Path) -> None:
    _file(tar, "a", b"good")
    _file(tar, "a", b"evil")


def _twice_spelt_differently(tar: tarfile.TarFile, outside: Path) -> None:
    _file(tar, "a", b"good")
    _file(tar, "./a", b"evil")


def _below_a_file(tar: tarfile.TarFile, outside: Path) -> None:
    _file(tar, "a")
    _file(tar, "a/b")


def _in_place_of_a_folder(tar: tarfile.TarFile, outside: Path) -> None:
    _file(tar, "a", kind=tarfile.DIRTYPE)
    _file(tar, "a")


def _in_place_of_a_file(tar: tarfile.TarFile, outside: Path) -> None:
    _file(tar, "a")
    _file(tar, "a", kind=tarfile.DIRTYPE)


def _too_much_together(tar: tarfile.TarFile, outside: Path) -> None:
    for number in range(3):
        _file(tar, f"b{number}", bytes(400_000))


# what → (the code it must be refused with, how it is made)
HOSTILE: dict[str, tuple[set[str], Build]] = {
    "a symbolic link to a file of the host": (
        {"link"}, lambda tar, out: _file(tar, "config.json", kind=tarfile.SYMTYPE, link=str(out / "secret")),
    ),
    "a link to a folder, then a file through it": ({"link"}, _link_then_write),
    "a hard link to a file of the host": ({"link"}, _hard_link),
    "a path with ..": ({"path"}, lambda tar, out: _file(tar, f"../{out.name}/planted", b"planted")),
    "an absolute path": ({"path"}, lambda tar, out: _file(tar, str(out / "planted"), b"planted")),
    "a path with .. behind a folder": ({"path"}, lambda tar, out: _file(tar, f"a/b/../../../{out.name}/planted", b"planted")),
    "a character device": ({"device"}, lambda tar, out: _file(tar, "null", kind=tarfile.CHRTYPE)),
    "a block device": ({"device"}, lambda tar, out: _file(tar, "disk", kind=tarfile.BLKTYPE)),
    "a pipe": ({"device"}, lambda tar, out: _file(tar, "pipe", kind=tarfile.FIFOTYPE)),
    "a name with control characters": ({"path"}, lambda tar, out: _file(tar, "a\x1b[2Jb.json")),
    "a name of 300 bytes": ({"path"}, lambda tar, out: _file(tar, "n" * 300)),
    "a path of 2,000 bytes": ({"path"}, lambda tar, out: _file(tar, "/".join(["p" * 100] * 20))),
    "the same file twice": ({"duplicate"}, _twice),
    "the same file twice, spelt differently": ({"duplicate"}, _twice_spelt_differently),
    "a file, then a file below it": ({"duplicate"}, _below_a_file),
    "a folder, then a file in its place": ({"duplicate"}, _in_place_of_a_folder),
    "a file, then a folder in its place": ({"duplicate"}, _in_place_of_a_file),
    "a file called .": ({"duplicate", "path"}, lambda tar, out: _file(tar, ".")),
    "more files than allowed": ({"too_many_files"}, _many),
    "more folders than allowed": ({"too_many_files"}, _many_folders),
    "a file above the cap": ({"too_large"}, lambda tar, out: _file(tar, "big", bytes(_CAPS.file_bytes + 1))),
    "files above the cap together": ({"too_large"}, _too_much_together),
}  # fmt: skip


def _archive(build: Build, outside: Path) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as tar:
        _file(tar, "first.txt", b"harmless")
        build(tar, outside)
    return buffer.getvalue()


def _huge_claim() -> Iterator[bytes]:
    """A header that claims a terabyte, then zeros for as long as somebody reads."""
    info = tarfile.TarInfo("model.safetensors")
    info.size = 1 << 40
    yield info.tobuf(tarfile.GNU_FORMAT)
    while True:
        yield bytes(1 << 20)


def _huge_header(kind: bytes) -> Iterator[bytes]:
    """A header about the next header that claims a terabyte; a reader that believes it keeps all of it in memory."""
    info = tarfile.TarInfo("long")
    info.type, info.size = kind, 1 << 40
    yield info.tobuf(tarfile.GNU_FORMAT)
    for _ in range(200):
        yield bytes(1 << 20)
    raise NotStopped("200 MB of a header were read into memory, and it would go on")


def _endless_headers(kind: bytes) -> Iterator[bytes]:
    """Headers about headers, none of them about a file."""
    data = b"12 path=abc\n"
    info = tarfile.TarInfo("long")
    info.type, info.size = kind, len(data)
    for _ in range(20_000):
        yield info.tobuf(tarfile.GNU_FORMAT) + data.ljust(512, b"\0")


def _sparse_map() -> Iterator[bytes]:
    """An old sparse header whose map goes on without end."""
    info = tarfile.TarInfo("model.safetensors")
    info.type = tarfile.GNUTYPE_SPARSE
    header = bytearray(info.tobuf(tarfile.GNU_FORMAT))
    header[482] = 1  # the map goes on in the next block
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    yield bytes(header)
    block = (b"%011o\0" % 1) * 42 + b"\1" + bytes(7)
    for _ in range(4096):
        yield block * 64
    raise NotStopped("128 MB of a sparse map were read into memory, and it would go on")


def _sparse_claim() -> bytes:
    """A sparse file of a terabyte in a few hundred bytes of archive."""
    info = tarfile.TarInfo("model.safetensors")
    info.pax_headers = {"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.realsize": str(1 << 40),
                        "GNU.sparse.name": "model.safetensors"}  # fmt: skip
    data = b"1\n0\n0\n".ljust(512, b"\0")
    info.size = len(data)
    return info.tobuf(tarfile.PAX_FORMAT) + data + bytes(1024)


def _outside(ground: Ground) -> tuple[Path, Path]:
    """Return a folder to collect into and one beside it that must stay as it is."""
    folder = ground.folder()
    outside = folder / "outside"
    outside.mkdir()
    (outside / "secret").write_bytes(_MARK)
    return folder / "taken", outside


def _refused(what: str, codes: set[str], pieces: Iterator[bytes], ground_folder: Path, outside: Path, caps: Caps) -> None:
    try:
        collect(pieces, ground_folder, caps)
    except SubmissionRefused as exc:
        stopped(exc.code in codes, f"{what}: refused as {exc.code}, not as {' or '.join(sorted(codes))}")
    else:
        raise NotStopped(f"{what} was taken in")
    stopped(not ground_folder.exists(), f"{what}: something of it was left in {ground_folder.name}")
    left = sorted(path.name for path in outside.iterdir())
    stopped(left == ["secret"] and (outside / "secret").stat().st_nlink == 1, f"{what}: outside there is {left}")


def _hostile_archives(ground: Ground) -> str:
    for what, (codes, build) in HOSTILE.items():
        taken, outside = _outside(ground)
        _refused(what, codes, iter([_archive(build, outside)]), taken, outside, _CAPS)
    return f"{len(HOSTILE)} archives were refused, each with its code; nothing outside was touched, nothing inside was left"


def _bombs(ground: Ground) -> str:
    taken, outside = _outside(ground)
    _refused("a terabyte that never ends", {"too_large"}, _huge_claim(), taken, outside, SUBMISSION_CAPS)
    _refused("a sparse terabyte", {"device", "too_large"}, iter([_sparse_claim()]), taken, outside, SUBMISSION_CAPS)
    whole = _archive(lambda tar, out: _file(tar, "weights", bytes(100_000)), outside)
    _refused("an archive that breaks off", {"archive"}, iter([whole[:50_000]]), taken, outside, _CAPS)
    for kind in (tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK, tarfile.XHDTYPE, tarfile.XGLTYPE):
        _refused("a header of a terabyte", {"archive"}, _huge_header(kind), taken, outside, SUBMISSION_CAPS)
        _refused("headers without end", {"archive"}, _endless_headers(kind), taken, outside, SUBMISSION_CAPS)
    _refused("a sparse map without end", {"device"}, _sparse_map(), taken, outside, SUBMISSION_CAPS)
    return "a terabyte that never ends, in a file or a header, sparse ones and a broken archive were refused by what they claim"


class _Pieces(io.RawIOBase):
    """A file over pieces of bytes."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces

    def readable(self) -> bool:
        """It is for reading."""
        return True

    def read(self, size: int = -1) -> bytes:
        """Return the next piece, whatever its size."""
        return next(self._pieces, b"")


def _believing_reader(ground: Ground) -> str:
    """What believes a header takes all that it claims into memory."""
    with tarfile.open(fileobj=_Pieces(_huge_header(tarfile.XHDTYPE)), mode="r|") as tar:
        tar.next()
    return "the header was not read"


def _trusting_extract(ground: Ground) -> str:
    """What unpacks an archive without checks follows its links and leaves its folder."""
    taken, outside = _outside(ground)
    for what in ("a link to a folder, then a file through it", "a path with .."):
        with tarfile.open(fileobj=io.BytesIO(_archive(HOSTILE[what][1], outside))) as tar, contextlib.suppress(OSError):
            tar.extractall(taken, filter="fully_trusted")
    stopped(not (outside / "planted").exists(), "a file outside was planted")
    return "nothing was planted"


_ALONE = "rm -rf one; mkdir one; cp handed/config.json one; mv handed/{name} one"


def _hostile_folder(ground: Ground) -> str:
    """The same from inside: an agent makes links, pipes and sockets in what it hands in."""
    made = (
        "mkdir -p handed && cd handed && echo '{}' > config.json && ln -s /etc/passwd model.safetensors && "
        "ln config.json hard && mkfifo pipe && python3 -c 'import socket; socket.socket(socket.AF_UNIX).bind(\"sock\")'"
    )
    taken, outside = _outside(ground)
    with ground.stage.new() as sandbox:
        result = sandbox.exec(["sh", "-c", made], timeout_s=60)
        stopped(result.ok, f"the folder could not be made: {result}")
        _refused("a folder with links, a pipe and a socket", {"link", "device"}, sandbox.archive("handed"), taken, outside, _CAPS)
        for name in ("model.safetensors", "pipe"):
            sandbox.exec(["sh", "-c", _ALONE.format(name=name)], timeout_s=60)
            _refused(f"a folder with {name}", {"link", "device"}, sandbox.archive("one"), taken, outside, _CAPS)
        # an archive has no word for a socket: it stays behind
        sandbox.exec(["sh", "-c", _ALONE.format(name="sock")], timeout_s=60)
        manifest = collect(sandbox.archive("one"), taken, _CAPS)
        stopped([f.path for f in manifest.files] == ["config.json"], f"with a socket: {manifest.files}")
    return "links and a pipe of an agent's making were refused one by one, a socket stayed behind"


def _plain_folder(ground: Ground) -> str:
    """An honest folder on the same way is taken in."""
    taken, _ = _outside(ground)
    with ground.stage.new() as sandbox:
        sandbox.exec(["sh", "-c", "mkdir handed && echo '{}' > handed/config.json"], timeout_s=60)
        manifest = collect(sandbox.archive("handed"), taken, _CAPS)
    stopped(not manifest.files, f"taken in: {os.listdir(taken)}")
    return "refused"


ATTACKS = (
    Attack(
        18, "hands-in-hostile-archives", Where.ARTEFACT,
        "hand in links, devices, pipes, `..`, absolute, doubled, long and control-character names, too many, too large",
        "the collector checks each entry before it writes and follows nothing",
        _hostile_archives, _trusting_extract,
    ),
    Attack(
        18, "hands-in-bombs", Where.ARTEFACT,
        "hand in files and headers that claim a terabyte and never end, sparse ones, an archive that breaks off",
        "sizes are judged by what a header claims, before anything is read",
        _bombs, _believing_reader,
    ),
    Attack(
        18, "hands-in-a-hostile-folder", Where.SANDBOX,
        "make links, hard links, pipes and sockets inside a folder and hand it in",
        "the collector refuses them by type",
        _hostile_folder, _plain_folder,
    ),
)  # fmt: skip
