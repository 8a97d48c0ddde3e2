"""HSA over dense [rows, chunks] masks, in the dtype of its inputs; gradients by autograd.

Heads follow the operator's rule: of n query-like heads and m others, head h uses h * m // n.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from .visibility import chunk_starts, visible_range


class NaiveSelection(NamedTuple):
    """By slot, newest chunk first: -1, -inf and 0 at empty slots."""

    indices: Tensor  # i32 [B, R, Hi, K]
    scores: Tensor  # [B, R, Hr, K]
    weights: Tensor | None  # [B, R, Hw, K]; None where nothing was normalised
    local_weight: Tensor | None  # [B, R, Hw], with lse_mix


def naive_retrieve(
    q_slc: Tensor,
    landmarks: Tensor,
    lo: Tensor,
    hi: Tensor,
    *,
    top_k: int,
    normalize: str | None = "softmax",
    index_heads: int | None = None,
    weight_heads: int | None = None,
    scale: float | None = None,
    reduce: str = "max",
    chunk_bias: Tensor | None = None,
    rank_scale: Tensor | None = None,
    local_lse: Tensor | None = None,
    row_lse: Tensor | None = None,
    noise: Tensor | None = None,
    force_first: int = 0,
    force_last: int = 0,
    indices: Tensor | None = None,
) -> NaiveSelection:
    """Score, select and normalise.

    q_slc [B, R, Hr, Dr], landmarks [B, C, Hm, Dr], lo and hi i32 [B, R], chunk_bias [B, C, Hm],
    rank_scale a scalar or [B, R, Hw], local_lse [B, R, Hw], row_lse [B, R, Hr], noise
    [B, R, Hi, C]. index_heads and weight_heads default to Hr. Given `indices` are not selected
    anew.
    """
    heads, chunks = q_slc.shape[2], landmarks.shape[1]
    index_heads, weight_heads = index_heads or heads, weight_heads or heads
    scale = 1 / math.sqrt(q_slc.shape[3]) if scale is None else scale
    scores = torch.einsum("brhd,bchd->brhc", q_slc, _heads(landmarks, heads)) * scale
    if chunk_bias is not None:
        scores = scores + _heads(chunk_bias, heads).permute(0, 2, 1)[:, None]
    if indices is None:
        indices = _top_k(
            scores.detach(),
            lo,
            hi,
            top_k,
            index_heads,
            reduce,
            row_lse,
            noise,
            force_first,
            force_last,
        )
    slots = _at_slots(scores, indices, -math.inf)
    if normalize is None:
        return NaiveSelection(indices, slots, None, None)
    chosen = _heads(_counts(indices, chunks), weight_heads) > 0
    weights, local_weight = naive_weights(
        _heads(scores, weight_heads), chosen, normalize, rank_scale, local_lse
    )
    return NaiveSelection(indices, slots, _at_slots(weights, indices, 0.0), local_weight)


def naive_weights(
    scores: Tensor,
    chosen: Tensor,
    kind: str,
    rank_scale: Tensor | None = None,
    local_lse: Tensor | None = None,
) -> tuple[Tensor, Tensor | None]:
    """Dense weights [B, R, Hw, C] of the chosen chunks, and local_weight [B, R, Hw] for lse_mix."""
    # The rank of a chunk is the number of chosen newer ones.
    rank = chosen.flip(3).cumsum(3).flip(3) - 1
    if rank_scale is not None:
        scores = scores + rank_scale.reshape(*rank_scale.shape, 1) * rank
    if kind == "stick_breaking":
        spent = torch.where(chosen, F.softplus(scores), 0).flip(3).cumsum(3).flip(3)
        return torch.where(chosen, scores - spent, -math.inf).exp(), None
    if kind == "softmax":
        # A finite fill keeps gradients of rows without a chunk finite.
        filled = torch.where(chosen, scores, -1e30)
        return torch.where(chosen, filled.softmax(3), 0), None
    extra = local_lse if kind == "lse_mix" else scores.new_zeros(scores.shape[:3])
    filled = torch.cat([torch.where(chosen, scores, -1e30), extra[..., None]], 3).softmax(3)
    weights = torch.where(chosen, filled[..., :-1], 0)
    return weights, filled[..., -1] if kind == "lse_mix" else None


def naive_chunk_attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    indices: Tensor,
    weights: Tensor | None,
    *,
    chunk_size: int,
    scale: float | None = None,
    local_out: Tensor | None = None,
    local_weight: Tensor | None = None,
    local_lse: Tensor | None = None,
    query_block: int = 1,
    chunk_start: Tensor | None = None,
    plus_one: bool = False,
    hide_last: bool = False,
) -> Tensor:
    """Attention to the chunks in `indices` [B, R, Hi, K] -> [B, L, Hq, D].

    With `weights` [B, R, Hw, K], each chunk's own output is weighted, and `local_out` by
    local_weight [B, R, Hw]; without, one softmax goes over all chosen chunks and local_lse
    [B, L, Hq]. Duplicates count twice.
    """
    length, heads, dim = q.shape[1:]
    scale = 1 / math.sqrt(dim) if scale is None else scale
    start = (
        [int(s) for s in chunk_start]
        if chunk_start is not None
        else list(range(0, k.shape[1] - chunk_size + 1, chunk_size))
    )
    keys, values = _heads(k, heads), _heads(v, heads)

    outs, lses = [], []
    for begin in start:
        seen = slice(begin, begin + chunk_size - int(hide_last))
        logits = torch.einsum("blhd,bshd->blhs", q, keys[:, seen]) * scale
        if plus_one:
            logits = torch.cat([torch.zeros_like(logits[..., :1]), logits], 3)
        p = logits.softmax(3)[..., int(plus_one) :]
        outs.append(torch.einsum("blhs,bshd->blhd", p, values[:, seen]))
        lses.append(logits.logsumexp(3))
    counts = _rows(_heads(_counts(indices, len(start)), heads), query_block, length)
    if not start:
        outs, lses = [torch.zeros_like(q)], [torch.zeros_like(q[..., 0])]
        counts = torch.zeros_like(q[..., :1])
    out, lse = torch.stack(outs, 3), torch.stack(lses, 3)  # [B, L, Hq, C, D], [B, L, Hq, C]

    if weights is not None:
        dense = _dense(
            _rows(_heads(weights, heads), query_block, length),
            _rows(_heads(indices, heads), query_block, length),
            counts.shape[3],
        )
        total = (dense[..., None] * out).sum(3)
        if local_out is not None:
            assert local_weight is not None
            share = _rows(_heads(local_weight, heads), query_block, length)
            total = total + share[..., None] * local_out
        return total

    parts, logs, number = out, lse, counts.to(out.dtype)
    if local_out is not None:
        assert local_lse is not None
        parts = torch.cat([out, local_out[:, :, :, None]], 3)
        logs = torch.cat([lse, local_lse[..., None]], 3)
        number = torch.cat([number, (local_lse > -math.inf).to(out.dtype)[..., None]], 3)
    logs = torch.where(number > 0, logs, -1e30)
    share = number * (logs - logs.amax(3, keepdim=True).detach()).exp()
    whole = share.sum(3, keepdim=True)
    share = share / torch.where(whole > 0, whole, 1)
    return (share[..., None] * parts).sum(3)


def naive_hsa(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    q_slc: Tensor,
    landmarks: Tensor,
    *,
    chunk_size: int,
    top_k: int,
    normalize: str | None = "softmax",
    weight_heads: str = "kv",
    index_heads: int | None = None,
    chunk_bias: Tensor | None = None,
    rank_scale: Tensor | None = None,
    local_out: Tensor | None = None,
    local_lse: Tensor | None = None,
    window: int | None = None,
    q_offset: int = 0,
    query_block: int = 1,
    cu_seqlens_q: Sequence[int] | None = None,
    cu_seqlens_kv: Sequence[int] | None = None,
    scale: float | None = None,
    noise: Tensor | None = None,
    plus_one: bool = False,
    hide_last: bool = False,
    indices: Tensor | None = None,
) -> tuple[Tensor, NaiveSelection]:
    """The whole operator: (out [B, L, Hq, D], selection).

    As `hsa_compiler.hsa_attention`; landmarks [B, C, Hm, Dr]. normalize None is the joint
    softmax. There are min(Hr, H) index heads unless given; weight heads are those of the scores
    or, if more, of k ("kv") or q ("query"). Given `indices` are not selected anew.
    """
    heads, kv_heads = q_slc.shape[2], k.shape[2]
    asked = q.shape[2] if weight_heads == "query" else kv_heads
    lo, hi = (
        x.to(q.device)
        for x in visible_range(
            q.shape[1],
            landmarks.shape[1],
            chunk_size,
            q_offset=q_offset,
            window=window,
            cu_seqlens_q=cu_seqlens_q,
            cu_seqlens_kv=cu_seqlens_kv,
            query_block=query_block,
            batch=q.shape[0],
        )
    )
    start = (
        chunk_starts(cu_seqlens_kv, chunk_size)
        if cu_seqlens_kv is not None
        else torch.arange(landmarks.shape[1]) * chunk_size
    )
    selection = naive_retrieve(
        q_slc,
        landmarks,
        lo,
        hi,
        top_k=top_k,
        normalize=normalize,
        index_heads=index_heads or min(heads, kv_heads),
        weight_heads=max(heads, asked),
        chunk_bias=chunk_bias,
        rank_scale=rank_scale,
        local_lse=local_lse if normalize == "lse_mix" else None,
        noise=noise,
        indices=indices,
    )
    out = naive_chunk_attention(
        q,
        k,
        v,
        selection.indices,
        selection.weights,
        chunk_size=chunk_size,
        scale=scale,
        local_out=local_out,
        local_weight=selection.local_weight,
        local_lse=local_lse,
        query_block=query_block,
        chunk_start=start,
        plus_one=plus_one,
        hide_last=hide_last,
    )
    return out, selection


def naive_gumbel(seed: int, batch: int, rows: int, heads: int, chunks: int) -> Tensor:
    """The selection noise, float64 [B, R, Hi, C], with Python integers one by one."""

    def mix(x: int) -> int:
        x ^= x >> 16
        x = x * 0x7FEB352D % 2**32
        x ^= x >> 15
        x = x * 0x846CA68B % 2**32
        return x ^ (x >> 16)

    noise = []
    for row in range(batch * rows * heads):
        start = mix((row + mix(seed % 2**32)) % 2**32)
        for c in range(chunks):
            u = ((mix((c + start) % 2**32) >> 9) + 0.5) / 2**23
            noise.append(-math.log(-math.log(u)))
    return torch.tensor(noise, dtype=torch.float64).reshape(batch, rows, heads, chunks)


def _top_k(
    scores: Tensor,
    lo: Tensor,
    hi: Tensor,
    k: int,
    heads: int,
    reduce: str,
    row_lse: Tensor | None,
    noise: Tensor | None,
    force_first: int,
    force_last: int,
) -> Tensor:
    """i32 [B, R, Hi, K], by sorting Python tuples row by row."""
    batch, rows, score_heads, _ = scores.shape
    if row_lse is not None:
        scores = (scores - row_lse[..., None]).exp()
    chosen = torch.full((batch, rows, heads, k), -1, dtype=torch.int32)
    group = score_heads // heads
    for b in range(batch):
        for r in range(rows):
            first, last = int(lo[b, r]), int(hi[b, r])
            for h in range(heads):
                of_group = scores[b, r, h * group : (h + 1) * group]
                value = {"max": of_group.amax(0), "sum": of_group.sum(0), "single": of_group[0]}[
                    reduce
                ]
                if noise is not None:
                    value = value + noise[b, r, h].to(value)
                values = value.tolist()
                ranked = sorted(
                    (
                        (c < first + force_first or c >= last - force_last, values[c], c)
                        for c in range(first, last)
                    ),
                    reverse=True,
                )
                best = sorted(
                    (c for forced, x, c in ranked[:k] if forced or x > -math.inf), reverse=True
                )
                chosen[b, r, h, : len(best)] = torch.tensor(best, dtype=torch.int32)
    return chosen.to(scores.device)


def _heads(x: Tensor, heads: int) -> Tensor:
    """Dim 2 repeated to `heads`."""
    return torch.stack([x[:, :, h * x.shape[2] // heads] for h in range(heads)], 2)


def _rows(x: Tensor, block: int, length: int) -> Tensor:
    """Rows (dim 1) repeated for their tokens."""
    return x[:, torch.arange(length, device=x.device) // block]


def _dense(slots: Tensor, indices: Tensor, chunks: int) -> Tensor:
    """Slots [..., K] added up by chunk [..., C]."""
    of_chunk = [torch.where(indices == c, slots, 0).sum(-1) for c in range(chunks)]
    return torch.stack(of_chunk, -1) if of_chunk else slots.new_zeros(*slots.shape[:-1], 0)


def _counts(indices: Tensor, chunks: int) -> Tensor:
    return _dense(torch.ones_like(indices), indices, chunks)


def _at_slots(dense: Tensor, indices: Tensor, empty: float) -> Tensor:
    """[B, R, Hx, C] -> [B, R, Hx, K]."""
    if dense.shape[3] == 0:
        return dense.new_full((*dense.shape[:3], indices.shape[3]), empty)
    at = _heads(indices, dense.shape[2]).long()
    return torch.where(at >= 0, dense.gather(3, at.clamp(min=0)), empty)
