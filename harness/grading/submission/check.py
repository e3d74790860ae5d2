"""The one check of a submission directory, used by `validate` and by the grader alike.

Needs numpy and the standard library only; reads every byte of the weights and runs none of it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from harness.grading.submission.adapter import Adapter, check_config, read_modules
from harness.grading.submission.architecture import compare_config
from harness.grading.submission.base_files import BaseFiles, read_base
from harness.grading.submission.full_weights import compare_tensors, own_tensors, weights_files
from harness.grading.submission.inventory import Inventory, inventory
from harness.grading.submission.leftovers import tell_left_out
from harness.grading.submission.provenance import Change, adapter_changes, full_changes, note, provenance_of, provenance_problem
from harness.grading.submission.tensors import finite_problems
from harness.grading.submission.weights_file import Tensor, read_weights
from harness.spec.submission import Problem, SubmissionReport
from harness.taskkit.scoring.plain import plain_text
from harness.taskkit.scoring.strict_json import StrictJsonError, strict_json

Kind = Literal["adapter", "full", "base", "unknown"]

MAX_CONFIG_BYTES = 1024 * 1024


@dataclass
class Submission:
    """A checked directory: the report, and what of it can be loaded."""

    report: SubmissionReport
    tensors: dict[str, Tensor] = field(default_factory=dict)
    adapter: Adapter | None = None


def check_submission(directory: Path, base_model_dir: Path) -> SubmissionReport:
    """Say whether a directory can be scored, and if not, every reason with its remedy."""
    return read_submission(directory, read_base(base_model_dir)).report


def read_submission(directory: Path, base: BaseFiles) -> Submission:
    """Check a directory and return what the grader may load from it; never raises for what the directory holds.

    What breaks a rule in a way that no rule foresaw is refused like the rest: an agent must learn of it when it hands in, not
    end its own grade with it.
    """
    try:
        submission = _read(directory, base)
        submission.report = _plain(submission.report)
        return submission
    except (ArithmeticError, AttributeError, LookupError, MemoryError, OSError, RecursionError, TypeError, ValueError) as exc:
        text = f"it cannot be read: {type(exc).__name__}: {plain_text(str(exc))[:200]}"
        hint = "save it with save_pretrained() and hand in nothing else"
        return _refuse("unknown", [Problem(code="unreadable", message=text, hint=hint)], [])


def _read(directory: Path, base: BaseFiles) -> Submission:
    listed = inventory(directory)
    submission = _read_listed(directory, listed, base)
    submission.report = tell_left_out(submission.report, listed.left_out)
    return submission


def _read_listed(directory: Path, listed: Inventory, base: BaseFiles) -> Submission:
    if listed.problems:
        return _refuse("unknown", listed.problems, listed.notes)
    kind, problem = _kind(listed.names)
    if problem is not None:
        return _refuse("unknown", [problem], listed.notes)
    if kind == "base":
        return _read_base_marker(directory, listed.notes)
    if kind == "adapter":
        return _read_adapter(directory, base, listed.notes)
    return _read_full(directory, base, listed.notes)


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
        hint = "save the model with save_pretrained(), or copy the base model's config.json beside them"
        return "unknown", Problem(code="missing_config", message=text, hint=hint)
    text = "neither an adapter, nor full weights, nor the base model's marker"
    hint = 'hand in adapter_config.json + adapter_model.safetensors, config.json + *.safetensors, or dojo.json {"dojo": "base"}'
    return "unknown", Problem(code="no_model", message=text, hint=hint)


def _plain(report: SubmissionReport) -> SubmissionReport:
    """Quote what was handed in so that it can be written anywhere."""
    problems = (p.model_copy(update={"message": plain_text(p.message)}) for p in report.problems)
    notes = tuple(plain_text(note) for note in report.notes)
    return report.model_copy(update={"problems": tuple(problems), "notes": notes})


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


def _read_adapter(directory: Path, base: BaseFiles, notes: list[str]) -> Submission:
    config = _read_json(directory / "adapter_config.json")
    if isinstance(config, Problem):
        return _refuse("adapter", [config], notes)
    problems = check_config(config)
    tensors, broken = read_weights([directory / "adapter_model.safetensors"])
    problems += broken
    adapter = None
    if not problems:
        adapter, problems = read_modules(config, tensors, base, notes)
    problems = problems or finite_problems(tensors)
    if config.get("base_model_name_or_path"):
        notes.append("base_model_name_or_path ignored: the grader uses the run's base model")
    parameters = sum(t.elements for t in tensors.values())
    if problems or adapter is None:
        return _refuse("adapter", problems, notes, parameters)
    return _measured("adapter", adapter_changes(adapter, base), Submission(_BARE, tensors, adapter), notes, parameters)


def _read_full(directory: Path, base: BaseFiles, notes: list[str]) -> Submission:
    config = _read_json(directory / "config.json")
    if isinstance(config, Problem):
        return _refuse("full", [config], notes)
    problems, more = compare_config(config, base.config)
    notes += more
    if problems:
        return _refuse("full", problems, notes)
    taken, beside = weights_files(directory)
    if beside:
        notes.append(
            f"{', '.join(path.name for path in beside[:4])} ignored: the model is in {', '.join(path.name for path in taken[:4])}"
        )
    tensors, problems = own_tensors(taken, base, notes)
    parameters = sum(t.elements for t in tensors.values())
    problems = problems or compare_tensors(tensors, base) or finite_problems(tensors)
    if problems:
        return _refuse("full", problems, notes, parameters)
    return _measured("full", full_changes(tensors, base), Submission(_BARE, tensors), notes, parameters)


# Stands in a submission until it has been measured.
_BARE = SubmissionReport(ok=False, kind="unknown")


def _measured(kind: Kind, changes: list[Change], found: Submission, notes: list[str], parameters: int) -> Submission:
    """Return what was found with its report, or the refusal of what lies too far from the base."""
    provenance = provenance_of(changes)
    problem = provenance_problem(provenance)
    found.report = SubmissionReport(
        ok=problem is None,
        kind=kind,
        problems=() if problem is None else (problem,),
        parameters=parameters,
        provenance=provenance,
        notes=(*notes, note(provenance)),
    )
    return found if problem is None else Submission(found.report)
