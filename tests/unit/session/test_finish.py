"""What a result says of how a run used its backbone."""

import pytest

from harness.session.finish import build_result
from harness.session.record import fold
from harness.spec.agent import AgentConfig
from harness.spec.backbone import BackboneRef
from harness.spec.event import ClockStarted, Event, LlmCalled, LlmRefused, LlmReserved, Payload, Sealed, Submitted
from harness.spec.outcome import Cause, Outcome, RunState
from harness.spec.submission import Provenance, SubmissionReport
from harness.store.run_dir import RunDir
from tests.unit.session.test_runner import spec

FAILED = (LlmReserved(call=1, tokens=10), LlmCalled(call=1, status=503, error="upstream_broken"))


@pytest.mark.parametrize(
    ("requires", "said", "silent"),
    [
        ("required", (), True),
        ("required", (LlmRefused(error="usage"),), True),
        ("required", FAILED, False),
        ("required", (LlmReserved(call=1, tokens=10),), False),
        ("optional", (), False),
    ],
)
def test_a_run_is_flagged_where_no_call_ever_went_to_the_backbone_that_its_agent_requires(tmp_path, requires, said, silent):
    thinking = spec().model_copy(update={"backbone": BackboneRef(name="gpt", upstream="openai", model="m")})
    config = AgentConfig(name="base", command=("true",), backbone=requires)
    thinking = thinking.model_copy(update={"agent": thinking.agent.model_copy(update={"config": config})})
    told: list[Payload] = [ClockStarted(), *said]
    record = fold(Event(seq=seq, kind=payload.kind, data=payload) for seq, payload in enumerate(told))
    outcome = Outcome(cause=Cause.COMPLETED, phase="agent")
    result = build_result(thinking, RunDir(tmp_path), record, outcome, RunState.DONE, ())
    assert result.integrity.get("backbone_never_called", False) is silent
    assert result.backbone is not None and result.backbone.calls == (1 if said and not isinstance(said[0], LlmRefused) else 0)


def test_how_far_what_counts_moved_the_base_model_stands_among_the_integrity_findings(tmp_path):
    moved = Provenance(matrices=3, median=0.01, high=0.02, largest=0.03, largest_name="w")
    report = SubmissionReport(ok=True, kind="full", provenance=moved).model_dump(mode="json")
    told: list[Payload] = [
        Submitted(submission=1, key="", digest="d", answer={"report": report}),
        Sealed(submission=1, digest="d"),
    ]
    record = fold(Event(seq=seq, kind=payload.kind, data=payload) for seq, payload in enumerate(told))
    result = build_result(spec(), RunDir(tmp_path), record, Outcome(cause=Cause.COMPLETED, phase="agent"), RunState.DONE, ())
    assert result.integrity["provenance"] == moved.model_dump()
    assert result.submission_report is not None and result.submission_report.provenance == moved
