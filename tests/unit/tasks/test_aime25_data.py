from __future__ import annotations

import json
import random
import re
from pathlib import Path

import pytest

from harness.assets.prepare import PreparedTask, prepare_task
from harness.assets.task_dir import Task
from harness.assets.task_program import load_build
from harness.service import Dojo
from harness.spec.errors import MissingError
from harness.spec.run import PUBLIC_HIDDEN
from harness.taskkit.scoring.contract import TaskGrader


def lines(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


@pytest.fixture(scope="module")
def mini(aime25: Task, tmp_path_factory: pytest.TempPathFactory) -> PreparedTask:
    return prepare_task(aime25, "mini", tmp_path_factory.mktemp("cache"))


def solve(question: str) -> int | None:
    """Answer a question from its words alone, by another program than the one that made it."""
    numbers = [int(n) for n in re.findall(r"\d+", question)]
    ordinals = ["first", "second", "third", "fourth"]
    if match := re.match(r"(?:Write (.*) in digits\.|Which number is ([a-z -]+)\?)", question):
        return from_words(match.group(1) or match.group(2))
    if match := re.search(r"(\d+) (\w+) and (\d+) (\w+) \w+\. How many are (\w+)\?", question):
        return int(match.group(1) if match.group(5) == match.group(2) else match.group(3))
    if "largest" in question or "maximum" in question:
        return max(numbers)
    if "hundreds," in question:
        return numbers[0] * 100 + numbers[1] * 10 + numbers[2]
    if "nearest ten" in question:
        return min((n for n in range(0, 1001, 10)), key=lambda n: abs(n - numbers[0]))
    if "comes next" in question:
        return 2 * numbers[-1] - numbers[-2]
    if "10 times" in question:
        return 10 * numbers[1]
    if "10 coins each" in question:
        return 10 * numbers[0]
    if match := re.match(r"Which number is (\w+) in", question):
        return numbers[ordinals.index(match.group(1))]
    if match := re.match(r"What is the (hundreds|tens|ones) digit", question):
        return int(str(numbers[0])[["hundreds", "tens", "ones"].index(match.group(1))])
    if "remainder" in question or "left over" in question:
        return numbers[0] % numbers[1]
    if " + " in question or "more" in question or "sum of" in question or "in total" in question:
        return numbers[0] + numbers[1]
    return None


def from_words(text: str) -> int:
    units = dict(zip(["one", "two", "three", "four", "five", "six", "seven", "eight", "nine"], range(1, 10), strict=True))
    teens = ["ten", "eleven", "twelve", "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen"]
    tens = dict(
        zip(["twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"], range(20, 100, 10), strict=True)
    )
    values = {**units, **tens, **{w: n for n, w in enumerate(teens, 10)}}
    head, _, tail = text.partition(" hundred")
    rest = sum(values[word] for word in tail.removeprefix(" and ").split("-") if word)
    return units[head] * 100 + rest


@pytest.mark.parametrize("split", ["dev", "hidden", "few_shot"])
def test_every_answer_is_right_by_an_independent_solver(mini: PreparedTask, split: str) -> None:
    for item in lines(mini.dir / f"{split}.jsonl"):
        assert solve(item["row"]["question"]) == item["gold"] == int(item["row"]["answer"]), item


def test_every_question_type_stands_in_dev_and_hidden_in_equal_numbers(mini: PreparedTask) -> None:
    for path, count in ((mini.dev_path, 5), (mini.hidden_path, 13)):
        types = [item["type"] for item in lines(path)]
        assert {types.count(t) for t in types} == {count} and len(set(types)) == 12


def test_no_operands_are_shared_between_the_sources_and_the_splits(mini: PreparedTask) -> None:
    questions = {
        split: {signature(i["row"]["question"]) for i in lines(mini.dir / f"{split}.jsonl")} for split in ("dev", "hidden")
    }
    trained = {signature(row["problem"]) for s in mini.sources for row in lines(s.path)}
    assert not questions["dev"] & questions["hidden"]
    assert not trained & (questions["dev"] | questions["hidden"])


def signature(question: str) -> tuple[str, ...]:
    """What is asked, without the wording: the kind as far as the solver tells it, and the operands."""
    text = question.strip().lower()
    numbers = re.findall(r"\d+", text)
    if not numbers:
        return ("words", *re.findall(r"[a-z-]+", text))
    ordered = numbers if "hundreds," in text else sorted(numbers)
    return (re.sub(r"[^a-z]", "", text)[:6], *ordered, re.sub(r"[^a-z]", "", text)[-6:])


def test_the_same_seed_gives_the_same_data_and_nothing_depends_on_the_clock(aime25: Task, tmp_path: Path) -> None:
    one, other = (prepare_task(aime25, "mini", cache, hidden=PUBLIC_HIDDEN) for cache in (Dojo().cache, tmp_path))
    assert one.digest == other.digest


def test_the_sources_are_raw_uneven_and_partly_wrong(mini: PreparedTask) -> None:
    rows = {s.name: lines(s.path) for s in mini.sources}
    assert all(set(row) == {"problem", "answer", "solution"} for source in rows.values() for row in source)

    def wrong(name: str) -> float:
        known = [(solve(row["problem"]), row["answer"]) for row in rows[name] if solve(row["problem"]) is not None]
        return sum(str(right) != given for right, given in known) / len(known)

    assert wrong("textbook") == 0
    assert 0.2 < wrong("forum") < 0.4
    assert sum(not row["answer"].isdigit() for row in rows["archive"]) > 300
    problems = [row["problem"].strip().lower() for row in rows["forum"]]
    assert len(problems) - len(set(problems)) > 150


def test_the_oracle_scores_1_and_constant_echo_and_empty_answers_score_near_0(
    mini: PreparedTask, aime25_grader: TaskGrader
) -> None:
    items = lines(mini.hidden_path)

    def score(answer) -> float:
        triples = [(i["row"], i["subset"], aime25_grader.score(i["row"], answer(i), i["subset"])) for i in items]
        return aime25_grader.aggregate(triples, "accuracy").primary.value

    assert score(lambda item: f"\\boxed{{{item['gold']}}}") == 1
    assert score(lambda item: "") == 0
    assert score(lambda item: item["prompt"]) == 0
    assert score(lambda item: "\\boxed{1}") < 0.1
    assert score(lambda item: str(item["gold"])) == 0


def test_a_worked_example_is_answered_in_the_form_that_scores(mini: PreparedTask, aime25_grader: TaskGrader) -> None:
    for item in lines(mini.few_shot_path):
        assert aime25_grader.score(item["row"], item["answer"], item["subset"]).score == 1


def test_wrong_answers_that_are_put_in_on_purpose_are_wrong(aime25: Task) -> None:
    slip = load_build(aime25).forum.__globals__["_slip"]
    rng = random.Random(0)
    for answer in range(1000):
        assert slip(answer, rng) != answer and 0 <= slip(answer, rng) <= 999


@pytest.fixture
def mirror(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Small copies in the upstream layout."""
    root = tmp_path / "mirror" / "datasets"
    bench = root / "opencompass" / "AIME2025"
    bench.mkdir(parents=True)
    one = [
        {"question": f"Let $n$ be the {k}th number such that a long condition holds for it. Find $n$.", "answer": str(k)}
        for k in range(15)
    ]
    two = [{"question": f"A triangle number {k} has sides. Find its angle.", "answer": str(300 + k)} for k in range(15)]
    two[3]["answer"] = r"336^\circ"
    for name, rows in (("aime2025-I.jsonl", one), ("aime2025-II.jsonl", two)):
        (bench / name).write_text("".join(json.dumps(row) + "\n" for row in rows))
    source = root / "agentica-org" / "DeepScaleR-Preview-Dataset"
    source.mkdir(parents=True)
    rows = [
        {"problem": f"Compute {k} squared.", "answer": str(k * k), "solution": "" if k % 5 else f"It is {k * k}."}
        for k in range(50)
    ]
    rows.append({"problem": two[14]["question"].upper(), "answer": "1", "solution": ""})
    rows.append({"problem": f"Problem 7. {one[2]['question']}", "answer": "1", "solution": ""})
    (source / "deepscaler.json").write_text(json.dumps(rows))
    monkeypatch.setenv("DOJO_HUB_MIRROR", str(tmp_path / "mirror"))
    return tmp_path


def test_full_takes_the_first_half_as_dev_and_the_last_as_hidden_in_file_order(aime25: Task, mirror: Path) -> None:
    full = prepare_task(aime25, "full", mirror / "cache")
    assert [i["gold"] for i in lines(full.dev_path)] == list(range(15))
    assert [i["gold"] for i in lines(full.hidden_path)] == [300, 301, 302, 336, *range(304, 315)]
    assert lines(full.hidden_path)[3]["row"]["answer"] == r"336^\circ"
    assert len(lines(full.few_shot_path)) == 4 and "\\boxed{" in lines(full.few_shot_path)[0]["answer"]


def test_full_frees_its_source_of_what_repeats_the_benchmark(aime25: Task, mirror: Path) -> None:
    full = prepare_task(aime25, "full", mirror / "cache")
    assert full.manifest["removed"] == {"deepscaler": {"before": 52, "removed": 2, "normalised": 1, "ngram": 1}}
    assert set(lines(full.sources[0].path)[0]) == {"problem", "answer", "solution"}


def test_full_without_hub_or_mirror_says_what_to_do(aime25: Task, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub.constants as constants

    monkeypatch.delenv("DOJO_HUB_MIRROR", raising=False)
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(MissingError) as caught:
        prepare_task(aime25, "full", tmp_path)
    assert "DOJO_HUB_MIRROR" in caught.value.hint
