"""The first process of a pod's containers: the door, with execd as its child.

A pod has two stages on one port. "fill" is its init container: the harness sends what is to be shown inside, and says when that
is all. "main" sees it read-only, and begins only when it has found that the network is closed: a new pod is open for a moment,
until the policy agent of its node has heard of it.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import select
import signal
import socket
import sys
import time
from typing import Any

from ..execd import main as execd
from ..execd.settings import PRIVATE_DIR
from .door import Door
from .make import SOCKETS, listen, settings_from

SECRET_DIR = f"{PRIVATE_DIR}/secret"
STAGE_VARIABLE, HOST_VARIABLE = "DOJO_STAGE", "DOJO_HOST_IP"
# exit codes that the backend reads
NETWORK_OPEN = 78
OUT_OF_MEMORY = 79
# places that commands write to, all on one volume, and who may
PLACES = {"/workspace": 0o755, "/tmp": 0o1777, "/dev/shm": 0o1777}
_NOT_THE_IMAGES = ("KUBERNETES_", "DOJO_", "HOSTNAME")
_CLOSED_S = 30.0
_TRY_S = 0.5
_KUBELET = 10250
# the container's own counts, of either version of control groups
_OOM_COUNTERS = ("/sys/fs/cgroup/memory.events", "/sys/fs/cgroup/memory/memory.oom_control")
_CPU_COUNTERS = ("/sys/fs/cgroup/cpu.stat", "/sys/fs/cgroup/cpuacct/cpuacct.usage", "/sys/fs/cgroup/cpu,cpuacct/cpuacct.usage")


def main() -> None:
    """Serve this container's stage until its end."""
    os.chmod(PRIVATE_DIR, 0o700)
    with open(f"{SECRET_DIR}/plan.json", encoding="utf-8") as file:
        plan = json.load(file)
    stage = os.environ[STAGE_VARIABLE]
    if stage == "main":
        _make_places(plan["agent"])
        if not closed(_far_ends(plan), time.monotonic() + _CLOSED_S):
            print("the network of this pod is open: its far ends can be reached", file=sys.stderr, flush=True)
            sys.exit(NETWORK_OPEN)
    os.chdir(PRIVATE_DIR)
    relays = [_listen_for_relay(number) for number, _ in enumerate(plan["relays"] if stage == "main" else ())]
    sockets = [listen(name) for name in SOCKETS]
    first = _fork_execd(_plan_for_execd(plan, stage), sockets, relays)
    for sock in sockets:
        sock.close()
    asyncio.run(_serve(relays, first))
    if stage == "fill":
        sys.exit(0)
    sys.exit(OUT_OF_MEMORY if _killed_for_memory(first) else 1)


def _killed_for_memory(first: int) -> bool:
    """Whether the kernel has ended execd, and others in this container for want of memory."""
    pid, status = os.waitpid(first, os.WNOHANG)
    if not pid or not os.WIFSIGNALED(status) or os.WTERMSIG(status) != signal.SIGKILL:
        return False
    for path in filter(os.path.exists, _OOM_COUNTERS):
        with open(path, encoding="ascii") as file:
            words = [line.split() for line in file]
        return any(name == "oom_kill" and int(count) for name, count in words)
    return False


async def _serve(relays: list[socket.socket], first: int) -> None:
    door = Door(SECRET_DIR, PRIVATE_DIR, relays)
    # the first process is asked to go: connections end while there still is a network to say so
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, door.end)
    await door.serve(first)


def _fork_execd(plan: dict[str, Any], sockets: list[socket.socket], relays: list[socket.socket]) -> int:
    pid = os.fork()
    if pid:
        return pid
    try:
        for relay in relays:
            relay.close()
        os.setsid()
        settings = settings_from(plan)
        os.chdir("/")
        execd.run(settings, sockets[0], sockets[1], ready=lambda: None)
    finally:
        os._exit(1)


def _plan_for_execd(plan: dict[str, Any], stage: str) -> dict[str, Any]:
    """Return what execd is told: the image's environment below the plan's, and this container's counter."""
    image = {name: value for name, value in os.environ.items() if not name.startswith(_NOT_THE_IMAGES)}
    path = image.pop("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
    shown = plan["relays"] if stage == "main" else ()
    return {
        "mode": "privileged",
        "agent": plan["agent"],
        "env": {**image, **plan["base_env"], "PATH": f"/opt/dojo/bin:{path}", **plan["env"]},
        "rlimits": plan["rlimits"],
        "cgroup_procs": [],
        "oom_counter": next(filter(os.path.exists, _OOM_COUNTERS), ""),
        "cpu_counter": next(filter(os.path.exists, _CPU_COUNTERS), ""),
        "relays": [[port, f"{PRIVATE_DIR}/relay{number}/s"] for number, port in enumerate(shown)],
    }


def _make_places(agent: int) -> None:
    for path, mode in PLACES.items():
        os.chmod(path, mode)
    os.chown("/workspace", agent, agent)


def _listen_for_relay(number: int) -> socket.socket:
    folder = f"relay{number}"
    os.mkdir(folder, 0o700)
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    sock.bind(f"{folder}/s")
    sock.listen(256)
    return sock


def _far_ends(plan: dict[str, Any]) -> list[tuple[str, int]]:
    """Return what an open pod would reach: what the backend named, the cluster's API, and the kubelet of its own node."""
    named = [(str(name), int(port)) for name, port in plan["far_ends"]]
    api = os.environ.get("KUBERNETES_SERVICE_HOST", ""), int(os.environ.get("KUBERNETES_SERVICE_PORT") or 443)
    return named + [(host, port) for host, port in (api, (os.environ.get(HOST_VARIABLE, ""), _KUBELET)) if host]


def closed(far_ends: list[tuple[str, int]], deadline: float) -> bool:
    """Wait until none of ``far_ends`` can be reached, twice one after the other; false when that does not come to be."""
    quiet = 0
    while quiet < 2:
        quiet = 0 if _reached(far_ends) else quiet + 1
        if not quiet:
            if time.monotonic() > deadline:
                return False
            time.sleep(0.1)
    return True


def _reached(far_ends: list[tuple[str, int]]) -> bool:
    """Whether any answers within a moment."""
    with contextlib.ExitStack() as stack:
        poll, trying = select.poll(), {}
        for host, port in far_ends:
            sock = stack.enter_context(socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM))
            sock.setblocking(False)
            sock.connect_ex((host, port))
            poll.register(sock, select.POLLOUT)
            trying[sock.fileno()] = sock
        end = time.monotonic() + _TRY_S
        while trying and (left := end - time.monotonic()) > 0:
            for descriptor, _ in poll.poll(left * 1000):
                if trying[descriptor].getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0:
                    return True
                poll.unregister(descriptor)
                del trying[descriptor]
    return False
