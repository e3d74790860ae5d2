"""From raw source rows to training examples in the task's own form.

Field names are found by what they are called and hold, the prompt's wording and the answer's form are learned from the worked
examples (``few_shot.jsonl``); where those show their rows, `layout` learns more.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from reading.layout import Layout, learn_layout

# Names that data sets use for the same thing, the most telling first.
PROMPT_FIELDS = ("prompt", "problem", "question", "query", "instruction", "input", "text")
ANSWER_FIELDS = ("answer", "gold", "gt", "final_answer", "label", "target", "output", "response", "completion", "result")
RATIONALE_FIELDS = ("solution", "rationale", "explanation", "reasoning", "struct_cot", "raw_cot", "cot")
SLICE_FIELDS = ("subset", "subtask", "type", "category", "task", "kind")

_TAIL = re.compile(r"(?:final answer|the answer|answer|result)\s*(?:is|:|=)\s*(.+?)\s*\.?\s*$", re.IGNORECASE | re.DOTALL)
_TITLE = re.compile(r"[A-Z][a-z]+[,:;]?")
_NUMBER = re.compile(r"[-+]?\d+(?:\.\d+)?")


@dataclass(frozen=True)
class Row:
    """A source row, read but not yet judged. ``value`` is the bare answer, empty where the row has none.

    ``made`` names what made or changed the row where a source did not; ``rejected`` is a wrong answer of the model's own.
    """

    prompt: str
    value: str
    rationale: str
    slice: str
    source: str
    index: int
    made: str = ""
    rejected: str = ""


@dataclass(frozen=True)
class AnswerForm:
    """How an answer is written.

    ``kind``: boxed, json, marker or plain; ``lead`` is the fixed text before it; ``types``: the JSON types of answers seen.
    """

    kind: str
    key: str = "output"
    lead: str = ""
    fenced: bool = False
    reasons: bool = False
    types: frozenset[str] = frozenset()

    def read(self, answer: str) -> Any:
        """Return the value in an answer of this form, as JSON has it."""
        if self.kind == "json":
            return next((o[self.key] for o in reversed(list(json_objects(answer))) if self.key in o), None)
        if self.kind == "boxed":
            return last_boxed(answer)
        return answer.strip().rsplit(self.lead, 1)[-1].strip() if self.kind == "marker" else answer.strip()

    def write(self, value: str, rationale: str = "") -> str:
        """Write a bare value as an answer, after its rationale where one is given."""
        if self.kind == "boxed":
            text = f"\\boxed{{{value}}}"
        elif self.kind == "json":
            text = json.dumps({self.key: _json_value(value, self.types)}, ensure_ascii=False)
            text = f"```json\n{text}\n```" if self.fenced else text
        elif self.kind == "marker":
            text = f"{self.lead} {value}".strip()
        else:
            text = value
        return f"{rationale.strip()}\n{text}" if rationale.strip() else text


@dataclass(frozen=True)
class PromptForm:
    """The fixed words around a question in the task's prompts."""

    before: str = ""
    after: str = ""

    def write(self, question: str) -> str:
        """Put a bare question into the task's wording (once: a question that has it already is left alone)."""
        text = question.strip()
        if self.before.strip() and self.before.strip() not in text:
            text = self.before + text
        if self.after.strip() and self.after.strip() not in text:
            text = text + self.after
        return text


def read_jsonl(path: Path) -> list[dict[str, Any]]:
    """Read the objects of a JSONL file; lines that are no JSON object are left out."""
    rows = []
    with path.open(encoding="utf-8", errors="replace") as lines:
        for line in lines:
            try:
                row = json.loads(line)
            except ValueError:
                continue
            if isinstance(row, dict):
                rows.append(row)
    return rows


def last_boxed(text: str) -> str | None:
    r"""Return the content of the last closed ``\boxed{}``, braces balanced."""
    start = text.rfind("\\boxed{")
    while start >= 0:
        depth = 0
        for i in range(start + 6, len(text)):
            depth += (text[i] == "{") - (text[i] == "}")
            if depth == 0:
                return text[start + 7 : i].strip()
        start = text.rfind("\\boxed{", 0, start)
    return None


def json_objects(text: str) -> Iterator[dict[str, Any]]:
    """Yield the outermost JSON objects in ``text``, in order."""
    decoder = json.JSONDecoder()
    at = text.find("{")
    while at >= 0:
        try:
            value, end = decoder.raw_decode(text, at)
        except ValueError:
            at = text.find("{", at + 1)
            continue
        if isinstance(value, dict):
            yield value
        at = text.find("{", end)


def bare_value(answer: Any, key: str = "output") -> str:
    """Take the bare answer out of what a source wrote: a box, a JSON object, "the answer is …", mark-up or the text itself."""
    if isinstance(answer, Mapping):
        return _from_object(answer, key)
    if isinstance(answer, list):
        return json.dumps(answer, ensure_ascii=False)
    if answer is None:
        return ""
    text = re.sub(r"</?[a-zA-Z]{1,10}>", "", str(answer)).strip()
    boxed = last_boxed(text)
    if boxed is not None:
        return bare_value(boxed, key)
    objects = list(json_objects(text)) if "{" in text else []
    if objects:
        return _from_object(objects[-1], key)
    if text.startswith("```"):
        return text  # a block of code is an answer as it stands
    match = _TAIL.search(text)
    if match:
        text = match.group(1).strip()
    text = text.strip('$ \n\t`"')
    return re.sub(r"^(-?\d+)\.0+$", r"\1", text)


