"""What the cache holds, and whether it is still what was put there."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from harness.files import folder_bytes, sha256_file


def list_cache(cache: Path) -> list[dict[str, Any]]:
    """Return ``{kind, name, profile, digest, megabytes, path}`` for every prepared base model and data set.

    Of one whose manifest cannot be read the digest is ``damaged``; `verify_cache` says why.
    """
    found = []
    for kind, name, profile, manifest in _manifests(cache):
        try:
            digest = str(_read(manifest)["digest"])[:12]
        except (OSError, ValueError, KeyError, TypeError):
            digest = "damaged"
        size = folder_bytes(manifest.parent)
        found.append(
            {
                "kind": kind,
                "name": name,
                "profile": profile,
                "digest": digest,
                "megabytes": round(size / 1e6, 1),
                "path": manifest.parent.relative_to(cache).as_posix(),
            }
        )
    return found


def verify_cache(cache: Path, name: str | None = None) -> list[tuple[str, list[str]]]:
    """Compare every file of the cache (or of one model or task) with its checksum.

    Returns:
        (what, problems) for each entry; an entry without problems is whole.
    """
    checked = []
    for kind, entry, profile, manifest in _manifests(cache):
        if name is None or entry == name:
            label = f"{kind} {entry}" + (f" {profile}" if profile else "")
            checked.append((label, list(_problems(manifest))))
    return checked


def _problems(manifest: Path) -> Iterator[str]:
    try:
        files = _read(manifest)["files"]
        listed = files.items() if isinstance(files, dict) else [(file["path"], file) for file in files]
        for name, facts in listed:
            path = manifest.parent / name
            if not path.is_file():
                yield f"{name} is missing"
            elif sha256_file(path) != facts["sha256"]:
                yield f"{name} is not what it was"
    except OSError as exc:
        yield f"{exc.filename} cannot be read: {exc.strerror}"
    except (ValueError, KeyError, TypeError, AttributeError) as exc:
        yield f"{manifest.name} is damaged: {exc!r}"


def _read(manifest: Path) -> Any:
    return json.loads(manifest.read_text(encoding="utf-8"))


def _manifests(cache: Path) -> Iterator[tuple[str, str, str, Path]]:
    for manifest in sorted((cache / "models").glob("*/dojo-manifest.json")):
        yield "model", manifest.parent.name, "", manifest
    for manifest in sorted((cache / "data").glob("*/*/*/*/manifest.json")):
        domain, task, profile, _digest = manifest.parent.relative_to(cache / "data").parts
        yield "data", f"{domain}/{task}", profile, manifest
