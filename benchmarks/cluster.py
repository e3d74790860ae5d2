"""Thousands of runs on hundreds of nodes: what the executor `kubernetes` costs, on simulated nodes with stand-in pods.

On a cluster that may be upset (KUBECONFIG of an administrator, `k8s/base` applied, Kueue for the part of two users) kwok (--kwok,
or a program of that name) plays simulated nodes: pods there run at once and end well after --seconds. All else is as it is: the
executor, in a process of its own over a PostgreSQL, makes its Jobs and follows them; the cluster's own controllers and scheduler
make and place their pods. What a runner would write down (that its run has ended) is written by a thread here as soon as its pod
runs. Beside it, in the same run: the same objects made by a plain loop of the client's own call, and by eight threads. All other
nodes are cordoned meanwhile. Before it, on the real nodes: a call in a pod beside one in a container of the docker backend, in
turns (`sandbox.py` measures more of both), and what 200 clients wait for at two replicas of the service (`service.py`).

makespan: from the submit to the last outcome, over what M runs of that length take on so many places in full waves.
"""

from __future__ import annotations

import argparse
import contextlib
import copy
import json
import math
import multiprocessing
import os
import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

REPO = Path(__file__).resolve().parents[1]
GOALS = {"submit_per_s": 100.0, "makespan_ratio": 1.05, "memory_mb_per_run": 20.0, "exec_to_docker": 3.0}
_BASELINE = 100
_KWOK_PORT = 16499


def say(text: str) -> None:
    print(f"[{datetime.now(UTC):%H:%M:%S}] {text}", file=sys.stderr, flush=True)


@contextlib.contextmanager
def namespaces(core: Any, name: str) -> Iterator[tuple[str, str]]:
    """Yield a namespace for Jobs, with the volume, account and Secret that they name, and one for sandboxes."""
    jobs, sandboxes, room = name, f"{name}-sandboxes", {"storage": "1Gi"}
    shared: dict[str, Any] = {"accessModes": ["ReadWriteMany"], "storageClassName": ""}
    try:
        for namespace in (jobs, sandboxes):
            core.create_namespace({"metadata": {"name": namespace}})
        core.create_namespaced_service_account(jobs, {"metadata": {"name": "dojo-runner"}})
        volume = {"capacity": room, "hostPath": {"path": "/nowhere"}, "claimRef": {"namespace": jobs, "name": name}}
        core.create_persistent_volume({"metadata": {"name": name}, "spec": {**shared, **volume}})
        claim = {"metadata": {"name": name}, "spec": {**shared, "volumeName": name, "resources": {"requests": room}}}
        core.create_namespaced_persistent_volume_claim(jobs, claim)
        variables = {"NAMESPACE": jobs, "HOME": f"{name}/", "CACHE": f"{name}/", "DATABASE": name}
        os.environ.update({f"DOJO_K8S_RUNNER_{key}": value for key, value in variables.items()})
        os.environ["DOJO_K8S_NAMESPACE"] = sandboxes
        yield jobs, sandboxes
    finally:
        say("removing all that was made")
        for namespace in (jobs, sandboxes):
            with contextlib.suppress(Exception):
                core.delete_namespace(namespace)
        with contextlib.suppress(Exception):
            core.delete_persistent_volume(name)
        end = time.monotonic() + 600
        while time.monotonic() < end and any(n.metadata.name in (jobs, sandboxes) for n in core.list_namespace().items):
            time.sleep(1)


