"""A card on which an agent works too: a grader takes what is free there, and says so where that is nothing."""

from pathlib import Path

import pytest

from harness.grading.worker.vllm_child import _arguments
from harness.grading.worker.vllm_model import _card_memory, share_of
from harness.spec.errors import GraderFailure

GB = 10**9


@pytest.mark.parametrize(("free", "total", "share"), [(140, 141, 0.9), (141, 141, 0.9), (60, 141, 0.412), (10, 24, 0.404)])
def test_vllm_is_given_what_is_free_and_nine_tenths_at_most(free: int, total: int, share: float) -> None:
    assert share_of(free * GB, total * GB) == share
    settings = {"model": "m", "dtype": "bfloat16", "max_model_len": 8, "max_num_seqs": 1, "eager": False}
    assert _arguments({**settings, "kv_bytes": 0, "lora_rank": 0, "share": share})["gpu_memory_utilization"] == share
    assert "gpu_memory_utilization" not in _arguments({**settings, "kv_bytes": 0, "lora_rank": 0, "share": 0.0})


def test_a_full_card_is_an_error_with_a_remedy() -> None:
    with pytest.raises(GraderFailure, match=r"of the card's 24\.0 GB 0\.0 GB are free") as caught:
        share_of(1, 24 * GB)
    assert "end what holds them" in caught.value.hint


def test_the_cards_memory_is_told_by_the_engines_own_python_and_what_that_says_else_is_an_error(tmp_path: Path) -> None:
    python = tmp_path / "python"
    for says, code in (("echo 7000000000 24000000000", 0), ("echo no CUDA >&2; exit 1", 1)):
        python.write_text(f"#!/bin/sh\n{says}\n")
        python.chmod(0o755)
        if not code:
            assert _card_memory(str(python)) == (7 * GB, 24 * GB)
        else:
            with pytest.raises(GraderFailure, match="no CUDA"):
                _card_memory(str(python))
