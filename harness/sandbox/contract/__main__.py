"""`python -m harness.sandbox.contract NAME`: try a backend's promises and say which it breaks."""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
import traceback
from pathlib import Path

from harness.sandbox.contract import PROMISES, Stage
from harness.sandbox.registry import get_backend
from harness.spec.errors import DojoError


def main() -> int:
    """Run the suite; exit code 1 when a promise is broken."""
    parser = argparse.ArgumentParser(prog="python -m harness.sandbox.contract", description=__doc__)
    parser.add_argument("backend", help="a backend's name")
    parser.add_argument("--without", action="append", default=[], metavar="GROUP", help="leave this group of promises out")
    parser.add_argument("--only", default="", metavar="TEXT", help="only promises with TEXT in their name")
    options = parser.parse_args()
    chosen = [p for p in PROMISES if p.group not in options.without and options.only in str(p)]
    broken = 0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        with Stage(get_backend(options.backend), folder) as stage:
            for promise in chosen:
                started = time.monotonic()
                try:
                    promise.check(stage)
                    verdict = "kept"
                except (AssertionError, OSError, DojoError, ValueError, KeyError) as exc:
                    broken += 1
                    verdict = f"BROKEN {type(exc).__name__}: {exc}"
                    if not isinstance(exc, AssertionError):
                        verdict += "\n" + "".join(traceback.format_tb(exc.__traceback__)[-2:])
                print(f"{promise} ({time.monotonic() - started:.1f} s): {verdict}", flush=True)
    print(f"{len(chosen) - broken} kept, {broken} broken, {len(PROMISES) - len(chosen)} left out")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
