"""A person's shell in a run's task sandbox, under the run's own clock, log and API."""

from __future__ import annotations

import os
import threading
from dataclasses import dataclass

from harness.sandbox.base import Sandbox
from harness.sandbox.registry import get_backend
from harness.service.bench import Bench
from harness.session.record import RunRecord, fold
from harness.session.shell import Shell, Size, running
from harness.session.watch import follow_events
from harness.spec.errors import SandboxUnavailable, UsageError
from harness.spec.event import AgentStarted
from harness.spec.outcome import RunState
from harness.spec.run import RunSpec
from harness.store.run_dir import RunDir

# The agent that is a person: its runs wait for one.
HUMAN = "human"
# How `agents/human` is told that its person is done.
_FINISH = ("sh", "/agent/finish.sh", "--yes")


@dataclass(frozen=True)
class OpenShell:
    """A shell with the run it is in."""

    spec: RunSpec
    shell: Shell
    sandbox: Sandbox

    @property
    def human(self) -> bool:
        """Whether the run's agent is a person, so that the last shell's end may be the run's."""
        return self.spec.agent.name == HUMAN

    def others(self) -> list[int]:
        """Return the numbers of the run's shells that still run."""
        return running(self.sandbox)

    def finish(self) -> None:
        """End the run of a person: what was handed in counts.

        Raises:
            UsageError: the run does not wait for a person any more.
        """
        told = self.sandbox.exec(_FINISH, timeout_s=30)
        if not told.ok:
            said = told.stderr.decode(errors="replace").strip()
            raise UsageError(
                f"run {self.spec.id} could not be ended: {said}", hint=f"`dojo status {self.spec.id}`, or `dojo cancel`"
            )


class Shells(Bench):
    """Letting people into runs."""

    def shell(
        self,
        reference: str,
        size: Size,
        term: str,
        *,
        attach: int | None = None,
        anyway: bool = False,
        stop: threading.Event | None = None,
    ) -> OpenShell:
        """Open a shell in the task sandbox of a run, or return to one; waits while the run is being prepared.

        Args:
            reference: the run.
            size: of the terminal.
            term: its kind, as ``$TERM``.
            attach: number of a shell that runs; default a new one.
            anyway: also where the run's agent is a program, which measures it no more alone.
            stop: set to wait no longer for the run to begin.

        Raises:
            UsageError: the run is not live, is somebody else's, or its agent is a program.
            SandboxUnavailable: its sandbox is not on this host.
        """
        run = self.store.resolve(reference, "run")
        files = self.store.files(run)
        spec = files.spec()
        owner = files.path.stat().st_uid
        if owner != os.getuid():
            raise UsageError(f"run {run} belongs to user {owner}", hint="only its owner may enter it", code="not_owner")
        if spec.agent.name != HUMAN and not anyway:
            raise UsageError(
                f"the agent of run {run} is the program {spec.agent.name}: a person in its sandbox spoils the measurement",
                hint="--anyway enters it all the same, and its result says so; --agent human makes runs for people",
            )
        record = self._live(run, files, stop or threading.Event())
        sandbox = self._task_sandbox(spec, record)
        if attach is not None:
            return OpenShell(spec, Shell.attach(sandbox, attach, size, files.shell_log), sandbox)
        return OpenShell(spec, Shell.open(sandbox, size, term, files.shell_log), sandbox)

    def _live(self, run: str, files: RunDir, stop: threading.Event) -> RunRecord:
        """Return the record of a run whose agent works, waiting until it does."""
        record = fold(files.events())
        if record.state in (RunState.QUEUED, RunState.PREPARING) and self.store.holder(run) is not None:
            for event in follow_events(files, True, stop):
                if isinstance(event.data, AgentStarted):
                    break
            record = fold(files.events())
        if record.state is not RunState.RUNNING or record.clock_stopped or record.agent_exited:
            raise UsageError(
                f"run {run} is not live (state {record.state.value})",
                hint="a shell can be opened while its agent works; `dojo submit --agent human …` makes a run that waits for you",
            )
        return record

    def _task_sandbox(self, spec: RunSpec, record: RunRecord) -> Sandbox:
        try:
            return get_backend(spec.sandbox).attach(f"{spec.id}-{record.attempt}-task")
        except SandboxUnavailable as exc:
            where = self.store.holder(spec.id)
            raise SandboxUnavailable(
                f"the sandbox of run {spec.id} does not answer on this host: {exc.message}",
                death=exc.death,
                hint=f"it is driven by {where}: open the shell there" if where else "`dojo resume` goes on with the run",
            ) from exc
