"""Tags, exclusions, removal, and building the index anew."""

from __future__ import annotations

from harness.spec.errors import NotFoundError, StoreError, UsageError
from harness.spec.event import Entered
from harness.spec.outcome import RunState
from harness.store.base import RunFilter
from harness.store.contract.stage import ELSEWHERE, Stage, promise


@promise("tidying")
def tags(stage: Stage) -> None:
    """Tags are put on and taken off runs and batches."""
    store, other = stage.open(), stage.open()
    one, two = stage.spec("b1"), stage.spec("b1")
    stage.add(store, "b1", [one, two])
    store.tag([one.id, "b1"], add=["paper", "a b"])
    assert other.run(one.id).tags == ("a b", "paper") == other.batches()[0].tags and other.run(two.id).tags == ()
    store.tag([one.id], add=["new"], remove=["paper", "never there"])
    assert other.run(one.id).tags == ("a b", "new")
    assert [run.id for run in other.runs(RunFilter(tag="paper"))] == [one.id, two.id]
    store.tag(["b1"], remove=["paper"])
    assert other.runs(RunFilter(tag="paper")) == []


@promise("tidying")
def exclusions(stage: Stage) -> None:
    """A run is excluded with a reason, and included again."""
    store, other = stage.open(), stage.open()
    spec = stage.spec("b1")
    stage.add(store, "b1", [spec])
    for nothing in ("", "  "):
        try:
            store.exclude(spec.id, nothing)
        except UsageError:
            continue
        raise AssertionError("a run was excluded without a reason")
    store.exclude(spec.id, "the disk was full")
    assert other.run(spec.id).excluded == "the disk was full"
    store.include(spec.id)
    assert other.run(spec.id).excluded == "" and other.runs(RunFilter(excluded=True)) == []


@promise("tidying")
def removal(stage: Stage) -> None:
    """What is removed is gone from lists and disk; the rest stays, over a new index, too."""
    store, other = stage.open(), stage.open()
    one, two, three = stage.spec("b1"), stage.spec("b1"), stage.spec("b2")
    folders = stage.add(store, "b1", [one, two]) + stage.add(store, "b2", [three])
    for spec in (one, two, three):
        stage.finish(store, stage.result(spec))
    store.tag([one.id, "b2"], add=["x"])
    folders[0].sealed.mkdir()
    folders[0].sealed.chmod(0o500)
    store.remove([one.id, "b2"])
    assert [run.id for run in other.runs()] == [two.id] and [batch.id for batch in other.batches()] == ["b1"]
    assert not folders[0].path.exists() and not folders[2].path.exists() and folders[1].path.is_dir()
    assert [row.run for row in other.summaries().runs] == [two.id] and other.runs(RunFilter(tag="x")) == []
    report = store.reindex()
    assert (report.batches, report.runs, report.damages) == (1, 1, ())
    assert [run.id for run in other.runs()] == [two.id]


@promise("tidying")
def no_removal_while_driven(stage: Stage) -> None:
    """A run that is driven cannot be removed, nor its batch; nothing else of the request is removed then."""
    store, other = stage.open(), stage.open(ELSEWHERE)
    one, two = stage.spec("b1"), stage.spec("b2")
    stage.add(store, "b1", [one])
    stage.add(store, "b2", [two])
    with other.claim(two.id):
        try:
            store.remove([one.id, "b2"])
        except StoreError as exc:
            assert exc.code == "busy", exc
        else:
            raise AssertionError("a run was removed while it was driven")
    assert [run.id for run in store.runs()] == [one.id, two.id] and store.files(one.id).path.is_dir()


@promise("tidying")
def a_new_index(stage: Stage) -> None:
    """An index built anew from the folders says the same, marks and leases with it."""
    store, other = stage.open(), stage.open(ELSEWHERE)
    one, two, three = stage.spec("b2", id="r7"), stage.spec("b2", id="r3"), stage.spec("b1")
    stage.add(store, "b2", [one, two], name="paper", profile="mini")
    stage.add(store, "b1", [three])
    stage.finish(store, stage.result(one))
    store.files(three.id).append(Entered(state=RunState.RUNNING))
    store.record_state(three.id, RunState.RUNNING)
    store.tag([two.id, "b2"], add=["x"])
    store.exclude(one.id, "a trial")

    def all_of_it() -> object:
        runs = [run.model_copy(update={"updated": run.created}) for run in other.runs()]
        found = other.summaries()
        return runs, other.batches(), sorted(found.runs), found.settings, found.item_sets, found.references

    before = all_of_it()
    with other.claim(three.id) as lease:
        report = store.reindex()
        assert lease.held() and store.holder(three.id) is not None
    assert (report.batches, report.runs, report.damages) == (2, 3, ())
    assert all_of_it() == before


@promise("tidying")
def a_new_index_over_damage(stage: Stage) -> None:
    """Building the index anew survives what is damaged and names it."""
    store = stage.open()
    specs = [stage.spec("b1") for _ in range(6)]
    folders = stage.add(store, "b1", specs)
    for spec in specs:
        stage.finish(store, stage.result(spec))
    (folders[0].path / "run.json").write_text("{")
    folders[1].result_path.write_bytes(b"\xff\x00")
    lines = folders[2].events_path.read_bytes().splitlines(keepends=True)
    folders[2].events_path.write_bytes(b"".join([lines[0][:20] + b"\n", *lines[1:]]))
    folders[3].path.rename(folders[3].path.with_name(".away"))
    (folders[4].path / "run.json").unlink()
    folders[4].result_path.unlink()
    report = store.reindex()
    assert sorted({d.run for d in report.damages}) == [spec.id for spec in specs[:5]]
    assert report.runs == 4 and [run.id for run in store.runs()] == [specs[n].id for n in (0, 1, 2, 5)]
    found, _damages = store.results()
    assert [result.spec.id for result in found] == [specs[n].id for n in (0, 2, 5)]
    for lost in (specs[3].id, specs[4].id):
        try:
            store.run(lost)
        except NotFoundError:
            continue
        raise AssertionError("a run whose folder says nothing was kept")
