"""A small checkout with two images of its own, and wheels made by hand."""

from __future__ import annotations

import base64
import hashlib
import shutil
import zipfile
from collections.abc import Sequence
from pathlib import Path

import pytest

from harness.sandbox.images.definition import FOLDER

DOCKERFILE = """\
ARG BASE=scratch
ARG WHEELS=dojo/wheels:none
FROM ${WHEELS} AS wheels
FROM ${BASE}
ARG PIP_ARGS=""
COPY requirements.txt constraints.txt /opt/requirements/
RUN --mount=type=bind,from=wheels,source=/wheels,target=/wheels \\
    python3 -m venv /opt/venv \\
 && /opt/venv/bin/pip install --no-cache-dir --find-links /wheels ${PIP_ARGS} -c /opt/requirements/constraints.txt \\
      -r /opt/requirements/requirements.txt
ENV PATH=/opt/venv/bin:/usr/local/bin:/usr/bin:/bin
USER agent
"""
IMAGES = """\
[{below}]
holds = "a base"
variants = ["bookworm"]
from = "{base}"
user = "root"
works = "import json"
build_mb = {{ bookworm = 1 }}

[{above}]
holds = "one small package"
variants = ["cpu", "cuda"]
on = "{below}"
extras = ["small"]
works = "import dojo_small; assert dojo_small.VALUE == 1"
build_mb = {{ cpu = 1, cuda = 1 }}
"""


def make_wheel(folder: Path, name: str, version: str, requires: Sequence[str] = (), body: str = "VALUE = 1\n") -> Path:
    """Write a wheel of one module; ``requires`` are its dependencies."""
    info, path = f"{name}-{version}.dist-info", folder / f"{name}-{version}-py3-none-any.whl"
    metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n" + "".join(f"Requires-Dist: {r}\n" for r in requires)
    files = {
        f"{name}.py": body,
        f"{info}/METADATA": metadata,
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    hashes = {
        file: base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).decode().rstrip("=")
        for file, text in files.items()
    }
    record = (
        "".join(f"{file},sha256={hashes[file]},{len(text.encode())}\n" for file, text in files.items()) + f"{info}/RECORD,,\n"
    )
    folder.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w") as wheel:
        for file, text in (files | {f"{info}/RECORD": record}).items():
            wheel.writestr(file, text)
    return path


def make_checkout(root: Path, below: str = "below", above: str = "above", base: str = "python:3.11-slim-bookworm") -> Path:
    """Write a checkout with an image ``below`` and one on it, ``above``, that wants the package dojo_small."""
    for name, text in ((below, "ARG BASE=scratch\nFROM ${BASE}\nENV LANG=C.UTF-8\n"), (above, DOCKERFILE)):
        (root / "images" / name).mkdir(parents=True)
        (root / "images" / name / "Dockerfile").write_text(text)
    (root / "images" / "images.toml").write_text(IMAGES.format(below=below, above=above, base=base))
    (root / "pyproject.toml").write_text(
        '[project]\nname = "x"\ndependencies = []\noptional-dependencies = { small = ["dojo_small"] }\n'
    )
    (root / "constraints.txt").write_text("dojo_small==1.0\n")
    (root / "scripts").mkdir()
    shutil.copy(FOLDER / "scripts" / "wants_cuda.py", root / "scripts")
    return root


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A small checkout."""
    return make_checkout(tmp_path / "checkout")


@pytest.fixture
def local_index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that is all pip knows: it holds pip itself (as a wheel) and dojo_small."""
    folder = tmp_path / "index"
    make_wheel(folder, "dojo_small", "1.0")
    make_wheel(folder, "pip", "99.0")
    for name, value in {"PIP_CONFIG_FILE": "/dev/null", "PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(folder)}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("TORCH_PIP_ARGS", raising=False)
    return folder
