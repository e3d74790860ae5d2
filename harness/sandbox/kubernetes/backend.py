"""The backend `kubernetes`: makes, finds and removes the pods in which sandboxes live."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import socket
import time
from collections.abc import Mapping
from typing import Any, ClassVar

from harness.sandbox import images
from harness.sandbox.base import Check, Sandbox, SandboxSpec
from harness.sandbox.bringing_up import attach_execd
from harness.sandbox.client import ExecdSandbox
from harness.sandbox.folder import from_json, refuse_bad_id
from harness.sandbox.host import Channel
from harness.sandbox.kubernetes import cluster, deaths, pod, queues, sharing, turns, waiting
from harness.sandbox.kubernetes.identity import new_credentials, pod_name, service_code
from harness.sandbox.kubernetes.link import Link
from harness.sandbox.kubernetes.relays import RelayEnds
from harness.sandbox.kubernetes.sending import send
from harness.sandbox.kubernetes.settings import Settings
from harness.sandbox.kubernetes.surroundings import api_ends
from harness.sandbox.this_host import check_spec
from harness.spec.errors import DojoError, NotFoundError, SandboxError, SandboxUnavailable
from harness.spec.outcome import Cause, Death

NAME = "kubernetes"
# how often a pod is looked at: soon at first, and seldom where it waits for its turn
_LOOK_EVERY_S, _LOOK_AT_LEAST_EVERY_S = 0.2, 5.0
_SOON_S = 15.0
# With 0 the API forgets a pod while its processes still run. The door goes at once when it is told to.
_GRACE_S = 1
# A kubelet tells of a container's end a second or two after it; on a node that is short of something later.
_TOLD_WITHIN_S = 15.0
# longer than a kubelet that lives is silent
_LOST_S = 120.0


class KubernetesBackend:
    """Creates, finds and destroys `kubernetes` sandboxes."""

    name = NAME
    elsewhere = True
    not_promised: ClassVar[Mapping[str, str]] = {
        "memory": "a pod's limit is that of commands and dojo's server together, and on control groups v2 all of it dies; a pod "
        "that ends so is its agent's own end (row 26)",
        "shared": "a pod shares no folder with the harness's host; what it is shown is sent into it and read-only",
        "interfaces": "a pod has a network interface, which a policy closes in both directions (row 24, reaches-the-cluster)",
    }

    def __init__(self, settings: Settings | None = None) -> None:
        """Make sandboxes by ``settings``; None: as the environment says each time."""
        self._settings = settings

    def check(self) -> list[Check]:
        """Say what the cluster gives."""
        from harness.sandbox.kubernetes.checks import checks

        return checks()

    def has_image(self, name: str, gpus: int) -> bool | None:
        """Whether the operator has named an image; which ones nodes have, or get from a registry, cannot be told from here."""
        return True if os.environ.get(images.reference_variable(name)) else None

    def create(self, spec: SandboxSpec) -> Sandbox:
        """Make a sandbox and wait until it answers; see `Backend.create`."""
        check_spec(spec)
        for mount in spec.mounts:
            if mount.writable:
                raise SandboxError(
                    f"{mount.target} is to be written to from a pod, which shares no folder with this host",
                    hint="use --sandbox docker or namespace for it",
                    code="bad_mount",
                )
        host = _Host(spec.id, self._settings)
        host.ask_for(spec)  # one that is there already is not ours to remove
        try:
            host.bring_up(spec)
            return attach_execd(spec, host)
        except BaseException:
            host.destroy()
            raise

    def attach(self, id: str) -> Sandbox:
        """Return the running sandbox ``id``; see `Backend.attach`."""
        host = _Host(id, self._settings)
        spec = host.spec()
        host.link_relays(spec)
        try:
            return attach_execd(spec, host)
        except BaseException:
            host.unlink()
            raise

    def list(self) -> list[str]:
        """Return the ids of this owner's pods, dead ones too, and of secrets without one; none where no cluster is set up."""
        settings = self._settings or Settings.from_environment()
        if not cluster.configured():
            return []
        core, mine = cluster.core(), f"{pod.OWNER_LABEL}={settings.owner_label()}"
        found: set[str] = set()
        for what, call in (("pods", core.list_namespaced_pod), ("secrets", core.list_namespaced_secret)):
            for page in cluster.pages(what, call, settings.namespace, mine, _SOON_S):
                found |= {item["metadata"]["annotations"][pod.ID_ANNOTATION] for item in page["items"]}
        return sorted(found)

    def destroy(self, id: str) -> None:
        """Remove ``id`` and all remains of it.

        Raises:
            MissingError, SandboxUnavailable: no cluster answers.
        """
        _Host(id, self._settings).destroy()

    def waiting(self) -> dict[str, str]:
        """Return why sandboxes wait that are asked for, by id, in the cluster's words; nothing where no cluster is set up.

        Raises:
            SandboxError, SandboxUnavailable: the cluster refuses, or does not answer.
        """
        if not cluster.configured():
            return {}
        return waiting.all_that_wait(self._settings or Settings.from_environment())


