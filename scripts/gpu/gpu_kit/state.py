"""What the kit has done so far: a JSON file for each step in a folder that outlives the command, and all of them as one."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

ROOT = Path(__file__).resolve().parents[3]
Outcome = Literal["done", "skipped", "failed", "timeout"]
FINAL = ("done", "skipped")


class Skipped(Exception):
    """A step that has nothing to do, or not here; says why."""


@dataclass(frozen=True)
class Options:
    """What all steps are told.

    Attributes:
        kit: where the packed pieces are.
        folder: the state's.
        device: cuda or cpu.
        dry_run: whether tiny shapes stand for the real ones.
        agent: of the whole run.
        base_model: of the whole run; "": the small model.
    """

    kit: Path
    folder: Path
    device: str = "cuda"
    dry_run: bool = False
    agent: str = "recipe"
    base_model: str = ""

    @property
    def store(self) -> Path:
        """Where pieces are kept."""
        return self.folder / "pieces"

    @property
    def content(self) -> Path:
        """What the pieces make."""
        return self.folder / "content"

    @property
    def environment(self) -> dict[str, str]:
        """Variables of everything that is run: dojo keeps all of it below the state's folder."""
        own = {"DOJO_HOME": str(self.folder / "results"), "DOJO_CACHE": str(self.folder / "cache"), "HF_HUB_OFFLINE": "1"}
        return {**os.environ, **own, "TOKENIZERS_PARALLELISM": "false", "PYTHONPATH": str(ROOT)}


class State:
    """The steps' records."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "steps"
        self.folder.mkdir(parents=True, exist_ok=True)

    def record(self, name: str, outcome: Outcome, seconds: float, **more: Any) -> None:
        """Write down how a step ended; whole or not at all."""
        part = self.folder / f".{name}.part"
        part.write_text(json.dumps({"outcome": outcome, "seconds": round(seconds, 2), **more}, indent=1), encoding="utf-8")
        os.replace(part, self.folder / f"{name}.json")

    def of(self, name: str) -> dict[str, Any]:
        """Return a step's record, empty where it has none."""
        try:
            found: dict[str, Any] = json.loads((self.folder / f"{name}.json").read_text(encoding="utf-8"))
        except FileNotFoundError:
            return {}
        return found

    def forget(self, name: str) -> None:
        """Let a step be done once more."""
        (self.folder / f"{name}.json").unlink(missing_ok=True)

    def order(self, names: list[str]) -> list[str]:
        """Return what is left to do: what was never tried before what has failed."""
        outcomes = {name: self.of(name).get("outcome") for name in names}
        return [n for n in names if outcomes[n] is None] + [n for n in names if outcomes[n] in ("failed", "timeout")]


def shares(steps: Mapping[str, dict[str, Any]], table: float | None) -> None:
    """Add to every training what share of the card's peak it reaches: of the data sheet's, and of what a product reached here."""
    measured = steps.get("peak", {}).get("figures", {}).get("matmul_tflops")
    for step in steps.values():
        figures = step.get("figures", {})
        if "tflops" in figures:
            figures["share_of_peak"] = figures["tflops"] / table if table else None
            figures["share_of_matmul"] = figures["tflops"] / measured if measured else None
