"""The steps of the kit: `python -m gpu_kit.steps FOLDER NAME…` does them one after another and writes down each as it ends."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gpu_kit.cases import CASES, case_of
from gpu_kit.state import ROOT, Options, Skipped, State


@dataclass(frozen=True)
class Step:
    """A step.

    Attributes:
        name: as people name it.
        program: steps of one program that follow each other share a process.
        minutes: what it is expected to take at most on a GPU; with less time left it is not begun.
        what: in words.
    """

    name: str
    program: str
    minutes: float
    what: str


STEPS = (
    Step("install", "install", 2, "join the pieces, check them, add the packages that this Python lacks"),
    Step("model", "model", 2, "make the small model of its package"),
    Step("doctor", "doctor", 1, "what is here: card, driver, whether torch opens it, whether sandboxes work"),
    Step("contract", "contract", 5, "tests of device selection, promises of sandboxes"),
    Step("mini", "mini", 8, "a whole run on the GPU: an agent fine-tunes the small model, which is graded"),
    Step("peak", "measure", 1, "operations a second of one large product, bytes a second of a copy"),
    *(
        Step(case.name, "measure", 3, f"{'answers of' if case.written else 'training'} random weights of the {case.shape} shape")
        for case in CASES
    ),
)


def doctor(options: Options) -> dict[str, Any]:
    """Return the checks, each with its remedy.

    Raises:
        RuntimeError: a GPU is to be used, and cannot be.
    """
    from harness.service import Dojo

    dojo = Dojo()
    found = {area: [vars(check) for check in dojo.doctor(area)] for area in ("gpu", "sandbox")}
    bad = [check for check in found["gpu"] if not check["ok"]]
    if bad and options.device == "cuda":
        raise RuntimeError("; ".join(f"{check['name']}: {check['detail']} ({check['hint']})" for check in bad))
    return {"checks": found}


def contract(options: Options) -> dict[str, Any]:
    """Return how many tests of device selection pass, and which promises a sandbox keeps here.

    Raises:
        RuntimeError: a test fails.
    """
    tests = "tests/unit/sandbox/nvidia/test_gpu_selection.py" if options.dry_run else "tests/unit/sandbox/nvidia"
    report = options.folder / "contract.xml"
    pytest = ["-m", "pytest", "-q", "-p", "no:cacheprovider", f"--junitxml={report}", tests]
    done = _run([sys.executable, *pytest, *([] if options.dry_run else ["tests/contract/test_gpus_in_a_sandbox.py"])], options)
    if done.returncode:
        raise RuntimeError(f"the tests of device selection fail: {done.stdout[-1500:]}")
    found: dict[str, Any] = {"tests": done.stdout.strip().splitlines()[-1]}
    if options.dry_run:
        return found
    tried = _run([sys.executable, "-m", "harness.sandbox.contract", "namespace", "--json"], options)
    lines = tried.stdout.strip().splitlines()
    try:
        told = json.loads(lines[-1])
    except (IndexError, ValueError):
        return found | {"sandbox": f"no sandbox comes up here: {(tried.stderr or tried.stdout)[-800:]}"}
    broken = [f"{p['name']}: {p['seen'][:300]}" for p in told["promises"] if not p["kept"]]
    return found | {"sandbox": {"backend": "namespace", "kept": told["kept"], "broken": broken}}


def peak(options: Options) -> dict[str, Any]:
    """Return the card's measured peaks."""
    from gpu_kit.cards import measured_peak

    return measured_peak(options.device, options.dry_run)


def program_of(name: str) -> Callable[[Options], dict[str, Any]]:
    """Return what does a step."""
    from gpu_kit import setting_up, whole_run

    known = {
        "install": setting_up.install,
        "model": setting_up.model,
        "doctor": doctor,
        "contract": contract,
        "mini": whole_run.mini,
        "peak": peak,
    }
    if name in known:
        return known[name]

    def measure(options: Options) -> dict[str, Any]:
        from gpu_kit.measure import TooLarge, measured

        try:
            return measured(case_of(name, options.dry_run), options.device)
        except TooLarge as exc:
            raise Skipped(str(exc)) from exc

    return measure


def do(name: str, options: Options, state: State) -> None:
    """Do one step and write down how it ended."""
    begun = time.monotonic()
    try:
        figures = program_of(name)(options)
    except Skipped as exc:
        state.record(name, "skipped", time.monotonic() - begun, why=str(exc))
    except Exception as exc:  # whatever breaks is this step's outcome, and the others are done
        traceback.print_exc()
        state.record(name, "failed", time.monotonic() - begun, why=f"{type(exc).__name__}: {exc}"[:2000])
    else:
        state.record(name, "done", time.monotonic() - begun, figures=figures)


def _run(command: list[str], options: Options) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, cwd=ROOT, env=options.environment, capture_output=True, text=True, check=False)


def main() -> None:
    """Do the named steps while there is time for each."""
    raw = json.loads(sys.argv[1])
    options = Options(**{**raw, "kit": Path(raw["kit"]), "folder": Path(raw["folder"])})
    os.environ.update(options.environment)
    ends, minutes, state = float(sys.argv[2]), {step.name: step.minutes for step in STEPS}, State(options.folder)
    for name in sys.argv[3:]:
        if time.time() + (0 if options.dry_run else 60 * minutes[name]) > ends:
            print(f"{name}: not begun, too little time is left", flush=True)
            continue
        print(f"{name} …", flush=True)
        do(name, options, state)
        print(f"{name}: {state.of(name)['outcome']} {state.of(name).get('why', '')}", flush=True)


if __name__ == "__main__":
    main()
