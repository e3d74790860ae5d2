"""The recorded run that ships, `results/thinking`: its talk plays again, is read today as then, and tells the same report."""

import asyncio
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from ft_agent.effects import table
from ft_agent.figures import ReportFacts, facts_of, figures
from ft_agent.history import History, fold
from ft_agent.llm.calls import CALLS, Causes, Lessons, Program, Proposal, Survey
from ft_agent.llm.facts import lessons_text
from ft_agent.llm.ideas import Stage, planned
from ft_agent.llm.limits import LIMITS, tokens_of
from ft_agent.llm.parsing import read_reply
from ft_agent.picture import score_plot
from ft_agent.plan import Plan
from ft_agent.report import report_text
from llm_cases import a_desk, a_run
from where import AGENTS

from harness.gateway.dialogue import Reply, Text
from harness.gateway.recording import Exchange, Recording, request_hash
from harness.gateway.upstreams.asking import whole
from harness.gateway.upstreams.base import Call, UpstreamFailed
from harness.gateway.upstreams.replay import open_replay

RUN = AGENTS.parent / "results" / "thinking"
# What the whole folder may weigh.
MOST_BYTES = 300_000
# What a command that writes the report anew needs.
ANEW = ":".join(map(str, (AGENTS / "ft_agent", AGENTS, Path(__file__).parents[1], AGENTS.parent)))
# The name of a call's form in its request → the call.
BY_FORM = {model.__name__: call for call, model in CALLS.items()}


def journal(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "workspace/journal.jsonl").read_text(encoding="utf-8").splitlines()]


def of(folder: Path, kind: str) -> list[dict[str, Any]]:
    return [record for record in journal(folder) if record["kind"] == kind]


def until(folder: Path, kind: str) -> History:
    """What the run knew when the first record of a kind was written."""
    records = journal(folder)
    return fold(records[: next(k for k, r in enumerate(records) if r["kind"] == kind)])


def talk(folder: Path) -> list[Exchange]:
    recording = Recording(folder / "private/llm")
    exchanges = list(recording.read())
    assert recording.damaged == 0, f"{recording.damaged} recorded calls cannot be read"
    return exchanges


def call_of(exchange: Exchange) -> str:
    return BY_FORM[exchange.body["response_format"]["json_schema"]["name"]]


def said(reply: Reply | None) -> str:
    assert reply is not None
    return "".join(part.text for part in reply.parts if isinstance(part, Text))


def answers(folder: Path, call: str) -> list[Any]:
    """What was answered to a call, each time, as it is read today: without a repair."""
    return [read_reply(said(e.reply), CALLS[call]) for e in talk(folder) if call_of(e) == call]


def told(folder: Path) -> tuple[ReportFacts, dict[str, str]]:
    """The report and what lies beside it, made anew from the journal."""
    spec = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    budget = json.loads((folder / "result.json").read_text(encoding="utf-8"))["usage"]
    (end,) = of(folder, "end")
    facts = facts_of(fold(journal(folder)), end["at"], {"dollars": {"used": budget["dollars"]}})
    numbers = figures(facts)
    report = report_text(spec["task"], facts, numbers, f"Ended because {end['reason']}.")
    texts = {"report.md": report, "figures.json": json.dumps(numbers, indent=1), "scores.svg": score_plot(facts)}
    return facts, texts


def check_report(folder: Path) -> None:
    facts, texts = told(folder)
    assert facts.effective and facts.thoughts and facts.counterfactuals
    for name, text in texts.items():
        shipped = (folder / "workspace" / name).read_text(encoding="utf-8")
        assert shipped == text, f"the journal tells another {name} today: PYTHONPATH={ANEW} python {__file__} writes it anew"


def check_answers(folder: Path) -> None:
    """Every answer is what the journal says came of it."""
    assert [Survey.model_validate(r["survey"]) for r in of(folder, "survey")] == answers(folder, "survey")
    lessons: list[Lessons] = answers(folder, "lessons")
    assert [r["text"] for r in of(folder, "lessons")] == [lessons_text(each) for each in lessons]
    programs: list[Program] = answers(folder, "write_program")
    kept = [(folder / f"workspace/programs/{r['name']}.py").read_text(encoding="utf-8") for r in of(folder, "program")]
    assert [p.code.strip() for p in programs] == [text.strip() for text in kept]
    causes: list[Causes] = answers(folder, "diagnose")
    diagnosed = [r["iteration"]["diagnosis"]["signals"].get("causes", []) for r in of(folder, "iteration")]
    assert [[c.cause for c in each.causes] for each in causes] == [[c["cause"] for c in each] for each in diagnosed]
    outcomes = [(r["call"], r["outcome"]) for r in of(folder, "thought")]
    assert sorted(outcomes) == sorted((call_of(e), "good") for e in talk(folder)), "each call once, and none was repaired"


