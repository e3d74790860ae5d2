"""What was said of a run's GPUs: what the looks at them come to, and whether their memory ran out. Loads nothing of GPUs."""

from __future__ import annotations

from pathlib import Path

from harness.spec.event import EventKind, GpuSampled
from harness.spec.gpu import GpuFigures, GpuUse, summed_up
from harness.store.run_dir import RunDir

_OUT_OF_MEMORY = (b"CUDA out of memory", b"CUDA error: out of memory", b"OutOfMemoryError")
_TAIL = 64 * 1024


def gpu_use(run: RunDir) -> tuple[GpuUse, ...]:
    """Return what the looks at a run's GPUs come to, over its last attempt."""
    looks: list[tuple[GpuFigures, ...]] = []
    for event in run.events():
        if event.data.kind == EventKind.CLOCK_STARTED:
            looks = []
        elif isinstance(event.data, GpuSampled):
            looks.append(event.data.gpus)
    return summed_up(looks)


def out_of_gpu_memory(stderr: Path) -> bool:
    """Whether the end of what a program said is that it ran out of GPU memory: its own doing, and said beside its outcome."""
    if not stderr.exists():
        return False
    with stderr.open("rb") as file:
        file.seek(max(0, stderr.stat().st_size - _TAIL))
        said = file.read()
    return any(words in said for words in _OUT_OF_MEMORY)
