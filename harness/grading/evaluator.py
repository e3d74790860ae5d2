"""The host's side of a grader sandbox: start it, hand submissions in, believe nothing that comes out before it is checked."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from harness.assets.base_models import BaseModel
from harness.assets.grader_side import grader_code, task_code
from harness.assets.prepare import PreparedTask
from harness.grading.engines import GraderEngine, choose_engine
from harness.grading.push import push_directory
from harness.grading.replies import LmTasks, decode_lm_tasks, decode_progress, decode_reply, decode_report
from harness.grading.submission.inventory import inventory
from harness.grading.submission.leftovers import tell_left_out
from harness.grading.verdict import read_verdict
from harness.grading.worker import protocol
from harness.sandbox.base import Backend, Mount, Sandbox, SandboxSpec
from harness.spec.errors import GraderFailure, SandboxError, SubmissionRefused
from harness.spec.submission import SubmissionReport
from harness.spec.task import Generation, Limits, load_task_config
from harness.spec.verdict import Verdict
from harness.taskkit.scoring.contract import TaskGrader, load_grader

# Replies are looked for this often, seconds: a check takes tenths of a second, a score many seconds.
_FIRST_POLL_S, _SLOWEST_POLL_S = 0.02, 0.2
# How often the worker's process is looked at while waiting.
_ALIVE_EVERY_S = 1.0
# A worker writes progress at least every generated token; loading 15 GB of weights is the longest silence.
HANG_S = 900.0
_PROCESS = "grader"


@dataclass(frozen=True)
class Exam:
    """What submissions are scored on, and how; whoever starts or finds an evaluator knows it from the run, not from a host.

    Attributes:
        task_dir: the task's directory (``task.toml``, ``tests/``).
        base_model: the model that submissions are fine-tunes of.
        items_path: the split's items.
        few_shot_path: worked examples.
        generation: how answers are generated.
        split: name of the split, for the verdict.
        data: what the data is called elsewhere, with its digest: ``("data:math/aime25:mini", "9f…")``.
        lm_tasks: a folder of lm-eval tasks that `Evaluator.run_lm_tasks` runs.
        metric: the primary metric's name where ``task_dir`` has no ``task.toml`` that tells it.
    """

    task_dir: Path
    base_model: BaseModel
    items_path: Path
    few_shot_path: Path
    generation: Generation
    split: str
    data: tuple[str, str] = ("", "")
    metric: str = ""
    lm_tasks: Path | None = None

    @classmethod
    def of(cls, prepared: PreparedTask, base_model: BaseModel, generation: Generation, split: Literal["dev", "hidden"]) -> Exam:
        """Return the exam of a prepared task's split."""
        return cls(
            task_dir=prepared.task.path,
            base_model=base_model,
            items_path=prepared.dev_path if split == "dev" else prepared.hidden_path,
            few_shot_path=prepared.few_shot_path,
            generation=generation,
            split=split,
            data=(f"data:{prepared.task.id}:{prepared.profile}", prepared.digest),
        )

    @property
    def primary(self) -> str:
        """The name of the task's primary metric."""
        return self.metric or load_task_config(self.task_dir / "task.toml").metadata.dojo.metric.name

    def mounts(self) -> list[Mount]:
        """Return what its grader sandbox is shown."""
        name, digest = self.data
        return [
            Mount(self.base_model.path, protocol.BASE, asset=f"model:{self.base_model.name}", digest=self.base_model.digest),
            Mount(self.items_path, protocol.ITEMS, asset=f"{name}/{self.split}.jsonl" if name else "", digest=digest),
            Mount(self.few_shot_path, protocol.FEW_SHOT, asset=f"{name}/few_shot.jsonl" if name else "", digest=digest),
            *(Mount(source, f"{protocol.DOMAIN}/{place}") for source, place in task_code(self.task_dir)),
            *(Mount(source, f"{protocol.CODE}/{place}") for source, place in grader_code()),
            *([Mount(self.lm_tasks, protocol.LM_TASKS)] if self.lm_tasks else []),
        ]


