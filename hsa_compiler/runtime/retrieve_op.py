"""The custom ops `hsa::retrieve` and `hsa::retrieve_backward`.

They take what `api` made of a call: tensors of checked shapes, visibility as intervals, options as
plain numbers and strings. Both are functional: no output shares memory with an input, and the same
inputs (the noise seed among them) give the same selection when recomputed under checkpointing.
"""

# torch reads an operator's schema off its signature, which must therefore hold types, not strings:
# no `from __future__ import annotations` here.

from typing import Any

import torch
from torch import Tensor

from hsa_compiler.ir.programs import RetrieveOptions
from hsa_compiler.runtime import calls
from hsa_compiler.runtime.executor import DTYPE_NAMES
from hsa_compiler.runtime.op_support import (
    accumulator,
    refuse_double_backward,
    refuse_vmap,
    spread,
    wanted,
)

TENSORS = ("q_slc", "landmarks", "lo", "hi", "chunk_bias", "rank_scale", "local_lse", "seed")
DIFFERENTIABLE = ("q_slc", "landmarks", "chunk_bias", "rank_scale", "local_lse")
# The indices do not come first: opcheck sums outputs in order, into the dtype of the first.
OUTPUTS = ("weights", "indices", "slots", "local_weight", "order", "offsets")
INTEGERS = ("indices", "order", "offsets")
#: What `normalize` says where only indices are wanted.
SELECT_ONLY = "none"


