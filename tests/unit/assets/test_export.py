from __future__ import annotations

import json
import re
import struct
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from harness.assets.base_models import find_base_model
from harness.assets.export import export_harbor, with_limits
from harness.assets.harbor_files import harbor_files
from harness.assets.prepare import prepare_task
from harness.assets.task_dir import Task, find_task, list_tasks
from harness.spec.errors import UsageError

TASKS = Path(__file__).resolve().parents[3] / "tasks"


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("export")
    model = folder / "model"
    model.mkdir()
    (model / "config.json").write_text("{}")
    header = json.dumps({"w": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}).encode()
    (model / "model.safetensors").write_bytes(struct.pack("<Q", len(header)) + header + b"\0" * 4)
    prepared = prepare_task(find_task("math/aime25", [TASKS]), "mini", folder / "cache")
    return export_harbor(prepared, find_base_model(str(model), folder), folder / "harbor-task")


def test_the_agent_s_side_holds_no_hidden_item_and_no_program_that_makes_them(exported: Path) -> None:
    hidden = [json.loads(line) for line in (exported / "tests" / "hidden.jsonl").read_text().splitlines()]
    agent = "\n".join(p.read_text(errors="replace") for p in (exported / "environment").rglob("*") if p.is_file())
    asked = {item["id"]: (item["prompt"], item["row"]["question"]) for item in hidden}
    # whole: "4 pens cost" ends a question about "14 pens cost" too
    assert not [id for id, texts in asked.items() if any(re.search(rf"(?<!\w){re.escape(text)}(?!\w)", agent) for text in texts)]
    assert not list(exported.rglob("prepare.py")) and not list(exported.rglob("problems.py"))


@pytest.mark.parametrize("task", list_tasks(), ids=lambda t: t.id)
def test_harbor_is_told_the_limits_of_the_profile_that_is_exported(task: Task) -> None:
    text = (task.path / "task.toml").read_text()
    before = tomllib.loads(text)
    for profile in task.dojo.profiles.values():
        found = tomllib.loads(with_limits(text, profile))
        assert found["agent"] == before["agent"] | {"timeout_sec": profile.budget.at_full_speed(profile.limits.cpus) + 120}
        machine = {"cpus": profile.limits.cpus, "memory_mb": profile.limits.memory_mb}
        machine |= {"gpus": profile.limits.gpus} if profile.limits.gpus else {}
        assert found["verifier"]["environment"] == before["verifier"]["environment"] | machine
        assert found["environment"] == before["environment"] | machine | {"storage_mb": profile.limits.disk_mb + 4096}
        assert found["metadata"] == before["metadata"] and found["task"] == before["task"]


def test_limits_are_added_to_a_task_that_names_none() -> None:
    profile = list_tasks()[0].dojo.profiles["mini"]
    found = tomllib.loads(with_limits('[task]\nname = "a/b"', profile))
    assert found["task"] == {"name": "a/b"} and found["environment"]["cpus"] == 1 and found["agent"] == {"timeout_sec": 600.0}


def test_every_copied_file_of_the_dockerfiles_is_there(exported: Path) -> None:
    for side, names in {
        "environment": ("data", "model"),
        "tests": ("harness", "model", "domain/task/tests/grader.py", "domain/task/tests/task.yaml", "generation.json"),
    }.items():
        for name in names:
            assert (exported / side / name).exists()
    assert "{{" not in (exported / "instruction.md").read_text()
    assert (exported / "tests" / "test.sh").stat().st_mode & 0o111


def test_the_verifier_s_copy_of_the_grader_runs_alone(exported: Path) -> None:
    task = exported / "tests" / "domain" / "task"
    code = f"""
from pathlib import Path
import harness
from harness.taskkit.scoring.contract import load_grader
print(harness.__file__)
print(load_grader(Path({str(task)!r})).score({{"question": "?", "answer": "7"}}, "so \\\\boxed{{7}}", "aime25").score)
"""
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        cwd=exported / "tests",
        env={"PYTHONPATH": str(exported / "tests")},
    )
    where, score = done.stdout.split()
    assert where == str(exported / "tests" / "harness" / "__init__.py") and score == "1.0", done.stderr


def test_the_oracle_finds_its_task_and_every_source_on_the_agent_s_side(exported: Path) -> None:
    code = "import json, dojo_tool, reading.rows; print(json.dumps([dojo_tool.Client().task(), dojo_tool.__file__]))"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=exported / "solution", env={}, check=False
    )
    assert done.returncode == 0, done.stderr
    task, where = json.loads(done.stdout)
    assert where == str(exported / "solution" / "dojo_tool.py") and task["examples"] and task["max_train_samples"] == 2000
    sources = [source["path"] for source in task["data"]["sources"]]
    assert sources and all((exported / "environment" / path.lstrip("/")).is_file() for path in sources)
    assert json.loads((exported / "solution" / "params.json").read_text())["learning_rate"] > 0
    assert "/workspace/submission" in (exported / "instruction.md").read_text().partition("## Under Harbor")[2]


@pytest.fixture(scope="module")
def usage() -> str:
    done = subprocess.run([sys.executable, "-m", "harness.grading.worker", "--help"], capture_output=True, text=True, check=True)
    return done.stdout.partition("\n\n")[0]


def test_the_verifier_calls_the_worker_with_the_options_it_has(usage: str) -> None:
    """A missing one would only show in a container, as a trial without a reward."""
    call = harbor_files("accuracy")["tests/test.sh"].partition("harness.grading.worker")[2].partition("\npython -")[0]
    given = {f"--{name}" for name in re.findall(r" --([a-z-]+) ", call)}
    optional = set(re.findall(r"\[(?:-h, )?(--[a-z-]+)", usage)) | {"--help"}
    known = set(re.findall(r"--[a-z-]+", usage))
    assert known - optional <= given <= known


@pytest.mark.parametrize("script", ["tests/test.sh", "solution/solve.sh"])
def test_harbor_s_scripts_parse_whatever_the_metric_is_called(script: str, tmp_path: Path) -> None:
    (tmp_path / "script").write_text(harbor_files('F1\'s "mean" $x')[script])
    done = subprocess.run(["bash", "-n", tmp_path / "script"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_the_dockerfiles_stand_on_images_that_dojo_makes() -> None:
    lock = json.loads((TASKS.parent / "images" / "lock.json").read_text())
    for name in ("environment/Dockerfile", "tests/Dockerfile"):
        base = re.search(r"^ARG BASE=(\S+)$", harbor_files("accuracy")[name], re.MULTILINE)
        assert base and base[1] in lock, name


def test_nothing_is_overwritten(exported: Path) -> None:
    prepared = prepare_task(find_task("math/aime25", [TASKS]), "mini", exported.parent / "cache")
    with pytest.raises(UsageError, match="is there already"):
        export_harbor(prepared, find_base_model(str(exported.parent / "model"), exported), exported)
