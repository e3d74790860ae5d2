"""RunSpec: everything that was decided before a run started, frozen, with digests."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Literal

from pydantic import Field

from harness.spec.agent import AgentConfig, shares
from harness.spec.backbone import BackboneRef
from harness.spec.base import Spec
from harness.spec.budget import Budget
from harness.spec.task import Generation, Limits

PUBLIC_HIDDEN = "public"
"""A hidden split that anybody can make: its items were drawn by a seed that everybody knows."""

GIVEN_HIDDEN = "given"
"""A hidden split that nothing was drawn for: it is part of a test set that somebody published."""

Varied = Literal["base_model", "budget", "backbone"]
"""Parts of a run's setting in which the variants of one batch may differ."""


class AgentRef(Spec):
    """Which agent: its configuration, the SHA-256 of its directory, and the digest of what it has installed ("": nothing)."""

    config: AgentConfig
    digest: str
    install: str = ""

    @property
    def name(self) -> str:
        """The agent's name."""
        return self.config.name


class TaskRef(Spec):
    """Which task with which data: digests of the task directory and of the prepared data."""

    id: str
    path: str | None = Field(None, description="its directory from the results directory, where it was named by that, not by id")
    profile: str
    digest: str
    data_digest: str
    hidden: str = Field(
        PUBLIC_HIDDEN,
        description='digest of the secret that the hidden split was drawn with; "public": anybody can make it, as before there '
        'were secrets; "given": part of a published test set',
    )


class BaseModelRef(Spec):
    """Which base model: name and SHA-256 of its manifest."""

    name: str = Field(description="as it is known; of one that was named by its directory the directory's name")
    path: str | None = Field(None, description="its directory from the results directory, where it was named by that")
    digest: str


class RunSpec(Spec):
    """One agent on one task with one seed."""

    id: str
    batch: str
    agent: AgentRef
    task: TaskRef
    base_model: BaseModelRef
    seed: int = Field(ge=0)
    budget: Budget
    limits: Limits
    generation: Generation
    sandbox: str = Field(description="backend name")
    backbone: BackboneRef | None = None
    limit: int | None = Field(
        None, gt=0, description="a quick look: only the first N hidden and dev items; such a run is never compared or ranked"
    )
    side: tuple[str, ...] = Field((), description="side evaluations that its grade is followed by; they are never ranked")
    variant: str = Field("", description="what tells its agent apart from that agent as it comes, as `feedback=false`")
    varied: tuple[Varied, ...] = Field((), description="parts of its setting that the variant names, as its batch has several")
    versions: dict[str, str] = Field(default_factory=dict, description="dojo, python, torch, transformers, lm_eval …")
    created: datetime = Field(default_factory=lambda: datetime.now(UTC))

    @property
    def shares(self) -> dict[str, Limits]:
        """What each sandbox of the agent may use, by its role (task, agent): together ``limits``."""
        return shares(self.limits, self.agent.config)

    @property
    def shown(self) -> str:
        """The agent's name with what tells the variant apart: ``ft_agent feedback=false``."""
        return f"{self.agent.name} {self.variant}".strip()