@torch.library.custom_op("hsa::retrieve", mutates_args=())
def retrieve(
    q_slc: Tensor,
    landmarks: Tensor,
    lo: Tensor,
    hi: Tensor,
    chunk_bias: Tensor | None,
    rank_scale: Tensor | None,
    local_lse: Tensor | None,
    seed: Tensor | None,
    top_k: int,
    index_heads: int,
    weight_heads: int,
    normalize: str,
    scale: float,
    force_first: int,
    force_last: int,
    inverse: bool,
    deterministic: bool,
    backend: str,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Choose chunks and weigh them.

    Returns weights fp32[B,R,Hw,K], indices i32[B,R,Hi,K], slots fp32[B,R,Hr,K], local_weight
    fp32[B,R,Hw] and, with `inverse`, the inverse index: order i32[B,Hi,R*K] and offsets
    i32[B,Hi,C+1]. What does not exist has no elements: without `inverse` order and offsets, with
    `normalize` ``"none"`` weights and slots, and local_weight for all but ``"lse_mix"``.
    """
    dims = calls.retrieve_dims(q_slc, landmarks, top_k, index_heads, weight_heads)
    if calls.is_empty(dims):
        outputs = _outputs(q_slc, landmarks, top_k, index_heads, weight_heads, normalize, inverse)
        for x, value in zip(outputs, (0.0, -1, float("-inf"), 1.0, 0, 0), strict=True):
            x.fill_(value)
        return outputs
    executable = calls.forward(
        RetrieveOptions(
            top_k=top_k,
            scale=scale,
            normalize=None if normalize == SELECT_ONLY else normalize,
            bias=chunk_bias is not None,
            rank_scale=rank_scale is not None,
            noise=seed is not None,
            force_first=force_first,
            force_last=force_last,
            inverse=inverse,
            own_indices=index_heads == q_slc.shape[2],
            dtype=DTYPE_NAMES[q_slc.dtype],
        )
    )
    given = (q_slc, landmarks, lo, hi, chunk_bias, rank_scale, local_lse, seed)
    found = executable.run(
        dict(zip(TENSORS, given, strict=True)), dims, q_slc.device, backend, deterministic
    )
    weights, indices, slots, local_weight, order, offsets = (
        found[name] if name in found else _nothing(q_slc, name) for name in OUTPUTS
    )
    return weights, indices, slots, local_weight, order, offsets


@retrieve.register_fake
def _retrieve_fake(
    q_slc: Tensor,
    landmarks: Tensor,
    lo: Tensor,
    hi: Tensor,
    chunk_bias: Tensor | None,
    rank_scale: Tensor | None,
    local_lse: Tensor | None,
    seed: Tensor | None,
    top_k: int,
    index_heads: int,
    weight_heads: int,
    normalize: str,
    scale: float,
    force_first: int,
    force_last: int,
    inverse: bool,
    *_: object,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    return _outputs(q_slc, landmarks, top_k, index_heads, weight_heads, normalize, inverse)


@torch.library.custom_op("hsa::retrieve_backward", mutates_args=())
def retrieve_backward(
    d_slots: Tensor | None,
    d_weights: Tensor | None,
    d_local_weight: Tensor | None,
    q_slc: Tensor,
    landmarks: Tensor,
    indices: Tensor,
    slots: Tensor | None,
    weights: Tensor,
    local_weight: Tensor | None,
    order: Tensor | None,
    offsets: Tensor | None,
    top_k: int,
    normalize: str,
    scale: float,
    bias: bool,
    rank_scale: bool,
    deterministic: bool,
    backend: str,
    wrt: str,
) -> list[Tensor]:
    """Gradients of `retrieve` for the inputs that `wrt` names, separated by blanks, in order."""
    names = tuple(wrt.split())
    dims = calls.retrieve_dims(q_slc, landmarks, top_k, indices.shape[2], weights.shape[2])
    grads = {"slots": d_slots, "weights": d_weights, "local_weight": d_local_weight}
    options = RetrieveOptions(
        top_k=top_k,
        scale=scale,
        normalize=normalize,
        bias=bias,
        rank_scale=rank_scale,
        inverse=order is not None,
        dtype=DTYPE_NAMES[q_slc.dtype],
    )
    of = tuple(name for name, grad in grads.items() if grad is not None)
    executable = calls.backward(options, of, names)
    found: dict[str, Tensor] = {}
    if executable is not None and not calls.is_empty(dims):
        values = {
            "q_slc": q_slc,
            "landmarks": landmarks,
            "indices": indices,
            "slots": slots,
            "weights": weights,
            "local_weight": local_weight,
            "order": order,
            "offsets": offsets,
            **{f"d_{name}": grad for name, grad in grads.items()},
        }
        found = executable.run(values, dims, q_slc.device, backend, deterministic)
    return [
        found[f"d_{name}"]
        if f"d_{name}" in found
        else _gradient(name, q_slc, landmarks, weights).zero_()
        for name in names
    ]


@retrieve_backward.register_fake
def _retrieve_backward_fake(
    d_slots: Tensor | None,
    d_weights: Tensor | None,
    d_local_weight: Tensor | None,
    q_slc: Tensor,
    landmarks: Tensor,
    indices: Tensor,
    slots: Tensor | None,
    weights: Tensor,
    *rest: object,
) -> list[Tensor]:
    return [_gradient(name, q_slc, landmarks, weights) for name in str(rest[-1]).split()]


def _outputs(
    q_slc: Tensor,
    landmarks: Tensor,
    top_k: int,
    index_heads: int,
    weight_heads: int,
    kind: str,
    inverse: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    """All outputs, uninitialised."""
    batch, rows, score_heads, _ = q_slc.shape
    shapes: dict[str, tuple[int, ...]] = {"indices": (batch, rows, index_heads, top_k)}
    if kind != SELECT_ONLY:
        shapes["weights"] = (batch, rows, weight_heads, top_k)
        shapes["slots"] = (batch, rows, score_heads, top_k)
    if kind == "lse_mix":
        shapes["local_weight"] = (batch, rows, weight_heads)
    if inverse:
        shapes["order"] = (batch, index_heads, rows * top_k)
        shapes["offsets"] = (batch, index_heads, landmarks.shape[1] + 1)
    weights, indices, slots, local_weight, order, offsets = (
        q_slc.new_empty(shapes[name], dtype=_dtype(q_slc, name))
        if name in shapes
        else _nothing(q_slc, name)
        for name in OUTPUTS
    )
    return weights, indices, slots, local_weight, order, offsets


def _nothing(q_slc: Tensor, name: str) -> Tensor:
    """An output that this call does not have."""
    return q_slc.new_empty(0, dtype=_dtype(q_slc, name))


def _dtype(q_slc: Tensor, name: str) -> torch.dtype:
    return torch.int32 if name in INTEGERS else accumulator(q_slc.dtype)


def _gradient(name: str, q_slc: Tensor, landmarks: Tensor, weights: Tensor) -> Tensor:
    """An uninitialised gradient of one input."""
    if name == "q_slc":
        return torch.empty_like(q_slc, memory_format=torch.contiguous_format)
    if name == "landmarks":
        return torch.empty_like(landmarks, memory_format=torch.contiguous_format)
    shape = landmarks.shape[:3] if name == "chunk_bias" else weights.shape[:3]
    return weights.new_empty(shape)


def _setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
    q_slc, landmarks, _, _, chunk_bias, rank_scale, _, _, *options = inputs
    top_k, _, _, normalize, scale, _, _, inverse, *_ = options
    weights, indices, slots, local_weight, order, offsets = output
    ctx.save_for_backward(
        q_slc,
        landmarks,
        indices,
        slots if normalize == "stick_breaking" else None,
        weights,
        local_weight if normalize == "lse_mix" else None,
        order if inverse else None,
        offsets if inverse else None,
    )
    ctx.options = (top_k, normalize, scale, chunk_bias is not None, rank_scale is not None)
    ctx.how = inputs[-2:]
    ctx.arguments = len(inputs)
    ctx.set_materialize_grads(False)


def _backward(
    ctx: Any,
    d_weights: Tensor | None,
    d_indices: Tensor | None,
    d_slots: Tensor | None,
    d_local_weight: Tensor | None,
    *_: None,
) -> tuple[Tensor | None, ...]:
    wrt = wanted(ctx, TENSORS, DIFFERENTIABLE)
    _, normalize, *_ = ctx.options
    grads = (d_slots, d_weights, d_local_weight if normalize == "lse_mix" else None)
    if not wrt or normalize == SELECT_ONLY or all(grad is None for grad in grads):
        return spread(TENSORS, (), (), ctx.arguments)
    found: list[Tensor] = retrieve_backward(
        *grads, *ctx.saved_tensors, *ctx.options, *ctx.how, " ".join(wrt)
    )
    return spread(TENSORS, wrt, found, ctx.arguments)


retrieve.register_autograd(_backward, setup_context=_setup_context)
retrieve.register_vmap(refuse_vmap("retrieve"))
retrieve_backward.register_autograd(refuse_double_backward("retrieve"))
retrieve_backward.register_vmap(refuse_vmap("retrieve's gradient"))
