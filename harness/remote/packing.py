"""An agent's directory as an archive to upload: its plain files, and the folders that it shares beside it."""

from __future__ import annotations

import os
import tarfile
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import IO

from harness.assets.agent_dir import EXPERIMENTS, find_agent, refuse_strangers
from harness.assets.agent_files import is_part
from harness.project import bundled
from harness.spec.errors import NotFoundError


def packed(name: str, roots: Sequence[Path] | None) -> tuple[str, IO[bytes]] | None:
    """Return the agent's folder in an archive, and the archive; None where ``name`` is one that the service has itself.

    Raises:
        SpecError: it is no agent, or holds what no agent may.
    """
    try:
        agent = find_agent(name, roots)
    except NotFoundError:
        if "/" in name or name.startswith((".", "~")):
            raise
        return None
    if bundled("agents").resolve() in agent.path.parents:
        return None
    refuse_strangers(agent)
    base = agent.path.parent
    archive = tempfile.TemporaryFile()  # noqa: SIM115  whoever sends it closes it
    with tarfile.open(fileobj=archive, mode="w:gz", compresslevel=3) as tar:
        for folder in (agent.path, *agent.shared):
            for place, folders, files in os.walk(folder):
                folders[:] = sorted(
                    each for each in folders if is_part(each) and not (place == str(agent.path) and each == EXPERIMENTS)
                )
                for each in sorted(filter(is_part, files)):
                    path = Path(place, each)
                    tar.add(path, arcname=str(path.relative_to(base)), recursive=False, filter=_bare)
    archive.seek(0)
    return agent.path.name, archive


def _bare(member: tarfile.TarInfo) -> tarfile.TarInfo:
    """Say nothing of who packed it, and nothing that changes from day to day."""
    member.uid = member.gid = member.mtime = 0
    member.uname = member.gname = ""
    return member
