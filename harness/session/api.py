"""What the agent may call: the meaning of each call, without HTTP. Every call lands in the run's events."""

from __future__ import annotations

import errno
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Protocol

from pydantic import AfterValidator, Field, ValidationError

from harness.grading.evaluator import refusal
from harness.grading.submission.leftovers import PATTERNS, hinted, tell_left_out
from harness.sandbox.base import Sandbox
from harness.serving.spool import Spool
from harness.session.clock import BudgetClock
from harness.session.collect import archived, collect_submission, submission_caps, unseal_and_remove
from harness.session.end import AgentEnd
from harness.session.feedback import make_feedback
from harness.session.journal import Journal
from harness.session.permission import not_permitted
from harness.session.told import Told
from harness.spec.base import Spec
from harness.spec.budget import Usage, budget_lines
from harness.spec.errors import BudgetExhausted, SandboxError, UsageError
from harness.spec.event import Evaluated, Executed, FileMoved, Noted, Submitted, Validated
from harness.spec.run import RunSpec
from harness.spec.submission import Manifest, SubmissionReport
from harness.spec.verdict import Verdict
from harness.store.run_dir import RunDir
from harness.taskkit.scoring.contract import TaskGrader

# What of a command's output goes into the events; the agent gets it whole (up to the sandbox's own cap).
_EVENT_TEXT = 2_000
# An agent may not fill the events file through notes: THREATS, output floods.
_NOTE_BYTES = 64 * 1024
# Kept of each output stream of a command, head and tail: more than an agent reads, little enough for many at once.
OUTPUT_BYTES = 256 * 1024
# A file that is moved through the harness; larger ones are made inside the sandbox, or moved in pieces.
FILE_BYTES = 64 * 1024 * 1024
# Submissions and notes of one run, all of which stay in memory while it goes on. Honest agents hand in some hundred times.
SUBMISSIONS, NOTES = 1_000, 10_000

# Codes of a sandbox's errors that say what is wrong with a call, not with the sandbox.
_NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_MISTAKES = frozenset({"bad_argv", "bad_path", "not_regular", "too_large", "bad_name", "too_deep", "changed"})


def _without_nul(text: str) -> str:
    if "\0" in text:
        raise ValueError("has a NUL byte in it")
    return text


def _variable(name: str) -> str:
    if not name or "=" in name:
        raise ValueError("a variable's name is not empty and has no = in it")
    return _without_nul(name)


# What the kernel takes: it has no NUL byte in it.
_Argument = Annotated[str, AfterValidator(_without_nul)]
_Variable = Annotated[str, AfterValidator(_variable)]


class ExecCall(Spec):
    """Body of ``POST /v1/exec``."""

    argv: list[_Argument] | None = Field(None, min_length=1)
    command: _Argument | None = None
    stdin: str = ""
    cwd: _Argument | None = None
    timeout_s: float | None = Field(
        None,
        gt=0,
        allow_inf_nan=False,
        description="seconds until the whole process tree is killed, more than 0; null: it may run until the run's time is over",
    )
    env: dict[_Variable, _Argument] = Field(default_factory=dict)


class PathCall(Spec):
    """Body of ``POST /v1/validate``."""

    path: _Argument = Field(min_length=1)


class EvaluateCall(PathCall):
    """Body of ``POST /v1/evaluate`` and ``/v1/submit``."""

    note: str = ""


class NoteCall(Spec):
    """Body of ``POST /v1/note``."""

    text: str
    data: Any = None


class Scorer(Protocol):
    """Checks and scores a submission folder on the dev split."""

    def check(self, folder: Path) -> SubmissionReport:
        """Say whether it would load."""
        ...

    def score(self, folder: Path) -> tuple[Verdict, dict[str, str]]:
        """Return the verdict and the model's responses by item id."""
        ...


