"""The custom op `hsa::invert_index`, and who needs its result.

The inverse index of a selection serves every pass and layer that attends to it: gradients of keys,
values and landmarks, and whatever schedule walks chunks.
"""

# No `from __future__ import annotations` here: torch reads the schema off the signature.

import torch
from torch import Tensor

from hsa_compiler.runtime import calls, validate
from hsa_compiler.runtime.op_support import refuse_vmap
from hsa_compiler.runtime.prepare import AttentionArgs


@torch.library.custom_op("hsa::invert_index", mutates_args=())
def invert_index(
    indices: Tensor, chunks: int, deterministic: bool, backend: str
) -> tuple[Tensor, Tensor]:
    """Which (row, slot) pairs chose each chunk.

    Returns order i32[B,Hi,R*K], pair ids row * K + slot sorted by chunk, and offsets i32[B,Hi,C+1],
    where each chunk's pairs begin. Entries of order past the last pair are unspecified.
    """
    validate.indices_in_range(indices, chunks)
    batch, rows, heads, slots = indices.shape
    dims = {"B": batch, "R": rows, "Hi": heads, "K": slots, "C": chunks}
    if calls.is_empty(dims):
        order, offsets = _outputs(indices, chunks)
        return order, offsets.zero_()
    how = (indices.device, backend, deterministic)
    found = calls.invert().run({"indices": indices}, dims, *how)
    return found["order"], found["offsets"]


@invert_index.register_fake
def _invert_index_fake(
    indices: Tensor, chunks: int, deterministic: bool, backend: str
) -> tuple[Tensor, Tensor]:
    return _outputs(indices, chunks)


def _outputs(indices: Tensor, chunks: int) -> tuple[Tensor, Tensor]:
    batch, rows, heads, slots = indices.shape
    order = indices.new_empty((batch, heads, rows * slots), dtype=torch.int32)
    return order, indices.new_empty((batch, heads, chunks + 1), dtype=torch.int32)


invert_index.register_vmap(refuse_vmap("invert_index"))


def version_of(indices: Tensor) -> int:
    """How often a tensor has been written to in place, where torch counts it."""
    if torch.compiler.is_compiling() or indices.is_inference():
        return 0
    return int(indices._version)


def wants_inverse(*tensors: Tensor | None) -> bool:
    """Whether a gradient of any of these, which sums over the rows that chose a chunk, may come."""
    return torch.is_grad_enabled() and any(x is not None and x.requires_grad for x in tensors)


def indexed(args: AttentionArgs, chunks: int) -> AttentionArgs:
    """The arguments with an inverse index where gradients will read one; forward kernels that need
    one without gradients build it themselves."""
    if args.order is not None or not wants_inverse(args.k, args.v):
        return args
    order, offsets = invert_index(args.indices, chunks, args.deterministic, args.backend)
    return args._replace(order=order, offsets=offsets)
