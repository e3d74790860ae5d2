from hypothesis import given
from hypothesis import strategies as st

from harness.sandbox.execd.output import HeadTail


@given(st.lists(st.binary(max_size=300)), st.integers(min_value=2, max_value=400))
def test_head_and_tail_are_those_of_the_whole(pieces: list[bytes], cap: int) -> None:
    kept = HeadTail(cap)
    for piece in pieces:
        kept.add(piece)
    whole, half = b"".join(pieces), cap // 2
    if len(whole) <= 2 * half:
        assert kept.value() == whole and not kept.truncated
    else:
        assert kept.truncated
        assert kept.value().startswith(whole[:half]) and kept.value().endswith(whole[-half:])
        assert b"%d bytes left out" % (len(whole) - 2 * half) in kept.value()


def test_a_flood_does_not_grow_memory() -> None:
    kept = HeadTail(1000)
    for _ in range(2000):
        kept.add(b"x" * 10_000)
    assert len(kept._head) + len(kept._tail) < 200_000
    assert len(kept.value()) < 1100
