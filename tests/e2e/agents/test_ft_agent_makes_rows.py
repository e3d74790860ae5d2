"""FT-Agent with rows that no source holds, a whole run: asked for, checked, counted, trained on."""

import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import ft_agent_talk as talk
import pytest
from one_run import submit, swept

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

# the words its prompt begins with, and no other
MAKE = "Make up"


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    with swept(tmp_path):
        yield tmp_path / "home"


def put(operation: str, **args: Any) -> dict[str, Any]:
    return {"data": [{"do": "put", "operation": operation, "args": args}]}


def a_model_that_makes_rows() -> list[dict[str, Any]]:
    """Proposes new rows and the model's own answers; half of the rows it makes up are wrong."""
    rng = random.Random(0)
    sums = [(rng.randint(100, 899), rng.randint(10, 99)) for _ in range(16)]
    rows = [
        {"prompt": f"What is {a} + {b}?", "answer": str(a + b + (7 if n % 2 else 0)), "rationale": "", "slice": ""}
        for n, (a, b) in enumerate(sums)
    ]
    ideas = [
        talk.idea(
            "new sums", put("synthesise", rows=12, like="Sums of a three-digit and a two-digit number."), expected_gain=0.06
        ),
        talk.idea("own mistakes", {**put("self_generate", rows=12, samples=2), "method": "dpo"}, expected_gain=0.05),
    ]
    return [
        talk.said(talk.PROPOSE, {"ideas": ideas}),
        talk.said(MAKE, {"rows": rows}),
        *(r for r in talk.good() if r["when"] != talk.PROPOSE),
    ]


def test_rows_are_made_checked_counted_and_trained_on(home: Path, tmp_path: Path) -> None:
    script = talk.write(tmp_path / "talk.jsonl", a_model_that_makes_rows())
    folder = submit(
        home, "ft_agent", "math/aime25", "--backbone", f"scripted:{script}", "--budget", "wall=15m,cpu=260,evaluations=3"
    )
    workspace = folder / "workspace"
    journal = [json.loads(line) for line in (workspace / "journal.jsonl").read_text().splitlines()]
    told = (folder / "agent.stdout").read_text()
    done = {r["iteration"]["plan"]["knob"]: r["iteration"] for r in journal if r["kind"] == "iteration"}
    assert json.loads((folder / "result.json").read_text())["grade"]["scores"]["items"] == 8
    made = done["new sums"]
    assert made["status"] == "trained", told
    line = next(step for step in made["data_log"] if step["operation"] == "synthesise")
    assert 4 <= line["made"]["synthesise"] <= 8, "the wrong half is left out"
    assert line["rows_out"] - line["rows_in"] == line["made"]["synthesise"]
    assert [t["outcome"] for t in journal if t["kind"] == "thought" and t["call"] == "synthesise"].count("good") >= 1
    own = done["own mistakes"]
    assert own["status"] == "trained", told
    assert own["plan"]["method"] == "dpo"
    assert len(list((workspace / "made").glob("self_generate-*.jsonl"))) >= 1
    assert not list((workspace / "made").glob("*.part"))
