"""What makers that ask a backbone share: how they ask, how rows are shown, and how much is asked for at once."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from reading.rows import Row

from ft_agent.rowchecks import shown

# call, facts → the checked answer, or None where there is none (`ft_agent.llm.thinker.Thinker.asking`)
Ask = Callable[[str, Mapping[str, str]], Any]
# Calls in a row without an answer after which nothing more is asked.
MOST_SILENT = 2
# Characters of one text that are shown: enough for a question or a solution, and no row fills a prompt.
LONGEST_TEXT = 1200


def lines(rows: Iterable[Row], *fields: str) -> str:
    """Return rows as JSON lines with these fields (of `rowchecks.shown`), long texts cut; empty ones are left out."""
    return "\n".join(
        json.dumps({f: v[:LONGEST_TEXT] for f, v in shown(row).items() if f in fields and v}, ensure_ascii=False) for row in rows
    )
