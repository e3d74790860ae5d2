"""Data of the four protocol tasks: mini from seeded recipes, full and strict from files in BioProBench's layout."""

from __future__ import annotations

import json
import random
import re
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from task_cases import grader, lines, primary, task

from harness.assets.prepare import PreparedTask, prepare_task
from harness.assets.task_program import load_build
from harness.service import Dojo
from harness.spec.errors import MissingError, SpecError
from harness.spec.run import PUBLIC_HIDDEN

NAMES = ("pqa", "ord", "err", "gen")


@pytest.fixture(scope="module", params=NAMES)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def mini(name: str, tmp_path_factory: pytest.TempPathFactory) -> PreparedTask:
    return prepare_task(task(f"biology/{name}"), "mini", tmp_path_factory.mktemp("cache"))


def answered(name: str, row: Mapping[str, Any]) -> str:
    return str(load_build(task(f"biology/{name}")).TASK.answer_of(row))


def test_the_oracle_scores_1_and_empty_and_echoed_answers_nothing(name: str, mini: PreparedTask) -> None:
    items, grades = lines(mini.hidden_path), grader(f"biology/{name}")
    assert len(items) == 120 and len(set(Counter(i["type"] for i in items).values())) == 1
    answer_of = load_build(mini.task).TASK.answer_of
    assert primary(grades, items, lambda i: answer_of(i["row"])) == 1
    assert primary(grades, items, lambda i: "") == 0
    assert primary(grades, items, lambda i: i["prompt"]) == 0


# The floor of each task: a letter of four, one of 6 or 24 orders, F1 of half the items, words that all protocols share.
FLOORS = {"pqa": 0.45, "ord": 0.3, "err": 0.75, "gen": 0.9}


def test_constant_answers_stay_far_from_the_oracle(name: str, mini: PreparedTask) -> None:
    items, grades = lines(mini.hidden_path), grader(f"biology/{name}")
    kinds = sorted({i["type"] for i in items})
    best = {k: grades.majority_answer([i for i in items if i["type"] == k])[0] for k in kinds}
    assert primary(grades, items, lambda i: best[i["type"]]) < FLOORS[name]


def test_worked_examples_are_answered_in_the_form_that_scores(name: str, mini: PreparedTask) -> None:
    shots = lines(mini.few_shot_path)
    assert len(shots) == 6
    for item in shots:
        assert grader(f"biology/{name}").score(item["row"], item["answer"], name).score == 1


def values(text: str) -> dict[str, str]:
    """What a recipe says, read from its purpose or its steps by another way than they were made."""
    found = re.search(r"(\d+) g of (\w+)\D+(\d+) mL of (\w+)\D+(\d+) °C\D+(\d+) min", text)
    assert found, text
    return dict(zip(("grams", "reagent", "volume", "solvent", "heat", "time"), found.groups(), strict=True))


ORDER = ("Weigh", "Add", "Heat", "Stir", "Filter", "Store")


def right(name: str, item: dict[str, Any]) -> Any:
    """The answer by reading the prompt alone."""
    prompt = item["prompt"]
    if name == "ord":
        steps = re.findall(r"^(\d+): (\w+)", prompt, re.MULTILINE)
        return [int(place) for place, _ in sorted(steps, key=lambda s: ORDER.index(s[1]))]
    told = values(prompt)
    whole = [
        f"Weigh {told['grams']} g of {told['reagent']}.",
        f"Add {told['volume']} mL of {told['solvent']}.",
        f"Heat to {told['heat']} °C.",
        f"Stir for {told['time']} min.",
        "Filter the solution.",
        "Store it in the cold.",
    ]
    if name == "gen":
        return whole[:3] if "Stop after heating." in prompt else whole
    if name == "err":
        return re.search(r"^Step: (.*)$", prompt, re.MULTILINE).group(1) in whole
    asked = {"volume": f"{told['volume']} mL", "temperature": f"{told['heat']} °C", "stirred": f"{told['time']} min"}
    asked |= {"weighed": told["reagent"], "added": told["solvent"]}
    question = prompt.splitlines()[1]
    after = re.search(r"right after “(\w+)", question)
    answer = ORDER[ORDER.index(after.group(1)) + 1] if after else next(a for word, a in asked.items() if word in question)
    return {choice: letter for letter, choice in re.findall(r"^([A-D]): (.*)$", prompt, re.MULTILINE)}[answer]


@pytest.mark.parametrize("split", ["dev", "hidden", "few_shot"])
def test_every_label_is_right_by_reading_the_prompt_alone(name: str, mini: PreparedTask, split: str) -> None:
    for item in lines(mini.dir / f"{split}.jsonl"):
        assert right(name, item) == item["gold"], item["prompt"]


