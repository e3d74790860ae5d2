"""The strict profile of a patent task: a larger hidden split, and no application in both."""

from __future__ import annotations

from pathlib import Path

import pytest
from patent_rows import application, write_panorama
from task_cases import lines, task

from harness.assets.prepare import prepare_task

LETTERS = "ABCDEFGH"


def rows(numbers: range, claims: int) -> list[dict[str, object]]:
    """``claims`` claims of each application."""
    document = {"title": "T", "abstract": "A.", "claims": ["1. X."], "patent_id": "US1"}
    options = {letter: document for letter in LETTERS}
    made = []
    for number in numbers:
        for claim in range(claims):
            row = application(number, f"with part {'abcdef'[claim]} of device {number}")
            made.append(
                {**row, "options": options, "gold_answers": [LETTERS[number % 8]], "silver_answers": [], "negative_answers": []}
            )
    return made


def test_strict_hides_all_that_dev_leaves_and_no_application_is_in_both(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_panorama(tmp_path / "mirror", "PAR4PC", rows(range(200), 2), [*rows(range(500, 520), 1), *rows(range(3), 1)])
    monkeypatch.setenv("DOJO_HUB_MIRROR", str(tmp_path / "mirror"))
    full, strict = (prepare_task(task("patent/par4pc"), profile, tmp_path / "cache") for profile in ("full", "strict"))
    assert len(lines(full.hidden_path)) == 100 and full.manifest["shared_by_dev_and_hidden"]
    dev, hidden = ({i["row"]["application_number"] for i in lines(p)} for p in (strict.dev_path, strict.hidden_path))
    assert (len(lines(strict.dev_path)), len(lines(strict.hidden_path))) == (100, 300)
    assert not dev & hidden and strict.manifest["shared_by_dev_and_hidden"] == []
    assert strict.manifest["removed"]["panorama"]["removed"] == 3
