"""docs/operate-a-cluster.md names the overlays and settings that there are, and commands that parse."""

import re
import shlex

import pytest

from harness.cli.main import main
from harness.cluster.choices import KNOWN
from harness.cluster.install import overlays
from harness.project import bundled

PAGE = (bundled("docs") / "operate-a-cluster.md").read_text(encoding="utf-8")
COMMANDS = re.findall(r"^dojo (?:cluster|images|submit) [^\[\n]*$", PAGE, re.MULTILINE)


def test_it_names_every_overlay_and_no_other() -> None:
    assert set(re.findall(r"^\| `([a-z][a-z-]+)`(?: \(default\))? \| .* \|$", PAGE, re.MULTILINE)) == set(overlays())


def test_it_names_every_setting_and_no_other() -> None:
    rows = [line.split("|")[1] for line in PAGE.splitlines() if re.match(r"\| `[a-z-]+=", line)]
    assert {name for row in rows for name in re.findall(r"`([a-z-]+)=", row)} == set(KNOWN)


def test_the_page_has_commands() -> None:
    assert len(COMMANDS) >= 4


@pytest.mark.parametrize("command", COMMANDS)
def test_its_commands_have_the_options_that_it_gives_them(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    _, *words = shlex.split(command)
    assert main([*words, "--help"]) == 0
    known = set(re.findall(r"--[a-z-]+", capsys.readouterr().out))
    assert {word.partition("=")[0] for word in words if word.startswith("--")} <= known
