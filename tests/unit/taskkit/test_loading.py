"""A task's own code: relative imports work in any folder, versions never mix, and nothing out of reach is imported."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from harness.spec.errors import SpecError
from harness.taskkit.scoring.contract import load_grader
from harness.taskkit.scoring.loading import load_task_module

GRADER = """
from ...shared.words import RIGHT

SUBSET_METRICS = {"all": "accuracy"}
def subset_of(row): return "all"
def score(row, response, subset):
    from ...shared.late import found
    return {"parsed": True, "value": response, "score": float(found(response) == RIGHT), "metrics": {}}
def constant_answers(items): return [RIGHT]
def process_results(doc, results): return {"score": 1.0, "parsed": 1.0}
"""


@pytest.fixture
def task(tmp_path: Path) -> Path:
    files = {
        "words.v2/spell/tests/grader.py": GRADER,
        "words.v2/spell/prepare.py": "from ..shared.words import RIGHT\nfrom .tests import grader\nfrom .near import NEAR\n",
        "words.v2/spell/near.py": "NEAR = 1\n",
        "words.v2/other/prepare.py": "",
        "words.v2/shared/words.py": "RIGHT = 'one'\n",
        "words.v2/shared/late.py": "from .words import RIGHT\ndef found(text): return text\n",
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path / "words.v2" / "spell"


def right(task: Path, response: str) -> bool:
    return load_grader(task).score({}, response, "all").score == 1.0


def test_a_grader_uses_its_domain_s_code_at_once_and_later(task: Path) -> None:
    assert right(task, "one") and not right(task, "two")


def test_data_preparation_reaches_its_neighbours_its_grader_and_the_domain(task: Path) -> None:
    module = load_task_module(task, "prepare")
    assert (module.RIGHT, module.NEAR) == ("one", 1) and module.grader.SUBSET_METRICS == {"all": "accuracy"}


def test_two_versions_of_shared_code_of_one_length_and_second_never_mix(task: Path) -> None:
    before = load_grader(task)
    (task.parent / "shared" / "words.py").write_text("RIGHT = 'two'\n")
    assert right(task, "two") and not right(task, "one")
    assert before.score({}, "one", "all").score == 1.0


def test_the_same_code_in_the_same_place_is_loaded_once(task: Path) -> None:
    assert load_grader(task).module is load_grader(task).module


def test_a_domain_without_shared_code_works(task: Path) -> None:
    for file in (task.parent / "shared").iterdir():
        file.unlink()
    (task.parent / "shared").rmdir()
    (task / "prepare.py").write_text("from .near import NEAR\n")
    assert load_task_module(task, "prepare").NEAR == 1


@pytest.mark.parametrize("line", ["from ..prepare import RIGHT", "from ...other import prepare", "from ..near import NEAR"])
def test_a_grader_cannot_reach_what_its_sandbox_does_not_have(task: Path, line: str) -> None:
    grader = task / "tests" / "grader.py"
    grader.write_text(f"{line}\n{GRADER}")
    with pytest.raises(SpecError, match=r"out of reach: this code may import from its task's tests/ and shared/"):
        load_grader(task)


def test_no_task_reaches_into_another(task: Path) -> None:
    (task / "prepare.py").write_text("from ..other import prepare\n")
    with pytest.raises(ModuleNotFoundError, match="other is out of reach"):
        load_task_module(task, "prepare")


def test_a_missing_module_is_named_with_its_path(task: Path) -> None:
    (task / "prepare.py").write_text("from ..shared.nothing import X\n")
    with pytest.raises(ModuleNotFoundError, match=r"words\.v2/shared/nothing\.py"):
        load_task_module(task, "prepare")


def test_what_did_not_load_is_loaded_whole_once_it_can_be(task: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (task / "prepare.py").write_text("import os\nfrom .near import NEAR\nVALUE = os.environ['OF_THIS_TEST']\n")
    with pytest.raises(KeyError):
        load_task_module(task, "prepare")
    monkeypatch.setenv("OF_THIS_TEST", "there")
    assert load_task_module(task, "prepare").VALUE == "there"


def test_loading_leaves_nothing_in_the_task_s_folder(task: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    before = sorted(task.parent.rglob("*"))
    right(task, "one")
    assert sorted(task.parent.rglob("*")) == before
