"""What Harbor relies on, tried on our environment. Run by test_harbor_self_check.py in Harbor's venv; needs Python 3.12.

The task folder (an export, or one of its shape) is in DOJO_CHECK_TASK, the interpreter of the training venv in DOJO_CHECK_PYTHON.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from harbor.models.task.config import EnvironmentConfig, NetworkMode, NetworkPolicy
from harbor.models.trial.paths import TrialPaths

from harness.interop.harbor_environment import DojoEnvironment

TASK = Path(os.environ["DOJO_CHECK_TASK"])
NO_NETWORK = NetworkPolicy(network_mode=NetworkMode.NO_NETWORK)


def environment(tmp_path: Path, side: str = "environment", policy: NetworkPolicy = NO_NETWORK) -> DojoEnvironment:
    config = EnvironmentConfig(cpus=1, memory_mb=2000, storage_mb=256)
    return DojoEnvironment(
        environment_dir=TASK / side,
        environment_name="check",
        session_id="check",
        trial_paths=TrialPaths(trial_dir=tmp_path / "trial"),
        task_env_config=config,
        network_policy=policy,
        python=os.environ["DOJO_CHECK_PYTHON"],
    )


@asynccontextmanager
async def started(tmp_path: Path, side: str = "environment") -> AsyncIterator[DojoEnvironment]:
    made = environment(tmp_path, side)
    try:
        await made.start(force_build=False)
        yield made
    finally:
        await made.stop(delete=True)


def test_the_agent_sees_data_and_model_and_nothing_of_the_verifier(tmp_path: Path) -> None:
    async def check() -> None:
        async with started(tmp_path) as env:
            seen = await env.exec("ls /data /models/base; id -un; pwd")
            assert seen.return_code == 0 and {"few_shot.jsonl", "config.json", "agent"} <= set((seen.stdout or "").split()), seen
            for hidden in ("/tests", "/opt/grader", str(TASK)):
                assert not await env.is_dir(hidden), hidden
            assert (await env.exec("touch /data/mine")).return_code != 0

    asyncio.run(check())


def test_the_verifier_sees_the_grader_and_imports_it(tmp_path: Path) -> None:
    async def check() -> None:
        async with started(tmp_path, "tests") as env:
            done = await env.exec("test -f /tests/hidden.jsonl && python -c 'import harness; print(harness.__file__)'")
            assert (done.stdout or "").strip() == "/opt/grader/harness/__init__.py", done

    asyncio.run(check())


def test_files_and_folders_come_and_go_whole(tmp_path: Path) -> None:
    (tmp_path / "in" / "deep").mkdir(parents=True)
    (tmp_path / "in" / "deep" / "bytes").write_bytes(bytes(range(256)) * 99)
    (tmp_path / "in" / "run.sh").write_text("#!/bin/sh\necho ran\n")
    (tmp_path / "in" / "run.sh").chmod(0o755)

    async def check() -> None:
        async with started(tmp_path) as env:
            await env.upload_dir(tmp_path / "in", "/solution")
            assert (await env.exec("/solution/run.sh")).stdout == "ran\n"
            await env.exec("cp -r /solution /workspace/out && ln -s /etc/passwd /workspace/out/link")
            await env.download_dir("/workspace/out", tmp_path / "out")
            await env.upload_file(tmp_path / "in" / "run.sh", "/workspace/one.sh")
            await env.download_file("/workspace/one.sh", tmp_path / "one.sh")
            with pytest.raises(FileNotFoundError):
                await env.download_dir("/workspace/absent", tmp_path / "absent")

    asyncio.run(check())
    assert (tmp_path / "out" / "deep" / "bytes").read_bytes() == bytes(range(256)) * 99
    assert not os.path.lexists(tmp_path / "out" / "link") and (tmp_path / "one.sh").read_text().endswith("echo ran\n")


def test_a_deadline_and_a_cancelled_call_leave_no_process(tmp_path: Path) -> None:
    async def check() -> None:
        async with started(tmp_path) as env:
            with pytest.raises(RuntimeError, match="timed out after 1 seconds"):
                await env.exec("sleep 4242 & sleep 4242", timeout_sec=1)
            waiting = asyncio.create_task(env.exec("touch /workspace/begun; sleep 4243"))
            deadline = time.monotonic() + 60
            while not await env.is_file("/workspace/begun"):
                assert time.monotonic() < deadline
            waiting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await waiting
            while (await env.exec("cat /proc/[0-9]*/cmdline | tr '\\0' ' ' | grep 'sleep 424[23]'")).return_code == 0:
                assert time.monotonic() < deadline

    asyncio.run(check())


def test_users_are_ours_and_others_are_refused(tmp_path: Path) -> None:
    async def check() -> None:
        async with started(tmp_path) as env:
            assert (await env.exec("id -u", user="root")).stdout == "0\n"
            with env.with_default_user("agent"):
                assert (await env.exec("id -un")).stdout == "agent\n"
            with pytest.raises(ValueError, match="no user 'daemon'"):
                await env.exec("true", user="daemon")

    asyncio.run(check())


def test_a_task_with_network_or_without_an_export_s_folders_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no network"):
        environment(tmp_path, policy=NetworkPolicy())
    with pytest.raises(FileNotFoundError, match="dojo tasks export"):
        environment(tmp_path, side="solution")
