"""Replace the attention of an existing PyTorch model by chunk attention.

    python docs/replace_attention.py

The model is a plain `torch.nn.TransformerEncoder`, used causally. Every `nn.MultiheadAttention` in
it is replaced by a module that keeps the same weights and attends to the token's own chunk
(a small dense part) and to the top-k past chunks, found by mean-pooled keys as landmarks, in one
joint softmax. While top-k covers all past chunks the result is dense attention; with a smaller
top-k a token attends to no more keys as the length grows; it scores one more landmark per chunk.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from hsa_compiler import chunk_attention, retrieve


class TopKChunkAttention(nn.MultiheadAttention):
    """`nn.MultiheadAttention` over the own chunk and the `top_k` best past chunks, causal.

    Args:
        dense: the module to take the projections from; batch first, no bias on keys.
        chunk_size: tokens per chunk (16, 32, 64 or 128).
        top_k: past chunks per token and head.
    """

    def __init__(self, dense: nn.MultiheadAttention, chunk_size: int, top_k: int) -> None:
        super().__init__(dense.embed_dim, dense.num_heads, batch_first=True)
        self.load_state_dict(dense.state_dict())
        self.chunk_size, self.top_k = chunk_size, top_k

    def forward(
        self, query: Tensor, key: Tensor, value: Tensor, **_: object
    ) -> tuple[Tensor, None]:
        """`query` [B, L, width] attends to itself; `key` and `value` must be the same tensor."""
        batch, length, _ = query.shape
        q, k, v = (
            x.view(batch, length, self.num_heads, self.head_dim)
            for x in nn.functional.linear(query, self.in_proj_weight, self.in_proj_bias).chunk(
                3, -1
            )
        )
        # Landmarks: the mean key of every complete chunk, per head.
        chunks = length // self.chunk_size
        whole = k[:, : chunks * self.chunk_size].unflatten(1, (chunks, self.chunk_size))
        selection = retrieve(
            q, whole.mean(2), chunk_size=self.chunk_size, top_k=self.top_k, kv_heads=self.num_heads
        )
        local_out, local_lse = own_chunk_attention(q, k, v, self.chunk_size)
        out = chunk_attention(
            q,
            k,
            v,
            selection.indices,
            chunk_size=self.chunk_size,
            local_out=local_out,
            local_lse=local_lse,
        )
        return self.out_proj(out.flatten(2)), None


def own_chunk_attention(q: Tensor, k: Tensor, v: Tensor, chunk: int) -> tuple[Tensor, Tensor]:
    """Causal attention inside each token's own chunk: out [B, L, H, D] and LSE fp32 [B, L, H]."""
    length = q.shape[1]
    pad = -length % chunk
    q, k, v = (
        nn.functional.pad(x, (0, 0, 0, 0, 0, pad)).unflatten(1, (-1, chunk)) for x in (q, k, v)
    )
    scores = torch.einsum("bcihd,bcjhd->bchij", q, k).float() / math.sqrt(q.shape[-1])
    future = torch.ones(chunk, chunk, dtype=torch.bool, device=q.device).triu(1)
    scores = scores.masked_fill(future, float("-inf"))
    out = torch.einsum("bchij,bcjhd->bcihd", scores.softmax(-1).to(v.dtype), v)
    lse = scores.logsumexp(-1).transpose(2, 3)
    return out.flatten(1, 2)[:, :length], lse.flatten(1, 2)[:, :length]


def replace_attention(model: nn.Module, chunk_size: int, top_k: int) -> nn.Module:
    """Swap every `nn.MultiheadAttention` below `model`, in place."""
    for name, child in model.named_children():
        if isinstance(child, nn.MultiheadAttention):
            setattr(model, name, TopKChunkAttention(child, chunk_size, top_k))
        else:
            replace_attention(child, chunk_size, top_k)
    return model


def main() -> None:
    torch.manual_seed(0)
    # The fused inference path would not call the replaced modules.
    torch.backends.mha.set_fastpath_enabled(False)
    layer = nn.TransformerEncoderLayer(128, 4, 256, dropout=0.0, batch_first=True, norm_first=True)
    model = nn.TransformerEncoder(layer, num_layers=2, enable_nested_tensor=False).eval()
    x = torch.randn(2, 200, 128)
    mask = nn.Transformer.generate_square_subsequent_mask(200)
    with torch.no_grad():
        dense = model(x, mask=mask, is_causal=True)

        replace_attention(model, chunk_size=16, top_k=12)
        error = (model(x) - dense).norm() / dense.norm()
        print(f"top-k covers all 12 past chunks: relative difference to dense {error:.1e}")

        for attention in (layer.self_attn for layer in model.layers):
            attention.top_k = 4
        error = (model(x) - dense).norm() / dense.norm()
        print(f"top-k 4 of up to 12 chunks:      relative difference to dense {error:.1e}")

    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    target = dense.roll(1, dims=1)
    for step in range(5):
        loss = (model(x) - target).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        print(f"step {step}: loss {loss.item():.4f}")


if __name__ == "__main__":
    main()
