"""Which chunks a token sees, straight from the definition, one token and one chunk at a time."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor


def visible_range(
    tokens: int,
    chunks: int,
    chunk: int,
    *,
    q_offset: int = 0,
    window: int | None = None,
    cu_seqlens_q: Sequence[int] | None = None,
    cu_seqlens_kv: Sequence[int] | None = None,
    query_block: int = 1,
    batch: int = 1,
) -> tuple[Tensor, Tensor]:
    """lo and hi, i32 [batch, R]: row r sees the chunks lo <= c < hi; (0, 0) where it sees none.

    Chunk c of a sequence is visible to the token at position t iff (c + 1) * chunk <= t, and,
    with a window, c * chunk <= t - window. A row sees what its first token sees. In packed
    sequences positions restart and chunks are numbered on from those of the sequences before.
    """
    if cu_seqlens_q is None:
        sequences = [(0, tokens, 0, chunks)]
    else:
        assert cu_seqlens_kv is not None
        sequences, first = [], 0
        for i in range(len(cu_seqlens_q) - 1):
            count = (cu_seqlens_kv[i + 1] - cu_seqlens_kv[i]) // chunk
            sequences.append((cu_seqlens_q[i], cu_seqlens_q[i + 1], first, count))
            first += count
        assert first == chunks
        assert cu_seqlens_q[-1] == tokens
    ranges = []
    for begin, end, first, count in sequences:
        for i in range(begin, end):
            t = q_offset + i - begin
            seen = [
                first + c
                for c in range(count)
                if (c + 1) * chunk <= t and (window is None or c * chunk <= t - window)
            ]
            assert seen == list(range(seen[0], seen[0] + len(seen))) if seen else True
            ranges.append((seen[0], seen[-1] + 1) if seen else (0, 0))
    rows = torch.tensor(ranges[::query_block], dtype=torch.int32).reshape(-1, 2)
    lo, hi = (rows[:, i].expand(batch, -1).contiguous() for i in (0, 1))
    return lo, hi


def chunk_starts(cu_seqlens_kv: Sequence[int], chunk: int) -> Tensor:
    """i32 [C]: the kv token at which each chunk of the packed sequences starts."""
    starts = [
        begin + c * chunk
        for begin, end in pairwise(cu_seqlens_kv)
        for c in range((end - begin) // chunk)
    ]
    return torch.tensor(starts, dtype=torch.int32)
