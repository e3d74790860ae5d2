"""Attention and key/value cache for decoding token by token with many rows on a CPU.

Plain decoding copies the whole cache at every token (concatenation) and once more for every group of query heads that shares a
key head. Here the cache grows in place and a group's queries are multiplied together. Measured on one thread with a 135M model,
32 rows: 220 → 160 ms a token at 80 tokens of context, 521 → 210 ms at 300; logits differ by less than 1e-4.
"""

from __future__ import annotations

import functools
from typing import Any

NAME = "dojo_grouped"
# Room left when the cache is moved to a larger buffer: one move in 64 tokens or a quarter of the length, whichever is longer.
_ROOM, _GROWTH = 64, 1.25


@functools.cache
def register() -> str:
    """Make the attention known to transformers under `NAME`; return the name."""
    import torch
    from transformers import AttentionInterface
    from transformers.integrations.sdpa_attention import sdpa_attention_forward
    from transformers.masking_utils import AttentionMaskInterface, sdpa_mask

    def grouped(module: Any, query: Any, key: Any, value: Any, attention_mask: Any, **options: Any) -> tuple[Any, None]:
        rows, heads, length, width = query.shape
        extras = any(options.get(name) is not None for name in ("s_aux", "softcap", "position_bias"))
        if length > 1 or extras or (attention_mask is not None and attention_mask.dtype != torch.bool):
            output, _ = sdpa_attention_forward(module, query, key, value, attention_mask, **options)
            return output, None
        groups = key.shape[1]
        scaling = options.get("scaling") or width**-0.5
        together = (query * scaling).reshape(rows, groups, heads // groups, width)
        weights = torch.matmul(together, key.transpose(2, 3))
        if attention_mask is not None:
            weights = weights.masked_fill(~attention_mask, float("-inf"))
        output = torch.matmul(weights.softmax(dim=-1, dtype=torch.float32).to(value.dtype), value)
        return output.reshape(rows, 1, heads, value.shape[-1]), None

    AttentionInterface.register(NAME, grouped)
    AttentionMaskInterface.register(NAME, sdpa_mask)
    return NAME


def make_cache(config: Any) -> Any:
    """Return an empty cache for a model: growing in place, or transformers' own where layers do not see everything."""
    from transformers import DynamicCache
    from transformers.cache_utils import DynamicLayer

    cache = DynamicCache(config=config)
    if all(type(layer) is DynamicLayer for layer in cache.layers):
        layer_class = _growing_layer()
        cache.layers = [layer_class() for _ in cache.layers]
    return cache


@functools.cache
def _growing_layer() -> Any:
    from transformers.cache_utils import DynamicLayer

    class GrowingLayer(DynamicLayer):  # type: ignore[misc]
        """Keys and values are views of the filled part of two larger buffers."""

        _buffers: tuple[Any, Any] | None = None

        def update(self, key_states: Any, value_states: Any, *args: Any, **kwargs: Any) -> tuple[Any, Any]:
            if not self.is_initialized:
                self.lazy_initialization(key_states, value_states)
            filled = self.get_seq_length()
            length = filled + key_states.shape[-2]
            if self._buffers is None or length > self._buffers[0].shape[-2] or key_states.shape[0] != self._buffers[0].shape[0]:
                self._move(key_states, value_states, filled, max(length + _ROOM, int(length * _GROWTH)))
            assert self._buffers is not None
            keys, values = self._buffers
            keys[:, :, filled:length] = key_states
            values[:, :, filled:length] = value_states
            self.keys, self.values = keys[:, :, :length], values[:, :, :length]
            return self.keys, self.values

        def _move(self, key_states: Any, value_states: Any, filled: int, capacity: int) -> None:
            rows = key_states.shape[0]
            keys = key_states.new_empty((rows, key_states.shape[1], capacity, key_states.shape[3]))
            values = value_states.new_empty((rows, value_states.shape[1], capacity, value_states.shape[3]))
            if filled:
                keys[:, :, :filled], values[:, :, :filled] = self.keys, self.values
            self._buffers = (keys, values)

        def batch_select_indices(self, indices: Any) -> None:
            super().batch_select_indices(indices)
            self._buffers = None

        def batch_repeat_interleave(self, repeats: int) -> None:
            super().batch_repeat_interleave(repeats)
            self._buffers = None

    return GrowingLayer
