"""The host's side of a grader sandbox, over a real sandbox with a real worker; forged replies over a scripted one."""

import json
import os
import time

import numpy as np
import pytest

from harness.assets.base_models import BaseModel
from harness.grading.evaluator import Evaluator, Exam
from harness.sandbox.base import SandboxSpec
from harness.sandbox.registry import get_backend
from harness.sandbox.scripted import ScriptedSandbox
from harness.spec.errors import GraderFailure, SandboxUnavailable, SubmissionRefused
from harness.spec.task import Generation, Limits
from tests.unit.grading.tiny import (
    TOY_TASK,
    adapter_weights,
    random_weights,
    toy_items,
    write_adapter,
    write_base,
    write_lines,
    write_marker,
    write_model,
    write_tokenizer,
)

ITEMS = toy_items(6)
GENERATION = Generation(max_new_tokens=8, max_context=512, batch_size=4)


@pytest.fixture(scope="module")
def backend():
    found = get_backend(os.environ.get("DOJO_TEST_SANDBOX", "namespace"))
    bad = [check for check in found.check() if not check.ok]
    if bad:
        pytest.skip(f"this host cannot isolate: {bad[0].detail}")
    return found


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("grading")
    write_tokenizer(write_base(path / "base"))
    write_lines(path / "items.jsonl", ITEMS)
    write_lines(path / "few_shot.jsonl", toy_items(4))
    return path


def exam(folder):
    base = BaseModel("toy", folder / "base", "0" * 64, 0)
    return Exam(TOY_TASK, base, folder / "items.jsonl", folder / "few_shot.jsonl", GENERATION, "dev")


def start(backend, folder, name, limits=None, **more):
    return Evaluator.start(backend, name, exam(folder), limits or Limits(memory_mb=3000), **more)


@pytest.fixture(scope="module")
def evaluator(backend, folder):
    with start(backend, folder, f"test-evaluator-{os.getpid()}") as running:
        running.ready(180)
        yield running


@pytest.mark.slow
def test_submissions_are_pushed_checked_and_scored_and_leave_nothing_behind(evaluator, tmp_path):
    phases = []
    adapter = write_adapter(tmp_path / "a", adapter_weights(1))
    assert evaluator.check(adapter).kind == "adapter"
    verdict, responses = evaluator.score(adapter, on_progress=lambda *said: phases.append(said))
    assert [item.id for item in verdict.items] == [item["id"] for item in ITEMS]
    assert responses.keys() == {item["id"] for item in ITEMS}
    noise = random_weights(3)
    full = {name: (w + 0.1 * noise[name]).astype(np.float32) for name, w in random_weights(0).items()}
    whole, _ = evaluator.score(write_model(tmp_path / "f", full))
    assert whole.items != verdict.items
    again, _ = evaluator.score(adapter)
    assert again.items == verdict.items
    left = evaluator._sandbox.exec(["sh", "-c", "ls /workspace/submissions /workspace/requests /workspace/replies"])
    assert not [line for line in left.stdout.decode().split() if not line.endswith(":")]


@pytest.mark.slow
def test_refusals_carry_their_code_whether_found_outside_or_inside_the_sandbox(evaluator, tmp_path):
    linked = write_adapter(tmp_path / "a", adapter_weights(1))
    (linked / "extra.json").symlink_to("/etc/passwd")
    assert [p.code for p in evaluator.check(linked).problems] == ["symlink"]
    with pytest.raises(SubmissionRefused) as outside:
        evaluator.score(linked)
    assert outside.value.code == "symlink"
    weights = adapter_weights(1)
    next(iter(weights.values()))[0, 0] = np.nan
    with pytest.raises(SubmissionRefused) as inside:
        evaluator.score(write_adapter(tmp_path / "n", weights))
    assert inside.value.code == "not_finite"
    assert inside.value.hint


@pytest.mark.slow
def test_the_worker_is_unprivileged_and_without_network(evaluator):
    find = "for p in /proc/[0-9]*; do tr '\\0' ' ' < $p/cmdline | grep -q '^python.*grading.worker' && stat -c %u $p; done; true"
    owners = evaluator._sandbox.exec(["sh", "-c", find]).stdout.decode().split()
    assert owners and "0" not in owners
    routes = evaluator._sandbox.exec(["sh", "-c", "tail -n +2 /proc/net/route"])
    assert routes.ok and routes.stdout == b""


