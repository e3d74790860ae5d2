"""What `nvidia-smi` says of GPUs: figures, processes on them, names of MIG instances."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple
from xml.etree import ElementTree

from harness.spec.errors import MissingError, SandboxError

# Without persistence mode every call loads the driver's state anew, some seconds for eight GPUs.
_PATIENCE_S = 30.0
_STATUS = ("index", "uuid", "name", "driver_version", "mig.mode.current", "pci.bus_id", "memory.total", "memory.used",
           "utilization.gpu", "power.draw", "temperature.gpu", "compute_mode")  # fmt: skip
_APPS = ("gpu_uuid", "pid", "used_memory", "process_name")
# How the driver says that a GPU does not answer any more, in rows and in errors.
_LOST = re.compile(r"GPU is lost|fallen off the bus|Unable to determine the device handle|\[Unknown Error\]|GPU requires reset")
_MAX_SAID = 300


class MigKey(NamedTuple):
    """An instance by its numbers: of the GPU's device node, of the GPU instance, of the compute instance."""

    minor: int
    gpu_instance: int
    compute_instance: int


@dataclass(frozen=True)
class GpuStatus:
    """One GPU now: megabytes (MiB), per cent of the time in use, watts, degrees Celsius. None: this GPU does not say it.

    ``mig`` is its mode: "Enabled", "Disabled" or "" where it has none; ``compute_mode`` is who may use it: "Default",
    "Exclusive_Process", "Prohibited".
    """

    index: int
    uuid: str
    name: str
    driver: str
    mig: str
    bus: str
    memory_total_mb: float | None
    memory_used_mb: float | None
    utilisation: float | None
    power_w: float | None
    temperature_c: float | None
    compute_mode: str


@dataclass(frozen=True)
class GpuProcess:
    """A process that has memory on a GPU; ``memory_mb`` is None where the driver does not say it (as in MIG mode)."""

    uuid: str
    pid: int
    memory_mb: float | None
    name: str


@dataclass(frozen=True)
class Smi:
    """The program `nvidia-smi`, by name on PATH or by path."""

    program: str = "nvidia-smi"

    def status(self, ids: Sequence[str] = ()) -> list[GpuStatus]:
        """Return the figures of the GPUs called ``ids`` (UUIDs or indices), or of all.

        Raises:
            MissingError: there is no such program.
            SandboxError: it fails or prints what is not understood (code ``gpu_unknown``), or says that a GPU does not
                answer any more (code ``gpu_lost``).
        """
        return [_status(row) for row in self._rows("gpu", _STATUS, ids)]

    def processes(self, ids: Sequence[str] = ()) -> list[GpuProcess]:
        """Return who has memory on these GPUs. In a container whose processes have numbers of their own it sees nobody.

        Raises:
            MissingError, SandboxError: as `status`.
        """
        return [
            GpuProcess(uuid, int(pid), _number(memory), name)
            for uuid, pid, memory, name in self._rows("compute-apps", _APPS, ids)
            if pid.isdigit()
        ]

    def mig_names(self) -> dict[MigKey, str]:
        """Return the UUID of every MIG instance here.

        Raises:
            MissingError, SandboxError: as `status`.
        """
        listed = _listed(self._said("-L"))
        said = self._said("-q", "-x")
        try:
            root = ElementTree.fromstring(said)  # of the driver's own program
        except ElementTree.ParseError as exc:
            raise _not_understood(said) from exc
        found = {}
        for position, gpu in enumerate(root.iter("gpu")):
            minor = gpu.findtext("minor_number", "")
            for device in gpu.iter("mig_device"):
                numbers = [device.findtext(name, "") for name in ("index", "gpu_instance_id", "compute_instance_id")]
                if not minor.isdigit() or not all(number.isdigit() for number in numbers):
                    raise _not_understood(ElementTree.tostring(device, "unicode"))
                index, gpu_instance, compute_instance = map(int, numbers)
                if name := listed.get((position, index)):
                    found[MigKey(int(minor), gpu_instance, compute_instance)] = name
        return found

    def _rows(self, what: str, fields: Sequence[str], ids: Sequence[str]) -> list[list[str]]:
        chosen = ["-i", ",".join(ids)] if ids else []
        said = self._said(f"--query-{what}={','.join(fields)}", "--format=csv,noheader,nounits", *chosen)
        rows = []
        for line in said.splitlines():
            if not line.strip() or line.startswith("No running"):
                continue
            cells = [cell.strip() for cell in line.split(",", len(fields) - 1)]
            if len(cells) != len(fields):
                raise _not_understood(line)
            rows.append(cells)
        return rows

    def _said(self, *arguments: str) -> str:
        try:
            done = subprocess.run(
                [self.program, *arguments], capture_output=True, timeout=_PATIENCE_S, check=False, stdin=subprocess.DEVNULL
            )
        except (FileNotFoundError, PermissionError) as exc:
            raise MissingError(
                f"{self.program} is not here, so nobody can say what GPUs do",
                hint="install the driver's programs (nvidia-utils); a container needs NVIDIA_DRIVER_CAPABILITIES=compute,utility",
            ) from exc
        except subprocess.TimeoutExpired as exc:
            raise SandboxError(
                f"{self.program} did not answer within {_PATIENCE_S:.0f} s",
                hint="a driver that hangs needs the machine started anew; `nvidia-smi -pm 1` makes a slow one quick",
                code="gpu_unknown",
            ) from exc
        said = done.stdout.decode(errors="replace")
        words = (said + done.stderr.decode(errors="replace")).strip()
        if lost := _LOST.search(words):
            line = next(line for line in words.splitlines() if lost[0] in line)
            raise SandboxError(
                f"a GPU does not answer any more: {line.strip()[:_MAX_SAID]}",
                hint="drain the machine, then reset the GPU (nvidia-smi -r) or start the machine anew",
                code="gpu_lost",
            )
        if done.returncode:
            raise SandboxError(
                f"{self.program} ended with {done.returncode}: {words[:_MAX_SAID]}",
                hint="`nvidia-smi` by hand must work first; the driver may be newer than its loaded module",
                code="gpu_unknown",
            )
        return said


def _status(cells: list[str]) -> GpuStatus:
    index, uuid, name, driver, mig, bus, *figures, compute_mode = cells
    if not index.isdigit():
        raise _not_understood(", ".join(cells))
    total, used, utilisation, power, temperature = map(_number, figures)
    mode = "" if mig.startswith("[") else mig
    return GpuStatus(int(index), uuid, name, driver, mode, bus, total, used, utilisation, power, temperature, compute_mode)


def _number(cell: str) -> float | None:
    """Return a figure; None for words like ``[N/A]``, ``[Not Supported]`` and ``ERR!``."""
    match = re.match(r"\d+(\.\d+)?", cell)
    return float(match[0]) if match else None


def _listed(said: str) -> dict[tuple[int, int], str]:
    """Read ``nvidia-smi -L``: (position of the GPU, index of the instance) → UUID."""
    found: dict[tuple[int, int], str] = {}
    position = -1
    for line in said.splitlines():
        if line.startswith("GPU "):
            position += 1
        elif match := re.search(r"Device\s+(\d+):\s*\(UUID: (MIG-[^)]+)\)", line):
            found[position, int(match[1])] = match[2]
    return found


def _not_understood(said: str) -> SandboxError:
    return SandboxError(
        f"nvidia-smi printed what dojo does not understand: {said.strip()[:_MAX_SAID]}",
        hint="report this with the driver's version",
        code="gpu_unknown",
    )
