#!/usr/bin/env bash
# Make build/inspect, a small venv with Inspect and dojo's provider for it (Inspect's pins and those of the training libraries
# exclude each other). Quick when done. INSPECT_VERSION chooses another release than the one that is tested.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
version=${INSPECT_VERSION:-0.3.285}
venv=build/inspect
mkdir -p build
exec 9>build/inspect.lock
flock 9
stamp="$version docker k8s $(grep -m1 '^dependencies' pyproject.toml | sha256sum | cut -d' ' -f1)"
[ "$(cat "$venv/.stamp" 2>/dev/null)" = "$stamp" ] && exit 0
python=${PYTHON:-.venv/bin/python}
command -v "$python" >/dev/null || { echo "inspect: $python is not there" >&2; echo "  run make install first" >&2; exit 3; }
rm -rf "$venv"
"$python" -m venv "$venv"
"$venv/bin/python" -m pip install --quiet --upgrade pip >&2
"$venv/bin/python" -m pip install --quiet "inspect-ai==$version" pytest pytest-asyncio -e '.[docker,k8s]' >&2
printf '%s\n' "$stamp" >"$venv/.stamp"
