"""What every method of training is given and has to say."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from reading.fitting import Rows


@dataclass(frozen=True)
class Setting:
    """What a method reads its rows with and builds its trainer from.

    Attributes:
        job: the training job as it came from the parent.
        arguments: the plan's own arguments for the trainer.
        tokenizer: the base model's.
        pad: the id that fills up short rows.
        dtype: of the model's weights.
        shared_works: whether this model takes the shared layout of batches (`ft_agent.packing`).
        longest: the most positions the model has.
        packed: whether batches that are too long for the shared layout are packed.
    """

    job: Mapping[str, Any]
    arguments: Mapping[str, Any]
    tokenizer: Any
    pad: int
    dtype: Any
    shared_works: bool
    longest: int
    packed: bool = False

    @property
    def batch(self) -> int:
        """Examples a step of one process."""
        return int(self.arguments.get("per_device_train_batch_size", 8))

    @property
    def max_length(self) -> int:
        """Most tokens of an example; what is longer is left out, never cut."""
        return int(self.arguments.get("max_length") or 10**9)


@dataclass(frozen=True)
class Material:
    """Rows ready for the trainer.

    Attributes:
        rows: in training order.
        dropped: examples left out because they are too long.
        unused: examples left out because they hold nothing that the method learns from.
        mean_tokens: of a row.
        counted: tokens of rows as they are computed, for memory and speed (`ft_agent.on_card.fit_on`).
        arguments: for the trainer, as the rows suggest them; a plan's own come first.
    """

    rows: list[Any]
    dropped: int
    mean_tokens: float
    counted: Rows
    unused: int = 0
    arguments: Mapping[str, Any] = field(default_factory=dict)


class Method(Protocol):
    """One way to train."""

    def config_class(self) -> Any:
        """Return the trainer's own class of arguments."""

    def defaults(self) -> dict[str, Any]:
        """Return arguments that a plan may override."""

    def fixed(self) -> dict[str, Any]:
        """Return arguments that it may not."""

    def read(self, setting: Setting) -> Material:
        """Turn the job's examples into rows.

        Raises:
            ValueError: none is fit; says what is missing.
        """

    def layout(self, setting: Setting, material: Material) -> str:
        """Return the name of how rows are laid out in a batch."""

    def trainer(self, setting: Setting, material: Material, model: Any, common: dict[str, Any]) -> Any:
        """Make the trainer. ``common``: args, processing_class, optimizers, callbacks."""

    def watch(self) -> Any:
        """Return a function of loss, gradient norm and the logged figures that says ``nan``, ``diverged`` or None."""


def watched_loss() -> Any:
    """Watch a loss that falls."""
    from ft_agent.pace import LossWatch

    losses = LossWatch()

    def see(loss: float, gradient: float, _: Mapping[str, Any]) -> str | None:
        return losses.see(loss, gradient)

    return see
