"""The training process: loads the model once, then does jobs (train, score) one after another, a JSON line in, JSON lines out.

It is a process of its own so that a crash, a runaway allocation or a hang costs a job and not the agent; it stays warm because
imports and loading cost more than a short training run. Run as ``python -m ft_agent.worker MODEL`` by `ft_agent.train.Trainer`.
"""

from __future__ import annotations

import json
import math
import os
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ft_agent.lean import decoder_of
from ft_agent.pace import LossWatch, Pace


class Worker:
    """Holds tokenizer and base model; ``emit`` sends one event to the parent."""

    def __init__(self, model_path: str, emit: Callable[[dict[str, Any]], None]) -> None:
        import torch
        from transformers import AutoModelForCausalLM, AutoTokenizer

        self.emit, self.model_path = emit, model_path
        self.cuda = torch.cuda.is_available()
        self.dtype = torch.bfloat16 if self.cuda else torch.float32
        self.tokenizer = AutoTokenizer.from_pretrained(model_path)
        self.model = AutoModelForCausalLM.from_pretrained(model_path, dtype=self.dtype)
        if self.cuda:
            self.model.to("cuda")
        self.model.config.use_cache = False
        self.pad = self.tokenizer.pad_token_id if self.tokenizer.pad_token_id is not None else self.tokenizer.eos_token_id
        self.shared_works = self._shared_layout_works()

    def describe(self) -> dict[str, Any]:
        """Say what was loaded and which arguments its trainer takes."""
        from peft import LoraConfig
        from trl import SFTConfig

        from ft_agent.config import schema_of, schema_to_json

        config = self.model.config
        facts = {
            "parameters": self.model.num_parameters(),
            "layers": config.num_hidden_layers,
            "hidden": config.hidden_size,
            "vocabulary": config.vocab_size,
            "bytes": 2 if self.cuda else 4,
        }
        schemas = {"trainer": schema_to_json(schema_of(SFTConfig)), "lora": schema_to_json(schema_of(LoraConfig))}
        return {"model": facts, "schemas": schemas, "cuda": self.cuda, "shared_layout": self.shared_works}

    def train(self, job: dict[str, Any]) -> dict[str, Any]:
        """Train an adapter for ``seconds`` or ``max_steps``; events ``step`` on the way. Says how it ended in ``end``."""
        from datasets import Dataset
        from peft import LoraConfig, get_peft_model
        from torch.optim.lr_scheduler import LambdaLR
        from transformers import set_seed
        from transformers.trainer_callback import PrinterCallback

        from ft_agent.lean import lean_trainer
        from ft_agent.packing import choose_collator, encode

        max_steps = int(job["max_steps"]) if job["max_steps"] else None
        start, warm, end = (float(job["schedule"][k]) for k in ("start", "warm", "end"))
        pace = Pace(float(job["seconds"]), max_steps, start, warm, end)
        set_seed(int(job["seed"]))
        arguments = dict(job["trainer"])
        batch = int(arguments.get("per_device_train_batch_size", 8))
        examples, dropped = encode(self.tokenizer, job["examples"], int(arguments.get("max_length") or 10**9))
        if not examples:
            raise ValueError("no training example fits max_length")
        config = self._config(job, arguments)
        model = get_peft_model(self.model, LoraConfig(**{"task_type": "CAUSAL_LM", **job["lora"]}))
        if job.get("init"):
            self._load_weights(model, Path(job["init"]))
        collator = choose_collator(examples, batch, dtype=self.dtype, pad=self.pad, shared_works=self.shared_works)
        optimizer = self._optimizer(model, config)
        ending: dict[str, str] = {}
        trainer = lean_trainer()(
            model=model,
            args=config,
            train_dataset=Dataset.from_list([{"prompt": list(e.prompt), "answer": list(e.answer)} for e in examples]),
            processing_class=self.tokenizer,
            data_collator=collator,
            optimizers=(optimizer, LambdaLR(optimizer, lambda _: pace.rate())),
            callbacks=[self._watch(pace, ending)],
        )
        trainer.remove_callback(PrinterCallback)
        begun = time.monotonic()
        try:
            trainer.train()
            training = time.monotonic() - begun
            if job["out"] and not ending:
                model.save_pretrained(job["out"])
        finally:
            self._reset(model)
        seen = pace.steps * batch * int(arguments.get("gradient_accumulation_steps", 1))
        mean_tokens = sum(map(len, examples)) / len(examples)
        return {
            "end": ending.get("why", "done"),
            "steps": pace.steps,
            "examples": seen,
            "tokens": round(seen * mean_tokens),
            "dropped": len(dropped),
            "setup": begun - pace.begun,
            "seconds": time.monotonic() - pace.begun,
            "per_second": seen / max(1e-6, training),
            "layout": type(collator).__name__,
            "mean_tokens": mean_tokens,
        }

    def _config(self, job: dict[str, Any], arguments: dict[str, Any]) -> Any:
        """Join a plan's arguments with those that the loop decides."""
        from trl import SFTConfig

        return SFTConfig(
            **{"gradient_checkpointing": False, "loss_type": "nll", **arguments},
            output_dir=str(Path(job["scratch"]) / "trainer"),
            max_steps=int(job["max_steps"] or 10**6),
            use_cpu=not self.cuda,
            bf16=self.cuda,
            save_strategy="no",
            report_to="none",
            logging_strategy="steps",
            logging_steps=1,
            # the filter would hide the very thing that is watched for
            logging_nan_inf_filter=False,
            disable_tqdm=True,
            seed=int(job["seed"]),
            remove_unused_columns=False,
            # rows come in the order the data recipe gave them
            train_sampling_strategy="sequential",
            dataset_kwargs={"skip_prepare_dataset": True},
        )

    def _optimizer(self, model: Any, config: Any) -> Any:
        import torch

        return torch.optim.AdamW(
            [p for p in model.parameters() if p.requires_grad],
            lr=config.learning_rate,
            betas=(config.adam_beta1, config.adam_beta2),
            eps=config.adam_epsilon,
            weight_decay=config.weight_decay,
        )

    def _watch(self, pace: Pace, ending: dict[str, str]) -> Any:
        """Make the callback that reports each step and stops on time, NaN or divergence (the latter two into ``ending``)."""
        from transformers import TrainerCallback

        emit, losses = self.emit, LossWatch()

        class Watch(TrainerCallback):  # type: ignore[misc]
            """See `_watch`."""

            def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> Any:
                """Count the step; stop when the run is done."""
                pace.steps += 1
                control.should_training_stop = pace.share() >= 1.0
                return control

            def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> Any:
                """Report the loss; stop when it is bad."""
                if "loss" not in (logs or {}):
                    return control
                loss, gradient = float(logs["loss"]), float(logs.get("grad_norm", 0.0))
                rate, at = float(logs.get("learning_rate", 0.0)), time.monotonic() - pace.begun
                finite = loss if math.isfinite(loss) else None
                emit({"event": "step", "step": state.global_step, "loss": finite, "rate": rate, "seconds": at})
                why = losses.see(loss, gradient)
                if why:
                    ending["why"] = why
                    control.should_training_stop = True
                return control

        return Watch()

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
        begun, budget = time.monotonic(), float(job.get("seconds") or math.inf)
        items: dict[str, float] = dict.fromkeys(dropped, 0.0)
        credit: dict[str, float] = dict.fromkeys(dropped, 0.0)
        said: dict[str, str] = {}
        losses: list[float] = []
        model = self._with_adapter(job.get("adapter"))
        body, head = decoder_of(model), model.get_output_embeddings()
        try:
            model.eval()
            for at in range(0, len(examples), batch):
                if time.monotonic() - begun > budget:
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
                self._reset(model)
        return {
            "items": items,
            "credit": credit,
            "said": said,
            "loss": sum(losses) / len(losses) if losses else None,
            "seconds": time.monotonic() - begun,
        }

    def _with_adapter(self, adapter: str | None) -> Any:
        if not adapter:
            return self.model
        from peft import PeftModel

        return PeftModel.from_pretrained(self.model, adapter)

    def _load_weights(self, model: Any, adapter: Path) -> None:
        from peft import set_peft_model_state_dict
        from safetensors.torch import load_file

        set_peft_model_state_dict(model, load_file(str(adapter / "adapter_model.safetensors")))

    def _reset(self, model: Any) -> None:
        """Take the adapter off, so that the next job meets the untouched base model."""
        self.model = model.unload()
        # a trainer may lay its own forward over the model's (TRL does for some losses)
        self.model.__dict__.pop("forward", None)
        if hasattr(self.model, "peft_config"):
            del self.model.peft_config
        self.model.requires_grad_(False)
        if self.cuda:
            import torch

            torch.cuda.empty_cache()

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
                scale = float(alone.float().abs().mean())
                if float((alone[prefix:].float() - mine.float()).abs().mean()) > (0.05 if self.cuda else 0.001) * scale:
                    return False
        return True


def main() -> int:
    """Serve jobs until the input ends."""
    events = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # libraries print to standard output; only events may go to the parent

    def emit(event: dict[str, Any]) -> None:
        events.write(json.dumps(event) + "\n")
        events.flush()

    begun = time.monotonic()
    try:
        worker = Worker(sys.argv[1], emit)
        emit({"event": "ready", **worker.describe(), "seconds": time.monotonic() - begun})
    except Exception as exc:
        emit({"event": "failed", "message": f"{type(exc).__name__}: {exc}", "trace": traceback.format_exc()})
        return 1
    jobs = {"train": worker.train, "score": worker.score}
    for line in sys.stdin:
        job = json.loads(line)
        try:
            emit({"event": "done", **jobs[job["job"]](job)})
        except Exception as exc:
            emit({"event": "failed", "message": f"{type(exc).__name__}: {exc}", "trace": traceback.format_exc()})
    return 0


if __name__ == "__main__":
    sys.exit(main())
