"""Several examples in one row, none of which sees another: a step computes the same with less padding.

A packed row counts its places from 0 for every example and comes without an attention mask: from such places transformers makes
a block-diagonal causal mask for SDPA (`find_packed_sequence_indices` in its masking_utils). With a mask that somebody passes, or
with a cache of keys and values (`use_cache`, which every trainer here turns off), it would not, and examples would see each
other. The places of TRL's and transformers' own flattening are the same, but they make one row of a whole batch, which
needs flash attention: a mask has the square of a row's length. What a step learns from is not changed: only examples of one
batch share a row, so loss and gradients are those of padded rows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

# Tokens that a row is filled up to: attention without a kernel for ragged rows costs every token the row's whole length, which
# beyond this is dearer than padding.
ROW_TOKENS = 2048
# Packing is taken where it saves at least this share of what padded rows would compute.
LEAST_SAVED = 0.1
# Rows end at a multiple of this: kernels copy masks that do not.
ALIGNED = 16
IGNORED = -100


def packed(lengths: Sequence[int]) -> list[list[int]]:
    """Return places of examples by row, so that rows times the longest of them is least.

    No row is over `ROW_TOKENS` or, where one example is longer, over that.
    """
    longest, total = max(lengths), sum(lengths)
    limit = max(longest, ROW_TOKENS)
    fewest = max(1, -(-total // limit))
    widths = {longest, *(max(longest, -(-total // rows)) for rows in range(fewest, fewest + 4)), limit}
    found = [_filled(lengths, width) for width in sorted(widths)]
    return min(found, key=lambda rows: len(rows) * _width(lengths, rows))


def computed(lengths: Sequence[int], *, pack: bool) -> tuple[int, int]:
    """Return rows and their width as a batch of these lengths is computed, packed or padded."""
    if not pack:
        return len(lengths), max(lengths)
    rows = packed(lengths)
    return len(rows), _aligned(_width(lengths, rows))


def saved(lengths: Sequence[int], batch: int) -> float:
    """Return the share of padded rows' tokens that packing saves, over examples in this order in batches of so many."""
    parts = [lengths[at : at + batch] for at in range(0, len(lengths), batch)]
    areas = {pack: sum(rows * width for rows, width in (computed(part, pack=pack) for part in parts)) for pack in (False, True)}
    return 1.0 - areas[True] / areas[False] if areas[False] else 0.0


@dataclass(frozen=True)
class Packed:
    """Collates examples of ``input_ids`` and ``labels`` as packed rows, filled up with ``pad``."""

    pad: int

    def __call__(self, examples: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """Return the rows with their places and labels. An example's first token is nobody's next: it has no label."""
        import torch

        lengths = [len(e["input_ids"]) for e in examples]
        rows = packed(lengths)
        shape = (len(rows), _aligned(_width(lengths, rows)))
        ids, labels = torch.full(shape, self.pad), torch.full(shape, IGNORED)
        # what fills up is an example of one token each: it sees itself and nobody sees it
        places = torch.zeros(shape, dtype=torch.long)
        for number, row in enumerate(rows):
            at = 0
            for place in row:
                span = slice(at, at + lengths[place])
                ids[number, span] = torch.as_tensor(examples[place]["input_ids"])
                labels[number, span] = torch.as_tensor(examples[place]["labels"])
                labels[number, at] = IGNORED
                places[number, span] = torch.arange(lengths[place])
                at += lengths[place]
        return {"input_ids": ids, "position_ids": places, "labels": labels}


def _filled(lengths: Sequence[int], width: int) -> list[list[int]]:
    """Lay the longest first, each into the first row that has room."""
    rows: list[list[int]] = []
    room: list[int] = []
    for place in sorted(range(len(lengths)), key=lambda p: -lengths[p]):
        fit = next((n for n, free in enumerate(room) if free >= lengths[place]), None)
        if fit is None:
            rows.append([place])
            room.append(width - lengths[place])
        else:
            rows[fit].append(place)
            room[fit] -= lengths[place]
    return rows


def _width(lengths: Sequence[int], rows: Sequence[Sequence[int]]) -> int:
    return max(sum(lengths[p] for p in row) for row in rows)


def _aligned(width: int) -> int:
    return -(-width // ALIGNED) * ALIGNED
