"""The base model, loaded once: submissions are written into its weights and taken out again, to the last bit.

Writing into the weights (adapters merged, full weights copied) makes every submission as fast as the base model; restoring
copies the touched tensors back from the base model's own file, so nothing of one submission is left for the next.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.grading.submission.adapter import LoraModule
from harness.grading.submission.base_files import BaseFiles, read_base
from harness.grading.submission.check import Submission
from harness.grading.submission.weights_file import Tensor
from harness.grading.worker import attention
from harness.grading.worker.engine import Ended
from harness.grading.worker.generation import Continuation, generate_in_groups
from harness.spec.engine import EngineRecord
from harness.spec.errors import GraderFailure

if TYPE_CHECKING:
    import torch


class WarmModel:
    """A causal language model with its tokenizer on the best device here: bfloat16 on CUDA, float32 on CPU."""

    def __init__(self, path: Path) -> None:
        import torch
        from transformers import AutoModelForCausalLM, AutoTokenizer

        self.files: BaseFiles = read_base(path)
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.dtype = torch.bfloat16 if self.device.type == "cuda" else torch.float32
        self.tokenizer: Any = AutoTokenizer.from_pretrained(path, local_files_only=True, trust_remote_code=False)
        model: Any = AutoModelForCausalLM.from_pretrained(
            path,
            dtype=self.dtype,
            local_files_only=True,
            trust_remote_code=False,
            use_safetensors=True,
            attn_implementation=attention.register(),
        )
        self.model: Any = model.to(self.device).eval().requires_grad_(False)
        self._merged = False
        self._parameters: dict[str, torch.Tensor] = dict(self.model.named_parameters(remove_duplicate=False))
        unknown = sorted(self.files.tensors.keys() - self._parameters.keys())
        if unknown:
            raise GraderFailure(
                f"the base model has no parameter {unknown[0]!r} after loading",
                hint="this architecture renames weights on loading and cannot be graded yet",
            )

    @contextmanager
    def loaded(self, submission: Submission) -> Iterator[None]:
        """Hold a checked submission in the weights; afterwards the base model is back, bit by bit."""
        if not submission.report.ok:
            raise GraderFailure("a refused submission was to be loaded")
        touched: list[str] = []
        self._merged = submission.adapter is not None
        self.model.to(self.device)
        try:
            if submission.adapter is not None:
                for module in submission.adapter.modules:
                    touched.append(module.target)
                    self._merge(module)
            whole = submission.tensors if submission.adapter is None else submission.adapter.whole
            for name, tensor in whole.items():
                touched.append(name)
                self._write(name, read_tensor(tensor))
            yield
        finally:
            self._merged = False
            for name in touched:
                self._write(name, read_tensor(self.files.tensors[name]))

    def is_base(self) -> bool:
        """Whether every weight is the base model's, bit by bit."""
        import torch

        return all(
            torch.equal(self._parameters[name].cpu(), read_tensor(tensor).to(self.dtype))
            for name, tensor in self.files.tensors.items()
        )

    def _write(self, name: str, values: torch.Tensor) -> None:
        import torch

        with torch.no_grad():
            self._parameters[name].copy_(values.to(self.device))

    def answer(
        self,
        prompts: Sequence[list[int]],
        *,
        caps: Sequence[int],
        stop_tokens: frozenset[int],
        batch_size: int,
        on_done: Ended | None = None,
    ) -> list[Continuation]:
        """Continue every prompt; see `Engine.answer`. The same input gives the same output on the same machine."""
        return generate_in_groups(self.model, prompts, caps=caps, stop_tokens=stop_tokens, batch_size=batch_size, on_done=on_done)

    def warm_up(self, max_context: int, batch_size: int) -> None:
        """Nothing: the model is loaded."""

    def record(self) -> EngineRecord:
        """Say how the submission that is held is computed."""
        return EngineRecord(
            device=self.device.type,
            dtype=str(self.dtype).removeprefix("torch."),
            adapter="merged" if self._merged else "",
            versions={name: version(name) for name in ("torch", "transformers")},
        )

    def rest(self) -> None:
        """Move the weights to the host's memory; see `Engine.rest`."""
        if self.device.type == "cuda":
            import torch

            self.model.to("cpu")
            torch.cuda.empty_cache()

    def _merge(self, module: LoraModule) -> None:
        """Write an adapter's module over the base's weight, computed on the model's device."""
        import torch

        with torch.no_grad():
            self._parameters[module.target].copy_(merged_weight(module, self.files, self.device))


def merged_weight(module: LoraModule, files: BaseFiles, device: torch.device) -> torch.Tensor:
    """Return W + scale · B·A (for DoRA rescaled row by row), computed in float32 from the base's own file."""
    import torch

    with torch.no_grad():
        base = read_tensor(files.tensors[module.target]).to(device, torch.float32)
        a, b = (read_tensor(t).to(device, torch.float32) for t in (module.a, module.b))
        merged = torch.addmm(base, b, a, alpha=module.scale)
        if module.magnitude is not None:
            magnitude = read_tensor(module.magnitude).to(device, torch.float32)
            merged *= (magnitude / merged.norm(dim=1)).unsqueeze(1)
        if not bool(torch.isfinite(merged).all()):
            # finite factors can overflow when multiplied; zero is what a model of Inf weights is worth, and it must not crash
            merged = torch.nan_to_num(merged, nan=0.0, posinf=math.sqrt(3e38), neginf=-math.sqrt(3e38))
        return merged


def read_tensor(tensor: Tensor) -> torch.Tensor:
    """Copy one checked tensor out of its file, in its own dtype."""
    import numpy as np
    import torch

    dtype, view = {
        "F32": (torch.float32, np.int32),
        "F16": (torch.float16, np.int16),
        "BF16": (torch.bfloat16, np.int16),
    }[tensor.dtype]
    raw = np.array(tensor.raw()).view(view)
    return torch.from_numpy(raw).view(dtype).reshape(tensor.shape)
