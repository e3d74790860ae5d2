#!/usr/bin/env bash
# Run every benchmark in turn; each prints a ratio and leaves JSON under build/benchmarks.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-1} OMP_WAIT_POLICY=passive TOKENIZERS_PARALLELISM=false HF_HUB_OFFLINE=1
mkdir -p build/benchmarks
code=0
for benchmark in benchmarks/*.py; do
  printf '\n$ python %s\n' "$benchmark"
  .venv/bin/python "$benchmark" --json "build/benchmarks/$(basename "$benchmark" .py).json" || [ $? = 3 ] || code=1  # 3: not to be had here
done
exit "$code"
