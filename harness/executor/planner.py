"""From what was asked to frozen runs: agents × tasks × base models × budgets × backbones × seeds, checked as far as can be."""

from __future__ import annotations

import os
import shutil
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from importlib import metadata
from itertools import product
from pathlib import Path
from platform import python_version
from typing import Any, get_args

from pydantic import Field

import harness
from harness.assets.agent_dir import Agent, copy_agent, refuse_strangers
from harness.assets.agent_files import copy_files
from harness.assets.base_models import BaseModel, is_path
from harness.assets.prepare import PreparedTask
from harness.assets.task_dir import Task
from harness.executor.variants import Contender, backbone_word, budget_words, model_word, words_of
from harness.spec.agent import AgentConfig, shares
from harness.spec.backbone import BackboneRef
from harness.spec.base import Spec
from harness.spec.budget import Budget
from harness.spec.errors import MissingError, UsageError
from harness.spec.run import AgentRef, BaseModelRef, RunSpec, TaskRef, Varied
from harness.spec.task import ProfileName, ProfileSpec
from harness.store.base import Store
from harness.store.ids import new_id
from harness.store.run_dir import RunDir

_RECORDED_PACKAGES = ("torch", "transformers", "peft", "trl", "lm-eval")


class BatchPlan(Spec):
    """The matrix of one submit, before anything runs."""

    batch: str
    name: str
    runs: tuple[RunSpec, ...]
    agents: dict[str, str] = Field(default_factory=dict, description="agent's name → what it was called at submit")
    copies: dict[str, str] = Field(default_factory=dict, description="run → an earlier run whose copy of the agent it gets")
    warnings: tuple[str, ...] = ()
    max_wall_s: float = Field(description="the longest the runs can take one after the other, agent phases only, seconds")
    max_dollars: float | None = Field(
        0.0, description="the most they can cost at their backbones, each tried once; None: nothing bounds it"
    )
    settings: dict[str, str] = Field(default_factory=dict)


def profile_of(profiles: Mapping[ProfileName, ProfileSpec], task: str, profile: str) -> ProfileSpec:
    """Return the task's profile.

    Raises:
        UsageError: the task has no such profile; names those it has.
    """
    found = next((spec for name, spec in profiles.items() if name == profile), None)
    if found is None:
        raise UsageError(f"task {task} has no profile {profile!r}", hint=f"it has {', '.join(sorted(profiles))}")
    return found


