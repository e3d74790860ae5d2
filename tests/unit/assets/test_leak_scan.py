"""The second look at prepared data: clean tasks are clean, and each planted leak is found by its detector."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from harness.assets.base_models import prepare_base_model
from harness.assets.leak_scan import folded, scan_leaks, search_texts
from harness.assets.prepare import PreparedTask, prepare_task
from harness.assets.task_dir import Task, find_task, list_tasks
from harness.assets.task_program import load_build
from harness.executor.checks import check_task
from harness.service import Dojo
from harness.spec.errors import MissingError
from harness.spec.run import PUBLIC_HIDDEN
from harness.taskkit.building.overlap import texts

Row = dict[str, Any]


@pytest.mark.parametrize("task", list_tasks(), ids=lambda t: t.id)
def test_every_task_s_mini_profile_is_clean(task: Task) -> None:
    report = scan_leaks(prepare_task(task, "mini", Dojo().cache))
    assert (report.found, report.not_run) == (0, {}), report.hits
    assert report.items and report.rows


def copy_of(task: str, target: Path) -> PreparedTask:
    prepared = prepare_task(find_task(task), "mini", Dojo().cache, hidden=PUBLIC_HIDDEN)  # every installation's is another
    shutil.copytree(prepared.dir, target)
    sources = tuple(replace(s, path=target / s.path.relative_to(prepared.dir)) for s in prepared.sources)
    return replace(prepared, dir=target, sources=sources)


def hidden(prepared: PreparedTask, n: int) -> Row:
    found: Row = json.loads(prepared.hidden_path.read_text(encoding="utf-8").splitlines()[n])
    return found


def plant(prepared: PreparedTask, row: Row) -> str:
    path = prepared.sources[0].path
    with path.open("a", encoding="utf-8") as stream:
        stream.write(json.dumps(row, ensure_ascii=False) + "\n")
    return f"sources/{path.name}:{prepared.sources[0].rows + 1}"


def shouted(value: Any) -> Any:
    if isinstance(value, str):
        return value.upper()
    return [shouted(v) for v in value] if isinstance(value, list) else value


PLANTS: dict[str, tuple[str, Callable[[Row], Row]]] = {
    "prompt": ("biology/ord", lambda item: {"instruction": item["prompt"], "output": "?"}),
    "prompt with other spaces": ("math/aime25", lambda item: {"instruction": item["prompt"].replace(" ", "  \n")}),
    "question in capitals": ("biology/ord", lambda item: {k: shouted(v) for k, v in item["row"].items()}),
    "question under other names": ("table/fact_checking", lambda item: {"x": [item["row"]["question"], item["row"]["table"]]}),
    "question as JSON text": ("patent/par4pc", lambda item: {"raw": json.dumps(json.dumps(item["row"]))}),
    "question as JSON text after a line break": ("patent/par4pc", lambda item: {"raw": "\n " + json.dumps(item["row"])}),
    "prompt inside a longer text": ("table/visualization", lambda item: {"chat": f"User: {item['prompt']}\nAssistant: ?"}),
    "prompt in capitals": ("math/aime25", lambda item: {"t": item["prompt"].upper()}),
    "subject beside longer reasoning": (
        "chemistry/mol_und",
        lambda item: {"query": f"Name a use of {respelled(item)}", "struct_cot": f"Its ester {LARGER} was looked at first."},
    ),
    "ngram inside a longer text": ("biology/pqa", lambda item: {"text": f"It is known: {item['row']['question']} And so on."}),
    "subject": ("chemistry/mol_und", lambda item: {"query": f"Name a use of {respelled(item)}", "gt": "none"}),
}


LARGER = "CC(C)Cc1ccc(cc1)C(C)C(=O)OCCOCCOC(=O)CCCCCCCCC"


def respelled(item: Row) -> str:
    from rdkit import Chem

    molecule = Chem.MolFromSmiles(item["row"]["query"].rstrip("?").rsplit(" ", 1)[-1])
    spelled = Chem.MolToSmiles(molecule, rootedAtAtom=molecule.GetNumAtoms() - 1, kekuleSmiles=False)
    assert spelled not in item["row"]["query"]
    return spelled


@pytest.mark.parametrize("name", PLANTS)
def test_a_planted_leak_is_found_where_it_lies(name: str, tmp_path: Path) -> None:
    task, made = PLANTS[name]
    prepared = copy_of(task, tmp_path / "data")
    wanted = (
        (lambda item: "scaffold" in item["prompt"]) if name.startswith("subject") else (lambda item: len(item["prompt"]) > 60)
    )
    item = next(found for n in range(40) if wanted(found := hidden(prepared, n)))
    place = plant(prepared, made(item))
    report = scan_leaks(prepared)
    assert (name.split()[0], item["id"], place) in {(h.detector, h.item, h.place) for h in report.hits}


def test_a_prompt_in_the_data_card_is_found(tmp_path: Path) -> None:
    prepared = copy_of("biology/err", tmp_path / "data")
    with (prepared.dir / "card.md").open("a", encoding="utf-8") as card:
        card.write(f"\n> {hidden(prepared, 3)['prompt']}\n")
    assert ("prompt", "card.md") in {(h.detector, h.place) for h in scan_leaks(prepared).hits}


def rewrite(path: Path, rows: list[Row]) -> None:
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")


def test_a_hidden_item_in_dev_is_found_but_where_the_benchmark_put_it(tmp_path: Path) -> None:
    prepared = copy_of("biology/pqa", tmp_path / "data")
    item = hidden(prepared, 0)
    dev = [json.loads(line) for line in prepared.dev_path.read_text(encoding="utf-8").splitlines()]
    rewrite(prepared.dev_path, [*dev, {**item, "id": "dev-999"}])
    assert ("prompt", item["id"], "dev.jsonl, dev-999") in {(h.detector, h.item, h.place) for h in scan_leaks(prepared).hits}
    declared = replace(
        prepared, manifest={**prepared.manifest, "shared_by_dev_and_hidden": ["dev-999 in dev has the same prompt"]}
    )
    assert scan_leaks(declared).found == 0


def test_a_molecule_of_hidden_asked_about_in_dev_is_found(tmp_path: Path) -> None:
    prepared = copy_of("chemistry/mol_und", tmp_path / "data")
    item = next(found for n in range(40) if "scaffold" in (found := hidden(prepared, n))["prompt"])
    query = f"Name a use of {respelled(item)}"
    dev = [json.loads(line) for line in prepared.dev_path.read_text(encoding="utf-8").splitlines()]
    rewrite(prepared.dev_path, [*dev, {**item, "id": "dev-999", "prompt": query, "row": {**item["row"], "query": query}}])
    assert ("subject", item["id"], "dev.jsonl, dev-999") in {(h.detector, h.item, h.place) for h in scan_leaks(prepared).hits}


def test_an_id_with_the_answer_and_items_in_order_of_answers_are_found(tmp_path: Path) -> None:
    prepared = copy_of("patent/noc4pc", tmp_path / "data")
    rows = [json.loads(line) for line in prepared.hidden_path.read_text(encoding="utf-8").splitlines()]
    rewrite(prepared.hidden_path, [{**rows[0], "id": f"hidden-{rows[0]['gold']}"}, *rows[1:]])
    assert [h.place for h in scan_leaks(prepared).hits if h.detector == "answers"] == ["hidden.jsonl"]
    rewrite(prepared.hidden_path, sorted(rows, key=lambda row: str(row["gold"])))
    assert [h.item for h in scan_leaks(prepared).hits if "order of their answers" in h.item]


def test_where_a_task_cannot_tell_subjects_the_detector_says_that_it_did_not_run(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(_row: Any) -> set[str]:
        raise MissingError("RDKit is not installed", hint="install it")

    task = find_task("chemistry/mol_und")
    monkeypatch.setattr(load_build(task), "subjects", missing)
    report = scan_leaks(prepare_task(task, "mini", Dojo().cache))
    assert report.not_run == {"subject": "RDKit is not installed"} and "subject" not in report.counts


def test_case_is_meaning_in_a_formula_and_none_in_a_word() -> None:
    assert folded("Is  it\nC1CCCCC1?") == folded("is it C1CCCCC1 ?".replace(" ?", "?"))
    assert folded("Is it c1ccccc1?") != folded("Is it C1CCCCC1?")
    assert list(texts({"a": ["x", json.dumps({"b": "[y"})], "c": 1})) == ["x", "[y"]


def test_the_check_of_a_task_names_item_and_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    prepared = copy_of("biology/pqa", tmp_path / "data")
    item = hidden(prepared, 0)
    place = plant(prepared, {"question": item["prompt"]})
    monkeypatch.setattr("harness.executor.checks.prepare_task", lambda *_, **__: prepared)
    dojo = Dojo()
    found = check_task(prepared.task, "mini", dojo.cache, lambda: prepare_base_model("smol", dojo.cache))
    leaks = next(check for check in found.checks if check.name == "leaks")
    assert not leaks.ok and f"{item['id']} in {place} (prompt)" in leaks.detail and "prepare.py" in leaks.hint


def test_runs_of_words_with_formulas_that_differ_in_case_alone_are_two() -> None:
    """A ring of six carbons without double bonds is not benzene, though both are written with the same letters."""
    text = "What is formed in the first step of the methyl ester formation? Reactants: {}"
    ring, benzene = text.format("NCC1CCC(C(=O)O)CC1"), text.format("NCc1ccc(C(=O)O)cc1")
    items = [{"id": "i1", "prompt": f"Reply in JSON. {ring}", "row": {"q": ring}}]
    found = {said: search_texts(items, [("here", said)]).counts["ngram"] for said in (ring, benzene, text.upper() + ring)}
    assert found == {ring: 1, benzene: 0, text.upper() + ring: 1}
