"""Greedy generation for many prompts at once, made for few CPU threads and warm models.

Three things save most of the time of a plain loop: what all prompts of a batch begin with (system prompt, worked examples) is
computed once; prompts of like length share a batch; and answers that have ended leave their batch, so that one rambling answer
does not keep thirty finished ones computing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from harness.grading.worker.attention import make_cache

if TYPE_CHECKING:
    import torch

Progress = Callable[[int], None]

# Raised whenever answers to the same prompts may change; stored measurements of other versions are not used.
VERSION = "1"

# Finished rows are taken out of a batch when they are more than this share of it: taking out copies the cache once.
_IDLE_SHARE = 0.125
# Prompts that share this many first tokens are worth computing together: the shared part is computed once a batch.
_WORTH_GROUPING, _SMALLEST_GROUP = 128, 4


@dataclass(frozen=True)
class Continuation:
    """What the model wrote after one prompt; ``ended`` is False where the cap cut it off. Token ids without the end token."""

    tokens: tuple[int, ...]
    ended: bool


def common_prefix(prompts: Sequence[list[int]]) -> int:
    """Length of what all prompts begin with; at least one token of each prompt is left over."""
    first, last = min(prompts), max(prompts)
    length = 0
    while length < min(len(first), len(last)) and first[length] == last[length]:
        length += 1
    return min(length, min(len(p) for p in prompts) - 1)


def generate_in_groups(
    model: Any,
    prompts: Sequence[list[int]],
    *,
    caps: Sequence[int],
    stop_tokens: frozenset[int],
    batch_size: int,
    on_done: Progress | None = None,
) -> list[Continuation]:
    """Continue prompts as `generate` does, those with a long common beginning (the same worked examples) together."""
    results: dict[int, Continuation] = {}
    for group in _groups(prompts):
        answers = generate(
            model,
            [prompts[i] for i in group],
            caps=[caps[i] for i in group],
            stop_tokens=stop_tokens,
            batch_size=batch_size,
            on_done=on_done,
        )
        results |= dict(zip(group, answers, strict=True))
    return [results[i] for i in range(len(prompts))]


def _groups(prompts: Sequence[list[int]]) -> list[list[int]]:
    """Put the numbers of prompts with a long common beginning together; otherwise all are one group."""
    groups: list[list[int]] = []
    for number in sorted(range(len(prompts)), key=lambda i: prompts[i]):
        if groups and common_prefix([prompts[groups[-1][0]], prompts[number]]) >= _WORTH_GROUPING:
            groups[-1].append(number)
        else:
            groups.append([number])
    short = [number for group in groups if len(group) < _SMALLEST_GROUP for number in group]
    return [group for group in groups if len(group) >= _SMALLEST_GROUP] + ([short] if short else [])


def generate(
    model: Any,
    prompts: Sequence[list[int]],
    *,
    caps: Sequence[int],
    stop_tokens: frozenset[int],
    batch_size: int,
    on_done: Progress | None = None,
) -> list[Continuation]:
    """Continue every prompt greedily until a stop token or the cap.

    Args:
        model: a causal language model with a KV cache (transformers).
        prompts: token ids, none empty.
        caps: most tokens each continuation may have, a number of 1 or more for each prompt.
        stop_tokens: ids that end an answer.
        batch_size: prompts computed together at most.
        on_done: called after every step with the number of answers that ended in it.

    Returns:
        One continuation a prompt, in the order of the prompts. The same input gives the same output on the same machine.
    """
    order = sorted(range(len(prompts)), key=lambda i: (-len(prompts[i]), tuple(prompts[i])))
    results: list[Continuation | None] = [None] * len(prompts)
    for start in range(0, len(order), batch_size):
        chunk = order[start : start + batch_size]
        batch = _Batch(model, [prompts[i] for i in chunk], [caps[i] for i in chunk], stop_tokens, on_done)
        for position, continuation in batch.run():
            results[chunk[position]] = continuation
    assert all(r is not None for r in results)
    return [r for r in results if r is not None]


class _Batch:
    """One batch: prefix once, prompts left-padded behind it, then token by token with finished rows taken out."""

    def __init__(
        self, model: Any, prompts: Sequence[list[int]], caps: Sequence[int], stop: frozenset[int], on_step: Progress | None
    ) -> None:
        self.model, self.prompts, self.caps, self.stop = model, prompts, caps, stop
        self.on_step = on_step

    def run(self) -> list[tuple[int, Continuation]]:
        """Return (row, continuation) in the order in which answers ended."""
        import torch

        with torch.inference_mode():
            return self._run(torch)

    def _run(self, torch: Any) -> list[tuple[int, Continuation]]:
        logits, cache, mask, positions = self._prefill(torch, self.model.device)
        rows: list[int | None] = list(range(len(self.prompts)))
        written: list[list[int]] = [[] for _ in rows]
        done: list[tuple[int, Continuation]] = []
        while True:
            tokens = logits.argmax(dim=-1)
            before = len(done)
            for place, token in enumerate(tokens.tolist()):
                row = rows[place]
                if row is None:
                    continue
                ended = token in self.stop
                if not ended:
                    written[row].append(token)
                if ended or len(written[row]) >= self.caps[row]:
                    done.append((row, Continuation(tuple(written[row]), ended)))
                    rows[place] = None
            if self.on_step is not None:
                self.on_step(len(done) - before)
            if len(done) == len(self.prompts):
                return done
            keep = [place for place, row in enumerate(rows) if row is not None]
            if len(rows) - len(keep) > len(rows) * _IDLE_SHARE:
                rows = [rows[place] for place in keep]
                index = torch.tensor(keep, device=self.model.device)
                tokens, mask, positions = tokens[index], mask[index], positions[index]
                cache.batch_select_indices(index)
            mask = torch.cat([mask, mask.new_ones((len(rows), 1))], dim=1)
            positions = positions + 1
            logits = self._forward(tokens.unsqueeze(1), mask, positions.unsqueeze(1), cache)

    def _forward(self, ids: Any, mask: Any, positions: Any, cache: Any) -> Any:
        """Return the logits after the last token of each row; computes no others."""
        out = self.model(
            input_ids=ids,
            attention_mask=mask,
            position_ids=positions,
            past_key_values=cache,
            use_cache=True,
            logits_to_keep=1,
        )
        return out.logits[:, -1]

    def _prefill(self, torch: Any, device: torch.device) -> tuple[Any, Any, Any, Any]:
        count, shared = len(self.prompts), common_prefix(self.prompts)
        cache = make_cache(self.model.config)
        if shared:
            head = torch.tensor([self.prompts[0][:shared]], device=device)
            self._forward(head, torch.ones_like(head), torch.arange(shared, device=device).unsqueeze(0), cache)
            cache.batch_repeat_interleave(count)
        tails = [p[shared:] for p in self.prompts]
        width = max(len(t) for t in tails)
        ids = torch.tensor([[0] * (width - len(t)) + t for t in tails], device=device)
        seen = torch.tensor([[0] * (width - len(t)) + [1] * len(t) for t in tails], device=device)
        mask = torch.cat([seen.new_ones((count, shared)), seen], dim=1)
        positions = (mask.cumsum(dim=1) - 1).clamp(min=0)
        return self._forward(ids, mask, positions[:, shared:], cache), cache, mask, positions[:, -1]