def plan_batch(
    agents: Sequence[Contender],
    tasks: Sequence[tuple[PreparedTask, str, BaseModel]],
    seeds: Sequence[int],
    *,
    home: Path,
    sandbox: str,
    executor: str = "local",
    limit: int | None = None,
    budgets: Sequence[Mapping[str, Any]] = ({},),
    backbones: Sequence[BackboneRef | None] = (None,),
    name: str = "",
    installs: Mapping[str, str] | None = None,
    image: str = "",
) -> BatchPlan:
    """Plan one run for each agent, task, base model, budget, backbone and seed; nothing is written.

    An agent that thinks with no language model runs once, however many backbones there are.

    Args:
        agents: with their parameters; the same agent several times where those differ.
        tasks: prepared data, name of the base model, the base model; a task once for each of its base models.
        seeds: each seed once.
        home: results directory, from which a task or base model that was named by its directory is found again.
        sandbox: backend name.
        executor: who drives the batch, now and when it is resumed.
        limit: a quick look at so many items.
        budgets: each laid over the tasks' own, as ``{"wall": "2h"}``.
        backbones: the language models agents think with.
        name: of the batch.
        installs: agent's name → digest of what it has installed.
        image: what tells the sandboxes' image from others, for backends that make them of one.

    Raises:
        UsageError: a budget or seed out of range, or named twice; a limit in what nothing measures.
        MissingError: an agent needs a backbone and none was named.
    """
    if not agents or not tasks or not seeds:
        raise UsageError("nothing to run", hint="name at least one --agent and one --task")
    refuse_doubles(agents, seeds, budgets, backbones)
    alone = len({model for _, model, _ in tasks}) == 1
    _refuse_doubles("task", [prepared.task.id + ("" if alone else f" with {model}") for prepared, model, _ in tasks])
    configs = [one.config for one in agents]
    models = Counter(prepared.task.id for prepared, _, _ in tasks)
    wanted = {(prepared.task.id, number): budget_of(prepared.task.dojo.profiles, prepared.task.id, prepared.profile, budget)
              for prepared, _, _ in tasks for number, budget in enumerate(budgets)}  # fmt: skip
    for backbone in backbones:
        check_minds(configs, wanted.values(), backbone)
    batch = new_id("b")
    told = budget_words(budgets)
    runs = []
    for prepared, model_name, base_model in tasks:
        config = prepared.task.dojo
        profile = profile_of(config.profiles, prepared.task.id, prepared.profile)
        for number, (place, backbone), one in product(range(len(budgets)), enumerate(backbones), agents):
            thinks = one.config.backbone != "none"
            if place and not thinks:
                continue
            shares(profile.limits, one.config)  # refuses what would leave its task's sandbox nothing
            setting: dict[str, Any] = {"base_model": model_word(model_name)} if models[prepared.task.id] > 1 else {}
            setting |= {"backbone": backbone_word(backbone)} if backbone and thinks and len(backbones) > 1 else {}
            several = {"base_model": models[prepared.task.id], "budget": len(budgets), "backbone": len(backbones)}
            for seed in seeds:
                runs.append(
                    RunSpec(
                        id=new_id("r"),
                        batch=batch,
                        agent=AgentRef(
                            config=one.config, digest=one.agent.digest, install=(installs or {}).get(one.agent.name, "")
                        ),
                        task=TaskRef(
                            id=prepared.task.id,
                            path=os.path.relpath(prepared.task.path, home) if prepared.task.by_path else None,
                            profile=prepared.profile,
                            digest=prepared.task.digest,
                            data_digest=prepared.digest,
                            hidden=prepared.hidden,
                        ),
                        base_model=_model_ref(model_name, base_model, home),
                        seed=seed,
                        budget=wanted[prepared.task.id, number],
                        limit=limit,
                        limits=profile.limits,
                        generation=profile.generation,
                        side=profile.side,
                        sandbox=sandbox,
                        backbone=backbone if thinks else None,
                        variant=f"{one.words} {words_of(setting | told[number])}".strip(),
                        varied=tuple(field for field in get_args(Varied) if several[field] > 1),
                        versions={**versions(), **({"image": image} if image else {})},
                    )
                )
    return BatchPlan(
        batch=batch,
        name=name,
        runs=tuple(runs),
        agents={one.agent.name: one.called for one in agents},
        warnings=(
            *_shadows([*(one.agent for one in agents), *(prepared.task for prepared, _, _ in tasks)]),
            *_warnings(runs, len(seeds)),
            *dict.fromkeys(warning for backbone in backbones for warning in _backbone_warnings(runs, backbone)),
        ),
        max_wall_s=sum(run.budget.wall for run in runs),
        max_dollars=worst_cost(runs),
        settings={"executor": executor},
    )


def _model_ref(name: str, model: BaseModel, home: Path) -> BaseModelRef:
    """Return how a run knows its base model: no absolute path is kept in a run, nor told to its agent."""
    if not is_path(name):
        return BaseModelRef(name=name, digest=model.digest)
    return BaseModelRef(name=model.name, path=os.path.relpath(model.path, home), digest=model.digest)


