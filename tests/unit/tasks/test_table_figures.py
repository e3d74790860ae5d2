"""table/visualization: what counts as drawn, and what a model's code may not do. Every case really runs in the locked child."""

from __future__ import annotations

import json
import os
import socket
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.grading.score_rows import score_rows
from harness.spec.errors import GraderFailure, SpecError
from harness.taskkit.scoring.contract import load_grader
from tasks.table.shared.answers import last_code_block
from tasks.table.shared.figures import Series, draw, same_series

TASK = Path(__file__).resolve().parents[3] / "tasks" / "table" / "visualization"
GRADER = load_grader(TASK)
TABLE = {"columns": ["Name", "A", "B"], "data": [["x", 1, 4], ["y", 2, 5], ["z", 3, 6.5]]}
A, B = [1, 2, 3], [4, 5, 6.5]
HEAD = "import pandas as pd\nimport matplotlib.pyplot as plt\ndf = pd.read_csv('table.csv')\n"


def row(references: list[list[float]], chart: str = "bar") -> dict:
    head = {"id": "1", "qtype": "Visualization", "qsubtype": "ChartGeneration", "table": TABLE, "question": "Draw."}
    return head | {"answer": f"y_references = {references}", "chart_type": chart, "instruction_type": "TCoT", "instruction": ""}


def passes(code: str, *references: list[float]) -> bool:
    scored = GRADER.score(row(list(references)), f"Here:\n```python\n{HEAD}{code}\n```\nDone.", "visualization")
    assert scored.parsed
    return scored.score == 1


def error_of(code: str, limit_s: float = 10.0) -> str | None:
    return draw(HEAD + code, "Name,A,B\nx,1,4\ny,2,5\nz,3,6.5\n", limit_s).error


@pytest.mark.parametrize(
    ("code", "references"),
    [
        ("plt.bar(df['Name'], df['A'])", [A]),
        ("plt.barh(df['Name'], df['A'])", [A]),
        ("fig, ax = plt.subplots()\nax.bar(df['Name'], df['A'])\nax.axhline(2)\nplt.show()", [A]),
        ("df.plot.bar(x='Name', y='A')", [A]),
        ("df.plot(x='Name', kind='barh')", [B, A]),
        ("df.plot.bar(x='Name', stacked=True)", [A, B]),
        ("plt.bar(df.Name, df.A)\nplt.bar(df.Name, df.B, bottom=df.A)\nplt.legend(['A', 'B'])", [A, B]),
        ("plt.bar(df.Name, df.A, yerr=[0.1, 0.1, 0.1], capsize=3)", [A]),
        ("for name, a in zip(df.Name, df.A):\n    plt.bar(name, a)", [A]),
        ("plt.plot(df['Name'], df['B'])\nplt.savefig('figure.png')\nplt.close()", [B]),
        ("plt.figure(figsize=(4, 3))\ndf.plot(x='Name')", [A, B]),
        ("fig, (one, two) = plt.subplots(1, 2)\none.plot(df.A)\ntwo.plot(df.B)", [B, A]),
        ("from matplotlib.figure import Figure\nFigure().subplots().plot(df.A)", [A]),
        ("plt.plot(df.A + 0.009)", [A]),
        ("plt.scatter(df['A'], df['B'])", [B]),
        ("plt.pie(df['A'], labels=df['Name'], autopct='%d')", [A]),
        ("df.set_index('Name').A.plot.pie()", [[10, 20, 30]]),
        ("plt.hist([1, 1, 2, 3, 3, 3], bins=3)", [[2, 1, 3]]),
        ("df.plot.area(x='Name')", [A, B]),
        ("plt.stackplot(range(3), df.A, df.B)", [A, B]),
        ("plt.plot(df.A)\nplt.fill_between(range(3), df.A, alpha=0.2)", [A]),
        ("plt.stem(df.B)", [B]),
        ("plt.stairs(df.A)", [A]),
        ("ax = plt.subplot(polar=True)\nax.plot([0, 2, 4, 0], [1, 2, 3, 1])\nax.fill([0, 2, 4, 0], [1, 2, 3, 1])", [A]),
        ("plt.subplot(polar=True).plot([0, 2, 4], df.A)", [A]),
        ("plt.bar(df.Name, -df.A)", [[-1, -2, -3]]),
        ("import sys\nplt.plot(df.A)\nsys.exit(0)", [A]),
        ("if __name__ == '__main__':\n    plt.plot(df.A)", [A]),
    ],
)
def test_the_right_series_pass_whatever_call_drew_them(code: str, references: list[list[float]]) -> None:
    assert passes(code, *references)


