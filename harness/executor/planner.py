"""From what was asked to frozen runs: the matrix agents × tasks × seeds, with everything checked that can be checked."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from platform import python_version

from pydantic import Field, ValidationError

import harness
from harness.assets.agent_dir import Agent, copy_agent, refuse_links
from harness.assets.base_models import BaseModel
from harness.assets.prepare import PreparedTask
from harness.assets.task_dir import Task
from harness.spec.agent import AgentConfig
from harness.spec.backbone import BackboneRef
from harness.spec.base import Spec
from harness.spec.budget import Budget
from harness.spec.errors import MissingError, UsageError
from harness.spec.run import AgentRef, BaseModelRef, RunSpec, TaskRef
from harness.spec.task import ProfileName, ProfileSpec
from harness.spec.toml import describe
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
    agents: Sequence[tuple[str, Agent]],
    tasks: Sequence[tuple[PreparedTask, str, BaseModel]],
    seeds: Sequence[int],
    *,
    home: Path,
    executor: str = "local",
    limit: int | None = None,
    sandbox: str,
    budget: str | None = None,
    backbone: BackboneRef | None = None,
    name: str = "",
    agent_params: Mapping[str, str] | None = None,
    installs: Mapping[str, str] | None = None,
    image: str = "",
) -> BatchPlan:
    """Plan one run for each agent, task and seed; nothing is written.

    Args:
        agents: what each was called, and the agent.
        tasks: prepared data, name of the base model, the base model.
        seeds: each seed once.
        home: results directory, from which a task that was named by its directory is found again.
        executor: who drives the batch, now and when it is resumed.
        limit: a quick look at so many items.
        sandbox: backend name.
        budget: laid over the tasks' own, as ``wall=2h,evaluations=5``.
        backbone: the language model agents think with.
        name: of the batch.
        agent_params: parameters for all agents.
        installs: agent's name → digest of what it has installed.
        image: what tells the sandboxes' image from others, for backends that make them of one.

    Raises:
        UsageError: a budget, parameter or seed out of range, or named twice; a limit in what nothing measures.
        MissingError: an agent needs a backbone and none was named.
    """
    if not agents or not tasks or not seeds:
        raise UsageError("nothing to run", hint="name at least one --agent and one --task")
    _refuse_doubles("agent", [agent.name for _, agent in agents])
    _refuse_doubles("task", [prepared.task.id for prepared, _, _ in tasks])
    _refuse_doubles("seed", [str(seed) for seed in seeds])
    configs = [agent.config for _, agent in agents]
    budgets = {
        prepared.task.id: budget_of(prepared.task.dojo.profiles, prepared.task.id, prepared.profile, budget)
        for prepared, _, _ in tasks
    }
    check_minds(configs, budgets.values(), backbone)
    batch = new_id("b")
    runs = []
    for prepared, model_name, base_model in tasks:
        config = prepared.task.dojo
        profile = profile_of(config.profiles, prepared.task.id, prepared.profile)
        budget_of_run = budgets[prepared.task.id]
        for _, agent in agents:
            refuse_links(agent)
            configured = _with_params(agent.config, agent_params or {})
            for seed in seeds:
                runs.append(
                    RunSpec(
                        id=new_id("r"),
                        batch=batch,
                        agent=AgentRef(config=configured, digest=agent.digest, install=(installs or {}).get(agent.name, "")),
                        task=TaskRef(
                            id=prepared.task.id,
                            path=os.path.relpath(prepared.task.path, home) if prepared.task.by_path else None,
                            profile=prepared.profile,
                            digest=prepared.task.digest,
                            data_digest=prepared.digest,
                        ),
                        base_model=BaseModelRef(name=model_name, digest=base_model.digest),
                        seed=seed,
                        budget=budget_of_run,
                        limit=limit,
                        limits=profile.limits,
                        generation=profile.generation,
                        sandbox=sandbox,
                        backbone=backbone if agent.config.backbone != "none" else None,
                        versions={**versions(), **({"image": image} if image else {})},
                    )
                )
    return BatchPlan(
        batch=batch,
        name=name,
        runs=tuple(runs),
        agents={agent.name: called for called, agent in agents},
        warnings=(
            *_shadows([*(agent for _, agent in agents), *(prepared.task for prepared, _, _ in tasks)]),
            *_warnings(runs, len(seeds)),
            *_backbone_warnings(runs, backbone),
        ),
        max_wall_s=sum(run.budget.wall for run in runs),
        max_dollars=worst_cost(runs),
        settings={"executor": executor},
    )


def plan_again(specs: Sequence[RunSpec], name: str = "") -> BatchPlan:
    """Plan runs that were planned before once more, as they were: same agent, task, data, seed, budget, parameters.

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
    )


