"""The agent API over its real socket with the real client; sandbox and scorer are scripted here (tests/e2e has the real ones)."""

import json
import os
import socket
import threading
from datetime import UTC, datetime
from pathlib import Path

import pytest

from harness.grading.evaluator import refusal
from harness.sandbox.base import ExecResult, SandboxSpec
from harness.sandbox.scripted import Call, ScriptedSandbox
from harness.session import api
from harness.session.api import ApiContext, SessionApi
from harness.session.clock import BudgetClock
from harness.session.dojo_tool import ApiError, Client
from harness.session.journal import Journal
from harness.session.server import ApiServer
from harness.session.told import Told
from harness.spec.budget import Budget, Usage
from harness.spec.errors import GraderFailure
from harness.spec.event import EventKind
from harness.spec.submission import Problem, SubmissionReport
from harness.spec.task import Limits
from harness.spec.verdict import ItemScore, Metric, Scores, Verdict
from harness.store.run_dir import RunDir
from tests.unit.store.test_database import spec


def echo(call: Call) -> ExecResult:
    return ExecResult(exit_code=0, stdout=" ".join(call.argv).encode(), stderr=b"")


def task_sandbox() -> ScriptedSandbox:
    files = {"/workspace/out/dojo.json": b'{"dojo": "base"}'}
    return ScriptedSandbox(SandboxSpec("r1-1-task", Limits()), files=files, answer=echo)


class ScriptedScorer:
    def __init__(self) -> None:
        self.scored = self.pushed = 0
        self.problems: tuple[Problem, ...] = ()
        self.broken = False

    def check(self, folder: Path) -> SubmissionReport:
        self.pushed += 1
        return SubmissionReport(ok=not self.problems, kind="base", problems=self.problems)

    def score(self, folder: Path):
        """Check and score, as the real one does in one request."""
        self.pushed += 1
        if self.problems:
            raise refusal(self.check(folder))
        if self.broken:
            raise GraderFailure("the worker died", hint="look at its log")
        self.scored += 1
        items = tuple(ItemScore(id=f"i{n}", subset="s", parsed=True, score=float(n < self.scored)) for n in range(4))
        value = sum(i.score for i in items) / 4
        scores = Scores(primary=Metric(name="accuracy", value=value), parse_rate=1.0, items=4)
        return Verdict(split="dev", scores=scores, items=items), {i.id: "resp" for i in items}


class Relay:
    """TCP to unix socket, as execd's relay does inside a sandbox."""

    def __init__(self, target: Path) -> None:
        self._target = target
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            upstream = socket.socket(socket.AF_UNIX)
            try:
                upstream.connect(str(self._target))
            except OSError:
                client.close()
                continue
            for a, b in ((client, upstream), (upstream, client)):
                threading.Thread(target=self._pump, args=(a, b), daemon=True).start()

    @staticmethod
    def _pump(source: socket.socket, target: socket.socket) -> None:
        try:
            while data := source.recv(65536):
                target.sendall(data)
            target.shutdown(socket.SHUT_WR)
        except OSError:
            target.close()

    def close(self) -> None:
        self._listener.close()


class World:
    def __init__(self, path: Path) -> None:
        self.run = RunDir.create(path / "run", spec("r1", "b1").model_copy(update={"budget": Budget(wall=1000, evaluations=2)}))
        self.scorer, self.sandbox = ScriptedScorer(), task_sandbox()
        self.socket = path / "api.sock"
        self.errors: list = []
        self.relay = Relay(self.socket)
        self.client = Client(f"http://127.0.0.1:{self.relay.port}", "secret", patience_s=20)
        self.start()

    def start(self) -> None:
        """Start as a (new) harness process would: everything it knows comes from the run's folder."""
        run = RunDir(self.run.path)
        self.journal = Journal(run, lambda _state: None)
        clock = BudgetClock(run.spec().budget, datetime.now(UTC))
        items = {f"i{n}": {"prompt": f"p{n}", "gold": n, "subset": "s"} for n in range(4)}
        self.api = SessionApi(
            ApiContext(
                spec=run.spec(),
                run=run,
                journal=self.journal,
                clock=clock,
                sandbox=self.sandbox,
                evaluator=self.scorer,
                task_view={"id": "math/aime25"},
                dev_items=items,
                show_answers=True,
                usage=lambda: Usage(wall=clock.elapsed(), evaluations=len(self.journal.record.evaluations)),
                told=Told(self.journal),
            )
        )
        self.server = ApiServer(self.api, self.socket, "secret", self.errors.append)

    def close(self) -> None:
        self.server.close()
        self.relay.close()