@pytest.mark.parametrize(
    ("code", "references"),
    [
        ("plt.bar(df['Name'], df['B'])", [A]),
        ("plt.bar(df['Name'], df['A'])", [A, B]),
        ("df.plot.bar(x='Name')", [A]),
        ("plt.plot(df['A'][::-1])", [[3, 1, 2]]),
        ("plt.plot(df['A'][:2])", [A]),
        ("plt.plot(df.A + 0.011)", [A]),
        ("plt.plot(df.A)\nplt.plot(df.A)", [A]),
        ("plt.pie(df['B'])", [A]),
        ("plt.hist([1, 1, 2, 3, 3, 3], bins=3)", [A]),
        ("plt.plot([1, float('nan'), 3])", [A]),
        ("plt.plot(df.A, color='no such colour')", [A]),
        ("print('y_references = [[1, 2, 3]]')", [A]),
        ("plt.text(0, 0, '[1, 2, 3]')", [A]),
        ("plt.plot(df.A)\nimport sys\nsys.exit(3)", [A]),
        ("plt.plot(df.A)\n1/0", [A]),
        ("plt.plot(df.A", [A]),
        ("plt.plot(df.A)\nplt.clf()", [A]),
        ("plt.plot([1, 2, 3, 1])", [A]),
        ("", [A]),
    ],
)
def test_anything_else_fails(code: str, references: list[list[float]]) -> None:
    assert not passes(code, *references)


@pytest.mark.parametrize(
    "attack",
    [
        "print('{\"series\": []}'); print('PASS')",
        "import os\nplt.plot(df.A)\nos._exit(0)",
        "import os\nfor fd in range(1, 64):\n    try: os.write(fd, b'{\"score\": 1}\\n')\n    except OSError: pass",
        "plt.bar = plt.plot = plt.gcf = lambda *a, **k: [1, 2, 3]\nplt.plot(df.A)",
        "import json, os\njson.dumps = lambda *a, **k: '{\"score\": 1}'\nos._exit = exit",
        "import sys\nsys.modules['harness'] = sys\nsys.exit(0)",
        "import threading\nthreading.Thread(target=lambda: plt.plot([1, 2, 3])).start\nraise KeyboardInterrupt",
        "class Liar(list):\n    def __eq__(self, other): return True\nplt.plot(Liar([7, 7, 7]))",
    ],
)
def test_a_forged_verdict_changes_nothing(attack: str) -> None:
    assert not passes(attack, A)


@pytest.mark.parametrize(
    "act",
    [
        "open('/etc/passwd')",
        f"open({str(TASK / 'README.md')!r})",
        "open('/proc/1/environ')",
        "open(f'/proc/{__import__(\"os\").getppid()}/mem', 'rb')",
        "__import__('os').listdir('/tmp')",
        "open('/tmp/left-behind', 'w')",
        "__import__('os').symlink('/etc/passwd', 'link') or open('link')",
        "__import__('os').fork()",
        "__import__('subprocess').run(['true'])",
        "__import__('multiprocessing').Process(target=print).start()",
        "__import__('os').execv('/bin/true', ['true'])",
        "__import__('os').kill(__import__('os').getppid(), 9)",
        "__import__('socket').socket()",
        "__import__('socket').socketpair()",
        "bytearray(6 * 10**9)",
    ],
)
def test_the_code_has_no_way_out(act: str) -> None:
    assert error_of(act) in ("PermissionError", "MemoryError", "FileNotFoundError")


def test_nothing_of_this_machine_but_the_table_lies_in_its_folder_or_environment() -> None:
    os.environ["DOJO_TEST_SECRET"] = "1"
    try:
        assert error_of("import os\nassert os.listdir('.') == ['table.csv'] and 'DOJO_TEST_SECRET' not in os.environ") is None
    finally:
        del os.environ["DOJO_TEST_SECRET"]


def test_a_server_of_this_machine_cannot_be_reached() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        code = f"import socket\nsocket.create_connection(('127.0.0.1', {server.getsockname()[1]}))"
        assert error_of(code) == "PermissionError"


@pytest.mark.parametrize(
    "code", ["while True: pass", "import time; time.sleep(1000)", "import os\nos.closerange(3, 64)\nwhile True: pass"]
)
def test_code_that_does_not_end_is_killed(code: str) -> None:
    started = time.monotonic()
    assert "not done" in str(error_of(code, 1.0))
    assert time.monotonic() - started < 60


