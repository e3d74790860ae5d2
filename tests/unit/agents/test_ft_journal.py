import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from ft_agent.journal import Journal
from where import AGENTS


def test_records_come_back_in_order_with_their_numbers(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "j.jsonl")
    journal.append("plan", number=1)
    journal.append("iteration", number=1, text="grün")
    journal.append("plan", number=2)
    journal.close()
    again = Journal(tmp_path / "j.jsonl")
    assert [r["n"] for r in again.records] == [0, 1, 2]
    assert [r["number"] for r in again.of("plan")] == [1, 2]
    assert again.last("iteration") == {"n": 1, "kind": "iteration", "number": 1, "text": "grün"}
    assert again.last("end") is None


@pytest.mark.parametrize("torn", [b'{"n": 2, "kind": "pl', b'{"n": 2, "kind": "plan"}', b'\xff\xfe{"n"', b"[1, 2\n"])
def test_a_torn_last_line_is_cut_off_and_the_journal_goes_on(tmp_path: Path, torn: bytes) -> None:
    path = tmp_path / "j.jsonl"
    journal = Journal(path)
    journal.append("a")
    journal.append("b")
    journal.close()
    with path.open("ab") as file:
        file.write(torn)
    again = Journal(path)
    assert [r["kind"] for r in again.records] == ["a", "b"]
    again.append("c")
    again.close()
    assert [r["kind"] for r in Journal(path).records] == ["a", "b", "c"]


def test_not_a_number_is_refused_and_leaves_no_trace(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "j.jsonl")
    with pytest.raises(ValueError, match="not JSON compliant"):
        journal.append("score", value=float("nan"))
    journal.append("after")
    assert [r["kind"] for r in Journal(tmp_path / "j.jsonl").records] == ["after"]


def test_everything_acknowledged_survives_a_kill(tmp_path: Path) -> None:
    path = tmp_path / "j.jsonl"
    program = (
        "import sys; from pathlib import Path; from ft_agent.journal import Journal\n"
        f"journal = Journal(Path({str(path)!r})); n = 0\n"
        "while True:\n    journal.append('x', pad='y' * 5000); n += 1; print(n, flush=True)\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", program],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": f"{AGENTS / 'ft_agent'}:{AGENTS}"},
    )
    assert process.stdout is not None
    acknowledged = 0
    while acknowledged < 50:
        acknowledged = int(process.stdout.readline())
    process.send_signal(signal.SIGKILL)
    rest, _ = process.communicate()
    acknowledged = max([acknowledged, *(int(n) for n in rest.split("\n")[:-1])])
    assert len(Journal(path).records) >= acknowledged
