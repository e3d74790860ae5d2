"""What images there are, read from `images/images.toml`, and what each depends on.

An image is known by a digest of all that it is made of (its Dockerfile, the packages it wants, their pinned versions, and the
same of what it is built on), so that anyone can tell whether a built one is up to date.
"""

from __future__ import annotations

import functools
import hashlib
import os
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Self

from pydantic import Field, TypeAdapter, model_validator

from harness.project import project_root
from harness.sandbox.images.pins import Pins, agree, normal, pin_path, pinned_versions, read_pins
from harness.spec.base import Spec
from harness.spec.errors import MissingError, NotFoundError, SpecError

FOLDER = project_root()
INPUTS_LABEL = "org.dojo.inputs"
# without manuals, but with every package's licence; and without this machine's name and name server, which mmdebstrap copies in
DEBIAN_OPTIONS = (
    "--dpkgopt=path-exclude=/usr/share/man/*",
    "--dpkgopt=path-exclude=/usr/share/doc/*",
    "--dpkgopt=path-include=/usr/share/doc/*/copyright",
    '--customize-hook=rm -f "$1/etc/hostname" "$1/etc/resolv.conf"',
)


class Definition(Spec):
    """A section of images.toml."""

    holds: str = Field(description="what is in it, for people")
    variants: tuple[str, ...] = Field(min_length=1)
    on: str | None = Field(None, description="the image it is built on")
    from_: str | None = Field(None, alias="from", description="or the one of a registry")
    python: str = Field("3.11", description="the Python in it, for which wheels are fetched")
    suite: str = Field("bookworm", description="the Debian that stands in for `from` where there is no registry")
    debian: tuple[str, ...] = Field((), description="the packages of that Debian; none: a registry is needed")
    packages: tuple[str, ...] = Field((), description="Debian packages that it has beside what it stands on")
    cuda_packages: tuple[str, ...] = Field((), description="the same for the variant cuda alone")
    extras: tuple[str, ...] = Field((), description="lists of pyproject.toml; empty text: its own dependencies")
    requirements: tuple[str, ...] = Field((), description="requirements beside those lists")
    listed: dict[str, str] = Field(
        default_factory=dict, description="variant → a file that lists every package with its version; pip adds none to them"
    )
    project: tuple[str, ...] = Field((), description="files and folders of the project that are copied in")
    user: str = Field("agent", description="who its processes are when nothing is said")
    works: str = Field(description="a Python program that must run inside, without network, as the agent")
    build_mb: dict[str, int] = Field(description="variant → disk that a build takes at most, wheels and what it leaves included")

    @model_validator(mode="after")
    def _stands_on_one(self) -> Self:
        if (self.on is None) == (self.from_ is None):
            raise ValueError("an image stands either `on` another or `from` one of a registry")
        if set(self.build_mb) != set(self.variants):
            raise ValueError("build_mb has a number for each variant")
        if self.listed and (set(self.listed) != set(self.variants) or self.extras or self.requirements):
            raise ValueError("`listed` has a file for each variant, and takes the place of `extras` and `requirements`")
        return self


class Image(Spec):
    """One image that can be built: a definition and a variant of it, in the checkout ``root``."""

    name: str
    variant: str
    definition: Definition
    root: Path = FOLDER

    @property
    def tag(self) -> str:
        """What it is called in the engine."""
        return f"dojo/{self.name}:{self.variant}"

    @property
    def folder(self) -> Path:
        """Where its Dockerfile lies."""
        return self.root / "images" / self.name

    @property
    def parent(self) -> Image | None:
        """The image it is built on, if that is one of ours."""
        if self.definition.on is None:
            return None
        return find_image(self.definition.on, self.variant, self.root)

    @property
    def foundation(self) -> Image:
        """The one below all, which stands on none of ours."""
        return self.parent.foundation if self.parent else self

    @property
    def pinned(self) -> bool:
        """Whether it is made of pinned things alone; one that holds the checkout changes with every edit and is not locked."""
        return not self.definition.project

    def packages(self) -> tuple[str, ...]:
        """Return the Debian packages that it has beside what it stands on."""
        return self.definition.packages + (self.definition.cuda_packages if self.variant == "cuda" else ())

    def requirements(self) -> tuple[str, ...]:
        """Return what pip installs into it: a file's lines, or the project's lists at the versions that its constraints say."""
        if self.definition.listed:
            text = (self.root / self.definition.listed[self.variant]).read_text(encoding="utf-8")
            return tuple(line for line in map(str.strip, text.splitlines()) if line and not line.startswith("#"))
        with open(self.root / "pyproject.toml", "rb") as file:
            project = tomllib.load(file)["project"]
        extras = self.definition.extras
        lists = [project["optional-dependencies"][extra] if extra else project["dependencies"] for extra in extras]
        pinned = pinned_versions(self.project_constraints()) if extras else {}
        lines = [_at_its_version(line, pinned) for lines in lists for line in lines]
        return tuple(dict.fromkeys([*lines, *self.definition.requirements]))

    def project_constraints(self) -> str:
        """Return the project's pinned versions; none for an image that has another Python or a list of its own."""
        return (self.root / "constraints.txt").read_text(encoding="utf-8") if self.definition.extras else ""

    def pins(self) -> Pins | None:
        """Return the recorded packages with their hashes; None where none are recorded or the project wants others now."""
        found = read_pins(pin_path(self.root, self.name, self.variant))
        return found if found and agree(found, self.requirements(), self.project_constraints()) else None

    def constraints(self) -> str:
        """Return the versions of what pip installs: of just that where it is recorded, else all that the project pins."""
        pins = self.pins()
        return pins.constraints() if pins else self.project_constraints()


