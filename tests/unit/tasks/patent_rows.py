"""Small rows in PANORAMA's layout for the tests of the patent tasks."""

from __future__ import annotations

from pathlib import Path
from typing import Any


def application(number: int, words: str) -> dict[str, Any]:
    """The head of a row: two claims, the second is asked about."""
    claims = [f"1. A device {number}.", f"2. The device of claim 1, {words}, number {number}, in which nothing moves."]
    context = {"title": f"Device {number}", "abstract": f"About device {number}.", "claims": claims}
    return {"application_number": 15_000_000 + number, "claim_number": 2, "context": context}


def write_panorama(mirror: Path, folder: str, tests: list[dict[str, Any]], training: list[dict[str, Any]]) -> None:
    """Write both files as parquet, as the hub has them."""
    import pandas

    target = mirror / "datasets" / "LG-AI-Research" / "PANORAMA" / folder
    target.mkdir(parents=True)
    for name, rows in (("test", tests), ("train", training)):
        pandas.DataFrame(rows).to_parquet(target / f"{name}.parquet")
