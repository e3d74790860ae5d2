"""A file written with the wrong editor, keyboard or habit: the true cause is named, and the step that is named mends it."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harness.config import load
from harness.gateway.upstreams.script import read_script
from harness.spec.agent import load_agent_config
from harness.spec.errors import DojoError, SpecError
from harness.spec.matrix import read_matrix
from harness.spec.task import load_task_config
from harness.spec.toml_text import read_toml_text

PLAIN = 'name = "ä"\ncommand = ["sh", "/agent/run.sh"]\n'
READ = {"name": "ä", "command": ["sh", "/agent/run.sh"]}


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"\xef\xbb\xbf" + PLAIN.encode(), id="a byte order mark, as Windows' editors set"),
        pytest.param(PLAIN.replace("\n", "\r\n").encode(), id="line ends of Windows"),
        pytest.param(PLAIN.replace("\n", "\r").encode(), id="line ends of old Macs"),
        pytest.param(b"\xef\xbb\xbf" + PLAIN.replace("\n", "\r\n").encode(), id="a mark and line ends of Windows"),
        pytest.param(PLAIN.replace(" = ", "\t=\t").encode(), id="tabs"),
        pytest.param(PLAIN.rstrip().encode(), id="no line end at the end"),
        pytest.param(PLAIN.encode() + b"\n\n# the end\n", id="empty lines and a comment at the end"),
    ],
)
def test_what_only_looks_different_is_read(data: bytes, tmp_path: Path) -> None:
    file = tmp_path / "a.toml"
    file.write_bytes(data)
    assert read_toml_text(file)[1] == READ


@pytest.mark.parametrize(
    ("data", "said"),
    [
        pytest.param(PLAIN.encode("utf-16"), "is in UTF-16, and TOML is UTF-8", id="UTF-16, as PowerShell writes"),
        pytest.param(PLAIN.encode("utf-16-le"), "is in UTF-16LE, and TOML is UTF-8", id="UTF-16 without a mark"),
        pytest.param(PLAIN.encode("utf-16-be"), "is in UTF-16BE, and TOML is UTF-8", id="UTF-16 of the other order"),
        pytest.param(PLAIN.encode("utf-32"), "is in UTF-32, and TOML is UTF-8", id="UTF-32"),
        pytest.param(PLAIN.encode("latin-1"), "line 1 holds the byte 0xe4, which is no UTF-8", id="Latin-1"),
        pytest.param(PLAIN.replace("run", "r\0un").encode(), "line 2 holds a NUL byte", id="a NUL"),
        pytest.param(PLAIN.encode() + b"\0" * 600, "line 3 holds a NUL byte", id="NULs at the end, after a crash of the machine"),
    ],
)
def test_what_is_no_text_is_mended_by_the_command_that_the_hint_names(data: bytes, said: str, tmp_path: Path) -> None:
    file = tmp_path / "with a blank.toml"
    file.write_bytes(data)
    with pytest.raises(SpecError) as caught:
        read_toml_text(file)
    assert said in caught.value.message and str(file) in caught.value.message
    command = caught.value.hint.split("`")[1]
    subprocess.run(["sh", "-c", command], check=True, timeout=20)
    assert read_toml_text(file)[1] == READ


# Text, what is said of it, what is to be done, and the text after that.
BROKEN = {
    "a key twice, at the end": (
        "a = 1\nb = 2\na = 3",
        "line 3: a stands there a second time, first on line 1",
        "keep one",
        "b = 2\na = 3",
    ),
    "a key twice, then more": (
        "a = 1\na = 3\nb = 2\n",
        "line 2: a stands there a second time, first on line 1",
        "keep one",
        "a = 1\nb = 2",
    ),
    "a table twice": (
        "[x]\na = 1\n[y]\n[x]\nb = 1\n",
        "line 4: [x] stands there a second time, first on line 1",
        "keep one",
        "[x]\na = 1\nb = 1",
    ),
    "a table after its dotted key": ("x.a = 1\n[x]\n", "line 2: [x] stands there a second time", "out of line 2", "x.a = 1"),
    "a key twice in an inline table": ("x = {a = 1, a = 2}", "line 1: a stands twice in one table", "keep one", "x = {a = 2}"),
    "curly quotes": (
        "a = 1\nb = “x”",
        "line 2 holds “ (U+201C, left double quotation mark)",
        'write " in its place',
        'a = 1\nb = "x"',
    ),
    "curly single quotes": ("b = ‘x’", "holds ‘ (U+2018", "write ' in its place", "b = 'x'"),
    "a blank that does not break": ("a\u00a0= 1", "line 1 holds (U+00A0, no-break space)", "a plain space", "a = 1"),
    "a blank without width": ("a = \u200b1", "line 1 holds (U+200B, zero width space)", "take it out", "a = 1"),
    "an equals sign of full width": (
        "a ＝ 1",
        "line 1 holds ＝ (U+FF1D, fullwidth equals sign)",
        "take it out, or write",
        "a = 1",
    ),
    "a text without quotes": (
        "a = 1\nb = ft_agent",
        "line 2, column 5: 'ft_agent' is a text without quotes",
        'write "ft_agent"',
        'a = 1\nb = "ft_agent"',
    ),
    "a path without quotes": ("b = ./mine", "'./mine' is a text without quotes", 'write "./mine"', 'b = "./mine"'),
    "Python's True": ("b = True", "'True' is no value", "write true, in small letters", "b = true"),
    "a colon": ("b: 1", "has a colon where TOML has an equals sign", "write key = value", "b = 1"),
    "no value": ("a = 1\nb =\n", "line 2: 'b =' has no value", "write one behind", "a = 1\nb = 2"),
    "no value at the end": ("a = 1\nb =", "line 2: 'b =' has no value", 'an empty text is ""', 'a = 1\nb = ""'),
    "a list that does not end": (
        "a = 1\n# c\nb = [1,\n2\n",
        "what begins on line 3 ('b = [1,') is not closed",
        "close it",
        "a = 1\nb = [1,\n2]",
    ),
    "a list that does not end before a key": (
        "b = [1, 2\nc = 3\n",
        "what begins on line 1 ('b = [1, 2') is not closed",
        "close it",
        "b = [1, 2]\nc = 3",
    ),
    "a list without a comma": (
        'b = [\n"x"\n"y"\n]',
        "what begins on line 1 ('b = [') is not closed",
        "or mend line 3",
        'b = [\n"x",\n"y"\n]',
    ),
    "a long text that does not end": (
        'a = 1\nb = """x\ny',
        'what begins on line 2 (\'b = """x\') is not closed',
        "close it",
        'a = 1\nb = """x\ny"""',
    ),
    "a text that does not end": (
        'b = "x\nc = 1',
        "line 1, column 7: a text that begins there does not end",
        "close its quotes",
        'b = "x"\nc = 1',
    ),
    "a table over several lines": ("a = 1\nb = {\n  c = 1\n}", "'b = {'", "write it on one line", "a = 1\nb = { c = 1 }"),
    "a table over several lines with a comma": (
        "b = { c = 1,\n d = 2 }",
        "'b = { c = 1,'",
        "write it on one line",
        "b = { c = 1, d = 2 }",
    ),
    "a comma after the last entry": (
        "b = { c = 1, }",
        "something else than keys and values",
        "no comma after the last entry",
        "b = { c = 1 }",
    ),
    "a backslash": ('b = "C:\\new\\work"', "unescaped '\\'", "'…' takes it as it is", "b = 'C:\\new\\work'"),
    "two statements on a line": (
        "a = 1 b = 2",
        "something stands behind a whole statement: 'b = 2'",
        "a line of its own",
        "a = 1\nb = 2",
    ),
    "a leading zero": ("a = 01", "something stands behind a whole statement: '1'", "take it out", "a = 0"),
    "a header that does not end": ("[x\na = 1", "line 1, column 3: expected ']'", "mend line 1", "[x]\na = 1"),
    "a line that is none": ("a = 1\n= 2", "line 2, column 1: invalid statement: '= 2'", "mend line 2", "a = 1"),
    "lists in lists without end": ("a = " + "[" * 9000, "nested too deep", "no file of dojo's", "a = []"),
    "a number without end": ("a = " + "9" * 5000, "Exceeds the limit", "a text in quotes", 'a = "9"'),
}