@dataclass(frozen=True)
class ApiContext:
    """What a running agent phase consists of. ``grader`` loads the task's."""

    spec: RunSpec
    run: RunDir
    journal: Journal
    clock: BudgetClock
    sandbox: Sandbox
    evaluator: Scorer
    task_view: dict[str, Any]
    dev_items: dict[str, dict[str, Any]]
    show_answers: bool
    usage: Callable[[], Usage]
    told: Told
    end: AgentEnd = field(default_factory=AgentEnd)
    grader: Callable[[], TaskGrader | None] = lambda: None


class SessionApi:
    """The calls of one run. Thread-safe: calls that score or collect go one after the other."""

    def __init__(self, context: ApiContext) -> None:
        self._context = context
        self._turn = threading.Lock()
        self._closed = threading.Event()

    def close(self) -> None:
        """Refuse further calls and wait until the one that is scoring or collecting has ended."""
        self._closed.set()
        with self._turn:
            pass

    def task(self) -> dict[str, Any]:
        """Return the task as the agent sees it."""
        return self._context.task_view

    def budget(self) -> dict[str, Any]:
        """Return limit, use and rest of every dimension."""
        lines = budget_lines(self._context.spec.budget, self._context.usage())
        return {name: line.model_dump() for name, line in lines.items()}

    def exec(self, body: dict[str, Any]) -> dict[str, Any]:
        """Run a command in the task sandbox, at most until the deadline of the run; its output is still bytes."""
        call = _parse(ExecCall, body)
        if (call.argv is None) == (call.command is None):
            raise UsageError("exec takes either argv or command", hint='for example {"command": "ls -l"}')
        argv = call.argv if call.argv is not None else ["/bin/sh", "-c", str(call.command)]
        left = self._context.clock.left()
        timeout = min(call.timeout_s, left) if call.timeout_s is not None else left
        with _command_errors():
            result = self._context.sandbox.exec(
                argv,
                stdin=call.stdin.encode(errors="replace"),
                cwd=call.cwd or "/workspace",
                env=call.env,
                timeout_s=timeout,
                output_cap=OUTPUT_BYTES,
            )
        said = {
            "exit_code": result.exit_code,
            "timed_out": result.timed_out,
            "truncated": result.truncated,
            "oom_killed": result.oom_killed,
            "duration_s": round(result.duration_s, 4),
        }
        cut = {
            "argv": [part[:_EVENT_TEXT] for part in argv[:50]],
            "stdout": _beginning(result.stdout),
            "stderr": _beginning(result.stderr),
        }
        self._context.told.tell(Executed.model_validate({**said, **cut}))
        return {**said, "stdout": result.stdout, "stderr": result.stderr}

    def spool(self, kept: int) -> Spool:
        """Return a place for bytes on their way, of which ``kept`` stay in memory; the rest lies in the run's private folder."""
        return Spool(self._context.run.private, kept)

    def read_file(self, path: str, target: Spool) -> None:
        """Copy a file of the task sandbox into ``target``."""
        with _file_errors(path):
            size = self._context.sandbox.read_into(path, target, max_bytes=FILE_BYTES)
        self._context.told.tell(FileMoved(op="read", path=path[:_EVENT_TEXT], bytes=size))

    def write_file(self, path: str, source: Spool) -> dict[str, Any]:
        """Write a file into the task sandbox."""
        source.rewind()
        self._require_time()
        with _file_errors(path):
            self._context.sandbox.write_from(path, source, source.size)
        self._context.told.tell(FileMoved(op="write", path=path[:_EVENT_TEXT], bytes=source.size))
        return {"path": path, "bytes": source.size}

    def validate(self, body: dict[str, Any]) -> dict[str, Any]:
        """Say whether a submission would load. Not metered."""
        call = _parse(PathCall, body)
        with self._one_at_a_time(), self._collected(call.path, "validate") as (folder, manifest, left_out):
            report = tell_left_out(self._context.evaluator.check(folder), left_out)
        self._context.told.tell(Validated(path=call.path[:_EVENT_TEXT], digest=manifest.digest, report=report))
        return report.model_dump(mode="json")

    def evaluate(self, body: dict[str, Any], key: str) -> dict[str, Any]:
        """Score a submission on the dev split; costs one evaluation, once for each idempotency key."""
        call = _parse(EvaluateCall, body)
        with self._one_at_a_time():
            done = self._context.journal.record.evaluations
            if known := next((e for e in done if key and e.key == key), None):
                return known.answer
            limit = self._context.spec.budget.evaluations
            if len(done) >= limit:
                raise BudgetExhausted(f"all {limit} evaluations are spent", hint="validate and submit are still free")
            with self._collected(call.path, "evaluate") as (folder, manifest, left_out), hinted(left_out):
                verdict, responses = self._context.evaluator.score(folder)
            feedback = make_feedback(
                number=len(done) + 1,
                left=limit - len(done) - 1,
                verdict=verdict,
                responses=responses,
                items=self._context.dev_items,
                earlier=[e.answer for e in done],
                show_answers=self._context.show_answers,
                max_new_tokens=self._context.spec.generation.max_new_tokens,
                grader=self._context.grader(),
            )
            self._context.journal.emit(
                Evaluated(
                    evaluation=len(done) + 1, key=key, digest=manifest.digest, note=call.note[:_EVENT_TEXT], feedback=feedback
                )
            )
            return feedback.model_dump(mode="json")

    def submit(self, body: dict[str, Any], key: str) -> dict[str, Any]:
        """Take a submission in: copied out, checked, hashed and acknowledged in one event."""
        call = _parse(EvaluateCall, body)
        context = self._context
        with self._one_at_a_time():
            done = context.journal.record.submissions
            if known := next((s for s in done if key and s.key == key), None):
                return known.answer
            if len(done) >= SUBMISSIONS:
                raise BudgetExhausted(f"all {SUBMISSIONS} submissions are used", hint="what was handed in is graded")
            number = len(done) + 1
            with self._collected(call.path, f"submit-{number}", kept=True) as (folder, manifest, left_out):
                report = tell_left_out(context.evaluator.check(folder), left_out)
                if not report.ok:
                    raise refusal(report)
                target = context.run.submissions / str(number)
                unseal_and_remove(target)
                folder.rename(target)
            answer = {
                "submission": number,
                "digest": manifest.digest,
                "bytes": manifest.bytes,
                "report": report.model_dump(mode="json"),
            }
            context.journal.emit(
                Submitted(submission=number, key=key, digest=manifest.digest, note=call.note[:_EVENT_TEXT], answer=answer)
            )
            self._drop_superseded(number)
            return answer

    def note(self, body: dict[str, Any], key: str) -> dict[str, Any]:
        """Put a line of the agent into the trajectory, once for each idempotency key."""
        call = _parse(NoteCall, body)
        if key and key in self._context.journal.record.notes:
            return {}
        if len(call.model_dump_json()) > _NOTE_BYTES:
            raise UsageError(f"a note of more than {_NOTE_BYTES} bytes", hint="write a file under /workspace instead")
        if self._context.told.full() or len(self._context.journal.record.notes) >= NOTES:
            raise UsageError("the run's record is full", hint="write a file under /workspace instead", code="record_full")
        self._context.journal.emit(Noted(key=key, **call.model_dump(mode="json")))
        return {}

    def _drop_superseded(self, newest: int) -> None:
        """Keep the newest submission and the one that scored best on dev; the others can never count."""
        record = self._context.journal.record
        best = record.best_evaluation
        keep = {newest} | {s.number for s in record.submissions if best and s.digest == best.digest}
        for old in record.submissions:
            if old.number not in keep:
                unseal_and_remove(self._context.run.submissions / str(old.number))

    @contextmanager
    def _one_at_a_time(self) -> Iterator[None]:
        with self._turn:
            self._require_time()
            yield

    def _require_time(self) -> None:
        if self._closed.is_set() or self._context.end.over or self._context.clock.left() <= 0:
            raise BudgetExhausted("the run is over", hint="what was submitted before is graded")

    @contextmanager
    def _collected(self, path: str, purpose: str, kept: bool = False) -> Iterator[tuple[Path, Manifest, list[str]]]:
        """Copy a directory out of the sandbox into a private place that is gone afterwards, unless moved on.

        Yields the place, the manifest, and the names of what was left out as no part of a model.

        What is still being read when the agent's time is over is given up: it may have been written later. With ``kept`` it is
        read again when nothing of the agent runs any more, and is then as it was at the end.
        """
        folder = self._context.run.private / f"incoming-{purpose}"
        unseal_and_remove(folder)
        try:
            with _file_errors(path):
                try:
                    manifest, left_out = self._copy(path, folder, self._require_time)
                except BudgetExhausted:
                    if not kept or not self._context.end.await_death():
                        raise
                    manifest, left_out = self._copy(path, folder, lambda: None)
            yield folder, manifest, left_out
        finally:
            unseal_and_remove(folder)

    def _copy(self, path: str, folder: Path, require: Callable[[], None]) -> tuple[Manifest, list[str]]:
        """Copy a directory, as long as what is asked for at each piece, and at the end, holds."""
        caps = submission_caps(self._context.sandbox.spec.limits)
        pieces = archived(self._context.sandbox, path, caps, without=PATTERNS)
        copied = collect_submission(_while(require, pieces), folder, caps)
        try:
            require()
        except BudgetExhausted:
            unseal_and_remove(folder)
            raise
        return copied


