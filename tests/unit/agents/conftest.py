"""Makes the agents' own packages importable: inside a sandbox they lie at /agent, here under agents/."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from harness.session import dojo_tool

HERE = Path(__file__).resolve().parent
AGENTS = HERE.parents[2] / "agents"
for path in (HERE, AGENTS / "ft_agent"):
    if str(path) not in sys.path:
        sys.path.insert(0, str(path))
# last, because every agent's folder is a name there
if str(AGENTS) not in sys.path:
    sys.path.append(str(AGENTS))
# the client's name inside a sandbox; one module, so that its error is one class for all tests
sys.modules["dojo_tool"] = dojo_tool


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of a few thousand parameters, with a tokenizer of its own."""
    from tiny_model import make_tiny_model

    return make_tiny_model(tmp_path_factory.mktemp("model") / "tiny")


@pytest.fixture(scope="module")
def trainer(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A training process that has loaded the tiny model."""
    from ft_agent.train import Trainer

    with Trainer(str(tiny), tmp_path_factory.mktemp("scratch")) as worker:
        worker.ready()
        yield worker
