"""What nvidia-smi prints is read, over a small program in its place that prints the real formats."""

from pathlib import Path

import pytest

from harness.sandbox.nvidia import tenants as tenancy
from harness.sandbox.nvidia.smi import GpuProcess, Smi
from harness.sandbox.nvidia.tenants import Tenant, remaining, tenants
from harness.sandbox.nvidia.xid import read
from harness.spec.errors import MissingError, SandboxError

H200 = "0, GPU-8d1f, NVIDIA H200, 570.86.15, Disabled, 00000000:3B:00.0, 143771, 1024, 37, 121.53, 41, Default"
CUT = "1, GPU-aa00, NVIDIA A100-SXM4-80GB, 570.86.15, Enabled, 00000000:5E:00.0, 81920, 87, [N/A], 61.20, 33, Exclusive_Process"
OLD = "2, GPU-bb00, Tesla K80, 470.57.02, [N/A], 00000000:86:00.0, 11441, 0, [Not Supported], ERR!, 30, Prohibited"


@pytest.fixture
def smi(tmp_path: Path) -> Smi:
    return Smi(str(tmp_path / "nvidia-smi"))


def says(smi: Smi, gpus: str = "", apps: str = "", code: int = 0) -> None:
    """Let the program print these."""
    path = Path(smi.program)
    path.with_name("gpus").write_text(gpus)
    path.with_name("apps").write_text(apps)
    path.write_text(
        f'#!/bin/sh\ncd {path.parent}; echo "$@" >> asked\n'
        f'case "$1" in --query-gpu*) cat gpus;; *) cat apps;; esac\nexit {code}\n'
    )
    path.chmod(0o755)


def test_figures_are_read_and_what_a_gpu_does_not_say_is_none(smi: Smi) -> None:
    says(smi, f"{H200}\n{CUT}\n{OLD}\n")
    new, cut, old = smi.status()
    assert (new.index, new.uuid, new.name, new.driver, new.mig) == (0, "GPU-8d1f", "NVIDIA H200", "570.86.15", "Disabled")
    assert (new.memory_total_mb, new.memory_used_mb, new.utilisation, new.power_w, new.temperature_c) == (
        143771,
        1024,
        37,
        121.53,
        41,
    )
    assert (cut.mig, cut.utilisation) == ("Enabled", None)
    assert [gpu.compute_mode for gpu in (new, cut, old)] == ["Default", "Exclusive_Process", "Prohibited"]
    assert (old.mig, old.utilisation, old.power_w, old.temperature_c) == ("", None, None, 30)


def test_it_is_asked_for_the_gpus_that_matter_alone(smi: Smi) -> None:
    says(smi, H200)
    smi.status(["GPU-8d1f", "GPU-aa00"])
    asked = Path(smi.program).with_name("asked").read_text()
    assert asked.rstrip().endswith("-i GPU-8d1f,GPU-aa00") and "--format=csv,noheader,nounits" in asked


def test_processes_are_read_with_commas_in_their_names(smi: Smi) -> None:
    says(smi, apps="GPU-8d1f, 4242, 71234, /usr/bin/python, of somebody\nGPU-aa00, 7, [N/A], [Not Found]\n")
    assert smi.processes() == [
        GpuProcess("GPU-8d1f", 4242, 71234, "/usr/bin/python, of somebody"),
        GpuProcess("GPU-aa00", 7, None, "[Not Found]"),
    ]


def test_no_processes_are_none(smi: Smi) -> None:
    says(smi, apps="No running processes found\n")
    assert smi.processes() == []


@pytest.mark.parametrize(
    ("printed", "exit_code", "code"),
    [
        ("Unable to determine the device handle for GPU0000:3B:00.0: Unknown Error\n", 255, "gpu_lost"),
        ("0, GPU-8d1f, NVIDIA H200, 570, Disabled, 00000000:3B:00.0, [GPU is lost], [GPU is lost], 0, 0, 0\n", 0, "gpu_lost"),
        ("NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver.\n", 9, "gpu_unknown"),
        ("Failed to initialize NVML: Driver/library version mismatch\n", 18, "gpu_unknown"),
        ("1, 2\n", 0, "gpu_unknown"),
    ],
)
def test_its_failures_are_told_apart_and_have_a_remedy(smi: Smi, printed: str, exit_code: int, code: str) -> None:
    says(smi, printed, code=exit_code)
    with pytest.raises(SandboxError) as raised:
        smi.status()
    assert raised.value.code == code and raised.value.hint


