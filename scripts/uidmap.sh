#!/usr/bin/env bash
# newuidmap and newgidmap, with which an ordinary user's sandboxes have users of their own (docs/operate.md).
set -euo pipefail
command -v newuidmap >/dev/null && command -v newgidmap >/dev/null && exit 0
if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
  printf 'uidmap: newuidmap is not installed\n  install your system'"'"'s package uidmap\n' >&2
  exit 3
fi
apt-get update -qq >&2 || true
DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends uidmap >&2
