"""Tokens, operations and the share of a card's peak: what the reports of recipe, search and ft_agent say."""

import pytest
from reading.cards import Card, card_here, peak_tflops
from reading.memory import Shape
from reading.speed import Done, length_met, speed_of, tflops_of
from test_fitting import SHAPE, card


@pytest.mark.parametrize(
    ("name", "peak"),
    [("NVIDIA H200", 989.5), ("NVIDIA H200 NVL", 835.5), ("NVIDIA H100 80GB HBM3", 989.4), ("NVIDIA H100 PCIe", 756.5),
     ("NVIDIA H100 NVL", 835.5), ("NVIDIA A100-SXM4-80GB", 312.0), ("NVIDIA A100 80GB PCIe", 312.0), ("NVIDIA L40S", 362.05),
     ("NVIDIA L40", 181.05), ("NVIDIA L4", 121.0), ("NVIDIA A10", 125.0), ("NVIDIA GeForce RTX 4090", 165.2),
     ("NVIDIA B200", 2250.0), ("NVIDIA GB200", 2500.0)],
)  # fmt: skip
def test_a_cards_peak_is_found_by_its_whole_name(name: str, peak: float) -> None:
    assert peak_tflops(name) == peak


@pytest.mark.parametrize(
    "name",
    ["NVIDIA H100 80GB HBM3 MIG 1g.10gb", "NVIDIA H100", "NVIDIA A10G", "NVIDIA GeForce RTX 4090 Laptop GPU", "NVIDIA H20",
     "NVIDIA A100X", "NVIDIA L4000", "Tesla T4", ""],
)  # fmt: skip
def test_what_is_not_in_the_table_is_not_guessed(name: str) -> None:
    assert peak_tflops(name) is None


def test_a_card_without_bfloat16_is_held_against_its_peak_in_fp32() -> None:
    assert card(16, "Tesla T4", (7, 5)).peak == 8.1 and card(32, "Tesla V100-SXM2-32GB", (7, 0)).peak == 15.7
    assert card(80, "NVIDIA A100-SXM4-80GB", (8, 0)).peak == 312.0


def test_a_card_is_the_same_after_a_way_through_json() -> None:
    told = vars(card(80)) | {"capability": [9, 0]}
    assert Card.of(told) == card(80)


def test_without_a_gpu_there_is_no_card() -> None:
    torch = pytest.importorskip("torch")
    if torch.cuda.is_available():
        pytest.skip("a GPU is here")
    assert card_here() is None


def test_speed_is_told_with_the_share_of_the_peak_where_that_is_known() -> None:
    done = Done(tokens=100_000, seconds=10.0, peak=30_000_000_000, estimated=31_500_000_000)
    reached = tflops_of(SHAPE, done, rank=16)
    assert reached == pytest.approx(10_000 * (4 * SHAPE.multiplied + 6 * SHAPE.adapter(16)) / 1e12)
    said = speed_of(SHAPE, card(140), done, rank=16)
    share = f"{reached / 989.5:.1%}"
    assert said == (
        f"10000 tokens/s, {reached:.3g} TFLOP/s, {share} of the peak of NVIDIA H200 in bfloat16; peak 30.00 GB, estimated 31.50"
    )
    both = speed_of(SHAPE, card(140), done, rank=16, cards=2)
    assert f"{reached / 989.5 / 2:.1%} of the peak of 2 × NVIDIA H200 in bfloat16" in both
    unknown = speed_of(SHAPE, card(140, "NVIDIA H20"), Done(100_000, 10.0), rank=16)
    assert unknown.endswith("TFLOP/s; the peak of NVIDIA H20 in bfloat16 is not known here")


def test_on_a_cpu_no_share_is_told_and_of_a_model_that_cannot_be_counted_tokens_alone() -> None:
    assert (
        speed_of(SHAPE, None, Done(20_000, 10.0), rank=16)
        == f"2000 tokens/s, {tflops_of(SHAPE, Done(20_000, 10.0), rank=16):.3g} TFLOP/s"
    )
    assert speed_of(None, None, Done(300, 3.0), rank=16) == "100 tokens/s"
    assert speed_of(None, card(80), Done(300, 3.0, peak=2 * 10**9), rank=16) == "100 tokens/s; peak 2.00 GB, not estimated"


def test_operations_follow_what_is_trained_and_scored_and_the_rows_length() -> None:
    adapter, full = (tflops_of(SHAPE, Done(1000, 1.0), rank=rank) for rank in (16, 0))
    assert 1.45 < full / adapter < 1.5
    assert tflops_of(SHAPE, Done(1000, 1.0, scored=0.1), rank=16) < adapter < tflops_of(SHAPE, Done(1000, 1.0, 4096), rank=16)
    assert tflops_of(SHAPE, Done(1000, 1.0), rank=16, trained=10**6) < adapter
    assert isinstance(SHAPE, Shape) and length_met([100, 300]) == 250 and length_met([]) == 0
