"""What the gateways add to a call: against the same call made directly, and through litellm's proxy, in one run.

    python benchmarks/gateway.py [--rounds 300] [--streams 64] [--quick] [--json FILE]

One upstream that answers at once stands behind all of them, and every subject is asked in turn, so that a busy machine slows
all alike. Printed: what each adds to a whole answer and to the time to a stream's first chunk (median and 99th percentile), and
how many streams at once, a chunk every 100 ms each, arrive in time, and calls a second by 32 clients. The gateway does here all
that it does in a run: it reserves, settles, records, and writes both events to disk. `dojo gateway serve`, which stands between
many runs and a provider, is asked as a run's gateway asks it. litellm's proxy is installed into build/litellm where it is not
there.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

PROJECT = Path(__file__).resolve().parents[1]
RIVALS = Path(__file__).parent / "rivals"
LITELLM = "litellm[proxy]==1.100.0"
GAP_S, CHUNKS = 0.1, 50
# Between the chunks of a stream whose first one is waited for: at once, they would come in one piece, which no model's do.
FLOW_S = 0.002
# What an agent's history weighs after a few turns, and after a day.
HISTORY_KB = (40, 300)
# Clients that ask one call after another.
AT_ONCE = 32
# A stream is in time where it took at most a tenth longer than its chunks' gaps.
IN_TIME = 1.1
BODY: dict[str, Any] = {"model": "bench", "messages": [{"role": "user", "content": "Say fifty words."}], "max_tokens": 100}


@dataclass
class Subject:
    """A way to the upstream."""

    name: str
    client: httpx.AsyncClient


@dataclass
class Added:
    """Milliseconds that a way takes, and what of that it adds to the direct call."""

    p50: float
    p99: float
    added_p50: float
    added_p99: float


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=300)
    parser.add_argument("--streams", type=int, default=64)
    parser.add_argument("--quick", action="store_true", help="few rounds, and no rival")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    if args.quick:
        args.rounds, args.streams = 30, 8
    found = asyncio.run(measure(args.rounds, args.streams, rival=not args.quick))
    show(found)
    if args.json:
        args.json.write_text(json.dumps(found, indent=2) + "\n")
    return 0


async def measure(rounds: int, streams: int, rival: bool) -> dict[str, Any]:
    """Start everything, ask everybody in turn, and end it all."""
    with contextlib.ExitStack() as running:
        folder = Path(running.enter_context(tempfile.TemporaryDirectory(prefix="dojo-bench-")))
        port = free_port()
        running.enter_context(child([sys.executable, str(RIVALS / "chat_upstream.py"), str(port)]))
        url = f"http://127.0.0.1:{port}/v1"
        await answers(httpx.AsyncClient(base_url=url))
        sock = folder / "llm.sock"
        served = [sys.executable, str(RIVALS / "serve_gateway.py"), str(sock), url, str(folder)]
        ready = running.enter_context(child(served, stdin=subprocess.PIPE, stdout=subprocess.PIPE)).stdout
        assert ready and ready.readline(), "the gateway did not start"
        token = {"Authorization": "Bearer bench-token"}
        uds = httpx.AsyncHTTPTransport(uds=str(sock), limits=httpx.Limits(max_connections=None))
        subjects = [
            Subject("direct", client_of(base_url=url)),
            Subject("dojo", client_of(base_url="http://gateway/v1", transport=uds, headers=token)),
            await shared(running, folder, url),
        ]
        why_not = "left out by --quick"
        if rival:
            try:
                subjects.append(await litellm(running, folder, url))
                why_not = ""
            except (OSError, subprocess.CalledProcessError, TimeoutError) as exc:
                why_not = str(exc)
        whole = await in_turn(subjects, rounds, stream=False)
        first = await in_turn(subjects, rounds, stream=True, body={**BODY, "temperature": FLOW_S * 10})
        large = {size: await in_turn(subjects, max(10, rounds // 4), stream=False, body=history(size)) for size in HISTORY_KB}
        sustained = {subject.name: await at_once(subject, streams) for subject in subjects}
        flat_out = {subject.name: await calls_a_second(subject, rounds * 4) for subject in subjects}
        for subject in subjects:
            await subject.client.aclose()
    return {
        "rounds": rounds,
        "whole_ms": {name: vars(added) for name, added in against(whole).items()},
        "first_chunk_ms": {name: vars(added) for name, added in against(first).items()},
        "whole_ms_by_history_kb": {size: {n: vars(a) for n, a in against(times).items()} for size, times in large.items()},
        "streams": streams,
        "streams_in_time": sustained,
        "at_once": AT_ONCE,
        "calls_a_second": flat_out,
        "rival": LITELLM if not why_not else f"not measured: {why_not}",
    }


def against(times: dict[str, list[float]]) -> dict[str, Added]:
    """Say what each way adds to the direct one."""
    bare = {q: quantile(times["direct"], q) for q in (0.5, 0.99)}
    found = {}
    for name, ms in times.items():
        p50, p99 = quantile(ms, 0.5), quantile(ms, 0.99)
        found[name] = Added(round(p50, 3), round(p99, 3), round(p50 - bare[0.5], 3), round(p99 - bare[0.99], 3))
    return found


def history(size_kb: int) -> dict[str, Any]:
    """Return a call that carries a history of so many kB, as agents send it again with every call."""
    turn = "The training went on for another minute and the loss fell. " * 17
    turns = [{"role": ("user", "assistant")[number % 2], "content": turn} for number in range(size_kb)]
    return {**BODY, "messages": [*turns, *BODY["messages"]]}


async def in_turn(subjects: list[Subject], rounds: int, stream: bool, body: dict[str, Any] = BODY) -> dict[str, list[float]]:
    """Return milliseconds by subject: to the whole answer, or to a stream's first chunk."""
    times: dict[str, list[float]] = {subject.name: [] for subject in subjects}
    for number in range(rounds + 10):
        for subject in subjects:
            took = await ask(subject.client, stream, body)
            if number >= 10:
                times[subject.name].append(took * 1000)
    return times


