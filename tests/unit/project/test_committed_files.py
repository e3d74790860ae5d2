"""What is never committed: where this machine gets its packages, where its folders are, weights and other bulk."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import pytest

REPO = Path(__file__).resolve().parents[3]

# Written in two parts, or this file would be the first to break the rule.
REGISTRY_HOSTS = tuple(
    f"{name}.{end}"
    for name, end in [
        ("pypi", "org"), ("pythonhosted", "org"), ("download.pytorch", "org"), ("registry.npmjs", "org"), ("deb.debian", "org"),
        ("proxy.golang", "org"), ("conda.anaconda", "org"), ("registry-1.docker", "io"),
    ]
)  # fmt: skip

# A file that is larger than this holds data or weights, and those are prepared into the cache.
MAX_BYTES = 1_000_000
WEIGHTS = {".safetensors", ".gguf", ".bin", ".pt", ".pth", ".ckpt", ".onnx", ".npz", ".npy", ".pkl", ".whl", ".db"}


def tracked_files() -> list[Path]:
    """Return the files git knows or would know (new ones included), so that a mistake is seen before it is committed."""
    listing = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"], cwd=REPO, capture_output=True, text=True
    )
    if listing.returncode != 0:
        pytest.skip(f"this copy is no git checkout: {listing.stderr.strip()}")
    return [path for name in listing.stdout.split("\0") if name and (path := REPO / name).is_file()]


def machine_folders() -> list[str]:
    """Return the places of this very checkout and Python, where they say something about the machine."""
    places = {str(REPO), sys.prefix, sys.base_prefix}
    return sorted(place for place in places if len(Path(place).parts) > 3)


def machine_traces(text: str, folders: Iterable[str]) -> list[str]:
    """Return what in ``text`` belongs to one machine: registry hosts and folders of it."""
    found = [host for host in REGISTRY_HOSTS if host in text]
    found += [folder for folder in folders if re.search(rf"(?<![\w.]){re.escape(folder)}(?![\w-])", text)]
    return found


def test_no_committed_file_names_a_registry_host_or_a_folder_of_this_machine() -> None:
    folders = machine_folders()
    faults = []
    for path in tracked_files():
        found = machine_traces(path.read_text(encoding="utf-8", errors="ignore"), folders)
        if found:
            faults.append(f"{path.relative_to(REPO)}: {', '.join(found)}")
    assert faults == []


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (f"pip install -i https://{REGISTRY_HOSTS[0]}/simple x", [REGISTRY_HOSTS[0]]),
        ("source = '/srv/build/checkout/data.csv'", ["/srv/build/checkout"]),
        ("read /workspace/adapter and /srv/build/checkout-two", []),
    ],
)
def test_the_search_for_traces_of_a_machine_finds_what_it_should(text: str, found: list[str]) -> None:
    assert machine_traces(text, ["/srv/build/checkout"]) == found


def test_no_weights_data_or_other_bulk_are_committed() -> None:
    files = tracked_files()
    assert [str(f.relative_to(REPO)) for f in files if f.suffix in WEIGHTS] == []
    assert [str(f.relative_to(REPO)) for f in files if f.stat().st_size > MAX_BYTES] == []


def test_every_pinned_package_is_pinned_once_and_exactly() -> None:
    lines = [line for line in (REPO / "constraints.txt").read_text(encoding="utf-8").splitlines() if not line.startswith("#")]
    names = [re.split(r"==", line)[0].lower().replace("_", "-") for line in lines]
    assert [line for line in lines if not re.fullmatch(r"[A-Za-z0-9._-]+==[A-Za-z0-9.!]+", line)] == []
    assert sorted(set(names)) == sorted(names)


def test_no_two_test_files_have_the_same_name() -> None:
    """Without packages pytest imports test files by their bare name: a second one of a name stops the whole collection."""
    names = [path.name for path in tracked_files() if path.name.startswith("test_") and path.suffix == ".py"]
    assert sorted(set(names)) == sorted(names)
