"""The table in ``docs/security.md`` from the code: ``python -m harness.attack.page`` writes it, ``--check`` compares it."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from harness.attack.base import Where
from harness.attack.suite import ATTACKS
from harness.attack.threats import THREATS
from harness.project import bundled

PAGE = bundled("docs") / "security.md"
_BEGIN = "<!-- the table below is written by `python -m harness.attack.page` -->\n"
_END = "<!-- end of the table -->\n"


def table() -> str:
    """Return the table: one row a threat, with its attacks by where they are played."""
    lines = ["| # | threat | what stops it | what does not, or is left | attacks |", "|---|---|---|---|---|"]
    for row, threat in THREATS.items():
        attacks = [attack for attack in ATTACKS if attack.row == row]
        played = [f"{n} {where}" for where in Where if (n := sum(a.where is where and not a.waits_for for a in attacks))]
        waiting = [f"waits for {attack.waits_for}" for attack in attacks if attack.waits_for]
        lines.append(f"| {row} | {threat.title} | {threat.defence} | {threat.rest or '–'} | {'; '.join([*played, *waiting])} |")
    return "\n".join(lines) + "\n"


def page(text: str) -> str:
    """Return a page's text with the table of today between its marks.

    Raises:
        ValueError: a mark is missing.
    """
    head, begin, rest = text.partition(_BEGIN)
    _, end, tail = rest.partition(_END)
    if not begin or not end:
        raise ValueError(f"{PAGE.name} has no marks for the table")
    return head + begin + "\n" + table() + "\n" + end + tail


def main(argv: Sequence[str] | None = None) -> int:
    """Write the table, or with ``--check`` return 1 where it is not up to date."""
    check = "--check" in (sys.argv[1:] if argv is None else argv)
    text = PAGE.read_text(encoding="utf-8")
    if check:
        fine = page(text) == text
        print(f"{PAGE.name} is {'up to date' if fine else 'out of date; run python -m harness.attack.page'}")
        return 0 if fine else 1
    PAGE.write_text(page(text), encoding="utf-8")
    print(f"wrote the table of {PAGE.name}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
