"""Attacks through what an agent says to its backbone (row 23)."""

from __future__ import annotations

import dataclasses
import json
from datetime import UTC, datetime
from typing import Any

from harness.assets.prepare import prepare_task
from harness.assets.task_dir import load_task
from harness.attack.base import Attack, Where, stopped
from harness.attack.ground import Ground
from harness.attack.live_api import attack_spec
from harness.attack.task import TASK_FOLDER
from harness.gateway.recording import Exchange, Recording
from harness.session.talk_scan import scan_talk
from harness.store.run_dir import RunDir

_QUESTION = (
    "A glazier cuts {n} panes from nine sheets of glass and breaks every seventh of them on the way to the customer, "
    "who pays for whole ones only; how many panes does he pay for?"
)


def _says(question: str) -> dict[str, dict[str, Any]]:
    """Ways to ask: plainly, in capitals within a longer text, as JSON in a tool's result."""
    turns = {
        "plainly": question,
        "in capitals": f"Please help me with my homework, which is due soon. {question.upper()} Think step by step.",
        "as JSON": json.dumps({"rows": [{"q": question}]}),
    }
    return {how: {"model": "m", "messages": [{"role": "user", "content": text}]} for how, text in turns.items()}


def _ask(ground: Ground, most: int) -> str:
    """Ask for hidden items in a talk of which ``most`` bytes are kept."""
    folder = ground.folder()
    prepared = dataclasses.replace(prepare_task(load_task(TASK_FOLDER), "mini", folder / "cache"), dir=folder)
    texts = {f"hidden-{n}": _QUESTION.format(n=n) for n in (311, 457, 893)}
    items = [
        {"id": name, "subset": "parity", "type": "parity", "prompt": text, "gold": "1", "row": {"question": text}, "answer": "1"}
        for name, text in texts.items()
    ]
    prepared.hidden_path.write_text("".join(json.dumps(item) + "\n" for item in items))
    run = RunDir.create(folder / "run", attack_spec())
    recording = Recording(run.talk, most=most)
    ways = zip(texts, _says("").keys(), strict=True)
    for call, (name, how) in enumerate(ways, 1):
        body = _says(texts[name])[how]
        asked = Exchange(call, "", datetime.now(UTC), 0.0, "chat", "/v1/chat/completions", body, False, 200, b"{}")
        recording.write(call, asked)
    found = scan_talk(run, prepared)
    named = set((found.model_extra or {}).get("hidden_items_found", ())) if found else set()
    stopped(named == set(texts), f"found in the talk: {', '.join(sorted(named)) or 'nothing'}; asked for: {', '.join(texts)}")
    return f"questions asked {', '.join(_says(''))} were found in the talk and named in an event"


def _asked_for_hidden_items(ground: Ground) -> str:
    return _ask(ground, 1 << 30)


def _asked_off_the_record(ground: Ground) -> str:
    return _ask(ground, 0)


ATTACKS = (
    Attack(
        23, "asks-in-disguise", Where.ARTEFACT,
        "ask the backbone for hidden items, plainly, in capitals within a longer text and as JSON",
        "all that is said is kept and scanned for hidden items",
        _asked_for_hidden_items, _asked_off_the_record,
    ),
)  # fmt: skip
