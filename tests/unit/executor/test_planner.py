from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from harness.assets.agent_dir import Agent
from harness.assets.agent_files import digest_files
from harness.assets.base_models import prepare_base_model
from harness.executor.planner import plan_again, plan_batch, record_plan
from harness.executor.variants import contender
from harness.spec.agent import AgentConfig
from harness.spec.backbone import BackboneRef, Prices
from harness.spec.budget import Budget, limits_in
from harness.spec.errors import MissingError, UsageError
from harness.spec.run import BaseModelRef
from harness.spec.task import ProfileSpec
from harness.store.database import SqlStore


def agent(name: str, folder: Path, backbone: str = "none") -> tuple[str, Agent]:
    path = folder / name
    path.mkdir(parents=True, exist_ok=True)
    config = AgentConfig(name=name, command=("true",), backbone=backbone)
    (path / "agent.toml").write_text(f'name = "{name}"\ncommand = ["true"]\nbackbone = "{backbone}"\n')
    return name, Agent(config, path, digest_files(path))


def task(name: str = "math/sums", **budget: Any) -> tuple[Any, str, Any]:
    profile = ProfileSpec(base_model="smol", budget=Budget(wall=60.0, **budget))
    dojo = SimpleNamespace(profiles={"mini": profile})
    found = SimpleNamespace(id=name, digest="t" * 64, dojo=dojo, by_path=False, shadows=None, path=Path("/nowhere"))
    return SimpleNamespace(task=found, profile="mini", digest="e" * 64, hidden="5" * 16), "smol", SimpleNamespace(digest="m" * 64)


def plan(folder: Path, agents: list[str], tasks: list[Any] | None = None, seeds: tuple[int, ...] = (0,), **more: Any) -> Any:
    """Plan agents by name; ``name:required`` and ``name:optional`` say that they think with a backbone."""
    parted = [name.partition(":") for name in agents]
    named = [contender(*agent(bare, folder, backbone or "none")) for bare, _, backbone in parted]
    if "budget" in more:
        more["budgets"] = [limits_in(more.pop("budget") or "")]
    if "backbone" in more:
        more["backbones"] = [more.pop("backbone")]
    return plan_batch(named, tasks or [task()], seeds, home=folder, sandbox="scripted", **more)


def test_a_plan_is_the_matrix_of_agents_tasks_and_seeds(tmp_path):
    found = plan(tmp_path, ["a", "b"], [task("math/sums"), task("math/products")], (0, 1, 2))
    assert len(found.runs) == 12 and len({run.id for run in found.runs}) == 12
    assert found.agents == {"a": "a", "b": "b"} and found.max_wall_s == 720


@pytest.mark.parametrize(
    ("agents", "tasks", "seeds", "named"),
    [
        (["a", "a"], None, (0,), "agent a is named twice"),
        (["a"], [task(), task()], (0,), "task math/sums is named twice"),
        (["a"], None, (0, 1, 1), "seed 1 is named twice"),
    ],
)
def test_what_is_named_twice_is_refused(tmp_path, agents, tasks, seeds, named):
    with pytest.raises(UsageError, match=named):
        plan(tmp_path, agents, tasks, seeds)


@pytest.mark.parametrize("budget", ["tokens=1000", "dollars=5"])
def test_a_budget_that_nothing_measures_is_refused(tmp_path, budget):
    with pytest.raises(UsageError, match=budget.partition("=")[0]):
        plan(tmp_path, ["a"], budget=budget)


def test_runs_are_planned_again_as_they_were(tmp_path):
    store = SqlStore(tmp_path / "home")
    first = plan(tmp_path, ["a"], seeds=(0, 1))
    record_plan(first, {"a": agent("a", tmp_path)[1]}, store)
    (store.files(first.runs[0].id).agent_dir / "note").write_text("as it was")
    again = plan_again(first.runs, executor="slurm")
    record_plan(again, {}, store)
    assert [batch.settings["executor"] for batch in store.batches()] == ["local", "slurm"]
    same = {"agent", "task", "base_model", "seed", "budget", "limits", "generation", "sandbox", "limit"}
    for old, new in zip(first.runs, again.runs, strict=True):
        assert new.id != old.id and new.batch != old.batch
        assert new.model_dump(include=same) == old.model_dump(include=same)
    assert (store.files(again.runs[0].id).agent_dir / "note").read_text() == "as it was"


