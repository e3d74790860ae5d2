"""Nodes, files and words that a sandbox is given for its GPUs are inside, and no others: with harmless nodes in their place."""

import os
import sys
from pathlib import Path

import pytest

from harness.sandbox import namespace
from harness.sandbox.base import SandboxSpec
from harness.sandbox.namespace import NamespaceBackend
from harness.sandbox.nvidia.driver import Gpu
from harness.sandbox.nvidia.given import Given
from harness.spec.task import Limits


def test_a_sandbox_is_shown_what_it_was_given_and_nothing_else_of_dev(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    library = tmp_path / "driver" / "libcuda.so.570"
    library.parent.mkdir()
    library.write_text("the library")
    link = library.with_name("libcuda.so.1")
    link.symlink_to(library.name)
    given = Given(
        nodes=(("/dev/zero", "/dev/nvidia3"), ("/dev/full", "/dev/nvidia-caps/nvidia-cap12")),
        files=(library, link),
        proc={"nvidia/version": "570.86\n", "nvidia/gpus/0000:3b:00.0/information": "Device Minor: 3\n"},
        env={"CUDA_VISIBLE_DEVICES": "0", "LD_LIBRARY_PATH": str(library.parent)},
    )
    monkeypatch.setattr(namespace, "claim_gpus", lambda *_: (Gpu("3", 3, 0),))
    monkeypatch.setattr(namespace, "give", lambda _: given)
    sandbox = NamespaceBackend().create(SandboxSpec(f"gpu-{os.getpid()}", Limits(gpus=1, memory_mb=256, disk_mb=64)))
    try:
        dev = sandbox.exec(["sh", "-c", "cd /dev && find . -name 'nvidia*' | sort && head -c 4 nvidia3 | od -An -tx1"])
        words = sandbox.exec(["sh", "-c", f"echo $CUDA_VISIBLE_DEVICES; cat {link}; touch {library} 2>&1"])
        proc = sandbox.exec(["sh", "-c", "cd /proc/driver && find . -type f | sort && cat nvidia/version; touch nvidia/x"])
    finally:
        sandbox.close()
    assert dev.stdout.decode().split() == ["./nvidia-caps", "./nvidia-caps/nvidia-cap12", "./nvidia3", *["00"] * 4], dev.stderr
    assert words.stdout.startswith(b"0\nthe library") and words.exit_code != 0
    if os.geteuid() != 0:
        pytest.skip(f"the rest is root's: an ordinary user's sandbox has the host's /proc/driver ({sys.platform})")
    said = proc.stdout.decode().split()
    assert said == ["./nvidia/gpus/0000:3b:00.0/information", "./nvidia/version", "570.86"] and proc.exit_code != 0
