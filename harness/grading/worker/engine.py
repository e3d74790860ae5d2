"""The seam between scoring and what computes answers: transformers in this process, or vLLM in a process of its own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Protocol

from harness.grading.submission.base_files import BaseFiles
from harness.grading.submission.check import Submission
from harness.grading.worker.generation import Continuation
from harness.spec.engine import EngineName, EngineRecord

Ended = Callable[[int], None]


class Engine(Protocol):
    """A base model that submissions are put into, one at a time, and that continues prompts greedily.

    Attributes:
        files: the base model's files.
        tokenizer: the base model's, never the submission's.
        model: what lm-eval reads configuration and end tokens of; it may hold no weights.
    """

    files: BaseFiles
    tokenizer: Any
    model: Any

    def loaded(self, submission: Submission) -> AbstractContextManager[None]:
        """Hold a checked submission; afterwards nothing of it is left for the next."""
        ...

    def answer(
        self,
        prompts: Sequence[list[int]],
        *,
        caps: Sequence[int],
        stop_tokens: frozenset[int],
        batch_size: int,
        on_done: Ended | None = None,
    ) -> list[Continuation]:
        """Continue every prompt greedily until a stop token or its cap, one continuation a prompt in their order.

        Args:
            prompts: token ids, none empty.
            caps: most tokens of each continuation.
            stop_tokens: ids that end an answer.
            batch_size: prompts computed together at most, by an engine that pads them to one length.
            on_done: called after every step with the number of answers that ended in it: a sign of life.
        """
        ...

    def warm_up(self, max_context: int, batch_size: int) -> None:
        """Do what the first answers would wait for otherwise."""
        ...

    def record(self) -> EngineRecord:
        """Say how the submission that is held is computed."""
        ...

    def rest(self) -> None:
        """Give a card's memory back until the next submission is loaded, which then takes longer."""
        ...


def open_engine(name: EngineName, base: Path, python: str, scratch: Path, lends: bool = False) -> Engine:
    """Load the base model.

    Args:
        name: which engine.
        base: the base model's folder.
        python: the interpreter that has vLLM; of no use to transformers.
        scratch: a folder for weights that vLLM must read from a disk.
        lends: others work on the same card, so what is free there is all that may be taken.

    Raises:
        GraderFailure: vLLM cannot be started; never another engine instead.
    """
    if name == "vllm":
        from harness.grading.worker.vllm_model import VllmModel

        return VllmModel(base, python, scratch, lends=lends)
    from harness.grading.worker.warm_model import WarmModel

    return WarmModel(base)
