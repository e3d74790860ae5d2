"""The command line agents, as their makers ship them, through whole runs: only what their model says is scripted."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from harness.assets.agent_dir import load_agent
from harness.assets.installs import prepare_install
from harness.project import PACKAGE, bundled
from harness.sandbox.registry import get_backend
from harness.spec.errors import DojoError
from harness.store.kept import KeptFiles

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

CACHE = Path(os.environ.get("DOJO_CACHE") or Path.home() / ".cache/dojo")
SPOKEN = {"claude_code": "messages", "codex": "responses", "gemini_cli": "google", "opencode": "chat"}
OF_OTHERS = {"claude_code": "responses", "codex": "chat", "gemini_cli": "messages", "opencode": "messages"}
# No backtick, no substitution: Gemini CLI refuses commands with them.
TRAIN = """
import json, torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM, AutoTokenizer
rows = [json.loads(line) for line in open("/data/few_shot.jsonl")]
tokenizer = AutoTokenizer.from_pretrained("/models/base")
model = AutoModelForCausalLM.from_pretrained("/models/base", dtype=torch.float32)
model = get_peft_model(model, LoraConfig(r=4, target_modules="all-linear", task_type="CAUSAL_LM"))
optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=3e-4)
for row in rows[:4]:
    talk = [dict(role="user", content=row["prompt"]), dict(role="assistant", content=row["answer"])]
    ids = tokenizer.apply_chat_template(talk, return_tensors="pt", return_dict=True)["input_ids"]
    model(input_ids=ids, labels=ids).loss.backward()
    optimizer.step()
    optimizer.zero_grad()
