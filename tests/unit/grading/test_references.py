"""References: chosen on dev, scored on hidden, kept under the digests they depend on."""

import os
import shutil
from datetime import UTC, datetime

import pytest

from harness.assets.base_models import BaseModel
from harness.assets.prepare import PreparedTask
from harness.assets.task_dir import load_task
from harness.grading.references import (
    Admission,
    basis_of,
    constant_reference,
    majority_answers,
    measure_references,
    references_for,
    stored_admission,
    write_admission,
)
from harness.sandbox.registry import get_backend
from harness.spec.errors import GraderFailure
from harness.spec.task import Generation, Limits
from harness.taskkit.scoring.contract import load_grader
from tests.unit.grading.tiny import TOY_TASK, toy_items, write_base, write_lines, write_tokenizer

GRADER = load_grader(TOY_TASK)
GENERATION = Generation(max_new_tokens=8, max_context=512, batch_size=4)


def items(golds, subset="word"):
    return [
        {"id": f"{subset}{n}", "subset": subset, "type": subset, "prompt": f"say {g}", "row": {"subset": subset, "gold": g}}
        for n, g in enumerate(golds)
    ]


@pytest.fixture
def prepared(tmp_path):
    task = tmp_path / "tasks" / "toys" / "toy"
    shutil.copytree(TOY_TASK, task)
    data = tmp_path / "data"
    data.mkdir()
    write_lines(data / "dev.jsonl", toy_items(8))
    write_lines(data / "hidden.jsonl", toy_items(6))
    write_lines(data / "few_shot.jsonl", toy_items(4))
    return PreparedTask(task=load_task(task), profile="mini", dir=data, digest="d1", sources=(), manifest={})


def model(path, digest="m1"):
    return BaseModel(name="tiny", path=path, digest=digest, parameters=1)


def admission(prepared, base, generation=GENERATION):
    hidden = toy_items(6)
    reference = constant_reference("majority", lambda item: "apple", hidden, GRADER, "score")
    return Admission(
        task=prepared.task.id,
        profile=prepared.profile,
        basis=basis_of(prepared, base, generation),
        references=(reference,),
        degenerate=(),
        majority_answers={"word": "apple"},
        seconds={},
        measured=datetime(2026, 1, 1, tzinfo=UTC),
        machine="a machine",
        settings={},
    )


def test_the_majority_answer_is_chosen_on_dev_and_scored_on_hidden():
    dev = items(["pear", "pear", "chair"]) + items([7, 7, 8], "sum")
    assert majority_answers(GRADER, dev) == {"word": "pear", "sum": "7"}
    hidden = items(["chair", "chair", "chair", "pear"])
    reference = constant_reference("majority", lambda item: "pear", hidden, GRADER, "score")
    assert reference.scores.primary.value == 0.25
    assert reference.item_scores == {"word0": 0.0, "word1": 0.0, "word2": 0.0, "word3": 1.0}
    assert reference.ci_low < 0.25 < reference.ci_high


def test_what_was_measured_is_found_again_only_on_the_same_basis(prepared, tmp_path):
    base = model(tmp_path)
    assert stored_admission(prepared, base, GENERATION, tmp_path / "cache") is None
    write_admission(prepared.task.path / "admission" / "mini.json", admission(prepared, base))
    assert stored_admission(prepared, base, GENERATION, tmp_path / "cache") == admission(prepared, base)
    others = [
        (prepared, model(tmp_path, "m2"), GENERATION),
        (prepared, base, Generation(max_new_tokens=9, max_context=512, batch_size=4)),
        (PreparedTask(prepared.task, "mini", prepared.dir, "d2", (), {}), base, GENERATION),
    ]
    for other in others:
        assert stored_admission(*other, tmp_path / "cache") is None
    with (prepared.task.path / "tests" / "grader.py").open("a") as stream:
        stream.write("\n# another grader\n")
    assert stored_admission(prepared, base, GENERATION, tmp_path / "cache") is None


def test_a_damaged_record_is_an_error_not_a_missing_one(prepared, tmp_path):
    path = prepared.task.path / "admission" / "mini.json"
    path.parent.mkdir()
    path.write_text('{"task": ')
    with pytest.raises(GraderFailure, match=r"mini\.json"):
        stored_admission(prepared, model(tmp_path), GENERATION, tmp_path / "cache")


@pytest.mark.slow
def test_references_are_measured_in_a_sandbox_once_and_then_kept(prepared, tmp_path):
    backend = get_backend(os.environ.get("DOJO_TEST_SANDBOX", "namespace"))
    if bad := [check for check in backend.check() if not check.ok]:
        pytest.skip(f"this host cannot isolate: {bad[0].detail}")
    write_tokenizer(write_base(tmp_path / "base"))
    told = []
    args = (prepared, model(tmp_path / "base"), GENERATION, Limits(memory_mb=3000), backend, tmp_path / "cache")
    first = references_for(*args, tell=told.append)
    assert [r.name for r in first] == ["base", "few_shot_base", "majority"]
    assert all(r.item_scores.keys() == {f"i{n}" for n in range(6)} for r in first)
    assert len(told) == 2
    assert references_for(*args, tell=told.append) == first
    assert len(told) == 2
    kept = stored_admission(prepared, model(tmp_path / "base"), GENERATION, tmp_path / "cache")
    assert kept is not None
    assert [d.name for d in kept.degenerate] == ["empty", "echo"]
    assert os.uname().nodename not in kept.machine
    again = measure_references(*args[:-1])
    assert [r.scores for r in again.references] == [r.scores for r in first]
