"""The project's agents in the real sandbox against the real harness; only the model and the task are tiny."""

import json

import pytest
from where import AGENTS

from harness.store.kept import KeptFiles
from tests.e2e.conftest import Commands, cache, dojo, tiny_model  # noqa: F401  (fixtures)

pytestmark = [pytest.mark.e2e, pytest.mark.slow]


@pytest.mark.parametrize(
    ("agent", "params"),
    [
        ("example_shell", ["steps=3"]),
        ("recipe", ["train_share=0.2"]),
        ("search", ["trial_share=0.01", "min_trial_s=3"]),
    ],
)
def test_an_agent_hands_in_the_adapter_it_trained(dojo: Commands, agent: str, params: list[str]) -> None:  # noqa: F811
    more = [part for p in params for part in ("--agent-param", p)]
    answer = dojo(*dojo.submit(AGENTS / agent, "--budget", "wall=120s,evaluations=1", *more), timeout=300)
    run = answer.data["runs"][0]
    errors = (dojo.run_folder() / "agent.stderr").read_text()
    assert run["outcome"]["cause"] == "completed", errors[-3000:]
    assert dojo("show", run["id"]).data["submissions"] >= 2, errors[-3000:]
    assert (dojo.run_folder() / "sealed" / "adapter_model.safetensors").exists()


def test_ft_agent_leaves_its_whole_story_in_the_runs_folder(dojo: Commands) -> None:  # noqa: F811
    answer = dojo(*dojo.submit(AGENTS / "ft_agent", "--budget", "wall=80s,evaluations=2"), timeout=300)
    run, folder = answer.data["runs"][0], dojo.run_folder()
    errors = (folder / "agent.stderr").read_text()
    assert run["outcome"]["cause"] == "completed", errors[-3000:]
    work = KeptFiles(folder / "workspace.zip")
    said = (folder / "agent.stdout").read_text()
    journal = [json.loads(line) for line in work.read("journal.jsonl").decode().splitlines()]
    assert journal[-1]["kind"] == "end", said
    trained = [r["iteration"] for r in journal if r["kind"] == "iteration" and r["iteration"]["status"] == "trained"]
    assert trained, said
    last = f"iterations/{trained[-1]['number']:03d}"
    assert work.sizes().keys() >= {f"{last}/{name}" for name in ("README.md", "iteration.json", "loss.csv", "train.jsonl")}
    assert "## What was tried" in work.read("report.md").decode()
    assert dojo("show", run["id"]).data["evaluations"] >= 1, said
