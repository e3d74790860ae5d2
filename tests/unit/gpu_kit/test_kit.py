"""The kit's steps: each once, restartable, in one file at the end; and a dry run of them on the CPU."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from gpu_kit import steps, whole_run
from gpu_kit.cases import CASES, PARAMETERS, SHAPES, case_of
from gpu_kit.measure import plan_of
from gpu_kit.state import Options, Skipped, State, shares
from reading.memory import Shape, estimate

from harness.assets.task_dir import find_task
from tests.unit.agents.tiny_model import make_tiny_model

ROOT = Path(__file__).resolve().parents[3]
H200_BYTES = 143_771 * 2**20


@pytest.fixture
def options(tmp_path: Path) -> Options:
    return Options(tmp_path / "kit", tmp_path / "state", "cpu", True)


def test_the_shapes_are_those_of_the_models() -> None:
    for name, parameters in PARAMETERS.items():
        assert Shape.of({"model_type": "qwen2", **SHAPES[name]}).parameters == parameters


def test_every_training_fits_an_h200_by_the_estimate() -> None:
    for case in CASES:
        shape = Shape.of({"model_type": "qwen2", **SHAPES[case.shape]})
        assert case.written or estimate(shape, plan_of(case)).peak * 1.05 + 1.5e9 < H200_BYTES, case.name


def test_a_dry_run_keeps_what_a_case_is_about() -> None:
    small = case_of("train-7b-lora-checkpointing", dry_run=True)
    assert small.shape == "tiny" and small.rank and small.checkpointing and not small.written
    assert case_of("answer-3b", dry_run=True).written and case_of("answer-3b", dry_run=False).shape == "3b"


def test_what_was_never_tried_comes_before_what_has_failed_and_what_is_done_not_again(options: Options) -> None:
    state = State(options.folder)
    for name, outcome in (("a", "failed"), ("b", "done"), ("c", "skipped"), ("e", "timeout")):
        state.record(name, outcome, 1.0)  # type: ignore[arg-type]
    assert state.order(["a", "b", "c", "d", "e"]) == ["d", "a", "e"]
    state.forget("b")
    assert state.order(["a", "b"]) == ["b", "a"]


def test_a_step_that_breaks_or_has_nothing_to_do_says_so_and_the_next_is_done(
    options: Options, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(_: Options) -> dict[str, Any]:
        raise ValueError("nothing works")

    def idle(_: Options) -> dict[str, Any]:
        raise Skipped("too large")

    programs = {"doctor": broken, "model": idle, "peak": lambda _: {"matmul_tflops": 2.0}}
    monkeypatch.setattr(steps, "program_of", programs.__getitem__)
    state = State(options.folder)
    for name in programs:
        steps.do(name, options, state)
    assert [state.of(n)["outcome"] for n in programs] == ["failed", "skipped", "done"]
    assert state.of("doctor")["why"] == "ValueError: nothing works" and state.of("model")["why"] == "too large"


def test_a_trainings_share_is_of_the_data_sheet_and_of_what_a_product_reached() -> None:
    found = {"peak": {"figures": {"matmul_tflops": 800.0}}, "train": {"figures": {"tflops": 400.0}}, "answer": {"figures": {}}}
    shares(found, 1000.0)
    assert found["train"]["figures"] == {"tflops": 400.0, "share_of_peak": 0.4, "share_of_matmul": 0.5}
    shares(without := {"train": {"figures": {"tflops": 400.0}}}, None)
    assert without["train"]["figures"]["share_of_peak"] is None and without["train"]["figures"]["share_of_matmul"] is None


def test_the_whole_runs_task_differs_in_limits_and_budget_alone(tmp_path: Path) -> None:
    root = whole_run._task_with_a_gpu(tmp_path / "tasks")
    ours, theirs = find_task(whole_run.TASK, [root]).dojo, find_task(whole_run.TASK, []).dojo
    mini = ours.profiles["mini"]
    assert mini.limits.gpus == 1 and mini.budget.wall == 180 and mini.budget.cpu is None
    same = {"limits": theirs.profiles["mini"].limits, "budget": theirs.profiles["mini"].budget}
    assert mini.model_copy(update=same) == theirs.profiles["mini"] and ours.profiles["full"] == theirs.profiles["full"]


def kit(state: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "scripts/gpu/run"), "--kit", str(state / "none"), "--state", str(state), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, env={**os.environ, "OMP_NUM_THREADS": "1"})


def test_on_a_cpu_only_a_dry_run_is_taken(tmp_path: Path) -> None:
    done = kit(tmp_path, "--device", "cpu")
    assert done.returncode == 2 and "--dry-run" in done.stderr


def test_the_steps_are_listed_with_how_they_stand(tmp_path: Path) -> None:
    State(tmp_path).record("peak", "done", 1.0)
    listed = kit(tmp_path, "--list").stdout.splitlines()
    assert [line.split()[0] for line in listed] == [step.name for step in steps.STEPS]
    assert "done" in next(line for line in listed if line.startswith("peak"))


@pytest.mark.slow
def test_a_dry_run_on_the_cpu_does_every_step_and_leaves_one_file_of_figures(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    tiny = make_tiny_model(tmp_path / "tiny")
    for path in (tmp_path, tiny, *tiny.iterdir()):
        path.chmod(0o755)
    out = tmp_path / "figures.json"
    done = kit(
        tmp_path / "state", "--device", "cpu", "--dry-run", "--agent", "base", "--base-model", str(tiny), "--out", str(out)
    )
    figures = json.loads(out.read_text())
    found = figures["steps"]
    assert done.returncode == 0, (done.stdout, done.stderr)
    assert list(found) == [step.name for step in steps.STEPS]
    assert {name: step["outcome"] for name, step in found.items() if step["outcome"] != "done"} == {
        "install": "skipped",
        "model": "skipped",
    }
    assert figures["dry_run"] and figures["device"] == "cpu" and figures["card"] is None and figures["versions"]["torch"]
    assert found["mini"]["figures"]["engine"]["device"] == "cpu" and found["mini"]["figures"]["score"] is not None
    for case in CASES:
        measured = found[case.name]["figures"]
        assert measured["tokens_per_s"] > 0 and measured["memory"]["estimated"] > 0 and measured["memory"]["measured"] is None
        assert case.written or (measured["share_of_matmul"] > 0 and measured["share_of_peak"] is None)
    packed = found["train-3b-lora-packed"]["figures"]
    assert packed["apart"] < 0.01 < 0.1 < packed["apart_where_they_see_each_other"]
    assert packed["tokens"] == found["train-3b-lora-padded"]["figures"]["tokens"]
    assert packed["computed_tokens"] < found["train-3b-lora-padded"]["figures"]["computed_tokens"]
    before = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "state/steps").iterdir()}
    assert kit(tmp_path / "state", "--device", "cpu", "--dry-run").returncode == 0
    assert {path.name: path.stat().st_mtime_ns for path in (tmp_path / "state/steps").iterdir()} == before
