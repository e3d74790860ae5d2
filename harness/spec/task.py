"""task.toml: a Harbor task with everything of ours under ``[metadata.dojo]``."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from harness.spec.base import Spec
from harness.spec.budget import Budget
from harness.spec.engine import EngineWish
from harness.spec.errors import SpecError
from harness.spec.toml import read_toml

FOREIGN = "foreign_task"
"""Code of the error about a task of Harbor's that dojo cannot run: nothing is wrong with it."""

ProfileName = Literal["full", "mini", "strict"]
"""Which data and base model: the paper's, small ones, or the paper's with a larger hidden split that shares nothing."""


class Limits(Spec):
    """What a sandbox may use. Hard limits, enforced by the backend."""

    cpus: float = Field(1.0, gt=0, le=1024)
    memory_mb: int = Field(4096, ge=64)
    pids: int = Field(512, ge=8)
    disk_mb: int = Field(4096, ge=16, description="megabytes the sandbox's writable places may hold together")
    gpus: int = Field(0, ge=0)
    open_files: int = Field(4096, ge=64)


class MetricSpec(Spec):
    """The primary metric: what agents are told and leaderboards show."""

    name: str
    description: str
    higher_is_better: Literal[True] = True


class SubsetSpec(Spec):
    """One sub-set of the benchmark and its own metric."""

    name: str
    metric: str
    description: str = ""


class Generation(Spec):
    """How the grader generates: greedy, base model's template, zero-shot unless said."""

    max_new_tokens: int = Field(8192, gt=0)
    max_context: int = Field(32768, gt=0)
    fewshot: int = Field(0, ge=0, description="worked examples shown before each item")
    batch_size: int = Field(32, gt=0)
    engine: EngineWish = Field(
        "auto",
        description="what computes the answers; auto: vllm where the grader has a GPU and vLLM is there, else transformers",
    )


class Sizes(Spec):
    """How many rows a profile's data has; ``sources`` before decontamination."""

    dev: int = Field(gt=0)
    hidden: int = Field(gt=0)
    sources: int = Field(ge=0)


class ProfileSpec(Spec):
    """Data, base model, budget and limits for one profile of a task."""

    base_model: str
    budget: Budget
    limits: Limits = Limits()
    generation: Generation = Generation()
    description: str = ""
    side: tuple[str, ...] = Field(
        (), description="side evaluations that every grade is followed by, reported and never ranked; `dojo grade RUN --side`"
    )
    sizes: Sizes | None = Field(None, description="rows of the data, told before it is prepared; `dojo tasks check` compares")


class UpstreamRecord(Spec):
    """``admission/upstream.toml``: what was done with the real data set of the profiles that read one, and what was not."""

    tried: tuple[str, ...] = ()
    not_tried: tuple[str, ...] = ()

    @property
    def words(self) -> str:
        """The record in one line."""
        return f"tried: {'; '.join(self.tried) or 'nothing'}. Not tried: {'; '.join(self.not_tried) or 'nothing is left'}"


class DojoTask(Spec):
    """``[metadata.dojo]``: what makes a Harbor task a dojo task."""

    title: str
    summary: str
    version: str = "1"
    metric: MetricSpec
    subsets: tuple[SubsetSpec, ...] = Field(min_length=1)
    answer_format: str = Field(description="what an answer looks like; shown to agents, tested against the extractor")
    licence: str = ""
    submission_policy: Literal["last", "best_on_dev"] = "last"
    show_dev_answers: bool = Field(True, description="whether sampled errors carry the gold answer")
    train_on_dev: bool = Field(
        False, description="whether agents may train on what they are shown of the dev split; said in every goal"
    )
    max_train_samples: int = Field(2000, gt=0, description="rule of the benchmark for the training set an agent makes")
    backbone_grants: tuple[str, ...] = Field(
        (),
        description="powers at the backbone's provider that agents may use, as their refusal calls them: web search, files",
    )
    known_issues: dict[str, str] = Field(
        default_factory=dict, description="rule of `dojo tasks check` that this task breaks → why; shown beside its record"
    )
    profiles: dict[ProfileName, ProfileSpec] = Field(min_length=1)

    @model_validator(mode="after")
    def _subsets_unique(self) -> Self:
        names = [s.name for s in self.subsets]
        if len(set(names)) != len(names):
            raise ValueError("sub-set names must differ")
        return self


class Metadata(BaseModel):
    """Harbor's free metadata with our table in it."""

    model_config = ConfigDict(frozen=True, extra="allow")
    dojo: DojoTask


class TaskConfig(BaseModel):
    """A whole ``task.toml``; Harbor's own tables are kept as they are and checked by Harbor's lint."""

    model_config = ConfigDict(frozen=True, extra="allow")
    schema_version: str = "1.4"
    metadata: Metadata
    task: dict[str, Any] = Field(default_factory=dict)
    agent: dict[str, Any] = Field(default_factory=dict)
    verifier: dict[str, Any] = Field(default_factory=dict)
    environment: dict[str, Any] = Field(default_factory=dict)
    solution: dict[str, Any] = Field(default_factory=dict)


def load_task_config(path: Path) -> TaskConfig:
    """Read a ``task.toml``.

    Raises:
        SpecError: it is no TOML or breaks the schema; names file, field and value.
    """
    try:
        return read_toml(path, TaskConfig)
    except SpecError as exc:
        found = exc.__cause__.errors() if isinstance(exc.__cause__, ValidationError) else []
        if any(err["type"] == "missing" and err["loc"] in (("metadata",), ("metadata", "dojo")) for err in found):
            raise SpecError(
                f"{path}: has no [metadata.dojo]: a task of Harbor's, and none of dojo's",
                hint="docs/write-a-task.md tells what dojo needs there; leave the folder out of DOJO_TASKS otherwise",
                code=FOREIGN,
            ) from exc
        raise