def refuse_doubles(
    agents: Sequence[Contender],
    seeds: Sequence[int] = (),
    budgets: Sequence[Mapping[str, Any]] = (),
    backbones: Sequence[BackboneRef | None] = (),
) -> None:
    """Refuse what stands in a matrix twice: its runs could not be told apart.

    Raises:
        UsageError: names it.
    """
    _refuse_doubles("agent", [one.shown for one in agents])
    folders = {one.agent.name: one.agent.path for one in agents}
    for one in agents:
        if one.agent.path != folders[one.agent.name]:
            raise UsageError(
                f"{one.agent.path} and {folders[one.agent.name]} both call their agent {one.agent.name}",
                hint="give one of them another folder and name",
            )
        refuse_strangers(one.agent)
    _refuse_doubles("seed", [str(seed) for seed in seeds])
    _refuse_doubles("budget", [", ".join(f"{name}={value}" for name, value in sorted(budget.items())) for budget in budgets])
    _refuse_doubles("backbone", [backbone.name for backbone in backbones if backbone])


def plan_again(specs: Sequence[RunSpec], name: str = "", executor: str = "local") -> BatchPlan:
    """Plan runs that were planned before once more, as they were: same agent, task, data, seed, budget, parameters.

    Args:
        specs: what was planned.
        name: of the new batch.
        executor: who drives it.

    Raises:
        UsageError: there are none.
    """
    if not specs:
        raise UsageError("nothing to run again", hint="`dojo status` shows how the runs ended")
    batch = new_id("b")
    runs = tuple(
        spec.model_copy(
            update={"id": new_id("r"), "batch": batch, "versions": _versions_again(spec), "created": datetime.now(UTC)}
        )
        for spec in specs
    )
    return BatchPlan(
        batch=batch,
        name=name,
        runs=runs,
        copies={run.id: spec.id for run, spec in zip(runs, specs, strict=True)},
        max_wall_s=sum(run.budget.wall for run in runs),
        max_dollars=worst_cost(runs),
        settings={"executor": executor},
    )


def record_plan(plan: BatchPlan, agents: Mapping[str, Agent], store: Store) -> None:
    """Write a plan down: run folders with a frozen copy of each agent, then the batch and its index rows.

    Args:
        plan: what to write down.
        agents: agent's name → its directory, for runs that are no copies of earlier ones.
        store: where.

    Raises:
        UsageError: an agent's directory has changed since the plan was made; nothing of the plan is left then.
        SpecError: it holds something else than plain files; likewise.
    """
    for spec in plan.runs:
        if spec.id not in plan.copies and agents[spec.agent.name].digest != spec.agent.digest:
            raise UsageError(f"agent {spec.agent.name} has changed since the plan was made", hint="plan again")
    try:
        for spec in plan.runs:
            run = store.run_dir(spec.batch, spec.id)
            RunDir.create(run.path, spec)
            if spec.id in plan.copies:
                copy_files(store.files(plan.copies[spec.id]).agent_dir, run.agent_dir)
            else:
                copy_agent(agents[spec.agent.name], run.agent_dir)
    except BaseException:
        for spec in plan.runs:  # half a batch would be found by who reads the folders
            shutil.rmtree(store.run_dir(spec.batch, spec.id).path, ignore_errors=True)
        raise
    store.add_batch(plan.batch, plan.name, plan.runs, plan.settings)


def _versions_again(spec: RunSpec) -> dict[str, str]:
    """Return the versions of a run that is repeated here; its image is looked for when its sandbox is made."""
    return {**versions(), **{name: value for name, value in spec.versions.items() if name == "image"}}


def versions() -> dict[str, str]:
    """Return the versions that a result depends on."""
    found = {"dojo": harness.__version__, "python": python_version()}
    for package in _RECORDED_PACKAGES:
        try:
            found[package.replace("-", "_")] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found


def _refuse_doubles(kind: str, names: Sequence[str]) -> None:
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise UsageError(f"{kind} {twice[0]} is named twice", hint=f"name each {kind} once; seeds repeat runs")


