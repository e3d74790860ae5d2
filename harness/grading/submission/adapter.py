"""A PEFT LoRA adapter read as data: which matrices it changes and by how much, and which it brings whole.

The grader merges adapters into the base weights itself (W' = W + scale · B·A), so nothing in an adapter's configuration can
pick code, load another model or start a decomposition of the base. What the formula does not cover is refused.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from harness.grading.submission.adapter_config import MERGE, LayerSettings, check_config, pattern_problem
from harness.grading.submission.base_files import EMBEDDINGS, HEAD, BaseFiles
from harness.grading.submission.module_pattern import PatternError
from harness.grading.submission.names import adapter_name, note_of, twice
from harness.grading.submission.tensors import empty_problem, nearly_equal
from harness.grading.submission.tied import tie
from harness.grading.submission.weights_file import Tensor
from harness.spec.submission import Problem

__all__ = ["Adapter", "LoraModule", "check_config", "read_modules"]

# A rank beyond both is no adapter any more but a way to make large matrices: what it computes fits into the smaller side, and
# its two factors would take more memory than the weights. The largest rank known to be used is 512.
MAX_RANK = 512
_LORA = ("lora_A", "lora_B", "lora_magnitude_vector")
_EMBEDDED = ("lora_embedding_A", "lora_embedding_B")
_WHOLE = ("weight", "bias")
_AS_SAVED = "base_model.model.{}.{}"


@dataclass(frozen=True)
class LoraModule:
    """One matrix that an adapter changes: A is (rank, in), B is (out, rank), magnitude (out,) for DoRA."""

    target: str
    a: Tensor
    b: Tensor
    magnitude: Tensor | None
    scale: float


@dataclass(frozen=True)
class Adapter:
    """A checked adapter: the matrices that it changes, and by the base model's names those that it brings whole."""

    modules: tuple[LoraModule, ...]
    whole: dict[str, Tensor] = field(default_factory=dict)


@dataclass
class _Found:
    """An adapter's tensors by the base model's layers."""

    lora: dict[str, dict[str, Tensor]] = field(default_factory=dict)
    whole: dict[str, Tensor] = field(default_factory=dict)
    copies: dict[str, Tensor] = field(default_factory=dict)
    adapters: set[str] = field(default_factory=set)
    problems: list[Problem] = field(default_factory=list)
    read_as: list[tuple[str, str]] = field(default_factory=list)


def read_modules(
    config: dict[str, Any], tensors: dict[str, Tensor], base: BaseFiles, notes: list[str]
) -> tuple[Adapter | None, list[Problem]]:
    """Match an adapter's tensors with the base model's, shape by shape; ``notes`` gets what was read otherwise than written.

    Raises:
        ValueError: ``config`` was not checked.
    """
    if not tensors:
        text = "the adapter holds no tensor"
        return None, [Problem(code="empty_adapter", message=text, hint="train one, or hand in the base model")]
    if problem := empty_problem(tensors.values()):
        return None, [problem]
    settings = LayerSettings.of(config)
    found = _sorted_out(tensors, base)
    problems = found.problems + _adapters_problem(found) + _copies_problems(found, base, notes)
    if not problems:
        problems = _whole_problems(found, settings, base, notes)
    modules = []
    try:
        for layer, parts in found.lora.items():
            built = _module(settings, layer, parts, base)
            if isinstance(built, Problem):
                problems.append(built)
            else:
                modules.append(built)
    except PatternError as exc:
        problems = [pattern_problem(exc)]
    if found.read_as:
        notes.append(note_of(*found.read_as[0], len(found.read_as)))
    return (None if problems else Adapter(tuple(modules), found.whole)), problems[:20]


def _sorted_out(tensors: dict[str, Tensor], base: BaseFiles) -> _Found:
    found = _Found()
    places: dict[str, tuple[str, str]] = {}  # the place in the model → the tensor's name, and of which adapter it is
    for name, tensor in tensors.items():
        own = adapter_name(name, base)
        if own is None or own.part not in (*_LORA, *_EMBEDDED, *_WHOLE, "base_layer.weight", "base_layer.bias"):
            found.problems.append(_unknown(name))
            continue
        place = f"{own.layer}.{own.part}"
        found.adapters.add(own.adapter)
        before, adapter = places.setdefault(place, (name, own.adapter))
        if before != name and (adapter == own.adapter or not adapter or not own.adapter):
            found.problems.append(twice(name, before))
            continue
        if own.part in _LORA:
            if problem := _no_lora(own.layer, base):
                found.problems.append(problem)
                continue
            found.lora.setdefault(own.layer, {})[own.part] = tensor
        elif own.part in _EMBEDDED:
            found.problems.append(_embedded(own.layer))
        elif own.part in _WHOLE:
            found.whole[place] = tensor
        else:
            found.copies[f"{own.layer}.{own.part.removeprefix('base_layer.')}"] = tensor
        if name not in _written(own.layer, own.part):
            found.read_as.append((name, place))
    return found


def _written(layer: str, part: str) -> tuple[str, ...]:
    """Return how PEFT itself writes a part."""
    stem = _AS_SAVED.format(layer, part)
    return stem, f"{stem}.weight"


def _unknown(name: str) -> Problem:
    return Problem(
        code="unknown_module",
        message=f"tensor {name[:160]!r} belongs to no linear layer of the base model",
        hint="put LoRA on linear layers of the given base model, unchanged in shape and names",
    )


def _embedded(layer: str) -> Problem:
    text = f"{layer} is an embedding: the grader does not load LoRA on it"
    return Problem(code="unknown_module", message=text, hint=f"leave it out of target_modules, or {MERGE}")


