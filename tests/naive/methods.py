"""GCA, HiLS, MoBA, NSA's selected branch and InfLLM-v2 as their papers define them.

Dense masks over tokens, one softmax over whatever a query sees; nothing is shared with `hsa.py`.
Shapes: q [B, L, Hq, D], k and v [B, L, H, D]; query positions are 0 .. L-1.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor


def masked_attention(
    q: Tensor, k: Tensor, v: Tensor, mask: Tensor, scale: float
) -> tuple[Tensor, Tensor]:
    """(out [B, L, Hq, D], lse [B, L, Hq]) under a mask that broadcasts to [B, L, Hq, Lkv].

    A query that sees nothing gets 0 and -inf.
    """
    heads = q.shape[2]
    keys, values = (_repeat(x, heads) for x in (k, v))
    logits = torch.einsum("blhd,bmhd->blhm", q, keys) * scale
    mask = mask.expand(logits.shape)
    some = mask.any(3)
    logits = torch.where(mask | ~some[..., None], logits, -math.inf)
    out = torch.einsum("blhm,bmhd->blhd", logits.softmax(3), values)
    return (torch.where(some[..., None], out, 0), torch.where(some, logits.logsumexp(3), -math.inf))


def naive_gca(
    q: Tensor, k: Tensor, v: Tensor, q_slc: Tensor, landmarks: Tensor, *, chunk: int, top_k: int
) -> Tensor:
    """q_slc [B, R, Hr, Dr]: one retrieval query per block of `chunk` tokens (R = ceil(L/chunk))."""
    batch, length, heads, dim = q.shape
    rows, score_heads, score_dim = q_slc.shape[1:]
    out = []
    for b in range(batch):
        for r in range(rows):
            block = q[b, r * chunk : (r + 1) * chunk]
            mixed = []
            for h in range(heads):
                scores = (
                    landmarks[b, :, h * landmarks.shape[2] // heads]
                    @ q_slc[b, r, h * score_heads // heads]
                ) / math.sqrt(score_dim)
                chosen = torch.topk(scores[:r], min(top_k, r)).indices if r else []
                total = torch.zeros_like(block[:, h])
                for c in chosen:
                    weight = scores[c].exp() / scores[chosen].exp().sum()
                    part = slice(int(c) * chunk, int(c) * chunk + chunk)
                    kv = h * k.shape[2] // heads
                    p = (block[:, h] @ k[b, part, kv].T / math.sqrt(dim)).softmax(1)
                    total = total + weight * (p @ v[b, part, kv])
                mixed.append(total)
            out.append(torch.stack(mixed, 1))
    return torch.cat(out).reshape(batch, length, heads, dim)


def naive_hils(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    q_slc: Tensor,
    landmarks: Tensor,
    bias: Tensor,
    *,
    chunk: int,
    top_k: int,
    window: int,
) -> Tensor:
    """Per query head one mix of chosen chunks and the sliding window; chunks chosen per KV head.

    q_slc [B, L, Hq, Dr], landmarks [B, C, H, Dr], bias [B, C, H]. Chunks wholly in the window, or
    not wholly past, are not retrieved.
    """
    batch, length, _, dim = q.shape
    kv_heads, group, chunks = k.shape[2], q.shape[2] // k.shape[2], landmarks.shape[1]
    t = torch.arange(length)
    near = (t[:, None] >= t) & (t[:, None] - t < window)
    local, local_lse = masked_attention(q, k, v, near[:, None], 1 / math.sqrt(dim))
    out = torch.zeros_like(q)
    for b in range(batch):
        for i in range(length):
            seen = [c for c in range(chunks) if (c + 1) * chunk <= i and c * chunk <= i - window]
            for g in range(kv_heads):
                members = range(g * group, (g + 1) * group)
                scores = torch.stack(
                    [
                        q_slc[b, i, h] @ landmarks[b, :, g].T / math.sqrt(q_slc.shape[3])
                        + bias[b, :, g]
                        for h in members
                    ]
                )
                best = sorted(seen, key=lambda c: -float(scores[:, c].detach().max()))[:top_k]
                for row, h in enumerate(members):
                    logits = torch.stack([scores[row, c] for c in best] + [local_lse[b, i, h]])
                    mix = logits.softmax(0)
                    out[b, i, h] = mix[-1] * local[b, i, h] + sum(
                        mix[n] * _one_chunk(q[b, i, h], k[b, :, g], v[b, :, g], c, chunk)
                        for n, c in enumerate(best)
                    )
    return out


def naive_moba(q: Tensor, k: Tensor, v: Tensor, *, chunk: int, top_k: int) -> Tensor:
    """Every head sees its own chunk causally and the top_k past chunks by mean key: one softmax."""
    batch, length, heads, dim = q.shape
    keys = _repeat(k, heads).detach()
    mask = torch.zeros(batch, length, heads, length, dtype=torch.bool)
    for b in range(batch):
        for t in range(length):
            own = t // chunk
            mask[b, t, :, own * chunk : t + 1] = True
            for h in range(heads):
                gate = [
                    float(q[b, t, h].detach() @ keys[b, c * chunk : (c + 1) * chunk, h].mean(0))
                    for c in range(own)
                ]
                for c in sorted(range(own), key=lambda c: -gate[c])[:top_k]:
                    mask[b, t, h, c * chunk : (c + 1) * chunk] = True
    return masked_attention(q, k, v, mask, 1 / math.sqrt(dim))[0]


def naive_nsa_selected(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    compressed: Tensor,
    *,
    chunk: int,
    top_k: int,
    force_first: int = 0,
    force_last: int = 0,
) -> Tensor:
    """One softmax over the chunks with the largest group sum of compression probabilities.

    compressed [B, C, H, D]: the compression branch's keys, one per chunk.
    """
    mask = _by_group_probability(q, compressed, chunk, top_k, force_first, force_last)
    return masked_attention(q, k, v, mask, 1 / math.sqrt(q.shape[3]))[0]


def naive_infllm_v2(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    summary: Tensor,
    *,
    chunk: int,
    top_k: int,
    force_first: int = 1,
    force_last: int = 1,
) -> Tensor:
    """As NSA's, with the first and last past chunks always in, and the incomplete one seen too."""
    mask = _by_group_probability(q, summary, chunk, top_k, force_first, force_last)
    for t in range(q.shape[1]):
        mask[:, t, :, t // chunk * chunk : t + 1] = True
    return masked_attention(q, k, v, mask, 1 / math.sqrt(q.shape[3]))[0]


def _by_group_probability(
    q: Tensor, summary: Tensor, chunk: int, top_k: int, force_first: int, force_last: int
) -> Tensor:
    batch, length, heads, dim = q.shape
    kv_heads, group = summary.shape[2], q.shape[2] // summary.shape[2]
    mask = torch.zeros(batch, length, heads, length, dtype=torch.bool)
    for b in range(batch):
        for t in range(chunk, length):
            past = t // chunk
            for g in range(kv_heads):
                members = slice(g * group, (g + 1) * group)
                logits = q[b, t, members] @ summary[b, :past, g].T / math.sqrt(dim)
                p = logits.softmax(1).sum(0).tolist()
                forced = {c for c in range(past) if c < force_first or c >= past - force_last}
                ranked = sorted(range(past), key=lambda c: (c not in forced, -p[c]))
                for c in ranked[:top_k]:
                    mask[b, t, members, c * chunk : (c + 1) * chunk] = True
    return mask


def _one_chunk(q: Tensor, k: Tensor, v: Tensor, c: int, chunk: int) -> Tensor:
    seen = slice(c * chunk, (c + 1) * chunk)
    return (k[seen] @ q / math.sqrt(q.shape[0])).softmax(0) @ v[seen]


def _repeat(x: Tensor, heads: int) -> Tensor:
    return torch.stack([x[:, :, h * x.shape[2] // heads] for h in range(heads)], 2)
