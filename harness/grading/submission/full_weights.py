"""Full weights read as data: which files are the model's, by which names, and whether they are all there."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from harness.grading.submission.base_files import BaseFiles
from harness.grading.submission.names import renamed
from harness.grading.submission.tensors import empty_problem
from harness.grading.submission.tied import tie
from harness.grading.submission.weights_file import Tensor, read_weights
from harness.spec.submission import Problem
from harness.taskkit.scoring.strict_json import StrictJsonError, strict_json

_MOST_INDEX_BYTES = 4 * 1024 * 1024
SINGLE, INDEX = "model.safetensors", "model.safetensors.index.json"
_HINT = "save the whole fine-tuned base model with save_pretrained(), nothing renamed or quantised"
# How PEFT's wrappers show in a state dict that was saved without merging.
_UNMERGED = (".lora_A.", ".lora_B.", ".base_layer.", ".modules_to_save.", ".lora_embedding_A", ".lora_magnitude_vector")


def weights_files(directory: Path) -> tuple[list[Path], list[Path]]:
    """Return which files of a folder are a model's weights, and which other weights lie beside them.

    As for transformers, ``model.safetensors`` comes first and then what the index names; others are of earlier saves.
    """
    weights = sorted(directory.glob("*.safetensors"))
    named = [SINGLE] if (directory / SINGLE).is_file() else _indexed(directory)
    taken = [path for path in weights if path.name in named]
    if not taken or len(taken) < len(set(named)):
        return weights, []
    return taken, [path for path in weights if path.name not in named]


def _indexed(directory: Path) -> list[str]:
    """Return the files that the index of a sharded model names, or none where there is no index to go by."""
    path = directory / INDEX
    if not path.is_file() or path.stat().st_size > _MOST_INDEX_BYTES:
        return []
    try:
        document = strict_json(path.read_bytes(), max_bytes=_MOST_INDEX_BYTES)
    except StrictJsonError:
        return []
    shards = document.get("weight_map") if isinstance(document, dict) else None
    names = list(shards.values()) if isinstance(shards, dict) else []
    return sorted(set(names)) if all(isinstance(name, str) for name in names) else []


def own_tensors(paths: Sequence[Path], base: BaseFiles, notes: list[str]) -> tuple[dict[str, Tensor], list[Problem]]:
    """Read the headers of a model's files and return its tensors by the base model's own names."""
    tensors, problems = read_weights(paths)
    if not problems and (problem := _unmerged(tensors) or empty_problem(tensors.values())):
        problems = [problem]
    if not problems:
        tensors, problems = renamed(tensors, base, notes)
    if not problems:
        tensors, tied = tie(tensors, base, notes)
        problems = [tied] if tied else []
    return ({} if problems else tensors), problems


def _unmerged(tensors: dict[str, Tensor]) -> Problem | None:
    found = next((name for name in tensors if any(part in name for part in _UNMERGED)), None)
    if found is None:
        return None
    return Problem(
        code="unmerged_adapter",
        message=f"the full weights hold an adapter that was not merged: {found[:120]!r}",
        hint="hand in the adapter alone (model.save_pretrained(out) of the PEFT model), or the merged model "
        "(model.merge_and_unload().save_pretrained(out))",
    )


def compare_tensors(tensors: dict[str, Tensor], base: BaseFiles) -> list[Problem]:
    """Names and shapes must be the base model's."""
    missing, extra = sorted(base.tensors.keys() - tensors.keys()), sorted(tensors.keys() - base.tensors.keys())
    problems = []
    if missing:
        text = f"{len(missing)} of the base model's tensors missing, such as {missing[0]!r}"
        problems.append(Problem(code="missing_tensors", message=text, hint=_HINT))
    if extra:
        text = f"{len(extra)} of the tensors not in the base model, such as {extra[0][:120]!r}"
        problems.append(Problem(code="extra_tensors", message=text, hint=_HINT))
    for name in sorted(tensors.keys() & base.tensors.keys()):
        if tensors[name].shape != base.tensors[name].shape:
            text = f"{name} has shape {tensors[name].shape}, the base model's is {base.tensors[name].shape}"
            problems.append(Problem(code="wrong_shape", message=text, hint=_HINT))
            break
    return problems
