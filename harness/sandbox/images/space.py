"""Whether a build has the disk it takes, asked before it begins."""

from __future__ import annotations

import shutil
from pathlib import Path

from harness.sandbox import engine
from harness.sandbox.images.definition import Image
from harness.spec.errors import MissingError


def free_mb(path: Path) -> int:
    """Return the MB that are free where ``path`` is or will be made."""
    while not path.exists():
        path = path.parent
    return shutil.disk_usage(path).free // 10**6


def refuse_small_disk(image: Image, cache: Path) -> None:
    """Make sure that the engine's disk and the cache's have room for a build.

    Raises:
        MissingError: one has not; says how much there is and how much it takes.
    """
    need = image.definition.build_mb[image.variant]
    engines = Path(engine.facts()["DockerRootDir"])
    # an engine in a virtual machine keeps its images on a disk that cannot be seen from here
    places = [("the engine's disk", engines)] if engines.exists() else []
    for what, path in [*places, ("the cache's disk", cache)]:
        if (free := free_mb(path)) < need:
            raise MissingError(
                f"building {image.tag} takes up to {need} MB, and {what} has {free} MB free ({path})",
                hint="`docker system df` shows what images take; DOJO_CACHE moves the cache"
                if path == engines
                else "free some, or move the cache: DOJO_CACHE",
            )
