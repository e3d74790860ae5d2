"""Which GPUs the driver shows this process, read from device nodes and the driver's own files; MIG instances count each.

Nothing is loaded and no program is run but, where a GPU is cut into instances, `nvidia-smi` for their names.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from harness.sandbox.nvidia.smi import MigKey, Smi
from harness.spec.errors import MissingError

# The driver's character devices have this number for ever; the minor is the GPU's, and 255 is nvidiactl.
MAJOR = 195
CONTROL_MINOR = 255
_OF_THE_JOB = "SLURM_JOB_GPUS"
# Where driver packages, container runtimes, WSL and NixOS put the driver's libraries where the loader's cache does not name them.
LIBRARY_FOLDERS = tuple(
    Path(path)
    for path in (
        "/usr/lib/x86_64-linux-gnu",
        "/usr/lib/aarch64-linux-gnu",
        "/usr/lib64",
        "/usr/lib",
        "/usr/local/nvidia/lib64",
        "/usr/local/nvidia/lib",
        "/usr/lib/wsl/lib",
        "/run/opengl-driver/lib",
        "/run/nvidia/driver/usr/lib/x86_64-linux-gnu",
    )
)
PROGRAM_FOLDERS = tuple(
    Path(path)
    for path in ("/usr/bin", "/usr/local/bin", "/usr/local/nvidia/bin", "/usr/lib/wsl/lib", "/run/nvidia/driver/usr/bin")
)


def device_numbers(path: Path) -> tuple[int, int] | None:
    """Return (major, minor) of a character device; None for anything else."""
    try:
        found = path.stat()
    except OSError:
        return None
    return (os.major(found.st_rdev), os.minor(found.st_rdev)) if stat.S_ISCHR(found.st_mode) else None


@dataclass(frozen=True)
class DriverTree:
    """Where the driver's things lie. All are parameters, so that tests build a tree of their own.

    ``numbers`` tells what device a path is, and ``smi`` the program that names MIG instances.
    """

    dev: Path = Path("/dev")
    proc: Path = Path("/proc/driver/nvidia")
    loader_cache: Path = Path("/etc/ld.so.cache")
    libraries: tuple[Path, ...] = LIBRARY_FOLDERS
    programs: tuple[Path, ...] = PROGRAM_FOLDERS
    numbers: Callable[[Path], tuple[int, int] | None] = device_numbers
    smi: Smi = field(default_factory=Smi)


HOST = DriverTree()


@dataclass(frozen=True)
class Gpu:
    """A GPU, or an instance of one in MIG mode.

    Attributes:
        name: what claims call it: the number of its device node, or the UUID of the instance.
        minor: the number of its device node.
        index: its place among the GPUs here in the order of the bus, as `nvidia-smi` counts; of an instance: its GPU's.
        uuid: of a whole GPU, "" where the driver does not say it.
        bus: its address, such as ``0000:3b:00.0``; "" where unknown.
        model: "" where unknown.
        mig: (GPU instance, compute instance); None for a whole GPU.
        caps: of an instance: the numbers of the two nodes below ``nvidia-caps`` that open it.
    """

    name: str
    minor: int
    index: int
    uuid: str = ""
    bus: str = ""
    model: str = ""
    mig: tuple[int, int] | None = None
    caps: tuple[int, ...] = ()

    @property
    def id(self) -> str:
        """What CUDA, the container runtime and `nvidia-smi -i` call it on this host."""
        return self.name if self.mig else self.uuid or str(self.index)

    @property
    def words(self) -> str:
        """What people call it."""
        what = f"/dev/nvidia{self.minor}" + (f" ({self.model})" if self.model else "")
        return f"{self.name} of {what}" if self.mig else what


@dataclass(frozen=True)
class Found:
    """The GPUs here, and the nodes that look like one and are none, with the reason."""

    gpus: tuple[Gpu, ...]
    passed_over: Mapping[str, str]


def look(tree: DriverTree = HOST) -> Found:
    """Return every GPU whose device node is here, in the order of the bus; of one in MIG mode its instances.

    Raises:
        MissingError: there are instances, and `nvidia-smi` does not name them.
    """
    minors, passed_over = _nodes(tree)
    told = _information(tree.proc)
    order = sorted(minors, key=lambda minor: (told.get(minor, {}).get("Bus Location", "~"), minor))
    gpus: list[Gpu] = []
    names: Mapping[MigKey, str] | None = None
    for index, minor in enumerate(order):
        about = told.get(minor, {})
        uuid = about.get("GPU UUID", "")
        whole = Gpu(str(minor), minor, index, "" if "?" in uuid else uuid, about.get("Bus Location", ""), about.get("Model", ""))
        instances = _instances(tree.proc, minor)
        if not instances:
            gpus.append(whole)
            continue
        if names is None:
            names = tree.smi.mig_names()
        for (gpu_instance, compute_instance), caps in sorted(instances.items()):
            name = names.get(MigKey(minor, gpu_instance, compute_instance))
            if name is None:
                raise MissingError(
                    f"instance {gpu_instance}/{compute_instance} of /dev/nvidia{minor} has no name: nvidia-smi does not list it",
                    hint="`nvidia-smi -L` must list it; make it anew with `nvidia-smi mig -cgi … -C`",
                )
            gpus.append(Gpu(name, minor, index, whole.uuid, whole.bus, whole.model, (gpu_instance, compute_instance), caps))
    return Found(tuple(gpus), passed_over)


def usable(tree: DriverTree = HOST, environ: Mapping[str, str] = os.environ) -> tuple[Gpu, ...]:
    """Return the GPUs that dojo may claim: all that are here, or those of them that ``CUDA_VISIBLE_DEVICES`` names.

    In a job of Slurm they are the job's. There that variable counts from 0 whichever they are, as the others cannot be opened.

    Raises:
        MissingError: the variable names what is not here, or a GPU in MIG mode instead of its instances.
    """
    gpus = look(tree).gpus
    if of_the_job := _listed(environ.get(_OF_THE_JOB, "")):
        return tuple(gpu for gpu in gpus if gpu.minor in of_the_job)
    wanted = environ.get("CUDA_VISIBLE_DEVICES")
    if wanted is None or not gpus:
        return gpus
    if wanted.strip() in ("", "-1", "NoDevFiles", "void", "none"):  # the words by which schedulers and users say: none
        return ()
    chosen: dict[str, Gpu] = {}
    for entry in (part.strip() for part in wanted.split(",")):
        for gpu in _named(entry, gpus):
            chosen[gpu.name] = gpu
    return tuple(gpu for gpu in gpus if gpu.name in chosen)


def _listed(text: str) -> set[int]:
    """Read numbers as Slurm lists them: ``0,2-3``."""
    found: set[int] = set()
    for part in text.split(","):
        first, _, last = part.partition("-")
        if first.isdigit():
            found.update(range(int(first), int(last if last.isdigit() else first) + 1))
    return found


def require_usable(count: int, tree: DriverTree = HOST, environ: Mapping[str, str] = os.environ) -> tuple[Gpu, ...]:
    """Return the GPUs that may be claimed, at least ``count``.

    Raises:
        MissingError: there are fewer; says what is in the way (driver, nodes, CUDA_VISIBLE_DEVICES) and what to do.
    """
    gpus = usable(tree, environ)
    if len(gpus) >= count:
        return gpus
    needs = f"the sandbox needs {count} GPU{'s' if count > 1 else ''}"
    found = look(tree)
    passed = "; ".join(f"{node}: {why}" for node, why in found.passed_over.items())
    if len(found.gpus) >= count:
        raise MissingError(
            f"{needs} and CUDA_VISIBLE_DEVICES={environ['CUDA_VISIBLE_DEVICES']!r} leaves {len(gpus)} of {len(found.gpus)}",
            hint="start dojo with more of them in CUDA_VISIBLE_DEVICES, or without the variable",
        )
    if found.gpus:
        raise MissingError(
            f"{needs} and this host shows {len(found.gpus)}" + (f" ({passed})" if passed else ""),
            hint="`dojo doctor gpu` lists them; use a machine with more, or limits with fewer",
        )
    raise MissingError(f"{needs}: {why_none(tree)}" + (f" ({passed})" if passed else ""), hint=remedy_none(tree))


def why_none(tree: DriverTree) -> str:
    """Return why there is no GPU here: no driver, or no nodes."""
    if (tree.proc / "version").exists():
        return f"the NVIDIA driver is loaded and {tree.dev}/nvidia0 is not there"
    return "no NVIDIA driver is loaded here"


def remedy_none(tree: DriverTree) -> str:
    """Return what to do where there is no GPU."""
    if (tree.proc / "version").exists():
        return "as root: nvidia-modprobe -c 0 -u; a container is started with --gpus all, a pod asks for nvidia.com/gpu"
    return "install the driver and load it (modprobe nvidia), use a machine with GPUs, or --profile mini"


def _nodes(tree: DriverTree) -> tuple[list[int], dict[str, str]]:
    """Return the minors of the GPUs' nodes, and what is passed over."""
    minors, passed_over = [], {}
    for path in sorted(tree.dev.glob("nvidia[0-9]*")):
        suffix = path.name.removeprefix("nvidia")
        if not suffix.isdigit():
            continue
        numbers = tree.numbers(path)
        if numbers is None:
            passed_over[str(path)] = "no character device"
        elif numbers != (MAJOR, int(suffix)):
            passed_over[str(path)] = f"device {numbers[0]}:{numbers[1]}, where the driver's would be {MAJOR}:{suffix}"
        else:
            minors.append(int(suffix))
    return minors, passed_over


