"""dojo: a benchmark-as-a-service for agents that fine-tune language models end to end."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from harness.service import Dojo

__version__ = "0.1.0"
__all__ = ["Dojo", "__version__"]


def __getattr__(name: str) -> Any:
    """Load the façade on first use, so that ``import harness`` stays cheap."""
    if name == "Dojo":
        from harness.service import Dojo

        return Dojo
    raise AttributeError(f"module 'harness' has no attribute {name!r}")
