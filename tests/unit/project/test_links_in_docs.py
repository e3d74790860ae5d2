"""Every relative link in a Markdown file leads to a file, and every #anchor to a heading of it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

REPO = Path(__file__).resolve().parents[3]
LEFT_OUT = {".venv", ".git", "node_modules", "results", "build", ".local"}

_FENCE = re.compile(r"^(```|~~~).*?^\1", re.MULTILINE | re.DOTALL)
_CODE = re.compile(r"`[^`\n]*`")
_LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)(?:\s+\"[^\"]*\")?\)")


def pages() -> list[Path]:
    found = [p for p in REPO.rglob("*.md") if not LEFT_OUT & set(p.relative_to(REPO).parts[:-1])]
    return sorted([*found, REPO / "results" / "README.md"])


def anchor(heading: str) -> str:
    """Turn a heading into its anchor, as code forges do."""
    plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).replace("`", "")
    return re.sub(r"[^\w\- ]", "", plain.strip().lower()).replace(" ", "-")


def anchors(page: Path) -> set[str]:
    text = _FENCE.sub("", page.read_text(encoding="utf-8"))
    return {anchor(line.lstrip("#")) for line in text.splitlines() if re.match(r"#{1,6} ", line)}


def broken_links(page: Path) -> list[str]:
    text = _CODE.sub("", _FENCE.sub("", page.read_text(encoding="utf-8")))
    broken = []
    for target in _LINK.findall(text):
        if re.match(r"[a-z]+:", target):
            continue
        name, _, part = target.partition("#")
        place = (page.parent / name) if name else page
        if not place.exists() or (part and place.suffix == ".md" and part not in anchors(place)):
            broken.append(target)
    return broken


@pytest.mark.parametrize("page", pages(), ids=lambda page: str(page.relative_to(REPO)))
def test_no_link_of_a_page_is_broken(page: Path) -> None:
    assert broken_links(page) == []


def test_a_missing_file_and_a_missing_heading_are_found(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "# One `two`\n[a](page.md#one-two) [b](gone.md) [c](#three) [d](https://a.example) `[e](no.md)`\n", encoding="utf-8"
    )
    assert broken_links(page) == ["gone.md", "#three"]
