"""Every attack on every backend that is here: stopped, or waiting for a reason; and it succeeds where the defence is missing."""

import pytest

from harness.attack import ATTACKS, Attack, NotStopped, Verdict, Where
from harness.attack.ground import Ground
from harness.attack.suite import play

PLAYED = [attack for attack in ATTACKS if attack.play is not None]


def those(where: Where) -> list[Attack]:
    return [attack for attack in PLAYED if attack.where is where]


def those_with_control(where: Where) -> list[Attack]:
    return [attack for attack in those(where) if attack.control is not None]


def require_stopped(attack: Attack, ground: Ground) -> None:
    played = play(attack, ground)
    if played.verdict is Verdict.NOT_HERE:
        assert attack.name in ("reaches-the-cluster", "speaks-for-its-pod"), "nothing else is left untried on these backends"
        pytest.skip(played.seen)
    print(f"{attack}: tried to {attack.tried}; {played.verdict}: {played.seen}")
    if attack.waits_for:
        assert played.verdict is Verdict.WAITING, f"it is stopped now: take waits_for away ({played.seen})"
        assert attack.waits_for in played.seen
    else:
        assert played.verdict is Verdict.STOPPED, played.seen
        assert played.seen


def require_success(attack: Attack, ground: Ground) -> None:
    assert attack.control is not None
    with pytest.raises(NotStopped):
        attack.control(ground)


@pytest.mark.parametrize("attack", those(Where.SANDBOX), ids=str)
def test_what_is_tried_in_a_live_sandbox_is_stopped(attack: Attack, ground: Ground) -> None:
    require_stopped(attack, ground)


@pytest.mark.parametrize("attack", those_with_control(Where.SANDBOX), ids=str)
def test_what_is_tried_in_a_live_sandbox_succeeds_where_the_defence_is_missing(attack: Attack, ground: Ground) -> None:
    require_success(attack, ground)


@pytest.mark.parametrize("attack", those(Where.ARTEFACT), ids=str)
@pytest.mark.parametrize("ground", ["namespace"], indirect=True)
def test_what_is_handed_in_is_refused(attack: Attack, ground: Ground) -> None:
    require_stopped(attack, ground)


@pytest.mark.parametrize("attack", those_with_control(Where.ARTEFACT), ids=str)
@pytest.mark.parametrize("ground", ["namespace"], indirect=True)
def test_what_is_handed_in_succeeds_where_the_defence_is_missing(attack: Attack, ground: Ground) -> None:
    require_success(attack, ground)


@pytest.mark.e2e
@pytest.mark.parametrize("attack", those(Where.RUN), ids=str)
def test_what_a_hostile_agent_tries_in_a_whole_run_is_stopped(attack: Attack, run_ground: Ground) -> None:
    require_stopped(attack, run_ground)


@pytest.mark.e2e
@pytest.mark.parametrize("attack", those_with_control(Where.RUN), ids=str)
def test_what_a_hostile_agent_tries_in_a_whole_run_would_show(attack: Attack, run_ground: Ground) -> None:
    require_success(attack, run_ground)
