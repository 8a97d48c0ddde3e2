"""What the attention ops compute, in plain PyTorch; the rest is in `reference.py`.

Memory is bounded: keys are gathered for a block of tokens and one slot at a time.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from .reference import (
    Call,
    computes,
    indices_of,
    share,
    split,
    sum_heads,
    sum_tokens,
    to_heads,
    to_tokens,
)

_BLOCK_ELEMENTS = 1 << 24  # of gathered keys per step


@dataclass(frozen=True)
class _Tile:
    """One slot of some tokens. Heads are A = groups sharing chunk and KV head, of N each."""

    tokens: slice
    slot: int
    q: Tensor  # [B, T, A, N, D]
    keys: Tensor  # [B, T, A, S, D]
    values: Tensor  # [B, T, A, S, D]
    p: Tensor  # [B, T, A, N, S], 0 at empty slots
    lse: Tensor  # [B, T, A, N], -inf at empty slots
    where: tuple[Tensor, Tensor, Tensor]  # the index of keys and values in k and v

    def of(self, x: Tensor) -> Tensor:
        """The tile's part of a tensor [B, L, Hq, K, ...], with heads as A, N."""
        return split(x[:, self.tokens, :, self.slot], 2, self.lse.shape[2])


def _tiles(c: Call, indices: Tensor) -> Iterator[_Tile]:
    q, k, v, chunk = c["q"], c["k"], c["v"], c.number("chunk")
    batch, length, heads, dim = q.shape
    shared = max(k.shape[2], indices.shape[2])
    if shared % k.shape[2] or shared % indices.shape[2]:
        shared = heads
    indices = to_heads(to_tokens(indices.long(), c.number("query_block"), length), shared)
    # Empty slots read `chunk` zeros past the end.
    keys, values = (F.pad(x, (0, 0, 0, 0, 0, chunk)) for x in (k, v))
    start, at = c.get("chunk_start"), torch.arange(chunk, device=q.device)
    i_batch = torch.arange(batch, device=q.device)[:, None, None, None]
    i_head = (torch.arange(shared, device=q.device) * k.shape[2] // shared)[:, None]
    step = max(1, _BLOCK_ELEMENTS // max(1, batch * shared * chunk * dim))
    for first in range(0, length, step):
        tokens = slice(first, min(first + step, length))
        q_tile = split(q[:, tokens], 2, shared)
        for slot in range(indices.shape[3]):
            chosen = indices[:, tokens, :, slot]
            empty = chosen < 0
            begin = chosen * chunk
            if start is not None:
                begin = F.pad(start.long(), (0, 1))[chosen]
            where = (i_batch, begin.masked_fill(empty, k.shape[1])[..., None] + at, i_head)
            keys_tile = keys[where]
            s = c.scale * torch.einsum("btand,btasd->btans", q_tile, keys_tile)
            s = s.masked_fill(empty[..., None, None], -torch.inf)
            if c.op.attr("hide_last"):
                s[..., -1] = -torch.inf
            lse = s.logsumexp(4)
            if c.op.attr("plus_one"):
                lse = torch.logaddexp(lse, torch.zeros_like(lse)).masked_fill(
                    empty[..., None], -torch.inf
                )
            p = share(s, lse[..., None])
            yield _Tile(tokens, slot, q_tile, keys_tile, values[where], p, lse, where)


def _grad_scores(c: Call, tile: _Tile) -> Tensor:
    d_p = torch.einsum("btand,btasd->btans", tile.of(c["d_parts"]), tile.values)
    d_lse = c.get("d_lse")
    shift = (tile.p * d_p).sum(4, keepdim=True)
    if d_lse is not None:
        shift = shift - tile.of(d_lse)[..., None]
    return c.scale * tile.p * (d_p - shift)


@computes("attend")
def _attend(c: Call) -> tuple[Tensor, ...]:
    parts, lse = c["q"].new_empty(c.shape("parts")), c["q"].new_empty(c.shape("lse"))
    for tile in _tiles(c, c["indices"]):
        part = torch.einsum("btans,btasd->btand", tile.p, tile.values)
        parts[:, tile.tokens, :, tile.slot] = part.flatten(2, 3)
        lse[:, tile.tokens, :, tile.slot] = tile.lse.flatten(2, 3)
    return parts, lse


@computes("attend_grad_q")
def _attend_grad_q(c: Call) -> Tensor:
    d_q = torch.zeros_like(c["q"])
    for tile in _tiles(c, c["indices"]):
        d_s = _grad_scores(c, tile)
        d_q[:, tile.tokens] += torch.einsum("btans,btasd->btand", d_s, tile.keys).flatten(2, 3)
    return d_q


@computes("attend_grad_kv")
def _attend_grad_kv(c: Call) -> tuple[Tensor, ...]:
    chunk, length = c.number("chunk"), c["k"].shape[1]
    d_k, d_v = (torch.zeros_like(F.pad(c[x], (0, 0, 0, 0, 0, chunk))) for x in ("k", "v"))
    for tile in _tiles(c, indices_of(c["order"], c["offsets"], c["d_parts"].shape[3])):
        d_s = _grad_scores(c, tile)
        d_part = tile.of(c["d_parts"])
        d_k.index_put_(tile.where, torch.einsum("btans,btand->btasd", d_s, tile.q), True)
        d_v.index_put_(tile.where, torch.einsum("btans,btand->btasd", tile.p, d_part), True)
    return d_k[:, :length], d_v[:, :length]


# ------------------------------------------------------------------------------------ fuse
def _token_weights(c: Call, name: str, like: Tensor) -> Tensor:
    weights = to_tokens(c[name], c.number("query_block"), like.shape[1])
    return to_heads(weights, like.shape[2])


@computes("fuse")
def _fuse(c: Call) -> Tensor:
    weights = _token_weights(c, "weights", c["parts"])
    return torch.einsum("blhk,blhkd->blhd", weights, c["parts"])


@computes("fuse_grad_weights")
def _fuse_grad_weights(c: Call) -> Tensor:
    _, rows, heads, _ = c.shape("d_weights")
    dots = torch.einsum("blhd,blhkd->blhk", c["d_out"], c["parts"])
    return sum_tokens(sum_heads(dots, heads), c.number("query_block"), rows)


@computes("fuse_grad_parts")
def _fuse_grad_parts(c: Call) -> Tensor:
    weights = _token_weights(c, "weights", c["d_out"])
    return weights[..., None] * c["d_out"][:, :, :, None]


@computes("merge_local")
def _merge_local(c: Call) -> Tensor:
    return c["out"] + _token_weights(c, "local_weight", c["out"])[..., None] * c["local_out"]


@computes("merge_local_grad")
def _merge_local_grad(c: Call) -> tuple[Tensor, ...]:
    weight = _token_weights(c, "local_weight", c["d_out"])
    _, rows, heads = c.shape("d_local_weight")
    dots = sum_heads((c["d_out"] * c["local_out"]).sum(3), heads)
    return weight[..., None] * c["d_out"], sum_tokens(dots, c.number("query_block"), rows)


@computes("fuse_joint")
def _fuse_joint(c: Call) -> tuple[Tensor, ...]:
    lse, local_lse = c["lse"], c.get("local_lse")
    every = lse if local_lse is None else torch.cat([lse, local_lse[..., None]], 3)
    total = every.logsumexp(3)
    out = torch.einsum("blhk,blhkd->blhd", share(lse, total[..., None]), c["parts"])
    if local_lse is not None:
        out = out + share(local_lse, total)[..., None] * c["local_out"]
    return out, total


@computes("row_dot")
def _row_dot(c: Call) -> Tensor:
    return (c["a"] * c["b"]).sum(3)


@computes("fuse_joint_grad")
def _fuse_joint_grad(c: Call) -> tuple[Tensor, ...]:
    weights = share(c["lse"], c["total_lse"][..., None])
    dots = torch.einsum("blhd,blhkd->blhk", c["d_out"], c["parts"])
    return (
        weights[..., None] * c["d_out"][:, :, :, None],
        weights * (dots - c["delta"][..., None]),
    )


@computes("local_joint_grad")
def _local_joint_grad(c: Call) -> tuple[Tensor, ...]:
    weight = share(c["local_lse"], c["total_lse"])
    dots = (c["d_out"] * c["local_out"]).sum(3)
    return weight[..., None] * c["d_out"], weight * (dots - c["delta"])