def test_an_agent_that_has_changed_since_the_plan_is_not_recorded_as_what_was_planned(tmp_path):
    store = SqlStore(tmp_path / "home")
    found = plan(tmp_path, ["a"])
    _, other = agent("a", tmp_path)
    with pytest.raises(UsageError, match="has changed"):
        record_plan(found, {"a": Agent(other.config, other.path, "f" * 64)}, store)
    (other.path / "more.py").write_text("written after the agent was loaded")
    with pytest.raises(UsageError, match="has changed"):
        record_plan(found, {"a": other}, store)
    assert store.batches() == []


def test_nothing_to_run_again_is_said(tmp_path):
    with pytest.raises(UsageError, match="nothing to run again"):
        plan_again([])


PRICED = BackboneRef(name="gpt", upstream="openai", model="m", prices=Prices(input=1.0, output=10.0))


def test_only_agents_that_think_get_the_backbone(tmp_path):
    found = plan(tmp_path, ["a", "b:optional", "c:required"], backbone=PRICED)
    assert {run.agent.name: run.backbone for run in found.runs} == {"a": None, "b": PRICED, "c": PRICED}


def test_an_agent_that_requires_a_backbone_is_not_planned_without_one(tmp_path):
    with pytest.raises(MissingError, match="agent c thinks with a language model") as refused:
        plan(tmp_path, ["a", "c:required"])
    assert "--backbone" in refused.value.hint
    assert plan(tmp_path, ["b:optional"]).runs[0].backbone is None


def test_a_backbone_that_nobody_uses_is_pointed_out(tmp_path):
    assert "no agent here thinks with a backbone: gpt is not used" in plan(tmp_path, ["a"], backbone=PRICED).warnings


def test_dollars_are_refused_where_nobody_knows_the_price(tmp_path):
    unpriced = PRICED.model_copy(update={"prices": None})
    with pytest.raises(UsageError, match="nobody knows what gpt") as refused:
        plan(tmp_path, ["b:required"], backbone=unpriced, budget="dollars=5")
    assert "[backbones.gpt]" in refused.value.hint
    assert plan(tmp_path, ["b:required"], backbone=unpriced, budget="tokens=5").runs[0].budget.tokens == 5


@pytest.mark.parametrize(
    ("budget", "backbone", "most"),
    [
        (None, PRICED, None),
        ("dollars=5", PRICED, 10.0),
        ("tokens=1000000", PRICED, 20.0),
        ("tokens=100000,dollars=5", PRICED, 2.0),
        ("tokens=1000000", PRICED.model_copy(update={"prices": None}), None),
        (None, BackboneRef(name="script", upstream="scripted"), 0.0),
    ],
)
def test_the_most_a_batch_may_cost_is_known_where_a_limit_bounds_it(tmp_path, budget, backbone, most):
    found = plan(tmp_path, ["a", "b:required", "c:required"], backbone=backbone, budget=budget)
    assert found.max_dollars == most
    unlimited = most is None and budget is None
    assert any("no limit on what agents spend" in warning for warning in found.warnings) is unlimited


def test_a_base_model_that_was_named_by_its_directory_leaves_no_absolute_path_in_the_run_and_is_found_again(tmp_path):
    folder = tmp_path / "models" / "mine"
    folder.mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    (folder / "dojo-manifest.json").write_text('{"digest": "m", "files": [], "parameters": 1, "licence": ""}')
    data, _, _ = task()
    home = tmp_path / "results"
    named = [(data, str(folder), prepare_base_model(str(folder), tmp_path))]
    (run,) = plan_batch([contender(*agent("a", tmp_path))], named, (0,), home=home, sandbox="namespace").runs
    assert run.base_model == BaseModelRef(name="mine", path="../models/mine", digest="m")
    assert str(tmp_path) not in run.model_dump_json()
    found = prepare_base_model(str((home / run.base_model.path).resolve()), tmp_path)
    assert (found.path, found.digest) == (folder, run.base_model.digest)
