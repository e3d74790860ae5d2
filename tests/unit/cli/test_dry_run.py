"""What a dry run says."""

from __future__ import annotations

import pytest

from harness.cli.dry_run import could_show, render
from harness.cli.output import Output

ROW = {"task": "t/x", "runs": 3, "smallest_difference": 0.1, "smallest_difference_80": 0.2, "basis": "assumed"}


def test_it_says_what_the_runs_could_show() -> None:
    assert "3 runs per agent show an observed difference of 0.100" in could_show(ROW)
    assert "no difference" in could_show({**ROW, "smallest_difference": None})


def test_it_lists_the_runs_and_starts_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    run = {"agent": "base", "task": "t/x", "profile": "mini", "seed": 0, "base_model": "smol"}
    run |= {"budget": {"wall": 300.0, "evaluations": 8}, "sandbox": "docker", "dojo_version": "0.1.0", "limit": None}
    render({"runs": [run], "max_wall_s": 300.0, "power": {"rows": [ROW], "overall": None}}, Output())
    out = capsys.readouterr().out
    assert out.startswith("would run · docker · dojo 0.1.0\n")
    assert "5m 00s" in out and "t/x: 3 runs per agent" in out
    assert out.endswith("1 run, at most 5m 00s of agent time one after the other; nothing was started\n")
