"""k8s/gateway on a real cluster: two replicas before a provider, whose key they hold; runners reach them and nobody else does."""

import copy
import json
import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass

import pytest

from harness.cluster import objects
from harness.cluster.kustomize import identity, render
from harness.project import bundled
from harness.sandbox.kubernetes import cluster
from tests.kubernetes.test_kubernetes_walls import IMAGE, OpenNamespace, until

pytestmark = pytest.mark.slow
TOKEN, KEY = "the-token-of-this-gateway", "sk-a-key-of-the-provider/0123456789+"
# Says whose key came, and answers with a chat completion.
PROVIDER = """
import http.server, json
class Provider(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        self.rfile.read(int(self.headers["content-length"]))
        print("asked", json.dumps([self.path, self.headers["authorization"]]), flush=True)
        answer = json.dumps({"choices": [{"message": {"role": "assistant", "content": "an answer"}}]}).encode()
        self.send_response(200)
        self.send_header("content-length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)
    def log_message(self, *said): pass
server = http.server.ThreadingHTTPServer(("", 8080), Provider)
print("listens", flush=True)
server.serve_forever()
"""
# Asks until it is answered, or no longer: a new pod's policies take a moment.
CLIENT = """
import json, sys, time, urllib.error, urllib.request
url, token, tries = sys.argv[1], sys.argv[2], int(sys.argv[3])
for _ in range(tries):
    request = urllib.request.Request(url, b'{"model": "m", "messages": []}', {"content-type": "application/json"})
    request.add_header("authorization", "Bearer " + token)
    try:
        with urllib.request.urlopen(request, timeout=3) as response:
            print("answered", response.status, response.read().decode())
            break
    except urllib.error.HTTPError as error:
        if error.code == 503:  # this replica is going
            print("no answer: 503", flush=True)
            continue
        print("answered", error.code, error.read().decode())
        break
    except OSError as error:
        print("no answer:", error, flush=True)
        time.sleep(1)
"""
CLOSED = {
    "runAsNonRoot": True, "runAsUser": 1000, "allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]},
    "seccompProfile": {"type": "RuntimeDefault"},
}  # fmt: skip


@dataclass
class Gateway:
    """An installed one.

    Attributes:
        address: of its Service.
        outside: a namespace that no policy closes, in which the provider is.
    """

    address: str
    outside: OpenNamespace

    def asked_by(self, name: str, namespace: str, role: str, token: str = TOKEN, tries: int = 20) -> list[str]:
        """Let a pod with a role ask, and return the lines that it printed."""
        core = cluster.core()
        url = f"http://{self.address}:8643/house/v1/chat/completions"
        container = {"name": "c", "image": IMAGE, "command": ["python3", "-c", CLIENT, url, token, str(tries)]}
        container |= {"imagePullPolicy": "IfNotPresent", "securityContext": CLOSED}
        spec = {"containers": [container], "restartPolicy": "Never", "terminationGracePeriodSeconds": 0}
        metadata = {"name": f"h-{name}-{os.getpid()}", "labels": {"org.dojo.role": role}}
        core.create_namespaced_pod(namespace, {"metadata": metadata, "spec": spec})
        try:
            phase = lambda: core.read_namespaced_pod(metadata["name"], namespace).status.phase  # noqa: E731
            until(lambda: phase() in ("Succeeded", "Failed"))
            return str(core.read_namespaced_pod_log(metadata["name"], namespace)).splitlines()
        finally:
            core.delete_namespaced_pod(metadata["name"], namespace)


@pytest.fixture(scope="module")
def gateway(settings: pytest.MonkeyPatch) -> Iterator[Gateway]:
    core, outside = cluster.core(), OpenNamespace()
    made = copy.deepcopy(render(bundled("k8s") / "gateway"))
    name = "dojo-gateway"
    try:
        outside.start("provider", PROVIDER)
        outside.said("provider", "listens")
        said = f'upstream = "openai"\nmodel = "m"\nbase_url = "http://{outside.address("provider")}:8080/v1"\n'
        text = f'[backbones.house]\n{said}key = "HOUSE_KEY"\nshared = {{}}\n'
        core.create_namespaced_config_map("dojo", {"metadata": {"name": name}, "data": {"dojo.toml": text}})
        secret = {"DOJO_GATEWAY_TOKEN": TOKEN, "HOUSE_KEY": KEY}
        core.create_namespaced_secret("dojo", {"metadata": {"name": name}, "stringData": secret})
        for body in made:
            objects.apply(body)
        until(lambda: ready() == 2)
        yield Gateway(str(core.read_namespaced_service(name, "dojo").spec.cluster_ip), outside)
    finally:
        for kind, namespace, each in map(identity, made):
            objects.remove(kind, namespace, each)
        with suppress(Exception):
            core.delete_namespaced_config_map(name, "dojo")
        with suppress(Exception):
            core.delete_namespaced_secret(name, "dojo")
        core.delete_namespace(outside.name)


def ready() -> int:
    deployment = objects.read("Deployment", "dojo", "dojo-gateway") or {}
    return int(deployment.get("status", {}).get("readyReplicas") or 0)


def test_a_runner_is_answered_and_the_provider_hears_its_own_key(gateway: Gateway) -> None:
    said = gateway.asked_by("runner", "dojo", "runner")
    assert said[-1].startswith("answered 200") and "an answer" in said[-1], said
    heard = [json.loads(line.partition(" ")[2]) for line in provider_said(gateway) if line.startswith("asked")]
    assert heard[-1] == ["/v1/chat/completions", f"Bearer {KEY}"]
    assert TOKEN not in "".join(provider_said(gateway))


def test_another_token_is_refused_before_the_provider_hears_of_it(gateway: Gateway) -> None:
    before = provider_said(gateway)
    said = gateway.asked_by("other", "dojo", "runner", token="x" * 24)
    assert said[-1].startswith("answered 401") and KEY not in "".join(said), said
    assert provider_said(gateway) == before


@pytest.mark.parametrize(
    ("namespace", "role"), [("dojo", "stranger"), ("outside", "runner")], ids=["no runner", "a runner of another namespace"]
)
def test_who_is_no_runner_gets_no_connection(gateway: Gateway, namespace: str, role: str) -> None:
    said = gateway.asked_by("stranger", gateway.outside.name if namespace == "outside" else namespace, role, tries=3)
    assert len(said) == 3 and all(line.startswith("no answer:") for line in said), said


def test_runners_are_answered_while_a_replica_is_replaced(gateway: Gateway) -> None:
    core = cluster.core()
    pods = core.list_namespaced_pod("dojo", label_selector="org.dojo.role=gateway").items
    assert len(pods) == 2
    core.delete_namespaced_pod(pods[0].metadata.name, "dojo")
    said = gateway.asked_by("meanwhile", "dojo", "runner")
    assert said[-1].startswith("answered 200"), said
    until(lambda: ready() == 2)


def provider_said(gateway: Gateway) -> list[str]:
    return gateway.outside.said("provider", "listens").splitlines()