def _at_its_version(requirement: str, pinned: Mapping[str, str]) -> str:
    name = re.split(r"[\s<>=!~;]", requirement, maxsplit=1)[0]  # an extra in brackets stays with the name
    version = pinned.get(normal(name.partition("[")[0]))
    return f"{name}=={version}" if version else requirement


def all_images(root: Path = FOLDER) -> tuple[Image, ...]:
    """Return every image and variant of a checkout, what others are built on first.

    Raises:
        MissingError: this is no checkout of the project.
    """
    path = root / "images" / "images.toml"
    if not path.is_file():
        raise MissingError(
            "images are defined in the project's folder images/, which is not beside this package",
            hint="install dojo again, or name a built image in DOJO_IMAGE_TASK and DOJO_IMAGE_GRADER",
        )
    try:
        found = TypeAdapter(dict[str, Definition]).validate_python(tomllib.loads(path.read_text(encoding="utf-8")))
    except ValueError as exc:
        raise SpecError(f"images/images.toml: {exc}", hint="docs of its fields: harness/sandbox/images/definition.py") from exc
    return tuple(
        Image(name=name, variant=variant, definition=definition, root=root)
        for name, definition in found.items()
        if all((root / part).exists() for part in definition.project)  # a wheel has no checkout to copy into one
        for variant in definition.variants
    )


def find_image(name: str, variant: str, root: Path = FOLDER) -> Image:
    """Return the image ``name`` in this variant; an image that has only one is meant whatever is asked for.

    Raises:
        NotFoundError: there is no such image or variant; says which there are.
    """
    named = [image for image in all_images(root) if image.name == name]
    if not named:
        raise NotFoundError.named("image", name, sorted({image.name for image in all_images(root)}))
    if len(named) == 1:
        return named[0]
    for image in named:
        if image.variant == variant:
            return image
    raise NotFoundError.named(f"variant of the image {name}", variant, [image.variant for image in named])


def reference(name: str, variant: str) -> str:
    """Return what the engine is asked for: ``$DOJO_IMAGE_<NAME>`` where that is set, else the image that is built here."""
    return os.environ.get(reference_variable(name)) or _tag(name, variant)


def reference_variable(name: str) -> str:
    """Return the variable that names another image in the place of one: DOJO_IMAGE_GRADER_VLLM for grader-vllm."""
    return f"DOJO_IMAGE_{name.upper().replace('-', '_')}"


@functools.cache
def _tag(name: str, variant: str) -> str:
    """Read the definitions once: who submits thousands of runs asks for each."""
    return find_image(name, variant).tag


def inputs_digest(image: Image) -> str:
    """Return a SHA-256 over everything the image is made of, however it is built."""
    found = hashlib.sha256()
    parent, definition = image.parent, image.definition
    parts = [
        inputs_digest(parent) if parent else f"{definition.from_} {definition.suite} {definition.debian} {DEBIAN_OPTIONS}",
        (image.folder / "Dockerfile").read_text(encoding="utf-8"),
        "\n".join(image.packages()),
        "\n".join(image.requirements()),
        pins.text() if (pins := image.pins()) else image.project_constraints(),
        *(f"{path.relative_to(image.root)}\0{hashlib.sha256(path.read_bytes()).hexdigest()}" for path in project_files(image)),
    ]
    for part in parts:
        found.update(len(part).to_bytes(8, "big") + part.encode())
    return found.hexdigest()


def project_files(image: Image) -> list[Path]:
    """Return the project's files that are copied into the image, in a fixed order. What a build writes is none of them."""
    found: list[Path] = []
    for name in image.definition.project:
        path = image.root / name
        inside = sorted(path.rglob("*")) if path.is_dir() else [path]
        found += [p for p in inside if p.is_file() and "__pycache__" not in p.parts and not p.name.startswith(".")]
    return [path for path in found if path != image.root / "images" / "lock.json"]
