"""`scripts/gpu/run`: do the kit's steps on a GPU machine, each once, and write all figures into one file.

    python3 scripts/gpu/run [--take] [--step NAME]… [--minutes 9] [--out FILE] [--list]
    python3 scripts/gpu/run --device cpu --dry-run

Start it as often as you like: what is done is not done again, what has failed is tried again last. Exit code 1 where a step has
failed, 4 where steps or pieces are left.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import asdict
from itertools import groupby
from pathlib import Path
from typing import Any

from gpu_kit import pieces
from gpu_kit.state import FINAL, ROOT, Options, State, shares
from gpu_kit.steps import STEPS

_LEFT, _FAILED = 4, 1


def main() -> None:
    """Do what is left."""
    parser = argparse.ArgumentParser(prog="scripts/gpu/run", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--kit", type=Path, default=ROOT / ".gpu-kit", help="what scripts/gpu/pack made (default .gpu-kit)")
    parser.add_argument("--state", type=Path, default=ROOT / ".gpu-state", help="what outlives a command (default .gpu-state)")
    parser.add_argument("--take", action="store_true", help="only keep the pieces that came along")
    parser.add_argument(
        "--step", action="append", choices=[s.name for s in STEPS], metavar="NAME", help="this one anew; repeatable"
    )
    parser.add_argument("--minutes", type=float, default=9, help="begin nothing that would end later than this (default 9)")
    parser.add_argument("--out", type=Path, metavar="FILE", help="where figures go beside figures.json in the state's folder")
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--dry-run", action="store_true", help="tiny shapes, a short run: does the kit work?")
    parser.add_argument("--agent", default="recipe", help="of the whole run (default recipe)")
    parser.add_argument("--base-model", default="", metavar="FOLDER", help="of the whole run, instead of the small model")
    parser.add_argument("--list", action="store_true", help="say what the steps are and how they stand")
    args = parser.parse_args()
    if args.device == "cpu" and not args.dry_run:
        parser.error("on a CPU only --dry-run makes sense: a model of 7B would take hours")
    options = Options(args.kit, args.state.resolve(), args.device, args.dry_run, args.agent, args.base_model)
    state = State(options.folder)
    if args.list:
        for step in STEPS:
            print(f"{step.name:<28} {state.of(step.name).get('outcome', '–'):<8} {step.what}")
        return
    if args.take and not (options.kit / pieces.MANIFEST).is_file():
        sys.exit(f"gpu kit: {options.kit} holds no {pieces.MANIFEST}: it comes along with every piece")
    missing = _take(options)
    if args.take or missing:
        print(f"pieces that are still to come: {', '.join(missing) or 'none'}", flush=True)
        sys.exit(_LEFT if missing and not args.take else 0)
    for name in args.step or ():
        state.forget(name)
    todo = args.step or state.order([step.name for step in STEPS])
    _do(todo, options, state, time.time() + 60 * args.minutes)
    figures = collected(options, state)
    for path in (options.folder / "figures.json", *([args.out] if args.out else [])):
        path.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    outcomes = {step.name: state.of(step.name).get("outcome", "left") for step in STEPS}
    for name, outcome in outcomes.items():
        print(f"{name:<28} {outcome:<8} {state.of(name).get('seconds', '')} {state.of(name).get('why', '')[:200]}")
    print(f"figures: {options.folder / 'figures.json'}")
    sys.exit(_LEFT if "left" in outcomes.values() else 0 if set(outcomes.values()) <= set(FINAL) else _FAILED)


def _take(options: Options) -> list[str]:
    if not (options.kit / pieces.MANIFEST).is_file() and not (options.store / pieces.MANIFEST).is_file():
        return []
    try:
        return pieces.take(options.kit, options.store)
    except pieces.Damaged as exc:
        sys.exit(f"gpu kit: {exc}")


def _do(names: list[str], options: Options, state: State, ends: float) -> None:
    """Do steps, those of one program in one process; one that must be ended is written down as such."""
    program = {step.name: step.program for step in STEPS}
    told = json.dumps({**asdict(options), "kit": str(options.kit), "folder": str(options.folder)})
    path = os.pathsep.join([str(ROOT / "scripts/gpu"), str(ROOT / "agents"), str(ROOT)])
    for _, group in groupby(names, program.__getitem__):
        wanted = list(group)
        while wanted and time.time() < ends:
            begun = time.time()
            process = subprocess.Popen(
                [sys.executable, "-m", "gpu_kit.steps", told, str(ends), *wanted],
                cwd=ROOT, env={**options.environment, "PYTHONPATH": path}, start_new_session=True,
            )  # fmt: skip
            try:
                process.wait(max(1.0, ends - begun + 20))
                late, outcome = False, f"its process ended with {process.returncode}"
            except subprocess.TimeoutExpired:
                late, outcome = True, "it was not done in time"
                _end(process)
            left = [name for name in wanted if "outcome" not in state.of(name) or _older(state, name, begun)]
            if process.returncode == 0 or not left:
                break
            state.record(left[0], "timeout" if late else "failed", time.time() - begun, why=outcome)
            wanted = left[1:]


def _end(process: subprocess.Popen[bytes]) -> None:
    """End a step with all that it has started; dojo hears first that it is to stop."""
    with contextlib.suppress(ProcessLookupError, subprocess.TimeoutExpired):
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(10)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _older(state: State, name: str, moment: float) -> bool:
    return (state.folder / f"{name}.json").stat().st_mtime < moment


def collected(options: Options, state: State) -> dict[str, Any]:
    """Return all figures: where and when, and every step's seconds, outcome and figures."""
    from gpu_kit.where import machine

    found = machine(options.device)
    steps = {step.name: record for step in STEPS if (record := state.of(step.name))}
    shares(steps, found["peak_bf16_tflops"])
    return {"schema": "dojo/gpu-figures/v1", "dry_run": options.dry_run, **found, "steps": steps}


if __name__ == "__main__":
    main()
