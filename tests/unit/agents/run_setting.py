"""What planners and makers are made from, without a harness: real rows, a real journal, a full budget."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

from fake_api import make_task
from ft_agent.history import Chronicle
from ft_agent.journal import Journal
from ft_agent.material import read_material
from ft_agent.switches import Switches
from ft_agent.timebook import TimeBook
from sources import boxed_sources

BUDGET = {"wall": {"limit": 600.0, "used": 0.0, "left": 600.0}}


def a_setting(folder: Path, trainer: Any, **switches: Any) -> Any:
    """The setting of a run in ``folder`` with a real journal; its ``switches`` are those of an offline run unless given."""
    task = make_task(boxed_sources(folder / "data"), str(folder / "nowhere"))
    return SimpleNamespace(
        task=task,
        folder=folder,
        seed=0,
        material=read_material(task, 0, 300.0, lambda text: None),
        trainer=trainer,
        chronicle=Chronicle(Journal(folder / "journal.jsonl")),
        counter=SimpleNamespace(timebook=TimeBook(BUDGET), budget=BUDGET),
        switches=Switches(**{"planner": "offline", **switches}),
        machine=None,
        say=lambda text: None,
    )
