"""The secret of an installation: made once, one user's alone, never told; and what is drawn with it."""

import io
import json
import stat
from pathlib import Path

import pytest

from harness.assets.hidden_secret import installation_secret, secret_path, set_secret
from harness.assets.prepare import PreparedTask, prepare_task
from harness.assets.task_dir import Task, list_tasks, load_task
from harness.assets.task_program import load_build
from harness.attack.task import TASK_FOLDER
from harness.cli.main import main
from harness.executor.checks import _hidden_split
from harness.spec.errors import MissingError, SpecError, UsageError
from harness.spec.run import GIVEN_HIDDEN, PUBLIC_HIDDEN
from harness.taskkit.building.data import BuildContext

PARITY = load_task(TASK_FOLDER)


def hidden(prepared: PreparedTask) -> set[str]:
    return {json.loads(line)["prompt"] for line in prepared.hidden_path.read_text().splitlines()}


def task_with(folder: Path, *changes: tuple[str, str]) -> Task:
    """The suite's task with changes in its program."""
    path = folder / "tasks" / "own" / "parity"
    for file in (file for file in TASK_FOLDER.rglob("*") if file.is_file() and file.suffix != ".pyc"):
        target = path / file.relative_to(TASK_FOLDER)
        target.parent.mkdir(parents=True, exist_ok=True)
        text = file.read_text()
        for before, after in changes if file.name == "prepare.py" else ():
            assert before in text
            text = text.replace(before, after)
        target.write_text(text)
    return load_task(path)


def test_a_secret_is_made_once_and_its_owner_alone_may_read_it(tmp_path: Path) -> None:
    first = installation_secret(tmp_path / "cache")
    assert installation_secret(tmp_path / "cache") == first and len(first.key) == 32
    assert stat.S_IMODE(secret_path(tmp_path / "cache").stat().st_mode) == 0o600
    assert [path.name for path in (tmp_path / "cache").iterdir()] == ["hidden.secret"]
    assert installation_secret(tmp_path / "other") != first


def test_a_secret_is_not_in_what_is_printed_of_it(tmp_path: Path) -> None:
    secret = installation_secret(tmp_path)
    assert secret.text not in repr(secret) and repr(secret.key) not in repr(secret)
    assert len(secret.digest) == 16 and secret.digest not in secret.text
    context = BuildContext("a/b", "mini", tmp_path, secret=secret.key)
    context.rng("hidden")
    assert secret.text not in repr(context) and repr(secret.key) not in repr(context)


def test_a_secret_that_others_may_read_is_not_used(tmp_path: Path) -> None:
    installation_secret(tmp_path)
    secret_path(tmp_path).chmod(0o644)
    with pytest.raises(MissingError, match="mode 644") as caught:
        installation_secret(tmp_path)
    assert "chmod 600" in caught.value.hint


@pytest.mark.parametrize("text", ["", "hunter2", "0" * 63, "g" * 64, "0" * 128])
def test_what_is_no_secret_is_neither_taken_nor_used(text: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="64 hexadecimal digits"):
        set_secret(tmp_path, text)
    assert not secret_path(tmp_path).exists()
    secret_path(tmp_path).write_text(text)
    secret_path(tmp_path).chmod(0o600)
    with pytest.raises(MissingError, match="is no secret"):
        installation_secret(tmp_path)


def test_a_link_is_no_secret(tmp_path: Path) -> None:
    installation_secret(tmp_path / "other")
    secret_path(tmp_path).symlink_to(secret_path(tmp_path / "other"))
    with pytest.raises(MissingError, match="cannot be read"):
        installation_secret(tmp_path)


