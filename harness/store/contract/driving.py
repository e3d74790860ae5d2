"""Who drives a run: one process at a time, and nobody for ever."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from harness.spec.errors import StoreError
from harness.store.base import Lease, Store
from harness.store.contract.stage import ELSEWHERE, Clock, Stage, promise
from harness.store.leases import TTL_S


@promise("driving")
def one_at_a_time(stage: Stage) -> None:
    """A run that is driven cannot be claimed; the refusal names who drives it."""
    store, other = stage.open(), stage.open(ELSEWHERE)
    spec = stage.spec("b1")
    stage.add(store, "b1", [spec])
    with store.claim(spec.id) as lease:
        assert lease.held() and not lease.lost.is_set() and lease.run == spec.id
        refused = _busy(other, spec.id)
        assert str(store.holder(spec.id)) in refused.message
    assert store.holder(spec.id) is None and not lease.held()
    with other.claim(spec.id):
        assert "elsewhere" in _busy(store, spec.id).message
    lease.release()


@promise("driving")
def looking_takes_nothing(stage: Stage) -> None:
    """Looking who drives a run never makes a claim busy."""
    store, other = stage.open(), stage.open(ELSEWHERE)
    spec = stage.spec("b1")
    stage.add(store, "b1", [spec])
    assert other.holder(spec.id) is None
    with store.claim(spec.id) as lease:
        assert other.holder(spec.id) == store.holder(spec.id) is not None
        assert other.holders([spec.id, "another"]) == {spec.id: store.holder(spec.id)} and other.holders([]) == {}
        assert lease.held()
    assert other.holder(spec.id) is None


@promise("driving")
def the_dead_of_this_host(stage: Stage) -> None:
    """A process of this host that is dead loses its run at once."""
    store, dead = stage.open(), stage.open(stage.dead_owner())
    spec = stage.spec("b1")
    stage.add(store, "b1", [spec])
    dead.claim(spec.id)
    assert store.holder(spec.id) is None
    with store.claim(spec.id) as lease:
        assert lease.held()


@promise("driving")
def the_silent_elsewhere(stage: Stage) -> None:
    """A process elsewhere keeps its run until its lease runs out, and hears that it is lost."""
    clock = Clock()
    store, away = stage.open(clock=clock), stage.open(ELSEWHERE, clock)
    spec = stage.spec("b1")
    stage.add(store, "b1", [spec])
    theirs = away.claim(spec.id)
    clock.now += TTL_S - 1
    _busy(store, spec.id)
    assert theirs.held()  # which renews it
    clock.now += TTL_S - 1
    _busy(store, spec.id)
    clock.now += 2
    ours = store.claim(spec.id)
    assert not theirs.held() and theirs.lost.is_set()
    theirs.release()
    assert ours.held() and store.holder(spec.id) is not None


@promise("driving")
def the_living_of_this_host(stage: Stage) -> None:
    """A process that lives here keeps its run however long it renews nothing: it may be stopped."""
    clock = Clock()
    store, other = stage.open(clock=clock), stage.open(clock=clock)
    spec = stage.spec("b1")
    stage.add(store, "b1", [spec])
    lease = store.claim(spec.id)
    clock.now += 10 * TTL_S
    _busy(other, spec.id)
    assert lease.held()


@promise("driving")
def races(stage: Stage) -> None:
    """Of many who claim a run at once one gets it."""
    stores = [stage.open() for _ in range(6)]
    specs = [stage.spec("b1") for _ in range(5)]
    stage.add(stores[0], "b1", specs)
    for spec in specs:

        def attempt(store: Store, run: str = spec.id) -> Lease | None:
            try:
                return store.claim(run)
            except StoreError as exc:
                assert exc.code == "busy", exc
                return None

        with ThreadPoolExecutor(len(stores)) as pool:
            won = [lease for lease in pool.map(attempt, stores) if lease is not None]
        assert len(won) == 1 and won[0].held()


@promise("driving")
def closing(stage: Stage) -> None:
    """A process that closes the store gives its runs back."""
    store, other = stage.open(), stage.open()
    spec = stage.spec("b1")
    stage.add(store, "b1", [spec])
    lease = store.claim(spec.id)
    store.close()
    assert lease.lost.is_set()
    with other.claim(spec.id):
        pass


@promise("driving")
def cancelling(stage: Stage) -> None:
    """A request to end a run is seen by every process, and stays."""
    store, other = stage.open(), stage.open()
    one, two = stage.spec("b1"), stage.spec("b1")
    stage.add(store, "b1", [one, two])
    assert not other.cancel_requested(one.id)
    store.request_cancel(one.id)
    store.request_cancel(one.id)
    assert other.cancel_requested(one.id) and not other.cancel_requested(two.id)


def _busy(store: Store, run: str) -> StoreError:
    try:
        store.claim(run)
    except StoreError as exc:
        assert exc.code == "busy", exc
        return exc
    raise AssertionError("the run was claimed although it is driven")
