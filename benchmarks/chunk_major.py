"""The operator in plain PyTorch, chunk by chunk: what a careful author writes without kernels.

Every list of an (index head, chunk) holds the pairs (token, slot) that chose it. Lists are cut into
pieces of one length, so that a block of pieces is three batched products; `index_add_` brings a
token's parts together. The lists are built beforehand, and the sizes of pieces and blocks are the
best of a few, timed on the row itself.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from hsa_compiler.benchmarks.case import Case
from hsa_compiler.benchmarks.contest import CannotRun
from hsa_compiler.benchmarks.dense_retrieval import retrieve

#: What the peer is called.
NAME = "chunk_major"
#: Pairs of a piece, and pieces of a block, that are tried. Small blocks come last: the gradient of
#: each is as large as the tensor it was taken from, so that they may take minutes.
PIECES, BLOCKS = (128, 64, 32, 16), (256, 64, 16, 4, 1)
FIRST_PIECES = 64
#: Times that each is run while choosing, and how much slower than the best one ends the search.
TRIES, GIVEN_UP = 2, 1.5


@dataclass(frozen=True)
class Pieces:
    """The lists of a selection in pieces of one length, padded with pairs of weight 0.

    Attributes:
        lists: i64[N], which (batch, KV head, chunk) each piece belongs to, ascending.
        pairs: i64[N,P], its (token, slot) pairs as ``token * K + slot``.
        filled: bool[N,P].
    """

    lists: Tensor
    pairs: Tensor
    filled: Tensor


def pieces_of(indices: Tensor, heads: int, chunks: int, length: int) -> Pieces:
    """Cut the lists of indices i32[B,L,Hi,K], for each of `heads` KV heads, into pieces."""
    batch, tokens, index_heads, top_k = indices.shape
    by_head = indices.long().repeat_interleave(heads // index_heads, dim=2)
    flat = by_head.permute(0, 2, 1, 3).reshape(batch * heads, tokens * top_k)
    which = torch.arange(batch * heads, device=indices.device)[:, None] * chunks + flat
    pair = torch.arange(tokens * top_k, device=indices.device).expand_as(flat)
    chosen = flat >= 0
    key, order = which[chosen].sort(stable=True)
    pair = pair[chosen][order]
    counts = torch.bincount(key, minlength=batch * heads * chunks)
    each = -(-counts // length)
    lists = torch.repeat_interleave(torch.arange(len(counts), device=key.device), each)
    number = torch.arange(len(lists), device=key.device) - (each.cumsum(0) - each)[lists]
    place = number[:, None] * length + torch.arange(length, device=key.device)
    filled = place < counts[lists][:, None]
    place = (counts.cumsum(0) - counts)[lists][:, None] + place
    return Pieces(lists, pair[torch.where(filled, place, 0)], filled)


def attend(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    weights: Tensor,
    pieces: Pieces,
    chunk: int,
    block: int,
) -> Tensor:
    """Attention to chosen chunks, fused by their weights, [B,L,Hq,D].

    q [B,L,Hq,D], k, v [B,Lkv,H,D], weights [B,L,Hw,K], one per KV or query head; `block` pieces at
    a time.
    """
    batch, tokens, query_heads, dim = q.shape
    heads = k.shape[2]
    group = query_heads // heads
    chunks = k.shape[1] // chunk
    by_group = q.view(batch, tokens, heads, group, dim)
    rows = by_group.permute(0, 2, 1, 3, 4).reshape(-1, group, dim)
    keys, values = (_by_chunk(x, chunks, chunk) for x in (k, v))
    top_k = weights.shape[3]
    per_head = weights.view(batch, tokens, heads, -1, top_k).permute(0, 2, 1, 4, 3)
    per_pair = per_head.reshape(batch * heads, tokens * top_k, -1)
    out = torch.zeros_like(rows)
    for part in _blocks(pieces, block):
        number = part.lists // chunks
        at = (number[:, None] * tokens + part.pairs // top_k).flatten()
        b_q = rows[at].view(len(number), -1, dim)
        b_p = torch.softmax(b_q @ keys[part.lists].mT * dim**-0.5, dim=-1)
        b_out = (b_p @ values[part.lists]).view(*part.pairs.shape, group, dim)
        b_w = per_pair[number[:, None], part.pairs].masked_fill(~part.filled[..., None], 0.0)
        out.index_add_(0, at, (b_out * b_w[..., None].to(q.dtype)).flatten(0, 1))
    return out.view(batch, heads, tokens, group, dim).transpose(1, 2).reshape(q.shape)


def _by_chunk(x: Tensor, chunks: int, chunk: int) -> Tensor:
    batch, _, heads, dim = x.shape
    whole = x[:, : chunks * chunk].view(batch, chunks, chunk, heads, dim)
    return whole.permute(0, 3, 1, 2, 4).reshape(-1, chunk, dim)


def _blocks(pieces: Pieces, block: int) -> Iterator[Pieces]:
    for at in range(0, len(pieces.lists), block):
        part = slice(at, at + block)
        yield Pieces(pieces.lists[part], pieces.pairs[part], pieces.filled[part])


@dataclass(frozen=True)
class Tuned:
    """The row's call with the sizes that were fastest."""

    attend: Callable[[], Tensor]
    note: str


