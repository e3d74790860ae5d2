"""Trees that stand for /dev, the driver's files in /proc and its libraries: a node is a file that says its numbers."""

import platform
from collections.abc import Sequence
from pathlib import Path

from harness.sandbox.nvidia.driver import DriverTree
from harness.sandbox.nvidia.libraries import _ENTRY, _HEADER, _MAGIC, _OF_MACHINE
from harness.sandbox.nvidia.smi import Smi

UVM, CAPS = 508, 511  # the kernel chooses these majors


def numbers(path: Path) -> tuple[int, int] | None:
    """What `device_numbers` is for real nodes; a file that says nothing is no device."""
    if not path.exists() or ":" not in (text := path.read_text()):
        return None
    major, minor = text.split(":")
    return int(major), int(minor)


def uuid(minor: int) -> str:
    return f"GPU-{minor:08x}-1111-2222-3333-444444444444"


def mig(minor: int, instance: int) -> str:
    return f"MIG-{minor:08x}-{instance:04x}-5555-6666-777777777777"


class Tree:
    """A host with a driver; tests take away and add to it."""

    def __init__(self, root: Path, gpus: Sequence[int], buses: Sequence[int] | None = None) -> None:
        self.root, self.dev, self.proc = root, root / "dev", root / "proc"
        self.libraries, self.programs = root / "lib", root / "bin"
        for folder in (self.dev, self.proc, self.libraries, self.programs):
            folder.mkdir(parents=True)
        (self.dev / "null").touch()
        self.smi = Smi(str(self.programs / "nvidia-smi"))
        if not gpus:
            return
        (self.proc / "version").write_text("NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  570.86\n")
        (self.proc / "params").write_text("ResmanDebugLevel: 4294967295\nModifyDeviceFiles: 1\n")
        for name, major, minor in (
            ("nvidiactl", 195, 255), ("nvidia-modeset", 195, 254), ("nvidia-uvm", UVM, 0), ("nvidia-uvm-tools", UVM, 1),
        ):  # fmt: skip
            self.node(name, major, minor)
        for place, minor in enumerate(gpus):
            self.node(f"nvidia{minor}", 195, minor)
            bus = f"0000:{(buses or range(1, 99))[place]:02x}:00.0"
            about = self.proc / "gpus" / bus / "information"
            about.parent.mkdir(parents=True)
            lines = ("Model: \t\t NVIDIA H200", "IRQ:   \t\t 50", f"GPU UUID: \t {uuid(minor)}", f"Bus Location: \t {bus}")
            about.write_text("".join(f"{line}\n" for line in (*lines, f"Device Minor: \t {minor}")))
        for name in ("libcuda.so.570.86", "libnvidia-ml.so.1", "libnvidia-ptxjitcompiler.so.1", "libnvidia-gpucomp.so.570.86"):
            (self.libraries / name).touch()
        (self.libraries / "libother.so.1").touch()
        (self.libraries / "libcuda.so.1").symlink_to("libcuda.so.570.86")
        self.program("nvidia-smi", "exit 0")

    def node(self, name: str, major: int, minor: int) -> None:
        path = self.dev / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"{major}:{minor}")

    def program(self, name: str, body: str) -> None:
        path = self.programs / name
        path.write_text(f"#!/bin/sh\n{body}\n")
        path.chmod(0o755)

    def cut(self, minor: int, instances: Sequence[int]) -> None:
        """Put a GPU into MIG mode, with one compute instance in each GPU instance, and let nvidia-smi name them."""
        listed, queried = f"GPU 0: NVIDIA H200 (UUID: {uuid(minor)})\n", ""
        for index, instance in enumerate(instances):
            caps = (10 * instance, 10 * instance + 1)
            whole = self.proc / "capabilities" / f"gpu{minor}" / "mig" / f"gi{instance}"
            for folder, cap in ((whole, caps[0]), (whole / "ci0", caps[1])):
                folder.mkdir(parents=True, exist_ok=True)
                (folder / "access").write_text(f"DeviceFileMinor: {cap}\nDeviceFileMode: 292\nDeviceFileModify: 1\n")
                self.node(f"nvidia-caps/nvidia-cap{cap}", CAPS, cap)
            listed += f"  MIG 1g.18gb     Device  {index}: (UUID: {mig(minor, instance)})\n"
            queried += f"<mig_device><index>{index}</index><gpu_instance_id>{instance}</gpu_instance_id>"
            queried += "<compute_instance_id>0</compute_instance_id></mig_device>"
        self.node("nvidia-caps/nvidia-cap1", CAPS, 1)  # who has it may cut GPUs
        self.node("nvidia-caps/nvidia-cap2", CAPS, 2)  # who has it watches everybody's
        (self.root / "listed").write_text(listed)
        gpu = f"<gpu><minor_number>{minor}</minor_number><mig_devices>{queried}</mig_devices></gpu>"
        (self.root / "queried").write_text(f"<nvidia_smi_log>{gpu}</nvidia_smi_log>")
        self.program("nvidia-smi", f'[ "$1" = -L ] && exec cat {self.root}/listed; exec cat {self.root}/queried')

    def cache(self) -> None:
        """Let the loader's cache name libcuda, as it does after ldconfig."""
        path, key = str(self.libraries / "libcuda.so.1").encode(), b"libcuda.so.1"
        flags = _OF_MACHINE.get(platform.machine(), 0)
        start = _HEADER.size + 2 * _ENTRY.size
        strings = key + b"\0" + path + b"\0/elsewhere\0"
        entries = _ENTRY.pack(0x0003, start, start + len(key) + len(path) + 2, 0, 0)  # 32 bits
        entries += _ENTRY.pack(flags, start, start + len(key) + 1, 0, 0)
        (self.root / "ld.so.cache").write_bytes(_HEADER.pack(_MAGIC, 2, len(strings), 0, 0) + entries + strings)

    @property
    def tree(self) -> DriverTree:
        return DriverTree(
            self.dev,
            self.proc,
            self.root / "ld.so.cache",
            (self.root / "nowhere", self.libraries),
            (self.programs,),
            numbers,
            self.smi,
        )
