"""Batches, runs and results: what was recorded is found again."""

from __future__ import annotations

from datetime import timedelta

from harness.spec.errors import NotFoundError, StoreError, UsageError
from harness.spec.outcome import Cause, RunState
from harness.spec.summary import gather
from harness.store.base import RunFilter
from harness.store.contract.stage import START, Stage, promise


@promise("keeping")
def an_empty_store(stage: Stage) -> None:
    """An empty store answers that nothing is there."""
    store = stage.open()
    assert store.batches() == [] and store.runs() == [] and store.results() == ([], [])
    assert list(store.summaries().runs) == []
    _refused(NotFoundError, lambda: store.resolve("@last", "batch"))


@promise("keeping")
def order(stage: Stage) -> None:
    """Runs come back in order of submission, batches oldest first, from every process."""
    store = stage.open()
    stage.add(store, "b2", [stage.spec("b2", id="r9"), stage.spec("b2", id="r1")], name="first", parallel="2")
    stage.add(store, "b1", [stage.spec("b1", id="r5")])
    other = stage.open()
    assert [(r.id, r.batch, r.position, r.state) for r in other.runs()] == [
        ("r9", "b2", 0, RunState.QUEUED), ("r1", "b2", 1, RunState.QUEUED), ("r5", "b1", 0, RunState.QUEUED),
    ]  # fmt: skip
    found = other.batches()
    assert [(b.id, b.name, b.settings) for b in found] == [("b2", "first", {"parallel": "2"}), ("b1", "", {})]
    assert all(b.created.tzinfo is not None for b in found)


@promise("keeping")
def one_run(stage: Stage) -> None:
    """A run carries what its specification says."""
    store = stage.open()
    spec = stage.spec("b1", agent="recipe", task="math/gsm8k", seed=7, limit=5)
    stage.add(store, "b1", [spec])
    run = store.run(spec.id)
    assert (run.agent, run.task, run.profile, run.base_model, run.seed) == ("recipe", "math/gsm8k", "mini", "smol", 7)
    assert (run.limit, run.created, run.score, run.cause, run.tags, run.excluded) == (5, spec.created, None, None, (), "")
    assert store.files(spec.id).path == store.run_dir("b1", spec.id).path
    _refused(NotFoundError, lambda: store.run("r"))
    _refused(NotFoundError, lambda: store.files("r"))


@promise("keeping")
def states(stage: Stage) -> None:
    """A recorded state and result are seen by every process."""
    store, other = stage.open(), stage.open()
    spec, second = stage.spec("b1"), stage.spec("b1")
    stage.add(store, "b1", [spec, second])
    store.record_state(spec.id, RunState.RUNNING)
    assert other.run(spec.id).state is RunState.RUNNING
    result = stage.result(spec, (1.0, 1.0, 0.0, 1.0))
    stage.finish(store, result)
    run = other.run(spec.id)
    assert (run.state, run.cause, run.score, run.metric) == (RunState.DONE, Cause.COMPLETED, 0.75, "accuracy")
    assert (run.ci_low, run.ci_high) == (0.1, 0.9) and run.updated >= run.created
    assert other.results() == ([result], [])
    store.record_state(second.id, RunState.FAILED, cause=Cause.SANDBOX)
    assert (other.run(second.id).state, other.run(second.id).cause) == (RunState.FAILED, Cause.SANDBOX)


@promise("keeping")
def unknown_runs(stage: Stage) -> None:
    """A change to a run that is not there is an error."""
    store = stage.open()
    stage.add(store, "b1", [stage.spec("b1")])
    _refused(StoreError, lambda: store.record_state("r", RunState.DONE))
    _refused(StoreError, lambda: store.record_result(stage.result(stage.spec("b1"))))
    _refused(StoreError, lambda: store.claim("r"))
    _refused(NotFoundError, lambda: store.tag(["r"], add=["x"]))
    _refused(NotFoundError, lambda: store.remove(["r"]))


