"""Attacks whose evidence are promises of the contract: on a backend with holes they are not stopped."""

from collections.abc import Iterator

import pytest

from harness.attack import ATTACKS, Attack, Verdict
from harness.attack.ground import Ground
from harness.attack.promised import promised
from harness.attack.suite import play
from harness.sandbox.contract import promise
from harness.sandbox.registry import get_backend
from harness.spec.errors import MissingError
from tests.attack.conftest import CACHE
from tests.attack.leaky import LeakyBackend

# Promises are waited for a minute, on machines however busy. Here they are to be broken: what has not come by now never does.
PATIENCE_S = 10.0
# no hole for these can be made inside a sandbox: a route, shared memory and the filter are the host's to give, and the server
# comes through even when root inside signals it
WITHOUT_A_HOLE = {"leaves-the-network", "shares-memory", "opens-rare-doors", "kills-the-server"}
PROMISED = [a for a in ATTACKS if a.play is not None and a.play.__qualname__.startswith(promised.__name__)]


@pytest.fixture(scope="module")
def leaky_ground(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ground]:
    try:
        made = Ground(get_backend("namespace"), CACHE)
    except MissingError as exc:
        pytest.skip(f"{exc.message}; {exc.hint}")
    with made:
        made._stage.backend = LeakyBackend(made.backend, made._stage.folder)
        with pytest.MonkeyPatch.context() as patience:
            patience.setattr(promise.wait_until, "__defaults__", (PATIENCE_S,))
            yield made


@pytest.mark.parametrize("attack", [a for a in PROMISED if a.name not in WITHOUT_A_HOLE], ids=str)
def test_an_attack_on_a_promise_succeeds_on_a_backend_with_holes(attack: Attack, leaky_ground: Ground) -> None:
    played = play(attack, leaky_ground)
    assert played.verdict is Verdict.NOT_STOPPED and "is broken" in played.seen, played


def test_the_names_without_a_hole_are_attacks() -> None:
    assert {a.name for a in PROMISED} >= WITHOUT_A_HOLE
