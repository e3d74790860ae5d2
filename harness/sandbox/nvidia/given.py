"""What a sandbox is shown of the GPUs that it was given: device nodes, the driver's files, its words in /proc, two variables."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from harness.sandbox.nvidia.driver import CONTROL_MINOR, HOST, MAJOR, DriverTree, Gpu
from harness.sandbox.nvidia.libraries import DriverFiles, find
from harness.spec.errors import MissingError

_IN_CONTAINER = "in a container: start it with --gpus all (docker) or ask for nvidia.com/gpu (a pod)"
_ALWAYS = ("nvidiactl", "nvidia-uvm")
_WHERE_THERE = ("nvidia-uvm-tools",)


@dataclass(frozen=True)
class Given:
    """GPUs as a sandbox on the host's system sees them; all empty without GPUs.

    Attributes:
        nodes: (device node on the host, its place inside).
        files: libraries and programs of the driver, links among them, at their own places.
        proc: texts below /proc/driver inside, path → text.
        env: variables of every command.
        program_folder: where nvidia-smi lies; None where there is none.
    """

    nodes: tuple[tuple[str, str], ...] = ()
    files: tuple[Path, ...] = ()
    proc: Mapping[str, str] = field(default_factory=dict)
    env: Mapping[str, str] = field(default_factory=dict)
    program_folder: Path | None = None


def give(gpus: Sequence[Gpu], tree: DriverTree = HOST) -> Given:
    """Return what a sandbox with these GPUs is shown, and nothing else of /dev.

    Raises:
        MissingError: a node or the driver's library is not there; says how to get it.
    """
    if not gpus:
        return Given()
    nodes = _nodes(gpus, tree)
    files = find(tree.loader_cache, tree.libraries, tree.programs)
    if files.folder is None:
        raise MissingError(
            "the NVIDIA driver's library libcuda.so.1 is nowhere on this host",
            hint="install the driver's user space of the loaded version (libnvidia-compute-…; "
            "in a container NVIDIA_DRIVER_CAPABILITIES=compute,utility), then ldconfig",
        )
    shown = (*files.libraries, *((files.program,) if files.program else ()))
    return Given(
        tuple((str(tree.dev / name), f"/dev/{name}") for name in nodes),
        shown,
        _proc(gpus, tree),
        environment(gpus) | _loader_path(files),
        files.program.parent if files.program else None,
    )


def environment(gpus: Sequence[Gpu], *, by_id: bool = False) -> dict[str, str]:
    """Return the variables that name a sandbox's GPUs.

    CUDA counts inside from 0 what it is shown, and programs read those numbers; instances have names only, and so do GPUs
    ``by_id``, where all of the host's are seen.
    """
    ids = ",".join(gpu.id for gpu in gpus)
    numbered = ids if by_id or any(gpu.mig for gpu in gpus) else ",".join(map(str, range(len(gpus))))
    return {"CUDA_VISIBLE_DEVICES": numbered, "NVIDIA_VISIBLE_DEVICES": ids or "void", "CUDA_DEVICE_ORDER": "PCI_BUS_ID"}


def _nodes(gpus: Sequence[Gpu], tree: DriverTree) -> list[str]:
    """Return the names below /dev, each once.

    Raises:
        MissingError: one that is needed is not there.
    """
    control = tree.dev / "nvidiactl"
    if tree.numbers(control) != (MAJOR, CONTROL_MINOR):
        raise MissingError(
            f"{control} is not there, and no GPU works without it", hint=f"as root: nvidia-modprobe; {_IN_CONTAINER}"
        )
    if tree.numbers(tree.dev / "nvidia-uvm") is None:
        raise MissingError(
            f"{tree.dev / 'nvidia-uvm'} is not there: the kernel module nvidia-uvm is not loaded, and CUDA needs it",
            hint=f"as root: nvidia-modprobe -u; {_IN_CONTAINER}",
        )
    names = [*_ALWAYS, *(name for name in _WHERE_THERE if tree.numbers(tree.dev / name) is not None)]
    names += dict.fromkeys(f"nvidia{gpu.minor}" for gpu in gpus)
    for gpu in gpus:
        for cap in gpu.caps:
            name = f"nvidia-caps/nvidia-cap{cap}"
            if tree.numbers(tree.dev / name) is None:
                raise MissingError(
                    f"{tree.dev / name}, which opens {gpu.words}, is not there",
                    hint=f"as root: nvidia-modprobe -f for each `access` below {tree.proc / 'capabilities'}; {_IN_CONTAINER}",
                )
            names.append(name)
    return list(dict.fromkeys(names))


def _proc(gpus: Sequence[Gpu], tree: DriverTree) -> dict[str, str]:
    """Return the driver's words, those of other GPUs left out. The library must not try to make nodes."""
    found: dict[str, str] = {}

    def take(path: Path, name: str) -> None:
        if path.is_file():
            found[name] = path.read_text(errors="replace")

    take(tree.proc / "version", "nvidia/version")
    take(tree.proc / "params", "nvidia/params")
    if "nvidia/params" in found:
        found["nvidia/params"] = re.sub(r"(?m)^ModifyDeviceFiles: .*$", "ModifyDeviceFiles: 0", found["nvidia/params"])
    for gpu in gpus:
        if gpu.bus:
            take(tree.proc / "gpus" / gpu.bus / "information", f"nvidia/gpus/{gpu.bus}/information")
        if gpu.mig:
            whole = Path(f"gpu{gpu.minor}") / "mig" / f"gi{gpu.mig[0]}"
            for access in (whole / "access", whole / f"ci{gpu.mig[1]}" / "access"):
                take(tree.proc / "capabilities" / access, f"nvidia/capabilities/{access}")
    lines = [_mig_line(gpu) for gpu in gpus if gpu.mig]
    if lines:
        found["nvidia-caps/mig-minors"] = "".join(lines)
    return found


def _mig_line(gpu: Gpu) -> str:
    """Return an instance's two lines of ``mig-minors``, in which the library looks the nodes up."""
    assert gpu.mig is not None
    whole = f"gpu{gpu.minor}/gi{gpu.mig[0]}"
    return f"{whole}/access {gpu.caps[0]}\n{whole}/ci{gpu.mig[1]}/access {gpu.caps[1]}\n"


def _loader_path(files: DriverFiles) -> dict[str, str]:
    """Tell the loader where they lie, where its cache, which sandboxes have too, does not say so."""
    return {} if files.cached else {"LD_LIBRARY_PATH": str(files.folder)}
