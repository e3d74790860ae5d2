"""`dojo tasks check --profile full` says of each task what was tried with the real data set, also where that cannot be had."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.assets.task_dir import find_task, survey_tasks
from harness.executor.checks import check_task
from harness.sandbox.base import Check
from harness.spec.task import UpstreamRecord
from harness.spec.toml import read_toml

TASKS = [task for task in survey_tasks(None).found if "full" in task.dojo.profiles]


def upstream(folder: Path, profile: str, cache: Path) -> list[Check]:
    def no_model() -> None:
        raise AssertionError("nobody asked for it")

    found = check_task(find_task(str(folder), None), profile, cache, no_model)  # type: ignore[arg-type]
    return [check for check in found.checks if check.name == "upstream data"]


@pytest.mark.parametrize("task", TASKS, ids=lambda task: task.id)
def test_every_task_says_what_was_tried_and_what_was_not(task) -> None:
    record = read_toml(task.path / "admission" / "upstream.toml", UpstreamRecord)
    assert record.not_tried or record.tried
    assert not set(record.tried) & set(record.not_tried)
    assert all(said == said.strip() and not said.endswith(".") for said in (*record.tried, *record.not_tried))


def test_the_check_tells_it_where_the_data_cannot_be_had(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOJO_HUB_MIRROR", str(tmp_path))  # a mirror of nothing
    aime = next(task for task in TASKS if task.id == "math/aime25")
    [said] = upstream(aime.path, "full", tmp_path / "cache")
    assert said.ok and said.detail.startswith("tried: nothing. Not tried: preparing it")


def test_a_task_that_says_nothing_is_taken_as_not_tried_and_a_broken_record_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import shutil

    monkeypatch.setenv("DOJO_HUB_MIRROR", str(tmp_path))
    aime = next(task for task in TASKS if task.id == "math/aime25")
    own = Path(shutil.copytree(aime.path, tmp_path / "math" / "aime25"))
    (own / "admission" / "upstream.toml").write_text("tried = 3\n")
    [broken] = upstream(own, "full", tmp_path / "cache")
    assert not broken.ok and "upstream.toml" in broken.detail and "tried" in broken.detail
    (own / "admission" / "upstream.toml").unlink()
    [silent] = upstream(own, "full", tmp_path / "cache")
    assert silent.ok and "take it as nothing" in silent.detail