def rationale_value(rationale: str, key: str = "output") -> str:
    """Return the answer that a worked solution arrives at, or nothing where it names none plainly."""
    boxed = last_boxed(rationale)
    if boxed is not None:
        return bare_value(boxed, key)
    objects = [o for o in json_objects(rationale) if key in o] if "{" in rationale else []
    if objects:
        return _from_object(objects[-1], key)
    match = re.search(r"(?:answer|result)\s+is:?\s*([^\n]+?)\s*\.?\s*$", rationale.strip(), re.IGNORECASE)
    return match.group(1).strip("$ ") if match else ""


def _from_object(value: Mapping[str, Any], key: str) -> str:
    if not value:
        return ""
    return _text(value[key] if key in value else list(value.values())[-1]).strip()


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "Yes" if value else "No"
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _json_value(value: str, types: frozenset[str]) -> Any:
    if types == {"bool"}:
        return value.lower() in ("yes", "true")
    if value[:1] not in "[{" and types and not types & {"int", "float"}:
        return value
    if re.fullmatch(r"-?(?:0|[1-9]\d*)(?:\.\d+)?", value):
        return float(value) if "." in value else int(value)
    if value[:1] in "[{":
        try:
            return json.loads(value)
        except ValueError:
            return value
    return value


def pick_field(rows: Sequence[Mapping[str, Any]], names: Iterable[str]) -> str | None:
    """Return the first of ``names`` that at least a tenth of the rows fill, in the rows' own spelling."""
    spelled = {k.lower(): k for row in rows[:500] for k in row}
    for name in names:
        field = spelled.get(name)
        if field is not None and sum(1 for row in rows if row.get(field) not in (None, "", [])) >= max(1, len(rows) // 10):
            return field
    return None


def learn_answer_form(examples: Sequence[Mapping[str, Any]], description: str = "") -> AnswerForm:
    """Learn how answers are written from worked examples; from the task's own description where there are none."""
    texts = [str(e.get("answer", "")) for e in examples if e.get("answer")]
    boxed = [t for t in texts if last_boxed(t) is not None] if texts else []
    if (texts and len(boxed) * 2 >= len(texts)) or (not texts and "\\boxed" in description):
        return AnswerForm("boxed", reasons=any(len(t) > len(f"\\boxed{{{last_boxed(t)}}}") + 8 for t in boxed))
    objects = [(t, found[-1]) for t in texts if (found := list(json_objects(t)))]
    if (texts and len(objects) * 2 >= len(texts)) or (not texts and "{" in description):
        named = re.search(r'\{\s*"(\w+)"\s*:', description)
        key = next(iter(objects[0][1])) if objects else (named.group(1) if named else "output")
        fenced = bool(objects) and all("```" in t for t, _ in objects)
        types = frozenset(type(o[key]).__name__ for _, o in objects if key in o)
        return AnswerForm(
            "json", key, fenced=fenced, reasons=any(len(t) > len(json.dumps(o)) + 20 for t, o in objects), types=types
        )
    marked = [m for t in texts if (m := re.search(r"^(.*?[:：])\s*\S[^\n]*$", t.strip().rsplit("\n", 1)[-1]))]
    if texts and len(marked) * 2 >= len(texts):
        return AnswerForm("marker", lead=marked[0].group(1), reasons=any("\n" in t.strip() for t in texts))
    if not texts and "Final Answer:" in description:
        return AnswerForm("marker", lead="Final Answer:")
    return AnswerForm("plain")


def layout_of(examples: Sequence[Mapping[str, Any]], form: AnswerForm) -> Layout:
    """Learn the layout of the rows behind worked examples whose answers are of this form."""
    answered = [e for e in examples if e.get("answer")]
    return learn_layout(answered, [form.read(str(e["answer"])) for e in answered])


def learn_prompt_form(examples: Sequence[Mapping[str, Any]]) -> PromptForm:
    """Learn the words the task puts around a question: from an example's own row, else from what all prompts share."""
    forms = []
    for example in examples:
        prompt, row = str(example.get("prompt", "")), example.get("row")
        inner = [v.strip() for v in row.values() if isinstance(v, str) and len(v) > 8] if isinstance(row, Mapping) else []
        found = max((v for v in inner if v in prompt), key=len, default="")
        if found:
            before, _, after = prompt.partition(found)
            forms.append(PromptForm(before, after))
    if forms and len(forms) == len(examples) and all(f == forms[0] for f in forms):
        return forms[0]
    prompts = [str(e["prompt"]) for e in examples if e.get("prompt")]
    if len(set(prompts)) < 2:
        return PromptForm()
    return PromptForm(_shared(prompts, False), _shared(prompts, True))


def _shared(prompts: Sequence[str], from_end: bool) -> str:
    texts = [p[::-1] for p in prompts] if from_end else list(prompts)
    shortest = min(map(len, texts))
    n = next((i for i in range(shortest) if len({t[i] for t in texts}) > 1), shortest)
    shared = prompts[0][len(prompts[0]) - n :] if from_end else prompts[0][:n]
    # whole lines or sentences only: half a sentence that happens to be shared belongs to the questions
    cuts = [m.end() if not from_end else m.start() for m in re.finditer(r"\n+|(?<=[.!?:]) +", shared)]
    if not cuts:
        return ""
    shared = shared[min(cuts) :] if from_end else shared[: max(cuts)]
    return shared if len(shared.strip()) >= 12 else ""


def parse_source(path: Path, *, key: str = "output", subsets: Sequence[str] = (), layout: Layout | None = None) -> list[Row]:
    """Read one source file into rows, whatever its layout.

    Args:
        path: a JSONL file.
        key: the answer key where answers are JSON objects.
        subsets: the task's sub-sets; the slice field is the one that names them.
        layout: what the worked examples teach about rows; it comes first where it fits this file.

    Raises:
        ValueError: no field of the file looks like a question; names the fields there are.
    """
    raw = [_flatten(r) for r in read_jsonl(path)]
    layout = layout or Layout()
    adapted = layout.adapt(raw)
    prompts, values = [layout.prompt(r) for r in adapted], [layout.value(r) for r in adapted]
    named = _by_names(raw, key)
    if named is None and not any(prompts):
        raise ValueError(f"{path.name}: no field looks like a question among {sorted({k for r in raw[:50] for k in r})}")
    questions, answers = named or ([""] * len(raw), [""] * len(raw))
    if any(prompts):
        questions = [p or "" for p in prompts]
    if any(v is not None for v in values):
        answers = ["" if v is None else bare_value(_text(v), key) for v in values]
    rationale_field = pick_field(raw, RATIONALE_FIELDS)
    slice_field = _slice_field(raw, subsets)
    rows = []
    for i, r in enumerate(raw):
        rationale = str(r.get(rationale_field) or "").strip() if rationale_field else ""
        rows.append(
            Row(
                prompt=questions[i],
                value=answers[i] or rationale_value(rationale, key),
                rationale=rationale,
                slice=str(r.get(slice_field, "")) if slice_field else "",
                source=path.stem,
                index=i,
            )
        )
    return rows


def _by_names(raw: Sequence[Mapping[str, Any]], key: str) -> tuple[list[str], list[str]] | None:
    """Questions and bare answers by what fields are called; None where none is called like a question."""
    prompt_field = pick_field(raw, PROMPT_FIELDS)
    if prompt_field is None:
        return None
    extra = pick_field(raw, ("input",)) if prompt_field.lower() == "instruction" else None
    answer_field = pick_field(raw, (n for n in ANSWER_FIELDS if n != (extra or prompt_field).lower()))
    questions = ["\n".join(str(r[f]).strip() for f in (prompt_field, extra) if f and r.get(f)).strip() for r in raw]
    return questions, [bare_value(r.get(answer_field), key) if answer_field else "" for r in raw]


def _flatten(row: dict[str, Any]) -> dict[str, Any]:
    messages = next((v for k, v in row.items() if k in ("messages", "conversations") and isinstance(v, list)), None)
    if not messages:
        return row
    said = [
        (str(m.get("role", m.get("from", ""))), str(m.get("content", m.get("value", ""))))
        for m in messages
        if isinstance(m, dict)
    ]
    user = [t for who, t in said if who in ("user", "human")]
    reply = [t for who, t in said if who in ("assistant", "gpt")]
    return {**row, "prompt": user[0] if user else "", "answer": reply[0] if reply else ""}


def _slice_field(rows: Sequence[Mapping[str, Any]], subsets: Sequence[str]) -> str | None:
    names = {s.lower() for s in subsets}
    best: tuple[float, str] | None = None
    for name in {k for row in rows[:200] for k in row}:
        values = [str(row.get(name)) for row in rows if isinstance(row.get(name), str) and len(str(row.get(name))) <= 60]
        distinct = {v.lower() for v in values}
        if not values or len(values) < len(rows) * 0.5 or not 1 < len(distinct) <= 60:
            continue
        score = len(distinct & names) + (0.5 if name.lower() in SLICE_FIELDS else 0)
        if score > 0 and (best is None or (score, name) > best):
            best = (score, name)
    return best[1] if best else None


def normal(text: str) -> str:
    """Fold white space, outer punctuation and the case of ordinary words, for comparing questions and answers.

    Words in mixed case or capitals keep it: in a SMILES, case is meaning.
    """
    words = re.sub(r"\s+", " ", text).strip(" .!?").split(" ")
    folded = [w.lower() if _TITLE.fullmatch(w) or (i == 0 and len(w) == 1) else w for i, w in enumerate(words)]
    return " ".join(folded)


def is_number(value: str) -> bool:
    """Whether the whole value is one plain number."""
    return _NUMBER.fullmatch(value.replace(",", "")) is not None
