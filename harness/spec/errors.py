"""The one tree of errors that dojo raises on purpose.

DojoError                     exit code
├── UsageError                2   wrong input; names the value and the fix
│   ├── NotFoundError         2   unknown name; carries "did you mean"
│   └── SpecError             2   a file (task.toml, agent.toml, dojo.toml) that does not parse
├── MissingError              3   something needed is not installed, prepared or allowed here
│   ├── IsolationUnavailable  3   this host cannot isolate a sandbox
│   ├── AccessDenied          3   a service does not know the token, or its role is too small
│   └── QuotaExceeded         3   more than a user may use of a service; names the quota
├── SandboxError              1   a sandbox did not do what was asked
│   └── SandboxUnavailable    1   the sandbox is gone or never came up; carries the cause
├── SubmissionRefused         1   what an agent handed in is unsafe or unusable (typed by `code`)
├── BudgetExhausted           1   an agent asked for more than it has left
├── GraderFailure             1   the grader broke; never turned into a score
│   ├── SealBroken            1   what was sealed is missing or altered
│   └── EngineMissing         3   vLLM is to generate answers and is not here
└── StoreError                1   the results directory or the database
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from harness.spec.outcome import Death


class DojoError(Exception):
    """An error with a remedy.

    Attributes:
        message: what is wrong, with the value named.
        hint: what to do about it.
        code: stable machine-readable name.
        exit_code: what the command line exits with.
    """

    default_code = "error"
    exit_code = 1

    def __init__(self, message: str, *, hint: str = "", code: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.code = code or self.default_code

    def as_dict(self) -> dict[str, str]:
        """Return the error as it appears under ``error`` in every JSON answer."""
        return {"code": self.code, "message": self.message, "hint": self.hint}


class UsageError(DojoError):
    """Wrong usage or input."""

    default_code = "usage"
    exit_code = 2


class NotFoundError(UsageError):
    """A name that nothing here has."""

    default_code = "not_found"

    @classmethod
    def named(cls, kind: str, name: str, known: list[str]) -> NotFoundError:
        """Build the error for an unknown ``name`` among ``known`` with "did you mean"."""
        import difflib

        close = difflib.get_close_matches(name, known, n=3, cutoff=0.5)
        if close:
            hint = f"did you mean {' or '.join(close)}?"
        elif known:
            hint = f"known: {', '.join(sorted(known)[:20])}"
        else:
            hint = f"there is no {kind} here yet"
        return cls(f"no {kind} named {name!r}", hint=hint)


class SpecError(UsageError):
    """A specification file that is malformed."""

    default_code = "spec"


class MissingError(DojoError):
    """Something needed is missing; the hint says how to get it."""

    default_code = "missing"
    exit_code = 3


class IsolationUnavailable(MissingError):
    """This host cannot isolate a sandbox with the backend that was asked for."""

    default_code = "isolation_unavailable"


class AccessDenied(MissingError):
    """A service does not know who asks (code ``unknown_token``), or does not let them (code ``forbidden``)."""

    default_code = "forbidden"


class QuotaExceeded(MissingError):
    """More than a user may use; ``code`` is ``quota_`` and the quota's name."""

    default_code = "quota"


class SandboxError(DojoError):
    """A sandbox did not do what was asked."""

    default_code = "sandbox"


class SandboxUnavailable(SandboxError):
    """The sandbox is gone or never came up; ``death`` says why, in a form that decides what happens to the run."""

    default_code = "sandbox_unavailable"

    def __init__(self, message: str, *, hint: str = "", code: str | None = None, death: Death | None = None) -> None:
        super().__init__(message, hint=hint, code=code)
        self._death = death

    @property
    def death(self) -> Death:
        """Why; where nobody knew more, the sandbox itself is the cause."""
        from harness.spec.outcome import Cause, Death  # these need pydantic, and errors must be cheap to import

        return self._death or Death(Cause.SANDBOX, self.message)


class SubmissionRefused(DojoError):
    """A submission that is unsafe or unusable; ``code`` says which rule it broke."""

    default_code = "submission_refused"


class BudgetExhausted(DojoError):
    """A request beyond what is left of a budget dimension."""

    default_code = "budget_exhausted"


class GraderFailure(DojoError):
    """The grader broke. Never a score."""

    default_code = "grader"


class SealBroken(GraderFailure):
    """The sealed submission is missing, or is not what was sealed; nothing is scored and earlier grades stand."""

    default_code = "sealed_altered"


class EngineMissing(GraderFailure):
    """The engine that answers are to be generated with is not to be had; no other one takes its place."""

    default_code = "no_engine"
    exit_code = 3


class StoreError(DojoError):
    """The results directory or the database could not be read or written."""

    default_code = "store"
