#!/usr/bin/env bash
# Put Docker's plugin compose (Inspect's docker sandbox wants it) into build/docker-config/cli-plugins, out of a newer Debian's
# package where this system has none. Prints the folder for DOCKER_CONFIG. Nothing outside build/ changes.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
folder=$PWD/build/docker-config
if docker compose version >/dev/null 2>&1; then
  echo "${DOCKER_CONFIG:-$HOME/.docker}"
  exit 0
fi
if ! DOCKER_CONFIG=$folder docker compose version >/dev/null 2>&1; then
  command -v apt-get >/dev/null || { echo "compose: this is no Debian; install Docker's plugin compose" >&2; exit 3; }
  work=$(mktemp -d)
  trap 'rm -rf "$work"' EXIT
  mkdir -p "$work/lists/partial" "$work/archives/partial" "$folder/cli-plugins"
  site=$(apt-get indextargets --format '$(SITE)' 'Codename: bookworm' | head -1)
  [ -n "$site" ] || site=$(apt-get indextargets --format '$(SITE)' | grep -m1 debian) || true
  [ -n "$site" ] || { echo "compose: apt has no Debian archive; install Docker's plugin compose" >&2; exit 3; }
  echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $site trixie main" >"$work/sources.list"
  options=(-o "Dir::Etc::SourceList=$work/sources.list" -o Dir::Etc::SourceParts=/dev/null -o "Dir::State::Lists=$work/lists"
    -o "Dir::Cache=$work" -o "Dir::Cache::archives=$work/archives")
  apt-get "${options[@]}" update -qq >&2
  (cd "$work" && apt-get "${options[@]}" download -qq docker-compose >&2 && dpkg-deb -x docker-compose_*.deb .)
  cp "$work/usr/libexec/docker/cli-plugins/docker-compose" "$folder/cli-plugins/"
  DOCKER_CONFIG=$folder docker compose version >/dev/null
fi
echo "$folder"
