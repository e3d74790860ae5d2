from __future__ import annotations

import csv
import re
import time
from collections import Counter
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score
from task_cases import grader, lines, primary, task

from harness.assets.prepare import PreparedTask, prepare_task
from harness.assets.task_program import load_build
from harness.service import Dojo
from harness.spec.errors import GraderFailure, SpecError
from harness.spec.run import PUBLIC_HIDDEN
from harness.spec.verdict import ItemScore
from harness.taskkit.scoring.scores import interval, pseudo_values

TASK = task("finance/financeiq")
GRADER = grader("finance/financeiq")
SUBJECTS = tuple(GRADER.subset_metrics)
LETTERS = "ABCD"


def row(gold: object, subject: str = "经济师") -> dict[str, Any]:
    return {"Question": "?", "A": "1", "B": "2", "C": "3", "D": "4", "Answer": gold, "subset": subject}


@pytest.fixture(scope="module")
def mini(tmp_path_factory: pytest.TempPathFactory) -> PreparedTask:
    return prepare_task(TASK, "mini", tmp_path_factory.mktemp("cache"))


@pytest.mark.parametrize(
    ("response", "letter"),
    [
        ("B", "B"),
        (" B\n", "B"),
        ("B.", "B"),
        ("B。", "B"),
        ("(B)", "B"),
        ("（B）", "B"),
        ("**B**", "B"),
        ("“B”。", "B"),
        ("$B$", "B"),
        ("答案是: B", "B"),
        ("答案是：B", "B"),
        ("答案是:B", "B"),
        ("答案是 ： B。", "B"),
        ("答案是:\nB", "B"),
        ("资产减负债等于300，所以答案是: B。因为A太大。", "B"),
        ("答案是: A 不对，答案是: B", "B"),
        ("答案是: B，C项错误", "B"),
        ("答案是: B\nA是错的", "B"),
        ("<think>答案是: A</think>B", "B"),
        ("<think>答案是: A</think>答案是：B", "B"),
        ("<think>还是B吧，答案是: B</think>", "B"),
        ("答案是: B 答案是:", "B"),
        ("**答案是**: B", "B"),
        ("**答案是:** B", "B"),
        ("**答案是：B**", "B"),
        ("答案是: **B**", "B"),
        ("## 答案是：B", "B"),
        ("答案是: **A**、**B**", None),
        ("**答案是**: A或B", None),
        ("B C", None),
        ("A、B", None),
        ("BB", None),
        ("b", None),
        ("E", None),
        ("Ｂ", None),
        ("选B", None),
        ("B项", None),
        ("B because", None),
        ("The answer is B.", None),
        ("答案B", None),
        ("答案是B", None),
        ("正确答案: B", None),
        ("答案是: E", None),
        ("答案是: b", None),
        ("答案是: Bank", None),
        ("答案是: BC", None),
        ("答案是: B和C", None),
        ("答案是: B、C", None),
        ("答案是: B/C", None),
        ("答案是: 300万元", None),
        ("答案是: X", None),
        ("", None),
        ("。。。", None),
        ("B\x00", None),
        ("\ud800", None),
    ],
)
def test_answers_are_read_as_in_hand_worked_cases(response: str, letter: str | None) -> None:
    right = GRADER.score(row("B"), response, "经济师")
    wrong = GRADER.score(row("D"), response, "经济师")
    assert (right.value, right.parsed, right.score) == (letter, letter is not None, float(letter == "B"))
    assert (wrong.parsed, wrong.score) == (letter is not None, 0)


def test_accuracy_is_the_mean_over_the_subjects_and_each_is_scikit_learn_s() -> None:
    pairs = {
        "经济师": [("A", "A"), ("B", "答案是: B"), ("C", "C"), ("D", "A")],
        "税务师": [("A", "我不知道")],
        "期货从业资格": [("A", "B"), ("B", "B")],
    }
    triples = [(row(g, s), s, GRADER.score(row(g, s), r, s)) for s, answers in pairs.items() for g, r in answers]
    scores = GRADER.aggregate(triples, "accuracy")
    assert scores.primary.value == pytest.approx((3 / 4 + 0 + 1 / 2) / 3)
    assert scores.metrics["item_mean"] == pytest.approx(4 / 7) and scores.parse_rate == pytest.approx(6 / 7)
    for subject, answers in pairs.items():
        expected = accuracy_score([g for g, _ in answers], [r[-1] for _, r in answers])
        assert scores.subsets[subject]["accuracy"] == pytest.approx(expected)


def test_subjects_of_one_item_still_have_an_interval() -> None:
    items = [ItemScore(id=s, subset=s, score=float(n % 2), parsed=True, value="A") for n, s in enumerate(SUBJECTS)]
    low, high = interval(items, pseudo_values(items, GRADER, {s: row("A", s) for s in SUBJECTS}))
    assert 0 <= low < 0.5 < high <= 1


@given(st.text(max_size=200) | st.text(alphabet="答案是:：ABCDE、和 \n<>/think", max_size=60))
def test_no_response_breaks_the_grader_and_what_is_read_stands_in_it(response: str) -> None:
    answer = GRADER.score(row("B"), response, "经济师")
    assert answer.value is None or (answer.value in LETTERS and answer.value in response)


