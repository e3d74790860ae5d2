"""FT-Agent with a language model, whole runs: whatever the backbone says, the run is graded and tells what thinking was worth."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import ft_agent_talk as talk
import pytest
from one_run import SANDBOX, start, submit, swept, wait_for_run

from harness.store.kept import KeptFiles

pytestmark = [pytest.mark.e2e, pytest.mark.slow]
# CPU-seconds: room for the probes of a model that is worth them, and for no more than one training beside the others
BUDGET, SHORT = "wall=20m,cpu=240,evaluations=3", "wall=15m,cpu=60,evaluations=2"
LONG = ("good", "hostile")
TALKS = {
    "good": talk.good,
    "useless": talk.useless,
    "malformed": talk.malformed,
    "slow": talk.slow,
    "spent": talk.good,
    "hostile": talk.hostile,
}
TASKS = ("math/aime25", "table/fact_checking", "chemistry/mol_und")
# one that helps, one that cannot be read, one that has nothing left, one that attacks; DOJO_TEST_ALL=1 runs the whole table
SOME = {
    ("good", "math/aime25"),
    ("malformed", "chemistry/mol_und"),
    ("spent", "math/aime25"),
    ("hostile", "chemistry/mol_und"),
}
CASES = [(kind, task) for kind in TALKS for task in TASKS if os.environ.get("DOJO_TEST_ALL") or (kind, task) in SOME]


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    with swept(tmp_path):
        yield tmp_path / "home"


def result_of(folder: Path) -> dict[str, Any]:
    return dict(json.loads((folder / "result.json").read_text()))


def journal_of(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in KeptFiles(folder / "workspace.zip").read("journal.jsonl").decode().splitlines()]


@pytest.mark.parametrize(("kind", "task"), CASES, ids=lambda value: str(value).replace("/", "-"))
def test_whatever_the_backbone_says_the_run_is_graded_and_tells_what_thinking_was_worth(
    home: Path, tmp_path: Path, kind: str, task: str
) -> None:
    script = talk.write(tmp_path / "talk.jsonl", TALKS[kind]())
    budget = (BUDGET if kind in LONG else SHORT) + (",requests=1" if kind == "spent" else "")
    folder = submit(home, "ft_agent", task, "--backbone", f"scripted:{script}", "--budget", budget)
    result, journal = result_of(folder), journal_of(folder)
    assert result["outcome"]["cause"] in ("completed", "agent_budget"), result["outcome"]
    scores = result["grade"]["scores"]
    assert scores["items"] == 8, "graded"
    assert any(r["kind"] == "submitted" for r in journal)
    figures = json.loads(KeptFiles(folder / "workspace.zip").read("figures.json"))
    thoughts = [r for r in journal if r["kind"] == "thought"]
    assert thoughts, "it asked"
    fell_back = [t for t in thoughts if t["outcome"] == "fell_back"]
    trained = [r["iteration"] for r in journal if r["kind"] == "iteration" and r["iteration"]["status"] == "trained"]
    print(f"{kind} {task}: {scores['primary']['value']}, thoughts {len(thoughts)}, fell back {len(fell_back)}: {figures}")
    assert trained, "whatever is thought, something is trained"
    if kind == "good" and task == "table/fact_checking":
        # on its long prompts these minutes are one training: no plan is asked for that could not be tried
        calls = {t["call"] for t in thoughts}
        assert calls >= {"survey", "diagnose"} and "propose" not in calls and not fell_back
    elif kind == "good":
        assert any(i["plan"]["author"] == "llm" for i in trained), "the model's plans are trained"
        assert not [t for t in fell_back if "no time" not in t["why"]]
        assert any(r["kind"] == "counterfactual" for r in journal), "what the rules would have done stands beside it"
    elif kind == "slow":
        assert max(t["seconds"] for t in thoughts) >= 59, "it waited beside a training, or gave up"
    else:
        assert fell_back, "what could not be used is counted"
        report = KeptFiles(folder / "workspace.zip").read("report.md").decode()
        assert "## Thinking" in report
    if kind == "hostile":
        told = (folder / "agent.stdout").read_text()
        assert "TOKEN" not in KeptFiles(folder / "workspace.zip").read("report.md").decode()
        assert [r["kind"] for r in journal][-1] in ("end", "thought", "lessons"), told[-2000:]
        assert not [r for r in journal if r["kind"] == "submitted" and "/data" in json.dumps(r)]
        taken = [r["iteration"]["plan"] for r in journal if r["kind"] == "iteration"]
        assert all("output_dir" not in p["trainer"] and "report_to" not in p["trainer"] for p in taken)
        made = [o for p in taken for o in p["data"] if o["name"] == "program"]
        assert not made, "a program that attacks makes no row"


def test_a_program_plays_the_backbone_through_a_whole_run(home: Path) -> None:
    environment = {**os.environ, "DOJO_HOME": str(home)}
    dojo = [sys.executable, "-m", "harness.cli.main"]
    with start(home, "ft_agent", "table/fact_checking", "--backbone", "manual", "--budget", "wall=20m,cpu=110") as submitted:
        run = wait_for_run(home, submitted)
        command = [*dojo, "backbone", "answer", run.name, "--follow"]
        with subprocess.Popen(
            command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        ) as player:
            assert player.stdin and player.stdout
            asked = []
            for line in player.stdout:
                question = json.loads(line)
                words = str(question["messages"][-1])
                reply = next((r for r in talk.good() if r["when"] in words), {"text": "I do not know."})
                asked.append(reply.get("when"))
                print(json.dumps({"call": question["call"], "text": reply["text"]}), file=player.stdin, flush=True)
            assert player.wait(60) == 0, player.stderr.read() if player.stderr else ""
        assert submitted.wait(300) == 0
    assert talk.SURVEY in asked
    thoughts = [r for r in journal_of(run) if r["kind"] == "thought" and r["input_tokens"]]
    assert len(thoughts) >= 1 and all(t["outcome"] != "fell_back" for t in thoughts if t["call"] == "survey")
    assert result_of(run)["grade"]["scores"]["items"] == 8


def test_where_the_run_has_no_backbone_asking_for_one_is_refused_with_the_remedy(home: Path) -> None:
    folder = submit(home, "ft_agent", "math/aime25", "--agent-param", "planner=llm", "--budget", "wall=5m,cpu=30")
    assert "submit with --backbone NAME, or with planner=offline" in (folder / "agent.stderr").read_text()
    assert result_of(folder)["outcome"]["cause"] == "agent_error", SANDBOX
