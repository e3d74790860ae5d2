"""A matrix file from submit over a crash to the comparison of its variants."""

import json

import pytest

from tests.e2e.conftest import HAND_IN_BASE, Commands

pytestmark = pytest.mark.e2e

MATRIX = """
name = "ablation"
profile = "mini"
seeds = [3]
tasks = ["test/parity"]
base_models = ["MODEL"]
budgets = [{ wall = "90s", evaluations = 1 }, { wall = "90s", evaluations = 2 }]

[[agents]]
name = "../agents/careful"

[[agents]]
name = "../agents/careful"
params = { feedback = false }
"""

SCRIPT = (
    HAND_IN_BASE
    + """
params = json.loads(os.environ["DOJO_AGENT_PARAMS"])
if params["feedback"]:
    api.evaluate("/workspace/out")
api.submit("/workspace/out")
"""
)


@pytest.fixture
def matrix(dojo: Commands, tmp_path):
    agent = dojo.agent("careful", SCRIPT)
    with (agent / "agent.toml").open("a") as file:
        file.write("[params]\nfeedback = true\n")
    folder = tmp_path / "experiments"
    folder.mkdir()
    (folder / "matrix.toml").write_text(MATRIX.replace("MODEL", str(dojo.model)))
    return folder / "matrix.toml"


def test_everything_of_a_file_is_one_batch_that_goes_on_after_a_crash_and_tells_its_variants_apart(dojo: Commands, matrix):
    process = dojo.start("submit", "--from-file", str(matrix), "--parallel", "1")
    dojo.wait_for(lambda events: any(e["kind"] == "graded" for e in events))
    dojo.kill(process)
    answer = dojo("resume", timeout=560)  # other runs of this machine may hold its cores
    assert answer.code == 0, (answer.document, answer.stderr[-2000:])
    runs = answer.data["runs"]
    assert len({run["batch"] for run in runs}) == 1 and len(runs) == 4
    assert all(run["outcome"]["cause"] == "completed" for run in runs), runs
    names = [f"{run['agent']} {run['variant']}" for run in runs]
    variants = ["evaluations=1", "feedback=false evaluations=1", "evaluations=2", "feedback=false evaluations=2"]
    assert names == [f"careful {variant}" for variant in variants]
    assert [run["evaluations"] for run in runs] == [1, 0, 1, 0]
    assert {run["seed"] for run in runs} == {3}

    board = dojo("leaderboard").data
    assert sorted(row["agent"] for row in board["rows"]) == sorted(set(names)), board
    found = dojo("compare", "careful evaluations=1", "careful evaluations=1 feedback=false").data
    assert found["b"] == "careful feedback=false evaluations=1" and not found["warnings"]
    across = dojo("compare", "careful evaluations=1", "careful evaluations=2").data
    assert "differ in budget, as their names say" in across["warnings"][0]
    assert {run["variant"] for run in dojo("runs").data["runs"]} == set(variants)
    page = dojo("report").data["markdown"]
    assert "careful feedback=false evaluations=2" in page
    shown = dojo("show", runs[1]["id"]).data["spec"]
    assert shown["agent"]["config"]["params"] == {"feedback": False} and shown["varied"] == ["budget"]


def test_a_dry_run_of_a_file_says_how_much_it_is_and_starts_nothing(dojo: Commands, matrix):
    data = dojo("submit", "--from-file", str(matrix), "--dry-run").data
    assert (data["name"], len(data["runs"]), data["max_wall_s"]) == ("ablation", 4, 360)
    assert data["total"]["evaluations"] == 6 and data["total"]["cpu"] is None and data["max_dollars"] == 0
    assert not list(dojo.home.glob("batches/*")), json.dumps(data)[:500]