class _Host:
    """One sandbox in the cluster: its pod and its secret, which have one name, and what the pod is shown of it."""

    def __init__(self, id: str, settings: Settings | None = None) -> None:
        refuse_bad_id(id)
        self.id = id
        self.name = pod_name(id)
        self.settings = settings or Settings.from_environment()
        self.core = cluster.core()
        self._made: dict[str, Any] = {}
        self._link: Link | None = None
        self._relays: RelayEnds | None = None

    def ask_for(self, spec: SandboxSpec) -> None:
        """Make the secret, which takes the id.

        Raises:
            SandboxError: the id is taken (code ``exists``).
        """
        body = pod.secret(spec, self.settings, new_credentials(self.name), api_ends())
        make, namespace = self.core.create_namespaced_secret, self.settings.namespace
        made: Any = cluster.ask(f"making the secret of sandbox {spec.id!r}", make, namespace, body)
        self._made = self.core.api_client.sanitize_for_serialization(made)

    def bring_up(self, spec: SandboxSpec) -> None:
        """Make the pod, send what is shown in it, and wait until its main container answers.

        Raises:
            SandboxUnavailable: it gets no place, cannot start, or ended.
            MissingError: it was to share GPUs and does not see them (code ``gpus_not_shared``).
        """
        self._share_code()
        image = images.reference(spec.image, "cuda" if spec.limits.gpus else "cpu")
        shown = pod.shown_secret(self._made)
        what = f"making what the pod of sandbox {self.id!r} is shown of its secret"
        cluster.ask(what, self.core.create_namespaced_secret, self.settings.namespace, shown)
        holder = sharing.holder_of(spec, self.settings)
        body = pod.pod(spec, queues.named(self.settings), image, shown["metadata"]["name"], holder)
        self._ask_for_pod(body, spec.gives_way)
        self._await_door(pod.FILL, spec.gives_way)
        sandbox = ExecdSandbox(spec, self)
        for number, mount in enumerate(spec.mounts):
            send(sandbox, mount, f"{pod.ASSETS}/{number}")
        sandbox.disconnect()
        with self.link().connect("end") as sock:
            sock.recv(1)
        try:
            self._await_door(pod.MAIN)
        except SandboxUnavailable as exc:
            if holder is None or sharing.VARIABLE not in exc.message:
                raise
            raise sharing.not_shared(self.id, holder, exc.message) from exc  # some runtimes start no pod that names cards
        if holder is not None:
            sharing.require_cards(sandbox, holder)
        elif sharing.wanted(spec, self.settings):
            cards = sharing.kept(shown, sharing.cards_of(sandbox))
            what = f"keeping which cards the pod of sandbox {self.id!r} has"
            cluster.ask(what, self.core.create_namespaced_secret, self.settings.namespace, cards)
        sandbox.disconnect()
        self.link_relays(spec)

    def _ask_for_pod(self, body: dict[str, Any], gives_way: bool) -> None:
        """Make the pod; while the namespace's quota has no room for it, wait as for a node.

        Raises:
            SandboxUnavailable: it had none in time, or gives way.
        """
        begun = time.monotonic()
        while True:
            try:
                cluster.ask(
                    f"making the pod of sandbox {self.id!r}", self.core.create_namespaced_pod, self.settings.namespace, body
                )
                return
            except SandboxError as exc:
                if exc.code != "quota":
                    raise
                if time.monotonic() - begun > self.settings.wait:
                    death = Death(Cause.SCHEDULING, exc.message)
                    raise SandboxUnavailable(exc.message, hint=exc.hint, death=death) from exc
                if gives_way:
                    turns.give_way_to_older(self.id, self.settings, begun, exc.message)
            time.sleep(_LOOK_AT_LEAST_EVERY_S)

    def spec(self) -> SandboxSpec:
        """Return the specification that its secret keeps.

        Raises:
            SandboxUnavailable: there is no such sandbox.
        """
        try:
            return from_json(json.loads(self._secret()["spec.json"]))
        except NotFoundError:
            text = f"there is no sandbox {self.id!r} in the cluster"
            raise SandboxUnavailable(text, hint="it was destroyed, or never made", death=Death(Cause.SANDBOX, text)) from None

    def _secret(self) -> dict[str, str]:
        found: Any = cluster.ask(
            f"reading the secret of {self.id!r}", self.core.read_namespaced_secret, self.name, self.settings.namespace
        )
        return {name: base64.b64decode(value).decode() for name, value in found.data.items()}

    def link(self) -> Link:
        """Return the way to its door.

        Raises:
            OSError: its pod has no address.
        """
        if self._link is None:
            found = self.pod_now()
            address = ((found or {}).get("status") or {}).get("podIP", "")
            if not address:
                raise ConnectionRefusedError(f"the pod {self.name} has no address")
            kept = self._secret()
            self._link = Link(address, kept["cert.pem"], kept["token"])
        return self._link

    def link_relays(self, spec: SandboxSpec) -> None:
        """Begin to wait at its door for who connects to a relay inside."""
        with contextlib.suppress(OSError, NotFoundError):
            self._relays = RelayEnds(self.link(), spec.relays)
            self._relays.start()

    def unlink(self) -> None:
        """Leave its door."""
        if self._relays is not None:
            self._relays.stop()

    def pod_now(self) -> dict[str, Any] | None:
        """Return the pod as the API gives it; None if there is none."""
        try:
            found = cluster.ask(
                f"looking at the pod {self.name}", self.core.read_namespaced_pod, self.name, self.settings.namespace
            )
        except NotFoundError:
            return None
        whole: dict[str, Any] = self.core.api_client.sanitize_for_serialization(found)
        return whole

    def connect(self, channel: Channel) -> socket.socket:
        """Open a connection to execd."""
        try:
            return self.link().connect(channel)
        except DojoError as exc:
            raise ConnectionRefusedError(exc.message) from exc

    def cause_of_death(self) -> Death:
        """Return what the cluster knows about why it does not answer."""
        try:
            begun = time.monotonic()
            while deaths.still_runs(found := self.pod_now()) and time.monotonic() - begun < _TOLD_WITHIN_S:
                time.sleep(_LOOK_EVERY_S)
            if found is None and self._gone():
                return Death(Cause.SANDBOX, "it was destroyed")
            return deaths.death_of(found)
        except DojoError as exc:
            return Death(Cause.SANDBOX, exc.message)

    def _gone(self) -> bool:
        """Whether its secret is gone too, which nobody but us removes."""
        try:
            self._secret()
        except NotFoundError:
            return True
        return False

    def measured(self) -> tuple[float | None, float | None, int]:
        """Nothing is counted outside: the kubelet's figures come once in ten seconds."""
        return None, None, 0

    def destroy(self) -> None:
        """Remove its pod, wait until that is gone, and its secret, which holds the id until then."""
        self.unlink()
        namespace = self.settings.namespace
        self._delete_pod(_GRACE_S)
        begun, forced = time.monotonic(), False
        while self.pod_now() is not None:
            waited = time.monotonic() - begun
            if waited > _LOST_S and not forced:
                self._delete_pod(0)  # its kubelet says nothing: the node is lost, and with it what ran there
                forced = True
            if waited > 2 * _LOST_S:
                raise SandboxError(
                    f"the pod {self.name} does not go away", hint=f"kubectl describe pod {self.name} -n {namespace}"
                )
            time.sleep(_LOOK_EVERY_S / 4)
        with contextlib.suppress(NotFoundError):
            cluster.ask(f"removing the secret {self.name}", self.core.delete_namespaced_secret, self.name, namespace)

    def _delete_pod(self, grace_s: int) -> None:
        delete = self.core.delete_namespaced_pod
        with contextlib.suppress(NotFoundError):
            cluster.ask(f"removing the pod {self.name}", delete, self.name, self.settings.namespace, grace_period_seconds=grace_s)

    def _share_code(self) -> None:
        """Put execd's code into the namespace, unless it is there."""
        body = pod.service_map(service_code())
        try:
            cluster.ask("sharing execd's code", self.core.create_namespaced_config_map, self.settings.namespace, body)
        except SandboxError as exc:
            if exc.code != "exists":
                raise

    def _await_door(self, stage: str, gives_way: bool = False) -> None:
        """Wait until a stage's execd answers.

        Raises:
            SandboxUnavailable: no place, no image, or the pod ended; or it gives way while it waits for a place.
        """
        begun, placed = time.monotonic(), None
        while True:
            found = self.pod_now()
            if found is not None and _runs(found, stage):
                with contextlib.suppress(OSError):
                    self.link().connect("control").close()
                    return
            waits = found is not None and deaths.waiting_for_a_place(found)
            now = time.monotonic()
            placed = placed if waits else placed or now
            over = now - begun > self.settings.wait if placed is None else now - placed > self.settings.start
            if over or found is None or _is_over(found) or deaths.cannot_start(found):
                death = deaths.death_of(found)
                raise SandboxUnavailable(
                    f"the sandbox {self.id!r} did not come up: {death.text}", hint="`dojo doctor k8s`", death=death
                )
            if waits and gives_way:
                turns.give_way_to_older(self.id, self.settings, begun, waits)
            time.sleep(min(max(_LOOK_EVERY_S, (now - begun) / 30), _LOOK_AT_LEAST_EVERY_S))


def pod_of(sandbox: Sandbox) -> dict[str, Any]:
    """Return the pod that a sandbox of this backend is, as the API gives it.

    Raises:
        SandboxUnavailable: it is gone.
    """
    found = _Host(sandbox.spec.id).pod_now()
    if found is None:
        raise SandboxUnavailable(f"the pod of the sandbox {sandbox.spec.id!r} is gone", hint="make a new one")
    return found


def _runs(found: dict[str, Any], stage: str) -> bool:
    return any(c["name"] == stage and "running" in (c.get("state") or {}) for c in deaths.containers(found.get("status") or {}))


def _is_over(found: dict[str, Any]) -> bool:
    ended = (found.get("status") or {}).get("phase") in ("Failed", "Succeeded")
    return ended or bool((found.get("metadata") or {}).get("deletionTimestamp"))
