"""Try every backend's promises and Inspect's own checks, and print one table: `make contract`.

Columns are a backend and who runs the harness; a cell is kept/tried. Details go to build/contract.json. Exit code 1 where one is
broken.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

PROJECT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(PROJECT))

from harness.sandbox import images  # noqa: E402
from harness.sandbox.registry import get_backend  # noqa: E402
from tests.contract.ordinary_user import WITHOUT, contract, docker_group, reachable_python, readable_copy  # noqa: E402

INSPECT = PROJECT / "build/inspect/bin/python"
# What an ordinary user's sandboxes do not promise, by backend; `dojo doctor` says the same.
NOT_PROMISED = {
    "namespace": dict.fromkeys(WITHOUT, "no control groups for this user"),
    "docker": {
        "pids": "one limit for commands and dojo's server",
        "disk": "a tmpfs for each writable place",
        "memory": "one limit for commands and dojo's server, and files lie in memory",
    },
}


def as_root(backend: str) -> dict[str, Any]:
    """Run the suite as who we are."""
    done = subprocess.run(
        [sys.executable, "-m", "harness.sandbox.contract", backend, "--json"],
        env={**os.environ, "DOJO_IMAGE_TASK": images.reference("base", "cpu")}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    return document(done)


def as_ordinary(backend: str) -> dict[str, Any]:
    """Run the suite as a user without rights; groups that are not promised are left out."""
    python = reachable_python()
    if python is None:
        return {"missing": "no Python here that another user may run"}
    if backend == "docker" and docker_group() is None:
        return {"missing": "no group may use the engine's socket"}
    without = [part for group in NOT_PROMISED[backend] for part in ("--without", group)]
    with readable_copy() as root:
        return document(contract(root, python, backend, "--json", *without, image=images.reference("base", "cpu")))


def inspect_checks(backend: str, user: str) -> str:
    """Run Inspect's checks; return passed/explained of all, or why not."""
    if not INSPECT.exists():
        return "no Inspect: scripts/inspect.sh"
    command = [str(INSPECT), "-m", "pytest", "-q", "-p", "no:cacheprovider", "-o", "addopts=", "-o", "asyncio_mode=auto"]
    env = {
        **os.environ,
        "DOJO_CHECK_BACKEND": backend,
        "DOJO_CHECK_USER": user,
        "DOJO_IMAGE_TASK": images.reference("base", "cpu"),
    }
    done = subprocess.run(
        [*command, "tests/contract/inspect_self_check.py"], cwd=PROJECT, env=env, capture_output=True, text=True, check=False
    )
    counts = {word: int(number) for number, word in re.findall(r"(\d+) (passed|xfailed|failed|error)", done.stdout)}
    bad = counts.get("failed", 0) + counts.get("error", 0)
    return f"{counts.get('passed', 0)} + {counts.get('xfailed', 0)} explained" + (f", {bad} FAILED" if bad else "")


def document(done: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    """Return the JSON document that a suite ended with, or what it said instead."""
    lines = done.stdout.strip().splitlines()
    try:
        found: dict[str, Any] = json.loads(lines[-1])
    except (IndexError, ValueError):
        said = (done.stderr.strip().splitlines() or lines or ["no output"])[-1]
        return {"missing": said[:200]}
    return found


def main() -> int:
    """Run everything there is here and print the table."""
    runs: list[tuple[str, Callable[[], dict[str, Any]]]] = []
    who = "root" if os.geteuid() == 0 else "ordinary user"
    for backend in ("namespace", "docker"):
        bad = [c for c in get_backend(backend).check() if not c.ok and not c.name.startswith("image")]
        if bad:
            runs.append((f"{backend}, {who}", lambda reason=bad[0].detail: {"missing": reason}))
            continue
        runs.append((f"{backend}, {who}", lambda backend=backend: as_root(backend)))
        if os.geteuid() == 0:
            runs.append((f"{backend}, ordinary user", lambda backend=backend: as_ordinary(backend)))
    results: dict[str, dict[str, Any]] = {}
    for name, run in runs:
        print(f"trying {name}", file=sys.stderr, flush=True)
        results[name] = run()
    checks = {}
    for name, result in results.items():
        backend = name.split(",")[0]
        if "missing" not in result and "ordinary" not in name.split(",")[1]:
            for user in ("agent", "root"):
                print(f"Inspect's checks on {backend} as {user}", file=sys.stderr, flush=True)
                checks[f"{backend}, commands as {user}"] = inspect_checks(backend, user)
    (PROJECT / "build").mkdir(exist_ok=True)
    (PROJECT / "build/contract.json").write_text(json.dumps({"contract": results, "inspect": checks}, indent=1))
    print_table(results)
    for name, said in checks.items():
        print(f"Inspect's own 44 checks, {name}: {said}")
    for backend, groups in NOT_PROMISED.items():
        for group, why in groups.items():
            print(f"not promised by {backend} to an ordinary user: {group} ({why})")
    broken = [p for result in results.values() for p in result.get("promises", []) if not p["kept"]]
    for promise in broken:
        print(f"BROKEN {promise['group']}-{promise['name']}: {promise['seen'][:300]}")
    return 1 if broken or any("FAILED" in said for said in checks.values()) else 0


def print_table(results: dict[str, dict[str, Any]]) -> None:
    """Print groups of promises against backends."""
    groups = list(dict.fromkeys(p["group"] for result in results.values() for p in result.get("promises", [])))
    width = max(len(name) for name in results)
    print(f"{'promises':<12}" + "".join(f"  {name:<{width}}" for name in results))
    for group in [*groups, "all"]:
        cells = []
        for result in results.values():
            tried = [p for p in result.get("promises", []) if group in ("all", p["group"])]
            kept = sum(p["kept"] for p in tried)
            cells.append(f"{kept}/{len(tried)}" if tried else "not promised" if "promises" in result else "-")
        print(f"{group:<12}" + "".join(f"  {cell:<{width}}" for cell in cells))
    for name, result in results.items():
        if "missing" in result:
            print(f"{name}: {result['missing']}")


if __name__ == "__main__":
    sys.exit(main())
