"""Numbers of users for sandboxes: one each, nobody else's, and given again only after all others."""

import itertools
import json
import os
import pwd
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.sandbox import sandbox_user, uids
from harness.sandbox.uids import Span, claim
from harness.spec.errors import SandboxUnavailable

SPAN = Span(1_950_000_000, 3)


@pytest.fixture
def sandbox(tmp_path: Path) -> Callable[[str], Path]:
    def made(name: str) -> Path:
        folder = tmp_path / "sb" / name
        folder.mkdir(parents=True)
        return folder

    return made


def gone(folder: Path) -> None:
    (folder / "user.json").unlink()
    folder.rmdir()


def test_two_sandboxes_have_two_users_over_all_kinds_of_sandboxes(tmp_path: Path, sandbox: Callable[[str], Path]) -> None:
    other = tmp_path / "dk" / "c"
    other.mkdir(parents=True)
    assert {claim(sandbox("a"), SPAN), claim(sandbox("b"), SPAN), claim(other, SPAN)} == set(range(SPAN.first, SPAN.first + 3))


def test_a_number_that_was_given_back_comes_again_last(sandbox: Callable[[str], Path]) -> None:
    first = sandbox("a")
    assert claim(first, SPAN) == SPAN.first
    gone(first)
    assert [claim(sandbox(name), SPAN) - SPAN.first for name in "bcd"] == [1, 2, 0]


def test_when_all_are_taken_a_sandbox_is_refused_and_told_why(sandbox: Callable[[str], Path]) -> None:
    for name in "abc":
        claim(sandbox(name), SPAN)
    with pytest.raises(SandboxUnavailable, match="taken") as refused:
        claim(sandbox("d"), SPAN)
    assert refused.value.hint and not (sandbox("e") / "user.json").exists()


def test_the_number_of_an_account_of_a_process_or_of_a_subordinate_range_is_left_out(
    tmp_path: Path, sandbox: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    account = max(entry.pw_uid for entry in pwd.getpwall())
    free = uids.free_on_this_host()
    assert not free(account) and not free(os.geteuid()) and free(SPAN.first)
    ranges = tmp_path / "subuid"
    ranges.write_text(f"somebody:{SPAN.first}:2\nnonsense\n:\n")
    monkeypatch.setattr(uids, "SUBORDINATE", (ranges, tmp_path / "none"))
    assert uids.subordinate(ranges) == [("somebody", Span(SPAN.first, 2))]
    assert claim(sandbox("a"), SPAN) == SPAN.first + 2


def test_where_large_numbers_do_not_exist_small_ones_are_given() -> None:
    container = "         0     100000      65536\n"
    assert uids._covers(container, uids.small_span()) and not uids._covers(container, SPAN)
    assert uids._covers("0 0 4294967295", SPAN)
    assert not uids._covers("0 1000 1", uids.small_span())


def test_numbers_of_two_users_who_run_dojo_never_meet(monkeypatch: pytest.MonkeyPatch) -> None:
    spans = []
    for user in (0, 1, 1000, 65534):
        monkeypatch.setattr(os, "geteuid", lambda user=user: user)
        spans.append(uids.own_span())
    ends = [(span.first, span.first + span.size) for span in sorted(spans)]
    assert all(end <= start for (_, end), (start, _) in itertools.pairwise(ends))
    assert ends[0][0] > 1_879_048_191 and ends[-1][1] < 2_147_352_576


@pytest.fixture
def mappers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An ordinary user with subordinate users and the programs that map them; they are never started."""
    for name in ("newuidmap", "newgidmap"):
        (tmp_path / name).touch()
        (tmp_path / name).chmod(0o4755)
    (tmp_path / "subuid").write_text("12345:100000:65536\nother:1:1\n")
    (tmp_path / "subgid").write_text("12345:300000:1000\n")
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(sandbox_user, "SYSTEM_PATH", str(tmp_path))  # this host may have the real ones
    monkeypatch.setattr(uids, "SUBORDINATE", (tmp_path / "subuid", tmp_path / "subgid"))
    for name in ("geteuid", "getegid"):
        monkeypatch.setattr(os, name, lambda: 12345)
    return tmp_path


def test_an_ordinary_user_gives_the_last_of_its_subordinate_users(mappers: Path, sandbox: Callable[[str], Path]) -> None:
    user = sandbox_user.sandbox_user(sandbox("a"))
    (newuidmap, users), (_, groups) = user.maps
    assert (user.mode, user.inside, newuidmap) == ("privileged", 1000, str(mappers / "newuidmap"))
    assert users == [[0, 12345, 1], [1000, 165536 - 512, 1]] and groups == [[0, 12345, 1], [1000, 301000 - 512, 1]]
    assert json.loads((mappers / "sb/a/user.json").read_text()) == 165536 - 512


@pytest.mark.parametrize("missing", ["newgidmap", "subuid", "set-uid"])
def test_without_ranges_or_programs_an_ordinary_user_has_one_user(mappers: Path, missing: str) -> None:
    if missing == "set-uid":
        (mappers / "newuidmap").chmod(0o755)
    else:
        (mappers / missing).unlink()
    if missing == "newgidmap":
        (mappers / missing).mkdir()
    assert sandbox_user.likely_user() == ("nested", [])
