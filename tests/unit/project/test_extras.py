"""The core has neither torch nor Docker's SDK: what a command lacks names the extra that brings it, wherever it is missed."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import harness
from harness.extras import _EXTRA_OF, missing, require
from harness.spec.errors import MissingError

REPO = Path(__file__).resolve().parents[3]
PROJECT = tomllib.loads((REPO / "pyproject.toml").read_text(encoding="utf-8"))["project"]
EXTRAS: dict[str, list[str]] = PROJECT["optional-dependencies"]
# distribution names that differ from what is imported
DISTRIBUTION = {
    "lm_eval": "lm-eval",
    "math_verify": "math-verify",
    "rouge_score": "rouge-score",
    "huggingface_hub": "huggingface-hub",
}

# Refuses packages as a machine without them would, then does what its last argument says.
WITHOUT = """
import importlib.abc, importlib.machinery, sys
gone = set(sys.argv[1].split(","))
find = importlib.machinery.PathFinder.find_spec
importlib.machinery.PathFinder.find_spec = staticmethod(
    lambda name, *rest: None if name.partition(".")[0] in gone else find(name, *rest)
)
from harness.cli.main import main
sys.exit(main(sys.argv[2:]))
"""


def names(requirements: list[str]) -> set[str]:
    return {re.split(r"[\[<>=]", line)[0] for line in requirements}


def without(gone: str, *arguments: str, home: Path) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "DOJO_HOME": str(home / "results"), "DOJO_CACHE": str(home / "cache"), "COLUMNS": "200"}
    return subprocess.run(
        [sys.executable, "-c", WITHOUT, gone, *arguments], env=environment, capture_output=True, text=True, timeout=120
    )


def test_the_core_needs_neither_torch_nor_a_client_of_docker_or_a_cluster() -> None:
    assert names(PROJECT["dependencies"]) & {"docker", "torch", "kubernetes", "matplotlib", "transformers"} == set()
    assert {"docker", "k8s", "train", "grade", "serve", "postgres", "analysis", "ml", "dev"} <= set(EXTRAS)


def test_published_requirements_are_ranges_and_every_one_is_pinned_for_this_project() -> None:
    lines = [*PROJECT["dependencies"], *(line for lines in EXTRAS.values() for line in lines)]
    assert [line for line in lines if "==" in line] == []
    pinned = {line.split("==")[0].lower().replace("_", "-") for line in (REPO / "constraints.txt").read_text().splitlines()}
    installed = names(lines) - names(EXTRAS["serve"]) - {"dojo-bench"}
    assert {name.lower().replace("_", "-") for name in installed} - pinned == set()


def test_every_package_that_may_be_missed_is_in_the_extra_that_is_named() -> None:
    inside = {extra: names(lines) for extra, lines in EXTRAS.items()}
    inside["ml"] |= inside["train"] | inside["grade"]
    inside["docker"] |= {"requests"}  # comes with it
    inside["postgres"] |= {"psycopg2"}  # what SQLAlchemy takes where an address names no driver
    assert [p for p, extra in _EXTRA_OF.items() if DISTRIBUTION.get(p, p) not in inside[extra]] == []


def test_a_missing_package_names_its_extra() -> None:
    error = missing("docker.errors")
    assert (error.message, error.exit_code) == ("the package docker is not installed", 3)
    assert error.hint.startswith("pip install 'dojo-bench[docker]'")
    assert missing("somethingelse").hint.startswith("pip install 'somethingelse'")
    require("json")
    with pytest.raises(MissingError, match="no_such_package"):
        require("json", "no_such_package")


@pytest.mark.parametrize(
    ("gone", "extra", "arguments"),
    [
        ("docker", "docker", ["images", "build", "base"]),
        ("docker", "docker", ["doctor", "docker"]),
        ("docker", "docker", ["submit", "--agent", "base", "--task", "math/aime25", "--profile", "mini", "--sandbox", "docker"]),
        ("torch,lm_eval", "ml", ["submit", "--agent", "base", "--task", "math/aime25", "--profile", "mini"]),
        ("torch,lm_eval", "ml", ["doctor", "host"]),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else value,
)
def test_a_command_that_needs_an_extra_says_which(gone: str, extra: str, arguments: list[str], tmp_path: Path) -> None:
    done = without(gone, *arguments, home=tmp_path)
    assert done.returncode == 3, done.stdout + done.stderr
    assert f"dojo-bench[{extra}]" in done.stdout + done.stderr


def test_the_public_errors_and_the_facade_come_from_the_package_itself_on_first_use() -> None:
    program = "import sys, harness; before = set(sys.modules); harness.MissingError; print(len(set(sys.modules) - before) > 0)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "True"
    assert all(getattr(harness, name) is not None for name in harness.__all__)
    assert issubclass(harness.MissingError, harness.DojoError)
    with pytest.raises(AttributeError):
        harness.NoSuchError  # noqa: B018
    assert (Path(harness.__file__).parent / "py.typed").is_file()
