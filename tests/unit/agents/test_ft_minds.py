"""What makes rows in a run, wired to a real training process."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from ft_agent.bench import Bench
from ft_agent.data import Context, build
from ft_agent.minds import minds
from ft_agent.plan import Operation
from ft_agent.train import Trainer
from ft_cases import an_iteration
from run_setting import a_setting
from tiny_model import make_tiny_model

pytestmark = pytest.mark.slow


def test_without_a_backbone_there_are_programs_and_the_models_own_answers(tmp_path: Path) -> None:
    _, makers = minds(a_setting(tmp_path, None))
    assert set(makers) == {"program", "self_generate"}


def test_without_synthesis_there_are_programs_only(tmp_path: Path) -> None:
    _, makers = minds(a_setting(tmp_path, None, synthesis=False))
    assert set(makers) == {"program"}


def test_the_champion_of_the_moment_answers(tmp_path: Path) -> None:
    recipe = [Operation(n) for n in ("clean", "repair", "kind", "dedupe", "drop_leaks")]
    recipe.append(Operation("self_generate", {"rows": 8, "samples": 2}))
    with Trainer(str(make_tiny_model(tmp_path / "tiny")), tmp_path / "scratch") as trainer:
        run = a_setting(tmp_path, trainer)
        _, makers = minds(run)
        base = build(run.material.rows, recipe, with_makers(run, makers))
        folder = tmp_path / "iterations/001/adapter"
        lora = {"r": 4, "lora_alpha": 64, "target_modules": "all-linear"}
        trainer.train(base.examples, {"learning_rate": 3e-2}, lora, seconds=60.0, max_steps=12, out=folder)
        champion = an_iteration(1).to_json()
        run.chronicle.append("iteration", iteration=champion, champion=1, costs={}, at=10.0)
        trained = build(run.material.rows, recipe, with_makers(run, makers))
        done = trainer.train(trained.examples, {"max_length": 256}, lora, seconds=60.0, max_steps=2, method="dpo")
    assert done["steps"] == 2, "wrong answers of its own are what dpo learns from"
    wrong = [{e.id: e.rejected for e in made.examples if e.rejected} for made in (base, trained)]
    assert len(wrong[0]) == 8, "a random model is always wrong"
    assert wrong[0] != wrong[1]
    assert len(list((tmp_path / "made").glob("self_generate-*.jsonl"))) == 2


def with_makers(run: Any, makers: Any) -> Context:
    return replace(run.material.context, makers=makers)


def test_what_dev_feedback_has_shown_is_never_trained_on(tmp_path: Path) -> None:
    run = a_setting(tmp_path, None)
    shared = {
        k: getattr(run, k) for k in ("task", "folder", "seed", "counter", "trainer", "material", "machine", "switches", "say")
    }
    bench = Bench(facts={}, arguments="", makers={}, **shared)
    recipe = [Operation(n) for n in ("clean", "repair", "kind", "dedupe", "drop_leaks")]
    before = build(run.material.rows, recipe, bench.context(run.chronicle.history)).examples
    errors = [{"prompt": before[0].prompt}, {"prompt": before[5].prompt}]
    run.chronicle.append("feedback", number=1, feedback={"errors": errors})
    after = build(run.material.rows, recipe, bench.context(run.chronicle.history)).examples
    assert {e.prompt for e in before} - {e.prompt for e in after} == {e["prompt"] for e in errors}