async def ask(client: httpx.AsyncClient, stream: bool, body: dict[str, Any] = BODY) -> float:
    """Return seconds to the whole answer, or to the first chunk of a stream, which is then read to its end."""
    started = time.perf_counter()
    async with client.stream("POST", "/chat/completions", json={**body, "stream": stream}) as response:
        if response.status_code != 200:
            raise SystemExit(f"{client.base_url}: {response.status_code} {(await response.aread())[:300]!r}")
        pieces = response.aiter_bytes()
        await anext(pieces)
        first = time.perf_counter() - started
        await rest(pieces)
    return first if stream else time.perf_counter() - started


async def rest(pieces: AsyncIterator[bytes]) -> None:
    async for _ in pieces:
        pass


async def at_once(subject: Subject, streams: int) -> dict[str, float]:
    """Hold streams at once, a chunk every 100 ms each; return how many arrived in time, and the slowest, in gaps."""
    body = {**BODY, "stream": True, "temperature": GAP_S * 10}

    async def one() -> float:
        started = time.perf_counter()
        async with subject.client.stream("POST", "/chat/completions", json=body) as response:
            await rest(response.aiter_bytes())
        return time.perf_counter() - started

    took = await asyncio.gather(*(one() for _ in range(streams)))
    due = GAP_S * CHUNKS
    return {"in_time": sum(t <= due * IN_TIME for t in took), "slowest": round(max(took) / due, 3)}


async def calls_a_second(subject: Subject, calls: int) -> float:
    """Make calls, so many at once that the subject is never idle."""
    left = iter(range(calls))

    async def one_after_another() -> None:
        for _ in left:
            await ask(subject.client, stream=False)

    started = time.perf_counter()
    await asyncio.gather(*(one_after_another() for _ in range(AT_ONCE)))
    return round(calls / (time.perf_counter() - started), 1)


async def shared(running: contextlib.ExitStack, folder: Path, url: str) -> Subject:
    """Start a gateway between many runs and the same upstream; it logs each request, as it always does."""
    (folder / "dojo.toml").write_text(
        f'[backbones.bench]\nupstream = "openai"\nmodel = "bench"\nbase_url = "{url}"\nshared = {{ concurrency = 256 }}\n'
    )
    token, port = "a-token-of-the-benchmark", free_port()
    environ = {**os.environ, "DOJO_CONFIG": str(folder / "dojo.toml"), "DOJO_GATEWAY_TOKEN": token}
    command = [sys.executable, "-m", "harness.cli.main", "gateway", "serve", "--port", str(port)]
    running.enter_context(child(command, env=environ, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL))
    client = client_of(base_url=f"http://127.0.0.1:{port}/bench/v1", headers={"Authorization": f"Bearer {token}"})
    await answers(client)
    return Subject("shared", client)


