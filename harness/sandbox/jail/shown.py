"""Which folders of the host a sandbox is shown: what systems and Pythons are made of, by name, and nothing beside it."""

from __future__ import annotations

import os

# What lies at the root: on merged systems links into /usr, which are made again.
_ROOT = ("bin", "sbin", "lib", "lib32", "lib64", "libx32")
_OF_SYSTEM = (*_ROOT, "libexec", "include", "share")
# CUDA's packages put a folder for each version below /usr/local, and a link.
_BESIDE = "cuda"
# A virtual environment's file beside its folders, what conda adds, and OpenSSL's configuration and certificates in it.
_OF_PYTHON = (*_OF_SYSTEM, "pyvenv.cfg", "ssl", "targets", "nvvm")


def system() -> list[str]:
    """Return the paths of the host's system, links among them."""
    local = [name for name in _entries("/usr/local") if name in _OF_SYSTEM or name.split("-")[0] == _BESIDE]
    paths = [*(f"/usr/{name}" for name in _OF_SYSTEM), *(f"/usr/local/{name}" for name in local), *(f"/{name}" for name in _ROOT)]
    return [path for path in paths if os.path.lexists(path)]


def python(prefix: str) -> list[str]:
    """Return the paths of a Python in ``prefix``, links among them."""
    return [f"{prefix}/{name}" for name in _OF_PYTHON if os.path.lexists(f"{prefix}/{name}")]


def _entries(folder: str) -> list[str]:
    try:
        return sorted(os.listdir(folder))
    except OSError:
        return []
