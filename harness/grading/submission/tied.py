"""Embedding and output layer where the base model has one matrix for both."""

from __future__ import annotations

from harness.grading.submission.architecture import TIE
from harness.grading.submission.base_files import HEAD, BaseFiles
from harness.grading.submission.tensors import nearly_equal
from harness.grading.submission.weights_file import Tensor
from harness.spec.submission import Problem


def tie(tensors: dict[str, Tensor], base: BaseFiles, notes: list[str]) -> tuple[dict[str, Tensor], Problem | None]:
    """Return weights under the one name that the base model has for both; those of an untied base as they are.

    `safetensors.torch.save_model` keeps whichever name comes first in the alphabet, transformers the embedding's, and what
    copies a state dict writes both.
    """
    name = base.embedding
    if not base.tied or HEAD not in tensors or name is None:
        return tensors, None
    head = tensors[HEAD]
    rest = {own: tensor for own, tensor in tensors.items() if own != HEAD}
    if name not in rest:
        notes.append(f"{HEAD} read as {name}: the two are tied")
        return rest | {name: head}, None
    if head.shape != rest[name].shape or not nearly_equal(head, rest[name]):
        text = f"{HEAD} differs from {name}; in this base model the two are one (tie_word_embeddings)"
        return rest, Problem(code="wrong_architecture", message=text, hint=TIE)
    notes.append(f"{HEAD} ignored: it is tied to the embedding")
    return rest, None