model.save_pretrained("adapter")
"""
WORK = "python train.py && dojo-tool evaluate $PWD/adapter > feedback.json && dojo-tool submit $PWD/adapter > submitted.json"
LOOKS = 60


def replies() -> list[dict[str, Any]]:
    """Look, hand in the base model, train, measure and hand in in the background, look again and again, say so."""
    look = "for i in 1 2 3 4 5 6 7 8; do [ -e over ] && break; sleep 1; done; tail -n 1 work.log; echo look"
    return [
        {"text": "I look.", "shell": "dojo-tool task | head -c 400; head -n 5 /data/card.md; ls /data/sources; dojo-tool budget"},
        {
            "text": "A valid submission first.",
            "shell": 'mkdir -p base && echo \'{"dojo": "base"}\' > base/dojo.json && dojo-tool submit $PWD/base',
        },
        {"text": "A small training.", "shell": f"cat > train.py <<'EOF'{TRAIN}EOF\nwc -l train.py"},
        {"shell": f"setsid nohup sh -c '{WORK}; touch over' > work.log 2>&1 & echo started"},
        # never twice the same command: Gemini CLI takes that for a loop; each short enough for Codex to wait for it
        *({"shell": f"{look} {number}"} for number in range(LOOKS)),
        {"text": "I trained an adapter, measured it and handed it in."},
    ]


@pytest.fixture
def script(tmp_path: Path) -> Path:
    path = tmp_path / "replies.jsonl"
    path.write_text("".join(json.dumps(reply) + "\n" for reply in replies()))
    return path


def run(home: Path, agent: str, backbone: str, sandbox: str, *more: str) -> tuple[dict[str, Any], Path]:
    """Submit one run on a small part of a real task, from the folder above ``home``; return its row and its folder."""
    try:
        prepare_install(load_agent(bundled("agents") / agent), CACHE)
    except DojoError as exc:
        pytest.skip(f"{agent} cannot be installed here: {exc}")
    bad = [check for check in get_backend(sandbox).check() if not check.ok]
    if bad:
        pytest.skip(f"sandbox {sandbox} is not to be had here: {bad[0].detail}")
    command = [sys.executable, "-m", "harness.cli.main", "submit", "--agent", agent, "--task", "math/aime25", "--profile", "mini"]
    command += ["--limit", "8", "--backbone", backbone, "--sandbox", sandbox, "--json", *more]
    done = subprocess.run(
        command,
        cwd=home.parent,
        env={**os.environ, "DOJO_HOME": str(home), "PYTHONPATH": str(PACKAGE.parent)},
        capture_output=True,
        text=True,
        timeout=1200,
        check=False,
    )
    folder = next(home.glob("batches/*/runs/*"), None)
    said = (folder / "agent.stderr").read_text()[-3000:] if folder and (folder / "agent.stderr").exists() else ""
    document = json.loads(done.stdout)
    assert document["ok"], (document, said, done.stderr[-2000:])
    assert folder is not None
    return document["data"]["runs"][0], folder


def events(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "events.jsonl").read_text().splitlines()]


def check_whole(agent: str, row: dict[str, Any], folder: Path) -> None:
    """What every whole run shows: trained, measured, handed in, graded, told, and nothing asked but its model."""
    said = (folder / "agent.stderr").read_text()[-3000:]
    assert row["state"] == "done" and row["outcome"]["cause"] == "completed", (row, said)
    assert row["score"] is not None
    assert (folder / "sealed/adapter_model.safetensors").stat().st_size > 0, said  # the adapter counts, not the base model
    happened = events(folder)
    calls = [event["data"] for event in happened if event["kind"] == "llm_call"]
    assert {call["format"] for call in calls} == {SPOKEN[agent]}
    assert {call["status"] for call in calls} == {200}
    assert len({call["asked"] for call in calls}) == 1  # side calls, too, ask for the run's model
    assert [event for event in happened if event["kind"] == "llm_refused"] == []
    trajectory = json.loads((folder / "trajectory.json").read_text())
    names = [call["function_name"] for step in trajectory["steps"] for call in step.get("tool_calls", [])]
    assert len(names) > 4
    assert any("A small training." in step["message"] for step in trajectory["steps"])
    log = KeptFiles(folder / "workspace.zip").read(f"agent-log/{agent}.jsonl")
    assert all(json.loads(line) for line in log.splitlines())


@pytest.mark.parametrize("agent", sorted(SPOKEN))
def test_a_command_line_agent_does_a_whole_run_in_the_namespace_sandbox(agent: str, tmp_path: Path, script: Path):
    row, folder = run(tmp_path / "home", agent, f"scripted:{script}", "namespace", "--budget", "wall=15m")
    check_whole(agent, row, folder)


def test_a_command_line_agent_does_a_whole_run_in_docker(tmp_path: Path, script: Path):
    if shutil.which("docker") is None:
        pytest.skip("there is no docker here")
    row, folder = run(tmp_path / "home", "codex", f"scripted:{script}", "docker", "--budget", "wall=15m")
    check_whole("codex", row, folder)


@pytest.mark.parametrize("agent", sorted(SPOKEN))
def test_a_command_line_agent_ends_soon_when_its_budget_is_spent_and_what_it_handed_in_counts(
    agent: str, tmp_path: Path, script: Path
):
    row, folder = run(tmp_path / "home", agent, f"scripted:{script}", "namespace", "--budget", "wall=10m,requests=3")
    happened = events(folder)
    ended = next(event for event in happened if event["kind"] == "agent_exited")
    started = next(event for event in happened if event["kind"] == "agent_started")
    assert ended["elapsed_s"] - started["elapsed_s"] < 120, (folder / "agent.stderr").read_text()[-3000:]
    assert len([event for event in happened if event["kind"] == "llm_call" and event["data"]["status"] == 200]) == 3
    assert row["state"] == "done" and row["score"] is not None
    assert json.loads((folder / "sealed/dojo.json").read_text()) == {"dojo": "base"}
    assert re.search("budget|[Qq]uota", (folder / "agent.stderr").read_text())


@pytest.mark.parametrize("agent", sorted(OF_OTHERS))
def test_a_command_line_agent_works_with_a_model_that_speaks_another_format(agent: str, tmp_path: Path):
    script = tmp_path / "replies.jsonl"
    script.write_text("".join(json.dumps(reply) + "\n" for reply in [*replies()[:2], {"text": "That is all."}]))
    table = f'[backbones.other]\nupstream = "scripted"\nmodel = "m"\nscript = {json.dumps(str(script))}\n'
    (tmp_path / "dojo.toml").write_text(f'{table}formats = ["{OF_OTHERS[agent]}"]\n')
    row, folder = run(tmp_path / "home", agent, "other", "namespace")
    assert row["state"] == "done" and row["outcome"]["cause"] == "completed" and row["score"] is not None
    calls = [event["data"] for event in events(folder) if event["kind"] == "llm_call"]
    assert [(call["format"], call["upstream_format"], call["status"]) for call in calls] == [
        (SPOKEN[agent], OF_OTHERS[agent], 200)
    ] * 3
    assert json.loads((folder / "sealed/dojo.json").read_text()) == {"dojo": "base"}
