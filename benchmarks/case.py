"""The tensors of a row: drawn once, shared by every implementation that is measured on it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from hsa_compiler import retrieve
from hsa_compiler.benchmarks.rows import Row
from hsa_compiler.ir.interpreter import TORCH_DTYPES
from hsa_compiler.runtime.api import WeightHeads
from hsa_compiler.schedules.locality import (
    GROUP,
    OWN_SCORE,
    causal_bounds,
    make_selection,
    measured_union,
)
from hsa_compiler.tuner.shapes import Shape


@dataclass(frozen=True)
class Case:
    """A row with its tensors.

    Attributes:
        tensors: q, d_out [B,L,Hq,D], k, v [B,Lkv,H,D] (absent where attention is not measured);
            q_slc [B,L,Hr,Dr], landmarks [B,C,Hm,Dr]; indices i32[B,L,Hi,K], weights and d_weights
            fp32[B,L,Hw,K]; lo, hi i32[B,L]; kv_len i32[B], the full cache, where the row decodes.
            Leaves that require gradients where the suite measures backward passes.
        union: distinct chunks of 16 neighbouring tokens over K, in `indices`.
        own_union: the same of what retrieval chooses from q_slc and landmarks.
        slots: filled slots a token and index head, in `indices`.
    """

    row: Row
    device: torch.device
    parts: tuple[str, ...]
    backward: bool
    tensors: Mapping[str, Tensor]
    union: float
    own_union: float
    slots: float

    @property
    def shape(self) -> Shape:
        """The row's shape."""
        return self.row.shape

    @property
    def q_offset(self) -> int:
        """The position of the first query: queries are the end of the sequence."""
        return self.shape.Lkv - self.shape.L

    def __getitem__(self, name: str) -> Tensor:
        return self.tensors[name]


def make_case(
    row: Row, device: torch.device, parts: tuple[str, ...], backward: bool, seed: int = 0
) -> Case:
    """Draw a row's tensors on a device; the same seed on the same kind of device, the same ones."""
    shape = row.shape
    generator = torch.Generator(device=device)
    generator.manual_seed(seed)
    dtype = TORCH_DTYPES[shape.dtype]

    def draw(*size: int, dtype: torch.dtype = dtype) -> Tensor:
        return torch.randn(size, generator=generator, device=device, dtype=dtype)

    before = shape.Lkv - shape.L
    lo, hi = causal_bounds(shape.B, shape.L, shape.C, shape.S, q_offset=before, device=device)
    tensors = {"lo": lo, "hi": hi}
    if shape.decode:
        tensors["kv_len"] = torch.full((shape.B,), shape.Lkv, dtype=torch.int32, device=device)
    tensors["landmarks"] = draw(shape.B, shape.C, shape.Hm, shape.Dr)
    tensors["q_slc"] = draw(shape.B, shape.L, shape.Hr, shape.Dr)
    if row.selection == "local":
        # Scores of a group of tokens with a little of each token's own, as `make_selection` draws.
        groups = draw(shape.B, -(-shape.L // GROUP), shape.Hr, shape.Dr)
        shared = groups.repeat_interleave(GROUP, dim=1)[:, : shape.L]
        tensors["q_slc"] = shared + OWN_SCORE * tensors["q_slc"]
    chosen = retrieve(
        tensors["q_slc"],
        tensors["landmarks"],
        chunk_size=shape.S,
        top_k=shape.K,
        kv_heads=shape.H,
        weight_heads=weight_heads(shape),
        q_offset=before,
    )
    assert chosen.weights is not None
    own_union = measured_union(chosen.indices)
    indices, weights = chosen.indices, chosen.weights
    if "attention" in parts:
        indices = make_selection(
            row.selection, lo, hi, heads=shape.Hi, chunks=shape.C, top_k=shape.K, seed=seed
        )
        weights = _weights(indices, draw(*weights.shape, dtype=weights.dtype))
        for name, heads, length in (
            ("q", shape.Hq, shape.L),
            ("d_out", shape.Hq, shape.L),
            ("k", shape.H, shape.Lkv),
            ("v", shape.H, shape.Lkv),
        ):
            tensors[name] = draw(shape.B, length, heads, shape.D)
    tensors |= {"indices": indices, "weights": weights}
    tensors["d_weights"] = draw(*weights.shape, dtype=weights.dtype)
    for name in ("q", "k", "v", "q_slc", "landmarks", "weights"):
        if backward and name in tensors:
            tensors[name].requires_grad_()
    return Case(
        row=row,
        device=device,
        parts=parts,
        backward=backward,
        tensors=tensors,
        union=measured_union(indices),
        own_union=own_union,
        slots=float((indices >= 0).sum()) / (indices.numel() / shape.K),
    )


def weight_heads(shape: Shape) -> WeightHeads:
    """Whose weights a shape has: more score heads than KV heads give each its own."""
    return "query" if shape.Hr > shape.H else "kv"


def _weights(indices: Tensor, logits: Tensor) -> Tensor:
    """Weights [B,L,Hw,K] that sum to one over the filled slots of [B,L,Hi,K]."""
    filled = (indices >= 0).repeat_interleave(logits.shape[2] // indices.shape[2], dim=2)
    return logits.masked_fill(~filled, -torch.inf).softmax(-1).nan_to_num(0.0)
