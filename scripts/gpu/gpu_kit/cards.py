"""What this card does at most, in one large product of matrices and in a copy; `reading.cards` has what data sheets say."""

from __future__ import annotations

import statistics
import time
from typing import Any


def measured_peak(device: str, dry_run: bool) -> dict[str, Any]:
    """Return the TFLOP/s of a square product in bfloat16 of random values, and the GB/s of a copy on the device.

    Each is the median of several, after some that do not count.
    """
    import torch

    size, copied = (256, 1 << 20) if dry_run else (8192, 1 << 31)
    a, b = (torch.randn(size, size, device=device, dtype=torch.bfloat16) for _ in range(2))
    source = torch.empty(copied, dtype=torch.uint8, device=device).random_(0, 255)
    target = torch.empty_like(source)
    product = _median_s(device, lambda: torch.matmul(a, b))
    copy = _median_s(device, lambda: target.copy_(source))
    if not bool(torch.equal(source, target)):
        raise RuntimeError("a copy on the device differs from its source")
    return {"size": size, "matmul_tflops": 2 * size**3 / product / 1e12, "copy_gb_s": 2 * copied / copy / 1e9}


def _median_s(device: str, work: Any, times: int = 20) -> float:
    import torch

    for _ in range(3):
        work()
    found = []
    for _ in range(times):
        if device == "cuda":
            torch.cuda.synchronize()
        begun = time.perf_counter()
        work()
        if device == "cuda":
            torch.cuda.synchronize()
        found.append(time.perf_counter() - begun)
    return statistics.median(found)
