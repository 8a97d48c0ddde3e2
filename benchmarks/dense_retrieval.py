"""Retrieval in plain PyTorch, with all scores in memory: einsum, top-k, softmax."""

from __future__ import annotations

import torch
from torch import Tensor


def retrieve(q_slc: Tensor, landmarks: Tensor, seen: Tensor, top_k: int) -> tuple[Tensor, Tensor]:
    """Indices i64 and weights fp32 [B,L,Hr,K], the best chunk first; an empty slot is -1.

    q_slc [B,L,Hr,Dr], landmarks [B,C,Hm,Dr]; a row sees the first `seen` [B,L] chunks.
    """
    heads, dim = q_slc.shape[2:]
    chunks = landmarks.shape[1]
    hidden = (torch.arange(chunks, device=q_slc.device) >= seen[..., None])[:, :, None]
    landmarks = landmarks.repeat_interleave(heads // landmarks.shape[2], dim=2)
    scores = torch.einsum("blhd,bchd->blhc", q_slc * dim**-0.5, landmarks)
    best = scores.masked_fill(hidden, -torch.inf).topk(min(top_k, chunks), dim=-1)
    empty = best.values == -torch.inf
    weights = best.values.float().masked_fill(empty, -1e30).softmax(-1).masked_fill(empty, 0.0)
    return best.indices.masked_fill(empty, -1), weights
