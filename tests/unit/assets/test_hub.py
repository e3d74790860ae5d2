from __future__ import annotations

import json
from pathlib import Path

import pytest

from harness.assets.hub import HubData, fetch_data, read_rows
from harness.assets.tree import sha256_file
from harness.spec.errors import MissingError, SpecError

COMMIT = "0123456789" * 4


@pytest.fixture
def mirror(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "mirror" / "datasets" / "org" / "name"
    folder.mkdir(parents=True)
    (folder / "rows.jsonl").write_text('{"a": 1}\n\n{"a": 2}\n')
    monkeypatch.setenv("DOJO_HUB_MIRROR", str(tmp_path / "mirror"))
    return folder


def test_a_mirrored_data_set_is_read_where_it_lies(mirror: Path, tmp_path: Path) -> None:
    found = fetch_data(HubData("org/name", ("rows.jsonl",), "MIT"), tmp_path / "cache")
    assert read_rows(found.path("rows.jsonl")) == [{"a": 1}, {"a": 2}]
    assert found.sha256 == {"rows.jsonl": sha256_file(mirror / "rows.jsonl")} and found.revision == "mirror"


def test_a_mirrored_file_is_checked_against_its_pin(mirror: Path, tmp_path: Path) -> None:
    pinned = sha256_file(mirror / "rows.jsonl")
    fetch_data(HubData("org/name", ("rows.jsonl",), "MIT", COMMIT, {"rows.jsonl": pinned}), tmp_path)
    with pytest.raises(MissingError, match="not the pinned"):
        fetch_data(HubData("org/name", ("rows.jsonl",), "MIT", COMMIT, {"rows.jsonl": "0" * 64}), tmp_path)


def test_what_the_mirror_lacks_is_named(mirror: Path, tmp_path: Path) -> None:
    with pytest.raises(MissingError, match=r"no file other\.jsonl"):
        fetch_data(HubData("org/name", ("other.jsonl",), "MIT"), tmp_path)
    with pytest.raises(MissingError, match="datasets/org/else"):
        fetch_data(HubData("org/else", ("rows.jsonl",), "MIT"), tmp_path)


def test_without_a_pinned_commit_the_hub_is_not_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DOJO_HUB_MIRROR", raising=False)
    data = HubData("some-org/Some.Name", ("rows.jsonl",), "MIT")
    with pytest.raises(MissingError) as caught:
        fetch_data(data, tmp_path)
    assert "DOJO_REVISION_SOME_ORG_SOME_NAME" in caught.value.hint
    monkeypatch.setenv("DOJO_REVISION_SOME_ORG_SOME_NAME", "main")
    with pytest.raises(MissingError, match="'main' is none"):
        data.revision()
    monkeypatch.setenv("DOJO_REVISION_SOME_ORG_SOME_NAME", COMMIT)
    assert data.revision() == COMMIT


def test_a_hub_that_cannot_be_reached_is_a_missing_thing_with_a_way_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DOJO_HUB_MIRROR", raising=False)
    # The client reads its settings at import; a port where nobody listens works either way.
    import huggingface_hub.constants as constants

    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(MissingError, match=r"org/name/rows\.jsonl could not be fetched") as caught:
        fetch_data(HubData("org/name", ("rows.jsonl",), "MIT", COMMIT), tmp_path)
    assert "DOJO_HUB_MIRROR" in caught.value.hint
    assert not list((tmp_path / "hub").rglob("rows.jsonl"))


def test_rows_come_from_json_lines_lists_csv_and_parquet(tmp_path: Path) -> None:
    rows = [{"q": "ä", "n": 1}, {"q": "b", "n": 2}]
    (tmp_path / "a.json").write_text(json.dumps(rows), encoding="utf-8")
    (tmp_path / "a.csv").write_text("\ufeffq,n\nä,1\nb,2\n", encoding="utf-8")
    assert read_rows(tmp_path / "a.json") == rows
    assert read_rows(tmp_path / "a.csv") == [{"q": "ä", "n": "1"}, {"q": "b", "n": "2"}]
    pandas = pytest.importorskip("pandas")
    pytest.importorskip("pyarrow")
    pandas.DataFrame(rows).to_parquet(tmp_path / "a.parquet")
    assert read_rows(tmp_path / "a.parquet") == rows


def test_rows_that_do_not_parse_name_file_and_line(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"a": 1}\n{"a": \n')
    with pytest.raises(SpecError, match=r"a\.jsonl:2"):
        read_rows(tmp_path / "a.jsonl")
    (tmp_path / "a.json").write_text('{"a": 1}')
    with pytest.raises(SpecError, match="a list"):
        read_rows(tmp_path / "a.json")
    with pytest.raises(SpecError, match="xlsx"):
        read_rows(tmp_path / "a.xlsx")
