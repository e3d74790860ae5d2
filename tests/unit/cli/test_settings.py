"""Settings: which source wins, what it is called, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.cli.main import main
from harness.config import load
from harness.spec.errors import SpecError, UsageError


def origins(config: object) -> dict[str, tuple[object, str]]:
    return {row.name: (row.value, row.origin) for row in config.rows()}  # type: ignore[attr-defined]


def test_defaults_say_that_they_are_defaults(tmp_path: Path) -> None:
    config = load(environ={}, cwd=tmp_path)
    assert config.settings.home == tmp_path / "results"
    assert set(config.origins.values()) == {"default"}
    assert config.file is None


def test_a_flag_beats_the_environment_which_beats_the_file(tmp_path: Path) -> None:
    (tmp_path / "dojo.toml").write_text('sandbox = "of-file"\nexecutor = "of-file"\nbackbone = "of-file"\n')
    environ = {"DOJO_SANDBOX": "of-env", "DOJO_EXECUTOR": "of-env"}
    rows = origins(load({"sandbox": "of-flag", "parallel": None}, environ=environ, cwd=tmp_path))
    assert rows["sandbox"] == ("of-flag", "flag --sandbox")
    assert rows["executor"] == ("of-env", "environment DOJO_EXECUTOR")
    assert rows["backbone"] == ("of-file", str(tmp_path / "dojo.toml"))
    assert rows["parallel"] == (None, "default")


def test_a_path_is_relative_to_where_it_was_written(tmp_path: Path) -> None:
    below = tmp_path / "a" / "b"
    below.mkdir(parents=True)
    (tmp_path / "dojo.toml").write_text('home = "runs"\ntasks = ["mine"]\n')
    of_file = load(environ={}, cwd=below).settings
    assert of_file.home == tmp_path / "runs"
    assert of_file.tasks == (tmp_path / "mine",)
    of_env = load(environ={"DOJO_HOME": "runs", "DOJO_AGENTS": "x:/y"}, cwd=below).settings
    assert of_env.home == below / "runs"
    assert of_env.agents == (below / "x", Path("/y"))


def test_an_empty_variable_counts_as_not_set(tmp_path: Path) -> None:
    assert load(environ={"DOJO_HOME": ""}, cwd=tmp_path).origins["home"] == "default"


def test_dojo_config_names_the_file(tmp_path: Path) -> None:
    (tmp_path / "other.toml").write_text('sandbox = "x"\n')
    assert load(environ={"DOJO_CONFIG": str(tmp_path / "other.toml")}, cwd=tmp_path).settings.sandbox == "x"
    with pytest.raises(UsageError, match=r"nothing\.toml"):
        load(environ={"DOJO_CONFIG": "nothing.toml"}, cwd=tmp_path)


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        ('hmoe = "x"', "unknown setting 'hmoe'", "did you mean home?"),
        ("parallel = 0", "parallel = 0", "dojo schema settings"),
        ('profile = "huge"', "profile = 'huge'", "dojo schema settings"),
        ("home = 3", "home = 3", "dojo schema settings"),
        ("tasks = [1]", "tasks.0 = 1", "dojo schema settings"),
        ("home = ", "has no value", "write one"),
    ],
)
def test_a_bad_file_is_refused_with_the_setting_and_the_file_named(tmp_path: Path, text: str, message: str, hint: str) -> None:
    (tmp_path / "dojo.toml").write_text(text)
    with pytest.raises(SpecError) as caught:
        load(environ={}, cwd=tmp_path)
    assert message in caught.value.message
    assert str(tmp_path / "dojo.toml") in caught.value.message
    assert hint in caught.value.hint


def test_a_bad_variable_is_named_even_where_a_flag_overrides_it(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="DOJO_PARALLEL"):
        load({"parallel": 2}, environ={"DOJO_PARALLEL": "many"}, cwd=tmp_path)


def test_what_the_hint_of_a_broken_file_names_works_while_it_is_broken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "dojo.toml").write_text("parallel = 0\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DOJO_TASKS", str(tmp_path / "nowhere"))
    assert main(["config", "show"]) == 2
    command = capsys.readouterr().err.split("hint: `dojo ")[1].split("`")[0].split()
    assert main(command) == 0
    assert '"parallel"' in capsys.readouterr().out
    assert main(["schema", "agent"]) == 0
