"""Prompts from template files, within their limits: ``{{fact}}`` is filled in, and what may be cut is cut."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from ft_agent.llm.limits import Limit, clipped, tokens_of

FOLDER = Path(__file__).resolve().parents[2] / "prompts"
_SLOT = re.compile(r"\{\{(\w+)\}\}")
# what closes or opens a block of data in the templates must not stand inside one
_TAG = re.compile(r"<(/?)data>", re.IGNORECASE)


class TooLong(Exception):
    """A prompt that does not fit, even with everything cut that may be cut."""


def template(name: str, folder: Path = FOLDER) -> str:
    """Read a template."""
    return (folder / f"{name}.md").read_text(encoding="utf-8").strip()


def slots(name: str, folder: Path = FOLDER) -> frozenset[str]:
    """Return the facts a template asks for."""
    return frozenset(_SLOT.findall(template(name, folder)))


def fill(text: str, facts: Mapping[str, str]) -> str:
    """Fill a template in one pass: what stands in a fact is never taken for a slot.

    Raises:
        ValueError: facts and slots are not the same; names them.
    """
    wanted = set(_SLOT.findall(text))
    if wanted != set(facts):
        missing, unknown = sorted(wanted - set(facts)), sorted(set(facts) - wanted)
        raise ValueError(f"the template lacks facts {missing or 'none'} and has no place for {unknown or 'none'}")
    return _SLOT.sub(lambda slot: _TAG.sub(r"‹\1data›", facts[slot[1]]).strip() or "(none)", text)


def render(name: str, facts: Mapping[str, str], limit: Limit, most: int, folder: Path = FOLDER) -> list[dict[str, str]]:
    """Write a call's messages in at most ``most`` tokens.

    Facts are cut in the limit's order, each down to its least before the next one is touched.

    Raises:
        TooLong: it does not fit.
        ValueError: see `fill`.
    """
    system, text = template("system", folder), template(name, folder)
    keeps = {cut.fact: cut.keep for cut in limit.cuts}
    given = {name: clipped(fact, most, keeps[name]) if name in keeps else fact for name, fact in facts.items()}
    room = most - tokens_of(system)
    for cut in limit.cuts:
        over = tokens_of(fill(text, given)) - room
        if over <= 0:
            break
        if cut.fact in given:
            held = tokens_of(given[cut.fact])
            given[cut.fact] = clipped(given[cut.fact], max(cut.least, held - over - 4), cut.keep)
    filled = fill(text, given)
    if tokens_of(filled) > room:
        raise TooLong(f"the prompt {name} needs {tokens_of(filled) + tokens_of(system)} tokens, {most} are allowed")
    return [{"role": "system", "content": system}, {"role": "user", "content": filled}]