@pytest.mark.slow
def test_a_new_harness_attaches_to_the_warm_worker(evaluator, backend, folder, tmp_path):
    other = Evaluator.attach(backend, evaluator._sandbox.spec.id, exam(folder))
    started = time.monotonic()
    other.ready(1)
    verdict, _ = other.score(write_marker(tmp_path / "b"))
    assert verdict.scores.items == len(ITEMS)
    assert time.monotonic() - started < 30


@pytest.mark.slow
def test_a_sealed_submission_is_mounted_not_copied_and_a_dead_worker_is_a_grader_failure(backend, folder, tmp_path):
    sealed = write_adapter(tmp_path / "sealed", adapter_weights(1))
    name = f"test-sealed-{os.getpid()}"
    with start(backend, folder, name, submission_dir=sealed) as running:
        verdict, _ = running.score(sealed)
        assert verdict.scores.items == len(ITEMS)
        written = running._sandbox.exec(["sh", "-c", "echo x >> /submission/adapter_config.json"], user="root")
        assert not written.ok
        running._sandbox.kill(running._process)
        with pytest.raises(GraderFailure, match="worker died"):
            running.score(sealed)
    assert name not in backend.list()
    with pytest.raises(SandboxUnavailable):
        Evaluator.attach(backend, name, exam(folder))


@pytest.mark.slow
def test_a_grader_without_enough_memory_says_so(backend, folder, tmp_path):
    name = f"test-small-{os.getpid()}"
    with start(backend, folder, name, limits=Limits(memory_mb=128)) as running:
        with pytest.raises(GraderFailure) as caught:
            running.ready(180)
        assert caught.value.code == "grader_out_of_memory"
        assert "memory_mb" in caught.value.hint


class Replying(ScriptedSandbox):
    """A grader sandbox whose worker answers whatever is asked with what a test tells it to."""

    reply: bytes | None = b"{}"

    def read_file(self, path, **options):
        if "/replies/" in path and self.reply is not None:
            return self.reply
        return super().read_file(path, **options)


@pytest.fixture
def scripted(folder):
    sandbox = Replying(SandboxSpec("scripted", Limits(), labels={"dojo.split": "dev"}))
    return sandbox, Evaluator(sandbox, exam(folder))


OK_REPORT = {"ok": True, "kind": "base"}


@pytest.mark.parametrize(
    "reply",
    [
        b"",
        b"\x00\xff",
        b"[]",
        b"{}",
        b'{"ok": true, "report": {"ok": true, "kind": "base"}}',
        b'{"ok": true, "ok": true, "report": {}}',
        json.dumps({"ok": True, "report": {"ok": "surely", "kind": 1}}).encode(),
        json.dumps({"ok": True, "report": OK_REPORT, "verdict": {"split": "dev", "items": []}}).encode(),
        json.dumps({"ok": False, "error": {"code": "grader", "message": "broke"}}).encode(),
        json.dumps({"ok": False, "error": "text"}).encode(),
        json.dumps({"ok": False, "error": {"code": "usage", "message": "mine is not the caller's fault"}}).encode(),
        b'{"ok": true, "report": {"ok": true, "kind": "base"}, "verdict": NaN}',
    ],
)
def test_a_reply_that_does_not_hold_is_a_grader_failure_never_a_score(scripted, tmp_path, reply):
    sandbox, evaluator = scripted
    sandbox.reply = reply
    with pytest.raises(GraderFailure):
        evaluator.score(write_marker(tmp_path / "b"))


def test_a_wait_that_nobody_needs_is_broken_off(scripted, tmp_path):
    sandbox, evaluator = scripted
    sandbox.reply = None
    with pytest.raises(GraderFailure) as caught:
        evaluator.score(write_marker(tmp_path / "b"), cancelled=lambda: True)
    assert caught.value.code == "abandoned"


@pytest.mark.parametrize(("oom", "code"), [(True, "grader_out_of_memory"), (False, "grader")])
def test_a_dead_worker_is_told_apart_by_how_it_died(scripted, tmp_path, oom, code):
    sandbox, evaluator = scripted
    (worker,) = sandbox.processes.values()
    worker.stderr = b"Traceback: it hurt"
    worker.end(137, oom_killed=oom)
    with pytest.raises(GraderFailure) as caught:
        evaluator.check(write_marker(tmp_path / "b"))
    assert caught.value.code == code
    assert oom or "it hurt" in caught.value.message
