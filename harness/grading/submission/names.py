"""Names of tensors brought to the base model's own, in one place: what wraps a model while it trains writes itself into them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from harness.grading.submission.base_files import BaseFiles
from harness.grading.submission.weights_file import Tensor
from harness.spec.submission import Problem

# Segments that wrappers put into a name wherever they stand: torch.compile, FSDP, activation checkpointing.
_WRAPPERS = frozenset({"_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module"})
# DistributedDataParallel and DeepSpeed put this before the whole name. A model may have a layer of that name further down.
_OUTERMOST = "module"
_PEFT = "base_model.model."
# What PEFT saves of one layer: the layer, the part, and at times the adapter's name.
_PART = re.compile(
    r"(?P<layer>.{1,300}?)\.(?P<part>lora_A|lora_B|lora_embedding_A|lora_embedding_B|lora_magnitude_vector|lora_bias|base_layer"
    r"|modules_to_save)(?:\.(?P<adapter>[A-Za-z0-9_-]{1,80}))??(?P<kind>\.weight|\.bias)?"
)
_SHOWN = 160


@dataclass(frozen=True)
class AdapterName:
    """A tensor's name in an adapter: the base model's ``layer``, what of it (``part``), and the ``adapter``'s name or ``""``.

    ``part`` is ``lora_A``, ``lora_B``, ``lora_magnitude_vector`` …, ``base_layer.weight`` (a copy of the layer's own), or
    ``weight`` and ``bias`` of a layer that was trained and saved whole.
    """

    layer: str
    part: str
    adapter: str = ""


def unwrapped(name: str) -> str:
    """Return a tensor's name without the segments that wrappers of a training model add."""
    parts = [part for part in name.split(".") if part not in _WRAPPERS]
    while parts and parts[0] == _OUTERMOST:
        parts.pop(0)
    return ".".join(parts)


def canonical(name: str, base: BaseFiles) -> str:
    """Return the base model's own name for a tensor of full weights, or the unwrapped name where the base has none like it."""
    plain = unwrapped(name)
    return next((found for found in _spellings(plain, base) if base.tensor(found) is not None), plain)


def _spellings(plain: str, base: BaseFiles) -> Iterable[str]:
    """Yield a name, then with and without the segment that the body of the model is called by (``model`` in most)."""
    yield plain
    for body in base.bodies:
        yield f"{body}.{plain}"
        yield plain.removeprefix(f"{body}.")


def adapter_name(name: str, base: BaseFiles) -> AdapterName | None:
    """Take a tensor's name in an adapter apart; None where it names nothing of the base model."""
    plain = unwrapped(name)
    plain = unwrapped(plain.removeprefix(_PEFT)) if plain.startswith(_PEFT) else plain
    match = _PART.fullmatch(plain)
    if match is None:
        layer, _, part = plain.rpartition(".")
        adapter = ""
    else:
        layer, adapter = match["layer"], match["adapter"] or ""
        part = _part(match["part"], (match["kind"] or "").removeprefix("."))
    weight = canonical(f"{layer}.weight", base)
    return AdapterName(weight.removesuffix(".weight"), part, adapter) if base.tensor(weight) is not None else None


def _part(part: str, kind: str) -> str:
    if part == "modules_to_save":
        return kind
    return f"{part}.{kind}" if kind == "bias" or (kind and part == "base_layer") else part


def renamed(tensors: Mapping[str, Tensor], base: BaseFiles, notes: list[str]) -> tuple[dict[str, Tensor], list[Problem]]:
    """Return full weights by the base model's names, with a note where names were read otherwise than they are written."""
    found: dict[str, Tensor] = {}
    changed = []
    for name, tensor in tensors.items():
        own = canonical(name, base)
        if own in found:
            return {}, [twice(name, found[own].name)]
        if own != name:
            changed.append((name, own))
        found[own] = tensor
    if changed:
        notes.append(note_of(*changed[0], len(changed)))
    return found, []


def twice(one: str, other: str) -> Problem:
    """Return the problem of two tensors for one place in the model."""
    text = f"{other[:_SHOWN]!r} and {one[:_SHOWN]!r} are one tensor of the model"
    return Problem(code="duplicate_tensor", message=text, hint="save one state dict, that of the unwrapped model")


def note_of(name: str, own: str, count: int) -> str:
    """Say that names were read otherwise than they are written."""
    return f"{count} names of tensors read as the base model's, such as {name[:_SHOWN]!r} as {own[:_SHOWN]!r}"
