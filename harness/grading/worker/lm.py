"""lm-eval's model interface over an engine: templates and tokenizing are lm-eval's, whichever engine generates."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from harness.grading.worker.engine import Engine
from harness.grading.worker.generation import Continuation
from harness.spec.errors import GraderFailure
from harness.taskkit.scoring.plain import plain_text

Progress = Callable[[int, int], None]


def make_lm(engine: Engine, *, max_new_tokens: int, max_context: int, batch_size: int, on_progress: Progress) -> Any:
    """Wrap an engine for one `simple_evaluate`.

    The returned lm-eval model has ``continuations``: response text's source, by prompt text.

    Raises:
        GraderFailure: later, from a request that is no greedy generation, or a prompt that leaves no room to answer.
    """
    from lm_eval.models.huggingface import HFLM  # type: ignore[import-untyped, unused-ignore]

    class WarmLM(HFLM):  # type: ignore[misc, unused-ignore]
        continuations: dict[str, Continuation]

        def generate_until(self, requests: list[Any], disable_tqdm: bool = False) -> list[str]:
            prompts = [request.args[0] for request in requests]
            for request in requests:
                if request.args[1].get("do_sample") or request.args[1].get("until"):
                    raise GraderFailure(
                        f"the task's generation_kwargs {request.args[1]} are not plain greedy decoding",
                        hint="in tests/task.yaml write until: [] and do_sample: false",
                    )
            distinct = sorted(set(prompts))
            ids = {text: self.tok_encode(text) for text in distinct}
            longest = max(len(tokens) for tokens in ids.values())
            if longest >= max_context:
                raise GraderFailure(
                    f"a prompt of {longest} tokens leaves no room in a context of {max_context}",
                    hint="raise max_context in task.toml or shorten the prompt",
                )
            done = 0

            def count(ended: int) -> None:
                nonlocal done
                done += ended
                on_progress(done, len(distinct))

            on_progress(0, len(distinct))
            answers = engine.answer(
                [ids[text] for text in distinct],
                caps=[min(max_new_tokens, max_context - len(ids[text])) for text in distinct],
                stop_tokens=stop_tokens(engine),
                batch_size=batch_size,
                on_done=count,
            )
            self.continuations |= dict(zip(distinct, answers, strict=True))
            return [plain_text(self.tok_decode(list(self.continuations[text].tokens))) for text in prompts]

    lm = WarmLM(pretrained=engine.model, tokenizer=engine.tokenizer, batch_size=batch_size, max_length=max_context)
    lm.continuations = {}
    return lm


def stop_tokens(engine: Engine) -> frozenset[int]:
    """Ids that end an answer: the base model's and its tokenizer's end tokens, never the submission's."""
    ends: set[int] = set()
    for value in (engine.model.generation_config.eos_token_id, engine.tokenizer.eos_token_id):
        if value is not None:
            ends |= set(value) if isinstance(value, list | tuple) else {value}
    return frozenset(ends)
