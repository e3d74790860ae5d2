"""What a dry run says."""

from __future__ import annotations

from typing import Any

import pytest

from harness.cli.dry_run import could_show, render
from harness.cli.output import Output

ROW = {"task": "t/x", "runs": 3, "smallest_difference": 0.1, "smallest_difference_80": 0.2, "basis": "assumed"}


def rendered(capsys: pytest.CaptureFixture[str], backbone: str = "", most: float | None = 0.0, **limits: Any) -> str:
    run: dict[str, Any] = {"agent": "base", "variant": "", "task": "t/x", "profile": "mini", "seed": 0, "base_model": "smol"}
    run |= {"hidden": "", "sandbox": "docker", "backbone": backbone, "dojo_version": "0.1.0", "limit": None}
    budget = dict.fromkeys(("tokens", "output_tokens", "requests", "dollars"))
    run["budget"] = {"wall": 300.0, "evaluations": 8, **budget, **limits}
    power = {"rows": [ROW], "overall": None}
    total = {"wall": 300.0, "cpu": None, "evaluations": 8}
    render({"runs": [run], "max_wall_s": 300.0, "max_dollars": most, "total": total, "power": power}, Output())
    return capsys.readouterr().out


def test_it_says_what_the_runs_could_show() -> None:
    assert "3 runs per agent show an observed difference of 0.100" in could_show(ROW)
    assert "no difference" in could_show({**ROW, "smallest_difference": None})


def test_it_lists_the_runs_and_starts_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    out = rendered(capsys)
    assert out.startswith("would run · docker · dojo 0.1.0\n")
    assert "5m 00s" in out and "t/x: 3 runs per agent" in out
    assert out.endswith("1 run, at most 5m 00s of agent time one after the other, 8 evaluations; nothing was started\n")


def test_a_budget_in_cpu_seconds_stands_beside_the_wall_time(capsys: pytest.CaptureFixture[str]) -> None:
    lines = rendered(capsys, cpu=240.0).splitlines()
    assert lines[1].split()[-3:] == ["time", "cpu", "evals"] and lines[2].split()[-5:] == ["5m", "00s", "4m", "00s", "8"]


def test_it_says_what_thinking_may_cost_at_most(capsys: pytest.CaptureFixture[str]) -> None:
    out = rendered(capsys, "gpt", 5.0, dollars=5.0, tokens=2_000_000)
    assert out.startswith("would run · backbone gpt · docker")
    assert "the backbone costs at most $5.00 (each run at most $5.00, 2,000,000 tokens; a run that" in out
    assert out.endswith("is tried again with a budget of its own)\n")
    assert "the backbone may cost without limit (no run has a limit in dollars or tokens;" in rendered(capsys, "gpt", None)


def test_runs_that_differ_only_in_their_seed_share_a_row_and_variants_have_their_own(capsys: pytest.CaptureFixture[str]) -> None:
    metered = dict.fromkeys(("tokens", "output_tokens", "requests"))
    runs = [
        {"agent": "ft", "variant": variant, "task": "t/x", "profile": "mini", "seed": seed, "base_model": "smol", "limit": None,
         "hidden": "", "sandbox": "docker", "dojo_version": "0.1.0", "backbone": backbone,
         "budget": {"wall": 60.0, "cpu": 30.0, "evaluations": 2, **metered, "dollars": dollars}}
        for variant, backbone, dollars in (("", "", None), ("backbone=a", "a", 1.0), ("backbone=b", "b", 2.5))
        for seed in (0, 1, 2, 7)[: 4 if variant else 3]
    ]  # fmt: skip
    total = {"wall": 660.0, "cpu": 330.0, "evaluations": 22}
    render(
        {"runs": runs, "max_wall_s": 660.0, "max_dollars": 14.0, "total": total, "power": {"rows": [], "overall": None}}, Output()
    )
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "would run · docker · dojo 0.1.0"
    assert [line.split() for line in lines[1:5]] == [
        ["agent", "task", "profile", "seeds", "base", "model", "backbone", "time", "cpu", "evals"],
        ["ft", "t/x", "mini", "0–2", "smol", "1m", "00s", "30s", "2"],
        ["ft", "backbone=a", "t/x", "mini", "0,", "1,", "2,", "7", "smol", "a", "1m", "00s", "30s", "2"],
        ["ft", "backbone=b", "t/x", "mini", "0,", "1,", "2,", "7", "smol", "b", "1m", "00s", "30s", "2"],
    ]
    assert lines[5].startswith("11 runs, at most 11m 00s of agent time one after the other, 5m 30s cpu, 22 evaluations;")
    assert "at most $14.00 (each run at most $1.00 or $2.50;" in lines[6]
