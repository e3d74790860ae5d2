"""Folders as PEFT, transformers, accelerate, FSDP and people write them: what is taken computes what its writer computes.

docs/submissions.md is written from these tables: ``python -m tests.unit.grading.test_submission_shapes`` writes it anew.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable
from pathlib import Path

import pytest

from harness.grading.submission.base_files import read_base
from harness.grading.submission.check import read_submission
from harness.grading.submission.leftovers import LEFT_BEHIND
from harness.spec.submission import SubmissionReport
from tests.unit.grading.shapes.adapters import ADAPTERS
from tests.unit.grading.shapes.bench import Bench
from tests.unit.grading.shapes.beside import BESIDE
from tests.unit.grading.shapes.full import FULL
from tests.unit.grading.shapes.refused import REFUSED
from tests.unit.grading.shapes.shape import Shape

pytestmark = pytest.mark.slow

TAKEN = (*ADAPTERS, *FULL, *BESIDE)
PAGE = Path(__file__).parents[3] / "docs" / "submissions.md"
# What every report says of any model; the page says it once.
_OF_EVERY = ("distance to the base model", "base_model_name_or_path ignored", "generation_config.json ignored")
_CARD = "left out, as no part of a model: README.md"


def check(bench: Bench, folder: Path, shape: Shape):
    return read_submission(folder, read_base(bench.paths[shape.tied]))


@pytest.fixture(scope="module")
def bench(tmp_path_factory):
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)  # these models are too small to share out
    yield Bench(tmp_path_factory.mktemp("bench"))
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def warm(bench):
    from harness.grading.worker.warm_model import WarmModel

    return {tied: WarmModel(path) for tied, path in bench.paths.items()}


@pytest.fixture(scope="module")
def reports():
    """What was said of each shape, for the page."""
    return {}


@pytest.mark.parametrize("shape", TAKEN, ids=lambda shape: shape.name)
def test_what_is_taken_computes_what_its_writer_computes(bench, warm, reports, tmp_path, shape):
    import torch

    folder = tmp_path / "out"
    expected = shape.make(bench, folder)
    if expected is None:
        adapter = (folder / "adapter_config.json").is_file()
        expected = bench.loaded_by_peft(folder, shape.tied) if adapter else bench.loaded_by_transformers(folder)
    submission = check(bench, folder, shape)
    reports[shape.name] = submission.report
    assert submission.report.ok, submission.report.problems
    notes = " | ".join(submission.report.notes)
    assert all(words in notes for words in shape.said), notes
    with warm[shape.tied].loaded(submission):
        found = bench.logits(warm[shape.tied].model)
    torch.testing.assert_close(found, expected, rtol=2e-4, atol=2e-4)
    assert warm[shape.tied].is_base()


@pytest.mark.parametrize("shape", REFUSED, ids=lambda shape: shape.name)
def test_what_is_refused_says_why_and_its_remedy_leads_to_a_model_that_is_taken(bench, reports, tmp_path, shape):
    folder = tmp_path / "out"
    shape.make(bench, folder)
    report = check(bench, folder, shape).report
    reports[shape.name] = report
    assert [problem.code for problem in report.problems][:1] == [shape.code], report
    assert all(problem.hint for problem in report.problems)
    mended = check(bench, shape.remedy(bench, folder) or folder, shape).report
    assert mended.ok, mended.problems


def test_the_page_says_what_the_table_gives(reports):
    if len(reports) < len(TAKEN) + len(REFUSED):
        pytest.skip("only some of the shapes were tried")
    text = PAGE.read_text(encoding="utf-8")
    assert text == renewed(text, reports), "`python -m tests.unit.grading.test_submission_shapes` writes the page anew"


def renewed(text: str, reports: dict[str, SubmissionReport]) -> str:
    """The page with today's tables between its marks."""
    for mark, lines in (
        ("adapters", taken(ADAPTERS, reports)),
        ("full weights", taken(FULL, reports)),
        ("left out", taken(BESIDE, reports)),
        ("names", names()),
        ("refused", refused(reports)),
    ):
        head, begin, rest = text.partition(f"<!-- {mark} -->\n")
        _, end, tail = rest.partition(f"<!-- end of {mark} -->")
        assert begin and end, f"{PAGE.name} has no marks for {mark}"
        text = head + begin + "\n" + "\n".join(lines) + "\n\n" + end + tail
    return text


def taken(shapes: Iterable[Shape], reports: dict[str, SubmissionReport]) -> list[str]:
    """One row a shape: what the report notes of it."""
    rows = [(shape.name, [note for note in reports[shape.name].notes if not of_every(note)]) for shape in shapes]
    return [
        "| folder | what `validate` notes |",
        "|---|---|",
        *(f"| {name} | {cell('; '.join(notes)) or '–'} |" for name, notes in rows),
    ]


def of_every(note: str) -> bool:
    return note.startswith(_OF_EVERY) or note == _CARD


def names() -> list[str]:
    """What is left out, by who writes it."""
    rows = [f"| {who} | {', '.join(f'`{name}`' for name in listed)} |" for who, listed in LEFT_BEHIND.items()]
    return ["| left by | names |", "|---|---|", *rows, "| everybody | folders, with all that lies in them |"]


def refused(reports: dict[str, SubmissionReport]) -> list[str]:
    """One row a shape: the first problem and its hint."""
    first = {shape.name: reports[shape.name].problems[0] for shape in REFUSED}
    rows = (f"| {name} | `{p.code}`: {cell(p.message)} | {cell(p.hint)} |" for name, p in first.items())
    return ["| folder | why | what helps |", "|---|---|---|", *rows]


def cell(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;")


def all_reports(folder: Path) -> dict[str, SubmissionReport]:
    """What is said of every shape today."""
    bench, found = Bench(folder), {}
    for number, shape in enumerate((*TAKEN, *REFUSED)):
        (folder / f"{number}").mkdir()
        shape.make(bench, folder / f"{number}" / "out")
        found[shape.name] = check(bench, folder / f"{number}" / "out", shape).report
    return found


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as made:
        PAGE.write_text(renewed(PAGE.read_text(encoding="utf-8"), all_reports(Path(made))), encoding="utf-8")
