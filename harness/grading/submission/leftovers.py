"""What programs that train leave beside a model, and what is no part of one: told by name, left out with a note, never read."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from fnmatch import fnmatchcase

from harness.spec.errors import SubmissionRefused
from harness.spec.submission import Problem, SubmissionReport

# Names at the top of the folder, by who writes them. None holds weights that a loader of models would take.
LEFT_BEHIND: dict[str, tuple[str, ...]] = {
    "transformers' and trl's Trainer": (
        "training_args.bin", "optimizer.pt", "scheduler.pt", "scaler.pt", "rng_state.pth", "rng_state_[0-9]*.pth",
        "trainer_state.json", "trainer_log.jsonl", "all_results.json", "train_results.json", "eval_results.json",
        "test_results.json", "predict_results.json",
    ),
    "accelerate": (
        "optimizer.bin", "optimizer_[0-9]*.bin", "scheduler.bin", "scheduler_[0-9]*.bin", "sampler.bin", "sampler_[0-9]*.bin",
        "dl_state_dict.bin", "dl_state_dict_[0-9]*.bin", "random_states_[0-9]*.pkl", "custom_checkpoint_[0-9]*.pkl",
    ),
    "DeepSpeed": ("zero_to_fp32.py", "latest"),
    "loggers": ("events.out.tfevents.*", "*.log"),
    "cards and licences": (
        "README", "README.md", "LICENSE", "LICENSE.txt", "LICENSE.md", "NOTICE", "NOTICE.txt", "USE_POLICY.md", ".gitattributes",
    ),
}  # fmt: skip
# A loader of models reads no folder below the one it is given: checkpoints, logs and shards of training state lie there.
FOLDERS = "*/"
PATTERNS = (*(pattern for patterns in LEFT_BEHIND.values() for pattern in patterns), FOLDERS)

# Problems that say that no model lies at the top; then a folder that was left out may be the one that was meant.
_NOTHING_THERE = ("no_model", "empty", "missing_weights")
_SHOWN = 8


def is_left_out(name: str, *, folder: bool = False) -> bool:
    """Whether what lies at the top of a submission is left out for its name: a folder, or a file that training leaves behind."""
    return folder or any(fnmatchcase(name, pattern) for pattern in PATTERNS)


def left_out_at_top(path: str, *, folder: bool = False) -> str | None:
    """Return the name at the top (folders end in ``/``) for which a path is left out, or None where it is kept."""
    top, deeper, _ = path.partition("/")
    below = bool(deeper) or folder
    if not is_left_out(top, folder=below):
        return None
    return f"{top}/" if below else top


def tell_left_out(report: SubmissionReport, left_out: Iterable[str]) -> SubmissionReport:
    """Add to a report what was left out (folders end in ``/``), and to a refusal for want of a model where one may lie."""
    names = sorted(set(left_out))
    if not names:
        return report
    text = f"left out, as no part of a model: {_listed(names)}"
    problems = tuple(_where_it_lies(problem, names) for problem in report.problems)
    return report.model_copy(update={"notes": (*report.notes, text), "problems": problems})


@contextmanager
def hinted(left_out: Iterable[str]) -> Iterator[None]:
    """Add to a refusal for want of a model where one may lie, as `tell_left_out` does in a report."""
    try:
        yield
    except SubmissionRefused as exc:
        hint = folder_hint(left_out)
        if not hint or exc.code not in _NOTHING_THERE:
            raise
        raise SubmissionRefused(exc.message, hint=hint, code=exc.code) from exc


def folder_hint(left_out: Iterable[str]) -> str:
    """Return what to do where no model lies at the top but folders do; empty where there are none."""
    folders = sorted(name for name in left_out if name.endswith("/"))
    return f"hand in the folder that holds the model itself: is it {_listed(folders)}?" if folders else ""


def _where_it_lies(problem: Problem, names: list[str]) -> Problem:
    hint = folder_hint(names)
    return problem.model_copy(update={"hint": hint}) if hint and problem.code in _NOTHING_THERE else problem


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(name[:80] for name in names[:_SHOWN]) + more
