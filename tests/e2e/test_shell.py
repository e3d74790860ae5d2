"""A person in a run: real terminals, a real sandbox, the run's own clock, log and API."""

import json
import os

import pytest

from tests.e2e.conftest import HERE, SANDBOX, Commands
from tests.e2e.terminal import Terminal

pytestmark = pytest.mark.e2e
PROMPT = "left] ~$ "


def terminal(dojo: Commands, *args: str) -> Terminal:
    places = {"DOJO_HOME": str(dojo.home), "DOJO_CACHE": str(dojo.cache), "DOJO_TASKS": str(HERE / "tasks")}
    return Terminal(
        {**os.environ, **places, "DOJO_SANDBOX": SANDBOX, "A_SECRET_OF_THE_HOST": "sesame", "LINES": "24", "COLUMNS": "80"}, *args
    )


def waiting(dojo: Commands, *more: str) -> str:
    """Submit a run for a person and return it once it waits."""
    dojo.start(*dojo.submit("human", *more), "--json")
    dojo.wait_for(lambda events: any(event["kind"] == "agent_started" for event in events))
    return dojo.run_folder().name


def test_a_person_works_hands_in_and_ends_the_run(dojo: Commands) -> None:
    run = waiting(dojo)
    with terminal(dojo, "shell", run) as screen:
        assert "m " in screen.until(PROMPT)  # the clock: the budget is 2 minutes
        screen.press("stty size; tty; id -un\r")
        shown = screen.until(PROMPT)
        assert "40 110" in shown and "/dev/pts/" in shown and "agent" in shown
        screen.resize(30, 90)
        screen.until(PROMPT)  # drawn anew by the shell, which knows of it now
        screen.press("stty size\r")
        screen.until("30 90")
        screen.until(PROMPT)
        screen.press("sleep 1000\r")
        screen.until("sleep 1000")
        screen.press("\x03")
        assert "^C" in screen.until(PROMPT)
        screen.press("env | grep -c SECRET; ls /root /home 2>&1 | grep -c authorized\r")
        assert screen.until(PROMPT).count("0\r\n") == 2
        screen.press('mkdir out && echo \'{"dojo": "base"}\' > out/dojo.json && dojo-tool submit $PWD/out --note mine\r')
        assert '"submission": 1' in screen.until(PROMPT)
        screen.press("false\r")
        screen.until(PROMPT)
        screen.press("exit 0\r")
        screen.until("End the run?")
        screen.press("y\r")
        assert screen.exit_code() == 0
    process = dojo.started[0]
    out, err = process.communicate(timeout=120)
    row = json.loads(out)["data"]["runs"][0]
    assert row["outcome"]["cause"] == "completed" and row["score"] is not None, (row, err)
    folder = dojo.run_folder()
    commands = [
        (step["tool_calls"][0]["arguments"]["command"], step["observation"]["results"][0]["content"])
        for step in json.loads((folder / "trajectory.json").read_text())["steps"]
        if step.get("tool_calls", [{}])[0].get("function_name") == "shell"
    ]
    told = dict(commands)
    assert "30 90\n" in told["stty size"] and told["false"] == "[exit code 1]"
    assert [command for command, _ in commands][-1] == "false"
    assert b"40 110" in (folder / "shell.log").read_bytes()
    result = dojo("show", run).data
    assert result["artefacts"]["shell"] == "shell.log" and result["integrity"]["person_in_sandbox"] is True


def test_a_shell_outlives_its_terminal_and_can_be_gone_back_to(dojo: Commands) -> None:
    run = waiting(dojo)
    with terminal(dojo, "shell", run) as first:
        first.until(PROMPT)
        first.press("kept=here; sleep 0.2; echo begun-$kept\r")
        first.until("begun-here")
    with terminal(dojo, "shell", run) as second:
        assert "shell 2 in run" in second.until(PROMPT)
        second.press("exit\r")
        second.until("the run goes on: 1 more shells are open")
    with terminal(dojo, "shell", run, "--attach", "1") as again:
        again.until("begun-here")  # what was on the screen is shown again
        again.press("\recho still-$kept\r")
        again.until("still-here")
        again.press("finish\r")
        again.until("End the run? [y/N]")
        again.press("y\r")
        again.exit_code()
    assert dojo.started[0].wait(timeout=120) in (0, 1)
    assert dojo("show", run).data["outcome"]["message"] == "the agent ended without handing anything in"


def test_at_the_deadline_the_shell_is_over_and_says_so(dojo: Commands) -> None:
    run = waiting(dojo, "--budget", "wall=8s")
    with terminal(dojo, "shell", run) as screen:
        screen.until(PROMPT)
        screen.press("trap '' TERM HUP; sleep 1000\r")
        screen.until("the run's time is over")
        assert screen.exit_code() == 0
    dojo.started[0].communicate(timeout=120)
    result = dojo("show", run).data
    assert result["outcome"]["cause"] == "agent_budget" and result["integrity"]["survivors"] == 0


def test_nobody_enters_the_sandbox_of_a_program_by_accident_nor_a_run_that_is_over(dojo: Commands) -> None:
    answer = dojo(*dojo.submit("base"))
    run = answer.data["runs"][0]["id"]
    with terminal(dojo, "shell", run) as screen:
        screen.until("spoils the measurement")
        assert screen.exit_code() == 2
    with terminal(dojo, "shell", run, "--anyway") as screen:
        screen.until("is not live (state done)")
        assert screen.exit_code() == 2
    assert dojo("shell", run).error["code"] == "usage"
