"""What lies in a submission's directory, judged by names and kinds alone: nothing is opened."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass, field
from pathlib import Path

from harness.grading.submission.leftovers import is_left_out
from harness.spec.submission import Problem

# A 72B model in 5 GB shards has 31 files; 500 leaves room for smaller shards.
MAX_FILES = 500
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
class Inventory:
    """A directory's files by what becomes of them.

    Attributes:
        names: files of a model, which may be opened.
        left_out: what training leaves beside a model, and folders (with ``/`` at the end); never opened.
        problems: what gets the submission refused.
        notes: what is ignored.
    """

    names: list[str] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def inventory(directory: Path) -> Inventory:
    """List a directory without opening anything in it."""
    found = Inventory()
    if not directory.is_dir() or directory.is_symlink():
        text = "there is no such directory"
        found.problems.append(Problem(code="not_found", message=text, hint="give the directory the model was saved into"))
        return found
    with os.scandir(directory) as entries:
        for entry in sorted(entries, key=lambda e: e.name):
            if len(found.names) + len(found.problems) + len(found.left_out) > MAX_FILES:
                hint = "hand in the model's files only"
                found.problems.append(Problem(code="too_many_files", message=f"more than {MAX_FILES} files", hint=hint))
                break
            _put(entry, found)
    return found


def _put(entry: os.DirEntry[str], found: Inventory) -> None:
    info = entry.stat(follow_symlinks=False)
    folder = stat.S_ISDIR(info.st_mode)
    if problem := _kind_problem(entry.name, info):
        found.problems.append(problem)
    elif is_left_out(entry.name, folder=folder):
        found.left_out.append(entry.name + "/" * folder)
    elif problem := _name_problem(entry.name, info.st_size):
        found.problems.append(problem)
    else:
        found.names.append(entry.name)
        if entry.name in _OWNED_BY_GRADER:
            found.notes.append(f"{entry.name} ignored: the grader uses the base model's")


def _kind_problem(name: str, info: os.stat_result) -> Problem | None:
    shown = repr(name[:120])
    if stat.S_ISLNK(info.st_mode):
        return Problem(code="symlink", message=f"{shown} is a symbolic link", hint="hand in the file itself")
    if stat.S_ISDIR(info.st_mode):
        return None
    if not stat.S_ISREG(info.st_mode):
        return Problem(code="device", message=f"{shown} is no regular file", hint="hand in regular files only")
    if info.st_nlink > 1:
        return Problem(code="hard_link", message=f"{shown} is a hard link", hint="hand in a copy of the file")
    return None


def _name_problem(name: str, size: int) -> Problem | None:
    shown, lower = repr(name[:120]), name.lower()
    if lower.endswith(_CODE):
        return Problem(code="code", message=f"{shown} is code", hint="delete it; the grader runs no code from a submission")
    if lower.endswith(_PICKLES):
        return Problem(
            code="pickle",
            message=f"{shown} is no safetensors file and may hold pickled code",
            hint="save the weights with save_pretrained(…), which writes safetensors, and delete this file",
        )
    if lower.endswith(".safetensors"):
        return None
    if not lower.endswith(_DATA) or name.startswith("."):
        return Problem(code="unexpected_file", message=f"{shown} is no file of a model", hint="delete it from the submission")
    if size > MAX_IGNORED_BYTES:
        return Problem(
            code="too_large", message=f"{shown} has {size} bytes", hint=f"at most {MAX_IGNORED_BYTES} beside the weights"
        )
    return None