def record_plan(plan: BatchPlan, agents: Mapping[str, Agent], store: Store) -> None:
    """Write a plan down: run folders with a frozen copy of each agent, then the batch and its index rows.

    Args:
        plan: what to write down.
        agents: agent's name → its directory, for runs that are no copies of earlier ones.
        store: where.

    Raises:
        UsageError: an agent's directory has changed since the plan was made.
    """
    for spec in plan.runs:
        if spec.id not in plan.copies and agents[spec.agent.name].digest != spec.agent.digest:
            raise UsageError(f"agent {spec.agent.name} has changed since the plan was made", hint="plan again")
    for spec in plan.runs:
        run = store.run_dir(spec.batch, spec.id)
        RunDir.create(run.path, spec)
        if spec.id in plan.copies:
            shutil.copytree(store.files(plan.copies[spec.id]).agent_dir, run.agent_dir)
        else:
            copy_agent(agents[spec.agent.name], run.agent_dir)
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
        raise UsageError(f"{kind} {twice[0]} is named twice", hint=f"name each {kind} once; --seeds N repeats runs")


def budget_of(profiles: Mapping[ProfileName, ProfileSpec], task: str, profile: str, override: str | None) -> Budget:
    """Return the budget of a task's runs: the profile's own, with what was asked for laid over it.

    Raises:
        UsageError: there is no such profile, or what was asked for is no budget.
    """
    own = profile_of(profiles, task, profile).budget
    return own.override(override) if override else own


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
    thinking = [run for run in runs if run.backbone is not None]
    if not thinking:
        return [f"no agent here thinks with a backbone: {backbone.name} is not used"]
    if backbone.upstream == "manual":
        return [
            f"{backbone.name} is answered by hand: `dojo backbone answer RUN` while the runs go on, and their clocks with them"
        ]
    unlimited = all(getattr(thinking[0].budget, name) is None for name in ("dollars", "tokens", "output_tokens"))
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


def _with_params(config: AgentConfig, given: Mapping[str, str]) -> AgentConfig:
    unknown = [name for name in given if name not in config.params]
    if unknown:
        known = ", ".join(sorted(config.params)) or "none"
        raise UsageError(f"agent {config.name} has no parameter {unknown[0]!r}", hint=f"its parameters: {known}")
    changed: dict[str, object] = {}
    for name, text in given.items():
        kind = type(config.params[name])
        try:
            changed[name] = text.lower() in ("1", "true", "yes") if kind is bool else kind(text)
        except ValueError as exc:
            raise UsageError(f"parameter {name}={text!r} is no {kind.__name__}", hint=f"default: {config.params[name]}") from exc
    try:
        return AgentConfig.model_validate({**config.model_dump(), "params": {**config.params, **changed}})
    except ValidationError as exc:
        raise UsageError(describe(exc), hint=f"see the agent.toml of {config.name}") from exc


def _shadows(chosen: Sequence[Agent | Task]) -> list[str]:
    return [f"{found.path} stands before dojo's own {found.shadows}" for found in chosen if found.shadows]


def _warnings(runs: Sequence[RunSpec], seeds: int) -> list[str]:
    found = []
    if seeds == 1:
        found.append("one seed: the result describes one model, not the agent; --seeds 3 or more lets agents be compared")
    if any(run.limits.gpus for run in runs):
        found.append("these runs need GPUs")
    return found
