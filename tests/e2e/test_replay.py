"""A run that was recorded is run again by the agent made of it."""

import json

import pytest

from tests.e2e.conftest import Commands

pytestmark = pytest.mark.e2e

SCRIPT = """
assert api.exec(["mkdir", "-p", "/workspace/made"])["exit_code"] == 0
api.exec("cd made && echo $((6 * 7)) > number")
api.exec('echo \\'{"dojo": "base"}\\' > /workspace/made/dojo.json; rm /workspace/made/number')
api.exec("exit 4")
api.write_file("/workspace/lost.txt", b"what nobody records")
api.submit("/workspace/made")
"""


def test_commands_of_a_run_are_run_again_and_what_comes_out_is_handed_in(dojo: Commands) -> None:
    first = dojo(*dojo.submit(dojo.agent("maker", SCRIPT, placement="own"))).data["runs"][0]
    assert first["outcome"]["cause"] == "completed"
    made = dojo("export", first["id"], "replay", "--out", str(dojo.agents / "again")).data
    assert (made["commands"], made["unplayable"]) == (4, 1)
    second = dojo(*dojo.submit(dojo.agents / "again")).data["runs"][0]
    folder = next(dojo.home.glob(f"batches/*/runs/{second['id']}"))
    assert second["outcome"]["cause"] == "completed", (folder / "agent.stderr").read_text()
    assert json.loads((folder / "sealed/dojo.json").read_text()) == {"dojo": "base"}
    assert second["score"] == first["score"]
    notes = [event["data"]["text"] for event in map(json.loads, (folder / "events.jsonl").open()) if event["kind"] == "note"]
    assert notes[-1] == "4 commands were played, 1 could not be"
    assert not any("ended with" in note for note in notes)


def test_the_agent_as_it_comes_hands_in_the_base_model(dojo: Commands) -> None:
    run = dojo(*dojo.submit("replay")).data["runs"][0]
    assert run["outcome"]["cause"] == "completed"
    refused = dojo("export", run["id"], "replay", "--out", str(dojo.home / "again"))
    assert "no command of run" in refused.error["message"]
