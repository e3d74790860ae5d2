"""The one check of a submission directory, used by `validate` and by the grader alike.

Needs numpy and the standard library only; reads every byte of the weights and runs none of it.
"""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from harness.grading.submission.adapter import Adapter, check_config, read_modules
from harness.grading.submission.architecture import compare_config
from harness.grading.submission.base_files import BaseFiles, read_base
from harness.grading.submission.provenance import Distance, distance_problem, measure_distance
from harness.grading.submission.weights_file import Tensor, WeightsError, read_header
from harness.spec.submission import Problem, SubmissionReport
from harness.taskkit.scoring.strict_json import StrictJsonError, strict_json

Kind = Literal["adapter", "full", "base", "unknown"]

# A 72B model in 5 GB shards has 31 files; 500 leaves room for smaller shards.
MAX_FILES = 500
MAX_CONFIG_BYTES = 1024 * 1024
# The largest file we ignore with a note: tokenizers of current models are below 35 MB.
MAX_IGNORED_BYTES = 64 * 1024 * 1024

_PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle", ".joblib", ".npy", ".npz", ".h5", ".msgpack", ".gguf", ".onnx")
_CODE = (".py", ".pyc", ".pyx", ".so", ".sh", ".dll", ".dylib", ".ipynb", ".js", ".pth.py", ".cu", ".c", ".cpp")
_DATA = (".json", ".jsonl", ".txt", ".md", ".jinja", ".model", ".csv", ".toml", ".yaml", ".yml", ".log", ".png", ".svg")
_OWNED_BY_GRADER = (
    "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", "vocab.json", "merges.txt",
    "tokenizer.model", "chat_template.jinja", "chat_template.json", "generation_config.json",
)  # fmt: skip


@dataclass
class Submission:
    """A checked directory: the report, and what of it can be loaded."""

    report: SubmissionReport
    tensors: dict[str, Tensor] = field(default_factory=dict)
    adapter: Adapter | None = None
    distance: Distance | None = None


def check_submission(directory: Path, base_model_dir: Path) -> SubmissionReport:
    """Say whether a directory can be scored, and if not, every reason with its remedy."""
    return read_submission(directory, read_base(base_model_dir)).report


def read_submission(directory: Path, base: BaseFiles) -> Submission:
    """Check a directory and return what the grader may load from it; never raises for what the directory holds."""
    files, problems, notes = inventory(directory)
    if problems:
        return _refuse("unknown", problems, notes)
    kind, problem = _kind(files)
    if problem is not None:
        return _refuse("unknown", [problem], notes)
    if kind == "base":
        return _read_base_marker(directory, notes)
    if kind == "adapter":
        return _read_adapter(directory, base, notes)
    return _read_full(directory, files, base, notes)


def inventory(directory: Path) -> tuple[list[str], list[Problem], list[str]]:
    """List a directory without opening anything in it: names, problems (links, code, pickles, sizes) and notes."""
    problems: list[Problem] = []
    notes: list[str] = []
    names: list[str] = []
    if not directory.is_dir() or directory.is_symlink():
        text = "there is no such directory"
        return [], [Problem(code="not_found", message=text, hint="give the directory the model was saved into")], []
    with os.scandir(directory) as entries:
        for entry in sorted(entries, key=lambda e: e.name):
            if len(names) + len(problems) > MAX_FILES:
                problems.append(
                    Problem(code="too_many_files", message=f"more than {MAX_FILES} files", hint="hand in the model's files only")
                )
                break
            problem = _entry_problem(entry, notes)
            if problem is None:
                names.append(entry.name)
            else:
                problems.append(problem)
    return names, problems, notes


