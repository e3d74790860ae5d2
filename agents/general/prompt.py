"""The one prompt of all general agents, made of the task and the budget of this run; printed by ``python prompt.py``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from string import Template
from typing import Any

import dojo_tool

_SHOWN_EXAMPLES = 2
_UNITS = {"wall": "s of wall time", "cpu": "s of CPU time", "gpu": "s of GPU time", "disk_mb": "MB of disk", "dollars": "dollars"}
_OF_BACKBONE = ("tokens", "output_tokens", "requests", "dollars")
_POLICIES = {"last": "the last valid one counts", "best_on_dev": "the one that scores best on the dev split counts"}


def prompt(task: Mapping[str, Any], budget: Mapping[str, Mapping[str, float | None]]) -> str:
    """Return what an agent is told. Arguments: the answers of ``dojo-tool task`` and ``dojo-tool budget``."""
    template = Template((Path(__file__).parent / "prompt.md").read_text(encoding="utf-8"))
    examples = [f"Prompt:\n\n{e['prompt']}\n\nRight answer:\n\n{e['answer']}" for e in task["examples"][:_SHOWN_EXAMPLES]]
    limits = task["limits"]
    cores = f"{limits['cpus']:g} CPU core{'s' if limits['cpus'] > 1 else ''}"
    gpus = f"{limits['gpus']} GPU" if limits["gpus"] else "no GPU"
    return template.substitute(
        goal=_below(task["goal"]),
        examples="\n\n---\n\n".join(examples) or "None: see the data.",
        machine=f"The machine has {cores}, {gpus} and {limits['memory_mb']:,} MB of memory.",
        policy=_POLICIES.get(task["submission_policy"], task["submission_policy"]),
        budget="\n".join(_lines(budget)),
        backbone=_backbone(budget),
    )


def _below(goal: str) -> str:
    """The goal is a page of its own; here its headings stand below ours."""
    return "\n".join(f"#{line}" if line.startswith("#") else line for line in goal.strip().splitlines())


def _lines(budget: Mapping[str, Mapping[str, float | None]]) -> list[str]:
    found = []
    for name, line in budget.items():
        if line["limit"] is not None and line["left"] is not None:
            unit = _UNITS.get(name, name.replace("_", " "))
            found.append(f"- {line['left']:,.10g} of {line['limit']:,.10g} {unit}")
    return found


def _backbone(budget: Mapping[str, Mapping[str, float | None]]) -> str:
    if not any(budget.get(name, {}).get("limit") is not None for name in _OF_BACKBONE):
        return "What you think with is metered, too."
    return (
        "What you think with is metered: when its budget is spent you can think no more and your program ends, with nothing "
        "handed in for you. Hand in before, and be brief."
    )


def main() -> None:
    """Print the prompt of this run."""
    api = dojo_tool.Client()
    print(prompt(api.task(), api.budget()))


if __name__ == "__main__":
    main()
