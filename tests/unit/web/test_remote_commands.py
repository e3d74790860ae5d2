"""Commands over a service that list, tell a run whole, mark it and run it again, each beside the same at the machine."""

import json
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest

from harness.analysis.plan import plan as power_of
from harness.cli.main import main
from harness.project import project_root
from harness.remote.dojo import RemoteDojo
from harness.spec.errors import DojoError
from harness.spec.run import RunSpec
from harness.spec.summary import Summaries
from tests.unit.web.conftest import Replica
from tests.unit.web.test_remote import Call, call  # noqa: F401  fixture

RECORDED = project_root() / "results" / "thinking"


@pytest.fixture
def recorded(replica: Replica) -> str:
    """The run of an agent that thinks that comes along, in the service's results."""
    spec = RunSpec.model_validate_json((RECORDED / "run.json").read_bytes())
    shutil.copytree(RECORDED, replica.dojo.store.run_dir(spec.batch, spec.id).path)
    replica.dojo.reindex()
    return spec.id


def remote(replica: Replica, user: str) -> RemoteDojo:
    return RemoteDojo(replica.url, replica.tokens[user])


@pytest.mark.parametrize("kind", ["tasks", "agents", "backbones", "models"])
def test_a_list_is_the_services_own_and_names_no_place_of_its_machine(replica: Replica, call: Call, kind: str):  # noqa: F811
    dojo = replica.dojo
    there = {
        "tasks": [task.id for task in dojo.list_tasks().tasks],
        "agents": [agent.name for agent in dojo.list_agents().agents],
        "backbones": [backbone.name for backbone in dojo.backbones()],
        "models": [model.name for model in dojo.models()],
    }
    for words in ((kind, "list"), (kind,)):
        code, said = call("eve", *words)
        assert code == 0 and said["schema"] == f"dojo/{kind}-list/v1"
        assert [each.get("id") or each["name"] for each in said["data"][kind]] == there[kind]
        assert str(project_root()) not in json.dumps(said) and str(Path.home()) not in json.dumps(said)


def test_a_task_is_told_as_at_its_machine_and_a_path_is_none(replica: Replica, call: Call):  # noqa: F811
    code, said = call("eve", "tasks", "show", "math/aime25")
    assert code == 0 and said["data"] == replica.dojo.describe_task("math/aime25") | {"path": "", "shadows": None}
    code, said = call("eve", "tasks", "show", str(project_root() / "tasks/math/aime25"))
    assert code == 2 and said["error"]["code"] == "not_found"


