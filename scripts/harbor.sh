#!/usr/bin/env bash
# Make build/harbor, a venv with Harbor and dojo's environment for it (Harbor needs Python 3.12, its pins and those of the training
# libraries exclude each other). Quick when done. HARBOR_VERSION chooses another release than the one that is tested.
# With TASK (domain/name) it then exports the task's mini profile, lints it and runs it in Harbor with the agents nop and oracle.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
version=${HARBOR_VERSION:-0.26.0}
venv=build/harbor
mkdir -p build
python=
for found in "${PYTHON:-python3}" python3.13 python3.12 "$HOME"/.pyenv/versions/3.1[23]*/bin/python; do
  [ -n "$python" ] || ! "$found" -c 'import sys; sys.exit(sys.version_info < (3, 12))' 2>/dev/null || python=$found
done
[ -n "$python" ] || { echo "harbor: no Python of 3.12 or newer" >&2; echo "  install one, or name it in PYTHON" >&2; exit 3; }
(
  exec 9>build/harbor.lock
  flock 9
  stamp="$version docker $(grep -m1 '^dependencies' pyproject.toml | sha256sum | cut -d' ' -f1)"
  [ "$(cat "$venv/.stamp" 2>/dev/null)" != "$stamp" ] || exit 0
  rm -rf "$venv"
  "$python" -m venv "$venv"
  "$venv/bin/python" -m pip install --quiet --upgrade pip >&2
  "$venv/bin/python" -m pip install --quiet "harbor==$version" pytest -e '.[docker]' >&2
  printf '%s\n' "$stamp" >"$venv/.stamp"
)
[ $# -gt 0 ] || exit 0

# without it the model client asks the network for prices at every start
export LITELLM_LOCAL_MODEL_COST_MAP=True
task=$1 work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
.venv/bin/dojo tasks export "$task" "$work/task" --profile mini
"$venv/bin/harbor" lint "$work/task"
for agent in nop oracle; do
  "$venv/bin/harbor" run -p "$work/task" -a "$agent" --env harness.interop.harbor_environment:DojoEnvironment \
    --jobs-dir "$work/jobs" --job-name "$agent" --n-concurrent 1 --yes --quiet
  echo "$agent: $(cat "$work/jobs/$agent"/*/verifier/reward.json)"
done
