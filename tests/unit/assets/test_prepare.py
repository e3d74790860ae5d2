from __future__ import annotations

import json
from pathlib import Path

import pytest

from harness.assets.prepare import PreparedTask, limited, prepare_task, write_lines
from harness.assets.task_dir import load_task
from harness.spec.errors import SpecError, UsageError
from harness.taskkit.building.data import paper_split

TOML = """
[metadata.dojo]
title = "Toy"
summary = "A toy."
answer_format = "a number"
metric = {name = "accuracy", description = "share right"}
subsets = [{name = "all", metric = "accuracy"}]
[metadata.dojo.profiles.mini]
base_model = "smol"
budget = {wall = "5m"}
"""

PREPARE = """
from harness.taskkit.building.data import Item, Source, SourceRow, TaskData
from .neighbour import question


def item(split, n, text=None, key=None, subset="all", answer="", id=None):
    text = question(n) if text is None else text
    row = {"question": text, "answer": n % 7}
    return Item(id or f"{split}-{n}", subset, "sum", text + "!", n % 7, row, text, (key or f"k{n}",), answer)


def build(profile, context):
    rng = context.rng("noise")
    rows = [SourceRow({"problem": question(n)}, question(n), (f"k{n}",)) for n in range(100, 110)]
    rows += [SourceRow({"problem": question(0).upper()}, question(0).upper()), SourceRow({"problem": "?"}, "?", ("k1",))]
    data = dict(
        dev=[item("dev", n) for n in (0, 1)],
        hidden=[item("hidden", n) for n in (2, 3)],
        few_shot=[item("shot", 9, answer="2")],
        sources=[Source("raw", "Raw rows.", "CC0", rows)],
        origin=["Made up."],
        licences={"toy": "CC0"},
    )
    CHANGE
    return TaskData(**data)
"""


def toy(folder: Path, change: str = "pass", prepare: str = PREPARE) -> Path:
    path = folder / "tasks" / "toy" / "sums"
    path.mkdir(parents=True, exist_ok=True)
    (path / "task.toml").write_text(TOML)
    (path / "instruction.md").write_text("# {{title}}\n{{sources}}\n{{budget}}\n")
    (path / "neighbour.py").write_text('def question(n):\n    return f"How much is {n} and one more?"\n')
    (path / "prepare.py").write_text(prepare.replace("CHANGE", change))
    return path


def prepared(folder: Path, change: str = "pass", **kwargs: str) -> PreparedTask:
    return prepare_task(load_task(toy(folder, change, **kwargs)), "mini", folder / "cache")


def lines(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_the_splits_sources_card_and_manifest_are_written(tmp_path: Path) -> None:
    task = prepared(tmp_path)
    assert task.dir.parent == tmp_path / "cache" / "data" / "toy" / "sums" / "mini"
    assert [i["id"] for i in lines(task.dev_path)] == ["dev-0", "dev-1"]
    assert set(lines(task.hidden_path)[0]) == {"id", "subset", "type", "prompt", "gold", "row"}
    assert lines(task.few_shot_path)[0]["answer"] == "2"
    assert [(s.name, s.rows) for s in task.sources] == [("raw", 10)]
    assert task.manifest["licences"] == {"toy": "CC0"} and task.manifest["seeds"] == {"noise": "toy/sums:noise"}
    assert set(task.manifest["files"]) == {"dev.jsonl", "hidden.jsonl", "few_shot.jsonl", "sources/raw.jsonl", "card.md"}


def test_sources_lose_what_repeats_an_item_and_the_card_says_how_much(tmp_path: Path) -> None:
    task = prepared(tmp_path)
    assert task.manifest["removed"] == {"raw": {"before": 12, "removed": 2, "normalised": 1, "shared key": 1}}
    assert "2 of 12 (1 normalised, 1 shared key)" in (task.dir / "card.md").read_text()


def test_the_card_does_not_show_any_item_of_dev_or_hidden(tmp_path: Path) -> None:
    task = prepared(tmp_path)
    card = (task.dir / "card.md").read_text()
    for item in [*lines(task.dev_path), *lines(task.hidden_path)]:
        assert str(item["prompt"]) not in card and str(item["id"]) not in card


def test_what_is_prepared_is_not_prepared_again(tmp_path: Path) -> None:
    first = prepared(tmp_path)
    before = first.manifest
    marker = first.dir / "manifest.json"
    stamp = marker.stat().st_mtime_ns
    second = prepared(tmp_path)
    assert (second.dir, second.manifest, marker.stat().st_mtime_ns) == (first.dir, before, stamp)


def test_a_changed_program_prepares_anew_beside_the_old(tmp_path: Path) -> None:
    first = prepared(tmp_path)
    second = prepared(tmp_path, "data['dev'] = data['dev'][:1]")
    assert first.dir != second.dir and first.digest != second.digest and first.dir.is_dir()


def test_equal_data_has_an_equal_digest_in_another_cache(tmp_path: Path) -> None:
    assert prepared(tmp_path / "a").digest == prepared(tmp_path / "b").digest


def test_a_file_changed_in_the_cache_is_noticed(tmp_path: Path) -> None:
    task = prepared(tmp_path)
    text = task.hidden_path.read_text()
    task.hidden_path.write_text(text.replace("2", "3", 1))
    with pytest.raises(SpecError, match=r"hidden\.jsonl is not what was prepared") as caught:
        prepared(tmp_path)
    assert "prepare again" in caught.value.hint


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("data['dev'].append(item('dev', 0, text='x', key='k50'))", "id 'dev-0' occurs 2 times"),
        (
            "data['hidden'].append(item('hidden', 1, text='other', key='k1'))",
            "hidden-1 in hidden has the same key as dev-1 in dev",
        ),
        (
            "data['hidden'].append(item('hidden', 50, text='HOW MUCH is 1, and one more'))",
            "hidden-50 in hidden has the same text as dev-1 in dev",
        ),
        (
            "data['dev'].append(item('dev', 60, text='How much is 0 and one more'))",
            "dev-60 in dev has the same text as dev-0 in dev",
        ),
        ("data['few_shot'].append(item('shot', 2, answer='3', key='k2'))", "has the same"),
        ("data['dev'].append(item('dev', 50, subset='none'))", "unknown sub-set 'none'"),
        ("data['few_shot'].append(item('shot', 50))", "shot-50 has no answer"),
        ("data['hidden'] = []", "split hidden is empty"),
        ("data['dev'] += [item('dev', n) for n in range(700, 840, 1) if n % 7 == 0]", None),
        (
            "data['dev'] = sorted((item('dev', n) for n in range(700, 740)), key=lambda i: i.gold)",
            "the items of all stand in the order of their answers",
        ),
        ("data['dev'].append(Item('dev-blue-1', 'all', 't', 'p', 'blue', {}, 'p', ('x',)))", "holds the answer"),
        ("data['dev'].append(Item('dev-1x', 'all', 't', 'p', 1, {}))", "neither text nor keys"),
        ("data['sources'] = [Source('../raw', 'd', 'l', rows)]", "is no file name"),
    ],
)
def test_data_that_is_not_fit_is_refused_with_the_reason(tmp_path: Path, change: str, message: str | None) -> None:
    if message is None:
        prepared(tmp_path, change)
        return
    with pytest.raises(SpecError) as caught:
        prepared(tmp_path, change)
    assert message in caught.value.message
    assert not list((tmp_path / "cache").rglob("manifest.json"))


