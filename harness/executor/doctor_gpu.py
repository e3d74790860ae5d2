"""`dojo doctor gpu`: the driver, each card, what sandboxes would be given, and whether this Python's torch opens a card."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from typing import Any

from harness.sandbox.base import Check
from harness.sandbox.nvidia.driver import HOST, DriverTree, Found, look, remedy_none, usable, why_none
from harness.sandbox.nvidia.given import give
from harness.sandbox.nvidia.smi import GpuStatus
from harness.spec.errors import DojoError

# A first import of torch from a slow disk and the driver's waking take most of a minute.
_PATIENCE_S = 120.0
# A product is worked out: a build without code for a card lists it and fails at its first kernel.
_ASK = """
import json
told = {"version": None, "cuda": None, "cards": [], "error": ""}
try:
    import torch
    told |= {"version": torch.__version__, "cuda": torch.version.cuda}
    if torch.version.cuda:
        for i in range(torch.cuda.device_count()):
            x = torch.ones(16, 16, device=f"cuda:{i}")
            assert (x @ x).sum().item() == 4096.0
            told["cards"].append(torch.cuda.get_device_name(i))
        if not told["cards"]:
            torch.cuda.init()
except Exception as exc:
    told["error"] = (str(exc).strip() or type(exc).__name__).splitlines()[0]
print(json.dumps(told))
"""
_CUDA_BUILD = "install a build of torch for CUDA (make setup with TORCH_PIP_ARGS; a container's image may hold one)"


def ask_torch() -> Mapping[str, Any]:
    """Return what this Python's torch says in a process of its own: version, cuda, cards it computed on, error."""
    try:
        done = subprocess.run(
            [sys.executable, "-c", _ASK],
            capture_output=True,
            text=True,
            timeout=_PATIENCE_S,
            check=False,
            stdin=subprocess.DEVNULL,
        )
        told: Mapping[str, Any] = json.loads(done.stdout)
    except subprocess.TimeoutExpired:
        return {"version": "?", "cuda": "?", "cards": [], "error": f"torch did not answer within {_PATIENCE_S:.0f} s"}
    except ValueError:
        said = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
        return {"version": "?", "cuda": "?", "cards": [], "error": said}
    return told


def diagnose_gpu(
    tree: DriverTree = HOST, environ: Mapping[str, str] = os.environ, torch: Callable[[], Mapping[str, Any]] = ask_torch
) -> list[Check]:
    """Return what is here for GPUs, each with what to do where it is not fine.

    Args:
        tree: where the driver's things lie.
        environ: the harness's own environment.
        torch: asks this Python's torch.
    """
    try:
        found = look(tree)
    except DojoError as exc:
        return [Check("gpu", False, exc.message, exc.hint), _torch(torch())]
    if not found.gpus:
        passed = "".join(f"; {node}: {why}" for node, why in found.passed_over.items())
        return [Check("gpu", False, why_none(tree) + passed, remedy_none(tree)), _torch(torch())]
    return [_driver(tree), *_cards(tree, found), _sandboxes(tree, environ), _torch(torch())]


def _driver(tree: DriverTree) -> Check:
    try:
        words = (tree.proc / "version").read_text(errors="replace").splitlines()[0]
    except (OSError, IndexError):
        return Check("driver", True, "loaded; its version is not shown here")
    return Check("driver", True, " ".join(words.split()))


def _cards(tree: DriverTree, found: Found) -> list[Check]:
    """Return a check for each card, and one for each node that looks like one and is none."""
    odd = [
        Check("node", False, f"{node}: {why}", "remove it, then as root: nvidia-modprobe -c 0")
        for node, why in found.passed_over.items()
    ]
    try:
        told = {status.index: status for status in tree.smi.status()}
    except DojoError as exc:
        return [*odd, Check("nvidia-smi", False, exc.message, exc.hint)]
    checks = []
    for index in dict.fromkeys(gpu.index for gpu in found.gpus):
        here = [gpu for gpu in found.gpus if gpu.index == index]
        instances = sum(gpu.mig is not None for gpu in here)
        if (status := told.get(index)) is None:
            remedy = "restart the driver, or the container with this GPU"
            checks.append(Check(f"gpu {index}", False, f"{here[0].words}: nvidia-smi does not list it", remedy))
        else:
            checks.append(_card(status, f"/dev/nvidia{here[0].minor}", instances))
    return odd + checks


def _card(status: GpuStatus, node: str, instances: int) -> Check:
    memory = "memory unknown" if status.memory_total_mb is None else f"{status.memory_total_mb:,.0f} MiB"
    used = "" if not status.memory_used_mb else f" ({status.memory_used_mb:,.0f} in use)"
    cut = {"Enabled": f"MIG on, {instances} instances", "Disabled": "MIG off"}.get(status.mig, "no MIG")
    mode = status.compute_mode or "unknown"
    words = f"{status.name}, {memory}{used}, driver {status.driver}, compute mode {mode}, {cut}, {node}"
    name = f"gpu {status.index}"
    if status.mig == "Enabled" and not instances:
        return Check(name, False, words, "cut it (as root: nvidia-smi mig -cgi … -C), or switch MIG off (nvidia-smi -mig 0)")
    if mode in ("Prohibited", "Exclusive_Process", "Exclusive_Thread"):
        remedy = (
            f"as root: nvidia-smi -i {status.index} -c DEFAULT; an agent and the evaluator of its dev split use a GPU together"
        )
        return Check(name, False, words, remedy)
    return Check(name, True, words)


def _sandboxes(tree: DriverTree, environ: Mapping[str, str]) -> Check:
    """Say which GPUs dojo may claim, and whether all that a sandbox is shown of them is there."""
    try:
        gpus = usable(tree, environ)
        shown = give(gpus, tree)
    except DojoError as exc:
        return Check("for sandboxes", False, exc.message, exc.hint)
    if not gpus:
        left = environ.get("CUDA_VISIBLE_DEVICES", environ.get("SLURM_JOB_GPUS", ""))
        return Check("for sandboxes", False, f"none: dojo was started with {left!r}", "start it without CUDA_VISIBLE_DEVICES")
    return Check(
        "for sandboxes", True, f"{', '.join(gpu.id for gpu in gpus)}; {len(shown.nodes)} nodes, {len(shown.files)} files"
    )


def _torch(told: Mapping[str, Any]) -> Check:
    """Say what torch is built for, and whether it computes on the cards."""
    if told["version"] is None:
        return Check(
            "torch", False, f"it cannot be imported: {told['error']}", "pip install 'dojo-bench[ml]' (in a checkout: make setup)"
        )
    if told["cuda"] is None:
        return Check("torch", False, f"{told['version']} is a build without CUDA", _CUDA_BUILD)
    words = f"{told['version']}, built for CUDA {told['cuda']}"
    if told["error"]:
        return Check("torch", False, f"{words}, opens no GPU: {told['error']}", _remedy(told["error"]))
    return Check("torch", True, f"{words}, computes on {', '.join(told['cards'])}")


def _remedy(error: str) -> str:
    """Return what to do about what torch says."""
    if "driver" in error and "too old" in error:
        return "install a newer driver, or a build of torch for an older CUDA"
    if "no kernel image" in error:
        return "this build of torch has no code for this card: install one that has"
    if "out of memory" in error:
        return "somebody else's processes fill the card: nvidia-smi names them"
    return "see `nvidia-smi`, the nodes in /dev and CUDA_VISIBLE_DEVICES"