def _information(proc: Path) -> dict[int, dict[str, str]]:
    """Return what the driver tells of each GPU, by minor; empty where its files are not shown, as in some containers."""
    told = {}
    for path in proc.glob("gpus/*/information"):
        lines = (line.partition(":") for line in path.read_text(errors="replace").splitlines())
        about = {name.strip(): value.strip() for name, _, value in lines}
        if about.get("Device Minor", "").isdigit():
            told[int(about["Device Minor"])] = about
    return told


def _instances(proc: Path, minor: int) -> dict[tuple[int, int], tuple[int, int]]:
    """Return a GPU's MIG instances, (GPU instance, compute instance) → the numbers of the nodes that open both."""
    found = {}
    for access in (proc / "capabilities" / f"gpu{minor}" / "mig").glob("gi*/ci*/access"):
        compute, whole = access.parent, access.parent.parent
        caps = (capability_minor(whole / "access"), capability_minor(access))
        found[int(whole.name.removeprefix("gi")), int(compute.name.removeprefix("ci"))] = caps
    return found


def capability_minor(access: Path) -> int:
    """Return the number of the node that a capability's file names.

    Raises:
        MissingError: the file is not as the driver writes it.
    """
    match = re.search(r"^DeviceFileMinor:\s*(\d+)", access.read_text(errors="replace"), re.MULTILINE) if access.exists() else None
    if match is None:
        raise MissingError(f"{access} names no device node", hint="the driver's MIG support is not as dojo knows it; report this")
    return int(match[1])