class Evaluator:
    """A grader sandbox with a warm model that scores submissions on one split."""

    def __init__(
        self,
        sandbox: Sandbox,
        exam: Exam,
        submission_dir: Path | None = None,
        engine: GraderEngine | None = None,
        options: Sequence[str] = (),
    ) -> None:
        """Take over a sandbox that `start` has made; use `start` or `attach`."""
        self._sandbox, self._mounted = sandbox, submission_dir
        self._engine = engine or GraderEngine("transformers")
        self._split, self._primary = exam.split, exam.primary
        items = [json.loads(line) for line in exam.items_path.read_text(encoding="utf-8").splitlines()]
        self._grader: TaskGrader = load_grader(exam.task_dir)
        self._rows: dict[str, Mapping[str, Any]] = {item["id"]: item["row"] for item in items}
        self._subsets: dict[str, str] = {item["id"]: item["subset"] for item in items}
        # A known name returns the running process, so attaching finds the worker and starting makes it.
        # on the dev split a run's agent works meanwhile, on the same GPUs
        lends = ["--lends"] if exam.split == "dev" and sandbox.spec.limits.gpus else []
        argv, env = [*_argv(exam, self._primary), *options, *lends], _environment(sandbox.spec.limits)
        self._process = sandbox.start(argv, name=_PROCESS, env=env, cwd=protocol.WORK)

    @classmethod
    def start(
        cls,
        backend: Backend,
        id: str,
        exam: Exam,
        limits: Limits,
        *,
        submission_dir: Path | None = None,
        gpu_owner: str = "",
        gives_way: bool = False,
    ) -> Evaluator:
        """Create a grader sandbox without network and start the worker in it; returns while the model is still loading.

        Args:
            backend: where the sandbox is made.
            id: the sandbox's id.
            exam: what is scored on.
            limits: hard limits of the sandbox.
            submission_dir: a sealed submission to mount read-only; `score` of this directory copies nothing.
            gpu_owner: whose GPUs it shares, see `SandboxSpec`.
            gives_way: see `SandboxSpec`.

        Raises:
            IsolationUnavailable, SandboxUnavailable: from the backend.
            EngineMissing: vLLM is to generate and is not to be had.
        """
        engine = choose_engine(exam.generation.engine, limits.gpus, backend)
        mounts, options = [*exam.mounts(), *engine.mounts(backend)], engine.options(backend)
        if submission_dir is not None:
            mounts.append(Mount(submission_dir, protocol.SUBMISSION))
        labels = {"dojo.role": "grader", "dojo.split": exam.split}
        asked = SandboxSpec(
            id, limits, tuple(mounts), labels=labels, image=engine.image, gpu_owner=gpu_owner, gives_way=gives_way
        )
        sandbox = backend.create(asked)
        try:
            return cls(sandbox, exam, submission_dir, engine, options)
        except BaseException:
            sandbox.close()
            raise

    @classmethod
    def attach(cls, backend: Backend, id: str, exam: Exam) -> Evaluator:
        """Return the evaluator that `start` made in the running sandbox ``id``, as after a crash of the harness.

        Raises:
            SandboxUnavailable: there is none that answers.
            GraderFailure: its worker is dead, or it is another exam's; start a new one.
        """
        sandbox = backend.attach(id)
        if sandbox.spec.labels.get("dojo.split") != exam.split:
            raise GraderFailure(f"{id} is no grader sandbox of the split {exam.split}", hint="start one anew")
        engine = choose_engine(exam.generation.engine, sandbox.spec.limits.gpus, backend)
        evaluator = cls(sandbox, exam, None, engine, engine.options(backend))
        evaluator._require_alive()
        return evaluator

    def ready(self, wait_s: float = 600.0) -> None:
        """Wait until the model is loaded.

        Raises:
            GraderFailure: the worker died, or was not ready in ``wait_s`` seconds.
        """
        deadline, pause = time.monotonic() + wait_s, _FIRST_POLL_S
        while self._progress().get("phase", "starting") == "starting":
            self._require_alive()
            if time.monotonic() > deadline:
                raise GraderFailure(f"the grader was not ready after {wait_s:.0f} s{self._stderr()}", hint="is the machine busy?")
            time.sleep(pause)
            pause = min(_SLOWEST_POLL_S, pause * 1.5)

    def check(self, directory: Path) -> SubmissionReport:
        """Say whether a submission would load: the same check that scoring does.

        Raises:
            GraderFailure: the grader broke.
        """
        report = self._outside_report(directory)
        if report is not None:
            return report
        return decode_report(self._ask({"op": "check"}, directory, None, None))

    def score(
        self,
        directory: Path,
        *,
        fewshot: int | None = None,
        on_progress: Callable[[str, int, int], None] | None = None,
        cancelled: Callable[[], bool] | None = None,
    ) -> tuple[Verdict, dict[str, str]]:
        """Score a submission on the split.

        Args:
            directory: the submission, on the host.
            fewshot: worked examples before each item; None: as the task says.
            on_progress: called with (phase, items done, items) now and then.
            cancelled: asked now and then; True breaks the wait off.

        Returns:
            The checked verdict, and item id → response text.

        Raises:
            SubmissionRefused: the check failed; carries the first problem.
            GraderFailure: the grader broke, was broken off (code ``abandoned``), or its verdict does not hold.
        """
        report = self._outside_report(directory)
        if report is None:
            request: dict[str, Any] = {"op": "score"} | ({} if fewshot is None else {"fewshot": fewshot})
            reply = self._ask(request, directory, on_progress, cancelled)
            report = decode_report(reply)
        if not report.ok:
            raise refusal(report)
        verdict = read_verdict(
            reply.get("verdict", {}),
            split=self._split,
            subsets=self._subsets,
            grader=self._grader,
            rows=self._rows,
            primary=self._primary,
        )
        if verdict.engine is None or verdict.engine.name != self._engine.name:
            said = verdict.engine.name if verdict.engine else "none"
            raise GraderFailure(f"{self._engine.name} was to generate, and the verdict says {said}", hint="grade again")
        responses = reply.get("responses")
        if not isinstance(responses, dict) or responses.keys() != self._rows.keys():
            raise GraderFailure("the grader's responses are not the split's", hint="grade again")
        return verdict, {str(k): str(v) for k, v in responses.items()}

    def run_lm_tasks(self, directory: Path) -> LmTasks:
        """Run the exam's folder of lm-eval tasks on a submission; the figures are the tasks' own and are not computed again here.

        Raises:
            SubmissionRefused: the check failed; carries the first problem.
            GraderFailure: the grader broke, a task cannot be run, or the reply is none.
        """
        report = self._outside_report(directory)
        if report is None:
            reply = self._ask({"op": "lm_eval"}, directory, None, None)
            report = decode_report(reply)
        if not report.ok:
            raise refusal(report)
        return decode_lm_tasks(reply)

    def close(self) -> None:
        """Destroy the sandbox and everything in it. May be called twice."""
        self._sandbox.close()

    def __enter__(self) -> Evaluator:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()

    # -- inside -----------------------------------------------------------------------------------------------------

    def _outside_report(self, directory: Path) -> SubmissionReport | None:
        """Refuse by names and kinds of files before anything is copied; None where the contents must decide."""
        found = inventory(directory)
        if not found.problems:
            return None
        report = SubmissionReport(ok=False, kind="unknown", problems=tuple(found.problems[:20]), notes=tuple(found.notes))
        return tell_left_out(report, found.left_out)

    def _ask(
        self,
        request: dict[str, Any],
        directory: Path,
        on_progress: Callable[[str, int, int], None] | None,
        cancelled: Callable[[], bool] | None,
    ) -> dict[str, Any]:
        """Hand a submission in with a request and wait for the reply."""
        self._require_alive()
        name = f"{time.time_ns():020d}-{uuid.uuid4().hex[:8]}"
        mounted = self._mounted is not None and directory.resolve() == self._mounted.resolve()
        inside = None if mounted else f"submissions/{name}"
        path = f"{protocol.WORK}/{inside}"
        try:
            if not mounted:
                push_directory(self._sandbox, directory, path, inventory(directory).names)
            self._post(name, {**request, "path": inside})
            return self._wait(name, on_progress, cancelled)
        except OSError as exc:
            raise GraderFailure(
                f"the submission could not be copied into the grader sandbox: {exc}",
                hint="full weights need disk_mb in the profile's limits above their size",
            ) from exc
        finally:
            self._forget(name, None if mounted else path)

    def _post(self, name: str, request: Mapping[str, Any]) -> None:
        final = protocol.request_path(protocol.WORK, name)
        draft = final.removesuffix(".json") + ".draft"
        self._sandbox.write_file(draft, json.dumps(request).encode())
        moved = self._sandbox.exec(["mv", draft, final], timeout_s=30)
        if not moved.ok:
            raise GraderFailure(f"the grader sandbox took no request: {moved.stderr[-300:].decode(errors='replace')}")

    def _wait(
        self, name: str, on_progress: Callable[[str, int, int], None] | None, cancelled: Callable[[], bool] | None
    ) -> dict[str, Any]:
        pause, looked, said, moved = _FIRST_POLL_S, time.monotonic(), b"", time.monotonic()
        while True:
            data = self._read(protocol.reply_path(protocol.WORK, name), protocol.MAX_REPLY)
            if data is not None:
                return decode_reply(data)
            if cancelled is not None and cancelled():
                raise GraderFailure("scoring was broken off: nobody waits for it any more", code="abandoned")
            now = time.monotonic()
            if now - looked >= _ALIVE_EVERY_S:
                looked = now
                self._require_alive()
                progress = self._read(protocol.progress_path(protocol.WORK), 4096) or b""
                if progress != said:
                    said, moved = progress, now
                    document = decode_progress(progress)
                    if on_progress is not None and document:
                        on_progress(str(document.get("phase", "")), int(document.get("done", 0)), int(document.get("total", 0)))
                elif now - moved > HANG_S:
                    raise GraderFailure(f"the grader has not moved for {HANG_S:.0f} s{self._stderr()}", hint="grade again")
            time.sleep(pause)
            pause = min(_SLOWEST_POLL_S, pause * 1.3)

    def _forget(self, name: str, path: str | None) -> None:
        """Remove what a request left in the sandbox; a broken sandbox has said so already."""
        leftovers = [protocol.request_path(protocol.WORK, name), protocol.reply_path(protocol.WORK, name)]
        # the request goes first: without it the worker does not look for the reply
        try:
            self._sandbox.exec(["rm", "-rf", *leftovers, *([path] if path else [])], timeout_s=120)
        except SandboxError:
            return

    def memory_peak_mb(self) -> float:
        """Return the most memory its sandbox has used, in MB."""
        return self._sandbox.usage().memory_peak_mb

    def _progress(self) -> dict[str, Any]:
        return decode_progress(self._read(protocol.progress_path(protocol.WORK), 4096) or b"")

    def _read(self, path: str, max_bytes: int) -> bytes | None:
        try:
            return self._sandbox.read_file(path, max_bytes=max_bytes)
        except FileNotFoundError:
            return None
        except SandboxError as exc:
            raise GraderFailure(f"the grader sandbox does not answer: {exc.message}{self._stderr()}", hint=exc.hint) from exc

    def _require_alive(self) -> None:
        try:
            status = self._sandbox.poll(self._process)
        except SandboxError as exc:
            raise GraderFailure(f"the grader sandbox is gone: {exc.message}", hint=exc.hint) from exc
        if status.running:
            return
        if status.oom_killed:
            raise GraderFailure(
                f"the grader ran out of memory ({self._sandbox.spec.limits.memory_mb} MB)",
                hint="raise memory_mb or lower generation.batch_size in the task's profile",
                code="grader_out_of_memory",
            )
        raise GraderFailure(f"the grader's worker died (exit code {status.exit_code}){self._stderr()}", hint="grade again")

    def _stderr(self) -> str:
        """Return the end of what the worker wrote to stderr, or nothing where the sandbox is gone."""
        try:
            text = self._sandbox.poll(self._process).stderr[-1500:].decode(errors="replace").strip()
        except SandboxError:
            return ""
        return f"; it said: {text}" if text else ""