def test_without_the_program_it_is_said_how_to_get_it(smi: Smi) -> None:
    with pytest.raises(MissingError, match="is not here") as raised:
        smi.status()
    assert "NVIDIA_DRIVER_CAPABILITIES" in raised.value.hint


def test_errors_of_the_hardware_are_found_in_the_kernels_log_and_told_from_a_programs(tmp_path: Path) -> None:
    log = tmp_path / "kmsg"
    log.write_text(
        "6,100,5000000,-;usb 1-1: new device\n"
        "3,101,98765432,-;NVRM: Xid (PCI:0000:3B:00): 79, pid='<unknown>', name=<unknown>, GPU has fallen off the bus.\n"
        " SUBSYSTEM=pci\n"
        "3,102,99000000,-;NVRM: Xid (PCI:0000:5e:00): 31, pid=4242, name=python, Ch 00000008, MMU Fault\n"
    )
    lost, fault = read(log)
    assert (lost.at_s, lost.bus, lost.number, lost.hardware) == (98.765432, "0000:3b:00", 79, True)
    assert (fault.number, fault.hardware) == (31, False), "an agent's own kernel can do that"
    assert read(tmp_path / "absent") == []


def process(proc: Path, pid: int, parent: int, started: int, group: str = "/") -> None:
    folder = proc / str(pid)
    folder.mkdir(parents=True)
    (folder / "stat").write_text(f"{pid} (py (th) on) S {parent} " + "0 " * 17 + f"{started} 0\n")
    (folder / "cgroup").write_text(f"4:memory:{group}\n0::/init.scope\n")


def test_whose_process_has_memory_is_known_by_its_group_or_its_ancestors(
    smi: Smi, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    proc = tmp_path / "proc"
    process(proc, 1, 0, 1)
    process(proc, 50, 1, 10)  # the first process of a sandbox without a group
    process(proc, 51, 50, 20)
    process(proc, 60, 1, 30, "/dojo/r1-1-task")
    process(proc, 70, 1, 40, "/user.slice")
    init = tmp_path / "run" / "sb" / "r1-1-agent" / "init"
    init.parent.mkdir(parents=True)
    init.write_text('{"pid": 50, "started": "10"}')
    monkeypatch.setattr(tenancy, "runtime_root", lambda: tmp_path / "run")
    says(smi, apps="".join(f"GPU-8d1f, {pid}, {pid}, python\n" for pid in (51, 60, 70)))
    found = tenants(["GPU-8d1f"], ["r1-1-task", "r1-1-agent"], smi, proc)
    assert found == [Tenant(51, 20, 51, "python", True), Tenant(60, 30, 60, "python", True), Tenant(70, 40, 70, "python", False)]


def test_what_ended_sandboxes_still_have_is_told_from_what_others_have(smi: Smi, tmp_path: Path) -> None:
    proc = tmp_path / "proc"
    process(proc, 60, 1, 30)
    process(proc, 61, 1, 99)  # a later process of a number that was ours
    before = [
        Tenant(60, 30, 5, "a", True),
        Tenant(61, 31, 5, "b", True),
        Tenant(62, 32, 5, "c", True),
        Tenant(63, 33, 5, "d", True),
    ]
    says(smi, apps="GPU-8d1f, 60, 71234, a\nGPU-8d1f, 61, 10, b\nGPU-8d1f, 62, 20, c\n")
    held, others = remaining(before, ["GPU-8d1f"], smi, proc, patience_s=0)
    assert [(t.pid, t.memory_mb) for t in held] == [(60, 71234), (62, 20)], "the driver still names 62, the kernel does not"
    assert [t.pid for t in others] == [61]


def test_memory_that_is_let_go_of_in_time_is_none(smi: Smi, tmp_path: Path) -> None:
    says(smi, apps="GPU-8d1f, 60, 71234, a\n")
    path = Path(smi.program)
    path.write_text(path.read_text().replace("*) cat apps", "*) cat apps; : > apps"))
    assert remaining([Tenant(60, 0, 5, "a", True)], ["GPU-8d1f"], smi, tmp_path / "proc") == ([], [])
