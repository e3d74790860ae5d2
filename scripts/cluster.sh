#!/usr/bin/env bash
# A Kubernetes cluster for the tests: `scripts/cluster.sh up` prints the path of its kubeconfig, `down` ends what `up` started.
# With KUBECONFIG set that cluster is used as it is (it needs k8s/base and the images dojo/base:bookworm, dojo/runner:cpu). Else one is started by
# the program in $DOJO_TEST_CLUSTER (default ../shared/k8s: a real one on one node), if that is there.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
die() { printf 'cluster: %s\n  %s\n' "$1" "$2" >&2; exit 3; }
place=${DOJO_TEST_CLUSTER:-../shared/k8s}

case ${1:-} in
  up)
    if [ -n "${KUBECONFIG:-}" ]; then echo "$KUBECONFIG"; exit 0; fi
    [ -f "$place/up" ] || die "nothing at $place starts a cluster" "set KUBECONFIG to one of yours, or DOJO_TEST_CLUSTER"
    [ "$(id -u)" = 0 ] || die "a cluster on this machine needs root" "set KUBECONFIG to one of yours"
    config=$(sh "$place/up" --netpol --services | tail -1)
    config=${config#KUBECONFIG=}
    archive=$(mktemp)
    trap 'rm -f "$archive"' EXIT
    for image in dojo/base:bookworm dojo/runner:cpu; do
      docker save "$image" >"$archive" || die "there is no image $image" "dojo images build base runner"
      sh "$place/image" "$archive" "$image" >&2
    done
    sh "$place/ctl" kubectl apply -k "$PWD/k8s/base" >&2
    echo "$config"
    ;;
  down)
    if [ -z "${KUBECONFIG:-}" ] && [ -f "$place/down" ]; then sh "$place/down" >&2; fi
    ;;
  *) die "${1:-nothing} is no command" "up or down" ;;
esac
