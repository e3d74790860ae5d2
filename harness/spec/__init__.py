"""The models users meet: task, agent, run, budget, outcome, result, event. Imports nothing else of ours."""

from harness.spec.agent import AgentConfig, load_agent_config
from harness.spec.budget import Budget, BudgetLine, Usage, budget_lines
from harness.spec.errors import DojoError
from harness.spec.event import Event, EventKind
from harness.spec.feedback import Feedback
from harness.spec.outcome import Cause, Outcome, RunState
from harness.spec.result import GradeRecord, Reference, RunResult
from harness.spec.run import RunSpec
from harness.spec.submission import Manifest, SubmissionReport
from harness.spec.task import Limits, TaskConfig, load_task_config
from harness.spec.verdict import ItemScore, Metric, Scores, Verdict

__all__ = [
    "AgentConfig",
    "Budget",
    "BudgetLine",
    "Cause",
    "DojoError",
    "Event",
    "EventKind",
    "Feedback",
    "GradeRecord",
    "ItemScore",
    "Limits",
    "Manifest",
    "Metric",
    "Outcome",
    "Reference",
    "RunResult",
    "RunSpec",
    "RunState",
    "Scores",
    "SubmissionReport",
    "TaskConfig",
    "Usage",
    "Verdict",
    "budget_lines",
    "load_agent_config",
    "load_task_config",
]
