"""Keeping a workspace out of a sandbox."""

from pathlib import Path

from harness.sandbox.base import SandboxSpec
from harness.sandbox.scripted import ScriptedBackend
from harness.session.keep import keep_workspace
from harness.spec.task import Limits
from harness.store.kept import KeptFiles
from harness.store.run_dir import RunDir


def test_the_workspace_lies_in_one_archive_and_what_was_left_out_is_told(tmp_path: Path) -> None:
    run = RunDir(tmp_path / "run")
    run.private.mkdir(parents=True)
    (run.private / "incoming-workspace").mkdir()  # of a harness that was killed here
    sandbox = ScriptedBackend().create(SandboxSpec("s", Limits()))
    sandbox.write_file("/workspace/report.md", b"# all")
    sandbox.write_file("/workspace/.git/config", b"[core]")
    sandbox.write_file("/workspace/model.bin", bytes(9 << 20))
    for _ in range(2):  # a collection that a crash cut off is done again
        keep_workspace(sandbox, run)
        assert KeptFiles(run.kept).sizes() == {".git/config": 6, "report.md": 5}
        assert "model.bin" in (run.path / "workspace-left-out.txt").read_text()
        assert sorted(path.name for path in run.path.iterdir()) == ["private", "workspace-left-out.txt", "workspace.zip"]
        assert list(run.private.iterdir()) == []
