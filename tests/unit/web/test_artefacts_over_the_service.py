"""Files of a run whose local copy has gone, asked of the service."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.store.artefacts.drop import drop_parts
from harness.store.artefacts.place import open_place
from harness.store.artefacts.push import push_run
from harness.store.kept import pack
from tests.unit.web.conftest import Replica

pytest.importorskip("fsspec", reason="fsspec is missing: pip install 'dojo-bench[s3]'")


def test_files_that_were_dropped_are_fetched_and_where_they_cannot_be_the_answer_says_so_and_names_no_folder(
    replicas: Callable[..., Replica], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOJO_ARTEFACTS", f"file://{tmp_path}/place")
    replica = replicas()
    replica.users()
    batch, (run,) = replica.batch("ann")
    folder, place = replica.dojo.store.files(run), open_place(f"file://{tmp_path}/place")
    (tmp_path / "left").mkdir()
    (tmp_path / "left" / "report.md").write_text("done")
    pack(tmp_path / "left", folder.kept)
    push_run(place, folder)
    drop_parts(place, folder, batch)
    asked = ("ann", "GET", f"/v1/runs/{run}/file?name=report.md")
    assert not folder.kept.exists() and replica.ask(*asked).content == b"done"
    drop_parts(place, folder, batch)
    shutil.rmtree(tmp_path / "place")
    answer = replica.ask(*asked)
    assert answer.status_code == 503 and answer.json()["error"]["code"] == "artefact_missing"
    assert str(tmp_path) not in answer.text and "DOJO_ARTEFACTS" in answer.text
    assert replica.ask("bob", "GET", f"/v1/runs/{run}/files").status_code == 403