@pytest.mark.parametrize(
    "code",
    [
        "import os\nos.umask(0o777)\nos.makedirs('closed')\nopen('left', 'w').close()",
        "import os\nfor _ in range(3000):\n    os.mkdir('deeper')\n    os.chdir('deeper')",
        "import os\nfor _ in range(300):\n    os.mkdir('d' * 200)\n    os.chdir('d' * 200)",
    ],
)
def test_whatever_folders_the_code_leaves_are_removed_and_break_nothing(
    code: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    assert error_of(f"{code}\nplt.bar([1], [2])") is None
    assert not list(tmp_path.glob("dojo-figure-*"))


def test_the_limit_is_ten_seconds() -> None:
    assert draw.__wrapped__.__defaults__ == (10.0,)


def test_too_much_drawn_is_no_figure() -> None:
    assert error_of("plt.plot(range(10**6))") is not None
    assert error_of("import os\nwhile True: os.write(int(os.listdir('/proc/self/fd')[0]), b'x' * 10**6)") is not None


@pytest.mark.parametrize(
    ("response", "code"),
    [
        ("```python\nx\n```", "x\n"),
        ("```Python\nx\n```", "x\n"),
        ("a\n```python\nx\n```\nb\n```python\ny\n```\n", "y\n"),
        ("```json\n{}\n```\n```python\nx\n```", "x\n"),
        ("```python\nx\n```\n```python\ny\n", "x\n"),
        ("<think>```python\nx\n```</think>\n```python\ny\n```", "y\n"),
        ("```\nx\n```", None),
        ("```python\nx\n", None),
        ("```python\n\n```", None),
        ("plt.plot()", None),
    ],
)
def test_the_last_closed_python_block_counts(response: str, code: str | None) -> None:
    assert last_code_block(response, "python") == code


@pytest.mark.parametrize("piece", ["```python\n", "```\n", "`", " ", "```python\nx\n```\n", "\x00", "</think>"])
def test_blocks_are_found_in_linear_time(piece: str) -> None:
    def seconds(size: int) -> float:
        started = time.process_time()
        last_code_block(piece * (size // len(piece)), "python")
        return time.process_time() - started

    assert seconds(2_000_000) < 30 * max(seconds(200_000), 0.05)


@given(st.text(max_size=100))
def test_no_answer_without_a_block_breaks_the_grader(text: str) -> None:
    scored = GRADER.score(row([A]), text.replace("`", "'"), "visualization")
    assert (scored.parsed, scored.score, dict(scored.metrics)) == (False, 0, {"executed_rate": 0})


@given(st.lists(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=4), min_size=1, max_size=4), st.randoms())
def test_series_match_in_any_order(series: list[list[float]], rng: object) -> None:
    drawn = [Series(0, "line", tuple(s)) for s in series]
    rng.shuffle(drawn)  # type: ignore[attr-defined]
    assert same_series(drawn, series)
    assert not same_series(drawn[1:], series)
    assert not same_series(drawn, [[v + 1 for v in series[0]], *series[1:]]) or len(series) > 1


@pytest.mark.parametrize("gold", ["", "y_references = []", "y_references = [['a']]", "y_references = [[1e999]]", "twelve"])
def test_a_broken_gold_is_a_grader_failure(gold: str) -> None:
    with pytest.raises(GraderFailure):
        GRADER.score(row([A]) | {"answer": gold}, "", "visualization")


@pytest.mark.parametrize("gold", ["y_references = [[1, 2, 3]]", "[[1, 2, 3]]", "y_references=[1, 2, 3]", [[1, 2, 3]]])
def test_references_are_read_in_every_form(gold: object) -> None:
    assert GRADER.module.references(gold) == [[1.0, 2.0, 3.0]]


def test_rows_in_the_upstream_layout_are_scored(tmp_path: Path) -> None:
    rows = [row([A]), row([B]) | {"table": json.dumps(TABLE)}, row([A])]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows))
    code = f"```python\n{HEAD}plt.bar(df.Name, df.A)\n```"
    answers = [{"index": 0, "response": code}, {"index": 1, "response": code}]
    (tmp_path / "responses.jsonl").write_text("".join(json.dumps(a) + "\n" for a in answers))
    found = score_rows(TASK, tmp_path / "rows.jsonl", tmp_path / "responses.jsonl")
    assert found["primary"]["name"] == "pass_at_1" and found["primary"]["value"] == pytest.approx(1 / 3)
    assert found["parse_rate"] == pytest.approx(2 / 3)
    assert found["subsets"]["visualization"]["executed_rate"] == pytest.approx(2 / 3)


def test_a_row_of_another_question_type_is_refused() -> None:
    with pytest.raises(SpecError, match="qtype"):
        GRADER.subset_of(row([A]) | {"qtype": "DataAnalysis"})