def test_two_installations_that_share_a_secret_have_the_same_hidden_split(tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    other = prepare_task(PARITY, "mini", two)
    set_secret(two, installation_secret(one).text + "\n")
    mine, theirs = prepare_task(PARITY, "mini", one), prepare_task(PARITY, "mini", two)
    assert mine.digest == theirs.digest and mine.hidden == theirs.hidden == installation_secret(one).digest
    assert other.digest != mine.digest and not hidden(other) & hidden(mine)
    assert other.dev_path.read_bytes() == mine.dev_path.read_bytes()


def test_the_hidden_split_that_anybody_can_make_is_made_when_it_is_asked_for_and_says_so(tmp_path: Path) -> None:
    public = prepare_task(PARITY, "mini", tmp_path / "one", hidden=PUBLIC_HIDDEN)
    assert public.hidden == PUBLIC_HIDDEN and not secret_path(tmp_path / "one").exists()
    assert public.digest == prepare_task(PARITY, "mini", tmp_path / "two", hidden=PUBLIC_HIDDEN).digest
    assert public.digest != prepare_task(PARITY, "mini", tmp_path / "one").digest


def test_a_run_finds_the_split_it_was_planned_with_or_says_whose_secret_is_missing(tmp_path: Path) -> None:
    planned = prepare_task(PARITY, "mini", tmp_path)
    set_secret(tmp_path, "ab" * 32)
    assert prepare_task(PARITY, "mini", tmp_path, hidden=planned.hidden) == planned  # it still lies in the cache
    with pytest.raises(MissingError, match=f"drawn with the secret {planned.hidden}") as caught:
        prepare_task(PARITY, "mini", tmp_path / "elsewhere", hidden=planned.hidden)
    assert "dojo data secret --set" in caught.value.hint


def test_what_no_secret_has_a_part_in_is_built_once_for_all(tmp_path: Path) -> None:
    fetched = ("rng, secret = ", "context.fetched['a/set'] = {}\n    rng, secret = ")
    task = task_with(tmp_path, fetched, ('context.rng("hidden")', 'context.rng("other")'))
    one, two = (prepare_task(task, "mini", tmp_path / "cache", hidden=hidden) for hidden in (None, PUBLIC_HIDDEN))
    assert one == two and one.hidden == GIVEN_HIDDEN
    set_secret(tmp_path / "cache", "cd" * 32)
    assert prepare_task(task, "mini", tmp_path / "cache") == one
    assert len(list((tmp_path / "cache" / "data" / "own" / "parity" / "mini").iterdir())) <= 3  # it, and locks


def test_a_task_that_draws_its_hidden_items_with_the_seed_that_everybody_knows_is_not_fit(tmp_path: Path) -> None:
    task, cache = task_with(tmp_path, ('context.rng("hidden")', 'context.rng("other")')), tmp_path / "cache"
    drawn = prepare_task(task, "mini", cache)
    assert drawn.hidden == PUBLIC_HIDDEN  # it is marked, whatever was asked for
    with pytest.raises(SpecError, match="10 of 10 hidden questions") as caught:
        _hidden_split(prepare_task(task, "mini", cache, hidden=PUBLIC_HIDDEN), drawn)
    assert 'context.rng("hidden")' in caught.value.hint


def test_every_task_that_dojo_brings_along_draws_its_small_hidden_split_with_the_secret(tmp_path: Path) -> None:
    made = [task for task in list_tasks() if not getattr(load_build(task), "FETCHES", {}).get("mini", ())]
    assert len(made) >= 9
    for task in made:
        public, drawn = (prepare_task(task, "mini", tmp_path, hidden=hidden) for hidden in (PUBLIC_HIDDEN, None))
        assert drawn.hidden == installation_secret(tmp_path).digest
        assert "questions stand in the public draw too" in _hidden_split(public, drawn)


def _with_few_numbers(folder: Path, taught: int) -> Task:
    """Forty numbers for ten hidden items; so many of them are asked about in a source too."""
    few = ("range(500_000, 999_999)", "range(500_000, 500_040)")
    return task_with(folder, few, ("for n in numbers[20:]]", f"for n in [*numbers[20:], *range(500_000, {500_000 + taught})]]"))


def test_hidden_items_that_stand_in_a_source_are_drawn_anew_and_no_row_is_missing_from_what_agents_see(tmp_path: Path) -> None:
    task = _with_few_numbers(tmp_path, 4)
    for n in range(8):  # of the first draws three of four have such an item
        cache = tmp_path / str(n)
        cache.mkdir()
        set_secret(cache, f"{n:064x}")
        prepared = prepare_task(task, "mini", cache)
        taught = [json.loads(line)["problem"] for line in prepared.sources[0].path.read_text().splitlines()]
        assert len(taught) == 34 and not hidden(prepared) & set(taught)
        assert prepared.hidden == installation_secret(cache).digest
        assert stat.S_IMODE(prepared.dir.stat().st_mode) == 0o700


def test_a_task_whose_sources_hold_all_that_could_be_asked_says_so(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="each of 16 hidden splits of mini has items that stand in the sources"):
        prepare_task(_with_few_numbers(tmp_path, 40), "mini", tmp_path / "cache")


def test_a_secret_on_the_command_line_is_not_taken_nor_said_again_and_the_way_that_is_named_works(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("DOJO_CACHE", str(tmp_path))
    assert main(["data", "secret", "--set", "hunter2"]) == 2
    said = capsys.readouterr().err
    assert "read from stdin" in said and "`dojo data secret --set < FILE`" in said and "hunter2" not in said
    monkeypatch.setattr("sys.stdin", io.StringIO("ab" * 32 + "\n"))
    assert main(["data", "secret", "--set"]) == 0
    assert installation_secret(tmp_path).text == "ab" * 32