def bare(core: Any, namespace: str, count: int, threads: int) -> float:
    """Make the Jobs of ``count`` runs without dojo, by the client's own call; return how many a second, and remove them."""
    from kubernetes.client import BatchV1Api

    from harness.executor.contract import _spec
    from harness.executor.kubernetes.job import job
    from harness.executor.kubernetes.settings import RunnerSettings
    from harness.sandbox.kubernetes.settings import Settings
    from harness.spec.task import Limits

    api, settings = BatchV1Api(core.api_client), (RunnerSettings.from_environment(), Settings.from_environment())
    body = job(_spec("b-bare", Limits(cpus=1, memory_mb=64)), 1, *settings, ("true",))
    bodies = [copy.deepcopy(body) for _ in range(count)]
    for number, each in enumerate(bodies):
        each["metadata"]["name"] = f"bare-{threads}-{number}"
    begun = time.monotonic()
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(lambda each: api.create_namespaced_job(namespace, each), bodies))
    rate = count / (time.monotonic() - begun)
    api.delete_collection_namespaced_job(namespace, propagation_policy="Background")
    while core.list_namespaced_pod(namespace, limit=1).items or api.list_namespaced_job(namespace, limit=1).items:
        time.sleep(0.5)
    return rate


class Player:
    """Writes down that a run has ended as soon as its runner's pod runs, and counts what it sees."""

    def __init__(self, core: Any, namespace: str, store: Any) -> None:
        self._core, self._namespace, self._store = core, namespace, store
        self.runs: set[str] = set()
        self.ended: set[str] = set()
        self.most = 0
        self._stop = threading.Event()
        threading.Thread(target=self._follow, daemon=True).start()

    def stop(self) -> None:
        self._stop.set()

    def _follow(self) -> None:
        from kubernetes.watch import Watch

        from harness.spec.outcome import RunState

        with ThreadPoolExecutor(4) as pool:
            while not self._stop.is_set():
                with contextlib.suppress(Exception):  # the server ends a watch now and then
                    for event in Watch().stream(
                        self._core.list_namespaced_pod, self._namespace, deserialize=False, timeout_seconds=120
                    ):
                        pod = event["object"]
                        run, phase = pod["metadata"]["labels"]["org.dojo.run"], pod["status"].get("phase")
                        if phase in ("Running", "Succeeded") and run not in self.runs:
                            self.runs.add(run)
                            pool.submit(self._store.record_state, run, RunState.DONE)
                        if phase == "Succeeded":
                            self.ended.add(run)
                        self.most = max(self.most, len(self.runs - self.ended))


def requests_served(core: Any) -> float:
    """Return how many requests the API server has answered, whoever asked."""
    client = core.api_client
    token = client.configuration.get_api_key_with_prefix("authorization")
    headers = {"Accept": "text/plain", **({"authorization": token} if token else {})}
    response = client.rest_client.request("GET", f"{client.configuration.host}/metrics", headers=headers)
    lines = response.read().decode().splitlines()
    return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith("apiserver_request_total{"))


def a_call(rounds: int) -> dict[str, Any]:
    """Return the round trip of a call in a pod and in a container, and the ratio of their medians; or why there is none."""
    from sandbox import Ours, round_trips

    from harness.sandbox import images
    from harness.spec.errors import DojoError

    os.environ.setdefault("DOJO_IMAGE_TASK", images.reference("base", "cpu"))
    subjects: list[Ours] = []
    try:
        for backend in ("docker", "kubernetes"):
            subjects.append(Ours(backend, backend))
        trips = round_trips(subjects, rounds)
    except DojoError as exc:
        return {"not_here": f"{exc.message}: {exc.hint}"}
    finally:
        for subject in subjects:
            subject.close()
    return {**trips, "ratio": trips["kubernetes"]["p50_ms"] / trips["docker"]["p50_ms"]}


def has_kueue(core: Any) -> bool:
    """Say whether the cluster knows Kueue's kinds."""
    from kubernetes.client import ApisApi

    return any(group.name == "kueue.x-k8s.io" for group in ApisApi(core.api_client).get_api_versions().groups)


