"""The goal an agent reads: ``instruction.md`` with the figures of this run filled in."""

from __future__ import annotations

import re
from collections.abc import Mapping

from harness.spec.budget import Budget
from harness.spec.errors import SpecError
from harness.spec.task import DojoTask, Generation, Limits

_PLACEHOLDER = re.compile(r"\{\{ *([a-z_]+) *\}\}")


def render_instruction(template: str, values: Mapping[str, str]) -> str:
    """Fill the ``{{name}}`` placeholders of an instruction; what it must say of the dev split is added where it does not say it.

    Raises:
        SpecError: a placeholder that there is no value for.
    """
    unknown = sorted({name for name in _PLACEHOLDER.findall(template) if name not in values})
    if unknown:
        raise SpecError(f"instruction.md: unknown placeholder {{{{{unknown[0]}}}}}", hint=f"known: {', '.join(sorted(values))}")
    filled = _PLACEHOLDER.sub(lambda match: values[match.group(1)], template)
    rule = values.get("dev_rule", "")
    if not rule or "{{dev_rule}}" in template.replace(" ", ""):
        return filled
    return f"{filled.rstrip()}\n\n{rule[0].upper()}{rule[1:]}.\n"


def instruction_values(
    dojo: DojoTask, *, profile: str, base_model: str, budget: Budget, limits: Limits, generation: Generation, sources: str
) -> dict[str, str]:
    """Return what an instruction may name: figures of the task and of this run."""
    shots = f"after {generation.fewshot} worked examples" if generation.fewshot else "zero-shot"
    return {
        "title": dojo.title,
        "summary": dojo.summary,
        "profile": profile,
        "base_model": base_model,
        "metric": f"`{dojo.metric.name}` ({dojo.metric.description})",
        "subsets": "\n".join(f"- `{s.name}`: `{s.metric}`. {s.description}".rstrip() for s in dojo.subsets),
        "answer_format": dojo.answer_format,
        "sources": sources,
        "dev_rule": dev_rule(dojo.train_on_dev),
        "max_train_samples": f"{dojo.max_train_samples:,}",
        "budget": budget_text(budget),
        "limits": limits_text(limits),
        "generation": f"greedy, {shots}, with the base model's chat template, at most {generation.max_new_tokens:,} new tokens",
        "submission_policy": {
            "last": "the last valid submission counts",
            "best_on_dev": "the valid submission that scored best on the dev split counts",
        }[dojo.submission_policy],
    }


def dev_rule(train_on_dev: bool) -> str:
    """Say whether agents may train on the dev split."""
    return f"training on items of the dev split is {'allowed' if train_on_dev else 'not allowed'}"


def budget_text(budget: Budget) -> str:
    """Say a budget in words: what is limited, in people's units."""
    parts = [f"{duration_text(budget.wall)} of wall time", f"{budget.evaluations} dev evaluations"]
    if budget.cpu is not None:
        parts.append(f"{duration_text(budget.cpu)} of CPU time")
    if budget.gpu is not None:
        parts.append(f"{duration_text(budget.gpu)} of GPU time")
    if budget.disk_mb is not None:
        parts.append(f"{budget.disk_mb:,} MB of disk")
    if budget.tokens is not None:
        parts.append(f"{budget.tokens:,} backbone tokens")
    if budget.output_tokens is not None:
        parts.append(f"{budget.output_tokens:,} backbone tokens in answers")
    if budget.requests is not None:
        parts.append(f"{budget.requests:,} backbone calls")
    if budget.dollars is not None:
        parts.append(f"${budget.dollars:,.2f} of backbone cost")
    return ", ".join(parts)


def limits_text(limits: Limits) -> str:
    """Say a sandbox's limits in words."""
    gpus = f", {limits.gpus} GPU{'s' if limits.gpus > 1 else ''}" if limits.gpus else ", no GPU"
    return f"{limits.cpus:g} CPU core{'s' if limits.cpus > 1 else ''}{gpus}, {limits.memory_mb:,} MB of memory"


def duration_text(seconds: float) -> str:
    """Say seconds as ``12 h``, ``1 h 30 min`` or ``90 s``."""
    if seconds < 120:
        return f"{seconds:g} s"
    hours, minutes = divmod(round(seconds / 60), 60)
    return " ".join(part for part in (f"{hours} h" if hours else "", f"{minutes} min" if minutes else "") if part)