def test_a_fixed_split_reports_what_it_shares_and_goes_on(tmp_path: Path) -> None:
    change = "data['hidden'].append(item('hidden', 1, text='other', key='k1')); data['fixed_split'] = True"
    shared = prepared(tmp_path, change).manifest["shared_by_dev_and_hidden"]
    assert shared == ["hidden-1 in hidden has the same key as dev-1 in dev"]


@pytest.mark.parametrize(
    ("prepare", "message"),
    [
        ("def build(profile, context):\n    raise ValueError('broke')", "build('mini') failed: ValueError('broke')"),
        ("def build(profile, context):\n    return 3", "build() gave a int"),
        ("x = 1", "has no build"),
        ("import nothing_like_this", "does not load"),
    ],
)
def test_a_broken_preparation_names_its_file_and_reason(tmp_path: Path, prepare: str, message: str) -> None:
    with pytest.raises(SpecError) as caught:
        prepared(tmp_path, prepare=prepare)
    assert "sums/prepare.py" in caught.value.message and message in caught.value.message


def test_an_unknown_profile_names_those_there_are(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as caught:
        prepare_task(load_task(toy(tmp_path)), "full", tmp_path)
    assert caught.value.hint == "it has mini"


def test_the_paper_s_split_takes_the_ends_of_a_shuffled_order() -> None:
    dev, hidden = paper_split(41)
    assert len(dev) == len(hidden) == 20 and not set(dev) & set(hidden)
    assert paper_split(30, shuffled=False) == (list(range(15)), list(range(15, 30)))
    big_dev, big_hidden = paper_split(1000)
    assert len(big_dev) == len(big_hidden) == 100 and paper_split(1000) == (big_dev, big_hidden)


def test_a_limited_look_has_the_first_items_and_is_never_taken_for_the_whole(tmp_path: Path) -> None:
    whole = prepared(tmp_path)
    one = limited(whole, 1, tmp_path / "cache")
    assert lines(one.dev_path) == lines(whole.dev_path)[:1] and lines(one.hidden_path) == lines(whole.hidden_path)[:1]
    assert lines(one.few_shot_path) == lines(whole.few_shot_path) and one.manifest["limit"] == 1
    assert one.manifest["ids"] == {"dev": ["dev-0"], "hidden": ["hidden-2"]}
    assert [(s.name, s.rows, lines(s.path)) for s in one.sources] == [(s.name, s.rows, lines(s.path)) for s in whole.sources]
    assert (one.task, one.profile) == (whole.task, whole.profile) and one.dir != whole.dir
    more = limited(whole, 9, tmp_path / "cache")
    assert lines(more.hidden_path) == lines(whole.hidden_path)
    assert len({whole.digest, one.digest, more.digest}) == 3
    assert limited(whole, 1, tmp_path / "cache") == one
    with pytest.raises(UsageError, match="limit of 0"):
        limited(whole, 0, tmp_path / "cache")


def test_characters_that_end_a_line_for_some_readers_end_none(tmp_path: Path) -> None:
    rows = [{"text": "one\u2028two\u2029three\u0085four\x1cfive"}, {"text": "ä"}]
    assert write_lines(tmp_path / "rows.jsonl", rows) == 2
    assert lines(tmp_path / "rows.jsonl") == rows and "ä" in (tmp_path / "rows.jsonl").read_text(encoding="utf-8")
