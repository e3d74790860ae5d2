"""Data programs: what good ones do, and what becomes of bad and hostile ones."""

import os
import re
import subprocess
import sys
import threading
from pathlib import Path

import ft_agent.programs
import pytest
from ft_agent.confinement import call_filter
from ft_agent.data import Context, RecipeError, build
from ft_agent.forms import Forms
from ft_agent.plan import Operation
from ft_agent.programs import Limits, Trial, Workshop
from ft_agent.rowchecks import Lengths
from reading.rows import AnswerForm, PromptForm, Row, normal

FORMS = Forms(PromptForm("", "\nAnswer in \\boxed{}."), AnswerForm("boxed"), frozenset({"integer"}))
HELD = "What is 7 + 1?"
CONTEXT = Context(FORMS, 2000, held_out=frozenset({normal(HELD)}))
ROWS = [Row(f"What is {i} + 1?", str(i + 1), "", "sums", "a", i) for i in range(80)]


@pytest.fixture
def workshop(tmp_path: Path) -> Workshop:
    return Workshop(tmp_path / "programs", limits=Limits(cpu_s=1, wall_s=20.0, memory_mb=256, output_mb=2))


def body(*lines: str) -> str:
    return "\n".join(["import os, sys, time", "def transform(rows):", *("    " + line for line in lines)])


def test_a_good_program_changes_drops_and_adds_rows(workshop: Workshop) -> None:
    code = body(
        "kept = [{**r, 'answer': r['answer'].strip()} for r in rows if r['id'] != 'a:3']",
        "return kept + [{'prompt': 'What is 500 + 1?', 'answer': '501', 'slice': 'sums'}]",
    )
    trial = workshop.try_out(code, ROWS, CONTEXT)
    assert (trial.ok, trial.problems, trial.walls[0]) == (True, (), "audit")
    assert "What is 3 + 1?" not in {r.prompt for r in trial.rows_out}
    new = trial.rows_out[-1]
    assert (new.value, new.source, new.made) == ("501", "program_trial", "program")
    assert {r.made for r in trial.rows_out[:-1]} == {""}


def test_a_program_never_sees_what_is_held_out(workshop: Workshop) -> None:
    trial = workshop.try_out(body("return rows"), ROWS, CONTEXT)
    assert len(trial.rows_out) == 79
    assert HELD not in {r.prompt for r in trial.rows_out}


def test_programs_are_deterministic_even_where_they_draw_and_use_sets(workshop: Workshop) -> None:
    code = "import random\ndef transform(rows):\n    random.shuffle(rows)\n    by = {r['id']: r for r in rows}\n"
    code += "    return [by[i] for i in set(by)]"
    one, two = (workshop.try_out(code, ROWS, CONTEXT).rows_out for _ in range(2))
    assert one == two