@given(st.sampled_from(LETTERS), st.sampled_from(LETTERS), st.sampled_from("。.)）】!？ \n"))
def test_exactly_the_right_letter_scores(gold: str, chosen: str, mark: str) -> None:
    for response in (f"{chosen}{mark}", f"因此答案是: {chosen}{mark}"):
        assert GRADER.score(row(gold), response, "经济师").score == (gold == chosen)


@pytest.mark.parametrize("hostile", ["答案是:", "答案是: A、", "答案是: ", "A", "(", "\x00", "\ud800", " ", "</think>"])
def test_hostile_answers_take_linear_time(hostile: str) -> None:
    started = time.process_time()
    GRADER.score(row("B"), hostile * (1_000_000 // len(hostile)), "经济师")
    GRADER.score(row("B"), "答案是: " + hostile * (1_000_000 // len(hostile)), "经济师")
    assert time.process_time() - started < 20


@pytest.mark.parametrize("gold", ["", "E", "AB", None, "a"])
def test_a_broken_gold_is_a_grader_failure_and_no_score(gold: object) -> None:
    with pytest.raises(GraderFailure, match="gold answer"):
        GRADER.score(row(gold), "B", "经济师")


def test_a_row_names_its_subject_as_the_file_does() -> None:
    assert {GRADER.subset_of(row("A", s)) for s in SUBJECTS} == set(SUBJECTS)
    assert GRADER.subset_of(row("A", "精算师-金融数学.csv")) == "精算师-金融数学"
    with pytest.raises(SpecError, match="no sub-set"):
        GRADER.subset_of(row("A", "化学"))
    with pytest.raises(SpecError, match="subset"):
        GRADER.subset_of({"Question": "?", "Answer": "A"})


def test_the_format_that_agents_are_told_is_the_format_that_scores() -> None:
    examples = [e for e in re.findall(r"`([^`]+)`", TASK.dojo.answer_format) if "B" in e]
    assert examples == ["答案是: B", "B"]
    for example in examples:
        assert GRADER.score(row("B"), example, "经济师").score == 1
    assert GRADER.score(row("B"), examples[0].replace(":", "："), "经济师").score == 1


def solve(question: str, options: list[str]) -> str:
    """Answer from the words alone, by other means than the program that made the question: the letter."""
    numbers = [int(n) for n in re.findall(r"\d+", question)]
    values = [int(re.sub(r"\D", "", option)) for option in options]
    if "最高" in question or "最低" in question:
        return LETTERS[values.index(max(values) if "最高" in question else min(values))]
    if "%" in question:
        years = numbers[2] if "年后" in question else 1
        right: Fraction | int = Fraction(numbers[0] * numbers[1] * years, 100)
    elif any(word in question for word in ("股价", "净值", "保费")):
        right = numbers[0] * numbers[1]
    else:
        right = abs(numbers[0] - numbers[1])
    return LETTERS[values.index(right)]


@pytest.mark.parametrize("split", ["dev", "hidden", "few_shot"])
def test_every_answer_is_right_by_an_independent_solver(mini: PreparedTask, split: str) -> None:
    for item in lines(mini.dir / f"{split}.jsonl"):
        options = [item["row"][letter] for letter in LETTERS]
        assert len(set(options)) == 4
        assert solve(item["row"]["Question"], options) == item["gold"] == item["row"]["Answer"], item


def test_the_subjects_are_even_the_oracle_scores_1_and_other_answers_stay_near_the_floor(mini: PreparedTask) -> None:
    items = lines(mini.hidden_path)
    assert Counter(i["subset"] for i in items) == dict.fromkeys(SUBJECTS, 12)
    assert Counter(i["subset"] for i in lines(mini.few_shot_path)) == dict.fromkeys(SUBJECTS, 5)
    assert primary(GRADER, items, lambda i: f"答案是: {i['gold']}") == 1
    assert primary(GRADER, items, lambda i: "") == 0
    assert primary(GRADER, items, lambda i: i["prompt"]) == 0
    for letter in LETTERS:
        assert 0.1 < primary(GRADER, items, lambda i, letter=letter: letter) < 0.4


def test_worked_examples_are_answered_in_the_form_that_scores(mini: PreparedTask) -> None:
    for item in lines(mini.few_shot_path):
        assert GRADER.score(item["row"], item["answer"], item["subset"]).score == 1


def test_no_operands_are_shared_and_the_sources_are_uneven_and_partly_wrong(mini: PreparedTask) -> None:
    def asked(r: dict[str, Any]) -> tuple[str, ...]:
        compared = sorted(r[letter] for letter in LETTERS) if "哪一项" in r["Question"] else []
        return (r["Question"], *compared)

    splits = {split: {asked(i["row"]) for i in lines(mini.dir / f"{split}.jsonl")} for split in ("dev", "hidden", "few_shot")}
    rows = {s.name: lines(s.path) for s in mini.sources}
    whole = {name: [r for r in source if all(r.values())] for name, source in rows.items()}
    trained = {asked(r) for source in whole.values() for r in source}
    assert not splits["dev"] & splits["hidden"] and not trained & set().union(*splits.values())

    def wrong(name: str) -> float:
        found = [solve(r["Question"], [r[letter] for letter in LETTERS]) != r["Answer"] for r in whole[name]]
        return sum(found) / len(found)

    assert wrong("textbook") == 0 and 0.2 < wrong("forum") < 0.36
    assert len({r["subject"] for r in rows["textbook"]}) == 4 and len({r["subject"] for r in rows["archive"]}) == 6
    assert sum(r["Answer"] not in LETTERS for r in rows["archive"]) > 400
    assert 0.2 < 1 - len(whole["archive"]) / len(rows["archive"]) < 0.4


def test_the_same_seed_gives_the_same_data(tmp_path: Path) -> None:
    one, other = (prepare_task(TASK, "mini", cache, hidden=PUBLIC_HIDDEN) for cache in (Dojo().cache, tmp_path))
    assert one.digest == other.digest


@pytest.mark.parametrize(
    ("count", "dev", "hidden"),
    [(1, 0, 1), (10, 5, 5), (11, 5, 6), (199, 99, 100), (200, 100, 100), (201, 100, 100), (350, 100, 100)],
)
def test_the_split_takes_the_tail_of_each_subject(count: int, dev: int, hidden: int) -> None:
    first, last = load_build(TASK).paper_tail(count)
    assert list(first) == list(range(dev)) and list(last) == list(range(count - hidden, count))


@pytest.fixture
def mirror(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Small CSV files in the upstream layout, with the unnamed index; one subject is long enough to leave rows over."""
    for folder in ("dev", "test"):
        target = tmp_path / "mirror" / "datasets" / "Duxiaoman-DI" / "FinanceIQ" / "data" / folder
        target.mkdir(parents=True)
        for subject in SUBJECTS:
            count = 5 if folder == "dev" else 210 if subject == "经济师" else 7
            with (target / f"{subject}.csv").open("w", encoding="utf-8", newline="") as stream:
                writer = csv.writer(stream)
                writer.writerow(["", "Question", "A", "B", "C", "D", "Answer"])
                for n in range(count):
                    writer.writerow(
                        [n, f"{folder}的{subject}第{n}题, 选哪个", f"a{n}", f"b{n}", f"c{n}", f"d{n}", LETTERS[n % 4]]
                    )
                if folder == "dev" and subject == "税务师":
                    writer.writerow([5, "第六个例子", "a", "b", "c", "d", "A"])
    monkeypatch.setenv("DOJO_HUB_MIRROR", str(tmp_path / "mirror"))
    return tmp_path


def test_full_is_five_shot_and_hands_out_what_is_between_the_halves(mirror: Path) -> None:
    full = prepare_task(TASK, "full", mirror / "cache")
    hidden = lines(full.hidden_path)
    assert Counter(i["subset"] for i in lines(full.dev_path)) == {**dict.fromkeys(SUBJECTS, 3), "经济师": 100}
    assert Counter(i["subset"] for i in hidden) == {**dict.fromkeys(SUBJECTS, 4), "经济师": 100}
    item = next(i for i in hidden if i["subset"] == "税务师")
    assert item["prompt"].count("答案是: ") == 1 + 5 and "第六个例子" not in item["prompt"]
    assert item["prompt"].endswith("test的税务师第3题, 选哪个\nA. a3\nB. b3\nC. c3\nD. d3") and item["gold"] == "D"
    assert all(GRADER.score(i["row"], i["gold"], GRADER.subset_of(i["row"])).score == 1 for i in hidden)
    rows = lines(full.sources[0].path)
    assert [r["Question"] for r in rows] == [f"test的经济师第{n}题, 选哪个" for n in range(100, 110)]
    assert set(rows[0]) == {"subject", "Question", "A", "B", "C", "D", "Answer"}
    assert Counter(i["subset"] for i in lines(full.few_shot_path)) == dict.fromkeys(SUBJECTS, 5)


def test_full_drops_an_example_that_repeats_a_question_and_names_a_row_with_a_broken_answer(mirror: Path) -> None:
    folder = mirror / "mirror" / "datasets" / "Duxiaoman-DI" / "FinanceIQ" / "data"
    example = folder / "dev" / "税务师.csv"
    text = example.read_text(encoding="utf-8")
    example.write_text(text.replace("dev的税务师第0题", "test的税务师第0题"), encoding="utf-8")
    full = prepare_task(TASK, "full", mirror / "cache")
    assert Counter(i["subset"] for i in lines(full.few_shot_path))["税务师"] == 4
    example.write_text(text.replace("d1,B", "d1,BC"), encoding="utf-8")
    again = prepare_task(TASK, "full", mirror / "cache")
    assert "an answer A–D: dev/税务师.csv row 2." in (again.dir / "card.md").read_text(encoding="utf-8")
    shots = [i["gold"] for i in lines(again.few_shot_path) if i["subset"] == "税务师"]
    assert shots == ["A", "C", "D", "A", "A"]
