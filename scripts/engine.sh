#!/usr/bin/env bash
# Have a Docker engine: say so if one answers, else (as root on Debian or Ubuntu) install Debian's and start it in the background.
# Never touches an engine that runs. Its log and settings lie in $DOJO_ENGINE_DIR (default /var/lib/dojo-engine).
set -euo pipefail

folder=${DOJO_ENGINE_DIR:-/var/lib/dojo-engine}
die() { printf 'engine: %s\n  %s\n' "$1" "$2" >&2; exit 3; }
answers() { docker version --format '{{.Server.Version}}' 2>/dev/null; }

if version=$(answers); then
  echo "Docker engine $version answers" >&2
  exit 0
fi
if [ -n "${DOCKER_HOST:-}" ]; then
  die "DOCKER_HOST is $DOCKER_HOST and nothing answers there" "start that engine, or unset DOCKER_HOST"
fi
[ "$(id -u)" = 0 ] || die "no Docker engine answers" "start it (systemctl start docker), or run this as root"
if ! command -v dockerd >/dev/null; then
  command -v apt-get >/dev/null || die "dockerd is not installed" "install Docker Engine for your system: https://docs.docker.com/engine/install/"
  apt-get update -qq >&2 || true
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends docker.io iptables ca-certificates e2fsprogs mmdebstrap >&2
fi
if command -v systemctl >/dev/null && [ -d /run/systemd/system ]; then
  systemctl start docker
else
  mkdir -p "$folder"
  # restarting the engine must not end running sandboxes; sandboxes have no network, so no bridge is needed
  printf '{"live-restore": true, "bridge": "none", "iptables": false, "ip-forward": false}\n' >"$folder/daemon.json"
  setsid nohup dockerd --config-file "$folder/daemon.json" >>"$folder/dockerd.log" 2>&1 </dev/null &
  echo $! >"$folder/pid"
fi
for _ in $(seq 300); do
  if version=$(answers); then
    echo "Docker engine $version started" >&2
    exit 0
  fi
  sleep 0.2
done
tail -n 20 "$folder/dockerd.log" >&2 2>/dev/null || true
die "dockerd did not answer within a minute" "its log: $folder/dockerd.log"
