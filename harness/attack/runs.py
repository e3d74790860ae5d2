"""Whole runs with hostile agents, through the façade, on a small task and a model that is made in seconds."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from harness.assets.base_models import find_base_model
from harness.attack.task import TASK_ID, TASKS
from harness.sandbox.registry import get_backend
from harness.service import Dojo
from harness.spec.errors import DojoError, GraderFailure, MissingError
from harness.spec.event import Event, EventKind
from harness.spec.result import RunResult
from harness.store.kept import KeptFiles
from harness.store.run_dir import RunDir

AGENTS = Path(__file__).parent / "agents"
SURVIVOR_WALL_S = 12
# argv: the real model's folder, the target
_MAKE_SMALL = """
import sys, torch
from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM
torch.manual_seed(0)
tokenizer = AutoTokenizer.from_pretrained(sys.argv[1])
config = LlamaConfig(vocab_size=len(tokenizer), hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=2,
                     num_key_value_heads=1, max_position_embeddings=512, tie_word_embeddings=True,
                     initializer_range=0.18,  # as large as trained ones of this width: a fine-tune moves them little
                     bos_token_id=1, eos_token_id=2, pad_token_id=0)
LlamaForCausalLM(config).save_pretrained(sys.argv[2])
tokenizer.save_pretrained(sys.argv[2])
"""


@dataclass(frozen=True)
class Story:
    """A run that has ended, with everything it left."""

    result: RunResult
    run: RunDir
    events: tuple[Event, ...]

    @cached_property
    def kept(self) -> dict[str, str]:
        """What the agent left in its workspace: name → text."""
        return {name: data.decode(errors="replace") for name, data in KeptFiles(self.run.kept).read_all().items()}

    def written(self, name: str) -> Any:
        """Return a JSON file that the agent left in its workspace.

        Raises:
            GraderFailure: it left none, so nothing is known of what it tried.
        """
        if name not in self.kept:
            stderr = self.run.path / "agent.stderr"
            said = stderr.read_text(errors="replace")[-800:] if stderr.exists() else "nothing"
            raise GraderFailure(f"the hostile agent left no {name}; {self.result.outcome.message}; it said: {said}")
        return json.loads(self.kept[name])

    def of_kind(self, kind: EventKind) -> list[dict[str, Any]]:
        """Return the data of the events of one kind."""
        return [event.data.model_dump(mode="json") for event in self.events if event.kind is kind]


class WholeRuns:
    """Plays each hostile agent once, when its story is first asked for."""

    def __init__(self, sandbox: str, folder: Path, cache: Path) -> None:
        self.sandbox, self._folder, self._models = sandbox, folder, cache
        self._stories: dict[str, Story] = {}
        self.dojo = Dojo(home=folder / "home", cache=folder / "cache", tasks=[TASKS], agents=[AGENTS], sandbox=sandbox)

    @property
    def home(self) -> Path:
        """The results directory of these runs."""
        return self.dojo.home

    def require(self) -> None:
        """Look whether everything is here.

        Raises:
            MissingError: the base model, or something of the backend, is not.
        """
        bad = next((check for check in get_backend(self.sandbox).check() if not check.ok), None)
        if bad is not None:
            raise MissingError(f"whole runs: sandbox {self.sandbox}: {bad.name}: {bad.detail}", hint=bad.hint)
        try:
            find_base_model("smol", self._models)
        except MissingError as exc:
            raise MissingError(f"whole runs: {exc.message}", hint=f"{exc.hint}; or leave them out with --quick") from exc

    def survivor(self) -> Story:
        """Return the run that tried to outlive itself."""
        return self._story("survivor", f"wall={SURVIVOR_WALL_S}s", {})

    def thief(self) -> Story:
        """Return the run that looked for everything; it knows the survivor's token and the host's paths."""
        other = (self.survivor().run.private / "token").read_text()
        places = [self._data("hidden.jsonl").parent, self.home, self.survivor().run.path, self.dojo.cache]
        return self._story("thief", None, {"other_token": other, "places": ":".join(map(str, places))})

    def forger(self) -> Story:
        """Return the run that handed in what must be refused."""
        return self._story("forger", None, {})

    def items(self, split: str) -> list[dict[str, Any]]:
        """Return the items of ``dev`` or ``hidden`` as the grader sees them."""
        return [json.loads(line) for line in self._data(f"{split}.jsonl").read_text().splitlines()]

    def close(self) -> None:
        """Remove what the runs may have left on the host."""
        backend = get_backend(self.sandbox)
        ids = [story.result.spec.id for story in self._stories.values()]
        ids += [path.name for path in self.home.glob("batches/*/runs/*")]
        with contextlib.suppress(DojoError):
            for left in backend.list():
                if any(left.startswith(f"{id}-") for id in ids):
                    backend.destroy(left)

    def _data(self, name: str) -> Path:
        """Return a file of the task's data on the host; a run that was planned has made it."""
        return next(self.dojo.cache.glob(f"data/{TASK_ID}/mini/*/{name}"))

    def _story(self, agent: str, budget: str | None, params: dict[str, str]) -> Story:
        if agent not in self._stories:
            plan = self.dojo.plan(
                [agent], [TASK_ID], profile="mini", budget=budget, base_model=str(self._small_model()), agent_params=params
            )
            self.dojo.submit(plan)
            spec = plan.runs[0]
            run = self.dojo.store.run_dir(spec.batch, spec.id)
            self._stories[agent] = Story(self.dojo.show(spec.id), run, tuple(run.events()))
        return self._stories[agent]

    def _small_model(self) -> Path:
        target = self._folder / "small-model"
        return target if target.exists() else make_random_model(self._models, target)


def make_random_model(cache: Path, target: Path) -> Path:
    """Make a random two-layer model with the real tokenizer of ``smol``: it loads in no time and answers nonsense.

    Raises:
        MissingError: ``smol`` is not in ``cache``, or a package is missing.
    """
    real = find_base_model("smol", cache).path
    done = subprocess.run([sys.executable, "-c", _MAKE_SMALL, str(real), str(target)], capture_output=True, check=False)
    if done.returncode != 0:
        raise MissingError(
            f"the small model could not be made: {done.stderr.decode(errors='replace')[-500:]}",
            hint="`dojo doctor` checks the packages; or leave whole runs out with --quick",
        )
    for path in target.rglob("*"):
        path.chmod(0o644)
    return target
