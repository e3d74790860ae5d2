"""Whether images are built: what the engine has, and what the lock file says it should be."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pydantic import Field, TypeAdapter

from harness.sandbox import engine
from harness.sandbox.images.definition import INPUTS_LABEL, Image, inputs_digest, reference
from harness.spec.base import Spec
from harness.spec.errors import MissingError


class Locked(Spec):
    """What the lock file records of one built image."""

    inputs: str = Field(description="digest of everything it was made of")
    digest: str = Field(description="the engine's id of the image: a SHA-256 of its configuration and layers")
    base: str = Field(description="what it was built on")
    way: str = Field(description="registry or offline")
    built: str = Field(description="date of the build, UTC")
    size_mb: int


class Built(Spec):
    """An image as the engine has it. ``user``: who its processes are when nothing is said."""

    digest: str
    inputs: str
    size_mb: int
    created: str
    user: str


def built(image: Image) -> Built | None:
    """Return what the engine has under the image's tag.

    Raises:
        MissingError, SandboxUnavailable: no engine answers.
    """
    from docker.errors import ImageNotFound

    docker = engine.client()
    with engine.speaking(f"looking for the image {image.tag}"):
        try:
            attrs: dict[str, Any] = docker.images.get(image.tag).attrs
        except ImageNotFound:
            return None
    return Built(
        digest=attrs["Id"],
        inputs=(attrs["Config"].get("Labels") or {}).get(INPUTS_LABEL, ""),
        size_mb=round(attrs["Size"] / 1e6),
        created=attrs["Created"][:19],
        user=attrs["Config"].get("User") or "root",
    )


def identity(name: str, variant: str) -> str:
    """Return what tells the image that runs get from others, short: what it was made of, else the engine's id of it.

    Two machines that built it from one state of the project have the same, though their images' bytes differ.

    Raises:
        MissingError, SandboxUnavailable: no engine answers, or it has no such image.
    """
    from docker.errors import ImageNotFound

    docker, called = engine.client(), reference(name, variant)
    with engine.speaking(f"looking for the image {called}"):
        try:
            attrs: dict[str, Any] = docker.images.get(called).attrs
        except ImageNotFound:
            raise MissingError(f"there is no image {called}", hint="`dojo images build` makes it") from None
    made_of = (attrs["Config"].get("Labels") or {}).get(INPUTS_LABEL) or str(attrs["Id"]).removeprefix("sha256:")
    return f"{name} {made_of[:12]}"


def describe(image: Image) -> dict[str, Any]:
    """Return the image as a row for people: what it holds, and whether it is built and up to date."""
    found = built(image)
    return {
        "image": image.tag,
        "name": image.name,
        "variant": image.variant,
        "holds": image.definition.holds,
        "built": found is not None,
        "up_to_date": up_to_date(image, found),
        "size_mb": found.size_mb if found else 0,
        "digest": found.digest if found else "",
        "inputs": inputs_digest(image),
    }


def up_to_date(image: Image, found: Built | None) -> bool:
    """Whether what the engine has is made of what the project says now."""
    return found is not None and found.inputs == inputs_digest(image)


def lock_path(image: Image) -> Path:
    """Return the lock file of the image's checkout."""
    return image.root / "images" / "lock.json"


def read_lock(path: Path) -> dict[str, Locked]:
    """Return tag → what was recorded; empty without a lock file."""
    if not path.exists():
        return {}
    return TypeAdapter(dict[str, Locked]).validate_json(path.read_bytes())


def write_lock(entries: dict[str, Locked], path: Path) -> None:
    """Write the lock file, sorted, so that its changes can be read."""
    rows = {tag: entries[tag].model_dump() for tag in sorted(entries)}
    part = path.with_suffix(".new")
    part.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
    part.rename(path)
