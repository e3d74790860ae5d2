"""`dojo doctor task T` of a profile with GPUs: told on paper, by a speed that is said or that was measured here."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.service.speeds import measured_speed
from harness.spec.engine import EngineRecord
from harness.store.database import SqlStore
from tests.unit.cli.conftest import Answer

Cli = Callable[..., Answer]


@pytest.fixture(autouse=True)
def no_hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("DOJO_HUB_MIRROR", str(tmp_path))


def checks(answer: Answer) -> dict[str, str]:
    return {check["name"]: check["detail"] for check in answer.json["data"]["checks"]}


def test_memory_and_time_are_told_though_neither_data_nor_model_is_here(dojo_cli: Cli) -> None:
    words = ("doctor", "task", "math/aime25", "--profile", "full", "--json")
    found = dojo_cli(*words, "--tokens-per-second", "4096")
    assert found.code == 3 and "mirror has no" in found.json["error"]["hint"] + checks(found)["data"]
    assert "15.2 GB of weights" in checks(found)["grading memory"]
    assert checks(found)["grading time"].startswith("at most 30s: 15 items")
    other = checks(dojo_cli(*words, "--base-model", "qwen2.5-32b"))
    assert "65.5 GB of weights" in other["grading memory"] and "on paper qwen2.5-7b" in other
    unknown = dojo_cli(*words, "--base-model", "qwen2.5-33b")
    assert (unknown.code, unknown.json["error"]["code"]) == (2, "not_found")


def test_the_speed_is_that_of_the_newest_grade_on_a_gpu(dojo_cli: Cli, home: list[str], tmp_path: Path) -> None:
    store = SqlStore(tmp_path / "results")
    assert measured_speed(store, "smol") is None  # all were computed on a CPU
    for run, tokens in ((home[1], 300), (home[2], 500)):
        folder = store.files(run)
        result = folder.result()
        assert result is not None and result.grade is not None
        engine = EngineRecord(name="vllm", device="cuda", dtype="bfloat16")
        grade = result.grade.model_copy(update={"engine": engine, "seconds": 2.0})
        folder.write_result(result.model_copy(update={"grade": grade}))
        folder.private.mkdir(exist_ok=True)
        (folder.private / "verdict-1.json").write_text(json.dumps({"items": [{"response_tokens": tokens}] * 2}))
    found = measured_speed(store, "smol")
    assert found is not None and (found.tokens_per_s, found.whence) == (500.0, f"measured in {home[2]}, vllm")
    assert measured_speed(store, "qwen2.5-7b") is None
    (store.files(home[2]).private / "verdict-1.json").write_text("{")
    damaged = measured_speed(store, "smol")
    assert damaged is not None and damaged.whence.startswith(f"measured in {home[1]}")
    store.close()
