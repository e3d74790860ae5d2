from pathlib import Path

from harness.assets.imported_code import imported_code

REPO = Path(__file__).parents[3]


def test_code_reached_through_others_is_found_and_the_rest_is_not():
    grader = REPO / "tasks/chemistry/mol_opt/tests/grader.py"
    names = [path.name for path in imported_code([grader])]
    assert {"chemistry.py", "mol_properties.py", "extraction.py"} <= set(names)
    assert "figures.py" not in names


def test_code_that_imports_nothing_of_ours_rests_on_nothing(tmp_path: Path):
    (tmp_path / "alone.py").write_text("import json\n")
    assert imported_code([tmp_path / "alone.py"]) == []
