"""What an agent did and said at a service: its talk with its backbone, its trajectory, an agent that does it again."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from harness.assets.agent_dir import find_agent
from harness.files import write_atomic
from harness.remote.client import Client, part
from harness.remote.following import AGAIN, POLL_S, passed_on
from harness.service.trajectories import Exported, write_replay
from harness.spec.errors import MissingError, UsageError

if TYPE_CHECKING:
    from harness.export.llm_log import LlmLine


class RemoteTrajectories:
    """Telling runs of one's own."""

    client: Client

    def talk(self, reference: str, follow: bool = False, stop: threading.Event | None = None) -> Iterator[LlmLine]:
        """See `Dojo.talk`; a stream that breaks is taken up again after the last call."""
        from harness.export.llm_log import LlmLine

        stop, seen, broken = stop or threading.Event(), 0, 0
        while not stop.is_set():
            params = {"follow": follow, "skip": seen}
            try:
                for line in passed_on(self.client.lines(f"/v1/runs/{part(reference)}/talk", params=params), stop):
                    if line == "null":
                        return
                    if line:
                        seen, broken = seen + 1, 0
                        yield LlmLine.model_validate_json(line)
            except MissingError as exc:
                broken += 1
                if exc.code not in ("server_gone", "full") or broken > AGAIN:
                    raise
            stop.wait(POLL_S)

    def export(self, reference: str, format: str = "atif", out: Path | None = None, *, validate: bool = False) -> Exported:
        """See `Dojo.export`; ``out`` is to be given, as the run's folder is not here."""
        if out is None:
            raise UsageError("the run's folder lies at the service", hint=f"dojo export {reference} {format} --out NAME")
        answer = self.client.answer("GET", f"/v1/runs/{part(reference)}/trajectory")
        told, trajectory = answer.content, self.client.decoded(answer)
        run = str(trajectory["session_id"])
        if format == "replay":
            return write_replay(run, told, out, find_agent("replay").path)
        if out.is_dir() or not out.parent.is_dir():
            raise UsageError(f"{out} cannot be written as a file", hint="give --out a file in a folder that exists")
        try:
            write_atomic(out, told)
        except OSError as exc:
            raise UsageError(f"cannot write {out}: {exc.strerror}", hint="free disk space, or give another --out") from exc
        if validate:
            from harness.export.checking import check_trajectory

            check_trajectory(out)
        steps, valid = len(trajectory["steps"]), True if validate else None
        return Exported(run=run, format="atif", path=out, bytes=len(told), steps=steps, valid=valid)
