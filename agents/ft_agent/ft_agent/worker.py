"""The training process: loads the model once, then does jobs (train, score) one after another, a JSON line in, JSON lines out.

It is a process of its own so that a crash, a runaway allocation or a hang costs a job and not the agent; it stays warm because
imports and loading cost more than a short training run. Run as ``python -m ft_agent.worker MODEL`` by `ft_agent.train.Trainer`;
with ``--job FILE`` it does one job, together with its like (`ft_agent.launch`).
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from reading.cards import Card, card_here
from reading.memory import Shape
from reading.pace import Progress

from ft_agent.generating import generate
from ft_agent.lean import decoder_of
from ft_agent.memory import allocate_at_most, out_of_memory
from ft_agent.methods.training import first_process, schemas, train
from ft_agent.methods.weights import wear


class Worker:
    """Holds tokenizer and base model; ``emit`` sends one event to the parent."""

    def __init__(self, model_path: str, emit: Callable[[dict[str, Any]], None]) -> None:
        import torch
        from transformers import AutoTokenizer

        self.emit, self.model_path = emit, model_path
        self.cuda = torch.cuda.is_available()
        if self.cuda:
            torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
        self.card = card_here()
        self.dtype = torch.bfloat16 if self.card and self.card.bf16 else torch.float32
        self.tokenizer = AutoTokenizer.from_pretrained(model_path)
        self.model = self._load()
        self.pad = self.tokenizer.pad_token_id if self.tokenizer.pad_token_id is not None else self.tokenizer.eos_token_id
        self.shape = self._shape()
        self.shared_works = self._shared_layout_works()
        # a CPU pads: packing is not asked for there
        self.packed_works = self.card is not None and self.packed_layout_works()

    def _load(self) -> Any:
        from transformers import AutoModelForCausalLM

        model = AutoModelForCausalLM.from_pretrained(self.model_path, dtype=self.dtype)
        if self.cuda:
            model.to("cuda")
        model.config.use_cache = False
        return model

    def describe(self) -> dict[str, Any]:
        """Say what was loaded and which arguments its trainers take."""
        import torch

        config = self.model.config
        facts = {
            "parameters": self.model.num_parameters(),
            "layers": config.num_hidden_layers,
            "hidden": config.hidden_size,
            "vocabulary": config.vocab_size,
            "bytes": 2 if self.cuda else 4,
        }
        gpus = torch.cuda.device_count() if self.cuda else 0
        memory = torch.cuda.get_device_properties(0).total_memory / 1e6 if self.cuda else None
        device = {"cuda": self.cuda, "gpus": gpus, "gpu_memory_mb": memory, "card": asdict(self.card) if self.card else None}
        shape = asdict(self.shape) if self.shape else None
        return {"model": facts, "shape": shape, "schemas": schemas(), "shared_layout": self.shared_works, **device}

    def free_card(self) -> Card | None:
        """Return the card with what is free on it now, this process's own model counted as free; None without one."""
        if not self.cuda:
            return None
        import torch

        torch.cuda.reset_peak_memory_stats()
        return card_here()

    def train(self, job: dict[str, Any]) -> dict[str, Any]:
        """Train (`ft_agent.methods.training.train`)."""
        return train(self, job)

    def score(self, job: dict[str, Any]) -> dict[str, Any]:
        """Score an adapter (or the base model) on examples by forced decoding.

        An answer counts as right when the model's first choice is the gold token at every place, which is when greedy
        generation would write exactly the gold answer. One pass over prompt and answer, no generation. ``credit`` is the
        probability of the whole answer, a finer measure.
        """
        import torch

        from ft_agent.packing import IGNORED, choose_collator, encode

        examples, dropped = encode(self.tokenizer, job["examples"], int(job.get("max_length") or 10**9))
        batch = int(job.get("batch", 8))
        collator = choose_collator(examples, batch, dtype=self.dtype, pad=self.pad, shared_works=self.shared_works)
        begun, progress = time.monotonic(), Progress(job["stint"])
        items: dict[str, float] = dict.fromkeys(dropped, 0.0)
        credit: dict[str, float] = dict.fromkeys(dropped, 0.0)
        said: dict[str, str] = {}
        losses: list[float] = []
        model = self._with_adapter(job.get("adapter"))
        body, head = decoder_of(model), model.get_output_embeddings()
        try:
            model.eval()
            for at in range(0, len(examples), batch):
                if progress.share() >= 1.0:
                    break
                part = examples[at : at + batch]
                inputs = {k: v.to(self.model.device) for k, v in collator([vars(e) for e in part]).items()}
                labels = inputs.pop("labels")[:, 1:]
                with torch.no_grad():
                    hidden = body(**inputs, use_cache=False)[0][:, :-1]
                    wanted = labels != IGNORED
                    logits = head(hidden[wanted]).float()
                gold = labels[wanted]
                chances = torch.log_softmax(logits, -1).gather(-1, gold[:, None])[:, 0]
                first = logits.argmax(-1)
                place = 0
                for e in part:
                    span = slice(place, place + len(e.answer))
                    place += len(e.answer)
                    items[e.id] = float(bool((first[span] == gold[span]).all()))
                    credit[e.id] = float(chances[span].sum().exp())
                    losses.append(float(-chances[span].mean()))
                    said[e.id] = str(self.tokenizer.decode(first[span], skip_special_tokens=True))
        finally:
            if job.get("adapter"):
                self.reset(model)
        return {
            "items": items,
            "credit": credit,
            "said": said,
            "loss": sum(losses) / len(losses) if losses else None,
            "seconds": time.monotonic() - begun,
        }

    def generate(self, job: dict[str, Any]) -> dict[str, Any]:
        """Let an adapter (or the base model) answer prompts (`ft_agent.generating.generate`)."""
        model = self._with_adapter(job.get("adapter"))
        try:
            return generate(model, self.tokenizer, job, pad=self.pad, emit=self.emit)
        finally:
            if job.get("adapter"):
                self.reset(model)

    def _with_adapter(self, folder: str | None) -> Any:
        """Return the base model as it is, with an adapter, or a full model's folder; `reset` undoes it."""
        return wear(self.model, Path(folder), self.dtype) if folder else self.model

    def reset(self, model: Any) -> None:
        """Take off what a job has put on or changed, so that the next one meets the untouched base model."""
        if hasattr(model, "unload"):
            self.model = model.unload()
            # a trainer may lay its own forward over the model's (TRL does for some losses)
            self.model.__dict__.pop("forward", None)
            if hasattr(self.model, "peft_config"):
                del self.model.peft_config
        elif model is self.model:
            # its own weights have been trained: only the disk still has the base model's
            self.renew()
        self.model.requires_grad_(False)
        if self.cuda:
            import torch

            torch.cuda.empty_cache()

    def renew(self) -> None:
        """Load the base model again."""
        self.model = None
        self.model = self._load()
        self.model.requires_grad_(False)

    def _shape(self) -> Shape | None:
        try:
            return Shape.of(self.model.config.to_dict())
        except ValueError:
            return None

    def packed_layout_works(self) -> bool:
        """Compare packed examples with each alone on this very model: some architectures do not ask where examples begin."""
        import torch
        from reading.packing import packed

        from ft_agent.packing import Packed, encode

        pairs = [
            (a, p, "Bonjour, they say.")
            for a, p in (("a", "Say hello in French."), ("b", "Again."), ("c", "And once more, please."))
        ]
        examples, _ = encode(self.tokenizer, pairs, 10**9)
        together = Packed(self.pad)([vars(e) for e in examples])
        together.pop("labels")
        body = decoder_of(self.model)
        with torch.no_grad():
            try:
                hidden = body(**{k: v.to(self.model.device) for k, v in together.items()}, use_cache=False)[0]
            except (ValueError, RuntimeError, TypeError):
                return False
            for number, row in enumerate(packed([len(e) for e in examples])):
                at = 0
                for place in row:
                    e = examples[place]
                    ids = torch.tensor([[*e.prompt, *e.answer]], device=self.model.device)
                    alone = body(input_ids=ids, use_cache=False)[0][0]
                    if not self._near(alone, hidden[number, at : at + len(e)], float(alone.float().abs().mean())):
                        return False
                    at += len(e)
        return True

    def _near(self, one: Any, other: Any, scale: float) -> bool:
        return float((one.float() - other.float()).abs().mean()) <= (0.05 if self.cuda else 0.001) * scale

    def _shared_layout_works(self) -> bool:
        """Compare the shared layout with one-by-one on this very model: some architectures do not take such masks."""
        import torch

        from ft_agent.packing import SharedPrefix, encode

        pairs = [("a", "What is one and one?", "It is two."), ("b", "Say hello in French, please.", "Bonjour!")]
        examples, _ = encode(self.tokenizer, pairs, 10**9)
        prefix = min(4, len(examples[0].prompt) - 1)
        if examples[0].prompt[:prefix] != examples[1].prompt[:prefix]:
            return False
        together = SharedPrefix(prefix, self.dtype)([vars(e) for e in examples])
        together.pop("labels")
        body = decoder_of(self.model)
        with torch.no_grad():
            try:
                hidden = body(**{k: v.to(self.model.device) for k, v in together.items()}, use_cache=False)[0][0]
            except (ValueError, RuntimeError, TypeError):
                return False
            place = prefix
            for e in examples:
                alone = body(input_ids=torch.tensor([[*e.prompt, *e.answer]], device=self.model.device), use_cache=False)[0][0]
                mine = hidden[place : place + len(e) - prefix]
                place += len(e) - prefix
                if not self._near(alone[prefix:], mine, float(alone.float().abs().mean())):
                    return False
        return True


