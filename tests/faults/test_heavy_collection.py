"""Taking in what is very large or very many, from a real sandbox: typed answers, bounded memory, nothing left."""

import os
import resource
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.sandbox.base import Backend, Sandbox, SandboxSpec
from harness.sandbox.registry import get_backend
from harness.session.collect import SUBMISSION_CAPS, Caps, collect, collect_readable
from harness.spec.errors import SubmissionRefused
from harness.spec.task import Limits

pytestmark = pytest.mark.slow
GIB = 1024**3
MANY = 1_000_000
# an inode for every 16 kB
LIMITS = Limits(cpus=2, memory_mb=1024, pids=60, disk_mb=20_000)
MAKE_MANY = """
import os
for folder in range(1000):
    os.makedirs(f"many/{folder}")
    for number in range(1000):
        os.close(os.open(f"many/{folder}/{number}", os.O_CREAT | os.O_WRONLY))
"""


@pytest.fixture(scope="module", params=["namespace", "docker"])
def backend(request: pytest.FixtureRequest) -> Backend:
    found = get_backend(request.param)
    if bad := [check for check in found.check() if not check.ok and check.name != "image grader"]:
        pytest.skip(f"{request.param}: {bad[0].detail}; {bad[0].hint}")
    if os.geteuid() != 0:
        pytest.skip("a disk of 20 GB needs a disk image, which only root can mount; a tmpfs would take memory")
    return found


@pytest.fixture(scope="module")
def sandbox(backend: Backend) -> Iterator[Sandbox]:
    found = backend.create(SandboxSpec(f"heavy-{os.getpid()}-{backend.name}", LIMITS))
    yield found
    found.close()


def peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def test_a_submission_of_5_gib_is_taken_in_whole_with_little_memory(sandbox: Sandbox, tmp_path: Path) -> None:
    made = sandbox.exec(
        ["sh", "-c", "mkdir large && head -c 1000 /dev/urandom > large/a && truncate -s 5G large/model.safetensors"]
    )
    assert made.ok, made
    before = peak_mb()
    manifest = collect(sandbox.archive("/workspace/large"), tmp_path / "taken", SUBMISSION_CAPS)
    assert {f.path: f.size for f in manifest.files} == {"a": 1000, "model.safetensors": 5 * GIB}
    assert (tmp_path / "taken/model.safetensors").stat().st_size == 5 * GIB
    assert peak_mb() - before < 200
    (tmp_path / "taken/model.safetensors").unlink()


def test_a_submission_above_the_cap_is_refused_by_its_size_and_leaves_nothing(sandbox: Sandbox, tmp_path: Path) -> None:
    sandbox.exec(["sh", "-c", "mkdir -p huge && truncate -s 6G huge/model.safetensors"])
    with pytest.raises(SubmissionRefused, match="6144 MB") as caught:
        collect(sandbox.archive("/workspace/huge"), tmp_path / "taken", Caps(bytes=5 * GIB, files=10, file_bytes=5 * GIB))
    assert caught.value.code == "too_large" and not (tmp_path / "taken").exists()
    assert sandbox.alive()


def test_a_million_files_are_refused_and_the_sandbox_goes_on(sandbox: Sandbox, tmp_path: Path) -> None:
    made = sandbox.exec(["python3", "-c", MAKE_MANY], timeout_s=600)
    assert made.ok, made
    before = peak_mb()
    with pytest.raises(SubmissionRefused) as caught:
        collect(sandbox.archive("/workspace/many"), tmp_path / "taken", SUBMISSION_CAPS)
    assert caught.value.code == "too_many_files" and not (tmp_path / "taken").exists()
    left_out = collect_readable(sandbox.archive("/workspace"), tmp_path / "work")
    assert any("more than" in line for line in left_out), left_out
    assert peak_mb() - before < 200
    counted = sandbox.exec(["sh", "-c", "find many -type f | wc -l"], timeout_s=600)
    assert counted.stdout.strip() == str(MANY).encode()
    assert sandbox.usage().memory_peak_mb <= LIMITS.memory_mb + 1
