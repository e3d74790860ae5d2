"""Matrix files: what may stand in them, on which line what is wrong stands, and where their paths are told from."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.spec.errors import SpecError
from harness.spec.matrix import Matrix, read_matrix
from harness.spec.schemas import schemas
from harness.spec.toml_lines import line_of

TEXT = """\
# seeds = 1, agents = 2
name = "a [[agents]] in a \\" string"
seeds = [0, 3]
tasks = [
  "math/aime25",  # the first
  "table/*",
]
budgets = [{ cpu = "4m", wall = "40m" },
           { cpu = "8m", wall = "40m" }]
base_models = ["smol", "./model"]

[[agents]]
name = "ft_agent"

[[agents]]
name = "ft_agent"
label = "blind"
params = { ladder = true, feedback = false }

[[agents]]
name = "./mine"
[agents.params]
"feedback" = '''
ladder = 3'''
ladder = true
"""


def written(folder: Path, text: str) -> Path:
    path = folder / "m.toml"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("place", "line"),
    [
        (("seeds",), 3),
        (("tasks", 0), 5),
        (("tasks", 1), 6),
        (("budgets", 0, "cpu"), 8),
        (("budgets", 1), 9),
        (("budgets", 1, "wall"), 9),
        (("base_models", 1), 10),
        (("agents", 0, "name"), 13),
        (("agents", 1), 15),
        (("agents", 1, "label"), 17),
        (("agents", 1, "params", "feedback"), 18),
        (("agents", 1, "params", "gone"), 18),
        (("agents", 2, "params", "feedback"), 23),
        (("agents", 2, "params", "ladder"), 25),
        (("gone",), 1),
    ],
)
def test_a_place_is_found_on_its_line(place, line):
    assert line_of(TEXT, place) == line


def test_a_file_says_what_one_batch_runs_and_its_paths_are_told_from_its_folder(tmp_path):
    read = read_matrix(written(tmp_path, TEXT + 'x = "lessons.jsonl"\n'))
    matrix = read.matrix
    assert matrix.seeds == (0, 3) and matrix.tasks == ("math/aime25", "table/*")
    assert matrix.base_models == ("smol", str(tmp_path / "model"))
    assert [entry.name for entry in matrix.agents] == ["ft_agent", "ft_agent", str(tmp_path / "mine")]
    assert matrix.agents[1].params == {"ladder": True, "feedback": False}
    assert read.said == {"name", "seeds", "tasks", "budgets", "base_models", "agents"}
    assert read.where("agents", 1, "label") == f"{tmp_path / 'm.toml'}:17"
    assert read.where("backbones", 0) == ""


def test_relative_files_of_replies_and_tasks_are_told_from_the_files_folder_too():
    matrix = Matrix(backbones=("scripted:good.toml", "openai"), tasks=("../t/one", "a/b")).based_at(Path("/x/y"))
    assert matrix.backbones == ("scripted:/x/y/good.toml", "openai")
    assert matrix.tasks == ("/x/t/one", "a/b")


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ('name = "x"\nprofil = "mini"\n', 2, "profil: there is no such key; did you mean profile?"),
        ('[[agents]]\nname = "a"\nparam = {}\n', 3, "agents.0.param: there is no such key; did you mean params?"),
        ("seeds = 2\nprofile = 'tiny'\n", 2, "profile = 'tiny'"),
        ("seeds = 0\n", 1, "at least one seed"),
        ("\nseeds = []\n", 2, "as 4, or which, as [0, 1, 7]"),
        ("seeds = true\n", 1, "how many seeds"),
        ("seeds = [0,\n -1]\n", 2, "seeds.1 = -1"),
        ("limit = 0\n", 1, "limit = 0"),
        ('[[agents]]\nlabel = "x"\n', 1, "agents.0.name: is missing"),
        ('[[agents]]\nname = "a"\nlabel = "x@y"\n', 3, "agents.0.label = 'x@y'"),
        ('[[agents]]\nname = "a"\nparams = { x = [1] }\n', 3, "a value is a text, a number, true or false"),
        ("agents = 3\n", 1, "agents = 3"),
    ],
)
def test_what_is_wrong_in_a_file_is_said_with_its_line(tmp_path, text, line, words):
    with pytest.raises(SpecError) as refused:
        read_matrix(written(tmp_path, text))
    assert refused.value.message.startswith(f"{tmp_path / 'm.toml'}:{line}: ") and words in refused.value.message
    assert "dojo schema matrix" in refused.value.hint


@pytest.mark.parametrize("text", ["seeds = \n", "a = 'x"])
def test_what_is_no_toml_is_said(tmp_path, text):
    with pytest.raises(SpecError, match=r"m\.toml: not valid TOML"):
        read_matrix(written(tmp_path, text))


def test_a_file_that_is_not_there_is_said(tmp_path):
    with pytest.raises(SpecError, match=r"gone\.toml: cannot be read: No such file"):
        read_matrix(tmp_path / "gone.toml")


def test_the_schema_says_that_seeds_are_a_number_or_a_list():
    schema = schemas()["matrix"]
    assert {kind["type"] for kind in schema["properties"]["seeds"]["anyOf"]} == {"integer", "array"}
    assert schema["additionalProperties"] is False
