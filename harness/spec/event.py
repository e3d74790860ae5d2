"""One line of a run's events.jsonl: append-only, the source of truth. What an event says is a typed payload, chosen by its kind.

A line of an earlier version parses: fields that came later have defaults. A field of a later version is kept as it is.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated, Any, ClassVar, Literal, Union

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SerializeAsAny,
    SerializerFunctionWrapHandler,
    TypeAdapter,
    create_model,
    model_serializer,
    model_validator,
)

from harness.spec.base import Spec
from harness.spec.feedback import Feedback
from harness.spec.gpu import GpuFigures, GpuProcess
from harness.spec.outcome import Outcome, RunState
from harness.spec.result import GradeRecord
from harness.spec.side import SideResult
from harness.spec.submission import SubmissionReport


class EventKind(StrEnum):
    """What can happen in a run."""

    STATE = "state"
    CLOCK_STARTED = "clock_started"
    CLOCK_STOPPED = "clock_stopped"
    AGENT_STARTED = "agent_started"
    AGENT_EXITED = "agent_exited"
    ATTACHED = "attached"
    EXEC = "exec"
    FILE = "file"
    VALIDATE = "validate"
    EVALUATE = "evaluate"
    SUBMIT = "submit"
    NOTE = "note"
    LLM_RESERVED = "llm_reserved"
    LLM_CALL = "llm_call"
    LLM_REFUSED = "llm_refused"
    LLM_OUTAGE = "llm_outage"
    BUDGET_WARNING = "budget_warning"
    BUDGET_EXHAUSTED = "budget_exhausted"
    GPU_SAMPLE = "gpu_sample"
    GPU_FAULT = "gpu_fault"
    GPU_HELD = "gpu_held"
    KILLED = "killed"
    SEALED = "sealed"
    GRADED = "graded"
    SIDE = "side"
    INTEGRITY = "integrity"
    ERROR = "error"
    OUTCOME = "outcome"


class Payload(BaseModel):
    """What an event says beside its kind."""

    model_config = ConfigDict(frozen=True, extra="allow", ser_json_inf_nan="null")
    kind: ClassVar[EventKind]

    @model_serializer(mode="wrap")
    def _lean(self, write: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Leave out what says nothing: None where that is the default."""
        fields = type(self).model_fields
        return {k: v for k, v in write(self).items() if v is not None or k not in fields or fields[k].default is not None}


class Entered(Payload):
    """The run entered a state; ``queued`` again begins another attempt."""

    kind = EventKind.STATE
    state: RunState
    attempt: int | None = Field(None, description="of a new attempt: its number")
    why: str | None = Field(None, description="of a new attempt: what ended the one before")


class ClockStarted(Payload):
    """The budget clock of this attempt started."""

    kind = EventKind.CLOCK_STARTED


class ClockStopped(Payload):
    """The agent phase is over; what it has spent."""

    kind = EventKind.CLOCK_STOPPED
    usage: dict[str, Any] = Field(default_factory=dict, description="as `Usage`")
    overshoot_s: float | None = Field(
        None, description="seconds from the end of its time until nothing of the agent ran any more"
    )


class AgentStarted(Payload):
    """The agent program runs, or was found running."""

    kind = EventKind.AGENT_STARTED
    process: str = ""


class AgentExited(Payload):
    """The agent program ended by itself, or was ended by a limit of its sandbox."""

    kind = EventKind.AGENT_EXITED
    exit_code: int | None = None
    oom_killed: bool = False


class Attached(Payload):
    """A new harness process took the run over."""

    kind = EventKind.ATTACHED
    state: RunState | None = None
    after: str | None = None


class Executed(Payload):
    """A command of the agent API; its output is cut."""

    kind = EventKind.EXEC
    argv: tuple[str, ...] = ()
    exit_code: int = 0
    stdout: str = ""
    stderr: str = ""
    timed_out: bool = False
    truncated: bool = False
    oom_killed: bool = False
    duration_s: float = 0.0


class FileMoved(Payload):
    """A file was read or written through the agent API."""

    kind = EventKind.FILE
    op: Literal["read", "write"]
    path: str
    bytes: int = 0


