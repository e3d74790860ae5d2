"""Where figures were measured: card, driver, versions, date, commit."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from reading.cards import peak_tflops

from gpu_kit.state import ROOT

_PACKAGES = ("torch", "transformers", "peft", "accelerate", "trl", "lm-eval", "numpy")


def machine(device: str) -> dict[str, Any]:
    """Return what a reader of the figures must know; ``card`` is None without a GPU."""
    card = _card() if device == "cuda" else None
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": _commit(),
        "device": device,
        "card": card,
        "peak_bf16_tflops": peak_tflops(card["name"]) if card else None,
        "cores": len(os.sched_getaffinity(0)),
        "kernel": platform.release(),
        "versions": {"python": sys.version.split()[0], **{name: _version(name) for name in _PACKAGES}},
    }


def _card() -> dict[str, Any]:
    """Return the first card as nvidia-smi and torch tell it; torch is asked in a process of its own, which ends."""
    try:
        from harness.sandbox.nvidia.smi import Smi

        first = Smi().status()[0]
    except Exception as exc:  # figures are written whatever is missing here: dojo's packages, nvidia-smi, the card itself
        return {"name": "", "error": f"{type(exc).__name__}: {exc}"}
    code = "import torch; p = torch.cuda.get_device_properties(0); print(torch.version.cuda, p.major, p.minor, p.total_memory)"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False).stdout.split()
    torch = {"cuda": said[0], "capability": f"{said[1]}.{said[2]}", "memory": int(said[3])} if len(said) == 4 else None
    return {"name": first.name, "driver": first.driver, "memory_mb": first.memory_total_mb, "mig": first.mig, "torch": torch}


def _commit() -> str | None:
    """Return the commit; None where this is a copy without git."""
    try:
        asked = ["git", "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"]
        done = subprocess.run(asked, cwd=ROOT, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return None
    return done.stdout.strip() or None


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