def refusal(report: SubmissionReport) -> SubmissionRefused:
    """Return the error for a submission that cannot be scored: its first problem, and how many more there are."""
    problem, more = report.problems[0], len(report.problems) - 1
    text = problem.message + (f" (and {more} more; validate lists them)" if more else "")
    return SubmissionRefused(text, hint=problem.hint, code=problem.code)


def _argv(exam: Exam, primary: str) -> list[str]:
    options = {
        "dir": protocol.WORK,
        "model": protocol.BASE,
        "items": protocol.ITEMS,
        "few-shot": protocol.FEW_SHOT,
        "task": protocol.TASK,
        "generation": exam.generation.model_dump_json(),
        "split": exam.split,
        "primary": primary,
        "submission": protocol.SUBMISSION,
    }
    argv = ["python", "-P", "-m", "harness.grading.worker"]
    for name, value in options.items():
        argv += [f"--{name}", value]
    return argv


def _environment(limits: Limits) -> dict[str, str]:
    return {
        "PYTHONPATH": protocol.CODE,
        "PYTHONDONTWRITEBYTECODE": "1",
        "HOME": protocol.WORK,
        "OMP_NUM_THREADS": str(max(1, int(limits.cpus))),
        "OMP_WAIT_POLICY": "passive",
        "HF_HUB_OFFLINE": "1",
        "HF_DATASETS_OFFLINE": "1",
        "TRANSFORMERS_OFFLINE": "1",
        "TOKENIZERS_PARALLELISM": "false",
    }
