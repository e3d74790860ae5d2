"""What recipe, search and ft_agent take of a card, worked out before anything is trained; cards are described, none is here."""

from types import SimpleNamespace

import pytest
from reading.cards import Card
from reading.fitting import SHARE, Rows, fit_rows, how_trained, peak_of, row_lengths
from reading.memory import Shape
from reading.training import fit_on_card

SEVEN = {
    "model_type": "qwen2", "num_hidden_layers": 28, "hidden_size": 3584, "intermediate_size": 18944, "num_attention_heads": 28,
    "num_key_value_heads": 4, "vocab_size": 152064, "tie_word_embeddings": False,
}  # fmt: skip
SHAPE, GB = Shape.of(SEVEN), 10**9
LORA, FULL = how_trained(16, bf16=True), how_trained(0, bf16=True)
EVEN = Rows([2048] * 64)
# one long row and many short ones, as they come
UNEVEN = Rows([1500, *[300] * 31])


def card(free: float, name: str = "NVIDIA H200", capability: tuple[int, int] = (9, 0)) -> Card:
    return Card(name, int(free * GB), int(free * GB), capability)


@pytest.mark.parametrize("free", [24, 40, 48, 80, 141])
@pytest.mark.parametrize("longest", [256, 2048])
def test_a_batch_of_7b_fits_the_card_and_a_smaller_card_never_gets_more(free: int, longest: int) -> None:
    fit = fit_rows(SHAPE, LORA, Rows([longest] * 8), batch=8, free=free * GB)
    assert fit.at_once * fit.passes == 8 and not fit.packed
    assert 0 < fit.peak <= SHARE * free * GB
    roomier = fit_rows(SHAPE, LORA, Rows([longest] * 8), batch=8, free=2 * free * GB)
    assert (roomier.checkpointing, -roomier.at_once) <= (fit.checkpointing, -fit.at_once)


def test_fewer_rows_at_once_come_before_checkpointing_and_what_never_fits_is_refused_with_what_it_needs() -> None:
    assert not fit_rows(SHAPE, LORA, EVEN, batch=8, free=141 * GB).checkpointing
    tight = fit_rows(SHAPE, LORA, EVEN, batch=8, free=80 * GB)
    assert (tight.at_once < 8, tight.checkpointing) == (True, False)
    assert fit_rows(SHAPE, LORA, EVEN, batch=8, free=24 * GB).checkpointing
    assert fit_rows(SHAPE, LORA, EVEN, batch=8, free=141 * GB, checkpointing=True).checkpointing
    with pytest.raises(ValueError, match=r"one row of 32768 tokens needs about \d+\.\d GB, and of 24\.0 GB"):
        fit_rows(SHAPE, LORA, Rows([32768]), batch=8, free=24 * GB)


def test_all_weights_fit_where_their_moments_do() -> None:
    roomy = fit_rows(SHAPE, FULL, EVEN, batch=8, free=150 * GB)
    assert (roomy.at_once, roomy.checkpointing) == (1, False)
    assert fit_rows(SHAPE, FULL, EVEN, batch=8, free=145 * GB).checkpointing
    with pytest.raises(ValueError, match="take a smaller base model"):
        fit_rows(SHAPE, FULL, Rows([16]), batch=8, free=80 * GB)


def test_rows_of_unlike_length_are_packed_and_then_more_of_them_fit_at_once_and_even_ones_are_not() -> None:
    padded = peak_of(SHAPE, LORA, UNEVEN, 8, pack=False, checkpointing=False)
    packed = fit_rows(SHAPE, LORA, UNEVEN, batch=8, free=64 * GB)
    assert (packed.packed, packed.at_once, packed.checkpointing) == (True, 8, False)
    assert padded > SHARE * 64 * GB > packed.peak
    assert not fit_rows(SHAPE, LORA, EVEN, batch=8, free=141 * GB).packed
    unpacked = fit_rows(SHAPE, LORA, UNEVEN, batch=8, free=64 * GB, pack=False)
    assert not unpacked.packed and unpacked.at_once < 8
    # one row at a time has nobody to share with
    assert not fit_rows(SHAPE, LORA, UNEVEN, batch=1, free=141 * GB).packed


def test_fewer_logits_at_once_need_less() -> None:
    all_of_them, parts = (
        peak_of(SHAPE, LORA, Rows(EVEN.lengths, most_scored=most), 4, pack=False, checkpointing=True) for most in (0, 256)
    )
    assert parts < all_of_them - 8 * GB
    answers = Rows(EVEN.lengths, [64] * 64)
    assert peak_of(SHAPE, LORA, answers, 4, pack=False, checkpointing=True) == parts


def test_a_card_without_bfloat16_gets_fp32_and_needs_more() -> None:
    old = how_trained(16, bf16=False)
    assert (old.weight_bytes, old.autocast) == (4, False) and (LORA.weight_bytes, LORA.autocast) == (2, True)
    assert (FULL.weight_bytes, FULL.autocast) == (4, True)
    config, settings = SimpleNamespace(to_dict=lambda: SEVEN), {"batch_size": 8, "rank": 16}
    assert fit_on_card(card(40), config, [64] * 8, settings).peak < 32 * GB
    assert fit_on_card(card(40, "Tesla V100-SXM2-32GB", (7, 0)), config, [64] * 8, settings).peak > 30 * GB


def test_of_a_model_that_cannot_be_counted_a_batch_is_computed_whole_with_checkpointing() -> None:
    config = SimpleNamespace(to_dict=lambda: {"model_type": "mamba"})
    fit = fit_on_card(card(80), config, list(UNEVEN.lengths), {"batch_size": 8, "rank": 16})
    assert (fit.at_once, fit.passes, fit.checkpointing, fit.packed) == (8, 1, True, False)
    assert str(fit) == "8 rows at once, 1 passes a step, with checkpointing: its memory is not estimated"


class Words:
    """A tokenizer of words."""

    def apply_chat_template(self, messages: list[dict[str, str]], tokenize: bool) -> str:
        assert not tokenize
        return " ".join(f"<{m['role']}> {m['content']}" for m in messages)

    def __call__(self, texts: list[str], add_special_tokens: bool) -> dict[str, list[list[int]]]:
        assert not add_special_tokens
        return {"input_ids": [list(range(len(text.split()))) for text in texts]}


def test_rows_are_as_long_as_their_chat_in_tokens_and_no_longer_than_they_are_cut() -> None:
    pairs = [("a b", "c"), ("a b c d e", "f"), ("abcdefghijklmnop", "q")]
    assert row_lengths(pairs, Words(), 100) == [5, 8, 4]
    assert row_lengths(pairs, Words(), 5) == [5, 5, 4]
