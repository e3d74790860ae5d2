"""`python -m harness.sandbox.contract NAME`: try a backend's promises and say which it breaks.

With ``--json`` the last line is a JSON document: ``{"backend", "kept", "broken", "left_out", "promises": [{"group", "name",
"kept", "seen", "seconds"}]}``; the lines before it tell how far it is.
"""

from __future__ import annotations

import argparse
import json
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
    parser.add_argument("--json", action="store_true", help="end with a JSON document")
    options = parser.parse_args()
    chosen = [p for p in PROMISES if p.group not in options.without and options.only in str(p)]
    rows: list[dict[str, object]] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        with Stage(get_backend(options.backend), folder) as stage:
            for promise in chosen:
                started = time.monotonic()
                try:
                    promise.check(stage)
                    verdict = ""
                except (AssertionError, OSError, DojoError, ValueError, KeyError) as exc:
                    verdict = f"{type(exc).__name__}: {exc}"
                    if not isinstance(exc, AssertionError):
                        verdict += "\n" + "".join(traceback.format_tb(exc.__traceback__)[-2:])
                seconds = time.monotonic() - started
                print(f"{promise} ({seconds:.1f} s): {f'BROKEN {verdict}' if verdict else 'kept'}", flush=True)
                rows.append(
                    {
                        "group": promise.group,
                        "name": promise.name,
                        "kept": not verdict,
                        "seen": verdict,
                        "seconds": round(seconds, 2),
                    }
                )
    broken = sum(not row["kept"] for row in rows)
    kept, left_out = len(rows) - broken, len(PROMISES) - len(chosen)
    if options.json:
        print(json.dumps({"backend": options.backend, "kept": kept, "broken": broken, "left_out": left_out, "promises": rows}))
    else:
        print(f"{kept} kept, {broken} broken, {left_out} left out")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
