"""The model's own answers: sampled or greedy, in padded batches, until the clock says stop.

Runs in the training process (`ft_agent.worker`), beside training and scoring, on the model that is loaded there.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence
from typing import Any

from reading.pace import Progress

# Sequences generated at once. Decoding is bound by memory traffic: on one core 32 together are six times as fast as one.
BATCH = 32
# Between two signs of life; far below what the parent takes for a hang.
SIGN_EVERY_S = 5.0


def generate(
    model: Any,
    tokenizer: Any,
    job: dict[str, Any],
    *,
    pad: int,
    emit: Callable[[dict[str, Any]], None],
    wall: Callable[[], float] = time.monotonic,
    cpu: Callable[[], float] = time.process_time,
) -> dict[str, Any]:
    """Answer prompts ``samples`` times each.

    Args:
        model: with or without an adapter.
        tokenizer: its tokenizer with the chat template.
        job: ``examples`` [(id, prompt)], ``samples``, ``temperature`` (0: greedy, one answer), ``max_new_tokens``, ``stint``
            (`reading.pace.Stint`), ``seed``, and ``batch`` where another number of sequences than `BATCH` is to be made at once.
        pad: the id that batches are filled up with.
        emit: takes the signs of life.
        wall: monotonic seconds; tests give their own.
        cpu: seconds of processor time; likewise.

    Returns:
        ``said`` (id → texts; an id the clock did not reach has none, and a text it cut off is left out), ``tokens``, ``seconds``.
    """
    import torch
    from transformers import GenerationConfig, set_seed

    begun, progress = wall(), Progress(job["stint"], wall, cpu)
    temperature = float(job.get("temperature", 0.0))
    samples = int(job.get("samples", 1)) if temperature > 0 else 1
    most = int(job["max_new_tokens"])
    ends = [tokenizer.eos_token_id] if tokenizer.eos_token_id is not None else []
    # every knob is set here: a model's own settings (a penalty on repeats, nucleus sampling) would not be what is graded
    config = GenerationConfig(
        max_new_tokens=most,
        repetition_penalty=1.0,
        **(
            {"do_sample": True, "temperature": temperature, "top_k": 0, "top_p": 1.0} if temperature > 0 else {"do_sample": False}
        ),
        num_return_sequences=samples,
        eos_token_id=ends,
        pad_token_id=pad,
        use_cache=True,
    )
    set_seed(int(job.get("seed", 0)))
    stop_in_time = _stop(progress, wall, emit)
    said: dict[str, list[str]] = {str(name): [] for name, _ in job["examples"]}
    tokens = 0
    model.eval()
    for part in _batches(tokenizer, job["examples"], max(1, int(job.get("batch") or BATCH) // samples), int(job.get("seed", 0))):
        if progress.share() >= 1.0:
            break
        width = max(len(ids) for _, ids in part)
        rows = torch.tensor([[pad] * (width - len(ids)) + ids for _, ids in part], device=model.device)
        seen = torch.tensor([[0] * (width - len(ids)) + [1] * len(ids) for _, ids in part], device=model.device)
        with torch.no_grad():
            made = model.generate(
                input_ids=rows, attention_mask=seen, generation_config=config, stopping_criteria=[stop_in_time]
            )[:, width:].tolist()
        for at, ids in enumerate(made):
            stop = next((i for i, t in enumerate(ids) if t in ends), len(ids))
            tokens += stop
            if stop < len(ids) or len(ids) >= most:
                said[part[at // samples][0]].append(str(tokenizer.decode(ids[:stop], skip_special_tokens=True)))
    return {"said": said, "tokens": tokens, "seconds": wall() - begun}


def _batches(tokenizer: Any, examples: Sequence[Any], size: int, seed: int) -> list[list[tuple[str, list[int]]]]:
    """Prompts of like length together, in an order that gives every length its turn before the clock stops."""
    heads = [
        tokenizer.apply_chat_template([{"role": "user", "content": prompt}], tokenize=False, add_generation_prompt=True)
        for _, prompt in examples
    ]
    encoded = tokenizer(heads, add_special_tokens=False)["input_ids"] if heads else []
    named = sorted(((str(name), list(ids)) for (name, _), ids in zip(examples, encoded, strict=True)), key=lambda n: len(n[1]))
    parts = [named[at : at + size] for at in range(0, len(named), size)]
    random.Random(seed).shuffle(parts)
    return parts


def _stop(progress: Progress, wall: Callable[[], float], emit: Callable[[dict[str, Any]], None]) -> Callable[..., Any]:
    """Return a stopping criterion that ends all sequences when the time is up, and tells the parent that work goes on."""
    import torch

    told = wall()

    def stop(input_ids: Any, scores: Any, **_: Any) -> Any:
        nonlocal told
        if wall() - told > SIGN_EVERY_S:
            told = wall()
            emit({"event": "generating", "share": progress.share()})
        return torch.full((input_ids.shape[0],), progress.share() >= 1.0, device=input_ids.device, dtype=torch.bool)

    return stop