def _while(require: Callable[[], None], pieces: Iterator[bytes]) -> Iterator[bytes]:
    for piece in pieces:
        require()
        yield piece


def _beginning(output: bytes) -> str:
    """Return what of an output goes into the events."""
    return output[: 4 * _EVENT_TEXT].decode(errors="replace")[:_EVENT_TEXT]


def _parse(model: type[Any], body: Any) -> Any:
    try:
        return model.model_validate(body)
    except ValidationError as exc:
        err = exc.errors()[0]
        where = ".".join(str(p) for p in err["loc"] if p != "[key]") or "body"
        raise UsageError(
            f"{where}: {err['msg'].removeprefix('Value error, ')}", hint="docs/architecture.md lists the fields of every call"
        ) from exc


@contextmanager
def _agents_mistakes() -> Iterator[None]:
    """Tell what the agent asked for wrongly from what the sandbox did not do."""
    try:
        yield
    except SandboxError as exc:
        if exc.code not in _MISTAKES:
            raise
        raise UsageError(exc.message, hint=exc.hint or "check what you sent", code=exc.code) from exc


@contextmanager
def _command_errors() -> Iterator[None]:
    """A command that cannot be started, for its folder, its variables or its length, is the agent's."""
    try:
        with _agents_mistakes():
            yield
    except (OSError, ValueError) as exc:
        text = f"the command cannot be started: {exc.strerror or exc}" if isinstance(exc, OSError) else str(exc)
        raise UsageError(text[:500], hint="check argv, cwd and env", code="bad_command") from exc


@contextmanager
def _file_errors(path: str) -> Iterator[None]:
    """Name the path in what the sandbox's file calls raise."""
    try:
        with _agents_mistakes():
            yield
    except (FileNotFoundError, NotADirectoryError) as exc:
        raise UsageError(f"{path!r} does not exist in the sandbox", hint="check the path", code="no_such_file") from exc
    except IsADirectoryError as exc:
        raise UsageError(f"{path!r} is a directory", hint="name a file", code="is_a_directory") from exc
    except PermissionError as exc:
        raise not_permitted(path, exc) from exc
    except OSError as exc:
        if exc.errno == errno.EIO:
            raise SandboxError(f"{path[:200]!r}: {exc.strerror}", hint="look at the host's disk", code="file") from exc
        hint = "make room" if exc.errno in _NO_ROOM else "use a path under /workspace"
        raise UsageError(f"{path[:200]!r}: {exc.strerror or exc}", hint=hint, code="file") from exc
