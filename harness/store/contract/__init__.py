"""The conformance suite of stores: what every store promises, as functions that anyone can run.

With pytest, in a package of your own:

    from harness.store.contract import PROMISES, Stage

    @pytest.mark.parametrize("promise", PROMISES, ids=str)
    def test_my_store_keeps_its_promise(promise, tmp_path):
        promise.check(Stage(lambda owner, clock: MyStore(tmp_path, owner, clock)))

Every promise wants a stage of its own, over an empty store.
"""

# importing a module adds its promises
from harness.store.contract import driving, keeping, tidying  # noqa: F401
from harness.store.contract.stage import PROMISES, Promise, Stage

__all__ = ["PROMISES", "Promise", "Stage"]