class Validated(Payload):
    """A submission was checked, not scored."""

    kind = EventKind.VALIDATE
    path: str = ""
    digest: str = ""
    report: SubmissionReport


class Evaluated(Payload):
    """A metered evaluation on the dev split was acknowledged."""

    kind = EventKind.EVALUATE
    evaluation: int
    key: str = Field("", description="idempotency key")
    digest: str = ""
    note: str = ""
    feedback: Feedback


class Submitted(Payload):
    """A submission was acknowledged; it lies in ``submissions/<n>/``."""

    kind = EventKind.SUBMIT
    submission: int
    key: str = ""
    digest: str
    note: str = ""
    answer: dict[str, Any] = Field(default_factory=dict, description="what the agent was answered")


class Noted(Payload):
    """A line of the agent's own."""

    kind = EventKind.NOTE
    key: str = ""
    text: str
    data: Any = None


class LlmReserved(Payload):
    """The gateway took a call in: its worst case is set aside before anything goes upstream."""

    kind = EventKind.LLM_RESERVED
    call: int = Field(description="its number in the run, from 1, over all attempts of the gateway's process")
    tokens: int = Field(description="an upper bound of the prompt plus the cap of the answer")
    output_tokens: int = Field(0, description="of these: the cap of the answer")
    dollars: float = 0.0
    request: str = Field("", description="hash of the canonical request")


class LlmCalled(Payload):
    """A call is over and settled. Tokens that the upstream did not report are None, and charged at their reservation."""

    kind = EventKind.LLM_CALL
    call: int
    format: str = Field("", description="wire format the agent spoke: chat, responses, messages, google")
    upstream_format: str = Field("", description="wire format the upstream was spoken to in")
    asked: str = Field("", description="model the agent asked for")
    served: str = Field("", description="model that answered, as the upstream says")
    status: int = Field(0, description="HTTP status the agent got; 499: it hung up before the end")
    error: str | None = Field(None, description="our code of what went wrong")
    stop: str | None = Field(None, description="end, length, tools or refusal")
    streamed: bool = False
    tools: int = Field(0, description="tool calls in the answer")
    input_tokens: int | None = Field(None, description="all of the prompt, cached or not")
    output_tokens: int | None = Field(None, description="all that was generated, reasoning too")
    cached_tokens: int | None = None
    cache_write_tokens: int | None = None
    reasoning_tokens: int | None = None
    tokens: int = Field(0, description="charged")
    charged_output: int = Field(0, description="of these: of the answer")
    dollars: float = Field(0.0, description="charged")
    latency_s: float = Field(0.0, description="until the last byte")
    first_s: float | None = Field(None, description="until the first byte of the answer")
    tries: int = Field(1, description="how often it was sent upstream")
    waited_s: float = Field(0.0, description="of the latency: between tries")
    request: str = ""


class LlmRefused(Payload):
    """A call that never went upstream: not allowed, malformed, or beyond the budget. Only the first thousand are told."""

    kind = EventKind.LLM_REFUSED
    format: str = ""
    asked: str = ""
    status: int = 0
    error: str = ""
    message: str = ""


class LlmOutage(Payload):
    """The backbone was down by the gateway's own probe, from ``at_s`` on the budget clock for ``seconds``; agents pay no time."""

    kind = EventKind.LLM_OUTAGE
    at_s: float
    seconds: float
    message: str = ""


class BudgetWarning(Payload):
    """A share of a budget dimension is spent."""

    kind = EventKind.BUDGET_WARNING
    dimension: str
    share: float


class BudgetSpent(Payload):
    """A budget dimension is spent, and that ends the agent phase."""

    kind = EventKind.BUDGET_EXHAUSTED
    dimension: str


class GpuSampled(Payload):
    """A look at the run's GPUs while its agent works."""

    kind = EventKind.GPU_SAMPLE
    gpus: tuple[GpuFigures, ...] = ()


class GpuFault(Payload):
    """An error of a GPU, as the kernel's log or nvidia-smi tell it."""

    kind = EventKind.GPU_FAULT
    message: str = ""
    xid: int | None = Field(None, description="NVIDIA's number of it; None: nvidia-smi told it")
    infrastructure: bool = Field(False, description="whether no program can be to blame")


