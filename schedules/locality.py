"""Selections to tune on: how much neighbouring tokens agree on their chunks decides what is fast.

random   every token chooses independently
local    groups of 16 tokens share most of a score: the union of a group's chunks stays small,
         as it does in trained models

What a model really selected is recorded in a trace (`hsa_compiler/trace.py`).
"""

from __future__ import annotations

import torch

KINDS = ("random", "local")
#: Tokens that share scores, and whose union `measured_union` counts.
GROUP = 16
#: How much a token's own score counts beside its group's, in `local`.
OWN_SCORE = 0.08
#: Scores drawn at once; bounds the memory of long contexts.
MAX_SCORES = 1 << 26


def causal_bounds(
    batch: int,
    rows: int,
    chunks: int,
    chunk: int,
    *,
    q_offset: int = 0,
    query_block: int = 1,
    device: torch.device | str = "cpu",
) -> tuple[torch.Tensor, torch.Tensor]:
    """``lo, hi`` i32[B,R]: row r sees the complete chunks strictly before its first token."""
    position = q_offset + query_block * torch.arange(rows, device=device)
    hi = (position // chunk).clamp(max=chunks).to(torch.int32)
    hi = hi.expand(batch, rows).contiguous()
    return torch.zeros_like(hi), hi


def make_selection(
    kind: str,
    lo: torch.Tensor,
    hi: torch.Tensor,
    *,
    heads: int,
    chunks: int,
    top_k: int,
    seed: int = 0,
) -> torch.Tensor:
    """Draw a selection for rows that see the chunks ``lo <= c < hi``.

    Args:
        kind: ``"random"`` or ``"local"``: per group of 16 rows and head a score per chunk uniform
            in [0, 1), plus 0.08 times a uniform score per row; the top k of the visible.
        lo, hi: i32[B,R].
        heads, chunks, top_k: Hi, C and K.
        seed: the same seed on the same kind of device gives the same selection.

    Returns:
        indices i32[B,R,Hi,K] on the device of `lo`, newest chunk first, then -1.

    Raises:
        ValueError: for an unknown kind.
    """
    if kind not in KINDS:
        raise ValueError(f"selection {kind!r} is not one of {', '.join(KINDS)}")
    batch, rows = lo.shape
    generator = torch.Generator(device=lo.device)
    generator.manual_seed(seed)
    block = max(1, MAX_SCORES // max(1, batch * heads * chunks * GROUP)) * GROUP
    parts = [
        _select_block(
            kind, lo[:, at : at + block], hi[:, at : at + block], heads, chunks, top_k, generator
        )
        for at in range(0, rows, block)
    ]
    return torch.cat(parts, dim=1) if parts else lo.new_zeros((batch, 0, heads, top_k))


def _select_block(
    kind: str,
    lo: torch.Tensor,
    hi: torch.Tensor,
    heads: int,
    chunks: int,
    top_k: int,
    generator: torch.Generator,
) -> torch.Tensor:
    batch, rows = lo.shape
    device = lo.device

    def uniform(count: int) -> torch.Tensor:
        return torch.rand((batch, count, heads, chunks), generator=generator, device=device)

    scores = uniform(rows)
    if kind == "local":
        groups = uniform(-(-rows // GROUP))
        scores = groups.repeat_interleave(GROUP, dim=1)[:, :rows] + OWN_SCORE * scores
    chunk = torch.arange(chunks, device=device)
    visible = (chunk >= lo[..., None]) & (chunk < hi[..., None])
    scores.masked_fill_(~visible[:, :, None], -1.0)
    best = scores.topk(min(top_k, chunks), dim=-1)
    chosen = torch.where(best.values >= 0, best.indices, -1).to(torch.int32)
    chosen = chosen.sort(dim=-1, descending=True).values
    return torch.nn.functional.pad(chosen, (0, top_k - chosen.shape[-1]), value=-1)


def measured_union(indices: torch.Tensor, group: int = GROUP) -> float:
    """The mean number of distinct chunks that `group` neighbouring rows chose, over K.

    Groups that chose nothing do not count; the last rows count when they fill a group.

    Args:
        indices: i32[B,R,Hi,K] with -1 in empty slots.
    """
    if indices.numel() == 0:
        return 0.0
    distinct, groups = union_counts(indices, group).tolist()
    return distinct / groups / indices.shape[3] if groups else 0.0


def union_counts(indices: torch.Tensor, group: int = GROUP) -> torch.Tensor:
    """What `measured_union` divides, without waiting for the device: i64[2], the distinct chunks of
    all groups and the number of groups that chose any. `indices` must not be empty."""
    batch, rows, heads, top_k = indices.shape
    group = min(group, rows)
    whole = rows // group * group
    grouped = indices[:, :whole].reshape(batch, whole // group, group, heads, top_k)
    flat = grouped.transpose(2, 3).reshape(-1, group * top_k).sort(dim=-1).values
    first = torch.ones_like(flat, dtype=torch.bool)
    first[:, 1:] = flat[:, 1:] != flat[:, :-1]
    distinct = (first & (flat >= 0)).sum(dim=-1)
    return torch.stack((distinct.sum(), (distinct > 0).sum()))