BAD = {
    "syntax error": ("def transform(rows)\n    return rows", "SyntaxError"),
    "no transform": ("x = 1", r"defines no function transform\(rows\)"),
    "fails at once": ("import nowhere_at_all", "No module named 'nowhere_at_all'"),
    "endless loop": (body("while True:", "    pass"), "more than 1 s of CPU time"),
    "catches everything": (
        body("while True:", "    try:", "        while True: pass", "    except BaseException: pass"),
        "more than 1 s of CPU time",
    ),
    "forks": (body("os.fork()"), "PermissionError"),
    "starts a program": (body("import subprocess", "subprocess.run(['true'])"), "PermissionError"),
    "starts a thread": (body("import threading", "threading.Thread(target=print).start()"), "can't start new thread"),
    "kills its parent": (body("os.kill(os.getppid(), 9)"), "PermissionError"),
    "opens a socket": (body("import socket", "socket.create_connection(('127.0.0.1', 7788))"), "Permission"),
    "memory bomb": (body("x = [0] * 10**9"), "MemoryError"),
    "raises its limits": (body("import resource", "resource.setrlimit(resource.RLIMIT_CPU, (9, 9))"), "not (allowed|permitted)"),
    "exits": (body("os._exit(0)"), r"ended \(code 0\) before"),
    "exits with a word": (body("print('so long', flush=True)", "os._exit(3)"), r"ended \(code 3\) before .*; it said: so long"),
    "raises SystemExit": (body("sys.exit(3)"), "SystemExit: 3"),
    "recurses": (body("return transform(rows)"), "RecursionError"),
    "crashes": (body("import ctypes", "ctypes.string_at(0)"), "ended|Error"),
    "returns nothing": (body("pass"), "'NoneType' object is not iterable"),
    "returns no row": (body("return []"), "returned no row"),
    "returns a number": (body("return 5"), "'int' object is not iterable"),
    "returns texts": (body("return ['hello']"), "returned str 'hello' in place of a row"),
    "returns what is no JSON": (body("rows[0]['answer'] = {1}", "return rows"), "not JSON serializable"),
    "answers with numbers": (body("rows[0]['answer'] = 1", "return rows"), "field 'answer' is int '1', expected text"),
    "returns too many rows": (body("return [{'prompt': f'Say {i}.', 'answer': '1'} for i in range(9999)]"), "more than 400 rows"),
    "returns forever": (body("while True: yield {'prompt': 'Say 1.', 'answer': '1'}"), "more than 400 rows"),
    "writes garbage where rows go": (body("[os.write(n, b'{[no\\n') for n in range(3, 9)]", "return rows"), "garbage|OSError"),
    "writes without end": (body("while True: os.write(2, b'x' * 60000)"), "wrote more than 2 MB"),
    "changes ids": (body("return [{**r, 'id': 'b' + r['id']} for r in rows]"), "id 'ba:.*' is none of those given"),
    "repeats ids": (body("return rows + rows"), "comes twice"),
    "raises on row 37": (
        body("for row in rows:", "    if row['id'] == 'a:37': raise ValueError('no')", "return rows"),
        "line 4, in transform: .*\nValueError: no",
    ),
    "empties answers": (body("return [{**r, 'answer': ''} for r in rows]"), "50 of 50 rows: its answer is empty"),
    "empties questions": (body("return [{**r, 'prompt': ''} for r in rows]"), "its question is empty"),
    "answers of another kind": (body("return [{**r, 'answer': 'many words'} for r in rows]"), "none of the kinds"),
    "asks what is held out": (
        body("return rows + [{'prompt': 'What is 7 + 1?', 'answer': '8', 'slice': 'sums'}]"),
        "held out for validation",
    ),
    "repeats a question": (body("return rows + [{'prompt': r['prompt'], 'answer': r['answer']} for r in rows]"), "there already"),
    "solutions that end elsewhere": (body("return [{**r, 'rationale': 'It is 0.'} for r in rows]"), "does not end in its answer"),
    "too long": (body("return [{**r, 'prompt': r['prompt'] * 200} for r in rows]"), "tokens, the task allows 300"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_a_bad_program_is_found_out_and_told_why(case: str, workshop: Workshop) -> None:
    code, why = BAD[case]
    workshop.lengths = Lengths(context=300)
    trial = workshop.try_out(code, ROWS, CONTEXT)
    assert not trial.ok
    assert trial.problems
    assert_matches(trial, why)
    assert all(len(p) < 2000 for p in trial.problems)


def assert_matches(trial: Trial, why: str) -> None:
    assert re.search(why, trial.problems[0]), trial.problems


def test_the_row_at_fault_and_the_first_five_bad_ones_are_returned(workshop: Workshop) -> None:
    one = workshop.try_out(BAD["raises on row 37"][0], ROWS, CONTEXT)
    assert [b.row["id"] for b in one.first_bad] == ["a:37"]
    many = workshop.try_out(BAD["empties answers"][0], ROWS, CONTEXT)
    assert len(many.first_bad) == 5
    assert all(b.row["answer"] == "" and b.problem == "its answer is empty" for b in many.first_bad)


@pytest.mark.parametrize(
    "act",
    [
        "open({!r}, 'w').write('x')",
        "open({!r}, 'a').write('x')",
        "os.remove({!r})",
        "os.rename({!r}, {!r} + '.bak')",
        "os.truncate({!r}, 0)",
        "os.chmod({!r}, 0)",
        "os.open({!r}, os.O_WRONLY)",
        "open({!r}).read()",
        "os.mkdir({!r} + '.d')",
        "os.symlink('/etc/passwd', {!r} + '.s')",
        "os.listdir(os.path.dirname({!r}))",
    ],
)
def test_files_can_be_neither_written_nor_read(act: str, workshop: Workshop, tmp_path: Path) -> None:
    path = tmp_path / "dev.jsonl"
    path.write_text("secret")
    trial = workshop.try_out(body(act.replace("{!r}", repr(str(path))), "return rows"), ROWS, CONTEXT)
    assert_matches(trial, "PermissionError|Permission denied|Operation not permitted")
    assert [p.name for p in tmp_path.iterdir()] == ["dev.jsonl"]
    assert path.read_text() == "secret"


def test_the_kernel_stops_what_python_does_not_see(workshop: Workshop, tmp_path: Path) -> None:
    path = tmp_path / "dev.jsonl"
    path.write_text("secret")
    read = body("import ctypes", f"n = ctypes.CDLL(None).open({str(path).encode()!r}, 0)", "return rows if n < 0 else [n]")
    trial = workshop.try_out(read, ROWS, CONTEXT)
    assert trial.ok is ("landlock" in trial.walls)


def test_no_key_and_no_address_is_in_its_environment(workshop: Workshop, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("DOJO_TOKEN", "LLM_API_KEY", "OPENAI_API_KEY", "ANTHROPIC_BASE_URL", "SECRET"):
        monkeypatch.setenv(name, "secret")
    code = body(
        "if set(os.environ) - {'PATH', 'LANG', 'LC_CTYPE', 'PYTHONHASHSEED', 'PYTHONUTF8', 'OMP_NUM_THREADS'}: return 1",
        "return rows",
    )
    assert workshop.try_out(code, ROWS, CONTEXT).ok


def test_a_program_that_sleeps_is_stopped_and_nothing_of_it_is_left(tmp_path: Path) -> None:
    workshop = Workshop(tmp_path, limits=Limits(wall_s=0.5))
    trial = workshop.try_out(body("time.sleep(600)"), ROWS, CONTEXT)
    assert_matches(trial, "ran for more than")
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)
    assert not [t for t in threading.enumerate() if type(t).__name__ == "_Pipe"]


def test_printing_harms_nothing(workshop: Workshop) -> None:
    code = body("print('hello')", "sys.stdout.write('{\"row\": 1}')", "os.write(1, b'x')", "return rows")
    assert workshop.try_out(code, ROWS, CONTEXT).ok


def test_the_filter_is_built_for_both_machines() -> None:
    for machine in ("x86_64", "aarch64"):
        program = call_filter(machine)
        assert len(program) % 8 == 0
        assert 50 < len(program) // 8 < 256


# --- as a data operation ---


def test_a_kept_program_is_an_operation_of_a_recipe(workshop: Workshop) -> None:
    workshop.save("minus_one", body("return [{**r, 'prompt': r['prompt'].replace('+', '−')} for r in rows[:20]]"))
    context = Context(FORMS, 100, makers={"program": workshop.maker()})
    made = build(ROWS, [Operation("program", {"name": "minus_one"})], context)
    assert len(made.examples) == 20
    assert made.log[0]["rows_out"] == 20
    assert "−" in made.examples[0].prompt


@pytest.mark.parametrize(
    ("makers", "name", "why"),
    [
        (False, "any", "nothing for program"),
        (True, "absent", "no program 'absent'; there are spoil"),
        (True, "spoil", "too many bad rows"),
    ],
)
def test_what_cannot_be_run_is_named_with_its_remedy(makers: bool, name: str, why: str, workshop: Workshop) -> None:
    workshop.save("spoil", BAD["empties answers"][0])
    context = Context(FORMS, 100, makers={"program": workshop.maker()} if makers else {})
    with pytest.raises(RecipeError, match=why):
        build(ROWS, [Operation("program", {"name": name})], context)


def test_a_name_leads_nowhere_else_and_is_never_given_twice(workshop: Workshop) -> None:
    for name in ("../x", "", "A", "x" * 60, "a.b"):
        with pytest.raises(ValueError, match="is no name for a program"):
            workshop.save(name, "")
    workshop.save("one", "a = 1")
    workshop.save("one", "a = 1")
    with pytest.raises(ValueError, match="another program 'one'"):
        workshop.save("one", "a = 2")
    assert workshop.names() == ["one"]


def test_a_program_is_given_five_texts_a_row(workshop: Workshop) -> None:
    given = body("return [r for r in rows if set(r) == {'id', 'prompt', 'answer', 'rationale', 'slice'}]")
    assert len(workshop.try_out(given, ROWS, CONTEXT).rows_out) == 79


TIGHT = """
import resource
from ft_agent.confinement import limit
resource.setrlimit(resource.RLIMIT_AS, (400 << 20, 400 << 20))
limit(5, 1024)
print([resource.getrlimit(k) for k in (resource.RLIMIT_AS, resource.RLIMIT_CPU, resource.RLIMIT_FSIZE)])
"""


def test_a_tighter_limit_that_holds_already_stays() -> None:
    folder = Path(ft_agent.programs.__file__).parents[1]
    told = subprocess.run([sys.executable, "-c", TIGHT], capture_output=True, text=True, cwd=folder, check=True).stdout
    assert told.strip() == str([(400 << 20, 400 << 20), (5, 6), (0, 0)])
