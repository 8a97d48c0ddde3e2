"""Which chunks a retrieval row may see, as one interval per row, in plain tensor code.

Row `r` of batch `b` sees chunks ``lo[b, r] <= c < hi[b, r]``. A chunk is visible once it is
complete and strictly past, ``(c + 1) * S <= t``; the window-aware rule also asks
``c * S <= t - W``, which leaves out chunks that lie wholly inside the sliding window (arXiv
2511.23319, section 3, with the stricter bound that keeps a token from seeing its own chunk).

Nothing here reads a tensor back to the host, so a call can be captured in a CUDA graph and traced
by torch.compile.
"""

from __future__ import annotations

import torch
from torch import Tensor


def visible_chunks(positions: Tensor, chunk_size: int, window: int | None) -> Tensor:
    """How many chunks, counted from the first of its sequence, a position sees.

    Args:
        positions: integer tensor of any shape, 0 or larger.
        chunk_size: S, tokens per chunk, a power of two.
        window: W for the window-aware rule, or None.

    Returns:
        A tensor like `positions`; not yet clipped to the chunks that exist.
    """
    # A shift is a floored division that torch.compile cannot get wrong: for C++, torch 2.13 splits
    # a loop over arange(L) // S into L // S times S steps and leaves the rest unwritten.
    bits = int(chunk_size).bit_length() - 1
    complete = positions >> bits
    if window is None:
        return complete
    # floor((t - W) / S) + 1 is 0 or less for t < W, so no case distinction is needed.
    outside = ((positions - window) >> bits) + 1
    return torch.minimum(complete, outside).clamp(min=0)


def intervals(
    *,
    batch: int,
    rows: int,
    chunks: int,
    chunk_size: int,
    device: torch.device,
    window: int | None = None,
    q_offset: int | Tensor = 0,
    query_block: int = 1,
    cu_seqlens_q: Tensor | None = None,
    cu_seqlens_kv: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """The visible interval of every retrieval row.

    Args:
        batch, rows, chunks: B, R and C. Packed sequences have B = 1.
        chunk_size: S.
        device: where the results live.
        window: W for the window-aware rule, or None.
        q_offset: position of a sequence's first query token; an int, or an integer tensor on
            `device` with one element or, for packed sequences, one element per sequence.
        query_block: tokens per row; a row sees what its first token sees.
        cu_seqlens_q, cu_seqlens_kv: integer [N + 1], where each packed sequence starts and the
            last one ends, both or neither.

    Returns:
        lo, hi: i32[B, R], contiguous, ``0 <= lo <= hi <= C``.
    """
    # Positions are 64-bit: an offset near 2**31 is legal and must not wrap.
    token = torch.arange(rows, device=device, dtype=torch.int64) * query_block
    if cu_seqlens_q is None or cu_seqlens_kv is None:
        hi = visible_chunks(token + q_offset, chunk_size, window).clamp(max=chunks)
        hi = hi.to(torch.int32).reshape(1, rows).expand(batch, rows).contiguous()
        return torch.zeros_like(hi), hi

    starts_q = cu_seqlens_q.to(torch.int64)
    sequences = starts_q.shape[0] - 1
    # The last sequence that starts at or before the token: empty sequences are stepped over.
    sequence = torch.searchsorted(starts_q, token, right=True, out_int32=True) - 1
    padding = sequence >= sequences
    sequence = sequence.clamp(max=sequences - 1)
    offset = q_offset
    if isinstance(q_offset, Tensor) and q_offset.numel() > 1:
        offset = q_offset.reshape(-1).to(torch.int64)[sequence]
    position = token - starts_q[sequence] + offset
    first_chunk = first_chunks(cu_seqlens_kv, chunk_size)
    lo = first_chunk[sequence].clamp(max=chunks)
    last = first_chunk[sequence + 1]
    hi = torch.minimum(lo + visible_chunks(position, chunk_size, window), last).clamp(max=chunks)
    hi = torch.where(padding, lo, hi)
    return (
        lo.to(torch.int32).reshape(1, rows).contiguous(),
        hi.to(torch.int32).reshape(1, rows).contiguous(),
    )


def first_chunks(cu_seqlens_kv: Tensor, chunk_size: int) -> Tensor:
    """The number of each packed sequence's first chunk; sequences restart chunks.

    Args:
        cu_seqlens_kv: integer [N + 1].
        chunk_size: S; a sequence of n tokens has ``n // S`` chunks, its tail is ignored.

    Returns:
        i32[N + 1], exclusive prefix counts; the last entry is the number of chunks in all.
    """
    starts = cu_seqlens_kv.to(torch.int32)
    counts = torch.div(starts[1:] - starts[:-1], chunk_size, rounding_mode="floor")
    zero = torch.zeros(1, device=starts.device, dtype=torch.int32)
    return torch.cat([zero, torch.cumsum(counts, 0, dtype=torch.int32)])


def chunk_starts(cu_seqlens_kv: Tensor, *, chunks: int, chunk_size: int, kv_tokens: int) -> Tensor:
    """The key token at which each chunk of a packed batch starts.

    Args:
        cu_seqlens_kv: integer [N + 1].
        chunks: C, the length of the table; entries past the last real chunk are in range but
            meaningless (no row sees them).
        chunk_size: S.
        kv_tokens: Lkv.

    Returns:
        i32[C].
    """
    starts = cu_seqlens_kv.to(torch.int32)
    first = first_chunks(starts, chunk_size)
    chunk = torch.arange(chunks, device=starts.device, dtype=torch.int32)
    sequence = torch.searchsorted(first[1:], chunk, right=True, out_int32=True)
    sequence = sequence.clamp(max=starts.shape[0] - 2)
    start = starts[sequence] + (chunk - first[sequence]) * chunk_size
    return start.clamp(max=max(kv_tokens - chunk_size, 0)).to(torch.int32)
