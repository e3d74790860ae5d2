"""FT-Agent as in a run, with a backbone that makes rows: its own process, real tiny training, real HTTP on both sides."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from backbone_server import Reply, serving
from fake_api import FakeApi, make_task
from sources import boxed_sources
from test_agents_run import by_kind, finish, start
from tiny_model import make_tiny_model
from where import AGENTS


def idea(knob: str, gain: float, **changes: Any) -> dict[str, Any]:
    return {"hypothesis": f"{knob} helps.", "knob": knob, "changes": changes, "expected_gain": gain, "seconds": 4}


def put(operation: str, **args: Any) -> dict[str, Any]:
    return {"do": "put", "operation": operation, "args": args}


IDEAS = [idea("new sums", 0.3, data=[put("synthesise", rows=12)])]


class Mind:
    """Answers by what a prompt asks for; every second row it makes up is wrong."""

    def __init__(self) -> None:
        self.calls: list[str] = []

    def __call__(self, body: dict[str, Any]) -> Reply:
        prompt = body["messages"][-1]["content"]
        call = next((c for c in ("Make up", "Propose", "iteration is over", "lessons") if c in prompt[:80]), "other")
        self.calls.append(call)
        return Reply(json.dumps(self.answer(call, prompt)))

    def answer(self, call: str, prompt: str) -> Any:
        if call == "Propose":
            return {"ideas": IDEAS}
        if call == "Make up":
            first = 100 * len(self.calls)
            return {"rows": [{"prompt": f"What is {first + i} + 3?", "answer": str(first + i + 3 + i % 2)} for i in range(16)]}
        if call == "iteration is over":
            return {"causes": [{"cause": "Few steps.", "evidence": "guess"}]}
        if call == "lessons":
            return {"lessons": [{"lesson": "Sums are easy."}]}
        sources = re.findall(r"^- (\w+): \d+ rows", prompt, re.MULTILINE)
        notes = [{"source": s, "worth": "use", "why": "It fits."} for s in sources]
        return {"task": "Add.", "good_row": "A sum.", "sources": notes, "risks": []}


@pytest.mark.slow
def test_a_run_trains_on_rows_it_has_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data, tiny = boxed_sources(tmp_path / "data"), make_tiny_model(tmp_path / "tiny")
    mind, work = Mind(), tmp_path / "work"
    with serving(mind) as server, FakeApi(make_task(data, str(tiny)), by_kind, wall=75.0, evaluations=3) as api:
        for name, value in (("LLM_BASE_URL", server.url), ("LLM_API_KEY", "k"), ("LLM_MODEL", "m")):
            monkeypatch.setenv(name, value)
        out = finish(start(AGENTS / "ft_agent", api, work), timeout=240)
    journal = [json.loads(line) for line in (work / "journal.jsonl").read_text().splitlines()]
    done = [r["iteration"] for r in journal if r["kind"] == "iteration"]
    trained = {o["name"]: i for i in done if i["status"] == "trained" for o in i["plan"]["data"]}
    assert "synthesise" in trained, out
    line = next(step for step in trained["synthesise"]["data_log"] if step["operation"] == "synthesise")
    assert line["made"]["synthesise"] == line["rows_out"] - line["rows_in"] > 0
    assert "Make up" in mind.calls
    assert list((work / "made").glob("synthesise-*.jsonl"))
