"""Keeping what an agent leaves in its workspace, for people: out of the sandbox, past every refusal, into one archive."""

from __future__ import annotations

from harness.files import write_atomic
from harness.sandbox.base import Sandbox
from harness.session.collect import WORKSPACE_CAPS, archived, collect_readable, unseal_and_remove
from harness.store.kept import pack
from harness.store.run_dir import RunDir

# Lines about what was left out.
_TOLD = 1000


def keep_workspace(sandbox: Sandbox, run: RunDir) -> None:
    """Archive the workspace of a sandbox whose processes are dead; done again after a crash, it gives the same.

    Raises:
        SandboxError: the sandbox is gone.
        StoreError: the harness's own disk is full.
    """
    folder = run.private / "incoming-workspace"
    unseal_and_remove(folder)
    try:
        # as root, and without what cannot be had: a closed folder or an absurd depth shall not hide the rest from people
        left_out = collect_readable(archived(sandbox, "/workspace", WORKSPACE_CAPS, "root", whole=False), folder)
        pack(folder, run.kept)
    finally:
        unseal_and_remove(folder)
    if left_out:
        note = "\n".join(left_out[:_TOLD]) + "\n"
        write_atomic(run.path / "workspace-left-out.txt", note.encode(errors="replace"))
