import math
import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from ft_agent.effects import CHARS_PER_TOKEN, Effect, difference_noise, named, render, repeat_noise, row_text, table
from ft_agent.plan import Iteration, Operation, Plan, Score
from ft_cases import a_plan, an_iteration
from hypothesis import given, settings
from hypothesis import strategies as st

SLICES = {f"i{k}": ("sums" if k % 2 else "rounding") for k in range(60)}


def scored(credit: dict[str, float]) -> Score:
    return Score("own", 0.5, {}, dict.fromkeys(credit, 1.0), credit)


def measured(number: int, credit: dict[str, float], plan: Plan | None = None, **changes: Any) -> Iteration:
    return replace(an_iteration(number, 0.5, plan=plan or a_plan()), own=scored(credit), **changes)


def drawn(seed: int, shift: float, items: int = 60, spread: float = 0.1) -> dict[str, float]:
    """Items of very different difficulty, the same for every seed; the model's own luck on each; and a planted shift."""
    easy, luck = random.Random(1), random.Random(seed)
    return {f"i{k}": easy.random() + shift + luck.gauss(0.0, spread) for k in range(items)}


def rate(value: float, **changes: Any) -> Plan:
    plan = a_plan(**changes)
    return replace(plan, trainer={**plan.trainer, "learning_rate": value})


def test_one_knob_apart_is_booked_with_its_values_its_error_and_its_slices() -> None:
    rows = table([measured(1, drawn(1, 0.0)), measured(2, drawn(2, 0.3), rate(0.0025))], None, SLICES)
    assert [(e.knob, e.with_, e.against, e.before, e.after) for e in rows] == [("trainer.learning_rate", 2, 1, "0.001", "0.0025")]
    (row,) = rows
    assert row.effect == pytest.approx(0.3, abs=0.06)
    assert row.error == pytest.approx(0.1 * math.sqrt(2 / 60), rel=0.4)
    assert row.confirmed is True
    assert set(row.slices) == {"sums", "rounding"}
    assert row.slices["sums"][1] > row.error  # half the items


def test_what_the_planner_says_it_changed_does_not_count() -> None:
    lying = replace(rate(0.0025), knob="rank 64", lora={"r": 16, "lora_alpha": 32, "target_modules": "all-linear"})
    assert [e.knob for e in table([measured(1, drawn(1, 0)), measured(2, drawn(2, 0.3), lying)], None)] == [
        "trainer.learning_rate"
    ]


def test_several_knobs_at_once_book_no_effect() -> None:
    both = replace(rate(0.0025), lora={"r": 64, "lora_alpha": 64})
    assert table([measured(1, drawn(1, 0)), measured(2, drawn(2, 0.3), both)], None) == ()


@pytest.mark.parametrize("other", [{"phase": "exploit"}, {"parent": 7}, {"seconds": 40.0}, {"method": "dpo"}])
def test_another_phase_start_time_or_method_beside_the_knob_is_no_experiment(other: dict[str, Any]) -> None:
    assert table([measured(1, drawn(1, 0)), measured(2, drawn(2, 0.3), rate(0.0025, **other))], None) == ()


def test_seconds_within_a_factor_are_the_same_time() -> None:
    assert len(table([measured(1, drawn(1, 0)), measured(2, drawn(2, 0.3), rate(0.0025, seconds=23.0))], None)) == 1


def test_what_was_not_trained_or_not_measured_is_no_experiment() -> None:
    for other in (an_iteration(2, None, "failed", plan=rate(0.01)), replace(an_iteration(2, plan=rate(0.01)), own=None)):
        assert table([measured(1, drawn(1, 0)), other], None) == ()


def test_too_few_shared_items_show_nothing() -> None:
    few = dict(list(drawn(2, 0.3).items())[:9])
    assert table([measured(1, drawn(1, 0)), measured(2, few, rate(0.0025))], None) == ()


def test_each_knob_is_held_against_the_newest_iteration_one_knob_away_however_that_came_out() -> None:
    history = [measured(n, drawn(n, shift), rate(r)) for n, r, shift in ((1, 1e-3, 0.9), (2, 2e-3, 0.0), (3, 4e-3, 0.1))]
    assert [(e.with_, e.against) for e in table(history, None)] == [(2, 1), (3, 2)]


def test_going_on_with_nothing_changed_is_the_effect_of_more_training() -> None:
    on = measured(2, drawn(2, 0.2), a_plan(parent=1, phase="exploit", seconds=200.0))
    assert [(e.knob, e.after) for e in table([measured(1, drawn(1, 0)), on], None)] == [("more training", "200 s")]


