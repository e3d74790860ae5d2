"""vLLM as a grader's engine: the worker's end of `vllm_child`, and how submissions are put into it.

lm-eval's own class for vLLM is not used: it ends answers at texts instead of token ids, takes the chat template and the end
tokens of the folder that it is given, and can hold one adapter for its lifetime.

An adapter that vLLM can compute beside the base's weights is served by request; one that it cannot is merged by us and read into
the running engine. What changes more than linear layers (embeddings, norms, full weights) gets an engine of its own, because
vLLM does not read tied output layers again.
"""

from __future__ import annotations

import json
import math
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.grading.submission.base_files import BaseFiles, read_base
from harness.grading.submission.check import Submission
from harness.grading.worker.adapters import MAX_RANK, why_merged, write_served
from harness.grading.worker.engine import Ended
from harness.grading.worker.generation import Continuation
from harness.grading.worker.merged_files import write_merged
from harness.spec.engine import EngineRecord
from harness.spec.errors import GraderFailure

_HINT = (
    "DOJO_VLLM_PYTHON must name a Python in which `import vllm` works, which the image grader-vllm has in /opt/vllm; "
    "DOJO_GRADER_ENGINE=transformers does without"
)
# Room for keys and values on a CPU, where vLLM would otherwise take most of the machine's memory, not of the sandbox's.
_LEAST_KV_BYTES = 1 << 30
# Answers together at most, as vLLM has it by itself: its memory bounds them before. `batch_size` is for engines that pad.
_AT_ONCE = 256
_END_S = 20.0
# Of a card, as vLLM has it by itself; importing torch on a busy machine takes its time.
_SHARE, _TELL_S = 0.9, 120.0


@dataclass(frozen=True)
class _Held:
    """What the engine was told to hold: a served adapter by name, number and folder, or none; and how it is recorded."""

    adapter: dict[str, Any] | None = None
    way: str = ""
    why: str = ""


