"""A trial of an agent: a whole run on a mini task for up to a minute, with a script in place of a language model."""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from harness.assets.agent_dir import Agent
from harness.sandbox.base import Check
from harness.spec.errors import DojoError
from harness.spec.event import AgentExited, ClockStarted, ClockStopped, Event, Failed, LlmCalled, LlmRefused, Submitted
from harness.spec.outcome import Cause
from harness.spec.progress import Progress
from harness.store.run_dir import RunDir

TASK = "math/aime25"
"""What a trial is run on: its mini data come with packages, small and quickly prepared."""

SCRIPT = Path(__file__).with_name("trial.toml")
_BUDGET = "wall=60s,evaluations=1"
_TAIL_LINES = 5


def try_agent(agent: Agent, cache: Path, sandbox: str, progress: Progress | None = None) -> list[Check]:
    """Run an agent once and say what it did; nothing of the run is kept.

    Raises:
        MissingError: data, a model, isolation or the agent's install are not to be had.
    """
    from harness.service import Dojo

    say = progress or (lambda _: None)
    backbone = f"scripted:{SCRIPT}" if agent.config.backbone != "none" else None
    with tempfile.TemporaryDirectory(prefix="dojo-trial-") as home:
        dojo = Dojo(home, cache, sandbox=sandbox)
        plan = dojo.plan([str(agent.path)], [TASK], (0,), "mini", budget=_BUDGET, backbone=backbone, limit=1, progress=progress)
        say(f"trying {agent.name} for up to a minute on {TASK}" + (", with a script for a language model" if backbone else ""))
        try:
            dojo.submit(plan)
        except DojoError as exc:
            return [Check("trial", False, exc.message, exc.hint)]
        run = dojo.store.files(plan.runs[0].id)
        return _told(run, list(run.readable_events()), thinks=backbone is not None)


def _told(run: RunDir, events: Sequence[Event], thinks: bool) -> list[Check]:
    payloads = [event.data for event in events]
    checks = [_ending(run, events)]
    if thinks:
        checks.append(
            _talk([p for p in payloads if isinstance(p, LlmCalled)], [p for p in payloads if isinstance(p, LlmRefused)])
        )
    handed_in = [p for p in payloads if isinstance(p, Submitted)]
    wanted = (
        "the script's second command hands in the base model: the agent did not run it"
        if thinks
        else "it may need more than the minute it had"
    )
    checks.append(Check("handed in", bool(handed_in) or not thinks, f"{len(handed_in)} times", f"nothing was: {wanted}"))
    errors = [p.message for p in payloads if isinstance(p, Failed)]
    return [*checks, Check("errors", False, errors[0], "`dojo doctor` checks this machine")] if errors else checks


def _ending(run: RunDir, events: Sequence[Event]) -> Check:
    result = run.result()
    outcome = result.outcome if result is not None else None
    began, ended = (next((e.time for e in events if isinstance(e.data, kind)), None) for kind in (ClockStarted, ClockStopped))
    seconds = f" after {(ended - began).total_seconds():.1f} s" if began and ended else ""
    exited = next((e.data for e in events if isinstance(e.data, AgentExited)), None)
    if outcome is None or outcome.cause not in (Cause.COMPLETED, Cause.AGENT_BUDGET):
        said = outcome.message if outcome else "the run did not end"
        return Check("ends", False, f"{said}{seconds}; {_tail(run)}", "what it printed last names the cause")
    how = f"exit code {exited.exit_code}" if exited else "still at work when its minute was over"
    return Check("ends", True, f"{how}{seconds}")


def _talk(calls: Sequence[LlmCalled], refused: Sequence[LlmRefused]) -> Check:
    formats = Counter(call.format for call in calls)
    answered = sum(200 <= call.status < 300 for call in calls)
    tools = sum(call.tools for call in calls)
    words = [f"{len(calls)} calls ({', '.join(f'{n} {name}' for name, n in formats.items())})"] if calls else ["no call"]
    words += [f"{answered} answered", f"{tools} tool calls"]
    words += [f"{len(refused)} refused, the first: {refused[0].error} {refused[0].message}"] if refused else []
    return Check("talks", answered > 0, ", ".join(words), "the agent finds the model by LLM_BASE_URL, LLM_API_KEY and LLM_MODEL")


def _tail(run: RunDir) -> str:
    for name in ("agent.stderr", "agent.stdout"):
        path = run.path / name
        lines = path.read_text(encoding="utf-8", errors="replace").strip().splitlines() if path.is_file() else []
        if lines:
            return f"{name} ends: {' | '.join(lines[-_TAIL_LINES:])}"
    return "it printed nothing"