def test_two_that_go_on_from_trainings_one_knob_apart_with_that_knob_are_one_knob_apart() -> None:
    first = [measured(1, drawn(1, 0.0)), measured(2, drawn(2, 0.1), rate(0.0025))]
    on = [
        measured(3, drawn(3, 0.2), a_plan(parent=1, seconds=40.0)),
        measured(4, drawn(4, 0.4), rate(0.0025, parent=2, seconds=40.0)),
    ]
    rows = {e.name: e.knob for e in table([*first, *on], None)}
    assert rows == {
        "2v1": "trainer.learning_rate",
        "3v1": "more training",
        "4v2": "more training",
        "4v3": "trainer.learning_rate",
    }
    # with another knob before they went on, nothing is known of this one
    other = measured(2, drawn(2, 0.1), a_plan(lora={"r": 99}))
    assert "4v3" not in {e.name for e in table([first[0], other, *on], None)}


def test_the_error_of_a_difference_is_the_usual_one_with_what_repeats_vary() -> None:
    assert difference_noise([measured(1, drawn(1, 0.0))]) is None
    history = [measured(1, drawn(1, 0.0)), measured(2, drawn(2, 0.3), rate(0.0025)), measured(3, drawn(3, 0.0), rate(0.01))]
    usual = difference_noise(history)
    assert usual == pytest.approx(0.1 * math.sqrt(2 / 60), rel=0.3)
    repeated = [*history, measured(4, drawn(4, 0.3))]
    noisier = difference_noise(repeated)
    assert usual and noisier and noisier > 2 * usual


def test_an_average_is_held_against_its_best_member() -> None:
    members = [measured(1, drawn(1, 0.2)), measured(2, drawn(2, 0.0), rate(0.1))]
    both = measured(3, drawn(3, 0.4), a_plan(method="average", average=(1, 2), lora={"r": 99}))
    (row,) = [e for e in table([*members, both], None) if e.knob == "average"]
    assert (row.with_, row.against, row.after) == (3, 1, "of 1, 2")


def test_the_first_iteration_shows_what_training_does_at_all() -> None:
    rows = table([measured(1, drawn(1, 0.3))], scored(drawn(9, 0.0)))
    assert [(e.knob, e.against, e.confirmed) for e in rows] == [("training", 0, True)]


def test_a_repeated_plan_widens_every_error_by_what_trainings_vary() -> None:
    start, change = measured(1, drawn(1, 0.0)), measured(2, drawn(2, 0.1), rate(0.0025))
    alone = table([start, change], None)[0]
    repeated = [start, replace(measured(3, drawn(3, 0.2))), change]
    noise = repeat_noise(repeated)
    assert noise == pytest.approx(0.2 / math.sqrt(2), abs=0.04)
    wider = next(e for e in table([start, measured(3, drawn(3, 0.2)), measured(4, drawn(2, 0.1), rate(0.0025))], None))
    assert wider.error == pytest.approx(math.hypot(alone.error, math.sqrt(2) * noise), rel=0.1)
    assert alone.confirmed is True
    assert wider.confirmed is None


def test_a_model_that_knows_nothing_shows_nothing_however_sure_the_difference() -> None:
    tiny = [{f"i{k}": 1e-8 * (k + 1) * factor for k in range(20)} for factor in (1.0, 1.5)]
    (row,) = table([measured(1, tiny[0]), measured(2, tiny[1], rate(0.0025))], None)
    assert row.certainty > 2
    assert row.confirmed is None


@settings(max_examples=60)
@given(
    seed=st.integers(0, 10**6),
    shift=st.floats(-0.3, 0.3).filter(lambda s: abs(s) > 0.12),
    knob=st.sampled_from(["rate", "rank", "weight decay", "data argument", "data out", "data in", "order"]),
)
def test_a_planted_effect_of_any_knob_is_recovered_with_its_sign(seed: int, shift: float, knob: str) -> None:
    start = a_plan()
    changed = {
        "rate": rate(0.004),
        "rank": replace(start, lora={**start.lora, "r": 64, "lora_alpha": 128}),
        "weight decay": replace(start, trainer={**start.trainer, "weight_decay": 0.05}),
        "data argument": replace(
            start, data=tuple(Operation("rebalance", {"power": 1.0}) if o.name == "rebalance" else o for o in start.data)
        ),
        "data out": replace(start, data=tuple(o for o in start.data if o.name != "verify")),
        "data in": replace(start, data=(*start.data, Operation("program", {"name": "shorter"}))),
        "order": replace(start, data=tuple(reversed(start.data))),
    }[knob]
    (row,) = table([measured(1, drawn(seed, 0.0)), measured(2, drawn(seed + 1, shift), changed)], None, SLICES)
    assert abs(row.effect - shift) < 5 * row.error
    assert row.confirmed is (shift > 0)


