"""The scripted expert: clean the sources, train one LoRA adapter for a fixed share of the time, hand it in."""

from __future__ import annotations

from reading.dataset import read_material
from reading.run import Run


def main() -> None:
    """Do the run: base model first, then the recipe."""
    run = Run("recipe")
    material = read_material(run.task)
    run.say(f"{material.read} rows read, {len(material.rows)} kept; answers are {material.form}")
    run.train_one(material.pairs(material.drawn(run.seed)), note="one LoRA recipe on cleaned sources")


if __name__ == "__main__":
    main()