class VllmModel:
    """The base model in vLLM, bfloat16 on CUDA and float32 on a CPU, with its tokenizer here; see `Engine`."""

    def __init__(
        self, base: Path, python: str, scratch: Path, why: Callable[..., str] = why_merged, *, lends: bool = False
    ) -> None:
        """Find out what is there; the model is loaded by the first request, or by `warm_up`.

        Args:
            base: the base model's folder.
            python: an interpreter that has vLLM.
            scratch: a folder for weights that vLLM reads from a disk.
            why: says why an adapter is merged, see `why_merged`.
            lends: others work on the same card: of its memory only what is free is taken.

        Raises:
            GraderFailure: the configuration cannot be read.
        """
        import torch
        from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, GenerationConfig

        self.files: BaseFiles = read_base(base)
        self.device = "cuda" if torch.cuda.is_available() else "cpu"
        self.dtype = torch.bfloat16 if self.device == "cuda" else torch.float32
        self.tokenizer: Any = AutoTokenizer.from_pretrained(base, local_files_only=True, trust_remote_code=False)
        config = AutoConfig.from_pretrained(base, local_files_only=True, trust_remote_code=False)
        with torch.device("meta"):  # lm-eval wants a model to ask; this one has no weights
            self.model: Any = AutoModelForCausalLM.from_config(config, trust_remote_code=False)
        if (base / "generation_config.json").exists():
            self.model.generation_config = GenerationConfig.from_pretrained(base, local_files_only=True)
        self._config, self._python, self._scratch, self._why, self._lends = config, python, scratch, why, lends
        self._child: _Child | None = None
        self._folder, self._linear = base, False
        self._held = _Held()
        self._number = self._room = 0

    def warm_up(self, max_context: int, batch_size: int) -> None:
        """Start vLLM with the base model before anybody waits for it."""
        most = int(getattr(self._config, "max_position_embeddings", max_context))
        self._engine(min(max_context, most))

    @contextmanager
    def loaded(self, submission: Submission) -> Iterator[None]:
        """Hold a checked submission; afterwards the base model is back, and what was written for vLLM is removed."""
        if not submission.report.ok:
            raise GraderFailure("a refused submission was to be loaded")
        self._number += 1
        folder = self._scratch / f"submission-{self._number}"
        adapter = submission.adapter
        why = self._why(adapter, self.device, self.files.config) if adapter is not None else ""
        try:
            if adapter is not None and not why:
                path = str(write_served(adapter, folder))
                self._held = _Held({"name": f"submission-{self._number}", "id": self._number, "path": path}, "served")
            elif adapter is not None or submission.tensors:
                self._held = _Held(way="merged" if adapter is not None else "", why=why)
                write_merged(submission, self.files, folder, self.dtype)
                linear = adapter is not None and not adapter.whole
                self._read(folder, in_place=linear)
            yield
        except BaseException:
            self.close()  # whatever state it is in, the next submission does not meet it
            raise
        finally:
            self._held = _Held()
            if self._folder != self.files.path:
                self._read(self.files.path, in_place=self._linear)
            shutil.rmtree(folder, ignore_errors=True)

    def answer(
        self,
        prompts: Sequence[list[int]],
        *,
        caps: Sequence[int],
        stop_tokens: frozenset[int],
        batch_size: int,
        on_done: Ended | None = None,
    ) -> list[Continuation]:
        """Continue every prompt; see `Engine.answer`.

        Raises:
            GraderFailure: vLLM broke; it is started anew for the next submission.
        """
        longest = max(len(prompt) + cap for prompt, cap in zip(prompts, caps, strict=True))
        child = self._engine(longest)
        request = {"prompts": list(prompts), "caps": list(caps), "stop": sorted(stop_tokens), "adapter": self._held.adapter}
        answers = child.ask(request, on_done)["answers"]
        if len(answers) != len(prompts) or None in answers:
            raise GraderFailure("vLLM did not answer every prompt", hint="grade again")
        return [Continuation(tuple(tokens), bool(ended)) for tokens, ended in answers]

    def record(self) -> EngineRecord:
        """Say how the submission that is held is computed."""
        if self._child is None:
            raise GraderFailure("vLLM has computed nothing yet")
        return EngineRecord(
            name="vllm",
            device=self._child.device,
            dtype=str(self.dtype).removeprefix("torch."),
            adapter=self._held.way,
            why=self._held.why,
            versions=self._child.versions,
        )

    def close(self) -> None:
        """End vLLM; its memory is free when this returns."""
        if self._child is not None:
            self._child.end()
            self._child = None

    def rest(self) -> None:
        """End vLLM, which keeps most of a card for as long as it runs; see `Engine.rest`."""
        self.close()

    def _read(self, folder: Path, *, in_place: bool) -> None:
        """Let the engine hold the weights of a folder: read into it, or with a new one where that does not do."""
        self._folder, self._linear = folder, in_place
        if self._child is None or not in_place or self._child.serves or self.device != "cpu":
            self.close()
            return
        try:
            self._child.ask({"reload": str(folder)})
        except GraderFailure:
            self.close()
            raise

    def _engine(self, longest: int) -> _Child:
        """Return a running vLLM with room for prompts with answers of ``longest`` tokens, and of the longest before."""
        self._room = longest = max(longest, self._room)
        child, adapter = self._child, self._held.adapter
        if child is not None and (child.longest < longest or (adapter is not None and not child.serves)):
            self.close()
        if self._child is None:
            # adapters need room in every layer, which costs time: only where one may be served
            serves = adapter is not None or (self.device == "cuda" and self._folder == self.files.path)
            settings = {
                "model": str(self._folder),
                "dtype": str(self.dtype).removeprefix("torch."),
                "max_model_len": longest,
                "max_num_seqs": _AT_ONCE,
                "lora_rank": MAX_RANK if serves else 0,
                "kv_bytes": 0 if self.device == "cuda" else max(_LEAST_KV_BYTES, longest * self._token_bytes()),
                "eager": self.device == "cpu",
                "share": share_of(*_card_memory(self._python)) if self._lends and self.device == "cuda" else 0.0,
            }
            self._child = _Child(self._python, settings)
        return self._child

    def _token_bytes(self) -> int:
        """Return the bytes of one token's keys and values in float32."""
        heads = self._config.num_attention_heads
        width = getattr(self._config, "head_dim", None) or self._config.hidden_size // heads
        return 2 * 4 * int(self._config.num_hidden_layers * (getattr(self._config, "num_key_value_heads", None) or heads) * width)


