"""`dojo submit --from-file`: what is wrong is said at once and with its line; every shipped file plans."""

from __future__ import annotations

import json
import os
import shutil
import struct
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.assets.agent_dir import copy_agent, load_agent, strangers_of
from harness.assets.base_models import write_manifest
from harness.spec.matrix import read_matrix
from tests.unit.cli.conftest import Answer

Cli = Callable[..., Answer]

ABLATIONS = Path(__file__).parents[3] / "agents" / "ft_agent" / "ablations"
REAL = Path(os.environ.get("DOJO_CACHE") or Path.home() / ".cache/dojo")
TASKS = ("math/aime25", "chemistry/mol_und", "table/fact_checking", "biology/err")

WRONG = """\
name = "first"
seeds = [0, 1, 1]
tasks = ["math/aime25", "math/aime52"]
base_models = ["smal", "./no-model"]
backbones = ["opnai"]
budgets = [
  { cpu = "1m" },
]

[[agents]]
name = "recip"

[[agents]]
name = "recipe"
params = { rank = 8 }
[[agents]]
name = "recipe"
[agents.params]
rank = "eight"
rnk = 9
"""


@pytest.fixture
def matrix(tmp_path: Path) -> Callable[[str], str]:
    """Write a matrix file in a folder of its own; return its name from the working directory."""

    def write(text: str) -> str:
        (tmp_path / "files").mkdir(exist_ok=True)
        (tmp_path / "files" / "m.toml").write_text(text, encoding="utf-8")
        return "files/m.toml"

    return write


def test_all_that_is_wrong_with_a_file_is_gathered_and_each_fault_has_its_line_and_remedy(dojo_cli: Cli, matrix, tmp_path):
    answer = dojo_cli("submit", "--from-file", matrix(WRONG), "--dry-run", "--json")
    assert answer.code == 2
    error = answer.json["error"]
    assert error["message"] == (
        "files/m.toml:11: no agent named 'recip'; "
        "files/m.toml:19: parameter rank='eight' is no int (give one, as the default is: rank=16); "
        "files/m.toml:20: agent recipe has no parameter 'rnk' (did you mean rank?) (and 4 more)"
    )
    assert error["hint"].startswith("did you mean recipe")
    assert not (tmp_path / "cache").exists() and not (tmp_path / "results" / "batches").exists()


