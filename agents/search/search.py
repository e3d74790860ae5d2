"""Black-box search: Optuna proposes data mix and hyper-parameters; the adapter that scores best on dev is handed in."""

from __future__ import annotations

import json
import math
import os
import random
import shutil
import time
from collections import Counter
from pathlib import Path
from typing import Any

import dojo_tool
import optuna
from reading.rows import (
    AnswerForm,
    PromptForm,
    Row,
    is_number,
    layout_of,
    learn_answer_form,
    learn_prompt_form,
    normal,
    parse_source,
    read_jsonl,
)
from reading.training import load_model, train_adapter

WORK = Path.cwd()  # /workspace
# Kept back for checking and handing in the best trial.
RESERVE_SHARE, RESERVE_S = 0.05, 8.0


class Search:
    """One search: sources once, then trials until the time or the evaluations are used up."""

    def __init__(self, api: Any, params: dict[str, Any], seed: int) -> None:
        self.api, self.params, self.seed = api, params, seed
        self.task = api.task()
        few = read_jsonl(Path(self.task["data"]["path"]) / "few_shot.jsonl") or list(self.task["examples"])
        self.form: AnswerForm = learn_answer_form(few, self.task["answer_format"])
        self.prompts: PromptForm = learn_prompt_form(few)
        golds = [str(e["gold"]) for e in few if "gold" in e]
        self.numeric = bool(golds) and all(is_number(g) for g in golds)
        self.leaks = {normal(str(e["prompt"])) for e in few}
        names = [s["name"] for s in self.task["subsets"]]
        paths = [Path(s["path"]) for s in self.task["data"]["sources"]]
        layout = layout_of(few, self.form)
        self.sources = {p.stem: parse_source(p, key=self.form.key, subsets=names, layout=layout) for p in paths}
        self.evaluate_s = 25.0  # until one was measured

    def left(self) -> float:
        """Seconds before the reserve begins."""
        wall = self.api.budget()["wall"]
        limit = float(wall["limit"] or 3600.0)
        return float(wall["left"] or 3600.0) - max(RESERVE_S, RESERVE_SHARE * limit)

    def trial_seconds(self) -> float:
        """Training seconds of a trial: a fixed share of the budget, so that trials compare."""
        limit = float(self.api.budget()["wall"]["limit"] or 3600.0)
        return max(float(self.params["min_trial_s"]), float(self.params["trial_share"]) * limit)

    def examples(self, trial: optuna.Trial) -> list[tuple[str, str]]:
        """Draw a training set: how much of each source, and which kinds of cleaning."""
        weights = {name: trial.suggest_float(f"share_{name}", 0.0, 1.0) for name in sorted(self.sources)}
        majority = trial.suggest_categorical("majority_only", [True, False])
        cap = int(self.task["max_train_samples"])
        rng = random.Random(self.seed + trial.number)
        rows: list[Row] = []
        for name, weight in weights.items():
            good = [r for r in self.sources[name] if self._usable(r)]
            rows += rng.sample(good, round(weight * len(good)))
        votes: dict[str, Counter[str]] = {}
        for r in rows:
            votes.setdefault(normal(r.prompt), Counter())[r.value] += 1
        kept: dict[str, Row] = {}
        for r in rows:
            if not majority or r.value == votes[normal(r.prompt)].most_common(1)[0][0]:
                kept.setdefault(normal(r.prompt), r)
        chosen = list(kept.values())
        rng.shuffle(chosen)
        return [(self.prompts.write(r.prompt), self.form.write(r.value)) for r in chosen[:cap]]

    def _usable(self, r: Row) -> bool:
        return bool(r.prompt and r.value) and normal(r.prompt) not in self.leaks and (not self.numeric or is_number(r.value))

    def run(self) -> None:
        """Hand in the base model, then search and hand in each new best."""
        base = WORK / "base"
        base.mkdir(parents=True, exist_ok=True)
        (base / "dojo.json").write_text(json.dumps({"dojo": "base"}), encoding="utf-8")
        self.api.submit(str(base), note="the base model, so that a valid submission exists")
        model, tokenizer = load_model(self.task["base_model"]["path"])
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        study = optuna.create_study(direction="maximize", sampler=optuna.samplers.TPESampler(seed=self.seed, n_startup_trials=4))
        seconds, best = self.trial_seconds(), -math.inf
        while self.left() > seconds + self.evaluate_s and self.evaluations_left() > 0:
            trial = study.ask()
            data = self.examples(trial)
            settings = {
                "learning_rate": trial.suggest_float("learning_rate", 1e-4, 5e-3, log=True),
                "rank": trial.suggest_categorical("rank", [8, 16, 32]),
                "batch_size": trial.suggest_categorical("batch_size", [4, 8, 16]),
                "max_length": int(self.params["max_length"]),
            }
            out = WORK / "trials" / f"{trial.number:03d}"
            if len(data) < 8:
                study.tell(trial, state=optuna.trial.TrialState.PRUNED)
                continue
            model = train_adapter(model, tokenizer, data, settings, seconds=seconds, seed=self.seed, out=out)
            value = self.measure(out, f"trial {trial.number}: {trial.params}")
            if value is None:
                study.tell(trial, state=optuna.trial.TrialState.FAIL)
                continue
            study.tell(trial, value)
            print(f"search: trial {trial.number} {value:.3f} {trial.params}", flush=True)
            if value > best:
                best = value
                self.api.submit(str(out), note=f"trial {trial.number}, dev {value:.3f}")
            else:
                shutil.rmtree(out)
        lines = [{"number": t.number, "value": t.value, "params": t.params, "state": t.state.name} for t in study.trials]
        (WORK / "trials.json").write_text(json.dumps(lines, indent=1), encoding="utf-8")
        print(f"search: {len(lines)} trials, best {best:.3f}", flush=True)

    def evaluations_left(self) -> float:
        """Metered evaluations left; infinite where they are not limited."""
        left = self.api.budget()["evaluations"]["left"]
        return math.inf if left is None else float(left)

    def measure(self, out: Path, note: str) -> float | None:
        """Return the dev score, or None where the trial cannot be scored."""
        begun = time.monotonic()
        try:
            feedback = self.api.evaluate(str(out), note=note)
        except dojo_tool.ApiError as exc:
            print(f"search: {note} was not scored: {exc}", flush=True)
            return None
        self.evaluate_s = time.monotonic() - begun + 5.0
        return float(feedback["scores"]["primary"]["value"])


def main() -> None:
    """Do the run."""
    params = json.loads(os.environ.get("DOJO_AGENT_PARAMS") or "{}")
    Search(dojo_tool.Client(), params, int(os.environ.get("DOJO_SEED") or 0)).run()


if __name__ == "__main__":
    main()
