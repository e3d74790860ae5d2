"""Attacks in a live sandbox on its walls: network, host, other runs, kernel doors (row 24), and LLM endpoints (row 22)."""

from __future__ import annotations

import http.server
import json
import os
import socketserver
import threading
from collections.abc import Sequence
from pathlib import Path

from harness.attack.base import Attack, Where, stopped
from harness.attack.ground import Ground
from harness.attack.promised import promised
from harness.sandbox.base import Relay, Sandbox
from harness.sandbox.contract.promise import PATIENCE_S, expect, wait_until

# Tries to have an answer from addresses (tcp), names (dns) and sockets (unix); argv: JSON list of [kind, address].
_REACH = """
import json, os, socket, sys
reached = []
for kind, address in json.loads(sys.argv[1]):
    try:
        if kind == "tcp":
            with socket.create_connection(tuple(address), timeout=3) as connection:
                connection.settimeout(3)
                connection.sendall(b"GET / HTTP/1.0\\r\\n\\r\\n")
                if not connection.recv(1):
                    continue
        elif kind == "udp":
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
                probe.settimeout(1)
                question = b"\\x07example\\x03com\\x00\\x00\\x01\\x00\\x01"
                probe.sendto(b"\\x12\\x34\\x01\\x00\\x00\\x01" + bytes(6) + question, tuple(address))
                probe.recv(1)
        elif kind == "dns":
            socket.getaddrinfo(address, 443)
        else:
            socket.socket(socket.AF_UNIX).connect(address)
        reached.append([kind, address])
    except OSError:
        pass
keys = sorted(name for name in os.environ if "API_KEY" in name or name.endswith("_BASE_URL"))
print(json.dumps({"reached": reached, "keys": keys}))
"""
_METADATA = [("tcp", ["169.254.169.254", 80]), ("tcp", ["169.254.170.2", 80]), ("tcp", ["100.100.100.200", 80]),
             ("dns", "metadata.google.internal")]  # fmt: skip
_OUT = [("tcp", [host, port]) for host in ("1.1.1.1", "8.8.8.8", "9.9.9.9") for port in (53, 80, 443)] + [
    ("udp", ["1.1.1.1", 53]), ("udp", ["8.8.8.8", 53]), ("tcp", ["10.0.0.1", 443]), ("tcp", ["192.168.0.1", 80]),
    ("tcp", ["172.17.0.1", 22]), ("dns", "example.com"), ("dns", "localhost.localdomain.example"),
]  # fmt: skip
_SOCKETS = [
    "/var/run/docker.sock", "/run/docker.sock", "/run/containerd/containerd.sock", "/run/podman/podman.sock",
    "/run/crio/crio.sock", "/run/dbus/system_bus_socket", "/run/systemd/private", "/run/dojo/private/control.sock",
    "/run/dojo/commands.sock",
    "\0docker", "\0containerd",
]  # fmt: skip
_LLM = [("dns", host) for host in ("api.openai.com", "api.anthropic.com", "generativelanguage.googleapis.com")] + [
    ("tcp", ["127.0.0.1", port]) for port in (4000, 8000, 8080, 11434)
]  # fmt: skip
# Opens what belongs to processes beyond its own; what could be opened is printed.
_OTHERS = """
import json, os
seen = []
for pid in range(1, 400):
    if pid in (os.getpid(), os.getppid()):
        continue
    for inner in ("mem", "environ", "maps", "fd/3", "cwd/..", "root"):
        path = f"/proc/{pid}/{inner}"
        try:
            if inner.startswith(("cwd", "root")):
                os.listdir(path)
            else:
                open(path, "rb").close()
            seen.append(path)
        except OSError:
            pass
print(json.dumps(seen))
"""


def _reach(sandbox: Sandbox, targets: Sequence[tuple[str, object]], *, keys: bool = False) -> str:
    result = sandbox.exec(["python3", "-c", _REACH, json.dumps(targets)], timeout_s=4 * PATIENCE_S)
    expect(result.ok, result)
    answer = json.loads(result.stdout)
    stopped(not answer["reached"], f"reached {answer['reached']}")
    if keys:
        stopped(not answer["keys"], f"keys or endpoints in the environment: {answer['keys']}")
    return f"none of {len(targets)} addresses, names and sockets answered"


def _host_addresses() -> list[tuple[str, object]]:
    """Return the host's own addresses with a port that something listens on there."""
    import socket

    found: list[tuple[str, object]] = []
    name = socket.gethostname()
    try:
        addresses = {info[4][0] for info in socket.getaddrinfo(name, None, socket.AF_INET)}
    except OSError:
        addresses = set()
    for address in sorted(map(str, addresses | {"127.0.0.1"})):
        found += [("tcp", [address, port]) for port in (22, 80, 2375, 2376, 6443, 10250)]
    return found


class _Listener(socketserver.ThreadingMixIn, http.server.HTTPServer):
    daemon_threads = True


