"""The definition of visibility against the closed form that programs are given."""

from __future__ import annotations

import pytest
import torch

from tests.naive import chunk_starts, visible_range


@pytest.mark.parametrize("window", [None, 1, 5, 8, 20])
@pytest.mark.parametrize("q_offset", [0, 13])
@pytest.mark.parametrize("query_block", [1, 8])
def test_closed_form(window: int | None, q_offset: int, query_block: int) -> None:
    chunk, chunks = 8, 5
    lo, hi = visible_range(
        60, chunks, chunk, q_offset=q_offset, window=window, query_block=query_block, batch=2
    )
    t = torch.arange(0, 60, query_block) + q_offset
    expected = t // chunk
    if window is not None:
        expected = torch.minimum(expected, (t - window).div(chunk, rounding_mode="floor") + 1)
    assert bool((lo == 0).all())
    assert torch.equal(hi, expected.clamp(0, chunks).int().expand(2, -1))


def test_packed_sequences_number_their_chunks_on() -> None:
    lo, hi = visible_range(20, 3, 4, cu_seqlens_q=[0, 6, 20], cu_seqlens_kv=[0, 6, 16])
    assert lo[0].tolist() == [0] * 10 + [1] * 10
    assert hi[0].tolist() == [0] * 4 + [1] * 2 + [0] * 4 + [2] * 4 + [3] * 6
    assert chunk_starts([0, 6, 16], 4).tolist() == [0, 6, 10]
