"""The suite's own rules: all rows, what a verdict means, what is refused, and what the command answers."""

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import ClassVar

import pytest

from harness.attack import ATTACKS, THREATS, Attack, NotStopped, Played, Report, RowReport, Verdict, Where, page, suite
from harness.attack.base import DoesNotApply
from harness.attack.ground import Ground
from harness.attack.promised import _BY_NAME, promised
from harness.cli.main import main
from harness.sandbox.contract import PROMISES
from harness.sandbox.registry import get_backend
from harness.sandbox.scripted import ScriptedBackend
from harness.spec.errors import GraderFailure, MissingError, UsageError


@dataclasses.dataclass
class Answer:
    code: int
    out: str
    err: str


@pytest.fixture
def dojo_cli(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Callable[..., Answer]:
    monkeypatch.setenv("DOJO_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("DOJO_CACHE", str(tmp_path / "cache"))

    def call(*args: str) -> Answer:
        code = main(list(args))
        captured = capsys.readouterr()
        return Answer(code, captured.out, captured.err)

    return call


def finds_nothing(ground: Ground) -> str:
    raise DoesNotApply("there is no cluster")


def attack(play: Callable[[Ground], str] | None, waits_for: str = "") -> Attack:
    return Attack(20, "test", Where.ARTEFACT, "try", "a wall", play, waits_for=waits_for)


def verdict_of(made: Attack) -> Played:
    return suite.play(made, None)  # type: ignore[arg-type]


def succeeds(ground: Ground) -> str:
    raise NotStopped("the loot")


def breaks(ground: Ground) -> str:
    raise GraderFailure("no idea")


def lacks(ground: Ground) -> str:
    raise MissingError("no image")


def test_every_row_has_attacks_and_only_known_rows_do() -> None:
    assert list(THREATS) == list(range(1, 45))
    assert {a.row for a in ATTACKS} == set(THREATS)
    for row in THREATS:
        mine = [a for a in ATTACKS if a.row == row]
        assert any(a.play for a in mine), f"row {row} tries nothing"
        assert all(a.waits_for for a in mine if a.play is None), f"row {row} waits for nothing in particular"


def test_attacks_have_names_of_their_own_and_say_what_they_try_and_what_must_hold() -> None:
    assert len({str(a) for a in ATTACKS}) == len({a.name for a in ATTACKS}) == len(ATTACKS)
    for one in ATTACKS:
        assert one.tried and one.stopped_by and not one.tried.endswith("."), one


@pytest.mark.parametrize(
    ("made", "verdict", "seen"),
    [
        (attack(lambda ground: "a wall"), Verdict.STOPPED, "a wall"),
        (attack(succeeds), Verdict.NOT_STOPPED, "the loot"),
        (attack(breaks), Verdict.NOT_STOPPED, "broke"),
        (attack(breaks, "a scan"), Verdict.NOT_STOPPED, "broke"),
        (attack(succeeds, "a scan"), Verdict.WAITING, "waits for a scan"),
        (attack(None, "a scan"), Verdict.WAITING, "a scan"),
        (attack(finds_nothing), Verdict.NOT_HERE, "no cluster"),
    ],
)
def test_what_is_seen_of_an_attack_makes_its_verdict(made: Attack, verdict: Verdict, seen: str) -> None:
    played = verdict_of(made)
    assert played.verdict is verdict and seen in played.seen


def test_what_is_missing_is_no_verdict() -> None:
    with pytest.raises(MissingError):
        verdict_of(attack(lacks))


@pytest.mark.parametrize(
    ("verdicts", "row"),
    [
        ([Verdict.STOPPED, Verdict.STOPPED], Verdict.STOPPED),
        ([Verdict.STOPPED, Verdict.LEFT_OUT], Verdict.STOPPED),
        ([Verdict.STOPPED, Verdict.WAITING], Verdict.WAITING),
        ([Verdict.WAITING, Verdict.NOT_STOPPED, Verdict.STOPPED], Verdict.NOT_STOPPED),
        ([Verdict.LEFT_OUT], Verdict.LEFT_OUT),
        ([Verdict.STOPPED, Verdict.NOT_HERE], Verdict.STOPPED),
        ([Verdict.NOT_HERE, Verdict.LEFT_OUT], Verdict.NOT_HERE),
    ],
)
def test_the_worst_attack_makes_the_verdict_of_a_row(verdicts: list[Verdict], row: Verdict) -> None:
    report = RowReport(THREATS[20], tuple(Played(attack(None), verdict, "") for verdict in verdicts))
    assert report.verdict is row
    assert Report("namespace", (report,)).held is (row is not Verdict.NOT_STOPPED)


class Weak(ScriptedBackend):
    """Gives no limit of memory."""

    not_promised: ClassVar[dict[str, str]] = {"memory": "nobody counts it here"}


def test_what_a_backend_does_not_promise_is_said_and_never_taken_for_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An attack that rests on it alone does not apply; one that rests on more is played without."""
    memory, files = (next(p for p in PROMISES if p.group == group) for group in ("memory", "files"))
    kept = dataclasses.replace(files, check=lambda stage: None)
    monkeypatch.setitem(_BY_NAME, files.name, kept)
    with Ground(Weak(), tmp_path) as ground:
        monkeypatch.setattr(Ground, "stage", None)
        alone = suite.play(promised(25, "a", "try", "a wall", memory.name), ground)
        both = suite.play(promised(25, "b", "try", "a wall", memory.name, files.name), ground)
    assert alone.verdict is Verdict.NOT_HERE and alone.seen == f"{memory.name} is not promised: nobody counts it here"
    assert both.verdict is Verdict.STOPPED and both.seen == f"kept: {files.name}; {alone.seen}"


def test_nothing_is_played_where_nothing_is_isolated(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="isolates nothing"):
        Ground(get_backend("unsafe-local"), tmp_path)


def test_the_table_in_the_docs_is_that_of_the_registry() -> None:
    text = page.PAGE.read_text(encoding="utf-8")
    assert page.page(text) == text, "run python -m harness.attack.page"
    assert page.main(["--check"]) == 0
    with pytest.raises(ValueError, match="no marks"):
        page.page("# another page")


def require_namespace() -> None:
    bad = [check for check in get_backend("namespace").check() if not check.ok]
    if bad:
        pytest.skip(bad[0].detail)


def test_the_command_plays_rows_and_says_what_held(dojo_cli: Callable[..., Answer]) -> None:
    require_namespace()
    answer = dojo_cli("attack", "--sandbox", "namespace", "--row", "20", "--row", "13", "--quick", "--json")
    document = json.loads(answer.out)
    assert answer.code == 0 and document["schema"] == "dojo/attack/v1" and document["ok"]
    rows = {row["row"]: row for row in document["data"]["rows"]}
    assert list(rows) == [13, 20] and document["data"]["held"]
    assert rows[20]["verdict"] == "stopped" and "forged verdicts were refused" in rows[20]["attacks"][0]["seen"]
    assert rows[13]["verdict"] == "waiting" and {a["verdict"] for a in rows[13]["attacks"]} == {"waiting", "left out"}
    assert "20 forges-verdicts (artefact): stopped" in answer.err
    text = dojo_cli("attack", "--sandbox", "namespace", "--row", "20", "--quick").out
    assert "forges-verdicts" in text and text.endswith("1 rows on namespace: 1 stopped\n")


def test_what_was_not_stopped_is_exit_code_1_and_shown(dojo_cli: Callable[..., Answer], monkeypatch: pytest.MonkeyPatch) -> None:
    require_namespace()
    monkeypatch.setattr(suite, "ATTACKS", (attack(succeeds), *(a for a in ATTACKS if a.row == 20)))
    answer = dojo_cli("attack", "--sandbox", "namespace", "--row", "20", "--json")
    document = json.loads(answer.out)
    assert answer.code == 1 and document["error"]["code"] == "not_stopped" and "row 20" in document["error"]["message"]
    assert [a["verdict"] for a in document["data"]["rows"][0]["attacks"]] == ["NOT STOPPED", "stopped"]
    assert "NOT STOPPED 20 test: the loot" in dojo_cli("attack", "--sandbox", "namespace", "--row", "20").out


def test_wrong_input_is_exit_code_2_and_what_is_missing_3(
    dojo_cli: Callable[..., Answer], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert dojo_cli("attack", "--row", "99", "--quick", "--json").code == 2
    assert dojo_cli("attack", "--sandbox", "unsafe-local", "--json").code == 2
    assert dojo_cli("attack", "--sandbox", "no-such", "--json").code == 2
    require_namespace()
    answer = dojo_cli("attack", "--sandbox", "namespace", "--row", "11", "--json")  # the cache is empty: no model
    assert answer.code == 3 and "--quick" in json.loads(answer.out)["error"]["hint"]
