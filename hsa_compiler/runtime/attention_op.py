"""The custom ops `hsa::chunk_attention` and `hsa::chunk_attention_backward`.

With `weights` every chosen chunk has a softmax of its own and is added with its weight; without,
one softmax runs over all chosen chunks. See `retrieve_op` for what both ops promise.
"""

# No `from __future__ import annotations` here: torch reads the schema off the signature.

from typing import Any

import torch
from torch import Tensor

from hsa_compiler.ir.programs import AttentionOptions
from hsa_compiler.runtime import calls, validate
from hsa_compiler.runtime.executor import DTYPE_NAMES
from hsa_compiler.runtime.op_support import (
    accumulator,
    refuse_double_backward,
    refuse_vmap,
    spread,
    wanted,
)

TENSORS = (
    "q",
    "k",
    "v",
    "indices",
    "weights",
    "local_out",
    "local_weight",
    "local_lse",
    "chunk_start",
    "order",
    "offsets",
)
DIFFERENTIABLE = ("q", "k", "v", "weights", "local_out", "local_weight", "local_lse")


@torch.library.custom_op("hsa::chunk_attention", mutates_args=())
def chunk_attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    indices: Tensor,
    weights: Tensor | None,
    local_out: Tensor | None,
    local_weight: Tensor | None,
    local_lse: Tensor | None,
    chunk_start: Tensor | None,
    order: Tensor | None,
    offsets: Tensor | None,
    chunk_size: int,
    scale: float,
    query_block: int,
    plus_one: bool,
    hide_last: bool,
    deterministic: bool,
    backend: str,
    union: float | None = None,
) -> tuple[Tensor, Tensor]:
    """Attend to given chunks; `order` and `offsets` are the inverse index, where it stands already,
    `union` what schedules are chosen for, here and in the gradients (`feedback`).

    Returns out [B,L,Hq,D] and, without `weights`, total_lse fp32[B,L,Hq] (else no elements), which
    the backward pass needs and which takes no gradient.
    """
    tensors = (q, k, v, indices, weights, local_out, local_weight, local_lse, chunk_start)
    values = dict(zip(TENSORS, (*tensors, order, offsets), strict=True))
    dims = _dims(values, chunk_size)
    validate.indices_in_range(indices, dims["C"])
    if calls.is_empty(dims):
        return _local_only(values, query_block)
    executable = calls.forward(
        _options(values, chunk_size, scale, query_block, plus_one, hide_last)
    )
    found = calls.run_indexed(executable, values, dims, q.device, backend, deterministic, union)
    if weights is None:
        return found["out"], found["total_lse"]
    return found["out"], q.new_empty(0, dtype=accumulator(q.dtype))


@chunk_attention.register_fake
def _chunk_attention_fake(
    q: Tensor, k: Tensor, v: Tensor, indices: Tensor, weights: Tensor | None, *_: object
) -> tuple[Tensor, Tensor]:
    total = q.shape[:3] if weights is None else (0,)
    out = torch.empty_like(q, memory_format=torch.contiguous_format)
    return out, q.new_empty(total, dtype=accumulator(q.dtype))


@torch.library.custom_op("hsa::chunk_attention_backward", mutates_args=())
def chunk_attention_backward(
    d_out: Tensor,
    q: Tensor,
    k: Tensor,
    v: Tensor,
    indices: Tensor,
    weights: Tensor | None,
    local_out: Tensor | None,
    local_weight: Tensor | None,
    local_lse: Tensor | None,
    chunk_start: Tensor | None,
    order: Tensor | None,
    offsets: Tensor | None,
    out: Tensor | None,
    total_lse: Tensor | None,
    chunk_size: int,
    scale: float,
    query_block: int,
    plus_one: bool,
    hide_last: bool,
    deterministic: bool,
    backend: str,
    union: float | None,
    wrt: str,
) -> list[Tensor]:
    """Gradients of `chunk_attention` for the inputs that `wrt` names, in that order."""
    tensors = (q, k, v, indices, weights, local_out, local_weight, local_lse, chunk_start)
    values = dict(zip(TENSORS, (*tensors, order, offsets), strict=True))
    names = tuple(wrt.split())
    dims = _dims(values, chunk_size)
    if calls.is_empty(dims):
        return _local_only_backward(d_out, values, names, query_block)
    options = _options(values, chunk_size, scale, query_block, plus_one, hide_last)
    executable = calls.backward(options, ("out",), names)
    found: dict[str, Tensor] = {}
    if executable is not None:
        saved = {"d_out": d_out, "out": out, "total_lse": total_lse}
        values = {**values, **saved}
        found = calls.run_indexed(executable, values, dims, q.device, backend, deterministic, union)
    return [
        found[f"d_{name}"] if f"d_{name}" in found else _gradient(values, name).zero_()
        for name in names
    ]


@chunk_attention_backward.register_fake
def _chunk_attention_backward_fake(d_out: Tensor, *rest: Any) -> list[Tensor]:
    values = dict(zip(TENSORS, rest[: len(TENSORS)], strict=True))
    return [_gradient(values, name) for name in rest[-1].split()]


