#!/usr/bin/env bash
# Every check that reads the code without running it; all are shown, the exit code is 1 if any complains.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
code=0
check() { printf '$ %s\n' "$*"; .venv/bin/"$@" || code=1; }
check ruff check .
check ruff format --check .
check mypy
check lint-imports --no-cache
exit "$code"
