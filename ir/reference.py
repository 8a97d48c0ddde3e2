"""What every op computes, in plain PyTorch: one function per op of the table in `spec.py`.

Retrieval and index building are here, attention in `reference_attention.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from .core import Op
from .dims import evaluate


@dataclass(frozen=True)
class Call:
    """One op with its tensors; operands by name, result shapes as numbers."""

    op: Op
    operands: Mapping[str, Tensor]
    sizes: Mapping[str, int]

    def __getitem__(self, name: str) -> Tensor:
        return self.operands[name]

    def get(self, name: str) -> Tensor | None:
        return self.operands.get(name)

    def shape(self, result: str) -> tuple[int, ...]:
        value = self.op.result(result)
        assert value is not None
        return tuple(evaluate(dim, self.sizes) for dim in value.type.shape)

    def number(self, name: str) -> int:
        return int(self.op.attr(name))

    @property
    def scale(self) -> float:
        return float(self.op.attr("scale"))


Function = Callable[[Call], Tensor | tuple[Tensor, ...]]
FUNCTIONS: dict[str, Function] = {}


def computes(kind: str) -> Callable[[Function], Function]:
    def register(function: Function) -> Function:
        FUNCTIONS[kind] = function
        return function

    return register


# ------------------------------------------------------------------------- heads and rows
def to_heads(x: Tensor, heads: int, dim: int = 2) -> Tensor:
    """Each head repeated, so that head h of the result is head h * old // heads."""
    return x if x.shape[dim] == heads else x.repeat_interleave(heads // x.shape[dim], dim)


def sum_heads(x: Tensor, heads: int, dim: int = 2) -> Tensor:
    """The transpose of `to_heads`."""
    return x if x.shape[dim] == heads else split(x, dim, heads).sum(dim + 1)


def split(x: Tensor, dim: int, outer: int) -> Tensor:
    """Dim `dim` as two: `outer` and what is left of it."""
    return x.reshape(*x.shape[:dim], outer, x.shape[dim] // outer, *x.shape[dim + 1 :])


def to_tokens(x: Tensor, block: int, tokens: int) -> Tensor:
    """Retrieval rows (dim 1) repeated for their tokens."""
    return x if block == 1 else x.repeat_interleave(block, 1)[:, :tokens]


def sum_tokens(x: Tensor, block: int, rows: int) -> Tensor:
    """The transpose of `to_tokens`."""
    if block == 1:
        return x
    short = rows * block - x.shape[1]
    x = F.pad(x, (0, 0) * (x.dim() - 2) + (0, short))
    return x.reshape(x.shape[0], rows, block, *x.shape[2:]).sum(2)


def share(lse: Tensor, total: Tensor) -> Tensor:
    """exp(lse - total), 0 where nothing is seen."""
    return torch.exp(lse - total.masked_fill(total == -torch.inf, 0))


# ---------------------------------------------------------------------- visibility, memory
@computes("interval")
def _interval(c: Call) -> tuple[Tensor, Tensor]:
    kv_len, rows = c["kv_len"], c.shape("lo")[1]
    position = kv_len.long()[:, None] - rows + torch.arange(rows, device=kv_len.device)
    chunk, window = c.number("chunk"), c.number("window")
    hi = position.clamp(min=0) // chunk
    if window:
        outside = torch.div(position - window, chunk, rounding_mode="floor") + 1
        hi = torch.minimum(hi, outside.clamp(min=0))
    return torch.zeros_like(hi, dtype=torch.int32), hi.to(torch.int32)


@computes("page")
def _page(c: Call) -> Tensor:
    pool, table = c["pool"], c["table"]
    # What an entry out of range names is never read; here it must be some page.
    pages = pool[table.long().clamp(0, pool.shape[0] - 1)]
    return pages.flatten(1, 2)


# ------------------------------------------------------------------------------ retrieval
@computes("score")
def _score(c: Call) -> Tensor:
    heads = c["q"].shape[2]
    scores = c.scale * torch.einsum("brhd,bchd->brhc", c["q"], to_heads(c["landmarks"], heads))
    bias = c.get("bias")
    return scores if bias is None else scores + to_heads(bias, heads).transpose(1, 2)[:, None]


@computes("select")
def _select(c: Call) -> Tensor:
    scores, k = c["scores"], c.number("k")
    batch, rows, heads, _ = c.shape("indices")
    chunks = scores.shape[3]
    chunk = torch.arange(chunks, device=scores.device)
    lo, hi = (c[name].long()[..., None, None] for name in ("lo", "hi"))
    visible = ((chunk >= lo) & (chunk < hi)).expand(batch, rows, heads, chunks)

    row_lse = c.get("row_lse")
    if row_lse is not None:
        scores = torch.exp(scores - row_lse[..., None])
    grouped = split(scores, 2, heads)
    reduce = c.op.attr("reduce")
    value = (
        grouped.amax(3)
        if reduce == "max"
        else grouped.sum(3)
        if reduce == "sum"
        else grouped[:, :, :, 0]
    )
    seed = c.get("seed")
    if seed is not None:
        value = value + gumbel_noise(int(seed), value.shape, value.dtype, value.device)

    last = hi.clamp(max=chunks)
    forced = visible & (
        (chunk < lo.clamp(min=0) + c.number("force_first"))
        | (chunk >= last - c.number("force_last"))
    )
    # A sort puts NaN first, where it would take a slot that the kernels give to a real score.
    value = value.masked_fill(~visible | value.isnan(), -torch.inf)
    # Forced chunks first, then by value; newest first among equals: sorts are stable.
    order = torch.arange(chunks - 1, -1, -1, device=value.device).expand(value.shape)
    for key in (value, forced.to(value.dtype)):
        order = order.gather(3, key.gather(3, order).argsort(dim=3, descending=True, stable=True))
    best = order[..., :k]
    allowed = (forced | (value > -torch.inf)).gather(3, best)
    best = best.masked_fill(~allowed, -1).sort(3, descending=True).values
    return F.pad(best, (0, k - best.shape[3]), value=-1).to(torch.int32)


def gumbel_noise(seed: int, shape: torch.Size, dtype: torch.dtype, device: torch.device) -> Tensor:
    """The noise of `select` for values of shape [B, R, Hi, C]; see the op table."""
    rows = torch.arange(shape[0] * shape[1] * shape[2], device=device)
    start = _mix(torch.tensor(seed & 0xFFFFFFFF, device=device))
    start = _mix((rows + start) & 0xFFFFFFFF)
    bits = _mix((torch.arange(shape[3], device=device) + start[:, None]) & 0xFFFFFFFF)
    u = ((bits >> 9).to(dtype) + 0.5) * 2.0**-23
    return -torch.log(-torch.log(u)).reshape(shape)


def _mix(x: Tensor) -> Tensor:
    """A 32-bit integer hash, in int64 arithmetic cut to 32 bits."""
    x = x ^ (x >> 16)
    x = (x * 0x7FEB352D) & 0xFFFFFFFF
    x = x ^ (x >> 15)
    x = (x * 0x846CA68B) & 0xFFFFFFFF
    return x ^ (x >> 16)


@computes("gather")
def _gather(c: Call) -> Tensor:
    scores = F.pad(c["scores"], (0, 1), value=-torch.inf)
    return scores.gather(3, _slot_chunks(c, c["scores"].shape[2], scores.shape[3] - 1))


@computes("scatter_add")
def _scatter_add(c: Call) -> Tensor:
    *rows, chunks = c.shape("d_scores")
    d_scores = c["d_slots"].new_zeros(*rows, chunks + 1)
    return d_scores.scatter_add(3, _slot_chunks(c, rows[2], chunks), c["d_slots"])[..., :-1]


def _slot_chunks(c: Call, heads: int, empty: int) -> Tensor:
    indices = to_heads(c["indices"].long(), heads)
    return indices.masked_fill(indices < 0, empty)


@computes("normalize")
def _normalize(c: Call) -> Tensor | tuple[Tensor, ...]:
    x = to_heads(c["logits"], c.shape("weights")[2])
    rank_scale, local_lse = c.get("rank_scale"), c.get("local_lse")
    if rank_scale is not None:
        x = x + rank_scale[..., None] * torch.arange(x.shape[3], device=x.device)
    kind = c.op.attr("kind")
    if kind == "stick_breaking":
        return torch.exp(x - F.softplus(x).cumsum(3))
    if kind == "softmax":
        return share(x, x.logsumexp(3, keepdim=True))
    extra = torch.zeros_like(x[..., 0]) if local_lse is None else local_lse
    total = torch.cat([x, extra[..., None]], 3).logsumexp(3)
    weights = share(x, total[..., None])
    if local_lse is None:
        return weights
    empty = (x == -torch.inf).all(3)
    return weights, share(local_lse, total).masked_fill(empty, 1.0)


@computes("normalize_grad")
def _normalize_grad(c: Call) -> tuple[Tensor, ...]:
    w, dw = c["weights"], c.get("d_weights")
    w_dw = torch.zeros_like(w) if dw is None else w * dw
    local, d_local = c.get("local_weight"), c.get("d_local_weight")
    if c.op.attr("kind") == "stick_breaking":
        x = to_heads(c["logits"], w.shape[2])
        dx = w_dw - torch.sigmoid(x) * w_dw.flip(3).cumsum(3).flip(3)
        return (sum_heads(dx, c.shape("d_logits")[2]),)
    dot = w_dw.sum(3)
    if local is not None and d_local is not None:
        dot = dot + local * d_local
    dx = w_dw - w * dot[..., None]
    results = [sum_heads(dx, c.shape("d_logits")[2])]
    if c.op.attr("rank_scale"):
        results.append((dx * torch.arange(dx.shape[3], device=dx.device)).sum(3))
    if local is not None:
        results.append(local * ((0 if d_local is None else d_local) - dot))
    return tuple(results)


@computes("add")
def _add(c: Call) -> Tensor:
    return c["a"] + c["b"]


@computes("score_grad_q")
def _score_grad_q(c: Call) -> Tensor:
    landmarks = to_heads(c["landmarks"], c["d_scores"].shape[2])
    return c.scale * torch.einsum("brhc,bchd->brhd", c["d_scores"], landmarks)


@computes("score_grad_landmarks")
def _score_grad_landmarks(c: Call) -> tuple[Tensor, ...]:
    heads = c.shape("d_landmarks")[2]
    d_landmarks = c.scale * torch.einsum("brhc,brhd->bchd", c["d_scores"], c["q"])
    results = [sum_heads(d_landmarks, heads)]
    if c.op.attr("bias"):
        results.append(sum_heads(c["d_scores"].sum(1).transpose(1, 2), heads))
    return tuple(results)


# -------------------------------------------------------------------------- index building
@computes("invert_index")
def _invert_index(c: Call) -> tuple[Tensor, ...]:
    chunks = c.shape("offsets")[2] - 1
    pairs = c["indices"].long().transpose(1, 2).flatten(2)
    pairs = pairs.masked_fill(pairs < 0, chunks)
    counts = pairs.new_zeros(*pairs.shape[:2], chunks + 1).scatter_add(
        2, pairs, torch.ones_like(pairs)
    )
    offsets = F.pad(counts.cumsum(2)[..., :-1], (1, 0))
    order = pairs.argsort(dim=2, stable=True)
    past = torch.arange(order.shape[2], device=order.device) >= offsets[..., -1:]
    return order.masked_fill(past, -1).to(torch.int32), offsets.to(torch.int32)


def indices_of(order: Tensor, offsets: Tensor, slots: int) -> Tensor:
    """The indices [B, R, Hi, K] that `invert_index` was given."""
    at = torch.arange(order.shape[2], device=order.device).expand(order.shape).contiguous()
    chunk = torch.searchsorted(offsets[..., 1:].contiguous().long(), at, right=True)
    # Unused entries go to one spare place at the end.
    place = order.long().masked_fill(at >= offsets[..., -1:], order.shape[2])
    flat = chunk.new_full((*order.shape[:2], order.shape[2] + 1), -1)
    flat = flat.scatter(2, place, chunk)[..., :-1]
    return split(flat, 2, flat.shape[2] // slots).transpose(1, 2)