def budget_of(profiles: Mapping[ProfileName, ProfileSpec], task: str, profile: str, limits: Mapping[str, Any]) -> Budget:
    """Return the budget of a task's runs: the profile's own, with what was asked for laid over it.

    Raises:
        UsageError: there is no such profile, or what was asked for is no budget.
    """
    return profile_of(profiles, task, profile).budget.overlay(limits)


def check_minds(configs: Sequence[AgentConfig], budgets: Iterable[Budget], backbone: BackboneRef | None) -> None:
    """Refuse agents without the backbone that they require, and limits that nothing measures; nothing is fetched for it.

    Raises:
        MissingError: an agent needs a backbone and none was named.
        UsageError: a limit in what nothing measures.
    """
    for config in configs:
        _require_backbone(config, backbone)
    thinking = any(config.backbone != "none" for config in configs)
    for budget in budgets:
        _check_metered(budget, backbone if thinking else None)


def _check_metered(budget: Budget, backbone: BackboneRef | None) -> None:
    """Refuse limits in what nothing measures: a limit that cannot be reached is none."""
    limited = [name for name in ("tokens", "output_tokens", "requests", "dollars") if getattr(budget, name) is not None]
    if limited and backbone is None:
        raise UsageError(
            f"budget {limited[0]}: no agent here thinks with a backbone, so nothing is metered in {limited[0]}",
            hint="leave that dimension out, or name an agent with a backbone and --backbone NAME",
        )
    if backbone is not None and "dollars" in limited and backbone.prices is None:
        raise UsageError(
            f"budget dollars: nobody knows what {backbone.words} costs",
            hint=f"add prices to [backbones.{backbone.name}] in dojo.toml (docs/backbones.md), or limit tokens instead",
        )


def _require_backbone(config: AgentConfig, backbone: BackboneRef | None) -> None:
    if config.backbone == "required" and backbone is None:
        raise MissingError(
            f"agent {config.name} thinks with a language model, and none was named",
            hint="name one with --backbone; `dojo backbones list` shows which there are",
        )


def _backbone_warnings(runs: Sequence[RunSpec], backbone: BackboneRef | None) -> list[str]:
    if backbone is None:
        return []
    thinking = [run for run in runs if run.backbone == backbone]
    if not thinking:
        return [f"no agent here thinks with a backbone: {backbone.name} is not used"]
    if backbone.upstream == "manual":
        return [
            f"{backbone.name} is answered by hand: `dojo backbone answer RUN` while the runs go on, and their clocks with them"
        ]
    unlimited = any(all(getattr(run.budget, name) is None for name in ("dollars", "tokens", "output_tokens")) for run in thinking)
    if unlimited and backbone.upstream in ("openai", "anthropic", "google"):
        return [
            f"no limit on what agents spend at {backbone.words}; --budget dollars=5 (or tokens=2000000) sets one for each run"
        ]
    return []


def worst_cost(runs: Sequence[RunSpec]) -> float | None:
    """Return the dollars that the runs may cost at most at their backbones, or None where nothing bounds it."""
    total = 0.0
    for run in runs:
        if run.backbone is None or run.backbone.upstream in ("scripted", "manual", "replay"):
            continue
        bounds = [run.budget.dollars] if run.budget.dollars is not None else []
        prices = run.backbone.prices
        if run.budget.tokens is not None and prices is not None:
            dearest = max(filter(None, (prices.input, prices.output, prices.cached, prices.cache_write)), default=0.0)
            bounds.append(run.budget.tokens * dearest / 1e6)
        if not bounds:
            return None
        total += min(bounds)
    return total


def _shadows(chosen: Sequence[Agent | Task]) -> list[str]:
    return [f"{found.path} stands before dojo's own {found.shadows}" for found in chosen if found.shadows]


def _warnings(runs: Sequence[RunSpec], seeds: int) -> list[str]:
    found = []
    if seeds == 1:
        found.append("one seed: the result describes one model, not the agent; --seeds 3 or more lets agents be compared")
    if any(run.limits.gpus for run in runs):
        found.append("these runs need GPUs")
    return found
