#!/usr/bin/env bash
# A Slurm cluster of one node, this machine, for the tests: `scripts/slurm.sh up` prints what to export, `down` ends what `up` started.
# `install` only installs. Debian's slurmctld, slurmd and munged are installed where they are missing (as root), and run with a configuration, key, ports and folder of
# their own (DOJO_TEST_SLURM, default /run/dojo-slurm); nothing of the system's own Slurm is read or touched.
set -euo pipefail
folder=${DOJO_TEST_SLURM:-/run/dojo-slurm}
die() { printf 'slurm: %s\n  %s\n' "$1" "$2" >&2; exit 3; }

install_programs() {
  local missing=()
  for program in slurmctld slurmd munged sbatch; do command -v "$program" >/dev/null || missing+=("$program"); done
  [ "${#missing[@]}" = 0 ] && return
  command -v apt-get >/dev/null || die "there is no ${missing[*]}" "install Slurm and MUNGE with your system's packages"
  # the packages would otherwise start daemons of their own
  local policy=/usr/sbin/policy-rc.d made=0
  if [ ! -e "$policy" ]; then printf '#!/bin/sh\nexit 101\n' >"$policy"; chmod 755 "$policy"; made=1; fi
  apt-get update -qq >&2 || true
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends slurmctld slurmd slurm-client munge >&2 || true
  [ "$made" = 0 ] || rm -f "$policy"
  for program in slurmctld slurmd munged sbatch; do
    command -v "$program" >/dev/null || die "Debian's packages brought no $program" "look into apt-get's words above"
  done
}

taken() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

configure() {
  # a name of its own, so that two of them do not meet in the control groups that are called after it
  local host cpus memory port=$((20000 + 2 * ($$ % 6000))) node=dojo$$ cgroups=proctrack/linuxproc tasks=task/none gather=jobacct_gather/none
  while taken "$port" || taken $((port + 1)); do port=$((port + 2)); done
  host=$(hostname -s)
  cpus=$(nproc)
  memory=$(($(awk '/^MemTotal/ {print $2}' /proc/meminfo) / 1024 * 9 / 10))
  # version 1 hierarchies let Slurm hold its limits; version 2 wants a systemd that few test machines have
  if [ -d /sys/fs/cgroup/freezer ] && [ -d /sys/fs/cgroup/memory ]; then
    cgroups=proctrack/cgroup tasks=task/cgroup
  fi
  cat >"$folder/slurm.conf" <<CONF
ClusterName=dojo-test
SlurmctldHost=$host(127.0.0.1)
SlurmUser=root
SlurmdUser=root
SlurmctldPort=$port
SlurmdPort=$((port + 1))
AuthType=auth/munge
CredType=cred/munge
# a job that is started anew waits until the credential of the one before has run out: two minutes by default
AuthInfo=socket=$folder/munge.socket,cred_expire=5
StateSaveLocation=$folder/state
SlurmdSpoolDir=$folder/spool
SlurmctldPidFile=$folder/slurmctld.pid
SlurmdPidFile=$folder/slurmd.pid
SlurmctldLogFile=$folder/slurmctld.log
SlurmdLogFile=$folder/slurmd.log
MailProg=/bin/true
ProctrackType=$cgroups
TaskPlugin=$tasks
JobAcctGatherType=$gather
AccountingStorageType=accounting_storage/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
# GPUs that are counted and not there
GresTypes=gpu
SchedulerType=sched/backfill
# looks at once: the tests wait for nothing else
SchedulerParameters=batch_sched_delay=0,sched_interval=1,sched_min_interval=0,bf_interval=1
KillWait=5
MinJobAge=300
ReturnToService=2
SlurmdTimeout=30
SlurmdParameters=config_overrides
MpiDefault=none
NodeName=$node NodeHostname=$host NodeAddr=127.0.0.1 CPUs=$((cpus * 4)) RealMemory=$memory Gres=gpu:2 State=UNKNOWN
PartitionName=tests Nodes=$node Default=YES MaxTime=UNLIMITED State=UP PriorityTier=1
PartitionName=first Nodes=$node Default=NO MaxTime=UNLIMITED State=UP PriorityTier=9
CONF
  printf 'Name=gpu File=/dev/zero\nName=gpu File=/dev/full\n' >"$folder/gres.conf"
  printf 'CgroupPlugin=cgroup/v1\nCgroupAutomount=no\nConstrainRAMSpace=yes\nConstrainSwapSpace=no\n' >"$folder/cgroup.conf"
}

alive() { [ -s "$1" ] && kill -0 "$(cat "$1")" 2>/dev/null; }

up() {
  [ "$(id -u)" = 0 ] || die "a Slurm of its own needs root" "run this as root, on a machine of your own"
  install_programs
  if alive "$folder/slurmctld.pid" && alive "$folder/slurmd.pid"; then tell; return; fi
  down
  mkdir -p -m 755 "$folder" "$folder/state" "$folder/spool"
  configure
  export SLURM_CONF=$folder/slurm.conf
  mkdir -p -m 700 "$folder/munge"
  dd if=/dev/urandom of="$folder/munge/key" bs=1024 count=1 status=none
  chmod 400 "$folder/munge/key"
  munged --force --key-file="$folder/munge/key" --socket="$folder/munge.socket" --pid-file="$folder/munged.pid" \
    --log-file="$folder/munge/log" --seed-file="$folder/munge/seed" >&2
  slurmctld -f "$SLURM_CONF" >&2
  slurmd -f "$SLURM_CONF" -N "$(node_of)" >&2
  local n
  for n in $(seq 100); do
    if [ "$(sinfo -h -o %T 2>/dev/null | sort -u)" = idle ]; then tell; return; fi
    sleep 0.1
  done
  tail -n 20 "$folder/slurmctld.log" "$folder/slurmd.log" >&2 || true
  down
  die "the node did not come up within 10 s" "the logs above say why"
}

node_of() { sed -n 's/^NodeName=\([^ ]*\).*/\1/p' "$folder/slurm.conf" 2>/dev/null || true; }

tell() { echo "export SLURM_CONF=$folder/slurm.conf"; }

down() {
  local name pid n node
  node=$(node_of)
  if [ -e "$folder/slurm.conf" ]; then SLURM_CONF=$folder/slurm.conf timeout 10 scancel --state=RUNNING --user="$(id -un)" 2>/dev/null || true; fi
  for name in slurmctld slurmd munged; do
    if alive "$folder/$name.pid"; then
      pid=$(cat "$folder/$name.pid")
      kill "$pid"
      for n in $(seq 100); do kill -0 "$pid" 2>/dev/null || break; sleep 0.1; done
    fi
  done
  [ -z "$node" ] || find /sys/fs/cgroup/*/"slurm_$node" -depth -type d -exec rmdir {} + 2>/dev/null || true
  rm -rf "$folder"
}

case ${1:-} in
  install) [ "$(id -u)" = 0 ] || die "packages are installed by root" "run this as root"; install_programs ;;
  up) up ;;
  down) down ;;
  *) die "${1:-nothing} is no command" "install, up or down" ;;
esac
