"""dojo: a benchmark-as-a-service for agents that fine-tune language models end to end."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from harness.service import Dojo
    from harness.spec.errors import (
        BudgetExhausted,
        DojoError,
        GraderFailure,
        IsolationUnavailable,
        MissingError,
        NotFoundError,
        SandboxError,
        SandboxUnavailable,
        SpecError,
        StoreError,
        SubmissionRefused,
        UsageError,
    )

__version__ = "0.1.0"
__all__ = [
    "BudgetExhausted",
    "Dojo",
    "DojoError",
    "GraderFailure",
    "IsolationUnavailable",
    "MissingError",
    "NotFoundError",
    "SandboxError",
    "SandboxUnavailable",
    "SpecError",
    "StoreError",
    "SubmissionRefused",
    "UsageError",
    "__version__",
]


def __getattr__(name: str) -> Any:
    """Load the façade and the errors on first use, so that ``import harness`` stays cheap."""
    if name == "Dojo":
        from harness.service import Dojo

        return Dojo
    if name in __all__:
        from harness.spec import errors

        return getattr(errors, name)
    raise AttributeError(f"module 'harness' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