def test_with_a_service_set_lists_are_its_and_checks_are_of_this_machine(
    replica: Replica, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setenv("DOJO_SERVER", replica.url)
    monkeypatch.setenv("DOJO_TOKEN", "dojo_1_2")
    for words, code in ((["agents", "list"], "unknown_token"), (["agents", "check", "base"], None), (["grade", "r1"], "usage")):
        main([*words, "--json"])
        said = json.loads(capsys.readouterr().out.splitlines()[-1])
        assert (said.get("error") or {}).get("code") == code, said


@pytest.mark.parametrize("follow", [False, True])
def test_the_talk_with_a_backbone_is_told_call_by_call(replica: Replica, recorded: str, follow: bool):
    here = list(replica.dojo.talk(recorded))
    assert len(here) > 3
    assert list(remote(replica, "root").talk(recorded, follow=follow)) == here


def test_a_talk_goes_on_after_the_calls_that_were_received(replica: Replica, recorded: str):
    whole, rest = (replica.ask("root", "GET", f"/v1/runs/{recorded}/talk?skip={skip}").text.splitlines() for skip in (0, 2))
    assert whole[-1] == "null" and rest == whole[2:]


def test_a_run_without_a_backbone_has_no_talk_there_either(replica: Replica, call: Call):  # noqa: F811
    _, (run,) = replica.batch("ann")
    code, said = call("ann", "logs", run, "--llm")
    assert code == 2 and "no backbone" in said["error"]["message"]


def test_a_trajectory_is_written_here_as_it_is_there(
    replica: Replica, recorded: str, call: Call, tmp_path: Path  # noqa: F811
):  # fmt: skip
    there, here, again = tmp_path / "there.json", tmp_path / "here.json", tmp_path / "again"
    steps = replica.dojo.export(recorded, "atif", there).steps
    code, said = call("root", "export", recorded, "--out", str(here))
    assert code == 0 and (said["data"]["run"], said["data"]["steps"]) == (recorded, steps)
    assert here.read_bytes() == there.read_bytes()
    code, said = call("root", "export", recorded, "replay", "--out", str(again))
    assert (code == 0) == (again / "agent.toml").is_file(), said
    for words in ([], ["--out", str(tmp_path)], ["--out", "/nowhere/x.json"]):
        code, said = call("root", "export", recorded, *words)
        assert code == 2 and said["error"]["hint"]


def test_a_report_is_for_whose_batch_it_is(replica: Replica, call: Call):  # noqa: F811
    batch, (run,) = replica.batch("ann")
    code, said = call("ann", "report", batch)
    assert code == 0 and said["data"]["batch"] == batch and run in said["data"]["markdown"]
    assert str(replica.dojo.home) not in said["data"]["markdown"]
    assert call("bob", "report", batch)[1]["error"]["code"] == "forbidden"
    assert "no plots" in call("ann", "report", batch, "--plots", "x")[1]["error"]["message"]


def test_owners_tag_and_operators_alone_leave_out(replica: Replica, call: Call):  # noqa: F811
    _, (run,) = replica.batch("ann")
    assert call("ann", "tag", run, "good", "early")[0] == 0
    assert call("ann", "tag", run, "--remove", "early")[0] == 0
    assert [each["id"] for each in call("bob", "runs", "--tag", "good")[1]["data"]["runs"]] == [run]
    assert call("bob", "runs", "--tag", "early")[1]["data"]["runs"] == []
    for user, words, code in (
        ("bob", ("tag", run, "bad"), "forbidden"),
        ("ann", ("exclude", run, "--why", "it lost"), "forbidden"),
        ("root", ("exclude", run, "--why", " "), "usage"),
    ):
        assert call(user, *words)[1]["error"]["code"] == code
    assert call("root", "exclude", run, "--why", "the disk was broken")[0] == 0
    assert remote(replica, "eve").store.run(run).excluded == "the disk was broken"
    assert call("root", "include", run)[0] == 0
    assert remote(replica, "eve").store.run(run).excluded == ""
    done = [(entry.user, entry.action, entry.outcome) for entry in replica.dojo.audit()]
    assert {("ann", "tag", "ok"), ("ann", "exclude", "forbidden"), ("root", "exclude", "ok")} <= set(done)


def test_runs_of_ones_own_are_run_again(replica: Replica, call: Call, monkeypatch: pytest.MonkeyPatch):  # noqa: F811
    batch, (run,) = replica.batch("ann")
    replica.dojo.store.files(run).agent_dir.mkdir(exist_ok=True)
    monkeypatch.setattr(replica.dojo, "_checked_backend", lambda name: name)
    monkeypatch.setattr(replica.dojo._library, "assets", lambda *_: SimpleNamespace(install=None))
    monkeypatch.setattr(replica.dojo, "power", lambda plan: power_of(Summaries(), {"played/task": 10}, len(plan.runs)))
    code, said = call("ann", "submit", "--from", run, "--name", "once more", "--dry-run")
    assert code == 0 and said["data"]["name"] == "once more" and said["data"]["power"] is not None
    code, said = call("ann", "submit", "--from", run, "--detach")
    (again,) = said["data"]["runs"]
    assert code == 0 and again["id"] != run and replica.dojo.owner_of(again["id"]) == "ann"
    assert call("bob", "submit", "--from", run, "--detach")[1]["error"]["code"] == "forbidden"
    assert "no run of batch" in call("ann", "submit", "--retry-failed", batch)[1]["error"]["message"]


@pytest.mark.parametrize("ask", [{}, {"matrix": {"agents": [{"name": "base"}]}, "again": ["r1"]}])
def test_a_plan_is_of_a_matrix_or_of_runs(replica: Replica, ask: dict[str, object]):
    said = replica.ask("ann", "POST", "/v1/plans", json=ask)
    assert said.status_code == 400 and "matrix or of runs" in said.json()["error"]["message"]


def test_runs_of_several_executors_want_one_named(replica: Replica):
    (one,), (other,) = (replica.stage.batch(1, settings={"executor": name})[1] for name in ("local", "slurm"))
    with pytest.raises(DojoError, match="several executors: local, slurm"):
        replica.dojo.plan_again([one, other])