@pytest.fixture
def world(tmp_path):
    made = World(tmp_path)
    yield made
    made.close()


def test_every_call_answers_and_lands_in_the_events(world):
    client = world.client
    assert client.task() == {"id": "math/aime25"}
    assert client.budget()["evaluations"] == {"limit": 2.0, "used": 0.0, "left": 2.0}
    assert client.exec(["echo", "hi"])["stdout"] == "echo hi"
    assert client.exec("echo hi")["stdout"] == "/bin/sh -c echo hi"
    client.write_file("/workspace/a b?&.txt", b"\x00\xff")
    assert client.read_file("/workspace/a b?&.txt") == b"\x00\xff"
    assert client.validate("/workspace/out")["ok"]
    assert client.evaluate("/workspace/out", note="first")["evaluation"] == 1
    assert client.submit("/workspace/out")["submission"] == 1
    client.note("done", {"a": 1})
    kinds = [event.kind for event in world.run.events()]
    assert kinds == [EventKind.EXEC, EventKind.EXEC, EventKind.FILE, EventKind.FILE, EventKind.VALIDATE, EventKind.EVALUATE,
                     EventKind.SUBMIT, EventKind.NOTE]  # fmt: skip
    assert (world.run.submissions / "1/dojo.json").exists()


def test_feedback_says_what_changed_against_the_last_and_the_best(world):
    world.client.evaluate("/workspace/out")
    second = world.client.evaluate("/workspace/out")
    assert second["since_last"]["difference"] == 0.25 and second["since_last"]["wins"] == 1
    assert second["primary"]["low"] < second["primary"]["value"] < second["primary"]["high"]
    assert second["evaluations_left"] == 0 and second["errors"][0]["answer"] is not None


def test_evaluations_are_metered_and_the_next_one_is_refused(world):
    for _ in range(2):
        world.client.evaluate("/workspace/out")
    with pytest.raises(ApiError) as refused:
        world.client.evaluate("/workspace/out")
    assert refused.value.code == "budget_exhausted" and world.scorer.scored == 2


def test_a_repeated_key_is_answered_from_the_events_also_after_a_restart(world):
    path = "/workspace/out"
    first = world.api.evaluate({"path": path}, "key-1")
    taken = world.api.submit({"path": path}, "key-2")
    world.server.close()
    world.start()
    assert world.api.evaluate({"path": path}, "key-1") == json.loads(json.dumps(first))
    assert world.api.submit({"path": path}, "key-2") == json.loads(json.dumps(taken))
    assert world.scorer.scored == 1


def test_a_client_waits_out_a_harness_that_restarts(world):
    world.server.hang_up()
    world.server.close()
    world.socket.unlink(missing_ok=True)
    answers = []
    caller = threading.Thread(target=lambda: answers.append(world.client.evaluate("/workspace/out")))
    caller.start()
    world.start()
    caller.join(20)
    assert answers and answers[0]["evaluation"] == 1 and world.scorer.scored == 1


def test_a_submission_that_would_not_load_is_refused_with_its_problem(world):
    world.scorer.problems = (Problem(code="pickle", message="model.pt is a pickle", hint="save safetensors"),)
    with pytest.raises(ApiError) as refused:
        world.client.submit("/workspace/out")
    assert (refused.value.code, refused.value.hint) == ("pickle", "save safetensors")
    assert not world.client.validate("/workspace/out")["ok"]
    assert world.journal.record.submissions == ()