def submitted(core: Any, namespace: str, address: str, args: argparse.Namespace) -> dict[str, Any]:
    """Record a batch and let dojo submit it; return what was measured."""
    from simulated.submitting import submit

    from harness.executor.contract import Stage
    from harness.executor.local import LocalExecutor
    from harness.store.database import SqlStore

    with tempfile.TemporaryDirectory() as folder:
        store = SqlStore(Path(folder), address)
        batch, runs = Stage(LocalExecutor, store).batch(args.runs)
        say(f"{len(runs)} runs are recorded")
        player, served = Player(core, namespace, store), requests_served(core)
        ours, theirs = multiprocessing.Pipe(False)
        process = multiprocessing.get_context("spawn").Process(
            target=submit, args=(batch, folder, address, args.parallel, theirs)
        )
        process.start()
        theirs.close()
        found: dict[str, Any] = {}
        try:
            while "makespan_s" not in found:
                if ours.poll(5):
                    found |= ours.recv()
                    if "makespan_s" not in found:
                        say(f"{args.runs} Jobs were asked for in {found['submit_s']:.1f} s")
                say(f"{len(player.runs)} of {args.runs} runners have begun, {len(player.ended)} ended")
        finally:
            process.join(30)
            player.stop()
        found["requests_of_all"] = requests_served(core) - served
        found["most_at_once"] = player.most
        store.close()
    return found


def figures(found: dict[str, Any], args: argparse.Namespace) -> dict[str, Any]:
    """Return what is compared with the goals."""
    places = min(args.nodes * args.slots, args.parallel or math.inf)
    ideal = math.ceil(args.runs / places) * args.seconds
    watches = sum(count for what, count in found["asked"].items() if what.startswith("watch "))
    return {
        "submit_per_s": args.runs / found["submit_s"],
        "makespan_s": found["makespan_s"],
        "ideal_s": ideal,
        "makespan_ratio": found["makespan_s"] / ideal,
        "memory_mb": found["memory_most_mb"],
        "memory_mb_per_run": (found["memory_most_mb"] - found["memory_before_mb"]) / args.runs,
        "requests_per_run": sum(found["asked"].values()) / args.runs,
        "watches": watches,
        "requests_of_all_per_run": found["requests_of_all"] / args.runs,
        "cpu_ms_per_run": 1e3 * found["cpu_s"] / args.runs,
    }


