"""The driver's libraries and its program, found through the loader's cache or in the folders where they usually lie."""

from __future__ import annotations

import os
import platform
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

_MAGIC = b"glibc-ld.so.cache1.1"
# struct cache_file_new and file_entry_new of glibc's dl-cache.h
_HEADER, _ENTRY = struct.Struct("=20sIIB3xI12x"), struct.Struct("=iIIIQ")
# Flags of an entry: ELF of glibc for this machine. Other machines' entries (32-bit ones beside 64-bit) are passed over.
_OF_MACHINE = {"x86_64": 0x0303, "aarch64": 0x0A03}
LIBCUDA = "libcuda.so.1"
_PATTERNS = ("libcuda.so*", "libcudadebugger.so*", "libnvidia-*.so*")
PROGRAM = "nvidia-smi"


@dataclass(frozen=True)
class DriverFiles:
    """What of the driver's user space is here.

    Attributes:
        libraries: files and links, sorted; empty where there is no libcuda.
        folder: where they lie; None without libcuda.
        cached: whether the loader finds them there by itself.
        program: nvidia-smi, or None.
    """

    libraries: tuple[Path, ...] = ()
    folder: Path | None = None
    cached: bool = False
    program: Path | None = None


def find(cache: Path, folders: tuple[Path, ...], programs: tuple[Path, ...]) -> DriverFiles:
    """Return the driver's files: beside the libcuda that the loader would take, else in the first folder that has one."""
    program = next((folder / PROGRAM for folder in programs if os.access(folder / PROGRAM, os.X_OK)), None)
    named = read_cache(cache).get(LIBCUDA)
    folder: Path | None
    if named is not None and Path(named).exists():
        folder, cached = Path(named).parent, True
    else:
        folder, cached = next((folder for folder in folders if (folder / LIBCUDA).exists()), None), False
    if folder is None:
        return DriverFiles(program=program)
    libraries = sorted({path for pattern in _PATTERNS for path in folder.glob(pattern)})
    return DriverFiles(tuple(libraries), folder, cached, program)


def read_cache(path: Path) -> Mapping[str, str]:
    """Return the loader's cache, name of a library → path; the first of a name counts, as for the loader.

    Empty where it cannot be read or is of another kind (musl has none).
    """
    try:
        data = path.read_bytes()
    except OSError:
        return {}
    start = data.find(_MAGIC)  # an older table may lie before it
    if start < 0:
        return {}
    data = data[start:]
    _, count, _, _, _ = _HEADER.unpack_from(data)
    wanted = _OF_MACHINE.get(platform.machine())
    found: dict[str, str] = {}
    for number in range(count):
        flags, key, value, _, _ = _ENTRY.unpack_from(data, _HEADER.size + number * _ENTRY.size)
        if wanted is None or flags == wanted:
            found.setdefault(_text(data, key), _text(data, value))
    return found


def _text(data: bytes, offset: int) -> str:
    return data[offset : data.index(b"\0", offset)].decode(errors="surrogateescape")
