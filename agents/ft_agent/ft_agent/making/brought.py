"""All operations that a run can bring along (`data.Context.makers`), made from what the run has."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from ft_agent.data import Maker
from ft_agent.making.asking import Ask
from ft_agent.making.kept import Kept
from ft_agent.making.rewriting import rewrite
from ft_agent.making.self_generate import Sampler, self_generate
from ft_agent.making.synthesis import synthesise
from ft_agent.programs import Workshop


def makers(
    folder: Path,
    workshop: Workshop,
    *,
    task: str = "",
    ask: Ask | None = None,
    sampler: Callable[[], Sampler] | None = None,
) -> dict[str, Maker]:
    """Return the operations by name; without a backbone there is no ``synthesise`` and ``rewrite``.

    Args:
        folder: where what was made is kept.
        workshop: where data programs are kept; its lengths hold for all made rows.
        task: the task in words, for prompts.
        ask: the backbone; None: there is none.
        sampler: who answers questions now; None: no ``self_generate``.
    """
    kept = Kept(folder)
    found: dict[str, Maker] = {"program": workshop.maker()}
    if sampler is not None:
        found["self_generate"] = self_generate(sampler, kept, workshop.lengths)
    if ask is not None:
        found["synthesise"] = synthesise(ask, kept, task, workshop.lengths)
        found["rewrite"] = rewrite(ask, kept, task, workshop.lengths)
    return found
