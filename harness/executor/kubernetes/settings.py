"""What an operator decides about the Jobs that drive runs: environment variables, read when an executor is made."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Literal, Self

from pydantic import Field

from harness.sandbox.kubernetes.settings import refuse_bad_names
from harness.spec.base import Spec
from harness.spec.errors import UsageError
from harness.spec.variables import read

PREFIX = "DOJO_K8S_RUNNER_"
# who runs dojo in a pod that root submits: no pod of the level "restricted" is root's. The user `agent` of dojo's images.
_NOT_ROOT = 1000


class RunnerSettings(Spec):
    """Settings of the executor; each is called ``DOJO_K8S_RUNNER_`` and its name in capitals."""

    namespace: str = Field("dojo", description="where Jobs are made")
    account: str = Field("dojo-runner", description="their service account, which may make sandboxes and nothing else")
    home: str = Field(
        "dojo-home",
        description="volume with DOJO_HOME: CLAIM or CLAIM/FOLDER of a PersistentVolumeClaim, or an absolute path of the node",
    )
    cache: str = Field("dojo-cache", description="volume with DOJO_CACHE, likewise; the runners' user writes to it")
    database: str = Field("dojo-database", description="Secret whose key `url` is DOJO_DATABASE as pods reach it")
    variables: str = Field("", description="Secret whose keys are variables of runners, such as the keys of backbones")
    artefacts: str = Field(
        "dojo-artefacts",
        description="Secret whose keys are AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_ENDPOINT_URL …, for what DOJO_ARTEFACTS "
        "names; may be absent",
    )
    config: str = Field("", description="ConfigMap whose key `dojo.toml` is their dojo.toml, such as for [backbones.NAME]")
    user: int | None = Field(None, gt=0, description="number of the user they run as; empty: who submits, or 1000 for root")
    cpus: float = Field(0.1, gt=0, description="CPUs that one asks for; it may use more")
    memory_mb: int = Field(768, ge=128, description="memory that one asks for and may use, megabytes")
    priority_class: str = Field("dojo-measured", description="PriorityClass of their pods; empty: none")
    room: float = Field(
        7200.0, gt=0, description="seconds that an attempt may take beside its budget and its pods' waiting: preparing, grading"
    )
    starts: int = Field(3, ge=1, description="so many Jobs, one after the other, may die under one run")
    ttl: int = Field(86400, ge=0, description="seconds that a Job that is over is kept")
    pull: Literal["IfNotPresent", "Always", "Never"] = Field("IfNotPresent", description="imagePullPolicy")

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> Self:
        """Read them.

        Raises:
            UsageError: one has a value that it cannot have; names it.
        """
        found = read(cls, PREFIX, environment)
        refuse_bad_names(
            found, PREFIX, ("namespace", "account", "database", "variables", "artefacts", "config", "priority_class")
        )
        for name in ("home", "cache"):
            value = getattr(found, name)
            if not value.startswith("/") and not value.partition("/")[0]:
                raise UsageError(f"{PREFIX}{name.upper()}={value!r} names no claim", hint="CLAIM, CLAIM/FOLDER or /PATH")
        return found

    def runs_as(self) -> int:
        """Return the number of the user that runners run as."""
        return self.user or os.geteuid() or _NOT_ROOT
