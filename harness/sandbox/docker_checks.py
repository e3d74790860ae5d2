"""What the backend `docker` needs, and what it finds on this host: `dojo doctor docker`."""

from __future__ import annotations

import os
from typing import Any

from harness.sandbox import cgroups, engine, images
from harness.sandbox.base import Check
from harness.sandbox.host_disk import disk_kind
from harness.spec.errors import DojoError

_OLDEST = (20, 10)
_VLLM = "grader-vllm"
_WITHOUT_VLLM = f"not built; graders that generate with vLLM need it: dojo images build {_VLLM}"


def checks() -> list[Check]:
    """Look at the engine; a missing one is the only line then."""
    try:
        found = engine.facts()
    except DojoError as exc:
        return [Check("engine", False, exc.message, exc.hint)]
    return [_version(found), _users(found), _limits(), _disk(), _live_restore(found), *_images(), _runtimes(found)]


def _version(found: dict[str, Any]) -> Check:
    version = str(found.get("ServerVersion", "?"))
    numbers = tuple(int(part) for part in version.split("+")[0].split(".")[:2] if part.isdigit())
    detail = f"Docker {version}, {found.get('Driver')}, control groups {found.get('CgroupVersion', '1')}"
    return Check("engine", numbers >= _OLDEST, detail, "install Docker 20.10 or newer")


def _users(found: dict[str, Any]) -> Check:
    names = engine.security(found)
    if "userns" in names:
        remedy = "start the engine without userns-remap for dojo, or use --sandbox namespace"
        return Check(
            "users", False, "the engine maps root of containers to another user, who cannot read a sandbox's folder", remedy
        )
    if "rootless" in names:
        return Check("users", True, "rootless: root inside a container is you")
    filters = ", ".join(sorted(names & {"apparmor", "seccomp", "selinux"})) or "no filter of its own named"
    return Check("users", True, f"containers' root has eight capabilities, commands none; the engine adds: {filters}")


def _limits() -> Check:
    if os.geteuid() == 0 and not cgroups.find_hierarchies().missing:
        return Check("limits", True, "control groups of the commands alone, and the container's own a little above")
    detail = (
        "the container's own only: they hold for commands and for dojo's server inside together, so while an agent has "
        "reached its process limit, calls may be refused"
    )
    return Check("limits", True, detail, "run dojo as root to keep the two apart")


def _disk() -> Check:
    kind, detail = disk_kind()
    if kind == "ext4":
        return Check("disk limit", True, "an ext4 image for each sandbox")
    return Check("disk limit", True, f"a tmpfs of that size for each writable place, which counts as memory: {detail}")


def _live_restore(found: dict[str, Any]) -> Check:
    if found.get("LiveRestoreEnabled"):
        return Check("live restore", True, "runs survive a restart of the engine")
    detail = "off: a restart of the engine ends all sandboxes, and their runs are tried again"
    return Check("live restore", True, detail, 'set "live-restore": true in daemon.json')


def _images() -> list[Check]:
    found = []
    for name in ("task", "grader", _VLLM):
        try:
            reference = images.reference(name, "cpu")
            engine_client = engine.client()
            with engine.speaking(f"looking for the image {reference}"):
                size = engine_client.images.get(reference).attrs["Size"] / 1e6
            found.append(Check(f"image {name}", True, f"{reference}, {size:.0f} MB"))
        except DojoError as exc:
            if name == _VLLM:
                found.append(Check(f"image {name}", True, _WITHOUT_VLLM))
            else:
                found.append(Check(f"image {name}", False, exc.message, exc.hint))
    return found


def _runtimes(found: dict[str, Any]) -> Check:
    names = sorted(name for name in found.get("Runtimes") or {} if not name.startswith("io.containerd"))
    chosen = os.environ.get("DOJO_DOCKER_RUNTIME", "")
    if chosen and chosen not in names:
        return Check(
            "runtime", False, f"DOJO_DOCKER_RUNTIME is {chosen!r}, the engine has {', '.join(names)}", "name one of them"
        )
    detail = f"{chosen or found.get('DefaultRuntime')} of {', '.join(names)}"
    return Check("runtime", True, detail if "nvidia" in names else f"{detail}; none called nvidia, so no GPUs")
