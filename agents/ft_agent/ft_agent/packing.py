"""Batches without waste: examples that share their opening words are laid side by side behind one copy of it.

In chat data every example opens with the same system message. `SharedPrefix` writes it once a batch and lets every example
attend to it and to itself only (a tree-shaped attention mask, position ids counted from the prefix on), so there is no repeated
prefix and no padding. The result is the same as training on the examples one by one. On a GPU longer batches are `Packed`
(`reading.packing`) where that saves padding. `Padded` is the ordinary layout for long examples and for models that do not take
such masks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from reading.packing import IGNORED as IGNORED
from reading.packing import Packed as PackedRows

# The mask has the square of a batch's length; beyond this many tokens padding is cheaper.
MAX_SHARED_TOKENS = 2048


@dataclass(frozen=True)
class Encoded:
    """Token ids of one example's prompt and of its answer with the end mark."""

    id: str
    prompt: tuple[int, ...]
    answer: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.prompt) + len(self.answer)


def encode(tokenizer: Any, pairs: Sequence[tuple[str, str, str]], max_length: int) -> tuple[list[Encoded], list[str]]:
    """Turn (id, prompt, answer) into tokens with the base model's chat template.

    Returns:
        The examples that fit ``max_length``, and the ids of those that do not.
    """
    if not pairs:
        return [], []
    ends = end_ids(tokenizer)
    heads = [_render(tokenizer, [{"role": "user", "content": p}], True) for _, p, _ in pairs]
    wholes = [
        _render(tokenizer, [{"role": "user", "content": p}, {"role": "assistant", "content": a}], False) for _, p, a in pairs
    ]
    tails = [
        w[len(h) :] if w.startswith(h) else a + tokenizer.eos_token for h, w, (_, _, a) in zip(heads, wholes, pairs, strict=True)
    ]
    head_ids = tokenizer(heads, add_special_tokens=False)["input_ids"]
    tail_ids = tokenizer(tails, add_special_tokens=False)["input_ids"]
    good, dropped = [], []
    for (name, _, _), head, tail in zip(pairs, head_ids, tail_ids, strict=True):
        stop = next((i + 1 for i, t in enumerate(tail) if t in ends), None)
        answer = tail[:stop] if stop else [*tail, tokenizer.eos_token_id]
        if len(head) + len(answer) > max_length or len(answer) < 2:
            dropped.append(name)
        else:
            good.append(Encoded(name, tuple(head), tuple(answer)))
    return good, dropped


def end_ids(tokenizer: Any) -> frozenset[int]:
    """Return the token ids that end an answer."""
    return frozenset(i for i in (tokenizer.eos_token_id,) if i is not None)


def shared_prefix(examples: Sequence[Encoded]) -> int:
    """Return how many opening tokens all prompts have in common (leaving each at least one of its own)."""
    if not examples:
        return 0
    first = examples[0].prompt
    n = min(len(e.prompt) for e in examples) - 1
    for e in examples[1:]:
        while n > 0 and e.prompt[:n] != first[:n]:
            n -= 1
    return max(0, n)


@dataclass(frozen=True)
class SharedPrefix:
    """Collates examples behind ``prefix`` tokens that all share; ``dtype`` is the model's."""

    prefix: int
    dtype: Any

    def __call__(self, rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
        """Return one sequence with its mask, positions and labels."""
        import torch

        n = self.prefix
        ids, positions, branch, labels = list(rows[0]["prompt"][:n]), list(range(n)), [0] * n, [IGNORED] * n
        for number, row in enumerate(rows, 1):
            own = [*row["prompt"][n:], *row["answer"]]
            ids += own
            positions += range(n, n + len(own))
            branch += [number] * len(own)
            labels += [IGNORED] * (len(row["prompt"]) - n) + list(row["answer"])
        where = torch.tensor(branch)
        seen = (where[:, None] == where[None, :]) | (where[None, :] == 0)
        seen &= torch.ones(len(ids), len(ids), dtype=torch.bool).tril()
        mask = torch.zeros(1, 1, len(ids), len(ids), dtype=self.dtype).masked_fill(~seen, torch.finfo(self.dtype).min)
        return {
            "input_ids": torch.tensor([ids]),
            "position_ids": torch.tensor([positions]),
            "attention_mask": mask,
            "labels": torch.tensor([labels]),
        }


@dataclass(frozen=True)
class Padded:
    """Collates examples as rows padded on the right with ``pad``."""

    pad: int

    def __call__(self, rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
        """Return a batch of padded rows with mask and labels."""
        import torch

        longest = max(len(r["prompt"]) + len(r["answer"]) for r in rows)
        ids = torch.full((len(rows), longest), self.pad)
        mask = torch.zeros(len(rows), longest, dtype=torch.long)
        labels = torch.full((len(rows), longest), IGNORED)
        for i, row in enumerate(rows):
            own = torch.tensor([*row["prompt"], *row["answer"]])
            ids[i, : len(own)] = own
            mask[i, : len(own)] = 1
            labels[i, len(row["prompt"]) : len(own)] = own[len(row["prompt"]) :]
        return {"input_ids": ids, "attention_mask": mask, "labels": labels}


@dataclass(frozen=True)
class Packed:
    """Collates examples as rows that several share, filled up with ``pad``."""

    pad: int

    def __call__(self, rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
        """Return the rows with places that say where each example begins, and labels."""
        examples = [
            {"input_ids": [*r["prompt"], *r["answer"]], "labels": [IGNORED] * len(r["prompt"]) + list(r["answer"])} for r in rows
        ]
        return PackedRows(self.pad)(examples)


def choose_collator(
    examples: Sequence[Encoded], batch_size: int, *, dtype: Any, pad: int, shared_works: bool, packed: bool = False
) -> SharedPrefix | Packed | Padded:
    """Take the shared layout where the model takes it and a batch stays short enough for its mask.

    ``packed`` says whether longer ones are packed; else they are padded.
    """
    longest = sorted((len(e) for e in examples), reverse=True)[:batch_size]
    prefix = shared_prefix(examples)
    if shared_works and sum(longest) - prefix * (len(longest) - 1) <= MAX_SHARED_TOKENS:
        return SharedPrefix(prefix, dtype)
    return Packed(pad) if packed else Padded(pad)


def _render(tokenizer: Any, messages: list[dict[str, str]], prompt: bool) -> str:
    return str(tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=prompt))
