"""Code that the tasks of a domain share: it is part of what these tasks are, and of no other; a new domain needs nothing else."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from harness.assets.base_models import BaseModel
from harness.assets.leak_scan import scan_leaks
from harness.assets.new_task import new_task
from harness.assets.prepare import PreparedTask, prepare_task
from harness.assets.task_dir import Task, list_tasks, load_task
from harness.executor.checks import check_task
from harness.grading.references import basis_of
from harness.spec.task import Generation
from harness.taskkit.digest import taskkit_digest
from harness.taskkit.scoring.contract import load_grader

TASKS = Path(__file__).resolve().parents[3] / "tasks"
DOMAINS = sorted(path.parent.name for path in TASKS.glob("*/shared"))
MODEL = BaseModel(name="tiny", path=Path("/nowhere"), digest="m1", parameters=1)
NAMES = '''"""Names, as all tasks of this domain read them."""


def initials(name):
    return "".join(word[0] for word in name.split())
'''


def test_four_domains_share_code() -> None:
    assert DOMAINS == ["biology", "chemistry", "patent", "table"]


@pytest.mark.parametrize("domain", DOMAINS)
def test_a_line_of_shared_code_changes_the_tasks_of_its_domain_and_no_others(domain: str, tmp_path: Path) -> None:
    root = tmp_path / "tasks"
    shutil.copytree(TASKS, root, ignore=shutil.ignore_patterns("__pycache__"))
    before = {task.id: task.digest for task in list_tasks([root])}
    with next((root / domain / "shared").glob("*.py")).open("a", encoding="utf-8") as code:
        code.write("\n# another line\n")
    changed = {task.id for task in list_tasks([root]) if before[task.id] != task.digest}
    assert changed == {name for name in before if name.startswith(f"{domain}/")} and len(changed) > 2


@pytest.fixture(scope="module")
def domain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder outside the project with a new domain: two tasks and the code that they share."""
    root = tmp_path_factory.mktemp("elsewhere") / "mine"
    for name in ("names/short", "names/long"):
        task = new_task(name, root).path
        prepare, grader = (task / "prepare.py", task / "tests" / "grader.py")
        text = re.sub(r"def initials\(name\):\n.*?\n\n\n", "", prepare.read_text(), flags=re.DOTALL)
        prepare.write_text(text.replace("\n\nFIRST =", "\n\nfrom ..shared.names import initials\n\nFIRST =", 1))
        text = grader.read_text().replace("SUBSET_METRICS =", "from ...shared.names import initials\n\nSUBSET_METRICS =", 1)
        grader.write_text(text.replace('text == row["initials"]', 'text == initials(row["name"])'))
    (root / "names" / "shared").mkdir()
    (root / "names" / "shared" / "names.py").write_text(NAMES)
    return root


@pytest.fixture(params=["names/short", "names/long"])
def task(request: pytest.FixtureRequest, domain: Path) -> Task:
    return load_task(domain / request.param)


def test_a_task_of_a_new_domain_outside_the_project_is_prepared_scored_and_checked(task: Task, tmp_path: Path) -> None:
    prepared = prepare_task(task, "mini", tmp_path)
    assert scan_leaks(prepared).found == 0
    row = {"name": "Ada Fox", "initials": "AF"}
    grader = load_grader(task.path)
    assert [grader.score(row, f'{{"output": "{text}"}}', "initials").score for text in ("AF", "FA")] == [1.0, 0.0]
    checks = check_task(task, "mini", tmp_path, lambda: MODEL).checks
    assert [(check.name, check.detail) for check in checks if not check.ok] == []


def basis(task: Task) -> str:
    prepared = PreparedTask(task=task, profile="mini", dir=task.path, digest="d", sources=(), manifest={})
    return basis_of(prepared, MODEL, Generation()).grader


def test_measurements_and_data_depend_on_shared_code_and_data_alone_on_what_makes_it(domain: Path, tmp_path: Path) -> None:
    shutil.copytree(domain, tmp_path / "copy")
    short, long = (tmp_path / "copy" / "names" / name for name in ("short", "long"))
    first = {path: (load_task(path).digest, basis(load_task(path))) for path in (short, long)}
    (short / "prepare.py").write_text((short / "prepare.py").read_text() + "\n# another line\n")
    assert load_task(short).digest != first[short][0] and basis(load_task(short)) == first[short][1]
    assert (load_task(long).digest, basis(load_task(long))) == first[long]
    shared = short.parent / "shared" / "names.py"
    shared.write_text(NAMES + "\n# another line\n")
    assert load_task(long).digest != first[long][0] and basis(load_task(long)) != first[long][1]


def test_each_part_of_taskkit_has_a_digest_of_its_own() -> None:
    digests = {taskkit_digest("building"), taskkit_digest("scoring")}
    assert len(digests) == 2 and all(re.fullmatch("[0-9a-f]{64}", digest) for digest in digests)