async def litellm(running: contextlib.ExitStack, folder: Path, url: str) -> Subject:
    """Start litellm's proxy before the same upstream, with nothing that writes anywhere."""
    venv = PROJECT / "build/litellm"
    if not (venv / "bin/litellm").exists():
        print(f"installing {LITELLM} into {venv} (a minute or two)", file=sys.stderr)
        subprocess.run([sys.executable, "-m", "venv", str(venv)], check=True)
        subprocess.run([str(venv / "bin/pip"), "install", "-q", LITELLM], check=True)
    params = {"model": "openai/bench", "api_base": url, "api_key": "none"}
    config = folder / "litellm.json"  # JSON is YAML
    config.write_text(json.dumps({"model_list": [{"model_name": "bench", "litellm_params": params}]}))
    port = free_port()
    environ = {**os.environ, "LITELLM_LOCAL_MODEL_COST_MAP": "True", "LITELLM_TELEMETRY": "False", "LITELLM_LOG": "ERROR"}
    command = [str(venv / "bin/litellm"), "--config", str(config), "--port", str(port), "--host", "127.0.0.1"]
    running.enter_context(child(command, env=environ, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL))
    client = client_of(base_url=f"http://127.0.0.1:{port}/v1", headers={"Authorization": "Bearer none"})
    await answers(client, patience_s=120)
    return Subject("litellm", client)


def client_of(**settings: Any) -> httpx.AsyncClient:
    return httpx.AsyncClient(**{"timeout": 120, "limits": httpx.Limits(max_connections=None), **settings})


async def answers(client: httpx.AsyncClient, patience_s: float = 30) -> None:
    """Wait until a server answers."""
    until = time.monotonic() + patience_s
    while time.monotonic() < until:
        with contextlib.suppress(httpx.HTTPError):
            await client.get("/models")
            return
        await asyncio.sleep(0.2)
    raise TimeoutError(f"{client.base_url} did not come up in {patience_s:.0f} s")


@contextlib.contextmanager
def child(command: list[str], **more: Any) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(command, cwd=PROJECT, **more)
    try:
        yield process
    finally:
        process.terminate()
        process.wait()


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


def quantile(values: list[float], q: float) -> float:
    return statistics.quantiles(values, n=100, method="inclusive")[round(q * 100) - 1]


def show(found: dict[str, Any]) -> None:
    for title, key in (("whole answer", "whole_ms"), ("first chunk of a stream", "first_chunk_ms")):
        print(f"{title}, ms ({found['rounds']} each)")
        for name, ms in found[key].items():
            added = f"adds p50 {ms['added_p50']:8.2f}  p99 {ms['added_p99']:8.2f}"
            print(f"  {name:<8} p50 {ms['p50']:8.2f}  p99 {ms['p99']:8.2f}   {added}")
        if "litellm" in found[key]:
            theirs = found[key]["litellm"]["added_p50"]
            for name in ("dojo", "shared"):
                print(f"  {name} adds {found[key][name]['added_p50'] / theirs:.3f} of what litellm's proxy adds (median)")
    for size, ms in found["whole_ms_by_history_kb"].items():
        added = ", ".join(f"{name} {each['added_p50']:.2f}" for name, each in ms.items() if name != "direct")
        print(f"a history of {size} kB, whole answer: adds p50 {added}")
    print(f"{found['streams']} streams at once, a chunk every {GAP_S * 1000:.0f} ms each")
    for name, held in found["streams_in_time"].items():
        print(f"  {name:<8} {held['in_time']} in time, the slowest took {held['slowest']:.2f} of what its gaps take")
    for name, rate in found["calls_a_second"].items():
        print(f"{found['at_once']} clients, one call after another: {name:<8} {rate:.0f} calls a second")
    print(f"rival: {found['rival']}")


if __name__ == "__main__":
    sys.exit(main())
