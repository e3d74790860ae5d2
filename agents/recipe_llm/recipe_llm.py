"""The scripted expert on cleaned data: as `recipe`, but a language model mends the rows before the one training."""

from __future__ import annotations

import json
import os
import time
from dataclasses import asdict

from cleaning import Cleaner
from reading.backbone import Backbone
from reading.dataset import agreed, read_material
from reading.run import Run

# The share of the slack in wall time that cleaning may take where CPU-seconds are what ends the run: waiting costs none of those.
SLACK_SHARE = 0.25


def main() -> None:
    """Do the run: base model first, then cleaning, then the recipe."""
    run = Run("recipe_llm")
    backbone = Backbone.from_environment(os.environ)
    if backbone is None:
        raise SystemExit("recipe_llm: LLM_BASE_URL is not set; submit with --backbone")
    material = read_material(run.task)
    plain = material.drawn(run.seed)
    run.say(f"{material.read} rows read, {len(material.rows)} kept; answers are {material.form}")
    seconds = float(run.params["clean_share"]) * run.usable() + SLACK_SHARE * run.clock.slack()
    cleaner = Cleaner(backbone, run.task, material, deadline=time.monotonic() + seconds)
    most = int(run.params["rows"]) or len(plain)
    made = cleaner.clean(plain[:most], rows_a_call=int(run.params["rows_a_call"]), calls_at_once=int(run.params["calls_at_once"]))
    rows = agreed([*made.rows, *plain[most:]])
    counts = {**asdict(made.counts), "rows to train on": len(rows), "never shown to the backbone": len(plain[most:])}
    run.say(f"cleaned {json.dumps(counts)}" + (f"; stopped early: {made.stopped}" if made.stopped else ""))
    run.api.note(f"recipe_llm: {json.dumps(counts)}", data={"stopped": made.stopped})
    run.train_one(material.pairs(rows), note="one LoRA recipe on rows cleaned by the backbone")


if __name__ == "__main__":
    main()
