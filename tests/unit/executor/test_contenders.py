"""One agent in several variants within a batch: what they are called, and what is refused."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from pydantic import ValidationError

from harness.assets.agent_dir import Agent, find_agent
from harness.assets.agent_files import digest_files
from harness.executor.planner import plan_batch, record_plan
from harness.executor.variants import Contender, contender, words_of
from harness.spec.agent import AgentConfig
from harness.spec.backbone import BackboneRef, Prices
from harness.spec.budget import Budget
from harness.spec.errors import UsageError
from harness.spec.task import ProfileSpec
from harness.store.base import RunFilter
from harness.store.database import SqlStore

PARAMS = {"feedback": True, "data_cap": 0, "rate": 0.5, "planner": "auto", "lessons": ""}
WISE = BackboneRef(name="wise", upstream="openai", model="m", prices=Prices(input=1.0, output=1.0))
FAST = BackboneRef(name="scripted:../x/fast.toml", upstream="scripted")


def an_agent(folder: Path, name: str = "ft", backbone: str = "optional", **params: Any) -> Agent:
    path = folder / name
    path.mkdir(parents=True, exist_ok=True)
    (path / "agent.toml").write_text(f'name = "{name}"\ncommand = ["true"]\n')
    config = AgentConfig(name=name, command=("true",), backbone=backbone, params=params or PARAMS)
    return Agent(config, path, digest_files(path))


def a_task(model: str = "smol", name: str = "math/sums") -> tuple[Any, str, Any]:
    profiles = {"mini": ProfileSpec(base_model="smol", budget=Budget(wall=60.0))}
    found = SimpleNamespace(
        id=name, digest="t" * 64, dojo=SimpleNamespace(profiles=profiles), by_path=False, shadows=None, path=Path("/nowhere")
    )
    return (
        SimpleNamespace(task=found, profile="mini", digest="e" * 64, hidden="5" * 16),
        model,
        SimpleNamespace(digest=model, name=Path(model).name, path=Path(model)),
    )


def planned(agents: list[Contender], tasks: list[Any] | None = None, seeds: tuple[int, ...] = (0,), **more: Any) -> Any:
    return plan_batch(agents, tasks or [a_task()], seeds, home=Path("/nowhere"), sandbox="scripted", **more)


@pytest.mark.parametrize(
    ("params", "label", "words"),
    [
        ({}, "", ""),
        ({"feedback": True, "data_cap": 0}, "", ""),
        ({"data_cap": 200, "feedback": False}, "", "feedback=false data_cap=200"),
        ({"rate": 1}, "", "rate=1.0"),
        ({"planner": "llm"}, "", "planner=llm"),
        ({"feedback": False}, "blind", "blind"),
        ({"feedback": False}, "ft blind", "blind"),
        ({"feedback": "no", "data_cap": "5", "rate": "1e-3"}, "", "feedback=false data_cap=5 rate=0.001"),
    ],
)
def test_a_variant_is_called_by_what_differs_from_the_agent_as_it_comes(tmp_path, params, label, words):
    found = contender("ft", an_agent(tmp_path), params, label)
    assert found.words == words and found.shown == f"ft {words}".strip()


@pytest.mark.parametrize("value", ["two words", "x" * 80, "a@b", "[x]"])
def test_a_value_that_is_no_short_word_is_named_by_its_digest(tmp_path, value):
    words = contender("ft", an_agent(tmp_path), {"lessons": value}).words
    assert words.startswith("lessons=#") and len(words) == len("lessons=#") + 8
    assert words == words_of({"lessons": value}) != words_of({"lessons": value + "1"})


def test_a_name_never_outgrows_its_column():
    many = {f"parameter_{number}": number for number in range(40)}
    assert len(words_of(many)) < 140 and words_of(many) != words_of({**many, "parameter_39": 0})
    assert words_of({"lessons": ""}) == 'lessons=""'


@pytest.mark.parametrize(
    ("params", "words", "hint"),
    [
        ({"feedbak": False}, "no parameter 'feedbak'", "did you mean feedback?"),
        ({"feedback": "ture"}, "feedback='ture' is no bool", "feedback=true"),
        ({"feedback": 1}, "feedback=1 is no bool", "feedback=true"),
        ({"data_cap": 1.5}, "data_cap=1.5 is no int", "data_cap=0"),
        ({"data_cap": True}, "data_cap=True is no int", "data_cap=0"),
        ({"rate": "fast"}, "rate='fast' is no float", "rate=0.5"),
        ({"planner": 3}, "planner=3 is no str", 'planner="auto"'),
    ],
)
def test_a_parameter_that_does_not_fit_is_refused(tmp_path, params, words, hint):
    with pytest.raises(UsageError) as refused:
        contender("ft", an_agent(tmp_path), params)
    assert words in refused.value.message and refused.value.hint.endswith(hint)


def test_an_agent_without_parameters_says_so(tmp_path):
    bare = replace(an_agent(tmp_path), config=AgentConfig(name="ft", command=("true",)))
    with pytest.raises(UsageError, match="no parameter 'x'") as refused:
        contender("ft", bare, {"x": 1})
    assert refused.value.hint == "the agent.toml of ft has no [params]"


def test_the_product_of_everything_is_one_batch_in_which_each_run_says_what_it_is(tmp_path):
    ft, base = an_agent(tmp_path), an_agent(tmp_path, "plain", "none", x=1)
    found = planned(
        [contender("ft", ft), contender("ft", ft, {"feedback": False}), contender("plain", base)],
        [a_task("smol"), a_task("/models/large")],
        (0, 4),
        budgets=[{"wall": "2m", "evaluations": 3}, {"wall": "4m", "evaluations": 3}],
        backbones=[WISE, FAST],
    )
    # two variants that think with two backbones, and one agent that thinks with none
    assert len(found.runs) == (2 * 2 + 1) * 2 * 2 * 2
    assert {run.batch for run in found.runs} == {found.batch}
    shown = [run.shown for run in found.runs]
    assert shown[:2] == ["ft base_model=smol backbone=wise wall=2m"] * 2
    assert "ft feedback=false base_model=large backbone=scripted:fast.toml wall=4m" in shown
    assert "plain base_model=large wall=4m" in shown and not any("plain" in name and "backbone" in name for name in shown)
    assert {run.varied for run in found.runs} == {("base_model", "budget", "backbone")}
    assert all((run.backbone is None) is (run.agent.name == "plain") for run in found.runs)
    assert {(run.budget.wall, run.budget.evaluations) for run in found.runs} == {(120, 3), (240, 3)}
    assert len({(run.shown, run.task.id, run.seed) for run in found.runs}) == len(found.runs)


def test_what_a_batch_has_only_one_of_is_named_in_no_variant(tmp_path):
    (run,) = planned([contender("ft", an_agent(tmp_path))], budgets=[{"wall": "2m"}], backbones=[WISE]).runs
    assert (run.variant, run.varied, run.shown) == ("", (), "ft")


def test_what_a_matrix_may_cost_is_the_sum_over_its_budgets(tmp_path):
    minds = [WISE, WISE.model_copy(update={"name": "other"})]
    found = planned(
        [contender("ft", an_agent(tmp_path))], seeds=(0, 1), budgets=[{"dollars": 1}, {"dollars": 4}], backbones=minds
    )
    assert found.max_dollars == 2 * 2 * (1 + 4)


def test_variants_are_recorded_with_their_own_parameters(tmp_path):
    store = SqlStore(tmp_path / "home")
    ft = an_agent(tmp_path)
    found = planned([contender("ft", ft), contender("ft", ft, {"feedback": False})])
    record_plan(found, {"ft": ft}, store)
    specs = [store.files(info.id).spec() for info in store.runs(RunFilter(batch=found.batch))]
    assert [(spec.variant, spec.agent.config.params["feedback"]) for spec in specs] == [("", True), ("feedback=false", False)]


def test_variants_that_could_not_be_told_apart_are_refused(tmp_path):
    ft = an_agent(tmp_path)
    with pytest.raises(UsageError, match="agent ft is named twice"):
        planned([contender("ft", ft), contender("ft", ft, {"feedback": True})])
    with pytest.raises(UsageError, match="agent ft blind is named twice"):
        planned([contender("ft", ft, {"data_cap": n}, "blind") for n in (1, 2)])
    twins = [contender("ft", ft), contender("ft", ft, {}, "again")]
    assert [run.shown for run in planned(twins).runs] == ["ft", "ft again"]
    other = an_agent(tmp_path / "elsewhere")
    with pytest.raises(UsageError, match="both call their agent ft"):
        planned([contender("ft", ft), contender("./ft", other, {"feedback": False})])


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"budgets": [{"wall": "1m", "cpu": 2}, {"cpu": 2, "wall": "1m"}]}, "budget cpu=2, wall=1m is named twice"),
        ({"backbones": [WISE, WISE]}, "backbone wise is named twice"),
        ({"tasks": [a_task(), a_task("large"), a_task()]}, "task math/sums with smol is named twice"),
    ],
)
def test_what_stands_in_a_matrix_twice_is_refused(tmp_path, more, words):
    with pytest.raises(UsageError, match=words):
        planned([contender("ft", an_agent(tmp_path))], **more)


@pytest.mark.parametrize(
    ("value", "hint"),
    [("lm", "did you mean llm?"), ("of line", "did you mean offline?"), ("x", "name one of them: planner=auto")],
)
def test_a_value_that_is_none_of_a_parameters_choices_is_refused_before_a_run(value: str, hint: str) -> None:
    agent = find_agent("ft_agent", [])
    with pytest.raises(UsageError) as caught:
        contender("ft_agent", agent, {"planner": value})
    assert f"agent ft_agent has no planner={value!r}; there are auto, llm, offline, plain, self_taught" in caught.value.message
    assert caught.value.hint == hint
    assert contender("ft_agent", agent, {"planner": "llm"}).config.params["planner"] == "llm"


def test_ft_agent_declares_the_planners_that_it_has() -> None:
    source = (find_agent("ft_agent", []).path / "ft_agent" / "switches.py").read_text()
    declared = re.search(r"Planning = Literal\[(.*?)\]", source)
    assert declared is not None
    assert tuple(word.strip(' "') for word in declared[1].split(",")) == find_agent("ft_agent", []).config.choices["planner"]


@pytest.mark.parametrize(
    ("choices", "said"), [({"y": ("a",)}, "no such parameter"), ({"x": ("b", "c")}, "none of its choices: b, c")]
)
def test_choices_belong_to_a_parameter_and_hold_its_default(choices: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        AgentConfig(name="a", command=("sh",), params={"x": "a"}, choices=choices)