@pytest.mark.parametrize(
    ("old", "new", "code", "words"),
    [
        ("seeds = 1", 'profil = "mini"', 2, "m.toml:1: profil: there is no such key; did you mean profile?"),
        ('"math/aime25"', '"math/aime52"', 2, "m.toml:2: no task named 'math/aime52'"),
        ('"math/aime25"', '"nosuch/*"', 2, "m.toml:2: no task matches 'nosuch/*'"),
        ('"smol"', '"smal"', 2, "m.toml:3: no base model named 'smal'"),
        ('"smol"', '"./no-model"', 2, "files/no-model is no model directory"),
        ('"manual"', '"opnai"', 2, "m.toml:4: no backbone named 'opnai'"),
        ('"manual"', '"openai"', 3, "m.toml:4: the key for openai"),
        ('"manual"', '"scripted:replies.toml"', 3, "files/replies.toml"),
        ("cpu =", "cqu =", 2, "m.toml:6: budget cqu=1m: there is no dimension 'cqu'"),
        ('"1m"', '"soon"', 2, "m.toml:6: budget cpu='soon'"),
        ('{ cpu = "1m" }', '{ cpu = "1m" }, { cpu = "1m" }', 2, "m.toml:5: budget cpu=1m is named twice"),
        ("seeds = 1", "seeds = [2, 2]", 2, "m.toml:1: seed 2 is named twice"),
        ('"base"', '"bass"', 2, "m.toml:10: no agent named 'bass'"),
        ('"base"', '"./mine"', 2, "m.toml:10: no agent named"),
        ('"base"', '"base"\nparams = { x = 1 }', 2, "m.toml:11: agent base has no parameter 'x'"),
        ('"base"', '"base"\n[[agents]]\nname = "base"', 2, "m.toml:9: agent base is named twice"),
        ('backbones = ["manual"]', "", 3, "agent mini_swe thinks with a language model"),
    ],
)
def test_a_fault_is_said_with_its_line_before_anything_is_fetched(
    dojo_cli: Cli, matrix, tmp_path, monkeypatch, old, new, code, words
):
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    text = """\
seeds = 1
tasks = ["math/aime25"]
base_models = ["smol"]
backbones = ["manual"]
budgets = [
  { cpu = "1m" },
]

[[agents]]
name = "base"
"""
    assert old in text
    text = text.replace(old, new)
    if not new:
        text = text.replace('"base"', '"mini_swe"')
    answer = dojo_cli("submit", "--from-file", matrix(text), "--dry-run", "--json")
    assert (answer.code, answer.json["ok"]) == (code, False), answer.out
    assert words in answer.json["error"]["message"] + answer.json["error"]["hint"], answer.out
    assert not (tmp_path / "cache").exists()


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--agent", "base"], "agents"),
        (["--agent-param", "x=1"], "agents"),
        (["--task", "math/aime25"], "tasks"),
        (["--tasks", "all"], "tasks"),
        (["--seeds", "2"], "seeds"),
        (["--seed", "0"], "seeds"),
        (["--profile", "mini"], "profile"),
        (["--budget", "wall=1m"], "budgets"),
        (["--base-model", "smol"], "base_models"),
        (["--backbone", "manual"], "backbones"),
        (["--limit", "3"], "limit"),
        (["--name", "x"], "name"),
    ],
)
def test_a_flag_that_says_what_the_file_says_is_refused_by_name(dojo_cli: Cli, matrix, flags, said):
    text = """\
name = "all"
seeds = 1
profile = "mini"
limit = 3
tasks = ["math/aime25"]
base_models = ["smol"]
backbones = ["manual"]
budgets = [{ cpu = "1m" }]
agents = [{ name = "base" }]
"""
    answer = dojo_cli("submit", "--from-file", matrix(text), *flags)
    assert answer.code == 2
    assert f"{flags[0]} does not go with --from-file files/m.toml: the file says {said}" in answer.err


@pytest.mark.parametrize("flags", [["--from", "r1"], ["--retry-failed", "b1"]])
def test_repeating_runs_and_a_file_exclude_each_other(dojo_cli: Cli, matrix, flags):
    answer = dojo_cli("submit", "--from-file", matrix("seeds = 1\n"), *flags)
    assert answer.code == 2 and "--from-file does not go with --from or --retry-failed" in answer.err


@pytest.mark.parametrize(
    ("text", "words"), [("seeds = 1\n", "no agent was named"), ('agents = [{name = "base"}]', "no task was named")]
)
def test_what_neither_file_nor_flags_say_is_asked_for(dojo_cli: Cli, matrix, text, words):
    answer = dojo_cli("submit", "--from-file", matrix(text))
    assert answer.code == 2 and words in answer.err


