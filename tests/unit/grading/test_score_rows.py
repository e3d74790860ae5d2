import json
import shutil

import pytest

from harness.grading.score_rows import score_rows
from harness.spec.errors import UsageError
from tests.unit.grading.tiny import TOY_TASK

ROWS = [{"subset": "word", "gold": "pear"}, {"subset": "word", "gold": "chair"}, {"subset": "sum", "gold": 12}]


@pytest.fixture
def score(tmp_path):
    def run(rows, responses):
        paths = []
        for name, content in (("rows.jsonl", rows), ("responses.jsonl", responses)):
            path = tmp_path / name
            path.write_text(content if isinstance(content, str) else "".join(json.dumps(d) + "\n" for d in content))
            paths.append(path)
        return score_rows(TOY_TASK, *paths)

    return run


def test_answers_are_scored_in_the_order_of_the_rows_and_a_missing_one_is_unparsable(score):
    data = score(ROWS, [{"index": 2, "response": "It is 12"}, {"index": 0, "response": "pear"}])
    assert data["items"] == [
        {"index": 0, "subset": "word", "parsed": True, "score": 1.0},
        {"index": 1, "subset": "word", "parsed": False, "score": 0.0},
        {"index": 2, "subset": "sum", "parsed": True, "score": 1.0},
    ]
    assert data["primary"] == {"name": "score", "value": 0.75, "higher_is_better": True}
    assert data["subsets"]["word"]["accuracy"] == 0.5
    assert data["parse_rate"] == pytest.approx(2 / 3)


def test_rows_may_be_items_of_a_prepared_split(score):
    item = {"id": "a", "subset": "word", "type": "t", "prompt": "p", "gold": "pear", "row": {"gold": "pear"}}
    as_text = {**item, "row": json.dumps(item["row"])}
    data = score([item, as_text], [{"index": 0, "response": "pear"}, {"index": 1, "response": "pear"}])
    assert data["primary"]["value"] == 1.0


@pytest.mark.parametrize(
    ("rows", "responses", "words"),
    [
        (ROWS, '{"index": 0, "response": "a"}\n{broken\n', "responses.jsonl:2"),
        ('{"subset": "word", "gold": "a"}\n[1]\n', [], "rows.jsonl:2"),
        ([*ROWS, {"subset": "unknown"}], [], "rows.jsonl:4"),
        ([*ROWS, {"gold": 1}], [], "rows.jsonl:4"),
        (ROWS, [{"index": 3, "response": "a"}], "responses.jsonl:1.*index 3"),
        (ROWS, [{"index": True, "response": "a"}], "responses.jsonl:1"),
        (ROWS, [{"index": 0, "response": "a"}, {"index": 0, "response": "b"}], "responses.jsonl:2"),
        (ROWS, [{"index": 0, "response": 7}], "responses.jsonl:1"),
        ("", [], "no row"),
    ],
)
def test_a_broken_line_is_named_by_file_and_line(score, rows, responses, words):
    with pytest.raises(UsageError, match=words):
        score(rows, responses)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(UsageError, match=r"nowhere\.jsonl"):
        score_rows(TOY_TASK, tmp_path / "nowhere.jsonl", tmp_path / "also.jsonl")


def test_the_task_s_grader_is_found_by_path_wherever_the_task_lies(tmp_path):
    shutil.copytree(TOY_TASK, tmp_path / "elsewhere" / "toy")
    (tmp_path / "rows.jsonl").write_text(json.dumps(ROWS[0]))
    (tmp_path / "answers.jsonl").write_text('{"index": 0, "response": "pear"}')
    data = score_rows(tmp_path / "elsewhere" / "toy", tmp_path / "rows.jsonl", tmp_path / "answers.jsonl")
    assert data["primary"]["value"] == 1.0


def test_an_answer_that_breaks_the_grader_is_named_with_its_line(tmp_path):
    task = tmp_path / "toys" / "toy"
    shutil.copytree(TOY_TASK, task)
    grader = task / "tests" / "grader.py"
    grader.write_text(
        grader.read_text().replace("    text = response.strip()\n", "    text = response.strip()\n    assert text != 'bad'\n")
    )
    line = grader.read_text().splitlines().index("    assert text != 'bad'") + 1
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    (tmp_path / "said.jsonl").write_text('{"index": 0, "response": "bad"}\n{"index": 1, "response": "chair"}\n')
    data = score_rows(task, tmp_path / "rows.jsonl", tmp_path / "said.jsonl")
    assert data["items"][0] == {
        "index": 0, "subset": "word", "parsed": False, "score": 0.0, "failure": f"toy/tests/grader.py:{line}: AssertionError"
    }  # fmt: skip
    assert "failure" not in data["items"][1] and data["subsets"]["word"]["accuracy"] == 0.5