def _no_lora(layer: str, base: BaseFiles) -> Problem | None:
    """Say why a layer cannot have LoRA."""
    name = f"{layer}.weight"
    weight = base.tensor(name)
    if name == HEAD and base.tied:
        text = "lm_head is the input embedding in this base model (tie_word_embeddings): LoRA on it alone would untie them"
        return Problem(code="unknown_module", message=text, hint='leave lm_head out of target_modules ("all-linear" does)')
    if name.endswith(EMBEDDINGS):
        return _embedded(layer)
    return None if weight is not None and len(weight.shape) == 2 else _unknown(name)


def _adapters_problem(found: _Found) -> list[Problem]:
    named = sorted(name for name in found.adapters if name)
    if len(named) < 2:
        return []
    text = f"the file holds {len(named)} adapters: {', '.join(named[:5])}"
    hint = "save one: save_pretrained(…, selected_adapters=[…]), then hand in the folder with adapter_config.json"
    return [Problem(code="ambiguous", message=text, hint=hint)]


def _copies_problems(found: _Found, base: BaseFiles, notes: list[str]) -> list[Problem]:
    """PEFT writes the base layer itself beside LoRA on an output layer; such a copy says nothing as long as it is one."""
    for name, copy in found.copies.items():
        weight = base.tensor(name)
        if weight is None or copy.shape != weight.shape or not nearly_equal(copy, weight):
            text = f"the adapter brings {name} along as base_layer, and it is not the base model's"
            return [Problem(code="adapter_changes_base", message=text, hint=f"train on the given base model, or {MERGE}")]
    if found.copies:
        notes.append(f"the adapter's copy of {', '.join(sorted(found.copies))} ignored: it is the base model's")
    return []


def _whole_problems(found: _Found, settings: LayerSettings, base: BaseFiles, notes: list[str]) -> list[Problem]:
    """Look at modules that were saved whole; what PEFT would load is left in ``found``, what is the base's is left out."""
    one = {HEAD, base.embedding or HEAD} if base.tied and not settings.keeps_tied else set()
    for entry in settings.saved:
        if any(name.removesuffix(".weight").endswith(entry) for name in one):
            return [_untied(f"modules_to_save names {entry[:80]}")]
        if not any(name.rpartition(".")[0].endswith(entry) for name in found.whole):
            text = f"modules_to_save names {entry[:80]}, and the file has no tensor of it"
            return [Problem(code="missing_tensors", message=text, hint="write it with save_pretrained()")]
    for name, tensor in found.whole.items():
        weight = base.tensor(name)
        if weight is None or tensor.shape != weight.shape:
            wanted = "no such tensor" if weight is None else f"shape {weight.shape}"
            text = f"{name} has shape {tensor.shape}, the base model's has {wanted}"
            hint = "train the adapter on the given base model, unchanged in shape"
            return [Problem(code="wrong_shape", message=text, hint=hint)]
        if name.removesuffix(".weight") in found.lora:
            text = f"{name.removesuffix('.weight')} was saved whole and has LoRA beside it"
            return [Problem(code="extra_tensors", message=text, hint=MERGE)]
    unchanged = [name for name, tensor in found.whole.items() if nearly_equal(tensor, base.tensor(name) or tensor)]
    if not settings.saved:  # the embeddings that save_embedding_layers=True writes beside an adapter
        for name in unchanged:
            del found.whole[name]
    if len(found.whole.keys() & one) == 1:
        return [_untied(f"the adapter brings {min(found.whole.keys() & one)} whole")]
    found.whole, problem = tie(found.whole, base, notes)
    return [problem] if problem else []


def _untied(what: str) -> Problem:
    text = f"{what}, and in this base model embedding and output layer are one (tie_word_embeddings): they would be two"
    hint = "train with ensure_weight_tying=True in LoraConfig, or with LoRA on linear layers alone; merging does not help here"
    return Problem(code="adapter_unsupported", message=text, hint=hint)


def _module(settings: LayerSettings, layer: str, found: dict[str, Tensor], base: BaseFiles) -> LoraModule | Problem:
    weight = base.tensors[f"{layer}.weight"]
    a, b, magnitude = found.get("lora_A"), found.get("lora_B"), found.get("lora_magnitude_vector")
    if a is None or b is None:
        missing = "lora_A" if a is None else "lora_B"
        return Problem(code="missing_tensors", message=f"{layer} has no {missing}", hint="write it with save_pretrained()")
    rank = settings.rank(layer)
    out, inner = weight.shape
    most = max(MAX_RANK, min(out, inner))
    if rank > most:
        return Problem(
            code="rank_too_large",
            message=f"{layer}: rank {rank} on a matrix of {out} by {inner}",
            hint=f"at most {most} here; hand in full weights to change more",
        )
    expected: dict[str, tuple[tuple[int, ...], Tensor]] = {"lora_A": ((rank, inner), a), "lora_B": ((out, rank), b)}
    if settings.dora:
        if magnitude is None:
            return Problem(
                code="missing_tensors", message=f"{layer} has no lora_magnitude_vector", hint="save the DoRA adapter whole"
            )
        expected["lora_magnitude_vector"] = ((out,), magnitude)
    elif magnitude is not None:
        return Problem(
            code="extra_tensors",
            message=f"{layer} has a magnitude vector but use_dora is off",
            hint="set use_dora in the config",
        )
    for name, (shape, tensor) in expected.items():
        if tensor.shape != shape:
            return Problem(
                code="wrong_shape",
                message=f"{layer} {name} has shape {tensor.shape}; rank {rank} on this base model wants {shape}",
                hint="train the adapter on the given base model and keep adapter_config.json with its weights",
            )
    return LoraModule(f"{layer}.weight", a, b, magnitude, settings.scale(layer))
