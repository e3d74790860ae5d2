"""Agents run as in a sandbox: real programs, real tiny training, a small server in place of the harness."""

import json
import os
import re
import signal
import subprocess
import sys
import time
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from fake_api import FakeApi, GraderBroke, make_task
from sources import boxed_sources
from where import AGENTS

from harness.assets.agent_dir import copy_agent, load_agent
from harness.sandbox.execd import tree

HARNESS_TOOL = AGENTS.parent / "harness" / "session"


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return boxed_sources(tmp_path / "data")


def by_kind(path: Path) -> Mapping[str, tuple[str, float]]:
    """Score the base model 0.1 and every adapter 0.5."""
    good = 20 if (path / "adapter_config.json").exists() else 4
    return {f"d{i}": ("all", float(i < good)) for i in range(40)}


def start(agent: Path, api: FakeApi, folder: Path, **params: Any) -> subprocess.Popen[str]:
    config = tomllib.loads((agent / "agent.toml").read_text())
    folder.mkdir(exist_ok=True)
    copied = folder.parent / "as-in-a-run" / agent.name
    if not copied.exists():
        copy_agent(load_agent(agent), copied)
    tool = folder.parent / "bin" / "dojo-tool"
    if not tool.exists():
        tool.parent.mkdir(exist_ok=True)
        tool.write_text(f'#!/bin/sh\nexec {sys.executable} {HARNESS_TOOL / "dojo_tool.py"} "$@"\n')
        tool.chmod(0o755)
    env = {
        **os.environ,
        **api.env(),
        "DOJO_AGENT_PARAMS": json.dumps({**config.get("params", {}), **params}),
        "PATH": os.pathsep.join([str(tool.parent), str(Path(sys.executable).parent), os.environ["PATH"]]),
        "PYTHONPATH": str(HARNESS_TOOL),
        "OMP_NUM_THREADS": "1",
        "OMP_WAIT_POLICY": "passive",
        "HF_HUB_OFFLINE": "1",
        "TOKENIZERS_PARALLELISM": "false",
    }
    # inside a sandbox the agent is at /agent, its data at /data, the model at /models/base
    argv = [part.replace("/agent/", f"{copied}/") for part in config["command"]]
    return subprocess.Popen(
        argv, cwd=folder, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
    )


def finish(process: subprocess.Popen[str], timeout: float = 180) -> str:
    try:
        out, _ = process.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        raise
    assert process.returncode == 0, out
    return out


def wait_for(condition: Callable[[], bool], seconds: float = 120.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)  # polls what another process does


def test_base_hands_in_the_base_model_and_nothing_else(tmp_path: Path, data: Path) -> None:
    with FakeApi(make_task(data, "/nowhere"), by_kind) as api:
        finish(start(AGENTS / "base", api, tmp_path / "work"))
        assert [Path(p).name for p in api.submissions] == ["submission"]
        assert api.feedback == []


def test_the_shell_agent_is_short() -> None:
    assert len((AGENTS / "example_shell" / "run.sh").read_text().splitlines()) <= 20


@pytest.mark.slow
def test_the_shell_agent_does_a_whole_run(tmp_path: Path, data: Path, tiny: Path) -> None:
    # its fixed paths are the sandbox's; here they are pointed at the test's
    agent = tmp_path / "example_shell"
    agent.mkdir()
    for file in (AGENTS / "example_shell").iterdir():
        text = file.read_text().replace("/models/base", str(tiny)).replace("/data/", f"{data}/")
        (agent / file.name).write_text(text.replace("/agent/", f"{agent}/") if file.suffix == ".sh" else text)
    with FakeApi(make_task(data, str(tiny)), by_kind) as api:
        out = finish(start(agent, api, tmp_path / "work", steps=3))
        assert [Path(p).name for p in api.submissions] == ["base", "adapter"]
        assert len(api.feedback) == 1
        assert "step 3/3" in out


@pytest.mark.slow
def test_recipe_cleans_trains_for_its_share_and_hands_in(tmp_path: Path, data: Path, tiny: Path) -> None:
    with FakeApi(make_task(data, str(tiny)), by_kind, wall=60.0) as api:
        out = finish(start(AGENTS / "recipe", api, tmp_path / "work", train_share=0.2))
        assert [Path(p).name for p in api.submissions] == ["base", "adapter"]
        assert api.feedback == []
        assert "AnswerForm(kind='boxed'" in out
        assert re.search(r"[1-9]\d* tokens/s, [\d.e-]+ TFLOP/s", out)


@pytest.mark.slow
def test_recipe_with_too_little_time_leaves_the_base_model(tmp_path: Path, data: Path, tiny: Path) -> None:
    with FakeApi(make_task(data, str(tiny)), by_kind, wall=12.0) as api:
        out = finish(start(AGENTS / "recipe", api, tmp_path / "work"))
        assert [Path(p).name for p in api.submissions] == ["base"]
        assert "not enough to train" in out


@pytest.mark.slow
def test_search_makes_trials_and_then_trains_the_best_of_them_for_what_is_left(tmp_path: Path, data: Path, tiny: Path) -> None:
    with FakeApi(make_task(data, str(tiny)), by_kind, wall=600.0, cpu=45.0, evaluations=3) as api:
        process = start(AGENTS / "search", api, tmp_path / "work", trial_share=0.001, min_trial_s=2, final_share=0.3)
        api.cpu_used = lambda: tree.cpu_seconds([process.pid, *tree.descendants(process.pid)])
        out = finish(process)
        trials = json.loads((tmp_path / "work" / "trials.json").read_text())
    assert [t["value"] for t in trials[:2]] == [0.5, 0.5] and trials[0]["settings"]["learning_rate"] == 1e-3
    assert [Path(p).name for p in api.submissions] == ["base", "000", "final"], out
    assert "by cpu" in out and "cpu seconds left" in out
    begun = [path for path, _, _ in api.calls if path in ("/v1/submit", "/v1/evaluate")]
    assert begun[:3] == ["/v1/submit", "/v1/submit", "/v1/evaluate"], "handed in before it has a score"