def check_plans(folder: Path) -> None:
    """The recorded proposal becomes the recorded plans, and what was trained are these."""
    proposal: Proposal
    (proposal,) = answers(folder, "propose")
    (heat,) = of(folder, "heat")
    then = until(folder, "heat")
    costs = {**then.costs, "overhead_own": 6.0, "overhead_dev": 31.0}
    view = a_run(
        *then.iterations, champion=then.champion, speed=then.speed, costs=costs, wall_limit=240.0, usable=193.0,
        effects=table(then.iterations, then.base_own),
    )  # fmt: skip
    recorded = [Plan.from_json(plan) for plan in heat["heat"]["plans"]]
    with TemporaryDirectory() as desk:
        found = {idea.knob: planned(idea, view, a_desk(Path(desk)), Stage(probes=True)) for idea in proposal.ideas}
    assert all(plan is not None and not wrong for plan, wrong in found.values()), found
    assert recorded == [found[plan.knob][0] for plan in recorded]
    trained = [i.plan for i in fold(journal(folder)).iterations if i.plan.author == "llm"]
    assert trained and all(plan.knob in found for plan in trained)


def check_limits(folder: Path) -> None:
    for exchange in talk(folder):
        limit = LIMITS[call_of(exchange)]
        prompt = sum(tokens_of(message["content"]) for message in exchange.body["messages"])
        assert prompt <= limit.prompt, f"call {exchange.call}: {prompt} tokens of {limit.prompt}"
        assert exchange.body["max_completion_tokens"] <= limit.output


def check_replay(folder: Path) -> None:
    """What plays a recorded run answers its requests with its answers, and no other request."""
    upstream = open_replay(RUN.name, folder)

    async def answer(exchange: Exchange, request: str) -> bytes:
        call = Call(exchange.call, exchange.format, "replay", exchange.body, exchange.stream, request, {})
        return await whole(await upstream.send(call))

    for exchange in talk(folder):
        request = request_hash(exchange.format, exchange.path, exchange.body)
        given = json.loads(asyncio.run(answer(exchange, request)))
        assert given["choices"][0]["message"]["content"] == said(exchange.reply)
        other = {**exchange.body, "messages": exchange.body["messages"][:1]}
        with pytest.raises(UpstreamFailed, match="never made this request"):
            asyncio.run(answer(exchange, request_hash(exchange.format, exchange.path, other)))


def test_the_shipped_journal_tells_the_shipped_report_figures_and_picture() -> None:
    check_report(RUN)


def test_every_recorded_answer_is_read_today_without_a_repair_as_what_the_journal_says_came_of_it() -> None:
    check_answers(RUN)


def test_the_recorded_proposal_becomes_the_recorded_plans() -> None:
    check_plans(RUN)


def test_every_recorded_prompt_is_within_its_limit() -> None:
    check_limits(RUN)


def test_a_replay_answers_the_recorded_requests_with_the_recorded_answers_and_no_other() -> None:
    check_replay(RUN)


def test_what_ships_is_small_text_without_places_of_a_machine_or_what_the_grader_alone_sees() -> None:
    files = [path for path in RUN.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) < MOST_BYTES
    for path in files:
        text = path.read_text(encoding="utf-8")
        # /workspace, /models and /data are a sandbox's own
        assert not any(place in text for place in ("/home/", "/root/", "/tmp/", "/mnt/")) or path.name == "calls.jsonl", path
    assert [path.name for path in (RUN / "private").iterdir()] == ["llm"]


DAMAGES: dict[str, tuple[Callable[[Path], None], str, str, str]] = {
    "a figure": (check_report, "workspace/journal.jsonl", '"at": 226.0', '"at": 22.0'),
    "the report": (check_report, "workspace/report.md", "iteration 4", "iteration 5"),
    "a cause": (check_answers, "workspace/journal.jsonl", '"cause": "Time did it', '"cause": "Luck did it'),
    "a lesson": (check_answers, "workspace/journal.jsonl", "- [model] Thirteen", "- [model] Twelve"),
    "a program": (check_answers, "workspace/programs/worked_out.py", "def transform", "def transformed"),
    "a plan": (check_plans, "workspace/journal.jsonl", "Only some 450 rows", "Only some 45 rows"),
    "a prompt": (check_replay, "private/llm/parts.jsonl", "Before the first training", "After the first training"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_what_is_altered_in_a_copy_is_found(damage: str, tmp_path: Path) -> None:
    check, file, before, after = DAMAGES[damage]
    copy = tmp_path / RUN.name
    shutil.copytree(RUN, copy)
    text = (copy / file).read_text(encoding="utf-8")
    assert before in text
    (copy / file).write_text(text.replace(before, after, 1), encoding="utf-8")
    with pytest.raises((AssertionError, UpstreamFailed)):
        check(copy)


if __name__ == "__main__":
    for name, text in told(RUN)[1].items():
        (RUN / "workspace" / name).write_text(text, encoding="utf-8")
