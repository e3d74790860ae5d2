"""What the task's worked examples teach: how prompts are worded, how answers are written, which kinds of values are answers."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from reading.rows import AnswerForm, PromptForm, is_number, learn_answer_form, learn_prompt_form, normal

_SMILES = re.compile(r"[A-Za-z0-9@+\-\[\]()=#$/\\.%:*]+")
_WORD = re.compile(r"[A-Za-z]+")


def value_kind(value: str) -> str:
    """Name the kind of a bare answer: integer, number, yesno, letter, word, code (such as SMILES), list or text."""
    text = value.strip()
    if re.fullmatch(r"[-+]?\d+", text):
        return "integer"
    if is_number(text):
        return "number"
    if text.lower() in ("yes", "no", "true", "false"):
        return "yesno"
    if re.fullmatch(r"[A-Z]", text):
        return "letter"
    if text[:1] in "[{":
        return "list"
    if _WORD.fullmatch(text) and len(text) <= 15 and not re.search(r"[a-z][A-Z]|[A-Z]{2}", text) and text.lower() == text:
        return "word"
    if " " not in text and _SMILES.fullmatch(text):
        return "code"
    return "text"


@dataclass(frozen=True)
class Forms:
    """Prompt form, answer form, and what golds look like; learned once from the worked examples.

    Attributes:
        kinds: the kinds of values that are answers somewhere in this task.
        kinds_by_slice: the same by sub-set (lower case), where examples name one.
        choices: sub-set → the only values seen, where answers are yes or no.
        leaks: normalised prompts of the worked examples; no training row may repeat them.
    """

    prompts: PromptForm
    answers: AnswerForm
    kinds: frozenset[str] = frozenset()
    kinds_by_slice: dict[str, frozenset[str]] = field(default_factory=dict)
    leaks: frozenset[str] = frozenset()

    def fits(self, value: str, slice_name: str) -> bool:
        """Whether a value is of a kind that this slice, or this task, answers with."""
        wanted = self.kinds_by_slice.get(slice_name.lower(), self.kinds)
        if not wanted:
            return bool(value)
        kind = value_kind(value)
        if kind in wanted:
            return True
        loose = {"code": ("word", "text", "letter"), "word": ("code", "text"), "text": ("word", "code"), "number": ("integer",)}
        return any(kind in loose.get(w, ()) for w in wanted)


def learn_forms(examples: Sequence[Mapping[str, Any]], answer_format: str) -> Forms:
    """Learn the forms from worked examples (``prompt``, ``answer`` and, where given, ``gold`` and ``subset``)."""
    by_slice: dict[str, set[str]] = {}
    kinds: set[str] = set()
    answers = learn_answer_form(examples, answer_format)
    for example in examples:
        value = answers.read(str(example["answer"])) if example.get("answer") else None
        if value is None and "gold" not in example:
            continue
        kind = value_kind(_gold_text(example["gold"] if value is None else value))
        kinds.add(kind)
        if example.get("subset"):
            by_slice.setdefault(str(example["subset"]).lower(), set()).add(kind)
    prompts = learn_prompt_form(examples)
    leaks = {normal(str(e["prompt"])) for e in examples}
    leaks |= {normal(inner) for e in examples if (inner := strip_form(str(e["prompt"]), prompts))}
    return Forms(
        prompts=prompts,
        answers=answers,
        kinds=frozenset(kinds),
        kinds_by_slice={k: frozenset(v) for k, v in by_slice.items()},
        leaks=frozenset(leaks),
    )


def strip_form(prompt: str, form: PromptForm) -> str:
    """Take the task's own words off a prompt, leaving the question."""
    text = prompt
    if form.before and text.startswith(form.before):
        text = text[len(form.before) :]
    if form.after and text.endswith(form.after):
        text = text[: len(text) - len(form.after)]
    return text.strip()


def _gold_text(gold: Any) -> str:
    if isinstance(gold, bool):
        return "Yes" if gold else "No"
    if isinstance(gold, float) and gold.is_integer():
        return str(int(gold))
    return json.dumps(gold) if isinstance(gold, (list, dict)) else str(gold)