@promise("keeping")
def filters(stage: Stage) -> None:
    """Filters restrict by every field, and together."""
    store = stage.open()
    one = stage.spec("b1", agent="base", task="math/gsm8k", profile="mini")
    two = stage.spec("b1", agent="recipe", task="chem/props", profile="mini")
    three = stage.spec("b2", agent="ft_agent", task="math/aime25", profile="full")
    stage.add(store, "b1", [one, two], name="paper 1")
    stage.add(store, "b2", [three], name="try [x]")
    stage.finish(store, stage.result(one))
    store.exclude(two.id, "wrong data")
    store.tag([three.id], add=["good"])
    store.tag(["b1"], add=["old"])

    def found(**where: object) -> list[str]:
        return [run.id for run in store.runs(RunFilter.model_validate(where))]

    assert found(batch="b1") == [one.id, two.id] and found(batch="b") == []
    assert found(runs=(three.id, one.id)) == [one.id, three.id] and found(runs=()) == []
    assert found(task="math/*") == [one.id, three.id] and found(task="math/aime25") == [three.id]
    assert found(task="*/[!a]*[0-9a-z]") == [one.id, two.id] and found(task="m?th/*") == [one.id, three.id]
    assert found(task="MATH/*") == [] and found(agent="f*_agent") == [three.id] and found(agent="f_agent") == []
    assert found(profile="full") == [three.id]
    assert found(states={RunState.DONE}) == [one.id] and found(states=frozenset()) == [one.id, two.id, three.id]
    assert found(name="paper*") == [one.id, two.id] and found(name="try [[]x]") == [three.id]
    assert found(tag="good") == [three.id] and found(tag="old") == [one.id, two.id] and found(tag="goo") == []
    assert found(since=two.created) == [two.id, three.id] and found(until=two.created) == [one.id]
    assert found(since=START + timedelta(days=1)) == []
    assert found(excluded=True) == [two.id] and found(excluded=False) == [one.id, three.id]
    assert found(task="math/*", profile="full", tag="good") == [three.id]
    assert [batch.id for batch in store.batches(RunFilter(task="math/*", profile="mini"))] == ["b1"]
    assert [result.spec.id for result in store.results(RunFilter(batch="b1"))[0]] == [one.id]
    assert [row.run for row in store.summaries(RunFilter(batch="b2")).runs] == []


@promise("keeping")
def references(stage: Stage) -> None:
    """Whole ids, unique prefixes, batch names and @last name batches and runs."""
    store = stage.open()
    stage.add(store, "b2026-a", [stage.spec("b2026-a", id="r2026-x")], name="twice")
    stage.add(store, "b2026-b", [stage.spec("b2026-b", id="r2027-y"), stage.spec("b2026-b", id="r2027-a")], name="paper")
    stage.add(store, "b2026", [stage.spec("b2026", id="r2028")], name="twice")
    assert store.resolve("b2026", "batch") == "b2026"
    assert store.resolve("r2026", "run") == "r2026-x" and store.resolve("r2026-x", "any") == "r2026-x"
    assert store.resolve("@last", "batch") == "b2026" and store.resolve("@last", "run") == "r2028"
    assert store.resolve("paper", "batch") == "b2026-b" and store.resolve("paper", "any") == "b2026-b"
    _refused(NotFoundError, lambda: store.resolve("paper", "run"))
    _refused(NotFoundError, lambda: store.resolve("b2026-a", "run"))
    _refused(NotFoundError, lambda: store.resolve("", "any"))
    for several, kind in (("r2027", "run"), ("twice", "batch"), ("b2026-", "any")):
        _refused(UsageError, lambda several=several, kind=kind: store.resolve(several, kind))
    try:
        store.resolve("r2027-z", "run")
    except NotFoundError as exc:
        assert "r2027-y" in exc.hint
    else:
        raise AssertionError("a run that is not there was found")


@promise("keeping")
def damage(stage: Stage) -> None:
    """What is damaged harms its run alone and is named."""
    store = stage.open()
    specs = [stage.spec("b1") for _ in range(4)]
    folders = stage.add(store, "b1", specs)
    for spec in specs:
        stage.finish(store, stage.result(spec))
    folders[0].result_path.write_bytes(folders[0].result_path.read_bytes()[:100])
    folders[1].result_path.unlink()
    folders[2].path.rename(folders[2].path.with_name(".elsewhere"))
    found, damages = store.results()
    assert [result.spec.id for result in found] == [specs[3].id]
    assert [d.run for d in damages] == [spec.id for spec in specs[:3]] and all(d.message and d.hint for d in damages)
    assert [run.id for run in store.runs()] == [spec.id for spec in specs]


@promise("keeping")
def summaries(stage: Stage) -> None:
    """Summaries are those of the results, without reading a folder."""
    store = stage.open()
    specs = [stage.spec("b1", agent=agent, seed=seed) for agent in ("base", "recipe") for seed in (0, 1)]
    folders = stage.add(store, "b1", [*specs, stage.spec("b1")])
    results = [stage.result(spec, (1.0, spec.seed / 3, 0.0)) for spec in specs]
    for result in results:
        stage.finish(store, result)
    for folder in folders:
        folder.result_path.unlink(missing_ok=True)
    found, expected = store.summaries(), gather(results)
    assert sorted(found.runs) == sorted(expected.runs)
    assert (found.settings, found.item_sets, found.references) == (expected.settings, expected.item_sets, expected.references)
    store.exclude(specs[0].id, "a trial")
    why = {row.run: row.why_not for row in store.summaries().runs}
    assert why == {spec.id: "excluded: a trial" if spec is specs[0] else "" for spec in specs}


def _refused(kind: type[Exception], action: object) -> None:
    try:
        action()  # type: ignore[operator]
    except kind:
        return
    raise AssertionError(f"it was not refused as {kind.__name__}")
