"""Agents that think do whole runs: real programs, sandbox, gateway, training and grading; only the replies are written down."""

import fnmatch
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from one_run import submit, swept

from harness.store.kept import KeptFiles

pytestmark = [pytest.mark.e2e, pytest.mark.slow]
ROOT = Path(__file__).resolve().parents[3]
TRAIN = (ROOT / "agents" / "example_shell" / "train.py").read_text(encoding="utf-8")

# What a sensible model would do in seven turns. The last command ends mini-swe-agent; to the others it is a command like any.
COMMANDS = (
    "ls /data/sources && head -c 600 /data/few_shot.jsonl && dojo-tool budget",
    """mkdir -p base && printf '{"dojo": "base"}' > base/dojo.json && dojo-tool submit /workspace/base --note 'first the base'""",
    f"cat > train.py <<'END_OF_FILE'\n{TRAIN}END_OF_FILE\nls -l train.py",
    """DOJO_AGENT_PARAMS='{"steps": 2}' python train.py /data/few_shot.jsonl adapter""",
    "dojo-tool validate /workspace/adapter",
    "dojo-tool evaluate /workspace/adapter --note 'two steps' && dojo-tool submit /workspace/adapter --note 'trained'",
    "echo COMPLETE_TASK_AND_SUBMIT_FINAL_OUTPUT",
)


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    with swept(tmp_path):
        yield tmp_path / "home"


@pytest.fixture
def script(tmp_path: Path) -> Path:
    path = tmp_path / "talk.jsonl"
    lines: list[dict[str, Any]] = [{"order": "dialogue", "otherwise": "a run", "last": "DONE"}]
    lines += [{"text": f"Step {number}.", "shell": command} for number, command in enumerate(COMMANDS, 1)]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def run(home: Path, agent: str, *more: str) -> Path:
    """Submit one run and return its folder."""
    return submit(home, agent, "math/aime25", *more)


def events(folder: Path, kind: str) -> list[dict[str, Any]]:
    found = (json.loads(line) for line in (folder / "events.jsonl").read_text().splitlines())
    return [event["data"] for event in found if event["kind"] == kind]


@pytest.mark.parametrize(
    ("agent", "log"),
    [
        ("example_llm", "agent-log/messages.jsonl"),
        ("mini_swe", "agent-log/trajectory.json"),
        ("openhands", "agent-log/*/base_state.json"),
    ],
)
def test_an_agent_looks_trains_measures_and_hands_in(home: Path, script: Path, agent: str, log: str) -> None:
    folder = run(home, agent, "--backbone", f"scripted:{script}", "--budget", "wall=400s,evaluations=1,tokens=2000000")
    printed = (folder / "agent.stdout").read_text() + (folder / "agent.stderr").read_text()
    outcome = json.loads((folder / "result.json").read_text())["outcome"]
    assert outcome["cause"] == "completed", (outcome, printed[-3000:])
    assert [said["note"] for said in events(folder, "submit")] == ["first the base", "trained"], printed[-3000:]
    assert len(events(folder, "evaluate")) == 1
    assert (folder / "sealed" / "adapter_model.safetensors").exists()
    calls = events(folder, "llm_call")
    assert {call["format"] for call in calls} == {"chat"} and all(call["status"] == 200 for call in calls)
    assert sum(call["tools"] for call in calls if "tools" in call) == len(COMMANDS)
    assert not events(folder, "llm_refused") and not events(folder, "error")
    assert fnmatch.filter(KeptFiles(folder / "workspace.zip").sizes(), log), "its own log is kept"


@pytest.mark.parametrize("agent", ["example_llm", "mini_swe"])  # openhands does, too, after two minutes of tries of its own
def test_an_agent_whose_backbone_is_spent_ends_quietly_with_what_it_handed_in(home: Path, script: Path, agent: str) -> None:
    folder = run(home, agent, "--backbone", f"scripted:{script}", "--budget", "wall=200s,evaluations=1,requests=2")
    printed = (folder / "agent.stdout").read_text() + (folder / "agent.stderr").read_text()
    outcome = json.loads((folder / "result.json").read_text())["outcome"]
    assert (outcome["cause"], outcome.get("exit_code")) == ("completed", 0), (outcome, printed[-3000:])
    assert "all 2 requests of the run's budget are used" in printed
    assert [said["note"] for said in events(folder, "submit")] == ["first the base"]
    assert len(events(folder, "llm_call")) == 2


def test_a_recipe_trains_on_rows_that_its_backbone_has_mended(home: Path, tmp_path: Path) -> None:
    """Every batch is told the same: the first row is wrong, the third one goes, the second and all others are right."""
    said = {"rows": [{"n": 1, "answer": "17"}, {"n": 3, "drop": True}, *({"n": n} for n in (2, *range(4, 17)))]}
    script = tmp_path / "talk.jsonl"
    script.write_text(json.dumps({"order": "dialogue"}) + "\n" + json.dumps({"text": json.dumps(said)}) + "\n")
    budget = "wall=400s,cpu=none,evaluations=0,requests=5"
    params = ("--agent-param", "rows=160", "--agent-param", "train_share=0.06", "--agent-param", "calls_at_once=1")
    folder = run(home, "recipe_llm", "--backbone", f"scripted:{script}", "--budget", budget, *params)
    printed = (folder / "agent.stdout").read_text() + (folder / "agent.stderr").read_text()
    outcome = json.loads((folder / "result.json").read_text())["outcome"]
    assert outcome["cause"] == "completed", (outcome, printed[-3000:])
    assert len(events(folder, "llm_call")) == 5, "what the budget allows is asked"
    assert '"mended": 5, "dropped": 5, "unusable": 0, "unasked": 80' in printed and "stopped early: spent" in printed
    assert [said["note"] for said in events(folder, "submit")][-1] == "one LoRA recipe on rows cleaned by the backbone"
    assert (folder / "sealed" / "adapter_model.safetensors").exists()