def _entry_problem(entry: os.DirEntry[str], notes: list[str]) -> Problem | None:
    name, shown = entry.name, repr(entry.name[:120])
    info = entry.stat(follow_symlinks=False)
    if stat.S_ISLNK(info.st_mode):
        return Problem(code="symlink", message=f"{shown} is a symbolic link", hint="hand in the file itself")
    if stat.S_ISDIR(info.st_mode):
        return Problem(
            code="directory", message=f"{shown} is a directory", hint="hand in one flat directory, without checkpoints"
        )
    if not stat.S_ISREG(info.st_mode):
        return Problem(code="device", message=f"{shown} is no regular file", hint="hand in regular files only")
    if info.st_nlink > 1:
        return Problem(code="hard_link", message=f"{shown} is a hard link", hint="hand in a copy of the file")
    lower = name.lower()
    if lower.endswith(_CODE):
        return Problem(code="code", message=f"{shown} is code", hint="delete it; the grader runs no code from a submission")
    if lower.endswith(_PICKLES):
        return Problem(
            code="pickle",
            message=f"{shown} is no safetensors file and may hold pickled code",
            hint="save with save_pretrained(…) (safetensors) and delete files such as training_args.bin",
        )
    if lower.endswith(".safetensors"):
        return None
    if not lower.endswith(_DATA):
        return Problem(code="unexpected_file", message=f"{shown} is no file of a model", hint="delete it from the submission")
    if info.st_size > MAX_IGNORED_BYTES:
        return Problem(
            code="too_large", message=f"{shown} has {info.st_size} bytes", hint=f"at most {MAX_IGNORED_BYTES} beside the weights"
        )
    if name in _OWNED_BY_GRADER:
        notes.append(f"{name} ignored: the grader uses the base model's")
    return None


def _kind(files: list[str]) -> tuple[Kind, Problem | None]:
    """Tell by the names what a directory is meant to be."""
    weights = [name for name in files if name.endswith(".safetensors")]
    if "dojo.json" in files:
        if len(files) > 1:
            text = "dojo.json says base model, but there are other files"
            return "unknown", Problem(code="ambiguous", message=text, hint="hand in dojo.json alone, or a model without it")
        return "base", None
    if "adapter_config.json" in files:
        if weights == ["adapter_model.safetensors"]:
            return "adapter", None
        if not weights:
            text = "adapter_config.json without adapter_model.safetensors"
            return "unknown", Problem(code="missing_weights", message=text, hint="save the adapter with save_pretrained()")
        text = f"an adapter together with other weights: {', '.join(weights[:4])}"
        return "unknown", Problem(code="ambiguous", message=text, hint="hand in the adapter or the full weights, not both")
    if "adapter_model.safetensors" in weights:
        text = "adapter_model.safetensors without adapter_config.json"
        return "unknown", Problem(code="missing_config", message=text, hint="save the adapter with save_pretrained()")
    if weights and "config.json" in files:
        return "full", None
    if weights:
        text = "weights without config.json"
        return "unknown", Problem(code="missing_config", message=text, hint="save the model with save_pretrained()")
    text = "neither an adapter, nor full weights, nor the base model's marker"
    hint = 'hand in adapter_config.json + adapter_model.safetensors, config.json + *.safetensors, or dojo.json {"dojo": "base"}'
    return "unknown", Problem(code="no_model", message=text, hint=hint)


def _refuse(kind: Kind, problems: list[Problem], notes: list[str], parameters: int = 0) -> Submission:
    report = SubmissionReport(ok=False, kind=kind, problems=tuple(problems[:20]), notes=tuple(notes), parameters=parameters)
    return Submission(report)


def _read_json(path: Path) -> dict[str, Any] | Problem:
    hint = "write it with save_pretrained()"
    if path.stat().st_size > MAX_CONFIG_BYTES:
        return Problem(code="bad_config", message=f"{path.name} is larger than {MAX_CONFIG_BYTES} bytes", hint=hint)
    try:
        document = strict_json(path.read_bytes(), max_bytes=MAX_CONFIG_BYTES)
    except StrictJsonError as exc:
        return Problem(code="bad_config", message=f"{path.name}: {exc}", hint=hint)
    if not isinstance(document, dict):
        return Problem(code="bad_config", message=f"{path.name} is no JSON object", hint=hint)
    return document


def _read_base_marker(directory: Path, notes: list[str]) -> Submission:
    document = _read_json(directory / "dojo.json")
    if isinstance(document, Problem):
        return _refuse("base", [document], notes)
    if document != {"dojo": "base"}:
        problem = Problem(code="bad_config", message='dojo.json is not {"dojo": "base"}', hint='write exactly {"dojo": "base"}')
        return _refuse("base", [problem], notes)
    return Submission(SubmissionReport(ok=True, kind="base", notes=tuple(notes)))


def _read_weights(paths: list[Path]) -> tuple[dict[str, Tensor], list[Problem]]:
    tensors: dict[str, Tensor] = {}
    hint = "save again with safetensors, in float32, bfloat16 or float16"
    for path in paths:
        try:
            found = read_header(path)
        except WeightsError as exc:
            return {}, [Problem(code=exc.code, message=f"{path.name}: {exc}", hint=hint)]
        twice = tensors.keys() & found.keys()
        if twice:
            text = f"tensor {min(twice)[:120]!r} is in two files"
            return {}, [Problem(code="duplicate_tensor", message=text, hint="remove the files of an earlier save")]
        tensors |= found
    return tensors, []


