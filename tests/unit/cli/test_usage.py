"""Every way to call it wrongly: one envelope or two lines, exit code 2, and what was meant."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import click
import pytest

import harness
from harness.cli import reference
from harness.cli.base import LazyGroup
from harness.cli.main import cli, main
from tests.unit.cli.conftest import Answer

Cli = Callable[..., Answer]


def every_command() -> list[list[str]]:
    """The words of all commands that are no groups."""

    def walk(group: LazyGroup, words: list[str]) -> list[list[str]]:
        context = click.Context(group)
        found = []
        for name in group.list_commands(context):
            command = group.get_command(context, name)
            inner = [*words, name]
            found += walk(command, inner) if isinstance(command, LazyGroup) else [inner]
        return found

    assert isinstance(cli, LazyGroup)
    return walk(cli, [])


@pytest.mark.parametrize("words", every_command(), ids=" ".join)
def test_an_unknown_option_is_one_envelope_and_says_what_was_meant(dojo_cli: Cli, words: list[str]) -> None:
    answer = dojo_cli(*words, "--json", "--jsn")
    assert answer.code == 2
    assert answer.json["schema"] == f"dojo/{'-'.join(words)}/v1"
    assert answer.json["ok"] is False
    assert answer.json["error"]["message"] == "No such option '--jsn'"
    assert answer.json["error"]["hint"].startswith("did you mean ") and "--json" in answer.json["error"]["hint"]


@pytest.mark.parametrize("words", every_command(), ids=" ".join)
def test_every_command_has_help_with_the_common_options(dojo_cli: Cli, words: list[str]) -> None:
    answer = dojo_cli(*words, "--help")
    assert answer.code == 0
    for option in ("--home", "--cache", "--json", "--debug"):
        assert option in answer.out


@pytest.mark.parametrize(
    ("arguments", "message", "hint"),
    [
        (["leaderbord"], "no command 'leaderbord' in `dojo`", "did you mean leaderboard?"),
        (["tasks", "scor"], "no command 'scor' in `dojo tasks`", "did you mean score"),
        (["submit"], "no agent was named: give --agent A", "`dojo submit --help`"),
        (["submit", "--agent", "base"], "no task was named", "`dojo submit --help`"),
        (["submit", "--agent", "base", "--task", "a", "--seeds", "0"], "0 is not in the range x>=1", "--help"),
        (["submit", "--agent", "base", "--task", "a", "--seeds", "2", "--seed", "1"], "exclude each other", "--help"),
        (["submit", "--agent", "base", "--task", "a", "--profile", "tiny"], "'tiny' is not one of", "did you mean mini"),
        (["submit", "--agent", "base", "--task", "a", "--agent-param", "x"], "not of the form name=value", "--help"),
        (["submit", "--agent", "b", "--task", "a", "--unsafe-local", "--sandbox", "namespace"], "exclude each other", "--help"),
        (["submit", "--agent", "base", "--task"], "requires an argument", "`dojo submit --help`"),
        (["show"], "Missing argument 'RUN'", "`dojo show --help`"),
        (["gc", "extra"], "unexpected extra argument", "`dojo gc --help`"),
        (["tasks", "score", "a", "--rows", "none", "--responses", "none"], "'none' does not exist", "`dojo tasks score --help`"),
        (["doctor", "task"], "dojo doctor task T", "--help"),
        (["completion", "tcsh"], "'tcsh' is not one of", "did you mean"),
        (["--nonsense"], "No such option '--nonsense'", "--help"),
    ],
)
def test_wrong_usage_names_the_value_and_the_fix(dojo_cli: Cli, arguments: list[str], message: str, hint: str) -> None:
    answer = dojo_cli(*arguments)
    assert (answer.code, answer.out) == (2, "")
    first, second = answer.err.splitlines()
    assert first.startswith("error: ") and message in first
    assert second.startswith("hint: ") and hint in second
    structured = dojo_cli(*arguments, *([] if arguments[-1] == "--task" else ["--json"]))
    if arguments[-1] != "--task":
        assert message in structured.json["error"]["message"]


def test_a_flag_after_two_dashes_is_an_argument(dojo_cli: Cli) -> None:
    answer = dojo_cli("show", "--", "--json")
    assert answer.out == ""
    assert answer.err.startswith("error: ")


def test_alone_it_prints_the_help(dojo_cli: Cli) -> None:
    answer = dojo_cli()
    assert answer.code == 0 and "Commands:" in answer.out


def test_a_broken_dojo_toml_is_an_error_with_the_file_named(dojo_cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "dojo.toml").write_text("hoem = 1")
    answer = dojo_cli("config", "--json")
    assert answer.code == 2
    assert answer.json["error"]["code"] == "spec"
    assert "did you mean home?" in answer.json["error"]["hint"]


def test_config_show_prints_each_value_with_its_origin(dojo_cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "dojo.toml").write_text("parallel = 3")
    rows = {row["name"]: row for row in dojo_cli("config", "show", "--cache", "elsewhere", "--json").data["settings"]}
    assert rows["home"]["origin"] == "environment DOJO_HOME"
    assert rows["parallel"] == {**rows["parallel"], "value": 3, "origin": str(tmp_path / "dojo.toml")}
    assert (rows["cache"]["value"], rows["cache"]["origin"]) == (str(tmp_path / "elsewhere"), "flag --cache")
    assert rows["executor"]["origin"] == "default"


def test_a_fault_of_ours_is_said_to_be_one_and_debug_shows_where(dojo_cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("harness.cli.version.packages", lambda: 1 / 0)
    answer = dojo_cli("version", "--json")
    assert answer.code == 1
    assert answer.json["error"]["code"] == "internal"
    assert "ZeroDivisionError" in answer.json["error"]["message"]
    assert "Traceback" not in answer.err
    assert "Traceback" in dojo_cli("version", "--debug").err


def test_ctrl_c_anywhere_is_130_and_an_envelope(dojo_cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted() -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("harness.cli.version.packages", interrupted)
    answer = dojo_cli("version", "--json")
    assert (answer.code, answer.json["error"]["code"]) == (130, "interrupted")


def test_help_imports_nothing_heavy_and_no_command() -> None:
    program = "import sys; from harness.cli.main import main; main(['--help']); print(*sys.modules, file=sys.stderr)"
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    loaded = set(result.stderr.split())
    assert not {name.partition(".")[0] for name in loaded} & {"pydantic", "rich", "sqlalchemy", "numpy", "json", "tomllib"}
    ours = {name for name in loaded if name.startswith("harness")}
    assert ours == {"harness", "harness.cli"} | {
        f"harness.cli.{n}" for n in ("main", "base", "commands", "inherited", "output", "sanitise", "streams")
    }


def test_output_that_nobody_reads_any_more_is_no_error() -> None:
    for command in ("--help", "version", "config show --json"):
        read, write = os.pipe()
        os.close(read)
        program = [sys.executable, "-m", "harness.cli.main", *command.split()]
        result = subprocess.run(program, stdout=write, stderr=subprocess.PIPE, text=True)
        os.close(write)
        assert (result.returncode, result.stderr) == (0, ""), command


def test_no_escape_codes_where_no_terminal_reads(dojo_cli: Cli) -> None:
    for arguments in (["version"], ["config"], ["nonsense"], ["--help"]):
        answer = dojo_cli(*arguments)
        assert "\x1b" not in answer.out + answer.err


def test_the_reference_page_is_what_the_code_says(capsys: pytest.CaptureFixture[str]) -> None:
    assert reference.main(["--check"]) == 0, "run python -m harness.cli.reference"
    assert reference.page().count("\nUsage: dojo ") >= len(every_command())


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_prints_a_script_for_the_shell(dojo_cli: Cli, shell: str) -> None:
    answer = dojo_cli("completion", shell)
    assert answer.code == 0 and "_DOJO_COMPLETE" in answer.out
    assert dojo_cli("completion", shell, "--json").data["script"].strip() == answer.out.strip()


def test_bash_accepts_the_completion_script(dojo_cli: Cli) -> None:
    subprocess.run(["bash", "-n"], input=dojo_cli("completion", "bash").out, text=True, check=True)


def test_completion_knows_commands_and_options() -> None:
    environ = {**os.environ, "_DOJO_COMPLETE": "bash_complete", "COMP_WORDS": "dojo lead", "COMP_CWORD": "1"}
    program = [sys.executable, "-m", "harness.cli.main"]
    out = subprocess.run(program, env=environ, capture_output=True, text=True).stdout
    assert out.split() == ["plain,leaderboard"]
    environ |= {"COMP_WORDS": "dojo submit --see", "COMP_CWORD": "2"}
    out = subprocess.run(program, env=environ, capture_output=True, text=True).stdout
    assert set(out.split()) == {"plain,--seeds", "plain,--seed"}


def test_version_says_what_results_depend_on(dojo_cli: Cli) -> None:
    data = dojo_cli("version", "--json").data
    assert data["dojo"] == harness.__version__
    assert data["packages"]["click"] is not None
    assert f"dojo {harness.__version__}" in dojo_cli("--version").out


def test_main_takes_the_arguments_of_the_process_by_default(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["dojo", "version", "--json"])
    assert main() == 0
    assert json.loads(capsys.readouterr().out)["ok"] is True


def test_a_package_that_is_not_installed_is_something_missing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import harness.service
    from harness.cli.main import main

    def tasks(_self: object) -> None:
        raise ModuleNotFoundError("No module named 'matplotlib'", name="matplotlib")

    monkeypatch.setattr(harness.service.Dojo, "survey_tasks", tasks)
    assert main(["tasks", "list"]) == 3
    said = capsys.readouterr().err
    assert "matplotlib is not installed" in said and "make setup" in said
