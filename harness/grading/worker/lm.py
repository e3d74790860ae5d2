"""lm-eval's model interface over the warm model: templates and tokenizing are lm-eval's, generation is `generate`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from harness.grading.worker.generation import Continuation, common_prefix, generate
from harness.grading.worker.warm_model import WarmModel
from harness.spec.errors import GraderFailure
from harness.taskkit.scoring.plain import plain_text

Progress = Callable[[int, int], None]


def make_lm(warm: WarmModel, *, max_new_tokens: int, max_context: int, batch_size: int, on_progress: Progress) -> Any:
    """Wrap the warm model for one `simple_evaluate`.

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
            for group in _groups(ids):
                answers = generate(
                    warm.model,
                    [ids[text] for text in group],
                    caps=[min(max_new_tokens, max_context - len(ids[text])) for text in group],
                    stop_tokens=stop_tokens(warm),
                    batch_size=batch_size,
                    on_done=count,
                )
                self.continuations |= dict(zip(group, answers, strict=True))
            return [plain_text(self.tok_decode(list(self.continuations[text].tokens))) for text in prompts]

    lm = WarmLM(pretrained=warm.model, tokenizer=warm.tokenizer, batch_size=batch_size, max_length=max_context)
    lm.continuations = {}
    return lm


def stop_tokens(warm: WarmModel) -> frozenset[int]:
    """Ids that end an answer: the base model's and its tokenizer's end tokens, never the submission's."""
    ends: set[int] = set()
    for value in (warm.model.generation_config.eos_token_id, warm.tokenizer.eos_token_id):
        if value is not None:
            ends |= set(value) if isinstance(value, list | tuple) else {value}
    return frozenset(ends)


# Prompts that share this many first tokens are worth computing together: the shared part is computed once a batch.
_WORTH_GROUPING = 128


def _groups(ids: dict[str, list[int]]) -> list[list[str]]:
    """Put prompts with a long common beginning (the same worked examples) together; otherwise all are one group."""
    groups: list[list[str]] = []
    for text in sorted(ids, key=lambda t: ids[t]):
        if groups and common_prefix([ids[groups[-1][0]], ids[text]]) >= _WORTH_GROUPING:
            groups[-1].append(text)
        else:
            groups.append([text])
    short = [text for group in groups if len(group) < 4 for text in group]
    return [group for group in groups if len(group) >= 4] + ([short] if short else [])
