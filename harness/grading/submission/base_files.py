"""What the base model's directory says of its architecture: tensor names, shapes, configuration."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.grading.submission.weights_file import Tensor, WeightsError, read_header
from harness.spec.errors import MissingError


@dataclass(frozen=True)
class BaseFiles:
    """A base model's ``config.json`` and where each of its tensors lies."""

    path: Path
    config: dict[str, Any]
    tensors: dict[str, Tensor]

    @property
    def tied(self) -> bool:
        """Whether the output layer is the input embedding."""
        return bool(self.config.get("tie_word_embeddings", False)) and "lm_head.weight" not in self.tensors


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
