"""Small copies of ChemCoTBench and ChemCoTDataset in the upstream layout, as a hub mirror."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any


def write_mirror(
    root: Path, task: str, bench: Mapping[str, Sequence[dict[str, Any]]], cot: Mapping[str, Sequence[dict[str, Any]]]
) -> None:
    """Write rows by sub-set; ``meta`` and ``struct_cot`` come as JSON text and, in every second row, as an object."""
    for repo, folder, subsets in (("ChemCoTBench", task, bench), ("ChemCoTDataset", f"chemcotbench-cot/{task}", cot)):
        for subset, rows in subsets.items():
            path = root / "datasets" / "OpenMol" / repo / folder / f"{subset}.json"
            path.parent.mkdir(parents=True, exist_ok=True)
            written = []
            for number, row in enumerate(rows):
                whole = {"id": f"{subset}-{number}", "task": task, "subtask": subset, "gt": "", "meta": {}} | row
                fields = {k: json.dumps(whole[k]) for k in ("meta", "struct_cot") if k in whole and number % 2 == 0}
                written.append(whole | fields)
            path.write_text(json.dumps(written))


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
