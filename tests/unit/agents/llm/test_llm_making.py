"""Rows from a backbone, the whole way: the agent's own prompts, over HTTP, through checks into a data set."""

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from backbone_server import Reply, serving
from ft_agent.data import RecipeError, build
from ft_agent.minds import minds
from ft_agent.plan import Operation
from run_setting import a_setting

CLEAN = [Operation(n) for n in ("clean", "repair", "kind", "verify", "dedupe", "drop_leaks")]


def plays(body: dict[str, Any]) -> Reply:
    """Make up sums, one in four wrong, or write solutions out; whatever the prompt asks for."""
    prompt = body["messages"][-1]["content"]
    if prompt.startswith("Make up"):
        first = 100 * len(re.findall("Cases|Easier|harder|Other words", prompt.splitlines()[2])) + 1000 * len(prompt)
        sums = [(first + i, i % 4 == 3) for i in range(16)]
        rows = [
            {"prompt": f"What is {a} + 1?", "answer": str(a + 1 + wrong), "rationale": f"One more is {a + 1}."}
            for a, wrong in sums
        ]
        return Reply(f"Here you are:\n```json\n{json.dumps({'rows': rows})}\n```")
    given = [json.loads(line) for line in prompt.splitlines() if line.startswith('{"id"')]
    rows = [{"id": r["id"], "rationale": f"So it is {r['answer']}."} for r in given]
    return Reply(json.dumps({"rows": [r for r in rows if r["id"] != "quiz:17"]}))


def test_rows_are_made_and_rewritten_with_the_agents_own_prompts_and_paid_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = [
        *CLEAN,
        Operation("synthesise", {"rows": 20}),
        Operation("rewrite", {"rows": 16, "how": "reason"}),
        Operation("template", {"style": "rationale"}),
    ]
    with serving(plays) as server:
        for name, value in (("LLM_BASE_URL", server.url), ("LLM_API_KEY", "k"), ("LLM_MODEL", "m")):
            monkeypatch.setenv(name, value)
        run = a_setting(tmp_path, None, planner="auto")
        _, makers = minds(run)
        assert set(makers) == {"program", "self_generate", "synthesise", "rewrite"}
        made = build(run.material.rows, recipe, replace(run.material.context, makers=makers))
        asked = len(server.asked)
        again = build(run.material.rows, recipe, replace(run.material.context, makers=makers))
    assert made == again
    assert len(server.asked) == asked == 4
    assert made.log[-1]["made"] == {"synthesise": 20, "rewrite": 16}
    held = run.material.own
    assert all(e.prompt.splitlines()[0] not in json.dumps(server.asked) for e in held), "what is held out is never shown"
    new = [e for e in made.examples if e.id.startswith("synthesise_")]
    assert all(e.answer == f"One more is {e.gold}.\n\\boxed{{{e.gold}}}" for e in new)
    thoughts = run.chronicle.history.thoughts
    assert [(t.call, t.outcome) for t in thoughts] == [("synthesise", "good")] * 2 + [("rewrite", "good")] * 2


def test_a_backbone_that_talks_nonsense_costs_the_recipe_and_is_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with serving("As a language model I like rows.") as server:
        for name, value in (("LLM_BASE_URL", server.url), ("LLM_API_KEY", "k"), ("LLM_MODEL", "m")):
            monkeypatch.setenv(name, value)
        run = a_setting(tmp_path, None, planner="auto")
        _, makers = minds(run)
        with pytest.raises(RecipeError, match="gave no answer; leave synthesise out"):
            build(run.material.rows, [*CLEAN, Operation("synthesise")], replace(run.material.context, makers=makers))
    assert [(t.call, t.outcome) for t in run.chronicle.history.thoughts] == [("synthesise", "fell_back")] * 2
    assert len(server.asked) == 4, "each is repaired once"