def _named(entry: str, gpus: tuple[Gpu, ...]) -> list[Gpu]:
    """Return the GPU that one entry of CUDA_VISIBLE_DEVICES names: index, UUID or a beginning of it, MIG instance."""
    where = f"CUDA_VISIBLE_DEVICES names {entry!r}"
    if legacy := re.fullmatch(r"MIG-(GPU-[0-9a-f-]+)/(\d+)/(\d+)", entry):
        found = [g for g in gpus if g.uuid == legacy[1] and g.mig == (int(legacy[2]), int(legacy[3]))]
    elif entry.startswith("MIG-"):
        found = [g for g in gpus if g.mig and g.name.startswith(entry)]
    elif entry.startswith("GPU-"):
        found = [g for g in gpus if g.uuid.startswith(entry)]
    elif entry.isdigit():
        found = [g for g in gpus if g.index == int(entry)]
    else:
        found = []
    if not found:
        raise MissingError(
            f"{where}, and no such GPU is here: {', '.join(g.id for g in gpus)}", hint="`nvidia-smi -L` lists what can be named"
        )
    if not entry.startswith("MIG-") and any(g.mig for g in found):
        raise MissingError(f"{where}, a GPU in MIG mode", hint=f"name instances of it: {', '.join(g.name for g in found)}")
    if len(found) > 1:
        raise MissingError(f"{where}, which could be {' or '.join(g.id for g in found)}", hint="write more of the UUID")
    return found
