"""A submission as a folder of full weights, for an engine that reads models from a disk."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.grading.submission.base_files import BaseFiles
from harness.grading.submission.check import Submission
from harness.spec.errors import GraderFailure

if TYPE_CHECKING:
    import torch

# Beside the weights an engine reads the base model's configuration, never the submission's.
_CONFIGS = ("config.json", "generation_config.json")


def write_merged(submission: Submission, files: BaseFiles, folder: Path, dtype: torch.dtype) -> Path:
    """Write the base model with a checked submission in it, file by file as the base model lies, and return the folder.

    What a file holds of the base alone stays a link to it, so an adapter on few layers costs little of the disk.

    Raises:
        GraderFailure: the sandbox's disk is too small.
    """
    import torch
    from safetensors.torch import save_file

    from harness.grading.worker.warm_model import merged_weight, read_tensor

    modules = {module.target: module for module in submission.adapter.modules} if submission.adapter else {}
    whole = submission.tensors if submission.adapter is None else submission.adapter.whole
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")

    def value(name: str) -> Any:
        if name in whole:
            return read_tensor(whole[name]).to(dtype)
        if name in modules:
            return merged_weight(modules[name], files, device).to("cpu", dtype)
        return read_tensor(files.tensors[name])

    folder.mkdir(parents=True)
    try:
        for name in _CONFIGS:
            if (files.path / name).exists():
                shutil.copyfile(files.path / name, folder / name)
        for source in sorted({tensor.path for tensor in files.tensors.values()}):
            names = [name for name, tensor in files.tensors.items() if tensor.path == source]
            if modules.keys().isdisjoint(names) and whole.keys().isdisjoint(names):
                (folder / source.name).symlink_to(source)
            else:
                save_file({name: value(name) for name in names}, folder / source.name, metadata={"format": "pt"})
    except OSError as exc:
        raise GraderFailure(
            f"merged weights cannot be written for vLLM: {exc}",
            hint="disk_mb in the profile's limits must hold the base model once beside the submission",
        ) from exc
    return folder