def test_an_evaluation_hands_the_submission_to_the_grader_once(world):
    world.client.evaluate("/workspace/out")
    assert (world.scorer.scored, world.scorer.pushed) == (1, 1)


def test_an_evaluation_of_what_would_not_load_is_refused_and_costs_nothing(world):
    world.scorer.problems = tuple(Problem(code="pickle", message=f"model{n}.pt is a pickle") for n in range(3))
    with pytest.raises(ApiError) as refused:
        world.client.evaluate("/workspace/out")
    assert refused.value.code == "pickle" and "and 2 more" in refused.value.message
    assert world.journal.record.evaluations == ()


def test_a_broken_grader_costs_no_evaluation_and_is_recorded(world):
    world.scorer.broken = True
    with pytest.raises(ApiError) as failed:
        world.client.evaluate("/workspace/out")
    assert failed.value.code == "grader" and world.errors
    world.scorer.broken = False
    assert world.client.evaluate("/workspace/out")["evaluation"] == 1


def test_another_runs_token_and_unknown_calls_and_bad_bodies_are_refused(world):
    stranger = Client(f"http://127.0.0.1:{world.relay.port}", "other", patience_s=5)
    with pytest.raises(ApiError) as refused:
        stranger.task()
    assert refused.value.code == "unauthorised"
    for call, code in (
        (lambda: world.client.evaluate("/nowhere"), "no_such_file"),
        (lambda: world.client.read_file("/nowhere"), "no_such_file"),
        (lambda: world.client._json("POST", "/v1/submit", {"paths": "x"}), "usage"),
        (lambda: world.client._json("POST", "/v1/exec", {}), "usage"),
        (lambda: world.client._json("GET", "/v1/secrets"), "not_found"),
        (lambda: world.client._call("POST", "/v1/note", b"[[[[", {}), "usage"),
        (lambda: world.client.note("x" * 100_000), "usage"),
    ):
        with pytest.raises(ApiError) as refused:
            call()
        assert refused.value.code == code


def test_only_the_newest_and_the_best_submission_are_kept_on_disk(world):
    for content in (b'{"dojo": "base", "n": 1}', b'{"dojo": "base", "n": 2}', b'{"dojo": "base", "n": 3}'):
        world.sandbox.files["/workspace/out/dojo.json"] = content
        world.client.submit("/workspace/out")
    assert sorted(p.name for p in world.run.submissions.iterdir()) == ["3"]


def test_after_the_run_is_over_calls_that_score_are_refused(world):
    world.api.close()
    with pytest.raises(ApiError) as refused:
        world.client.submit("/workspace/out")
    assert refused.value.code == "budget_exhausted"


def test_submissions_and_notes_have_a_number(world, monkeypatch):
    monkeypatch.setattr(api, "SUBMISSIONS", 2)
    monkeypatch.setattr(api, "NOTES", 3)
    for _ in range(2):
        world.client.submit("/workspace/out")
    with pytest.raises(ApiError) as refused:
        world.client.submit("/workspace/out")
    assert refused.value.code == "budget_exhausted"
    for number in range(3):
        world.client.note(f"note {number}")
    with pytest.raises(ApiError) as refused:
        world.client.note("one more")
    assert refused.value.code == "record_full"


def test_what_the_agents_own_disk_and_folders_cannot_do_is_the_agents_fault(world, monkeypatch):
    for number, status in ((28, 400), (122, 400), (36, 400), (13, 400), (16, 400), (5, 500)):

        def fails(path, *_args, number=number, **_more):
            raise OSError(number, os.strerror(number), path)

        monkeypatch.setattr(world.sandbox, "write_from", fails)
        with pytest.raises(ApiError) as refused:
            world.client.write_file("/workspace/x", b"x")
        assert refused.value.code in ("file", "permission") and len(world.errors) == (status == 500), os.strerror(number)
