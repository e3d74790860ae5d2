"""A real vLLM on the CPU with the small model: an upstream that nobody here wrote."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import httpx
import pytest

from harness.assets.base_models import find_base_model
from harness.spec.errors import DojoError

LOOK = Path(__file__).parents[2] / "scripts" / "vllm_cpu.sh"
CONTEXT = 2048
# Importing torch and vllm and loading the model: under a minute alone, minutes beside other work.
_UP_S = 400


@contextmanager
def serving(cache: Path, folder: Path) -> Iterator[str]:
    """Serve smol until left; yields the address. Skips the test where vLLM or the model is not there: it fetches nothing."""
    try:
        model = find_base_model("smol", cache)
    except DojoError as exc:
        pytest.skip(f"{exc.message}: {exc.hint}")
    looked = subprocess.run([LOOK, "--look"], capture_output=True, text=True, env={**os.environ, "DOJO_CACHE": str(cache)})
    if looked.returncode:
        pytest.skip(" ".join(looked.stderr.split()))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    argv = [looked.stdout.strip(), "-m", "vllm.entrypoints.openai.api_server", "--model", str(model.path)]
    argv += ["--served-model-name", "smol", "--host", "127.0.0.1", "--port", str(port), "--dtype", "float32"]
    argv += ["--max-model-len", str(CONTEXT), "--max-num-seqs", "8", "--enforce-eager"]
    log = folder / "vllm.log"
    with log.open("wb") as out:
        # in a session of its own: its engine and workers are children that must end with it
        server = subprocess.Popen(argv, stdout=out, stderr=out, cwd=folder, env=_environment(), start_new_session=True)
    try:
        _wait_until_healthy(server, port, log)
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        _end(server)


def _environment() -> dict[str, str]:
    """This process's, without what would reach into another venv or out of this machine."""
    kept = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy") and name != "PYTHONPATH"}
    return kept | {
        "HF_HUB_OFFLINE": "1",
        "VLLM_NO_USAGE_STATS": "1",
        "VLLM_CPU_KVCACHE_SPACE": "1",
        "OMP_NUM_THREADS": "1",
        "OMP_WAIT_POLICY": "passive",
        "TOKENIZERS_PARALLELISM": "false",
    }


def _wait_until_healthy(server: subprocess.Popen[bytes], port: int, log: Path) -> None:
    deadline = time.monotonic() + _UP_S
    while True:
        try:
            code = server.wait(0.5)  # polls another program's port; ends at once where that program ends
            pytest.fail(f"vLLM ended with {code}: {log.read_text(errors='replace')[-3000:]}")
        except subprocess.TimeoutExpired:
            assert time.monotonic() < deadline, f"vLLM is not up after {_UP_S} s: {log.read_text(errors='replace')[-3000:]}"
        try:
            if httpx.get(f"http://127.0.0.1:{port}/health", timeout=5, trust_env=False).status_code == 200:
                return
        except httpx.HTTPError:
            pass


def _end(server: subprocess.Popen[bytes]) -> None:
    """End it and all its children, kindly first; children that outlive it are killed with its group."""
    with suppress(subprocess.TimeoutExpired, ProcessLookupError):
        os.killpg(server.pid, signal.SIGINT)
        server.wait(20)
    with suppress(ProcessLookupError):
        os.killpg(server.pid, signal.SIGKILL)
    server.wait(20)
