"""The step that lets an agent do a whole run: prepared, trained, sealed, graded, with a GPU where there is one."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from gpu_kit.state import ROOT, Options

TASK = "math/aime25"
# The mini profile's own limits are of a CPU; a GPU's seconds are wall time.
_LIMITS = "limits = { cpus = 4, memory_mb = 24000, disk_mb = 8192, gpus = 1, pids = 2048 }"
_BUDGET = 'budget = { wall = "3m", evaluations = 8 }'
_DRY_BUDGET, _DRY_ITEMS = "cpu=60s,wall=5m", "4"


def mini(options: Options) -> dict[str, Any]:
    """Run the agent on the task and return what became of it.

    Raises:
        RuntimeError: the run did not end as it should, or it was not graded on the device.
    """
    cuda = options.device == "cuda"
    env = options.environment | ({"DOJO_TASKS": str(_task_with_a_gpu(options.folder / "tasks"))} if cuda else {})
    backend = _backend(env)
    submit = ["submit", "--agent", options.agent, "--task", TASK, "--profile", "mini", "--public-hidden", "--sandbox", backend]
    submit += ["--base-model", options.base_model] if options.base_model else []
    submit += ["--budget", _DRY_BUDGET, "--limit", _DRY_ITEMS] if options.dry_run else []
    answer = _dojo(submit, env)
    run = answer["runs"][0]
    result = _dojo(["show", run["id"]], env)
    outcome, grade = result["outcome"], result["grade"] or {}
    if run["state"] != "done" or outcome["cause"] != "completed":
        folder = next((options.folder / "results/batches").glob(f"*/runs/{run['id']}"))
        said = (folder / "agent.stderr").read_text(errors="replace")[-1500:] if (folder / "agent.stderr").is_file() else ""
        raise RuntimeError(f"the run ended as {run['state']}, {outcome['cause']}: {outcome['message']}; {said}")
    engine = grade["engine"]
    if cuda and engine["device"] != "cuda":
        raise RuntimeError(f"it was graded on {engine['device']}, not on the GPU")
    used = result["usage"]
    figures = {
        "run": run["id"],
        "task": TASK,
        "agent": options.agent,
        "sandbox": backend,
        "score": run["score"],
        "engine": engine,
    }
    return figures | {"usage": used, "timeline": result["timeline"]}


def _backend(env: dict[str, str]) -> str:
    """Return the backend that isolates, where it works here, else the one that does not; the figures say which."""
    tried = subprocess.run(_command(["doctor", "sandbox"]), env=env, cwd=ROOT, capture_output=True, check=False)
    return "namespace" if tried.returncode == 0 else "unsafe-local"


def _dojo(arguments: list[str], env: dict[str, str]) -> dict[str, Any]:
    done = subprocess.run(_command(arguments), env=env, cwd=ROOT, capture_output=True, text=True, check=False)
    try:
        answer = json.loads(done.stdout)
    except ValueError:
        answer = {}
    data: dict[str, Any] | None = answer.get("data")
    if data is None:
        raise RuntimeError(f"dojo {' '.join(arguments)} said {answer.get('error') or done.stderr[-1500:]}")
    return data


def _command(arguments: list[str]) -> list[str]:
    return [sys.executable, "-m", "harness.cli.main", *arguments, "--json"]


def _task_with_a_gpu(root: Path) -> Path:
    """Copy the task with a GPU in its limits; return the folder to look for tasks in.

    Raises:
        RuntimeError: its mini profile is written otherwise than this knows.
    """
    domain, name = TASK.split("/")
    shutil.rmtree(root, ignore_errors=True)
    shutil.copytree(ROOT / "tasks" / domain, root / domain)
    file = root / domain / name / "task.toml"
    before, mark, after = file.read_text(encoding="utf-8").partition("[metadata.dojo.profiles.mini]\n")
    profile, rest, tail = after.partition("\n[")
    for what, line in (("limits", _LIMITS), ("budget", _BUDGET)):
        profile, count = re.subn(rf"(?m)^{what} = .*$", line, profile)
        if count != 1:
            raise RuntimeError(f"the mini profile of {TASK} has {count} lines of {what}")
    file.write_text(before + mark + profile + rest + tail, encoding="utf-8")
    return root