def test_noise_is_confirmed_or_refuted_no_more_often_than_two_errors_allow() -> None:
    rows = [table([measured(1, drawn(2 * s, 0.0)), measured(2, drawn(2 * s + 1, 0.0), rate(0.004))], None)[0] for s in range(600)]
    assert sum(r.confirmed is not None for r in rows) / 600 < 0.08
    assert abs(sum(r.effect for r in rows) / 600) < 0.003
    within = sum(abs(r.effect) < r.error for r in rows) / 600
    assert 0.62 < within < 0.74  # the error is a standard error


@settings(max_examples=60)
@given(seed=st.integers(0, 10**6), apart=st.integers(2, 4))
def test_plans_several_knobs_apart_never_book_an_effect(seed: int, apart: int) -> None:
    rng = random.Random(seed)
    start = a_plan()
    trainer, lora, data = dict(start.trainer), dict(start.lora), start.data
    for knob in rng.sample(["rate", "batch", "rank", "dropout", "data"], apart):
        if knob == "rate":
            trainer["learning_rate"] = 0.01
        elif knob == "batch":
            trainer["per_device_train_batch_size"] = 2
        elif knob == "rank":
            lora |= {"r": 64}
        elif knob == "dropout":
            lora |= {"lora_dropout": 0.1}
        else:
            data = data[1:]
    other = replace(start, trainer=trainer, lora=lora, data=data)
    assert table([measured(1, drawn(seed, 0)), measured(2, drawn(seed + 1, 0.5), other)], None) == ()


ROWS = (
    Effect("trainer.learning_rate", 1, 2, 0.031, 0.01, 60, {"sums": (0.05, 0.02)}, True, "0.001", "0.0025"),
    Effect("data.trust", 2, 3, -0.02, 0.015, 60, {}, None, "0.06", "1.0"),
    Effect("data.trust", 4, 5, -0.09, 0.015, 60, {}, False, "0.06", "out"),
)


@pytest.mark.parametrize(
    ("said", "row"),
    [
        ("2v1", 0),
        ("effect 2 against 1 (trainer.learning_rate)", 0),
        ("5v4: data.trust -0.090", 2),
        ("trainer.learning_rate 0.001 -> 0.0025: +0.031", 0),
        ("data.trust", 2),
    ],
)
def test_evidence_that_names_a_row_is_found(said: str, row: int) -> None:
    assert named(ROWS, said) is ROWS[row]


@pytest.mark.parametrize(
    "said",
    ["", "guess", "7v1", "1v2", "12v1", "2v1 data.trust", "lora.r", "trainer.learning_rate_x", "5v4: +0.09", "it usually helps"],
)
def test_evidence_that_names_no_row_or_claims_what_it_does_not_say_is_a_guess(said: str) -> None:
    assert named(ROWS, said) is None


def test_every_rendered_row_names_itself() -> None:
    for row in ROWS:
        assert named(ROWS, row_text(row)) is row


@settings(max_examples=50)
@given(count=st.integers(0, 200), limit=st.integers(80, 3000))
def test_a_rendered_table_keeps_within_its_tokens_and_says_what_it_leaves_out(count: int, limit: int) -> None:
    rows = [replace(ROWS[0], with_=n, effect=0.001 * n) for n in range(1, count + 1)]
    text = render(rows, limit)
    assert len(text) / CHARS_PER_TOKEN <= limit
    shown = sum(" trainer.learning_rate " in line for line in text.splitlines())
    if shown < count:
        assert f"{count - shown} less certain rows are left out" in text
    if shown:
        assert f"{count}v1 " in text.splitlines()[1]  # the most certain first


def test_what_the_error_holds_is_said() -> None:
    assert "items only, no plan was repeated" in render(ROWS, 500)
    assert "items and trainings, these vary by 0.012" in render([replace(r, noise=0.012) for r in ROWS], 500)


def test_a_limit_below_the_heading_is_an_error_that_names_what_is_needed() -> None:
    with pytest.raises(ValueError, match="does not fit 5 tokens; its heading needs"):
        render(ROWS, 5)


def test_characters_per_token_hold_for_a_tokenizer_that_cuts_numbers_into_digits() -> None:
    transformers = pytest.importorskip("transformers")
    model = Path.home() / ".cache" / "dojo" / "models" / "smol"
    if not model.exists():
        pytest.skip("the small base model has not been fetched")
    text = render([replace(r, with_=r.with_ + 10 * k) for k in range(20) for r in ROWS], 3000)
    assert len(transformers.AutoTokenizer.from_pretrained(model).encode(text)) <= len(text) / CHARS_PER_TOKEN