def measure(core: Any, address: str, args: argparse.Namespace) -> dict[str, Any]:
    import service
    from simulated.nodes import simulated, stages
    from simulated.users import share

    say("a call in a pod")
    call = a_call(args.calls)
    say("200 clients of the service")
    with service.database(None) as apart:
        looked = service.measure(200, 20.0, 200, apart, 2.0)
    name = f"dojo-scale-{os.getpid()}"
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder) / "kwok.yaml"
        config.write_text(stages(args.seconds, args.sandbox_seconds), encoding="utf-8")
        nodes = simulated(core, args.nodes, args.slots, args.kwok, os.environ["KUBECONFIG"], config, _KWOK_PORT)
        with nodes, namespaces(core, name) as (jobs, sandboxes):  # pods go while there is somebody who plays their going
            say(f"{args.nodes} simulated nodes are ready")
            count = min(args.runs, _BASELINE)
            loop, eight = (bare(core, jobs, count, threads) for threads in (1, 8))
            say(f"without dojo {loop:.0f} Jobs a second one after the other, {eight:.0f} by eight threads")
            found = submitted(core, jobs, address, args)
            say(f"so far {json.dumps(figures(found, args))}")
            users = {}
            for apart in (False, True) if args.users else ():
                say(f"two users before Kueue, {'a queue each' if apart else 'one queue'}")
                gpus = min(20, args.nodes * args.slots)
                called = f"{name}-apart" if apart else name  # a queue that was deleted takes its time to go
                users["a queue each" if apart else "one queue"] = share(core, sandboxes, called, gpus, args.users, apart)
    return {
        "benchmark": "cluster",
        "what": f"{args.runs} runs of {args.seconds:g} s on {args.nodes} simulated nodes of {args.slots} places",
        "date": f"{datetime.now(UTC):%Y-%m-%d}",
        "figures": figures(found, args),
        "goals": GOALS,
        "bare_per_s": {"loop": loop, "eight threads": eight},
        "users": users,
        "exec": call,
        "service": looked,
        "found": found,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nodes", type=int, default=50, help="1000 for the large size")
    parser.add_argument("--runs", type=int, default=200, help="5000 for the large size")
    parser.add_argument("--slots", type=int, default=2, help="runners on a node at once")
    parser.add_argument("--seconds", type=float, default=60.0, help="that each run takes")
    parser.add_argument("--parallel", type=int, help="as `dojo submit --parallel`")
    parser.add_argument("--users", type=int, default=30, help="sandboxes of the second of two users; 0 leaves that part out")
    parser.add_argument("--sandbox-seconds", type=float, default=5.0, help="that each of the users' sandboxes takes")
    parser.add_argument("--calls", type=int, default=300, help="in a pod and in a container")
    parser.add_argument("--kwok", default=shutil.which("kwok"), help="the program")
    parser.add_argument("--postgres", metavar="URL", help="an empty database; default: a server started for this")
    parser.add_argument("--json", type=Path, metavar="FILE")
    args = parser.parse_args()
    if min(args.nodes, args.runs, args.slots, args.seconds, args.sandbox_seconds) <= 0:
        parser.error("--nodes, --runs, --slots and the seconds are above zero")
    from service import database

    from harness.sandbox.kubernetes import cluster

    here = bool(os.environ.get("KUBECONFIG") and args.kwok)
    lacking = (
        ("KUBECONFIG", not os.environ.get("KUBECONFIG"), "set KUBECONFIG"),
        ("simulated nodes", not args.kwok, "--kwok PROGRAM"),
        ("Kueue", here and args.users and not has_kueue(cluster.core()), "install Kueue, or leave two users out with --users 0"),
    )
    for what, lacks, remedy in lacking:
        if lacks:
            print(f"not measured: {what} is not at hand ({remedy})", file=sys.stderr)
            sys.exit(3)
    with database(args.postgres) as address:
        found = measure(cluster.core(), address, args)
    of = found["figures"]
    print(f"{found['what']}: {found['found']['outcomes']}\n\n| | measured | goal |\n|---|---|---|")
    print(f"| Jobs asked for a second | {of['submit_per_s']:.0f} | {GOALS['submit_per_s']:.0f} |")
    for name, rate in found["bare_per_s"].items():
        print(f"| the same without dojo, {name} | {rate:.0f} | |")
    print(f"| makespan | {of['makespan_s']:.0f} s, {of['makespan_ratio']:.3f} of ideal | {GOALS['makespan_ratio']} |")
    print(f"| memory of who submits | {of['memory_mb']:.0f} MiB, {of['memory_mb_per_run']:.3f} a run | 20 a run |")
    print(f"| its requests a run | {of['requests_per_run']:.2f} ({of['watches']} watches in all) | |")
    print(f"| requests of the whole cluster a run | {of['requests_of_all_per_run']:.0f} | |")
    if "ratio" in found["exec"]:
        trips = [f"{found['exec'][name]['p50_ms']:.2f} ms" for name in ("kubernetes", "docker")]
        goal = GOALS["exec_to_docker"]
        print(f"| a call in a pod, in a container | {', '.join(trips)}: {found['exec']['ratio']:.2f} | {goal:.0f} |")
    else:
        print(f"| a call in a pod | not measured: {found['exec']['not_here']} | |")
    for words, key in (("look every 2 s", "looking"), ("ask as fast as answers come", "service")):
        one = found["service"][key]
        print(f"| 200 clients that {words} | p50 {one['p50_ms']:.0f} ms, p99 {one['p99_ms']:.0f} ms | |")
    for how, one in found["users"].items():
        waited = ", ".join(f"{user} {wait:.0f} s" for user, wait in one["median_wait_s"].items())
        print(f"| two users, {how} | the second had {one['share_of_second']:.0%} of the places; median wait {waited} | 50% |")
    print(f"\nratio to eight threads without dojo: {found['bare_per_s']['eight threads'] / of['submit_per_s']:.2f}")
    if args.json:
        args.json.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    sys.path.insert(0, str(REPO))
    main()