def _dims(values: dict[str, Tensor | None], chunk_size: int) -> dict[str, int]:
    q, k, indices, weights = (values[name] for name in ("q", "k", "indices", "weights"))
    assert q is not None
    assert k is not None
    assert indices is not None
    heads = None if weights is None else weights.shape[2]
    return calls.attention_dims(q, k, indices, chunk_size, values["chunk_start"], heads)


def _options(
    values: dict[str, Tensor | None],
    chunk_size: int,
    scale: float,
    query_block: int,
    plus_one: bool,
    hide_last: bool,
) -> AttentionOptions:
    q = values["q"]
    assert q is not None
    return AttentionOptions(
        chunk=chunk_size,
        scale=scale,
        joint=values["weights"] is None,
        local=values["local_out"] is not None,
        query_block=query_block,
        plus_one=plus_one,
        hide_last=hide_last,
        packed=values["chunk_start"] is not None,
        inverse=True,
        dtype=DTYPE_NAMES[q.dtype],
    )


def _gradient(values: dict[str, Tensor | None], name: str) -> Tensor:
    """An uninitialised gradient of one input."""
    like = values[name]
    assert like is not None
    return torch.empty_like(like, memory_format=torch.contiguous_format)


# Where no chunk exists yet, no kernel runs: the result is 0, or what the local branch gives.
def _local_only(values: dict[str, Tensor | None], query_block: int) -> tuple[Tensor, Tensor]:
    q, local_out, local_lse = values["q"], values["local_out"], values["local_lse"]
    assert q is not None
    out = torch.zeros_like(q, memory_format=torch.contiguous_format)
    wide = accumulator(q.dtype)
    if values["weights"] is not None:
        if local_out is not None:
            weight = _per_query_head(values, q, query_block)
            out = (weight * local_out).to(q.dtype)
        return out, q.new_empty(0, dtype=wide)
    total = q.new_full(q.shape[:3], float("-inf"), dtype=wide)
    if local_out is not None and local_lse is not None:
        seen = local_lse > float("-inf")
        return torch.where(seen.unsqueeze(-1), local_out, out), local_lse.clone()
    return out, total


def _local_only_backward(
    d_out: Tensor, values: dict[str, Tensor | None], names: tuple[str, ...], query_block: int
) -> list[Tensor]:
    grads = {name: _gradient(values, name).zero_() for name in names}
    local_out, local_lse = values["local_out"], values["local_lse"]
    if local_out is not None and "local_out" in grads:
        if local_lse is None:
            grads["local_out"] = (_per_query_head(values, d_out, query_block) * d_out).to(
                d_out.dtype
            )
        else:
            seen = (local_lse > float("-inf")).unsqueeze(-1)
            grads["local_out"] = torch.where(seen, d_out, grads["local_out"])
    local_weight = values["local_weight"]
    if local_out is not None and local_weight is not None and "local_weight" in grads:
        batch, tokens, query_heads, _ = d_out.shape
        heads = local_weight.shape[2]
        wide = accumulator(d_out.dtype)
        per_head = (d_out.to(wide) * local_out.to(wide)).sum(-1)
        per_token = per_head.view(batch, tokens, heads, query_heads // heads).sum(-1)
        row = torch.arange(per_token.shape[1], device=d_out.device) // query_block
        grads["local_weight"] = torch.zeros_like(local_weight).index_add_(1, row, per_token)
    return list(grads.values())


def _per_query_head(values: dict[str, Tensor | None], like: Tensor, query_block: int) -> Tensor:
    """local_weight as [B, L, Hq, 1]."""
    weight = values["local_weight"]
    assert weight is not None
    tokens, heads = like.shape[1], like.shape[2]
    weight = weight.repeat_interleave(heads // weight.shape[2], dim=2)
    weight = weight.repeat_interleave(query_block, dim=1)[:, :tokens]
    return weight.unsqueeze(-1)


def _setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
    tensors, options = inputs[: len(TENSORS)], inputs[len(TENSORS) :]
    joint = tensors[TENSORS.index("weights")] is None
    # total_lse is for the backward pass alone.
    ctx.mark_non_differentiable(output[1])
    ctx.save_for_backward(*tensors, *(output if joint else (None, None)))
    ctx.options = options
    ctx.arguments = len(inputs)
    ctx.set_materialize_grads(False)


def _backward(
    ctx: Any, d_out: Tensor | None, d_total_lse: Tensor | None
) -> tuple[Tensor | None, ...]:
    wrt = wanted(ctx, TENSORS, DIFFERENTIABLE)
    if not wrt or d_out is None:
        return spread(TENSORS, (), (), ctx.arguments)
    found: list[Tensor] = chunk_attention_backward(
        d_out, *ctx.saved_tensors, *ctx.options, " ".join(wrt)
    )
    return spread(TENSORS, wrt, found, ctx.arguments)


chunk_attention.register_autograd(_backward, setup_context=_setup_context)
chunk_attention.register_vmap(refuse_vmap("chunk_attention"))
chunk_attention_backward.register_autograd(refuse_double_backward("chunk_attention"))
chunk_attention_backward.register_vmap(refuse_vmap("chunk_attention's gradient"))
