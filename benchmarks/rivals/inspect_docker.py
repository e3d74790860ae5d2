"""Inspect's docker sandbox for `benchmarks/sandbox.py`: run in Inspect's venv, it answers a JSON line for each it is told.

``{"do": "exec"}`` → ``{"ms"}``; ``{"do": "rate", "callers", "seconds"}`` → ``{"rate"}``; ``{"do": "file", "size_mb"}`` →
``{"up_s", "down_s"}``; ``{"do": "close"}`` ends it. The first line it writes is ``{"create_ms"}``.

Inspect asks for an engine of version 24 or newer; its question is left out here, because Debian's 20.10 does all that it needs.
"""

import asyncio
import json
import os
import sys
import tempfile
import time
from pathlib import Path

from inspect_ai.util._concurrency import init_concurrency
from inspect_ai.util._sandbox.docker import docker as inspect_docker
from inspect_ai.util._sandbox.docker.docker import DockerSandboxEnvironment
from inspect_ai.util._subprocess import init_max_subprocesses

COMMAND = ["/usr/bin/true"]
COMPOSE = """
services:
  default:
    image: {image}
    command: ["sleep", "infinity"]
    init: true
    network_mode: none
    working_dir: /workspace
"""


# Inspect prints progress on standard output; that goes to standard error, and answers keep the pipe
ANSWERS = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)


def say(**what: float) -> None:
    print(json.dumps(what), file=ANSWERS, flush=True)


async def no_question() -> None:
    pass


async def main() -> None:
    inspect_docker.validate_prereqs = no_question
    init_concurrency()
    init_max_subprocesses(64)
    with tempfile.TemporaryDirectory() as folder:
        compose = Path(folder) / "compose.yaml"
        compose.write_text(COMPOSE.format(image=os.environ["BENCH_IMAGE"]))
        await DockerSandboxEnvironment.task_init("bench", str(compose))
        started = time.perf_counter()
        environments = await DockerSandboxEnvironment.sample_init("bench", str(compose), {})
        say(create_ms=(time.perf_counter() - started) * 1000)
        sandbox = environments["default"]
        try:
            await serve(sandbox)
        finally:
            await DockerSandboxEnvironment.sample_cleanup("bench", str(compose), environments, False)
            await DockerSandboxEnvironment.task_cleanup("bench", str(compose), True)


async def serve(sandbox) -> None:
    while line := await asyncio.to_thread(sys.stdin.readline):
        order = json.loads(line)
        if order["do"] == "close":
            say()
            return
        if order["do"] == "exec":
            started = time.perf_counter()
            assert (await sandbox.exec(COMMAND)).success
            say(ms=(time.perf_counter() - started) * 1000)
        elif order["do"] == "rate":
            say(rate=await rate(sandbox, order["callers"], order["seconds"]))
        elif order["do"] == "file":
            data = os.urandom(1024 * 1024) * order["size_mb"]
            started = time.perf_counter()
            await sandbox.write_file("large", data)
            up = time.perf_counter() - started
            started = time.perf_counter()
            assert len(await sandbox.read_file("large", text=False)) == len(data)
            say(up_s=up, down_s=time.perf_counter() - started)


async def rate(sandbox, callers: int, seconds: float) -> float:
    end = time.perf_counter() + seconds

    async def repeat() -> int:
        count = 0
        while time.perf_counter() < end:
            assert (await sandbox.exec(COMMAND)).success
            count += 1
        return count

    started = time.perf_counter()
    total = sum(await asyncio.gather(*(repeat() for _ in range(callers))))
    return total / (time.perf_counter() - started)


if __name__ == "__main__":
    asyncio.run(main())
