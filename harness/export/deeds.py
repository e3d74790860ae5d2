"""Events of a run as steps: what the agent's program did through the agent API, and what happened to the run."""

from __future__ import annotations

from typing import Any

from harness.export.steps import Draft, as_text, cut_values, deed, system
from harness.spec.event import (
    AgentExited,
    AgentStarted,
    Attached,
    BudgetSpent,
    BudgetWarning,
    ClockStarted,
    ClockStopped,
    Ended,
    Evaluated,
    Event,
    Executed,
    Failed,
    FileMoved,
    GpuFault,
    GpuHeld,
    Graded,
    Killed,
    LlmOutage,
    LlmRefused,
    Noted,
    Sealed,
    SideEvaluated,
    Submitted,
    Validated,
)

# Of a dev evaluation, what another reader needs; the score of each item stands in events.jsonl.
_FEEDBACK_LEFT_OUT = {"item_scores", "pseudo_values"}


def deed_of(event: Event) -> Draft | None:
    """Return an event of the agent API as a step, or None for events of another kind."""
    time, call_id, told = event.time, f"event-{event.seq}", {"event": event.seq, "elapsed_s": event.elapsed_s}
    match event.data:
        case Executed() as said:
            return deed(time, call_id, "exec", {"argv": list(said.argv)}, _printed(said), **told)
        case FileMoved() as said:
            return deed(time, call_id, f"file_{said.op}", {"path": said.path}, f"{said.bytes} bytes", **told)
        case Validated() as said:
            report = said.report.model_dump(mode="json")
            return deed(time, call_id, "validate", {"path": said.path}, as_text(report), **told)
        case Evaluated() as said:
            feedback = said.feedback.model_dump(mode="json", exclude=_FEEDBACK_LEFT_OUT)
            arguments = {"note": said.note, "digest": said.digest}
            return deed(time, call_id, "evaluate", arguments, as_text(feedback), **told)
        case Submitted() as said:
            answer = said.answer or {"submission": said.submission, "digest": said.digest}
            return deed(time, call_id, "submit", {"note": said.note, "digest": said.digest}, as_text(answer), **told)
        case Noted(data={"shell": str(shell), "command": str(command)} as ran):
            printed = f"{ran.get('output', '')}\n[exit code {ran.get('exit_code')}]".lstrip("\n")
            return deed(time, call_id, "shell", {"command": command, "shell": shell}, printed, **told)
        case Noted() as said:
            data = {} if said.data is None else {"data": cut_values(said.data)}
            body = {"llm_call_count": 0, "extra": {**told, "kind": "note", **data}}
            return Draft(time, "agent", as_text(said.text), body)
        case _:
            return None


def happening_of(event: Event) -> Draft | None:
    """Return what happened to the run as a step of the harness's own, or None for events that say nothing to a reader."""
    words = _words(event.data)
    return None if words is None else system(event.time, words, event=event.seq, kind=event.kind.value, elapsed_s=event.elapsed_s)


def _words(said: Any) -> str | None:
    match said:
        case ClockStarted():
            return "the budget clock started"
        case ClockStopped():
            return "the budget clock stopped"
        case AgentStarted():
            return "the agent program runs"
        case AgentExited(exit_code=code, oom_killed=killed):
            return f"the agent program ended with exit code {code}" + (", killed for lack of memory" if killed else "")
        case Attached():
            return "another harness process took the run over"
        case LlmRefused(error=error, message=message, status=status):
            return f"the gateway refused a call: {error} ({status}): {message}"
        case LlmOutage(seconds=seconds, message=message):
            return f"the backbone was down for {seconds:.0f} s: {message}"
        case BudgetWarning(dimension=dimension, share=share):
            return f"{share:.0%} of the {dimension} budget is spent"
        case BudgetSpent(dimension=dimension):
            return f"the {dimension} budget is spent"
        case GpuFault(message=message):
            return f"a GPU's error: {message}"
        case GpuHeld(held=held, others=others):
            return f"GPU memory: {len(held)} processes of ended sandboxes and {len(others)} of others have some"
        case Killed(survivors=survivors):
            return f"everything of the agent was ended; {survivors} processes survived"
        case Sealed(submission=submission, digest=digest):
            return f"submission {submission} was sealed ({digest[:12]})"
        case Graded(number=number, scores=scores):
            return f"grade {number}: {scores.primary.name} {scores.primary.value:.4f} on the hidden split"
        case SideEvaluated(grade=number, results=results):
            return f"side evaluations after grade {number}: {', '.join(one.name for one in results)}"
        case Failed(where=where, message=message):
            return f"something broke in {where or 'the run'}: {message}"
        case Ended(cause=cause, phase=phase, message=message):
            return f"the run ended: {cause.value} in phase {phase}: {message}"
        case _:
            return None


def _printed(said: Executed) -> str:
    """Return what a command gave, as a person would have seen it."""
    parts = [said.stdout, said.stderr and f"[stderr]\n{said.stderr}"]
    ended = "killed for lack of memory" if said.oom_killed else "ended at its time limit" if said.timed_out else ""
    parts.append(f"[exit code {said.exit_code}{', ' + ended if ended else ''}, {said.duration_s:.1f} s]")
    if said.truncated:
        parts.append("[output was cut when it was recorded]")
    return "\n".join(part.rstrip("\n") for part in parts if part)
