from datetime import UTC, datetime, timedelta

from harness.session.record import fold
from harness.spec.event import Event, EventKind
from harness.spec.outcome import Cause, Outcome, RunState
from tests.unit.spec.feedback import feedback

T0 = datetime(2026, 1, 1, tzinfo=UTC)


def events(*pairs: tuple[EventKind, dict]) -> list[Event]:
    return [Event(seq=i, time=T0 + timedelta(seconds=i), kind=k, data=d, elapsed_s=i) for i, (k, d) in enumerate(pairs)]


def evaluate(number: int, value: float, digest: str) -> tuple[EventKind, dict]:
    data = {"evaluation": number, "key": f"k{number}", "digest": digest, "feedback": feedback(number, value)}
    return EventKind.EVALUATE, data


def test_a_run_without_events_is_queued():
    record = fold([])
    assert record.state is RunState.QUEUED and record.attempt == 1


def test_evaluations_and_submissions_are_known_by_their_keys_after_a_restart():
    record = fold(
        events(
            (EventKind.STATE, {"state": "running"}),
            evaluate(1, 0.2, "d1"),
            evaluate(2, 0.4, "d2"),
            evaluate(3, 0.4, "d3"),
            (EventKind.SUBMIT, {"submission": 1, "key": "s1", "digest": "d2", "answer": {"submission": 1}}),
        )
    )
    assert [e.key for e in record.evaluations] == ["k1", "k2", "k3"]
    assert record.best_evaluation is not None and record.best_evaluation.number == 2  # the first of equals
    assert record.submissions[0].answer == {"submission": 1}


def test_another_attempt_forgets_the_agents_state_but_keeps_the_timeline():
    record = fold(
        events(
            (EventKind.STATE, {"state": "running"}),
            (EventKind.CLOCK_STARTED, {}),
            evaluate(1, 0.2, "d1"),
            (EventKind.STATE, {"state": "queued", "attempt": 2}),
        )
    )
    assert record.attempt == 2 and record.evaluations == () and record.clock_started is None
    assert [p.state for p in record.timeline] == [RunState.RUNNING, RunState.QUEUED]
    assert record.timeline[0].seconds == 3


def test_the_agents_outcome_is_kept_apart_from_a_later_failure_of_the_grader():
    agent = Outcome(cause=Cause.COMPLETED, phase="agent").model_dump(mode="json")
    grader = Outcome(cause=Cause.GRADER, phase="grade").model_dump(mode="json")
    record = fold(events((EventKind.OUTCOME, agent), (EventKind.OUTCOME, grader)))
    assert record.agent_outcome is not None and record.agent_outcome.cause is Cause.COMPLETED
    assert record.outcome is not None and record.outcome.cause is Cause.GRADER
