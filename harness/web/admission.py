"""What a matrix from afar may name: the service's own agents and tasks, and the caller's uploads. No path leads anywhere."""

from __future__ import annotations

import re

from harness.assets.base_models import is_path
from harness.spec.accounts import Token
from harness.spec.errors import NotFoundError, UsageError
from harness.spec.matrix import Matrix
from harness.spec.wire import UPLOAD
from harness.web.site import Site

_DIGEST = re.compile(r"([0-9a-f]{64})/([A-Za-z0-9][A-Za-z0-9_.-]{0,99})")
_AGENT = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")
_PATHS = "a service takes names, not paths of its machine"
# These say a file or another run in their name.
_CLOSED = ("scripted:", "replay:")


def admitted(matrix: Matrix, caller: Token, site: Site) -> Matrix:
    """Return the matrix with uploads found; refuse whatever names a place of the machine or another user's run.

    Raises:
        UsageError: a path, or a backbone that is one.
        NotFoundError: no such upload of the caller's.
    """
    agents = tuple(entry.model_copy(update={"name": _agent(entry.name, caller, site)}) for entry in matrix.agents)
    known = {task.id for task in site.dojo.survey_tasks().found}
    for task in matrix.tasks:
        wide = task == "all" or any(sign in task for sign in "*?[")
        if not wide and task not in known:
            raise NotFoundError.named("task", task, sorted(known))
    for model in matrix.base_models:
        if is_path(model):
            raise UsageError(f"base model {model[:80]!r} is a path", hint=_PATHS)
    for backbone in matrix.backbones:
        if backbone.startswith(_CLOSED):
            raise UsageError(
                f"backbone {backbone[:80]!r} is a file or a run", hint="name one that `dojo backbones` of the service lists"
            )
    return matrix.model_copy(update={"agents": agents})


def _agent(name: str, caller: Token, site: Site) -> str:
    if name.startswith(UPLOAD):
        found = _DIGEST.fullmatch(name.removeprefix(UPLOAD))
        folder = site.folder("uploads", caller.user) / found[1] / found[2] if found else None
        if folder is None or not (folder / "agent.toml").is_file():
            raise NotFoundError(f"{caller.user} has no upload {name[:120]!r}", hint="upload it again: POST /v1/agents")
        folder.parent.touch()  # used now: it is kept for longest
        return str(folder)
    if not _AGENT.fullmatch(name):
        raise UsageError(f"agent {name[:80]!r} is no name", hint=f"{_PATHS}; `dojo submit` uploads a directory")
    return name