@pytest.mark.parametrize(("text", "said", "hint", "mended"), BROKEN.values(), ids=BROKEN)
def test_what_is_no_toml_is_named_by_its_line_and_cause_and_mended_as_the_hint_says(
    text: str, said: str, hint: str, mended: str, tmp_path: Path
) -> None:
    file = tmp_path / "a.toml"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(SpecError) as caught:
        read_toml_text(file)
    assert said in caught.value.message and str(file) in caught.value.message
    assert hint in caught.value.hint
    file.write_text(mended, encoding="utf-8")
    assert read_toml_text(file)[1]


def read_settings(path: Path) -> None:
    """Read dojo.toml; a backbone that is broken there is told when it is named."""
    for broken in load(environ={}, cwd=path.parent).broken.values():
        raise broken.error


READERS: dict[str, Callable[[Path], Any]] = {
    "agent.toml": load_agent_config,
    "task.toml": load_task_config,
    "batch.toml": read_matrix,
    "dojo.toml": read_settings,
    "replies.toml": read_script,
}


@pytest.mark.parametrize("name", READERS)
@pytest.mark.parametrize(
    ("data", "said"),
    [
        (PLAIN.encode("utf-16"), "is in UTF-16"),
        (b'a = "\xff"', "which is no UTF-8"),
        (b"a = 1\na = 2", "line 2: a stands there a second time"),
        (b"a = 1\0", "a NUL byte"),
        (b"a = [", "is not closed"),
    ],
)
def test_every_file_is_read_by_the_same_code(name: str, data: bytes, said: str, tmp_path: Path) -> None:
    file = tmp_path / name
    file.write_bytes(data)
    with pytest.raises(SpecError) as caught:
        READERS[name](file)
    assert said in caught.value.message and str(file) in caught.value.message and caught.value.hint


