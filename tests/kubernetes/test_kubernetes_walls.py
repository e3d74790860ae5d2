"""What a sandbox cannot reach, seen from inside and from outside, and that a pod reaches it where no policy is."""

import os
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from harness.attack import ATTACKS, Verdict
from harness.attack.ground import Ground
from harness.attack.suite import play
from harness.executor.doctor_sandbox import diagnose_kubernetes
from harness.sandbox.contract import Stage
from harness.sandbox.kubernetes import cluster
from harness.sandbox.kubernetes.backend import pod_of
from harness.sandbox.kubernetes.surroundings import api_ends, kubelet_ports
from harness.sandbox.reach import PROGRAM, FarEnd, heard, reached_from, told

pytestmark = pytest.mark.slow
IMAGE = "dojo/base:bookworm"
# Answers on TCP and, as DNS would, on UDP, and says who came; it takes in nothing of it.
WITNESS = """
import socket, threading
def tcp():
    listener = socket.create_server(("", 8080))
    while True:
        connection, peer = listener.accept()
        print("came", peer[0], flush=True)
        connection.close()
threading.Thread(target=tcp, daemon=True).start()
udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
udp.bind(("", 53))
print("listens", flush=True)
while True:
    question, peer = udp.recvfrom(512)
    print("came", peer[0], flush=True)
    udp.sendto(question, peer)
"""


def until(what: Callable[[], Any]) -> Any:
    deadline = time.monotonic() + 60
    while not (found := what()):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    return found


class OpenNamespace:
    """A namespace that no policy closes, and pods in it."""

    def __init__(self) -> None:
        self.name, self.core = f"h-open-{os.getpid()}", cluster.core()
        self.core.create_namespace({"metadata": {"name": self.name}})

    def start(self, name: str, *argv: str) -> None:
        container = {"name": "c", "image": IMAGE, "command": ["python3", "-c", *argv], "imagePullPolicy": "IfNotPresent"}
        spec = {"containers": [container], "restartPolicy": "Never", "terminationGracePeriodSeconds": 0}
        self.core.create_namespaced_pod(self.name, {"metadata": {"name": name}, "spec": spec})

    def said(self, name: str, wanted: str = "") -> str:
        """What a pod has printed, once it has printed ``wanted``; without, at its end."""

        def look() -> str:
            status = self.core.read_namespaced_pod(name, self.name).status
            if status.phase == "Pending" or (not wanted and status.phase == "Running"):
                return ""
            text = str(self.core.read_namespaced_pod_log(name, self.name))
            return text if wanted in text else ""

        return str(until(look))

    def address(self, name: str) -> str:
        return str(self.core.read_namespaced_pod(name, self.name).status.pod_ip)


@pytest.fixture(scope="module")
def open_namespace(stage: Stage) -> Iterator[OpenNamespace]:
    made = OpenNamespace()
    try:
        made.start("witness", WITNESS)
        made.said("witness", "listens")
        yield made
    finally:
        made.core.delete_namespace(made.name)


def test_what_an_open_pod_reaches_a_sandbox_does_not_and_nobody_outside_hears_of_it(
    stage: Stage, open_namespace: OpenNamespace
) -> None:
    """The API, the kubelet, another pod by TCP and by UDP as DNS is; metadata and the internet are not there to be reached."""
    sandbox, witness = pod_of(stage.sandbox), open_namespace.address("witness")
    (host, port), *_ = reversed(api_ends())  # the servers behind the Service, which is not everywhere
    ends = [
        FarEnd("the cluster's API", "tcp", host, port),
        FarEnd("the kubelet", "tcp", sandbox["status"]["hostIP"], *kubelet_ports(sandbox["spec"]["nodeName"])),
        FarEnd("another pod", "tcp", witness, 8080),
        FarEnd("a server of names", "udp", witness, 53),
    ]
    open_namespace.start("open", PROGRAM, told(ends))
    assert heard(open_namespace.said("open"), ends) == ends, "the control: what nobody stops reaches all of it"
    assert reached_from(stage.sandbox, ends) == []
    came = {line.split()[1] for line in open_namespace.said("witness", "came").splitlines() if line.startswith("came")}
    assert came == {open_namespace.address("open")}


def test_an_open_pod_does_not_reach_a_sandbox_either(stage: Stage, open_namespace: OpenNamespace) -> None:
    """Its door is for runners alone, whatever token somebody has."""
    door = [FarEnd("a sandbox's door", "tcp", pod_of(stage.sandbox)["status"]["podIP"], 7443)]
    open_namespace.start("stranger", PROGRAM, told(door))
    assert heard(open_namespace.said("stranger"), door) == []


@pytest.mark.parametrize("name", ["reaches-the-cluster", "speaks-for-its-pod", "leaves-no-memory-for-the-server"])
def test_the_attacks_on_a_cluster_are_stopped(name: str, ground: Ground) -> None:
    (attack,) = [attack for attack in ATTACKS if attack.name == name]
    played = play(attack, ground)
    assert played.verdict is Verdict.STOPPED, played.seen


def test_a_row_that_rests_on_what_a_pod_has_not_says_so(ground: Ground) -> None:
    (attack,) = [attack for attack in ATTACKS if attack.name == "eats-memory"]
    played = play(attack, ground)
    assert played.verdict is Verdict.NOT_HERE and "row 26" in played.seen


def test_the_doctor_tries_the_walls_and_the_disk_of_a_real_sandbox(ground: Ground, settings: pytest.MonkeyPatch) -> None:
    with settings.context() as patch:
        patch.setenv("DOJO_IMAGE_GRADER", IMAGE)
        found = {check.name: check for check in diagnose_kubernetes(ground.backend)}
    assert all(check.ok for check in found.values()), found
    assert "the cluster's API" in found["policy in force"].detail and "written to" in found["storage"].detail
    assert found[f"image {IMAGE}"].detail.startswith("on every node") and found["gpus"].detail