class GpuHeld(Payload):
    """Processes with memory on the run's GPUs that should have none, or are not the run's."""

    kind = EventKind.GPU_HELD
    held: tuple[GpuProcess, ...] = Field((), description="of the agent's sandboxes, which have ended")
    others: tuple[GpuProcess, ...] = Field((), description="of nobody in this run")
    gpus: tuple[str, ...] = Field((), description="where it was looked, as nvidia-smi calls them")


class Killed(Payload):
    """Everything of the agent was killed; how many processes survived (0 is the promise)."""

    kind = EventKind.KILLED
    survivors: int


class Sealed(Payload):
    """The submission that counts was hashed and made read-only."""

    kind = EventKind.SEALED
    submission: int
    digest: str
    files: int = 0
    bytes: int = 0


class Graded(Payload, GradeRecord):
    """The sealed submission was scored on the hidden split."""

    model_config = ConfigDict(extra="allow")
    kind = EventKind.GRADED


class SideEvaluated(Payload):
    """The submission of a grade was measured beside its base model on side evaluations."""

    kind = EventKind.SIDE
    grade: int
    results: tuple[SideResult, ...]


class Integrity(Payload):
    """What an integrity check found."""

    kind = EventKind.INTEGRITY


class Failed(Payload):
    """Something broke that is not the agent's doing, or the agent was told so."""

    kind = EventKind.ERROR
    where: str = ""
    message: str = "error"
    cause: str | None = None
    code: str | None = None
    hint: str | None = None
    traceback: str | None = None


class Ended(Payload, Outcome):
    """How the agent phase, or the whole run, ended."""

    model_config = ConfigDict(extra="allow")
    kind = EventKind.OUTCOME


PAYLOADS: Mapping[EventKind, type[Payload]] = {
    payload.kind: payload
    for payload in (
        Entered, ClockStarted, ClockStopped, AgentStarted, AgentExited, Attached, Executed, FileMoved, Validated, Evaluated,
        Submitted, Noted, LlmReserved, LlmCalled, LlmRefused, LlmOutage, BudgetWarning, BudgetSpent,
        GpuSampled, GpuFault, GpuHeld, Killed, Sealed, Graded, SideEvaluated, Integrity, Failed, Ended,
    )
}  # fmt: skip


class Event(Spec):
    """One event. ``seq`` counts from 0 without gaps; ``elapsed_s`` is the budget clock's wall time."""

    seq: int = Field(ge=0)
    time: datetime = Field(default_factory=lambda: datetime.now(UTC))
    elapsed_s: float = Field(0.0, ge=0)
    kind: EventKind
    data: SerializeAsAny[Payload]

    @model_validator(mode="before")
    @classmethod
    def _typed(cls, raw: Any) -> Any:
        """Read ``data`` as the payload of this kind."""
        if not isinstance(raw, Mapping):
            return raw
        data = raw.get("data") or {}
        if isinstance(data, Payload):
            return {**raw, "kind": data.kind}
        return {**raw, "data": payload_of(EventKind(raw["kind"]), data)} if "kind" in raw else raw


def payload_of(kind: EventKind, data: Mapping[str, Any]) -> Payload:
    """Return what an event of ``kind`` says, typed.

    Raises:
        ValidationError: ``data`` is no such payload.
    """
    return PAYLOADS[kind].model_validate(data)


def event_schema() -> dict[str, Any]:
    """Return the JSON schema of a line: one form for each kind, told apart by ``kind``."""
    make: Any = create_model
    lines = [
        make(
            f"{payload.__name__}Event",
            __config__=ConfigDict(extra="forbid"),
            __doc__=payload.__doc__,
            seq=(int, Field(ge=0)),
            time=(datetime, ...),
            elapsed_s=(float, Field(0.0, ge=0)),
            kind=(Literal[kind], ...),
            data=(payload, ...),
        )
        for kind, payload in PAYLOADS.items()
    ]
    line: Any = Annotated[Union[tuple(lines)], Field(discriminator="kind")]  # noqa: UP007
    return TypeAdapter(line).json_schema()
