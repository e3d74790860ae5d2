"""The conformance suite of sandbox backends: what every backend promises, as functions that anyone can run.

With pytest, in a package of your own:

    from harness.sandbox.contract import PROMISES, Stage

    @pytest.fixture(scope="session")
    def stage(tmp_path_factory):
        with Stage(MyBackend(), tmp_path_factory.mktemp("contract")) as stage:
            yield stage

    @pytest.mark.parametrize("promise", PROMISES, ids=str)
    def test_my_backend_keeps_its_promise(promise, stage):
        promise.check(stage)

Without pytest: ``python -m harness.sandbox.contract NAME [--without GROUP]``, for any backend that `get_backend` knows.

A backend that cannot keep a group (say ``cpu`` for an ordinary user) leaves that group out by name and says so in its `check()`.
Commands used inside are ``sh``, the usual small tools and ``python3``.
"""

# the order in which the suite is run; importing a module adds its promises
from harness.sandbox.contract import (  # noqa: F401
    archives,
    commands,
    deadlines,
    files,
    isolation,
    lifecycle,
    limits,
    processes,
    relays,
    users,
)
from harness.sandbox.contract.promise import PROMISES, Promise, PromiseBroken, Stage

__all__ = ["PROMISES", "Promise", "PromiseBroken", "Stage"]
