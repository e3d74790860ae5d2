"""What people wait for at a service: two `dojo serve` over one PostgreSQL, asked by many clients at once, against a bare server.

    python benchmarks/service.py [--clients 200] [--seconds 20] [--runs 200] [--pause 2] [--url POSTGRES] [--json FILE]

The results directory holds recorded runs of one user that never began. Each client asks one question after the other, of both
replicas in turn, each with a token: the account, the leaderboard, where a batch stands, a run's events; first as fast as answers
come, then with a pause after each, as people and their programs look. The same clients then ask a bare Starlette application
under the same server, in two processes, which answers with bodies of the same sizes and looks at nothing. The clients are one
process on the same machine, so what they cost is in both. `ratio` is the service's 99th percentile over the bare one's.
Without --url a PostgreSQL server is started from the system's package and thrown away.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aiohttp
import httpx

REPO = Path(__file__).resolve().parents[1]
REPLICAS = 2
BARE = """
import json, socket, sys
import uvicorn
from starlette.applications import Starlette
from starlette.responses import Response
from starlette.routing import Route
sizes = json.loads(sys.argv[1])
async def answer(request):
    return Response(b"x" * sizes[request.url.path], media_type="application/json")
app = Starlette(routes=[Route(path, answer) for path in sizes])
config = uvicorn.Config(app, port=0, log_level="critical", access_log=False)
server = uvicorn.Server(config)
listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
listening.bind(("127.0.0.1", 0))
listening.listen(1024)
print(f"http://127.0.0.1:{listening.getsockname()[1]}", flush=True)
server.run(sockets=[listening])
"""


@contextlib.contextmanager
def database(url: str | None) -> Iterator[str]:
    """Yield the address of an empty database."""
    if url is not None:
        yield url
        return
    from tests.unit.store import conftest

    server = conftest.server.__wrapped__()
    try:
        yield f"postgresql://dojo@/postgres?host={next(server)}"
    finally:
        next(server, None)


@contextlib.contextmanager
def processes(command: list[str], environment: dict[str, str]) -> Iterator[list[str]]:
    """Start the same server several times; yield their addresses, which they print first."""
    started = [
        subprocess.Popen(command, env=environment, cwd=REPO, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        for _ in range(REPLICAS)
    ]
    try:
        addresses = [process.stdout.readline().strip() for process in started if process.stdout]
        if not all(address.startswith("http") for address in addresses):
            sys.exit(f"{' '.join(command[:4])} did not start: it said {addresses}")
        yield addresses
    finally:
        for process in started:
            process.send_signal(signal.SIGTERM)
        for process in started:
            process.wait(60)


async def ask(
    addresses: list[str], paths: list[str], clients: int, seconds: float, token: str, pause: float = 0.0
) -> dict[str, Any]:
    """Let the clients ask for so long, each with a pause after an answer; return every answer's seconds by path, and refusals."""
    taken: dict[str, list[float]] = {path: [] for path in paths}
    refused: dict[str, int] = {}
    end = time.monotonic() + seconds

    async def client(number: int, http: aiohttp.ClientSession) -> None:
        turn = number
        await asyncio.sleep(pause * number / clients)
        while time.monotonic() < end:
            path, address = paths[turn % len(paths)], addresses[turn // len(paths) % len(addresses)]
            turn += 1
            begun = time.perf_counter()
            try:
                async with http.get(f"{address}{path}") as said:
                    await said.read()
                problem = "" if said.status == 200 else str(said.status)
            except (aiohttp.ClientError, TimeoutError) as exc:
                problem = type(exc).__name__
            if problem:
                refused[problem] = refused.get(problem, 0) + 1
            else:
                taken[path].append(time.perf_counter() - begun)
            await asyncio.sleep(pause)

    bearer, bounds = {"authorization": f"Bearer {token}"}, aiohttp.TCPConnector(limit=clients)
    async with aiohttp.ClientSession(headers=bearer, connector=bounds, timeout=aiohttp.ClientTimeout(60)) as http:
        await asyncio.gather(*(client(number, http) for number in range(clients)))
    return {"taken": taken, "refused": refused}


def figures(said: dict[str, Any], seconds: float) -> dict[str, Any]:
    """Return the percentiles of all answers, and of each path's."""
    every = [one for each in said["taken"].values() for one in each]

    def percentiles(times: list[float]) -> dict[str, float]:
        cut = statistics.quantiles(times, n=100)
        return {"p50_ms": 1e3 * cut[49], "p99_ms": 1e3 * cut[98]}

    of_paths = {path: percentiles(times) for path, times in said["taken"].items()}
    return {
        "answers": len(every),
        "per_s": len(every) / seconds,
        **percentiles(every),
        "paths": of_paths,
        "refused": said["refused"],
    }


def measure(clients: int, seconds: float, runs: int, address: str, pause: float) -> dict[str, Any]:
    """Ask the service, then the bare server."""
    from harness.executor.contract import Stage
    from harness.executor.local import LocalExecutor
    from harness.service import Dojo
    from harness.spec.accounts import Role

    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder) / "home"
        dojo = Dojo(home, Path(folder) / "cache", database=address)
        token = dojo.create_token("ann", Role.VIEWER).token
        # of an executor that these replicas are not: they show its runs and drive none
        batch, made = Stage(LocalExecutor, dojo.store).batch(runs, settings={"owner": "ann", "executor": "kubernetes"})
        paths = ["/v1/about", "/v1/leaderboard", f"/v1/status/{batch}", f"/v1/runs/{made[0]}/events"]
        environment = os.environ | {"DOJO_HOME": str(home), "DOJO_DATABASE": address, "PYTHONPATH": str(REPO)}
        serve = [sys.executable, "-m", "harness.cli.main", "serve", "--port", "0", "--executor", "local", "--connections", "1024"]
        with processes(serve, environment) as addresses:
            bearer = {"authorization": f"Bearer {token}"}
            sizes = {path: len(httpx.get(addresses[0] + path, headers=bearer).raise_for_status().content) for path in paths}
            ours = figures(asyncio.run(ask(addresses, paths, clients, seconds, token)), seconds)
            looking = figures(asyncio.run(ask(addresses, paths, clients, seconds, token, pause)), seconds)
        dojo.store.close()
        with processes([sys.executable, "-c", BARE, json.dumps(sizes)], dict(os.environ)) as addresses:
            bare = figures(asyncio.run(ask(addresses, paths, clients, seconds, token)), seconds)
    return {
        "benchmark": "service",
        "what": f"{clients} clients at once, {REPLICAS} replicas over one PostgreSQL, {runs} runs recorded; a bare server beside",
        "sizes": {path.replace(batch, "BATCH").replace(made[0], "RUN"): size for path, size in sizes.items()},
        "service": ours,
        "looking": looking,
        "bare": bare,
        "ratio": ours["p99_ms"] / bare["p99_ms"],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clients", type=int, default=200)
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--runs", type=int, default=200)
    parser.add_argument("--pause", type=float, default=2.0, help="seconds between a client's questions, in the second part")
    parser.add_argument("--url", metavar="POSTGRES", help="an empty database, as DOJO_DATABASE names it")
    parser.add_argument("--json", type=Path, metavar="FILE")
    args = parser.parse_args()
    if args.clients < 1 or args.seconds <= 0 or args.runs < 1:
        parser.error(f"--clients {args.clients} --seconds {args.seconds} --runs {args.runs}: all are above zero")
    with database(args.url) as address:
        found = measure(args.clients, args.seconds, args.runs, address, args.pause)
    print("| | answers a second | p50 | p99 | refused |\n|---|---|---|---|---|")
    for name, key in (("service", "service"), (f"service, each after {args.pause:g} s", "looking"), ("bare", "bare")):
        one = found[key]
        print(f"| {name} | {one['per_s']:.0f} | {one['p50_ms']:.0f} ms | {one['p99_ms']:.0f} ms | {one['refused'] or 'none'} |")
        for path, each in one["paths"].items():
            print(f"| {name} {path.rpartition('/')[0]}/… | | {each['p50_ms']:.0f} ms | {each['p99_ms']:.0f} ms | |")
    print(f"ratio of the 99th percentiles: {found['ratio']:.1f}")
    if args.json:
        args.json.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    sys.path.insert(0, str(REPO))
    main()
