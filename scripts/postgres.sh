#!/usr/bin/env bash
# Have PostgreSQL's server programs: say so if they are there, else (as root on Debian or Ubuntu) install the system's package.
# Tests start servers of their own from it, in folders that they throw away; nothing is started or enabled here.
set -euo pipefail

die() { printf 'postgres: %s\n  %s\n' "$1" "$2" >&2; exit 3; }
installed() { find /usr/lib/postgresql -mindepth 3 -maxdepth 3 -name initdb 2>/dev/null | sort -V | tail -n 1; }

if [ -z "$(installed)" ]; then
  command -v apt-get >/dev/null || die "no PostgreSQL server is installed" "install your system's package (postgresql-server)"
  [ "$(id -u)" = 0 ] || die "no PostgreSQL server is installed" "run this as root, or: sudo apt-get install postgresql"
  # the package would otherwise make and start a cluster of its own
  mkdir -p /etc/postgresql-common
  [ -e /etc/postgresql-common/createcluster.conf ] || echo 'create_main_cluster = false' >/etc/postgresql-common/createcluster.conf
  apt-get update -qq >&2 || true
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends postgresql >&2
fi
program=$(installed)
[ -n "$program" ] || die "the package was installed but brought no initdb" "look into /usr/lib/postgresql"
echo "$("$program" --version)" >&2
