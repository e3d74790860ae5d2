#!/usr/bin/env bash
# Make .venv with everything dojo needs, then the small base model and the mini data. Does nothing twice: run it as often as you like.
#
# Settings (environment or `make setup NAME=value`):
#   PYTHON          the Python (3.11 or newer) to build .venv with
#   TORCH_PIP_ARGS  extra arguments for pip's install of torch, for example --index-url with the address of PyTorch's CPU builds
#   TORCH_ALLOW_CUDA=1  take pip's default build of torch, which needs CUDA, without looking for another
#   SKIP_ASSETS=1   install only; no model, no data
#   NO_UV=1         use pip alone, though uv is here
# pip's own settings (PIP_*, pip.conf) are left as they are; uv is told the same.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

say() { printf '\n== %s\n' "$*" >&2; }
die() { printf 'setup: %s\n  %s\n' "$1" "$2" >&2; exit 3; }
as_root_with_apt() { [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; }
uv_here() { [ "${NO_UV:-0}" != 1 ] && command -v uv >/dev/null; }
pip() { .venv/bin/python -m pip "$@"; }

apt_install() {
  say "installing Debian packages: $*"
  # Lists may be empty on a new machine, or too old to name files that still exist.
  apt-get update -qq >&2 || true
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" >&2
}

find_python() {
  local candidate
  for candidate in ${PYTHON:-python3.11 python3.12 python3.13 python3}; do
    if command -v "$candidate" >/dev/null && "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
      command -v "$candidate"
      return
    fi
  done
  return 1
}

make_venv() {
  local python
  if ! python=$(find_python); then
    [ -z "${PYTHON:-}" ] || die "PYTHON=$PYTHON is no Python 3.11 or newer" "name one that is, or leave PYTHON out"
    if uv_here; then
      say "making .venv with a Python that uv brings"
      rm -rf .venv
      uv venv --quiet --seed --python 3.11 .venv >&2
      return
    fi
    as_root_with_apt || die "no Python 3.11 or newer" "install python3.11 with its venv module, or uv, or name one: make setup PYTHON=/path/to/python3.11"
    apt_install python3 python3-venv
    python=$(find_python) || die "this system's python3 is older than 3.11" "install Python 3.11 or newer and name it: make setup PYTHON=/path/to/python3.11"
  fi
  say "making .venv with $("$python" --version) ($python)"
  rm -rf .venv
  if uv_here; then
    uv venv --quiet --seed --python "$python" .venv >&2
    return
  fi
  if ! "$python" -c 'import venv, ensurepip' 2>/dev/null; then
    as_root_with_apt || die "$python has no venv module" "install it (Debian: apt-get install python3-venv) and run this again"
    apt_install python3-venv
  fi
  "$python" -m venv .venv
}

# uv reads neither PIP_* nor pip.conf: it is told where pip looks, or it would fetch other builds than pip does.
tell_uv() {
  local name value
  while IFS='=' read -r name value; do
    [ -n "${!name:-}" ] || export "$name=$value"
  done < <(PYTHONPATH=. .venv/bin/python scripts/uv_settings.py)
}

pip_takes_cuda() {
  # Asked without installing: the default build for Linux carries CUDA, several GB that a machine without a GPU cannot use.
  pip install --quiet --dry-run --ignore-installed --no-deps --report build/torch.json "$1" >&2 &&
    .venv/bin/python scripts/wants_cuda.py build/torch.json
}

# uv knows PyTorch's own indexes by name; where it is not installed, pip brings it for this one step.
torch_by_uv() {
  local uv=uv
  if ! uv_here; then
    pip install --quiet --target build/uv uv >&2 || return 1
    uv=build/uv/bin/uv
  fi
  "$uv" pip install --quiet --python .venv/bin/python --torch-backend=cpu "$1" >&2
}

install_torch() {
  local spec
  spec=torch==$(sed -n 's/^torch==//p' constraints.txt)
  if [ -n "${TORCH_PIP_ARGS:-}" ]; then
    say "installing $spec as TORCH_PIP_ARGS says"
    # shellcheck disable=SC2086  # TORCH_PIP_ARGS is a list of words
    pip install ${TORCH_PIP_ARGS} "$spec" >&2
    return
  fi
  if [ "${TORCH_ALLOW_CUDA:-0}" != 1 ] && ! command -v nvidia-smi >/dev/null && pip_takes_cuda "$spec"; then
    say "installing the CPU build of $spec"
    if torch_by_uv "$spec"; then return; fi
    say "the CPU build of $spec cannot be had from here: taking the default one, whose CUDA libraries take about 5 GB of disk"
  fi
  say "installing $spec"
  pip install "$spec" >&2
}

install_packages() {
  mkdir -p build
  if uv_here; then tell_uv; fi
  # An old pip loops over some packages' metadata.
  say "upgrading pip"
  pip install --quiet --upgrade pip >&2
  install_torch
  say "installing dojo and what it needs (1 to 3 minutes)"
  if uv_here; then
    uv pip install --python .venv/bin/python -c constraints.txt -e '.[ml,analysis,docker,k8s,postgres,s3,dev]' >&2
  else
    pip install --progress-bar off -c constraints.txt -e '.[ml,analysis,docker,k8s,postgres,s3,dev]' >&2
  fi
}

install_mkfs() {
  # A sandbox's disk limit is an ext4 image, which only root can mount; without mkfs dojo takes a tmpfs, and that counts as memory.
  [ "$(id -u)" != 0 ] && return
  PATH="$PATH:/usr/sbin:/sbin" command -v mkfs.ext4 >/dev/null && return
  if as_root_with_apt; then
    apt_install e2fsprogs
  else
    say "mkfs.ext4 is not here: sandboxes keep their files in memory. Your system's package e2fsprogs mends that"
  fi
}

# Done with these very files in this very folder (an editable install knows its folder)?
stamp=$( (pwd; cat pyproject.toml constraints.txt scripts/setup.sh) | sha256sum | cut -d' ' -f1)
if [ "$(cat .venv/.dojo-setup 2>/dev/null)" != "$stamp" ] || [ ! -x .venv/bin/dojo ]; then
  .venv/bin/python -c 'import pip' 2>/dev/null || make_venv
  install_packages
  printf '%s\n' "$stamp" >.venv/.dojo-setup
fi
if [ "$(uname -s)" = Linux ]; then install_mkfs; fi

if [ "${SKIP_ASSETS:-0}" != 1 ]; then
  for task in ${SETUP_TASKS:-math/aime25}; do
    .venv/bin/dojo data prepare "$task" --profile mini
  done
fi
