"""`dojo doctor gpu` over trees of many kinds; the last test asks this very host."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from harness.executor.doctor_gpu import ask_torch, diagnose_gpu
from harness.sandbox.base import Check
from harness.sandbox.nvidia.driver import HOST
from tests.unit.sandbox.nvidia.trees import Tree, uuid

WORKS = {"version": "2.13.0", "cuda": "13.0", "cards": ["NVIDIA H200"], "error": ""}


def says(host: Tree, *rows: str) -> None:
    """Let nvidia-smi print these rows, whatever it is asked."""
    (host.root / "rows").write_text("".join(f"{row}\n" for row in rows))
    host.program("nvidia-smi", f"exec cat {host.root}/rows")


def row(minor: int, mig: str = "Disabled", mode: str = "Default", used: str = "0") -> str:
    return f"{minor}, {uuid(minor)}, NVIDIA H200, 570.86, {mig}, 0000:01:00.0, 143771, {used}, 0, 75.1, 31, {mode}"


def found(host: Tree, environ: Mapping[str, str] | None = None, torch: Mapping[str, Any] = WORKS) -> dict[str, Check]:
    return {check.name: check for check in diagnose_gpu(host.tree, environ or {}, lambda: torch)}


def test_without_a_driver_it_says_plainly_that_none_is_loaded(tmp_path: Path) -> None:
    gpu = found(Tree(tmp_path, []))["gpu"]
    assert not gpu.ok and gpu.detail == "no NVIDIA driver is loaded here" and "modprobe nvidia" in gpu.hint


def test_a_loaded_driver_without_nodes_is_another_fault_with_another_remedy(tmp_path: Path) -> None:
    host = Tree(tmp_path, [0])
    (host.dev / "nvidia0").unlink()
    gpu = found(host)["gpu"]
    assert not gpu.ok and "driver is loaded" in gpu.detail and "nvidia-modprobe -c 0" in gpu.hint


def test_a_card_that_works_is_named_with_memory_driver_compute_mode_and_mig(tmp_path: Path) -> None:
    host = Tree(tmp_path, [0, 1])
    says(host, row(0, used="512"), row(1, mig="[N/A]"))
    checks = found(host)
    assert all(check.ok for check in checks.values()), checks
    words = "NVIDIA H200, 143,771 MiB (512 in use), driver 570.86, compute mode Default, MIG off, /dev/nvidia0"
    assert checks["gpu 0"].detail == words and "no MIG" in checks["gpu 1"].detail
    assert "NVRM version" in checks["driver"].detail
    assert checks["for sandboxes"].detail.startswith(f"{uuid(0)}, {uuid(1)}; 5 nodes")
    assert checks["torch"].detail == "2.13.0, built for CUDA 13.0, computes on NVIDIA H200"


@pytest.mark.parametrize("mode", ["Prohibited", "Exclusive_Process"])
def test_a_compute_mode_that_refuses_agent_or_evaluator_has_its_remedy(tmp_path: Path, mode: str) -> None:
    host = Tree(tmp_path, [0])
    says(host, row(0, mode=mode))
    card = found(host)["gpu 0"]
    assert not card.ok and f"compute mode {mode}" in card.detail and "nvidia-smi -i 0 -c DEFAULT" in card.hint


def test_a_card_in_mig_mode_needs_instances(tmp_path: Path) -> None:
    host = Tree(tmp_path, [0])
    says(host, row(0, mig="Enabled"))
    card = found(host)["gpu 0"]
    assert not card.ok and "MIG on, 0 instances" in card.detail and "mig -cgi" in card.hint


def test_of_a_cut_card_the_instances_are_counted(tmp_path: Path) -> None:
    host = Tree(tmp_path, [0])
    host.cut(0, [1, 5])
    (host.root / "rows").write_text(row(0, mig="Enabled") + "\n")
    listed = (
        f'case "$1" in -L) exec cat {host.root}/listed;; -q) exec cat {host.root}/queried;; *) exec cat {host.root}/rows;; esac'
    )
    host.program("nvidia-smi", listed)
    checks = found(host)
    assert checks["gpu 0"].ok and "MIG on, 2 instances" in checks["gpu 0"].detail and checks["for sandboxes"].ok


def test_what_nvidia_smi_does_not_say_is_said_of_nvidia_smi(tmp_path: Path) -> None:
    host = Tree(tmp_path, [0])
    host.program("nvidia-smi", "echo 'Failed to initialize NVML: Driver/library version mismatch'; exit 18")
    smi = found(host)["nvidia-smi"]
    assert not smi.ok and "version mismatch" in smi.detail and "newer than its loaded module" in smi.hint


def test_what_a_sandbox_would_lack_is_found_before_a_run(tmp_path: Path) -> None:
    host = Tree(tmp_path, [0])
    says(host, row(0))
    (host.dev / "nvidia-uvm").unlink()
    missing = found(host)["for sandboxes"]
    assert not missing.ok and "nvidia-uvm" in missing.detail and "nvidia-modprobe -u" in missing.hint
    none = found(host, {"CUDA_VISIBLE_DEVICES": ""})["for sandboxes"]
    assert not none.ok and "none" in none.detail and "CUDA_VISIBLE_DEVICES" in none.hint


@pytest.mark.parametrize(
    ("told", "detail", "hint"),
    [
        ({"version": None, "cuda": None, "error": "No module named 'torch'"}, "cannot be imported", "make setup"),
        ({"version": "2.13.0+cpu", "cuda": None, "error": ""}, "2.13.0+cpu is a build without CUDA", "build of torch for CUDA"),
        ({"error": "The NVIDIA driver on your system is too old (found version 11040)"}, "opens no GPU", "newer driver"),
        (
            {"error": "CUDA error: no kernel image is available for execution on the device"},
            "opens no GPU",
            "no code for this card",
        ),
        ({"error": "CUDA error: out of memory"}, "out of memory", "nvidia-smi names them"),
        ({"error": "No CUDA GPUs are available"}, "No CUDA GPUs", "CUDA_VISIBLE_DEVICES"),
    ],
)
def test_a_torch_that_opens_no_card_is_told_with_what_to_do(tmp_path: Path, told: dict[str, Any], detail: str, hint: str) -> None:
    torch = found(Tree(tmp_path, []), torch={**WORKS, "cards": [], **told})["torch"]
    assert not torch.ok and detail in torch.detail and hint in torch.hint


def test_this_hosts_own_torch_is_asked_in_a_process_of_its_own() -> None:
    pytest.importorskip("torch")
    told = ask_torch()
    assert told["version"] and (told["cuda"] is None or told["cards"] or told["error"]), told
    by_name = {check.name: check for check in diagnose_gpu(torch=lambda: told)}
    assert ("gpu" in by_name) == (not list(HOST.dev.glob("nvidia[0-9]*")))