def main() -> int:
    """Serve jobs until the input ends, or do the one job that the command line names."""
    asked = _arguments()
    events = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # libraries print to standard output; only events may go to the parent

    def emit(event: dict[str, Any]) -> None:
        # of several processes the first one speaks; that a job failed is for any of them to say
        if first_process() or event["event"] == "failed":
            events.write(json.dumps(event) + "\n")
            events.flush()

    begun = time.monotonic()
    try:
        worker = Worker(asked.model, emit)
        if asked.memory_mb and not worker.cuda:
            allocate_at_most(asked.memory_mb)
        emit({"event": "ready", **worker.describe(), "seconds": time.monotonic() - begun})
    except Exception as exc:
        emit(_failure(exc))
        return 1
    jobs = {"train": worker.train, "score": worker.score, "generate": worker.generate}
    for line in [asked.job.read_text(encoding="utf-8")] if asked.job else sys.stdin:
        job = json.loads(line)
        try:
            emit({"event": "done", **jobs[job["job"]](job)})
        except Exception as exc:
            lost = {"kind": "lost"} if worker.model is None else {}
            emit({**_failure(exc), **lost})
            if asked.job or lost:
                return 1
    return 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("model")
    parser.add_argument("--memory-mb", type=float)
    parser.add_argument("--job", type=Path)
    return parser.parse_args()


def _failure(exc: Exception) -> dict[str, Any]:
    kind, remedy = ("memory", "; halve per_device_train_batch_size") if out_of_memory(exc) else ("error", "")
    message = f"{type(exc).__name__}: {exc}{remedy}"
    return {"event": "failed", "kind": kind, "message": message, "trace": traceback.format_exc()}


if __name__ == "__main__":
    sys.exit(main())
