"""What agents left in their workspaces: listed, read and taken out. See `harness.store.kept` for how it lies on disk."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from harness.service.bench import Bench
from harness.spec.base import Spec
from harness.store.artefacts.dropped import dropped_parts
from harness.store.artefacts.pull import bring_parts
from harness.store.kept import KeptFiles
from harness.store.run_dir import RunDir


class KeptFile(Spec):
    """One file of a workspace."""

    name: str
    bytes: int


class Workspace(Spec):
    """The files an agent left, without weights and other large ones."""

    run: str
    files: tuple[KeptFile, ...]
    left_out: tuple[str, ...] = ()


class Kept(Bench):
    """Looking at what agents left."""

    def files(self, run: str) -> Workspace:
        """List what a run's agent left in its workspace, and what of it was not kept.

        Raises:
            MissingError: nothing was kept, or not yet; or it was dropped here, and the place where it is does not answer.
            StoreError: the archive cannot be read (code ``damaged``).
        """
        folder = self._with_workspace(run)
        note = folder.path / "workspace-left-out.txt"
        lines = note.read_text(encoding="utf-8", errors="replace").splitlines() if note.is_file() else []
        files = (KeptFile(name=name, bytes=size) for name, size in KeptFiles(folder.kept).sizes().items())
        return Workspace(run=folder.path.name, files=tuple(files), left_out=tuple(lines))

    def file(self, run: str, name: str) -> bytes:
        """Return one file of a run's workspace.

        Raises:
            NotFoundError: there is none of this name.
            MissingError, StoreError: as `files`.
        """
        return KeptFiles(self._with_workspace(run).kept).read(name)

    def unpack_files(self, run: str, target: Path, patterns: Sequence[str] = ()) -> dict[str, str]:
        """Write a run's workspace, or what fits ``patterns``, into a new folder; return name there → name below ``target``.

        Hidden names, and git's ``HEAD``, are changed (``.git`` → ``dot.git``): tools act on them unasked.

        Raises:
            UsageError: ``target`` exists.
            NotFoundError: a pattern fits nothing.
            MissingError, StoreError: as `files`.
        """
        return KeptFiles(self._with_workspace(run).kept).unpack(target, patterns)

    def _with_workspace(self, run: str) -> RunDir:
        """Return a run's folder with its workspace in it, fetched where it was dropped here.

        Raises:
            MissingError, StoreError: it was dropped, and cannot be fetched.
        """
        folder = self._run_folder(run)
        if folder.kept.name in dropped_parts(folder):
            bring_parts(self._place(), folder, folder.spec().batch, [folder.kept.name])
        return folder