def tuned(case: Case, backward: bool) -> Tuned:
    """Choose the sizes by the time of a forward pass or, for `backward`, of forward and backward.

    Raises CannotRun on a GPU, where one block after the other is no contest.
    """
    if case.device.type != "cpu":
        raise CannotRun("chunk by chunk in PyTorch is measured on CPUs")
    shape = case.shape
    q, k, v, weights = inputs = tuple(case[name] for name in ("q", "k", "v", "weights"))

    def made(length: int, block: int) -> Callable[[], Tensor]:
        pieces = pieces_of(case["indices"], shape.H, shape.C, length)
        return lambda: attend(q, k, v, weights, pieces, shape.S, block)

    sizes = _fastest(made, inputs if backward else ())
    return Tuned(made(*sizes), _named(sizes))


def for_model(
    tensors: tuple[Tensor, ...], options: dict[str, Any]
) -> tuple[Callable[..., Tensor], str]:
    """`hsa_attention` in plain PyTorch with the sizes that are fastest for such a call, forward and
    backward, and a note that names them.

    `tensors` are its q, k, v, q_slc, landmarks. Raises CannotRun for options beyond the operator's
    plain form.
    """
    defaults = {"normalize": "softmax", "weight_heads": "kv", "q_offset": 0}
    plain = {"chunk_size", "top_k", "backend", "deterministic"}
    for name, value in options.items():
        if name not in plain and value != defaults.get(name):
            raise CannotRun(f"{NAME} has no {name}={value!r}: the plain operator alone")

    def made(length: int, block: int) -> Callable[..., Tensor]:
        def attention(*tensors: Tensor, chunk_size: int, top_k: int, **_: object) -> Tensor:
            q, k, v, q_slc, landmarks = tensors
            seen = torch.arange(q.shape[1], device=q.device) // chunk_size
            indices, weights = retrieve(q_slc, landmarks, seen[None], top_k)
            pieces = pieces_of(indices, k.shape[2], k.shape[1] // chunk_size, length)
            return attend(q, k, v, weights, pieces, chunk_size, block)

        return attention

    def called(length: int, block: int) -> Callable[[], Tensor]:
        return lambda: made(length, block)(*tensors, **options)

    sizes = _fastest(called, tensors)
    return made(*sizes), _named(sizes)


def _named(sizes: tuple[int, int]) -> str:
    return f"{sizes[0]} pairs a piece, {sizes[1]} pieces a block"


def _fastest(
    made: Callable[[int, int], Callable[[], Tensor]], inputs: tuple[Tensor, ...]
) -> tuple[int, int]:
    """The sizes whose call is fastest: with the gradients of `inputs` where there are any."""

    def seconds(sizes: tuple[int, int]) -> float:
        call = made(*sizes)
        found = []
        for _ in range(TRIES):
            start = time.perf_counter()
            if inputs:
                out = call()
                torch.autograd.grad(out, inputs, torch.ones_like(out))
            else:
                with torch.no_grad():
                    call()
            found.append(time.perf_counter() - start)
        return min(found)

    # One size after the other: together they take minutes on long rows.
    _, block = _first_dip([(FIRST_PIECES, block) for block in BLOCKS], seconds)
    return _first_dip([(length, block) for length in PIECES], seconds)


def _first_dip(
    choices: Sequence[tuple[int, int]], seconds: Callable[[tuple[int, int]], float]
) -> tuple[int, int]:
    """The fastest of choices in order, up to one that is far slower than the best before it."""
    best, least = choices[0], float("inf")
    for choice in choices:
        took = seconds(choice)
        if took < least:
            best, least = choice, took
        elif took > GIVEN_UP * least:
            break
    return best
