"""Tuning on a recorded selection: a trace cut, or repeated, to the size of a shape.

A stream is what one head of one sequence chose, token by token. A shape takes as many as it has
index heads, evenly from all of the trace, again from the first where there are fewer. Tokens keep
their positions, so every selection stays causal. Past the trace's end the rows that see K chunks
repeat, moved on with all of their chunks: neighbours agree as before, and distances stay those of
the trace.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from hsa_compiler.errors import ConfigError, InputError
from hsa_compiler.trace import Trace, TracedSelection
from hsa_compiler.tuner.shapes import Shape


@dataclass(frozen=True)
class TraceFile:
    """A trace by its file and its hash: what a worker process needs to read the very same."""

    path: Path
    hash: str

    @classmethod
    def of(cls, path: Path) -> TraceFile:
        """The trace in a file. Raises ConfigError where it is not a valid one."""
        return cls(path.absolute(), Trace.load(path).hash)

    def read(self) -> Trace:
        """The trace. Raises ConfigError where the file holds another one by now."""
        trace = Trace.load(self.path)
        if trace.hash != self.hash:
            raise ConfigError(
                f"{self.path}: another trace was written here since this run began: start again"
            )
        return trace


def fit(trace: Trace, shape: Shape) -> dict[str, Tensor]:
    """The values of a shape's kernels that a trace gives, on the CPU.

    Returns:
        ``indices`` i32[B,L,Hi,K] and, where the trace has weights, ``weights`` fp32[B,L,Hw,K].

    Raises:
        InputError: chunk size or top-k differ, the tokens begin before those of the trace, or the
            trace is too short to be repeated.
    """
    wanted = {"S": shape.S, "K": shape.K}
    recorded = {"S": trace.chunk_size, "K": trace.top_k}
    if wanted != recorded:
        raise InputError(
            f"the trace was recorded with S={trace.chunk_size} and K={trace.top_k}, shape "
            f"{shape.name} has S={shape.S} and K={shape.K}: both must agree; tune another shape, "
            "or record a model that has these"
        )
    if shape.Lkv < shape.L:
        raise InputError(
            f"shape {shape.name} has {shape.L} tokens but only {shape.Lkv} keys: on a trace, give "
            "Lkv of L or more"
        )
    position = torch.arange(shape.Lkv - shape.L, shape.Lkv)
    sources = (_source(selection, position, trace) for selection in trace.selections)
    streams = [
        (source, sequence, head)
        for source in sources
        if source is not None
        for sequence in range(source.selection.indices.shape[0])
        for head in range(source.selection.indices.shape[2])
    ]
    if not streams:
        raise InputError(
            f"shape {shape.name}: its tokens {int(position[0])} to {int(position[-1])} cannot be "
            f"made of the trace's {trace.tokens}: record from position 0 on and at least "
            f"(K + 1) * S = {(shape.K + 1) * shape.S} tokens, or tune a shorter shape"
        )
    count = shape.B * shape.Hi
    taken = [streams[n * max(len(streams), count) // count % len(streams)] for n in range(count)]
    found = {"indices": _joined([_indices(*one) for one in taken], shape)}
    if all(source.selection.weights is not None for source, _, _ in taken):
        parts = range(shape.Hw // shape.Hi)
        weights = [_weights(*one, part) for one in taken for part in parts]
        found["weights"] = _joined(weights, shape)
    return found


class _Source(NamedTuple):
    """A selection, and for each token the row it takes and by how many chunks that row moves."""

    selection: TracedSelection
    row: Tensor
    moved: Tensor


def _source(selection: TracedSelection, position: Tensor, trace: Trace) -> _Source | None:
    """What tokens at these positions take of a selection; None where they begin before it, or go on
    after an end that nothing repeats."""
    size, begin = trace.chunk_size, selection.q_offset
    end = begin + selection.indices.shape[1] * selection.query_block
    # The first token at a chunk's start whose row sees K chunks, and the whole chunks from there.
    full = max(-(-begin // size), trace.top_k) * size
    period = (end - full) // size * size
    if int(position[0]) < begin or (int(position[-1]) >= end and period <= 0):
        return None
    repeated = full + (position - full) % max(period, 1)
    source = torch.where(position < end, position, repeated)
    row = (source - begin) // selection.query_block
    return _Source(selection, row, (position - source) // size)


def _indices(source: _Source, sequence: int, head: int) -> Tensor:
    """One stream of chunk numbers: i32[L,K]."""
    chosen = source.selection.indices[sequence, source.row, head]
    return torch.where(chosen >= 0, chosen + source.moved[:, None], -1).to(torch.int32)


def _weights(source: _Source, sequence: int, head: int, part: int) -> Tensor:
    """The weights of a stream for one of the weight heads that share its index head: fp32[L,K]."""
    weights, heads = source.selection.weights, source.selection.indices.shape[2]
    assert weights is not None
    share = weights.shape[2] // heads
    return weights[sequence, source.row, head * share + part % share].float()


def _joined(streams: list[Tensor], shape: Shape) -> Tensor:
    """Streams [L,K] of all sequences and heads as [B,L,heads,K]."""
    whole = torch.stack(streams).reshape(shape.B, -1, shape.L, shape.K)
    return whole.transpose(1, 2).contiguous()