@pytest.mark.slow
def test_search_killed_in_its_final_training_has_its_best_trial_handed_in(tmp_path: Path, data: Path, tiny: Path) -> None:
    values = iter([0.2, 0.6, 0.4])

    def better(path: Path) -> Mapping[str, tuple[str, float]]:
        return {"d0": ("all", next(values))}

    with FakeApi(make_task(data, str(tiny)), better, wall=600.0, cpu=200.0, evaluations=3) as api:
        process = start(AGENTS / "search", api, tmp_path / "work", trial_share=0.001, min_trial_s=1, final_share=0.1)
        api.cpu_used = lambda: tree.cpu_seconds([process.pid, *tree.descendants(process.pid)])
        wait_for(lambda: any("final training" in note for note in api.notes))
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
    assert [Path(p).name for p in api.submissions] == ["base", "000", "001"]


@pytest.mark.slow
def test_search_with_a_grader_that_breaks_hands_in_what_it_trained(tmp_path: Path, data: Path, tiny: Path) -> None:
    def broken(path: Path) -> Mapping[str, tuple[str, float]]:
        raise GraderBroke("the grader's sandbox died")

    with FakeApi(make_task(data, str(tiny)), broken, wall=600.0, cpu=40.0) as api:
        process = start(AGENTS / "search", api, tmp_path / "work", trial_share=0.001, min_trial_s=1, final_share=0.2)
        api.cpu_used = lambda: tree.cpu_seconds([process.pid, *tree.descendants(process.pid)])
        out = finish(process)
    assert [Path(p).name for p in api.submissions] == ["base", "000", "final"], out
    assert "the grader's sandbox died" in out and "the last 3 trials have no score" in out


@pytest.mark.slow
def test_ft_agent_goes_from_probe_to_report_within_its_time(tmp_path: Path, data: Path, tiny: Path) -> None:
    work = tmp_path / "work"
    with FakeApi(make_task(data, str(tiny)), by_kind, wall=90.0) as api:
        out = finish(start(AGENTS / "ft_agent", api, work))
        first = next(at for path, _, at in api.calls if path == "/v1/submit")
        assert max(at for _, _, at in api.calls) < 90.0
    assert first < 5.0, "a valid submission from the first seconds on"
    assert Path(api.submissions[0]).name == "base"
    assert len(api.feedback) >= 1, out
    iterations = [json.loads(p.read_text()) for p in sorted((work / "iterations").glob("*/iteration.json"))]
    phases = [i["plan"]["phase"] for i in iterations if i["status"] == "trained"]
    assert "exploit" in phases, out
    trained = next(i for i in iterations if i["status"] == "trained")
    assert trained["losses"] and trained["own"]["items"] and trained["diagnosis"]["findings"] and trained["decision"]
    assert {"clean", "verify", "trust", "dedupe"} <= {d["operation"] for d in trained["data_log"]}
    report = (work / "report.md").read_text()
    assert "## What was tried" in report and "## What it would try next" in report
    assert (work / "scores.svg").exists() and (work / "figures.json").exists()
    journal = [json.loads(line) for line in (work / "journal.jsonl").read_text().splitlines()]
    assert journal[-1]["kind"] == "end"
    champion = journal[-1]["champion"]
    assert api.submissions[-1] == str(work / "iterations" / f"{champion:03d}" / "adapter") if champion else True


@pytest.mark.slow
def test_ft_agent_killed_in_the_middle_goes_on_from_its_journal(tmp_path: Path, data: Path, tiny: Path) -> None:
    work = tmp_path / "work"
    journal = work / "journal.jsonl"

    def kinds() -> list[str]:
        lines = journal.read_text().splitlines() if journal.exists() else []
        return [json.loads(line)["kind"] for line in lines if line.endswith("}")]

    with FakeApi(make_task(data, str(tiny)), by_kind, wall=300.0) as api:
        process = start(AGENTS / "ft_agent", api, work)
        # one iteration is done and the next one is under way
        wait_for(lambda: "iteration" in kinds() and [k for k in kinds() if k in ("plan", "iteration")][-1] == "plan")
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        assert "## What was tried" in (work / "report.md").read_text(), "a run cut off leaves a report"
        before = [json.loads(line) for line in journal.read_text().splitlines()]
        api.wall = max(at for _, _, at in api.calls) + 70.0  # the rest need not take long
        finish(start(AGENTS / "ft_agent", api, work))
    after = [json.loads(line) for line in journal.read_text().splitlines()]
    assert after[: len(before)] == before, "what was written stays"
    done = [r["iteration"] for r in after if r["kind"] == "iteration"]
    assert [i["number"] for i in done] == list(range(1, len(done) + 1))
    cut = done[sum(1 for r in before if r["kind"] == "iteration")]
    assert cut["status"] == "failed" and "interrupted" in cut["caught"][0]["problem"]
    assert any(i["status"] == "trained" for i in done[cut["number"] :]), "it trains again after the kill"
    assert [Path(p).name for p in api.submissions].count("base") == 1, "the base model is not handed in again"
    assert after[-1]["kind"] == "end"
