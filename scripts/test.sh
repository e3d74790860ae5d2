#!/usr/bin/env bash
# The test suite: quick tests on both cores, then those that train and score real models: agents and gateway a file a core, and
# one at a time what stops engines, fills disks or measures what a machine alone does.
# --fast leaves the second half out; other arguments go to pytest in both halves. Ends with pytest's own summary.
# Where a Docker engine answers or can be started (scripts/engine.sh), its images are built and the whole runs are tried on it too;
# DOJO_TEST_DOCKER=0 leaves that out, DOJO_TEST_DOCKER=1 makes a missing engine an error.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
slow=1
if [ "${1:-}" = --fast ]; then slow=0; shift; fi

# Two jobs that each take every core spin against each other: 9 times slower.
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-1} OMP_WAIT_POLICY=passive TOKENIZERS_PARALLELISM=false HF_HUB_OFFLINE=1

scripts/postgres.sh >/dev/null || echo "no PostgreSQL server (see above): its tests are skipped" >&2

docker=0
if [ "$slow" = 1 ] && [ "${DOJO_TEST_DOCKER:-}" != 0 ]; then
  if scripts/engine.sh && .venv/bin/dojo images build base task grader; then
    docker=1
  elif [ "${DOJO_TEST_DOCKER:-}" = 1 ]; then
    exit 3
  else
    echo "no Docker engine or no images (see above): tests of the Docker backend are skipped" >&2
  fi
fi

if [ "$slow" = 1 ]; then
  scripts/inspect.sh || echo "Inspect cannot be installed (see above): its checks are skipped" >&2
  scripts/harbor.sh || echo "Harbor cannot be installed (see above): its checks are skipped" >&2
  scripts/vllm_cpu.sh >/dev/null || echo "vLLM cannot be installed (see above): its tests are skipped" >&2
  .venv/bin/dojo agents install --all || echo "not every agent can be installed (see above): whole runs of those are skipped" >&2
fi

# pytest's 5 says that the selection was empty; with a half left out by arguments that is no failure.
run() { .venv/bin/python -m pytest --durations=10 "$@" && return 0 || { local code=$?; [ "$code" = 5 ] && [ "$extra" != 0 ] && return 0; return "$code"; }; }
extra=$#

together=(--ignore-glob='tests/e2e/test_*.py') alone=(--ignore=tests/e2e/agents)
for folder in tests/*/; do
  case $(basename "$folder") in
    e2e) ;;
    attack | contract | faults | images | install) together+=("--ignore=$folder") ;;
    *) alone+=("--ignore=$folder") ;;
  esac
done

fast_code=0 slow_code=0 alone_code=0 docker_code=0
run -n 2 -m 'not slow and not e2e' "$@" || fast_code=$?
if [ "$docker" = 1 ]; then
  echo "== whole runs on the Docker backend"
  DOJO_TEST_SANDBOX=docker run -m 'e2e and not slow' tests/e2e "$@" || docker_code=$?
fi
if [ "$slow" = 1 ]; then
  run -n 2 --dist loadfile -m 'slow or e2e' "${together[@]}" "$@" || slow_code=$?
  run -m 'slow or e2e' "${alone[@]}" "$@" || alone_code=$?
fi
for code in "$fast_code" "$docker_code" "$slow_code" "$alone_code"; do [ "$code" = 0 ] || exit "$code"; done
