#!/usr/bin/env bash
# The test suite: quick tests on both cores, then those that train and score real models, one at a time.
# --fast leaves the second half out; other arguments go to pytest in both halves. Ends with pytest's own summary.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
slow=1
if [ "${1:-}" = --fast ]; then slow=0; shift; fi

# Two jobs that each take every core spin against each other: 9 times slower.
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-1} OMP_WAIT_POLICY=passive TOKENIZERS_PARALLELISM=false HF_HUB_OFFLINE=1

# pytest's 5 says that the selection was empty; with a half left out by arguments that is no failure.
run() { .venv/bin/python -m pytest --durations=10 "$@" && return 0 || { local code=$?; [ "$code" = 5 ] && [ "$extra" != 0 ] && return 0; return "$code"; }; }
extra=$#

fast_code=0 slow_code=0
run -n 2 -m 'not slow and not e2e' "$@" || fast_code=$?
if [ "$slow" = 1 ]; then run -m 'slow or e2e' "$@" || slow_code=$?; fi
[ "$fast_code" = 0 ] || exit "$fast_code"
exit "$slow_code"