def test_no_recipe_is_shared_and_the_sources_are_uneven_and_partly_wrong(name: str, mini: PreparedTask) -> None:
    def recipe(row: Mapping[str, Any]) -> tuple[str, ...]:
        return tuple(values(json.dumps(row, ensure_ascii=False)).values())

    asked = [{recipe(i["row"]) for i in lines(mini.dir / f"{split}.jsonl")} for split in ("dev", "hidden", "few_shot")]
    rows = {s.name: lines(s.path) for s in mini.sources}
    trained = {recipe(r) for source in rows.values() for r in source}
    assert not trained & set.union(*asked) and sum(map(len, asked)) == len(set.union(*asked))
    prepare = load_build(mini.task)

    def wrong(row: Mapping[str, Any]) -> bool:
        return prepare.TASK.gold_of(row) != right(name, {"prompt": prepare.prompt(row)})

    assert {s: len(r) for s, r in rows.items()} == {"checked": 700, "crowd": 1400, "notes": 900}
    assert not any(wrong(r) for r in rows["checked"])
    assert 0.2 < sum(map(wrong, rows["crowd"])) / 1400 < 0.36
    blank = [r for r in rows["notes"] if not prepare.TASK.fits(r)]
    assert 0.25 < len(blank) / 900 < 0.42 and not any(wrong(r) for r in rows["notes"] if r not in blank)
    easiest = Counter(r["type"] for r in rows["checked"]).most_common(1)[0]
    assert easiest[0] == next(iter(prepare.KINDS)) and easiest[1] > 500
    assert len({json.dumps(r, sort_keys=True) for r in rows["crowd"]}) < 1300


def test_the_same_seed_gives_the_same_data(mini: PreparedTask, tmp_path: Path) -> None:
    one, other = (prepare_task(mini.task, "mini", cache, hidden=PUBLIC_HIDDEN) for cache in (Dojo().cache, tmp_path))
    assert one.digest == other.digest


WORDS = "gel buffer plate cell tube strain primer lysate pellet column filter sample medium flask probe array".split()  # noqa: SIM905


def upstream(name: str, number: int, words: random.Random) -> dict[str, Any]:
    """A row in BioProBench's layout, about a protocol of its own."""
    about = f"{' '.join(words.sample(WORDS, 5))} number {number}"
    steps = [f"{verb} the {about}." for verb in ("Thaw", "Mix", "Spin", "Wash")]
    kind = ("parameter", "reagent", "operation")[number % 3]
    if name == "pqa":
        choices = [f"{n} mL & {about}" for n in range(1, 6)]
        row = {"question": f"How much of the {about} is needed?", "choices": choices, "answer": choices[number % 5]}
        return {**row, "type": kind, "id": f"PQA-{number}"}
    if name == "ord":
        return {"question": f"Sort the steps titled {about}.", "wrong_steps": steps[::-1], "correct_steps": steps, "id": number}
    if name == "err":
        context = {"purpose": f"Prepare the {about}.", "prior_step": steps[0], "next_step": steps[2]}
        wrong = "" if number % 2 else steps[1].replace("Mix", "Burn")
        row = {"context": context, "corrupted_text": wrong, "corrected_text": steps[1], "is_correct": bool(number % 2)}
        return {**row, "type": kind, "error_description": ""}
    ask = {"system_prompt": "You write protocols.", "instruction": "Write a protocol.", "input": f"How to thaw the {about}?"}
    return {**ask, "output": [f"{n}. {step}" for n, step in enumerate(steps, 1)], "type": "easy"}


BROKEN = {
    "pqa": {"answer": "none of them"},
    "ord": {"correct_steps": ["Something else."]},
    "err": {"is_correct": None},
    "gen": {"output": []},
}
TESTS, SHARED = 340, 5


