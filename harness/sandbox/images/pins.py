"""The packages of an image, every one with its version and hash: `images/lock/<image>-<variant>.txt`.

The file is a pip requirements file without any index address. Versions hold on every machine; hashes are of the files that the
machine named in the first line gets, so elsewhere only the versions are used.
"""

from __future__ import annotations

import hashlib
import platform
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from harness.spec.errors import SpecError

_HEAD = re.compile(r"# of (?P<wanted>[0-9a-f]{64}) on (?P<machine>\w+)")
_LINE = re.compile(r"(?P<name>[\w.-]+)==(?P<version>[\w.!+]+) --hash=sha256:(?P<sha256>[0-9a-f]{64})(?P<source>  # source)?")


@dataclass(frozen=True)
class Pin:
    """One package. ``source``: it has no wheel and is built on the host."""

    name: str
    version: str
    sha256: str
    source: bool = False

    def line(self) -> str:
        """Return it as pip reads it."""
        return f"{self.name}=={self.version} --hash=sha256:{self.sha256}{'  # source' if self.source else ''}"


@dataclass(frozen=True)
class Pins:
    """All packages that a list of requirements leads to, sorted by name; ``wanted`` is the digest of that list."""

    wanted: str
    machine: str
    packages: tuple[Pin, ...]

    @property
    def hashed(self) -> bool:
        """Whether the hashes are of this machine's files."""
        return self.machine == platform.machine()

    def constraints(self) -> str:
        """Return the versions alone, as pip reads constraints."""
        return "".join(f"{pin.name}=={pin.version}\n" for pin in self.packages)

    def text(self) -> str:
        """Return the file's text."""
        return f"# of {self.wanted} on {self.machine}\n" + "".join(f"{pin.line()}\n" for pin in self.packages)


def normal(name: str) -> str:
    """Return a package's name in the one spelling that all its spellings have in common."""
    return re.sub(r"[-_.]+", "-", name).lower()


def digest_of(requirements: Iterable[str]) -> str:
    """Return a SHA-256 of a list of requirements."""
    return hashlib.sha256("\n".join(requirements).encode()).hexdigest()


def pin_path(root: Path, name: str, variant: str) -> Path:
    """Return where the packages of an image are recorded."""
    return root / "images" / "lock" / f"{name}-{variant}.txt"


def read_pins(path: Path) -> Pins | None:
    """Read a file of pins; None if there is none.

    Raises:
        SpecError: it is not one; names the line.
    """
    if not path.is_file():
        return None
    first, *rest = path.read_text(encoding="utf-8").splitlines() or [""]
    head = _HEAD.fullmatch(first)
    lines = [_LINE.fullmatch(line) for line in rest]
    if head is None or None in lines:
        number = 1 if head is None else lines.index(None) + 2
        raise SpecError(
            f"{path.name}:{number} is no pinned package", hint="write it again: python -m harness.sandbox.images.resolve"
        )
    found = tuple(Pin(m["name"], m["version"], m["sha256"], m["source"] is not None) for m in lines if m)
    return Pins(head["wanted"], head["machine"], found)


def agree(pins: Pins, requirements: Iterable[str], constraints: str) -> bool:
    """Whether pins are of these requirements, and at the versions that the project's constraints say."""
    said = pinned_versions(constraints)
    return pins.wanted == digest_of(requirements) and all(said.get(p.name, p.version) == p.version for p in pins.packages)


def pinned_versions(constraints: str) -> Mapping[str, str]:
    """Return the versions that a file of constraints names, by `normal` name."""
    pairs = (line.split("==") for line in constraints.splitlines() if "==" in line)
    return {normal(name): version.strip() for name, version in pairs}