def _finite_problems(tensors: dict[str, Tensor]) -> list[Problem]:
    broken = [name for name, tensor in tensors.items() if not tensor.is_finite()]
    if not broken:
        return []
    more = f" and {len(broken) - 1} more" if len(broken) > 1 else ""
    hint = "training has diverged: lower the learning rate, clip gradients, hand in an earlier checkpoint"
    return [Problem(code="not_finite", message=f"NaN or infinite values in {broken[0][:120]!r}{more}", hint=hint)]


def _read_adapter(directory: Path, base: BaseFiles, notes: list[str]) -> Submission:
    config = _read_json(directory / "adapter_config.json")
    if isinstance(config, Problem):
        return _refuse("adapter", [config], notes)
    problems = check_config(config)
    tensors, broken = _read_weights([directory / "adapter_model.safetensors"])
    problems += broken
    adapter = None
    if not problems:
        adapter, problems = read_modules(config, tensors, base)
    problems = problems or _finite_problems(tensors)
    if config.get("base_model_name_or_path"):
        notes.append("base_model_name_or_path ignored: the grader uses the run's base model")
    parameters = sum(t.elements for t in tensors.values())
    if problems or adapter is None:
        return _refuse("adapter", problems, notes, parameters)
    report = SubmissionReport(ok=True, kind="adapter", parameters=parameters, notes=tuple(notes))
    return Submission(report, tensors=tensors, adapter=adapter)


def _read_full(directory: Path, files: list[str], base: BaseFiles, notes: list[str]) -> Submission:
    config = _read_json(directory / "config.json")
    if isinstance(config, Problem):
        return _refuse("full", [config], notes)
    problems, more = compare_config(config, base.config)
    notes += more
    if problems:
        return _refuse("full", problems, notes)
    tensors, problems = _read_weights([directory / name for name in files if name.endswith(".safetensors")])
    parameters = sum(t.elements for t in tensors.values())
    if not problems:
        problems = _compare_tensors(tensors, base, notes)
    problems = problems or _finite_problems(tensors)
    if problems:
        return _refuse("full", problems, notes, parameters)
    distance = measure_distance(tensors, base.tensors)
    notes.append(distance.note())
    problem = distance_problem(distance)
    if problem is not None:
        return _refuse("full", [problem], notes, parameters)
    report = SubmissionReport(ok=True, kind="full", parameters=parameters, notes=tuple(notes))
    return Submission(report, tensors=tensors, distance=distance)


def _compare_tensors(tensors: dict[str, Tensor], base: BaseFiles, notes: list[str]) -> list[Problem]:
    """Names and shapes must be the base model's; a tied output layer that was saved with the rest is dropped from ``tensors``."""
    hint = "save the whole fine-tuned base model with save_pretrained(), nothing renamed or quantised"
    if base.tied and "lm_head.weight" in tensors:
        embedding = next((n for n in tensors if n.endswith("embed_tokens.weight")), None)
        if embedding is None or not _equal(tensors["lm_head.weight"], tensors[embedding]):
            text = "lm_head.weight differs from the embedding it is tied to"
            return [Problem(code="wrong_architecture", message=text, hint="keep tie_word_embeddings as in the base model")]
        del tensors["lm_head.weight"]
        notes.append("lm_head.weight ignored: it is tied to the embedding")
    missing, extra = sorted(base.tensors.keys() - tensors.keys()), sorted(tensors.keys() - base.tensors.keys())
    problems = []
    if missing:
        text = f"{len(missing)} tensors of the base model are missing, such as {missing[0]!r}"
        problems.append(Problem(code="missing_tensors", message=text, hint=hint))
    if extra:
        text = f"{len(extra)} tensors are not in the base model, such as {extra[0][:120]!r}"
        problems.append(Problem(code="extra_tensors", message=text, hint=hint))
    for name in sorted(tensors.keys() & base.tensors.keys()):
        if tensors[name].shape != base.tensors[name].shape:
            text = f"{name} has shape {tensors[name].shape}, the base model's is {base.tensors[name].shape}"
            problems.append(Problem(code="wrong_shape", message=text, hint=hint))
            break
    return problems


def _equal(one: Tensor, other: Tensor) -> bool:
    import numpy as np

    same_kind = one.dtype == other.dtype and one.shape == other.shape
    return same_kind and all(np.array_equal(a, b) for a, b in zip(one.chunks(), other.chunks(), strict=True))
