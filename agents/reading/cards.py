"""The card that training runs on: what it is called, holds and can do at most.

The harness has a table of its own for grading (bytes a second, not operations): neither side may import the other.
"""

from __future__ import annotations

import gc
import re
from dataclasses import dataclass
from typing import Any

# Dense operations with fp32 sums, in TFLOP/s, by the whole name that CUDA gives a card; another name, a MIG instance's too, is
# not known. Data sheets that print figures with sparsity are halved.
BF16_PEAKS = (
    (r"GB200", 2500.0),  # NVIDIA GB200 NVL72 data sheet: 360 PFLOP/s with sparsity of 72
    (r"B200", 2250.0),  # NVIDIA HGX B200 data sheet: 36 PFLOP/s with sparsity of 8
    (r"GH200 (480GB|144G HBM3e)", 989.5),  # NVIDIA GH200 data sheet: 1,979 with sparsity
    (r"H200 NVL", 835.5),  # NVIDIA H200 data sheet: 1,671 with sparsity
    (r"H200", 989.5),  # likewise: 1,979 with sparsity
    (r"H100 80GB HBM3", 989.4),  # NVIDIA H100 architecture white paper, dense
    (r"H100 NVL", 835.5),  # NVIDIA H100 data sheet: 1,671 with sparsity
    (r"H100 PCIe", 756.5),  # likewise: 1,513 with sparsity
    (r"A[18]00[ -](SXM4-(40|80)GB|PCIE-40GB|80GB PCIe)", 312.0),  # NVIDIA A100 data sheet, dense
    (r"A30", 165.0),  # NVIDIA A30 data sheet, dense
    (r"A40", 149.7),  # NVIDIA A40 data sheet, dense
    (r"A10", 125.0),  # NVIDIA A10 data sheet, dense; the A10G is another card
    (r"L40S", 362.05),  # NVIDIA L40S data sheet, dense
    (r"L40", 181.05),  # NVIDIA L40 data sheet, dense
    (r"L4", 121.0),  # NVIDIA L4 data sheet: 242 with sparsity
    (r"RTX 6000 Ada Generation", 364.2),  # NVIDIA Ada architecture white paper, dense
    (r"RTX 4090", 165.2),  # likewise
    (r"RTX 3090", 71.0),  # NVIDIA GA102 architecture white paper, dense
)
# Cards that do not compute in bfloat16 are trained on in fp32.
FP32_PEAKS = (
    (r"V100-SXM2-(16|32)GB", 15.7),  # NVIDIA V100 data sheet
    (r"V100-PCIE-(16|32)GB", 14.0),  # likewise
    (r"T4", 8.1),  # NVIDIA T4 data sheet
)
# CUDA's number of the first kind of card that computes in bfloat16.
BF16_SINCE = (8, 0)


@dataclass(frozen=True)
class Card:
    """A card.

    Attributes:
        name: as CUDA says it.
        free: bytes that are free before a model is there.
        total: bytes that it has.
        capability: CUDA's number of its kind.
    """

    name: str
    free: int
    total: int
    capability: tuple[int, int]

    @property
    def bf16(self) -> bool:
        """Whether it computes in bfloat16; else everything is done in fp32."""
        return self.capability >= BF16_SINCE

    @property
    def peak(self) -> float | None:
        """TFLOP/s at most in what is computed in here; None: its data sheet is not known here."""
        return peak_tflops(self.name, bf16=self.bf16)

    @classmethod
    def of(cls, told: dict[str, Any]) -> Card:
        """Read what `vars` of one came to after a way through JSON."""
        first, second = told["capability"]
        return cls(str(told["name"]), int(told["free"]), int(told["total"]), (int(first), int(second)))


def peak_tflops(name: str, *, bf16: bool = True) -> float | None:
    """Return a card's TFLOP/s by its data sheet, in bfloat16 or in fp32; None where its whole name is in no row."""
    bare = re.sub(r"^(NVIDIA |Tesla )*(GeForce )?", "", name.strip())
    return next((peak for pattern, peak in (BF16_PEAKS if bf16 else FP32_PEAKS) if re.fullmatch(pattern, bare)), None)


def card_here() -> Card | None:
    """Return the current CUDA device; None without one. What this process holds already counts as free."""
    import torch

    if not torch.cuda.is_available():
        return None
    # a trainer and its optimiser hold each other: what a training before this one had is given back here
    gc.collect()
    torch.cuda.empty_cache()
    free, total = torch.cuda.mem_get_info()
    here = torch.cuda.get_device_capability()
    return Card(torch.cuda.get_device_name(), free + torch.cuda.memory_reserved(), total, (here[0], here[1]))
