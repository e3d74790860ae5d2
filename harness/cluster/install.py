"""`dojo cluster install`: an overlay of `k8s/` put into a cluster, as often as one likes, until everything is ready."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from harness.cluster import database, objects
from harness.cluster.choices import SETTINGS, carry_out
from harness.cluster.kustomize import Object, identity, render
from harness.cluster.ready import wait_until_ready
from harness.project import bundled
from harness.spec.errors import MissingError, NotFoundError
from harness.spec.progress import Progress

NAMESPACE = "dojo"
# what of an installation has changed when a pod has to be made anew, though its own text has not
_RESTART = "org.dojo/depends-on"
# no overlays: parts of them, and things of other tools
_PARTS = frozenset({"base", "service", "postgres", "kueue", "gateway"})


@dataclass(frozen=True)
class Step:
    """What became of one object.

    Attributes:
        did: ``created``, ``changed``, ``unchanged``; ``removed`` or ``kept`` by `uninstall`; ``left`` where an earlier
            installation made it and this overlay does not have it.
    """

    kind: str
    namespace: str
    name: str
    did: str


@dataclass(frozen=True)
class Plan:
    """What is to be installed.

    Attributes:
        overlay: a folder of `k8s/`.
        chosen: settings, by name (`choices.parse`).
        database: address of a PostgreSQL database, as pods reach it.
        with_postgres: bring one along.
    """

    overlay: str = "single-node"
    chosen: Mapping[str, str] = field(default_factory=dict)
    database: str | None = None
    with_postgres: bool = False


def overlays() -> list[str]:
    """Return the names of the overlays."""
    found = (path.parent.name for path in bundled("k8s").glob("*/kustomization.yaml"))
    return sorted(name for name in found if name not in _PARTS)


def rendered(plan: Plan) -> list[Object]:
    """Return the objects of a plan in the order in which they are made, without Secrets.

    Raises:
        NotFoundError: no such overlay.
        UsageError, SpecError: a choice is about nothing, or a file is not understood.
    """
    if plan.overlay not in overlays():
        raise NotFoundError.named("overlay", plan.overlay, overlays())
    folder = bundled("k8s") / plan.overlay
    found = render(folder)
    if plan.with_postgres:
        found += render(_postgres(folder))
    carry_out(found, plan.chosen)
    for body in found:
        body["metadata"].setdefault("labels", {})[objects.LABEL] = "cluster"
    return objects.ordered(found)


def _postgres(folder: Path) -> Path:
    own = folder / "postgres"
    return own if own.is_dir() else folder.parent / "postgres"


def install(plan: Plan, say: Progress, *, dry: bool = False, patience_s: float = 600.0) -> list[Step]:
    """Put a plan's objects into the cluster and wait until they are ready; done again it changes what is different.

    Args:
        plan: what.
        say: told what happens, an object a line.
        dry: say what would be done; the cluster checks what it can and keeps nothing.
        patience_s: how long to wait until pods are ready.

    Returns:
        What became of each object, those too that an earlier installation left.

    Raises:
        NotFoundError, UsageError: see `rendered`.
        MissingError: nothing says where the database is, or the cluster lacks a kind (Kueue).
        SandboxError, SandboxUnavailable: the cluster refuses, or does not answer.
    """
    # what is wrong with the plan is said before any cluster is asked
    bodies = rendered(plan)
    database.require_postgres(plan.database)
    if not plan.with_postgres and plan.database is None and objects.read("StatefulSet", NAMESPACE, database.POSTGRES):
        plan = Plan(plan.overlay, plan.chosen, None, True)  # it came with an earlier installation, and its data are in use
        bodies = rendered(plan)
    if any(body["kind"] == "ClusterQueue" for body in bodies):
        _require_kueue()
    return _dry(plan, bodies) if dry else _Installing(plan, say, patience_s).all(bodies)


class _Installing:
    def __init__(self, plan: Plan, say: Progress, patience_s: float) -> None:
        self._plan, self._say, self._patience_s = plan, say, patience_s
        self._steps: list[Step] = []

    def all(self, bodies: list[Object]) -> list[Step]:
        secrets_of: list[Object] = []
        for body in bodies:
            if body["kind"] in ("StatefulSet", "Deployment") and not secrets_of:
                secrets_of = self._secrets()
            if body["kind"] == "Deployment":  # a service without its database would fail, and be tried again ever later
                wait_until_ready([b for b in bodies if b["kind"] == "StatefulSet"], self._say, self._patience_s)
            if body["kind"] == "Deployment" and body["metadata"]["name"] == SETTINGS:
                _restart_with(body, [b for b in bodies if b["kind"] == "ConfigMap"], secrets_of)
            self._apply(body)
        wait_until_ready(bodies, self._say, self._patience_s)
        mine = {identity(body) for body in (*bodies, *secrets_of)}
        self._steps += [
            Step(*identity(there), "left")
            for kind in objects.KINDS
            for there in objects.installed(kind)
            if identity(there) not in mine and kind != "Secret"
        ]
        return self._steps

    def _secrets(self) -> list[Object]:
        """Make the Secrets; return them as they stand in the cluster, without their values."""
        own = None
        if self._plan.with_postgres:
            made = database.password(NAMESPACE)
            own = database.value_of(made, "password")
            self._apply(_labelled(made))
        where = database.address(NAMESPACE, self._plan.database, own)
        if where is not None:
            self._apply(_labelled(where))
        found = [objects.read(step.kind, step.namespace, step.name) for step in self._steps if step.kind == "Secret"]
        return [{**secret, "data": {}} for secret in found if secret]

    def _apply(self, body: Object) -> None:
        step = Step(*identity(body), objects.apply(body))
        self._say(f"{step.did:<9}  {step.kind} {step.name}{f' in {step.namespace}' if step.namespace else ''}")
        self._steps.append(step)


def _restart_with(body: Object, settings: list[Object], secrets_of: list[Object]) -> None:
    """Write into a workload's pods what they depend on, so that a change of it makes them anew."""
    said = [{"name": each["metadata"]["name"], "data": each["data"]} for each in settings]
    versions = [[each["metadata"]["name"], each["metadata"]["resourceVersion"]] for each in secrets_of]
    digest = hashlib.sha256(json.dumps([said, versions], sort_keys=True).encode()).hexdigest()
    body["spec"]["template"]["metadata"].setdefault("annotations", {})[_RESTART] = digest[:16]


def _labelled(body: Object) -> Object:
    body["metadata"]["labels"] = {objects.LABEL: "cluster"}
    return body


def _dry(plan: Plan, bodies: list[Object]) -> list[Step]:
    """Ask the cluster what it would do with each object; what lies in a namespace that is not there yet would be created."""
    if not plan.with_postgres:
        database.address(NAMESPACE, plan.database, None)
    missing = {
        body["metadata"]["name"] for body in bodies if body["kind"] == "Namespace" and objects.read(*identity(body)) is None
    }
    steps = []
    for body in bodies:
        did = "created" if body["metadata"].get("namespace") in missing else objects.apply(body, dry=True)
        steps.append(Step(*identity(body), did))
    return steps


def _require_kueue() -> None:
    """Refuse an overlay with queues where there is no Kueue, before anything is made.

    Raises:
        MissingError: the cluster does not serve Kueue's kinds.
    """
    if not objects.served("ClusterQueue"):
        raise MissingError(
            "this overlay has queues, and the cluster has no Kueue that serves kueue.x-k8s.io/v1beta2",
            hint="install Kueue first (https://kueue.sigs.k8s.io), or take an overlay without it",
        )
