from dataclasses import replace

import pytest
from ft_agent.view import CHARS_PER_TOKEN, curve_text
from ft_cases import a_score, a_view, an_iteration

FEEDBACK = {
    "scores": {"primary": {"value": 0.4}, "parse_rate": 0.9},
    "subsets": {"all": {"value": 0.4}},
    "response_tokens": {"mean": 7.0},
    "errors": [{"prompt": "What is 2 + 2? " * 20, "response": "\\boxed{5}", "answer": 4}] * 12,
}


@pytest.mark.parametrize("max_tokens", [1500, 2500, 6000, 20000])
@pytest.mark.parametrize("count", [0, 1, 5, 80])
def test_a_rendered_view_keeps_within_its_tokens(max_tokens: int, count: int) -> None:
    history = tuple(replace(an_iteration(n), dev=a_score(0.3, "dev")) for n in range(1, count + 1))
    text = a_view(iterations=history, feedback=FEEDBACK).render(max_tokens)
    assert len(text) / CHARS_PER_TOKEN <= max_tokens


def test_characters_per_token_are_counted_low_enough_for_a_real_tokenizer() -> None:
    tokenizers = pytest.importorskip("tokenizers")
    history = tuple(an_iteration(n) for n in range(1, 6))
    text = a_view(iterations=history, feedback=FEEDBACK).render(6000)
    # a byte-pair encoder trained on the text's own kind stands for a backbone's: its tokens are at least as long as counted
    trainer = tokenizers.trainers.BpeTrainer(vocab_size=2000, initial_alphabet=tokenizers.pre_tokenizers.ByteLevel.alphabet())
    model = tokenizers.Tokenizer(tokenizers.models.BPE())
    model.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel()
    model.train_from_iterator([text], trainer)
    assert len(model.encode(text).ids) <= len(text) / CHARS_PER_TOKEN


def test_the_view_tells_the_time_left_the_costs_and_the_whole_history() -> None:
    text = a_view(iterations=(an_iteration(1), an_iteration(2)), champion=2, speed=4.25).render()
    for part in (
        "wall: 285 of 300 left",
        "evaluations: 8 of 8 left",
        "overhead_dev 20.0 s",
        "4.25 examples/s",
        "### 1 probe",
        "### 2 probe",
        "champion: 2",
        "answers estimated wrong 26%",
        "rows clean 10→9",
        "weakest 'rounding' 0.30",
    ):
        assert part in text


def test_when_space_is_short_old_iterations_shrink_to_a_line_and_the_newest_stays_whole() -> None:
    text = a_view(iterations=tuple(an_iteration(n) for n in range(1, 9))).render(1500)
    assert "- 1 probe trained" in text or "older iterations are left out" in text
    assert "### 8 probe" in text


def test_a_limit_below_the_least_is_an_error_that_names_what_is_needed() -> None:
    with pytest.raises(ValueError, match="does not fit 50 tokens; at least"):
        a_view().render(50)


def test_a_loss_curve_is_told_in_at_most_six_points() -> None:
    assert curve_text([(i, 1.0) for i in range(100)]).split() == ["1.000"] * 6
    assert curve_text([(0, 2.0)]) == "2.000"
