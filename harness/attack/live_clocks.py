"""Attacks in a live sandbox on the run's clock: time before it starts (row 33)."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass

from harness.attack.base import Attack, Where, stopped
from harness.attack.ground import Ground
from harness.attack.phase import UnjudgedSite, python_version, standing
from harness.sandbox.contract.promise import LIMITS, PATIENCE_S
from harness.spec.agent import AgentConfig
from harness.spec.budget import Budget
from harness.spec.errors import SandboxError
from harness.spec.task import Limits

_EARLY_S = 3.0
# Leaves a mark and takes its time.
_EARLY = f"import os, time\nopen(f'/workspace/early-{{os.getpid()}}', 'w').close()\ntime.sleep({_EARLY_S})\n"
_EARLY_SHELL = f"#!/bin/sh\n: > /workspace/early-$$\nsleep {_EARLY_S}\nexit 0\n"
_FILES = {
    "sitecustomize.py": _EARLY,
    f"user/lib/python{python_version()}/site-packages/usercustomize.py": _EARLY,
    f"home/.local/lib/python{python_version()}/site-packages/usercustomize.py": _EARLY,
    "bin/python": _EARLY_SHELL,
    "bin/python3": _EARLY_SHELL,
    "bin/sh": _EARLY_SHELL,
}
# By which an agent's variables could have something of it run, or read, in whatever the harness starts in its sandbox.
_RUNS: Mapping[str, Mapping[str, str]] = {
    "PYTHONPATH": {"PYTHONPATH": "/agent"},
    "PYTHONUSERBASE": {"PYTHONUSERBASE": "/agent/user"},
    "HOME": {"HOME": "/agent/home"},
    "PATH": {"PATH": "/agent/bin:/usr/bin:/bin"},
}
# By which they could have the preparation fail, again and again: a run that does not count.
_BREAKS: Mapping[str, Mapping[str, str]] = {
    "no PATH": {"PATH": "/nowhere"},
    "PYTHONHOME": {"PYTHONHOME": "/nowhere"},
    "LD_PRELOAD": {"LD_PRELOAD": "/agent/bin/sh", "LD_LIBRARY_PATH": "/agent"},
}

# The least that agent.toml may ask for: the preparation must live with it.
_SMALLEST = Limits(cpus=0.001, memory_mb=64, pids=8, disk_mb=16, open_files=64)


class _SharesItsVariables(UnjudgedSite):
    """As it would be with the agent's variables in the whole sandbox and a Python that heeds them."""

    def environment(self) -> dict[str, str]:
        return {**super().environment(), **self.agent_environment()}

    def try_python(self) -> None:
        task, _ = self.attach_sandboxes()
        result = task.exec(["python", "-c", ""], timeout_s=PATIENCE_S)
        if not result.ok:
            raise SandboxError(result.stderr.decode(errors="replace")[-300:])


@dataclass(frozen=True)
class _Prepared:
    """What the preparation of one run showed: marks of the agent's, seconds, and why it failed ("": it did not)."""

    marks: list[str]
    seconds: float
    failed: str


def _prepare(ground: Ground, env: Mapping[str, str], site: type[UnjudgedSite], own: Limits | None = None) -> _Prepared:
    config = AgentConfig(name="attacker", command=("true",), env=dict(env))
    if own is not None:
        config = config.model_copy(update={"placement": "own", "limits": own})
    with standing(ground, config, _FILES, limits=LIMITS, budget=Budget(wall=60), site=site) as phase:
        phase.site.build()
        phase.site.create_sandboxes()
        started, failed = time.monotonic(), ""
        try:
            phase.site.try_python()
        except SandboxError as exc:
            failed = exc.message
        took = time.monotonic() - started
        task, _ = phase.site.attach_sandboxes()
        names = task.exec(["/bin/ls", "/workspace"], user="root", env={"LD_PRELOAD": ""}, timeout_s=PATIENCE_S).stdout.decode()
        return _Prepared(names.split(), took, failed)


def _run_early(ground: Ground, site: type[UnjudgedSite] = UnjudgedSite) -> str:
    for name, env in _RUNS.items():
        seen = _prepare(ground, env, site)
        stopped(not seen.marks and not seen.failed, f"by {name}: {seen.seconds:.1f} s before the clock; {seen.failed}")
    return f"by {', '.join(_RUNS)}: nothing of the agent's ran before the clock"


def _run_early_with_its_variables(ground: Ground) -> str:
    return _run_early(ground, _SharesItsVariables)


def _fail_early(ground: Ground, site: type[UnjudgedSite] = UnjudgedSite) -> str:
    for name, env in _BREAKS.items():
        seen = _prepare(ground, env, site)
        stopped(not seen.failed, f"by {name} the preparation fails, and the run does not count: {seen.failed}")
    seen = _prepare(ground, {}, site, _SMALLEST)
    stopped(not seen.failed, f"by the smallest sandbox of its own the preparation fails: {seen.failed}")
    return f"by {', '.join(_BREAKS)}, and the smallest sandbox of its own: the preparation notices nothing"


def _fail_early_with_its_variables(ground: Ground) -> str:
    return _fail_early(ground, _SharesItsVariables)


ATTACKS = (
    Attack(
        33, "runs-before-the-clock", Where.SANDBOX,
        "have sitecustomize, usercustomize and a python of its own run in the preparation, by variables of agent.toml",
        "an agent's variables are its own process's alone, and the preparation's Python heeds none",
        _run_early, _run_early_with_its_variables,
    ),
    Attack(
        33, "fails-before-the-clock", Where.SANDBOX,
        "have the preparation fail by variables and limits of agent.toml, so that the run does not count",
        "the same; what no process can be started with is refused at plan time",
        _fail_early, _fail_early_with_its_variables,
    ),
)  # fmt: skip
