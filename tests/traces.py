"""Selection traces, made up but valid."""

from __future__ import annotations

import torch

from hsa_compiler.schedules.locality import causal_bounds, make_selection
from hsa_compiler.trace import Trace, TracedSelection

S, K = 16, 4


def selection(
    layer: int = 0,
    *,
    batch: int = 1,
    rows: int = 128,
    heads: int = 2,
    weight_heads: int = 2,
    top_k: int = K,
    q_offset: int = 0,
    query_block: int = 1,
    kind: str = "local",
) -> TracedSelection:
    """What one call may have chosen; with `weight_heads` of 0 it has no weights."""
    chunks = (q_offset + rows * query_block) // S
    lo, hi = causal_bounds(batch, rows, chunks, S, q_offset=q_offset, query_block=query_block)
    indices = make_selection(kind, lo, hi, heads=heads, chunks=chunks, top_k=top_k, seed=layer)
    weights = None
    if weight_heads:
        generator = torch.Generator().manual_seed(layer)
        shape = (batch, rows, weight_heads, top_k)
        weights = torch.rand(shape, generator=generator).half()
    return TracedSelection(layer, indices, weights, chunks, q_offset, query_block)


def trace(*selections: TracedSelection) -> Trace:
    """A trace of these selections, or of two layers."""
    return Trace.now("test", S, selections or (selection(0), selection(1)))
