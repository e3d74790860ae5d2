"""What preparing would fetch is said truly, for every task and profile, without a network."""

import shutil
from pathlib import Path

import pytest

from harness.assets.dry_run import planned_fetches
from harness.assets.prepare import declared_fetches, prepare_task
from harness.assets.task_dir import list_tasks, load_task
from harness.spec.errors import SpecError

TASKS = list_tasks()


@pytest.mark.parametrize("task", TASKS, ids=lambda t: t.id)
def test_every_profile_of_every_task_says_what_it_fetches_and_under_which_licence(task, tmp_path: Path) -> None:
    for profile, spec in task.dojo.profiles.items():
        fetches = planned_fetches(task, profile, spec.base_model, tmp_path)
        assert fetches[-1].what == f"base model {spec.base_model}"
        for fetch in fetches:
            assert fetch.licence and fetch.revision and fetch.state, fetch
            assert fetch.state != "in the cache"
        if profile != "mini":
            assert any(fetch.kind == "hub data" and fetch.files for fetch in fetches)


def test_an_unpinned_data_set_says_what_to_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DOJO_HUB_MIRROR", raising=False)
    task = next(t for t in TASKS if t.id == "chemistry/mol_und")
    bench = planned_fetches(task, "full", "smol", tmp_path)[0]
    assert not bench.pinned and "DOJO_REVISION_OPENMOL_CHEMCOTBENCH" in bench.revision
    monkeypatch.setenv("DOJO_REVISION_OPENMOL_CHEMCOTBENCH", "a" * 40)
    assert planned_fetches(task, "full", "smol", tmp_path)[0].revision == "a" * 40


def test_what_is_in_the_cache_has_a_size(tmp_path: Path) -> None:
    task = next(t for t in TASKS if t.id == "chemistry/mol_und")
    folder = tmp_path / "packages" / "chemicals-1.5.2"
    folder.mkdir(parents=True)
    (folder / "file").write_bytes(bytes(2_500_000))
    package = planned_fetches(task, "mini", "smol", tmp_path)[0]
    assert (package.state, package.size) == ("in the cache", "2.5 MB")


@pytest.fixture
def copied(tmp_path: Path) -> Path:
    source = next(t for t in TASKS if t.id == "math/aime25").path
    target = tmp_path / "tasks" / "math" / "aime25"
    shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
    return target


def test_a_declaration_that_is_not_what_is_fetched_is_refused(copied: Path, tmp_path: Path) -> None:
    prepare = copied / "prepare.py"
    prepare.write_text(prepare.read_text().replace('"mini": ()', '"mini": (AIME,)'))
    with pytest.raises(SpecError, match=r"FETCHES names \['.*'\] for mini, fetched was \[\]"):
        prepare_task(load_task(copied), "mini", tmp_path / "cache")


def test_a_task_that_declares_nothing_says_how(copied: Path) -> None:
    prepare = copied / "prepare.py"
    prepare.write_text(prepare.read_text().replace("FETCHES", "OTHER"))
    with pytest.raises(SpecError, match="does not declare") as caught:
        declared_fetches(load_task(copied), "mini")
    assert "FETCHES" in caught.value.hint