@pytest.fixture
def ready(dojo_cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Cli:
    """Give the command line the prepared mini data, and stand-ins for base models that are too large to be here."""
    if not all((REAL / "data" / task / "mini").is_dir() for task in TASKS) or not (REAL / "models" / "smol").is_dir():
        pytest.skip("the mini data of the ablations' tasks is not prepared")
    cache = tmp_path / "cache"
    (cache / "models").mkdir(parents=True)
    for name in ("data", "packages", "references"):
        (cache / name).symlink_to(REAL / name)
    (cache / "models" / "smol").symlink_to(REAL / "models" / "smol")
    if (REAL / "hidden.secret").is_file():  # or the data would be made anew, with another secret, in the real cache
        shutil.copy(REAL / "hidden.secret", cache / "hidden.secret")
    for name in ("qwen2.5-3b", "qwen2.5-7b"):
        folder = cache / "models" / name
        folder.mkdir()
        (folder / "config.json").write_text(json.dumps({"model_type": "qwen2"}))
        (folder / "model.safetensors").write_bytes(struct.pack("<Q", 2) + b"{}")
        write_manifest(folder, name, "none", {"stand-in": "of a test"})
    for key in ("OPENAI_API_KEY", "ANTHROPIC_API_KEY", "GEMINI_API_KEY"):
        monkeypatch.setenv(key, "none")
    return dojo_cli


@pytest.mark.parametrize(
    ("name", "variants"),
    [
        ("base-size", ["base_model=smol", "base_model=qwen2.5-3b", "base_model=qwen2.5-7b"]),
        ("data-cap", ["", "data_cap=100", "data_cap=300", "data_cap=1000"]),
        ("backbone", ["backbone=anthropic", "backbone=openai", "backbone=google"]),
        ("no-feedback", ["", "feedback=false"]),
        ("no-ladder", ["", "ladder=false"]),
        ("no-memory", ["", "memory=false"]),
        ("no-synthesis", ["", "synthesis=false"]),
        ("offline", ["planner=llm", "planner=offline"]),
        ("self-taught", ["planner=plain", "planner=self_taught"]),
    ],
)
def test_every_ablation_that_ships_plans_as_one_batch(ready: Cli, name: str, variants: list[str]) -> None:
    extra = ["--backbone", "anthropic"] if name == "offline" else []
    tasks = read_matrix(ABLATIONS / f"{name}.toml").matrix.tasks
    answer = ready("submit", "--from-file", str(ABLATIONS / f"{name}.toml"), "--profile", "mini", *extra, "--dry-run", "--json")
    assert answer.code == 0, answer.err + answer.out
    runs = answer.data["runs"]
    assert [run["variant"] for run in runs if run["task"] == TASKS[0] and run["seed"] == 0] == variants
    assert len(runs) == len(variants) * len(tasks) * 4 and {run["agent"] for run in runs} == {"ft_agent"}
    assert answer.data["name"] == f"ablation-{name}"
    assert answer.data["max_dollars"] == {"backbone": 2.0 * len(runs), "offline": None}.get(name, 0.0)
    assert answer.data["total"]["wall"] == answer.data["max_wall_s"] > 0


def test_the_matrix_is_shown_with_its_size_and_price(ready: Cli) -> None:
    answer = ready("submit", "--from-file", str(ABLATIONS / "backbone.toml"), "--dry-run")
    assert answer.code == 0, answer.err
    assert "ft_agent backbone=openai" in answer.out and "0–3" in answer.out
    assert "48 runs, at most" in answer.out and "the backbone costs at most $96.00 (each run at most $2.00;" in answer.out


def test_no_ablation_is_forgotten_here() -> None:
    shipped = sorted(path.stem for path in ABLATIONS.glob("*.toml"))
    assert shipped == [
        "backbone", "base-size", "data-cap", "no-feedback", "no-ladder", "no-memory", "no-synthesis", "offline", "self-taught",
    ]  # fmt: skip
    assert all(read_matrix(path).matrix.agents for path in ABLATIONS.glob("*.toml"))


def test_experiments_with_an_agent_are_no_part_of_it(tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    (folder / "ablations").mkdir(parents=True)
    (folder / "deep" / "ablations").mkdir(parents=True)
    (folder / "agent.toml").write_text('name = "mine"\ncommand = ["true"]\n')
    (folder / "deep" / "ablations" / "own.py").write_text("")
    before = load_agent(folder).digest
    (folder / "ablations" / "more.toml").write_text("seeds = 1")
    (folder / "ablations" / "link").symlink_to("more.toml")
    agent = load_agent(folder)
    assert agent.digest == before and strangers_of(agent) == []
    copy_agent(agent, tmp_path / "copy")
    assert sorted(path.name for path in (tmp_path / "copy").rglob("*")) == ["ablations", "agent.toml", "deep", "own.py"]
    assert not (tmp_path / "copy" / "ablations").exists()
