"""The process that submits: dojo's executor as it is, its memory and its requests counted."""

from __future__ import annotations

import re
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

_KIND = re.compile(r"/namespaces/[^/]+/([a-z]+)")


def memory_mb(field: str) -> float:
    """Return a line of this process's status, ``VmRSS`` (now) or ``VmHWM`` (at most so far), in MiB."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(f"{field}:"))


def counted(api_client: Any) -> Counter[str]:
    """Count the requests of a client from now on, by verb and kind."""
    asked: Counter[str] = Counter()
    lock, request = threading.Lock(), api_client.rest_client.request

    def asking(method: str, url: str, **more: Any) -> Any:
        found = _KIND.search(url)
        watches = "watch" if "watch=" in url.lower() else method
        with lock:
            asked[f"{watches} {found[1] if found else url.rpartition('/')[2].partition('?')[0]}"] += 1
        return request(method, url, **more)

    api_client.rest_client.request = asking
    return asked


def submit(batch: str, home: str, address: str, parallel: int | None, say: Any) -> None:
    """Start a batch and wait for its end; send what was measured.

    Args:
        batch: recorded and not started.
        home: its results directory.
        address: of the database.
        parallel: as `dojo submit --parallel`.
        say: a connection that takes a message when all is asked for, and one at the end.
    """
    from harness.executor.base import Work
    from harness.executor.contract import PlayedRunner
    from harness.executor.kubernetes import KubernetesExecutor
    from harness.sandbox.kubernetes import cluster
    from harness.store.database import SqlStore

    store = SqlStore(Path(home), address)
    executor = KubernetesExecutor(Work(PlayedRunner(store), parallel))
    asked = counted(cluster.core().api_client)
    cluster.core().get_api_resources()  # the client's own first connection and modules are no run's
    asked.clear()
    before, begun, cpu = memory_mb("VmRSS"), time.monotonic(), time.process_time()
    executor.start(batch)
    started = time.monotonic()
    say.send({"submit_s": started - begun, "submit_cpu_s": time.process_time() - cpu, "asked_at_submit": dict(asked)})
    outcomes = executor.wait(threading.Event())
    say.send(
        {
            "makespan_s": time.monotonic() - begun,
            "cpu_s": time.process_time() - cpu,
            "memory_before_mb": before,
            "memory_most_mb": memory_mb("VmHWM"),
            "asked": dict(asked),
            "outcomes": dict(Counter(str(getattr(end, "code", None) or end) for end in outcomes.values())),
        }
    )
    store.close()
