"""Black-box search: short trials find data mix and hyper-parameters, one long training uses the best of them."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import dojo_tool
from evaluations import Evaluations
from reading.dataset import Material, read_material
from reading.run import WORTH_S, Run
from reading.training import load_model, train_adapter

# The first trial is the recipe's own settings on all data: what a search must beat before it may claim anything.
FIRST = {"learning_rate": 1e-3, "rank": 16, "batch_size": 8}
# Fewer rows than this teach a trial nothing.
LEAST_ROWS = 8
# The share of the slack in wall time that waiting for one score may take; the last has nothing after it.
PATIENCE_SHARE, LAST_PATIENCE_SHARE = 0.25, 0.5
# So many trials that break in a row say that no other will do better.
MOST_BROKEN = 3


@dataclass(frozen=True)
class Trial:
    """What one trial came to; ``value`` is None where it has no score."""

    number: int
    settings: Mapping[str, Any]
    value: float | None
    why: str = ""


@dataclass
class Search:
    """Trials while the final training keeps its share of the time, then the final training."""

    run: Run
    material: Material
    evaluations: Evaluations
    trials: list[Trial] = field(default_factory=list)
    best: Trial | None = None  # by its score; it is handed in
    handed_in: Path | None = None  # beside the base model
    trial_s: float = 0.0  # seconds of the clock that a whole trial takes, measured
    model: Any = None
    tokenizer: Any = None

    def search(self) -> None:
        """Try settings, and hand in each that is the best so far; the first at once, before it has a score."""
        import optuna

        optuna.logging.set_verbosity(optuna.logging.WARNING)
        sampler = optuna.samplers.TPESampler(seed=self.run.seed, n_startup_trials=4)
        study = optuna.create_study(direction="maximize", sampler=sampler)
        sources = sorted({row.source for row in self.material.rows})
        study.enqueue_trial({**FIRST, **{f"share_{name}": 1.0 for name in sources}})
        seconds = self.trial_seconds()
        self.load()
        self.trial_s = seconds + self.evaluations.seconds
        while self.room() >= self.trial_s and self.evaluations.left() > 0:
            asked = study.ask()
            settings = {
                "shares": {name: asked.suggest_float(f"share_{name}", 0.0, 1.0) for name in sources},
                "learning_rate": asked.suggest_float("learning_rate", 2e-4, 4e-3, log=True),
                "rank": asked.suggest_categorical("rank", [8, 16, 32]),
                "batch_size": asked.suggest_categorical("batch_size", [4, 8, 16]),
            }
            if len(self.material.drawn(self.run.seed, settings["shares"])) < LEAST_ROWS:
                study.tell(asked, state=optuna.trial.TrialState.PRUNED)
                continue
            begun = self.run.clock.used()
            trial = self.tried(asked.number, settings, seconds)
            self.trial_s = max(seconds, self.run.clock.used() - begun)
            if trial.value is None:
                study.tell(asked, state=optuna.trial.TrialState.FAIL)
            else:
                study.tell(asked, trial.value)
            self.keep(trial)
            if all(t.value is None for t in self.trials[-MOST_BROKEN:]) and len(self.trials) >= MOST_BROKEN:
                self.run.say(f"the last {MOST_BROKEN} trials have no score; no more are made")
                break
            if self.evaluations.late():
                self.run.say("an evaluation takes longer than the search may; no more trials are made")
                break

    def trial_seconds(self) -> float:
        """Training seconds of a trial: a share of the run, so that trials compare, within what tells settings apart."""
        params = self.run.params
        share = float(params["trial_share"]) * self.run.clock.limit
        return min(float(params["max_trial_s"]), max(float(params["min_trial_s"]), share))

    def room(self) -> float:
        """Seconds that may still go into trials: the final training keeps its share, and the time to score it."""
        final = float(self.run.params["final_share"]) * self.run.clock.limit
        return self.run.usable() - final - self.evaluations.seconds

    def tried(self, number: int, settings: Mapping[str, Any], seconds: float) -> Trial:
        """Train and score one trial. One that breaks is told from one that scores nothing."""
        folder = self.folder(number)
        try:
            self.train(settings, seconds, folder)
        except Exception as exc:  # a setting that does not fit the memory or the data costs its trial and nothing else
            self.model = None
            return Trial(number, settings, None, f"{type(exc).__name__}: {exc}")
        if number == 0:
            self.submit(folder, "trial 0, the recipe's settings, not scored yet")
        at_most = max(0.0, self.room() + self.evaluations.seconds) + PATIENCE_SHARE * self.run.clock.slack()
        value = self.evaluations.score(folder, f"trial {number}: {json.dumps(settings)}", at_most)
        return Trial(number, settings, value, "" if value is not None else self.evaluations.trouble)

    def keep(self, trial: Trial) -> None:
        """Write a trial down; hand it in where it is the best so far."""
        self.trials.append(trial)
        lines = [vars(t) for t in self.trials]
        (self.run.work / "trials.json").write_text(json.dumps(lines, indent=1), encoding="utf-8")
        said = "no score" if trial.value is None else f"{trial.value:.3f}"
        self.run.say(f"trial {trial.number} {said} {json.dumps(trial.settings)} {trial.why}".rstrip())
        folder = self.folder(trial.number)
        better = trial.value is not None and (self.best is None or trial.value > (self.best.value or 0.0))
        if better and (self.handed_in == folder or self.submit(folder, f"trial {trial.number}, dev {said}")):
            self.best = trial
        elif folder.exists() and self.handed_in != folder:
            shutil.rmtree(folder)

    def finish(self) -> None:
        """Give the best settings all the time that is left; what it makes counts unless dev says that a trial was better."""
        settings: Mapping[str, Any] = self.best.settings if self.best else FIRST
        scored = self.evaluations.left() > 0 and not self.evaluations.late()
        usable = self.run.usable()
        # a score is not worth more than a quarter of what is left to train in
        scored = scored and self.evaluations.seconds <= 0.25 * usable
        seconds = usable - (self.evaluations.seconds if scored else 0.0)
        if seconds < max(WORTH_S, self.trial_seconds() if self.best else 0.0):
            self.run.say(f"{seconds:.0f} s are not enough for a final training; what is handed in stays")
            return
        folder = self.run.work / "final"
        self.run.api.note(f"search: final training for {seconds:.0f} s with {json.dumps(settings)}")
        self.train(settings, seconds, folder)
        if not self.submit(folder, f"the final training with the settings of trial {self.best.number if self.best else 0}"):
            return
        at_most = self.run.usable() + LAST_PATIENCE_SHARE * self.run.clock.slack()
        value = self.evaluations.score(folder, "the final training", at_most) if scored else None
        self.run.say("final: no score" if value is None else f"final: {value:.3f}")
        if self.best and self.best.value is not None and value is not None and value < self.best.value:
            self.submit(
                self.folder(self.best.number), f"trial {self.best.number} again: dev {self.best.value:.3f} beats {value:.3f}"
            )

    def train(self, settings: Mapping[str, Any], seconds: float, folder: Path) -> None:
        """Train an adapter for ``seconds`` of the clock, or for what is left where that is less."""
        if self.model is None:
            self.load()
        stint = self.run.clock.stint(min(seconds, self.run.usable()))
        pairs = self.material.pairs(self.material.drawn(self.run.seed, settings.get("shares")))
        arguments = {**settings, "max_length": int(self.run.params["max_length"])}
        self.model = train_adapter(self.model, self.tokenizer, pairs, arguments, stint=stint, seed=self.run.seed, out=folder)

    def load(self) -> None:
        """Load the base model; again where a training that broke has left something in it."""
        self.model, self.tokenizer = load_model(self.run.task["base_model"]["path"])

    def submit(self, folder: Path, note: str) -> bool:
        """Hand in an adapter; say whether it was taken. What was handed in before stands where it was not."""
        try:
            self.run.api.submit(str(folder), note=note)
        except dojo_tool.ApiError as exc:
            self.run.say(f"{folder.name} was not taken: {exc}")
            return False
        self.handed_in = folder
        return True

    def folder(self, number: int) -> Path:
        """Where a trial's adapter lies."""
        return self.run.work / "trials" / f"{number:03d}"


def main() -> None:
    """Do the run."""
    run = Run("search")
    material = read_material(run.task)
    run.say(f"{material.read} rows read, {len(material.rows)} kept; answers are {material.form}")
    search = Search(run, material, Evaluations(run))
    if len(material.rows) >= LEAST_ROWS:
        search.search()
        search.finish()
    scores = [t.value for t in search.trials if t.value is not None]
    run.say(f"{len(search.trials)} trials, best {max(scores, default=math.nan):.3f}")


if __name__ == "__main__":
    main()
