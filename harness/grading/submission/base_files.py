"""What the base model's directory says of its architecture: tensor names, shapes, configuration."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from harness.grading.submission.weights_file import Tensor, WeightsError, read_header
from harness.spec.errors import MissingError

HEAD = "lm_head.weight"
"""The output layer's weight."""
EMBEDDINGS = ("embed_tokens.weight", "wte.weight")
"""How the name of an input embedding ends."""


@dataclass(frozen=True)
class BaseFiles:
    """A base model's ``config.json`` and where each of its tensors lies."""

    path: Path
    config: dict[str, Any]
    tensors: dict[str, Tensor]
    _sizes: dict[str, float] = field(default_factory=dict, repr=False, compare=False)

    def size(self, name: str) -> float:
        """Return |W|² of a tensor, computed once: every submission is measured against it."""
        import numpy as np

        if name not in self._sizes:
            wide = (part.astype(np.float64) for part in self.tensors[name].chunks())
            self._sizes[name] = sum(float(np.dot(part, part)) for part in wide)
        return self._sizes[name]

    @property
    def tied(self) -> bool:
        """Whether the output layer is the input embedding."""
        return bool(self.config.get("tie_word_embeddings", False)) and HEAD not in self.tensors

    @property
    def embedding(self) -> str | None:
        """The name of the input embedding's weight."""
        return next((name for name in self.tensors if name.endswith(EMBEDDINGS)), None)

    @property
    def bodies(self) -> tuple[str, ...]:
        """What the part below the output layer is called by in names: ``model`` in most architectures."""
        return tuple(sorted({name.partition(".")[0] for name in self.tensors} - {HEAD.partition(".")[0]}))

    def tensor(self, name: str) -> Tensor | None:
        """Return a tensor by its name; the output layer's is the embedding's where the two are tied."""
        if name == HEAD and self.tied and self.embedding is not None:
            return self.tensors[self.embedding]
        return self.tensors.get(name)


def read_base(path: Path) -> BaseFiles:
    """Read a base model's directory.

    Raises:
        MissingError: it has no ``config.json`` or no usable safetensors weights.
    """
    hint = "prepare it again with `dojo data prepare`"
    try:
        config = json.loads((path / "config.json").read_bytes())
        tensors: dict[str, Tensor] = {}
        for file in sorted(path.glob("*.safetensors")):
            tensors |= read_header(file)
    except (OSError, ValueError) as exc:
        if isinstance(exc, WeightsError):
            raise MissingError(f"the base model's weights in {path} are damaged: {exc}", hint=hint) from exc
        raise MissingError(f"{path} holds no base model: {exc}", hint=hint) from exc
    if not tensors:
        raise MissingError(f"{path} holds no *.safetensors", hint=hint)
    return BaseFiles(path, config, tensors)