@pytest.fixture(scope="module")
def files(name: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A mirror: 340 test rows and one broken, two that repeat others; training rows of which five are the test's."""
    words = random.Random(name)
    tests = [upstream(name, n, words) for n in range(TESTS)]
    training = [upstream(name, n, words) for n in range(1000, 1040)] + tests[:SHARED]
    folder = tmp_path_factory.mktemp("hub")
    target = folder / "datasets/bowenxian/BioProBench"
    target.mkdir(parents=True)
    broken = {**tests[0], **BROKEN[name]}
    (target / f"{name.upper()}_test.json").write_text(json.dumps([*tests, broken, *tests[7:9]]))
    (target / f"{name.upper()}.json").write_text(json.dumps([*training, {**training[0], **BROKEN[name]}]))
    return folder


@pytest.fixture(scope="module")
def built(name: str, files: Path) -> dict[str, PreparedTask]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DOJO_HUB_MIRROR", str(files))
        of = task(f"biology/{name}")
        return {profile: prepare_task(of, profile, files / "cache") for profile in ("full", "strict")}


def test_full_splits_the_test_file_by_the_paper_s_rule(name: str, built: dict[str, PreparedTask]) -> None:
    order = list(range(TESTS + 2))
    random.Random(42).shuffle(order)
    assert built["full"].manifest["ids"] == {
        "dev": [f"{name}-{n:04d}" for n in order[:100]],
        "hidden": [f"{name}-{n:04d}" for n in order[-100:]],
    }


def test_strict_has_a_larger_hidden_split_in_proportion_that_shares_nothing_with_dev(
    name: str, built: dict[str, PreparedTask]
) -> None:
    strict = built["strict"]
    dev, hidden = lines(strict.dev_path), lines(strict.hidden_path)
    assert len(hidden) >= 230 > 100 >= len(dev) >= 95 and strict.manifest["shared_by_dev_and_hidden"] == []
    assert not {i["prompt"] for i in dev} & {i["prompt"] for i in hidden}
    kinds = Counter(i["type"] for i in [*dev, *hidden])
    for kind, count in Counter(i["type"] for i in hidden).items():
        assert abs(count / len(hidden) - kinds[kind] / (len(dev) + len(hidden))) < 0.02
    # What repeats in the test file is kept once.
    assert len({i["prompt"] for i in [*dev, *hidden]}) == len(dev) + len(hidden)
    for split in ("dev", "hidden"):
        assert strict.manifest["ids"][split] == [i["id"] for i in lines(strict.dir / f"{split}.jsonl")]
        assert len(strict.manifest["files"][f"{split}.jsonl"]["sha256"]) == 64
    assert "Strict split, seed 42" in (strict.dir / "card.md").read_text()


@pytest.mark.parametrize("profile", ["full", "strict"])
def test_rows_become_items_that_score_and_the_source_loses_what_they_show(
    name: str, built: dict[str, PreparedTask], profile: str
) -> None:
    prepared, grades = built[profile], grader(f"biology/{name}")
    items = [*lines(prepared.dev_path), *lines(prepared.hidden_path)]
    for item in items:
        assert grades.subset_of(item["row"]) == name
        assert grades.score(item["row"], answered(name, item["row"]), name).score == 1
    shots = lines(prepared.few_shot_path)
    assert len(shots) == 4 and all(grades.score(s["row"], s["answer"], name).score == 1 for s in shots)
    used = {int(i["id"][-4:]) for i in items}
    removed = prepared.manifest["removed"]["bioprobench"]
    assert (removed["before"], removed["removed"]) == (40 + SHARED + 1, len(used & set(range(SHARED))))


def test_a_prompt_shows_the_whole_row(name: str, built: dict[str, PreparedTask]) -> None:
    item = lines(built["full"].hidden_path)[0]
    row, prompt = item["row"], item["prompt"]
    shown = {
        "pqa": lambda: [row["question"], *(f"{letter}: {c}" for letter, c in zip("ABCDE", row["choices"], strict=True))],
        "ord": lambda: [row["question"], *(f"{n}: {step}" for n, step in enumerate(row["wrong_steps"]))],
        "err": lambda: [*row["context"].values(), row["corrected_text" if row["is_correct"] else "corrupted_text"]],
        "gen": lambda: [row["instruction"], row["input"]],
    }[name]()
    assert all(text in prompt for text in shown)
    assert name == "pqa" or answered(name, row) not in prompt


def test_without_the_files_full_says_what_to_do(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOJO_HUB_MIRROR", str(tmp_path))
    monkeypatch.delenv("DOJO_REVISION_BOWENXIAN_BIOPROBENCH", raising=False)
    with pytest.raises(MissingError) as caught:
        prepare_task(task(f"biology/{name}"), "full", tmp_path / "cache")
    assert caught.value.hint


def test_a_training_file_without_a_row_to_show_is_refused(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [upstream(name, n, random.Random(n)) for n in range(4)]
    target = tmp_path / "datasets/bowenxian/BioProBench"
    target.mkdir(parents=True)
    for file in (f"{name.upper()}_test.json", f"{name.upper()}.json"):
        (target / file).write_text(json.dumps(rows))
    monkeypatch.setenv("DOJO_HUB_MIRROR", str(tmp_path))
    with pytest.raises(SpecError, match="worked example"):
        prepare_task(task(f"biology/{name}"), "full", tmp_path / "cache")
