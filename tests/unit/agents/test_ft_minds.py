"""What makes rows in a run, wired to a real training process."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from fake_api import make_task
from ft_agent.data import Context, build
from ft_agent.history import Chronicle
from ft_agent.journal import Journal
from ft_agent.material import read_material
from ft_agent.minds import minds
from ft_agent.plan import Operation
from ft_agent.switches import Switches
from ft_agent.timebook import TimeBook
from ft_agent.train import Trainer
from ft_cases import an_iteration
from sources import boxed_sources
from tiny_model import make_tiny_model

pytestmark = pytest.mark.slow
BUDGET = {"wall": {"limit": 600.0, "used": 0.0, "left": 600.0}}


def setting(folder: Path, trainer: Any, **switches: Any) -> Any:
    task = make_task(boxed_sources(folder / "data"), str(folder / "nowhere"))
    return SimpleNamespace(
        task=task,
        folder=folder,
        seed=0,
        material=read_material(task, 0, 300.0, lambda text: None),
        trainer=trainer,
        chronicle=Chronicle(Journal(folder / "journal.jsonl")),
        counter=SimpleNamespace(timebook=TimeBook(BUDGET), budget=BUDGET),
        switches=Switches(planner="offline", **switches),
        say=lambda text: None,
    )


def test_without_a_backbone_there_are_programs_and_the_models_own_answers(tmp_path: Path) -> None:
    _, makers = minds(setting(tmp_path, None))
    assert set(makers) == {"program", "self_generate"}


def test_without_synthesis_there_are_programs_only(tmp_path: Path) -> None:
    _, makers = minds(setting(tmp_path, None, synthesis=False))
    assert set(makers) == {"program"}


def test_the_champion_of_the_moment_answers(tmp_path: Path) -> None:
    recipe = [Operation(n) for n in ("clean", "repair", "kind", "dedupe", "drop_leaks")]
    recipe.append(Operation("self_generate", {"rows": 8, "samples": 2}))
    with Trainer(str(make_tiny_model(tmp_path / "tiny")), tmp_path / "scratch") as trainer:
        run = setting(tmp_path, trainer)
        _, makers = minds(run)
        base = build(run.material.rows, recipe, with_makers(run, makers))
        folder = tmp_path / "iterations/001/adapter"
        lora = {"r": 4, "lora_alpha": 64, "target_modules": "all-linear"}
        trainer.train(base.examples, {"learning_rate": 3e-2}, lora, seconds=60.0, max_steps=12, out=folder)
        champion = an_iteration(1).to_json()
        run.chronicle.append("iteration", iteration=champion, champion=1, costs={}, at=10.0)
        trained = build(run.material.rows, recipe, with_makers(run, makers))
    wrong = [{e.id: e.rejected for e in made.examples if e.rejected} for made in (base, trained)]
    assert len(wrong[0]) == 8, "a random model is always wrong"
    assert wrong[0] != wrong[1]
    assert len(list((tmp_path / "made").glob("self_generate-*.jsonl"))) == 2


def with_makers(run: Any, makers: Any) -> Context:
    return replace(run.material.context, makers=makers)
