from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st

from harness.taskkit.building.splits import paper_split, split_by_paper, split_strictly


@dataclass(frozen=True)
class Question:
    id: int
    subset: str = "all"
    type: str = "plain"
    prompt: str = ""
    text: str = ""
    keys: tuple[str, ...] = ()


def questions(count: int, **same: str) -> list[Question]:
    return [Question(n, prompt=f"p{n}", **same) for n in range(count)]


def test_the_paper_s_split_takes_both_ends_of_the_shuffled_rows_and_at_most_100_each() -> None:
    dev, hidden = paper_split(301)
    assert len(dev) == len(hidden) == 100 and not set(dev) & set(hidden)
    assert paper_split(5, shuffled=False) == ([0, 1], [3, 4])


def test_by_the_paper_each_subset_is_split_for_itself() -> None:
    items = questions(4, subset="a") + questions(6, subset="b")
    dev, hidden = split_by_paper(items)
    assert Counter(i.subset for i in dev) == Counter(i.subset for i in hidden) == {"a": 2, "b": 3}


def test_the_strict_hidden_split_has_everything_that_dev_leaves_up_to_its_cap() -> None:
    dev, hidden = split_strictly(questions(950))
    assert (len(dev), len(hidden)) == (100, 850)
    dev, hidden = split_strictly(questions(5000))
    assert (len(dev), len(hidden)) == (100, 1000)
    dev, hidden = split_strictly(questions(9))
    assert (len(dev), len(hidden)) == (4, 5)


def test_every_question_type_has_its_share_of_both() -> None:
    items = [Question(n, type="rare" if n % 5 == 0 else "common", prompt=f"p{n}") for n in range(3000)]
    dev, hidden = split_strictly(items)
    assert Counter(i.type for i in dev) == {"rare": 20, "common": 80}
    assert Counter(i.type for i in hidden) == {"rare": 200, "common": 800}


def test_what_shares_a_key_directly_or_through_others_stays_together() -> None:
    # 0–1–2 are linked by keys that only neighbours share; every chain of three is one group.
    items = [Question(n, prompt=f"p{n}", keys=(f"k{n}", f"k{n + 1}") if n % 3 < 2 else (f"k{n}",)) for n in range(300)]
    dev, hidden = split_strictly(items)
    assert not {i.id // 3 for i in dev} & {i.id // 3 for i in hidden}
    assert len(dev) >= 96 and len(dev) + len(hidden) >= 290


def test_a_question_that_is_asked_again_is_kept_once() -> None:
    again = [Question(10, prompt="p3"), Question(11, prompt="P", text="A b."), Question(12, prompt="q", text="a B")]
    items = [*questions(10), *again]
    dev, hidden = split_strictly(items)
    assert sorted(i.id for i in [*dev, *hidden]) == [*range(10), 11]


def test_a_group_that_fits_nowhere_is_left_out() -> None:
    items = [Question(n, prompt=f"p{n}", keys=("one protocol",)) for n in range(3000)] + questions(3000)[2000:]
    dev, hidden = split_strictly([*items[:3000], *(Question(i.id + 5000, prompt=f"q{i.id}") for i in items[3000:])])
    assert all(i.id >= 5000 for i in [*dev, *hidden]) and dev and hidden


@given(
    st.lists(
        st.builds(
            Question,
            id=st.just(0),
            subset=st.sampled_from("ab"),
            type=st.sampled_from("xy"),
            prompt=st.text("pq", min_size=1, max_size=4),
            keys=st.lists(st.sampled_from(["k1", "k2", "k3", "k4"]), max_size=2).map(tuple),
        ),
        max_size=40,
    )
)
def test_whatever_comes_no_key_or_prompt_is_in_both_and_the_split_is_repeatable(items: list[Question]) -> None:
    dev, hidden = split_strictly(items, dev_cap=3, hidden_cap=5)
    assert not {k for i in dev for k in i.keys} & {k for i in hidden for k in i.keys}
    assert not {i.prompt for i in dev} & {i.prompt for i in hidden}
    assert all(sum(i.subset == s for i in dev) <= 3 and sum(i.subset == s for i in hidden) <= 5 for s in "ab")
    assert (dev, hidden) == split_strictly(items, dev_cap=3, hidden_cap=5)