def _reach_out(ground: Ground) -> str:
    """The host listens on all its addresses while the sandbox tries them."""
    with _Listener(("0.0.0.0", 0), http.server.BaseHTTPRequestHandler) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        try:
            port = server.server_address[1]
            own: list[tuple[str, object]] = [("tcp", ["127.0.0.1", port]), ("tcp", ["172.17.0.1", port])]
            own += [("tcp", [address[0], port]) for kind, address in _host_addresses() if isinstance(address, list)]
            return _reach(ground.stage.sandbox, [*own, *_host_addresses(), *_OUT, *_METADATA])
        finally:
            server.shutdown()


class _UnixListener(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    daemon_threads = True


class _SaysHello(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        self.request.recv(100)
        self.request.sendall(b"hello")


def _reach_a_relay(ground: Ground) -> str:
    """What reaches nothing reaches the one way that was opened on purpose."""
    socket = Path(f"/tmp/dojo-attack-{os.getpid()}") / "s"
    socket.parent.mkdir(mode=0o700)
    try:
        with _UnixListener(str(socket), _SaysHello) as server:
            threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
            with ground.stage.new(relays=[Relay(4000, socket)]) as sandbox:
                answer = _reach(sandbox, [("tcp", ["127.0.0.1", 4000])])
            server.shutdown()
        return answer
    finally:
        socket.unlink(missing_ok=True)
        socket.parent.rmdir()


def _engine_sockets(ground: Ground) -> str:
    return _reach(ground.stage.sandbox, [("unix", path) for path in _SOCKETS])


def _own_socket(ground: Ground) -> str:
    """The same script connects to a socket that is there."""
    server = "import socket, time; s = socket.socket(socket.AF_UNIX); s.bind('/workspace/own.sock'); s.listen(); time.sleep(600)"
    with ground.stage.new() as sandbox:
        sandbox.start(["python3", "-c", server])
        wait_until(lambda: sandbox.exec(["test", "-S", "own.sock"]).ok, "the socket")
        return _reach(sandbox, [("unix", "/workspace/own.sock")])


def _no_model_to_ask(ground: Ground) -> str:
    return _reach(ground.stage.sandbox, _LLM, keys=True)


def _other_processes(ground: Ground) -> str:
    with ground.stage.new() as other, ground.stage.new() as sandbox:
        other.start(["sleep", "600"])
        return _see_others(sandbox)


def _own_processes(ground: Ground) -> str:
    with ground.stage.new() as sandbox:
        sandbox.start(["sleep", "600"])
        return _see_others(sandbox)


def _see_others(sandbox: Sandbox) -> str:
    result = sandbox.exec(["python3", "-c", _OTHERS], timeout_s=PATIENCE_S)
    expect(result.ok, result)
    seen = json.loads(result.stdout)
    stopped(not seen, f"open: {seen[:5]}")
    return "no memory, environment, descriptor or root of another process can be opened"


ATTACKS = (
    Attack(
        22, "calls-a-model", Where.SANDBOX,
        "look for LLM keys and endpoints in the environment, on loopback ports and by the names of providers",
        "there is no key, no endpoint and no route",
        _no_model_to_ask, _reach_a_relay,
    ),
    Attack(
        24, "reaches-out", Where.SANDBOX,
        "connect to the host on all its addresses while it listens, to the internet by TCP, UDP and name, to cloud metadata",
        "no device but loopback, which is not the host's",
        _reach_out, _reach_a_relay,
    ),
    Attack(
        24, "asks-the-engine", Where.SANDBOX,
        "connect to the sockets of container engines, buses and the harness, by path and by abstract name",
        "none of them is in the sandbox",
        _engine_sockets, _own_socket,
    ),
    Attack(
        24, "reads-other-processes", Where.SANDBOX,
        "open memory, environment, descriptors and root of every process number",
        "a process namespace of its own; what starts commands is closed to them",
        _other_processes, _own_processes,
    ),
    promised(
        24, "leaves-the-network", "look for interfaces, routes, names, the host's loopback and abstract sockets",
        "a network namespace of its own",
        "there_is_no_route_out", "the_hosts_loopback_is_another",
    ),
    promised(
        24, "finds-the-host", "look for the host's files, processes and other sandboxes, through links and mounts too",
        "mount and process namespaces of its own",
        "the_hosts_files_are_absent", "other_processes_are_not_seen", "files_handed_to_the_harness_lead_nowhere",
    ),
    promised(
        24, "gains-privileges", "use set-uid programs, capabilities and user ids",
        "no capability, `no_new_privs`, no set-uid",
        "commands_have_no_privileges", "set_uid_programs_do_nothing",
    ),
    promised(
        24, "opens-rare-doors",
        "mount, unshare, bpf, io_uring, keyrings, perf, userfaultfd, modules, vsock, packet and netlink sockets",
        "the system call filter",
        "the_kernels_rare_doors_are_shut",
    ),
)  # fmt: skip