def test_a_folder_a_pipe_and_a_file_that_is_not_there_are_told_apart(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "task.toml")
    for read, name, said in (
        (read_matrix, "folder", "is a folder"),
        (read_matrix, "none.toml", "No such file"),
        (load_task_config, "task.toml", "is no plain file"),
    ):
        with pytest.raises(SpecError) as caught:
            read(tmp_path / name)  # type: ignore[operator]
        assert said in caught.value.message and caught.value.hint


AGENT = 'name = "a"\ncommand = ["sh"]\n'
TASK = """
[metadata.dojo]
title = "T"
summary = "s"
answer_format = "a"
metric = {name = "accuracy", description = "d"}
subsets = [{name = "all", metric = "accuracy"}]
[metadata.dojo.profiles.mini]
base_model = "smol"
budget = {wall = "5m"}
"""
X = '[backbones.x]\nupstream = "openai"\nmodel = "m"\n'

# File, text, what is said of it, and the text after doing what is said.
WRONG = [
    ("agent.toml", 'name = "a"\ncommand = "sh run.sh"', "command = 'sh run.sh': write a list", AGENT),
    ("agent.toml", 'name = "a"\ncommand = []', "command = []: write at least one", AGENT),
    ("agent.toml", 'name = "a"\ncommand = [1]', "command.0 = 1: write a text in quotes", AGENT),
    ("agent.toml", 'name = "a"', "command: is missing", AGENT),
    ("agent.toml", 'name = "My Agent"\ncommand = ["sh"]', "a name has small letters, digits and underscores", AGENT),
    ("agent.toml", AGENT + "version = 1.0", "version = 1.0: write a text in quotes", AGENT + 'version = "1.0"'),
    ("agent.toml", AGENT + "params = 3", "params = 3: write a table", AGENT + "params = { x = 3 }"),
    (
        "agent.toml",
        AGENT + "[params]\nx = [1]",
        "params.x = [1]: write a text, a number, true or false",
        AGENT + "[params]\nx = 1",
    ),
    ("agent.toml", AGENT + "[env]\nA = 1", "env.A = 1: write a text in quotes", AGENT + '[env]\nA = "1"'),
    ("agent.toml", AGENT + 'placement = "here"', "should be 'task' or 'own'", AGENT + 'placement = "own"'),
    ("task.toml", TASK.replace("mini", "tiny"), "profiles.tiny = 'tiny': the key should be 'full', 'mini' or 'strict'", TASK),
    ("task.toml", TASK.replace('"5m"', '"5 minuts"'), "'5 minuts' is no duration; write for example 12h, 90m or 300s", TASK),
    ("task.toml", TASK.replace('{wall = "5m"}', '"5m"'), "mini.budget = '5m': write a table", TASK),
    ("task.toml", TASK.replace('[{name = "all", metric = "accuracy"}]', '{name = "all"}'), "[[subsets]] with two brackets", TASK),
    ("task.toml", "[task]\nname = 'x'", "has no [metadata.dojo]: a task of Harbor's", "[task]\nname = 'x'\n" + TASK),
    ("batch.toml", 'tasks = "all"', "tasks = 'all': write a list", 'tasks = ["all"]'),
    ("batch.toml", '[agents]\nname = "a"', "[[agents]] with two brackets", '[[agents]]\nname = "a"'),
    ("batch.toml", 'agents = ["a"]', "agents.0 = 'a': write a table", 'agents = [{ name = "a" }]'),
    ("batch.toml", 'budgets = ["2h"]', "budgets.0 = '2h': write a table", 'budgets = [{ wall = "2h" }]'),
    ("dojo.toml", "home = 3", "home = 3: write a path in quotes", 'home = "3"'),
    ("dojo.toml", 'parallel = "two"', "parallel = 'two': Input should be a valid integer", "parallel = 2"),
    ("dojo.toml", "backbones = 3", "backbones = 3: write a table", X),
    ("dojo.toml", X.replace("backbones", "backbone"), "[backbone]: `backbone` is the name of the one", X),
    ("dojo.toml", X.replace("openai", "opnai"), "backbones.x.upstream = 'opnai': Input should be 'openai', ", X),
    ("dojo.toml", X + 'formats = "chat"', "backbones.x.formats = 'chat': write a list", X + 'formats = ["chat"]'),
    ("dojo.toml", X + 'prices = {input = 1, output = "x"}', "prices.output = 'x': ", X + "prices = {input = 1, output = 2}"),
    ("replies.toml", "[replies]\ntext = 'x'", "[[replies]] with two brackets", "[[replies]]\ntext = 'x'"),
]


@pytest.mark.parametrize(("name", "text", "said", "mended"), WRONG)
def test_a_value_of_the_wrong_kind_is_told_in_the_words_of_the_file(
    name: str, text: str, said: str, mended: str, tmp_path: Path
) -> None:
    file = tmp_path / name
    file.write_text(text, encoding="utf-8")
    with pytest.raises(DojoError) as caught:
        READERS[name](file)
    assert said in caught.value.message and str(file) in caught.value.message and caught.value.exit_code == 2
    file.write_text(mended, encoding="utf-8")
    READERS[name](file)