def share_of(free: int, total: int) -> float:
    """Return what part of a card vLLM may take where others have memory on it: all but 3 % of what is free, nine tenths at most.

    Raises:
        GraderFailure: nothing worth taking is free.
    """
    share = min(_SHARE, math.floor(970 * free / total) / 1000)
    if share <= 0:
        raise GraderFailure(
            f"of the card's {total / 1e9:.1f} GB {free / 1e9:.1f} GB are free", hint="end what holds them, then evaluate again"
        )
    return share


def _card_memory(python: str) -> tuple[int, int]:
    """Return the bytes of the first card that are free, and all, told by a process that holds nothing of it afterwards."""
    command = [python, "-c", "import torch; print(*torch.cuda.mem_get_info())"]
    done = subprocess.run(command, capture_output=True, text=True, env=_environment(), timeout=_TELL_S, check=False)
    try:
        free, total = map(int, done.stdout.split())
    except ValueError:
        raise GraderFailure(f"the card's memory is not told: {done.stderr.strip()[-300:]}", hint=_HINT) from None
    return free, total


class _Child:
    """A running `vllm_child`."""

    def __init__(self, python: str, settings: dict[str, Any]) -> None:
        self.longest = int(settings["max_model_len"])
        self.serves = bool(settings["lora_rank"])
        command = [python, "-P", "-m", "harness.grading.worker.vllm_child"]
        try:
            # stderr is the worker's own: what vLLM says stands in the grader's log
            self._process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=_environment()
            )
        except OSError as exc:
            raise GraderFailure(f"vLLM's Python {python} cannot be run: {exc}", hint=_HINT) from exc
        try:
            ready = self.ask(settings)
        except GraderFailure as exc:
            raise GraderFailure(f"vLLM did not start with {python}: {exc.message}", hint=_HINT) from exc
        self.versions: dict[str, str] = ready["versions"]
        self.device: str = ready["device"]

    def ask(self, request: dict[str, Any], on_done: Ended | None = None) -> dict[str, Any]:
        """Send a request and return its answer; ``on_done`` is told of every step."""
        assert self._process.stdin is not None and self._process.stdout is not None
        with suppress(BrokenPipeError):  # its end is told below, with its exit code
            self._process.stdin.write(json.dumps(request) + "\n")
            self._process.stdin.flush()
        for line in self._process.stdout:
            answer: dict[str, Any] = json.loads(line)
            if "error" in answer:
                self.end()
                raise GraderFailure(f"vLLM broke: {answer['error']}", hint="grade again; the grader's log says more")
            if "ended" not in answer:
                return answer
            if on_done is not None:
                on_done(int(answer["ended"]))
        code = self._process.wait()
        raise GraderFailure(f"vLLM's process ended with {code}", hint="memory_mb in the profile's limits may be too small")

    def end(self) -> None:
        """End the process, kindly first."""
        assert self._process.stdin is not None and self._process.stdout is not None
        with suppress(BrokenPipeError):
            self._process.stdin.close()
        try:
            self._process.wait(_END_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()


def _environment() -> dict[str, str]:
    """Return this process's environment, with the harness on the path and no other venv's settings."""
    kept = {name: value for name, value in os.environ.items() if name not in ("PYTHONHOME", "VIRTUAL_ENV")}
    root = str(Path(__file__).parents[3])
    path = [root, *(entry for entry in kept.get("PYTHONPATH", "").split(os.pathsep) if entry and entry != root)]
    return kept | {"PYTHONPATH": os.pathsep.join(path)}
