"""From the public arguments to those of the custom ops: autocast, every check, visibility.

Nothing is launched and nothing large is allocated before the last check has passed.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor

from hsa_compiler.errors import InputError
from hsa_compiler.ir.programs import default_scale
from hsa_compiler.runtime import checks, memory, validate, visibility
from hsa_compiler.runtime.op_support import accumulator

#: The interpreter scores every chunk for every row: fp32 scores, their order and masks, measured.
INTERPRETED_SCORE_BYTES = 38


class RetrieveArgs(NamedTuple):
    """The arguments of `hsa::retrieve`, in order."""

    q_slc: Tensor
    landmarks: Tensor
    lo: Tensor
    hi: Tensor
    chunk_bias: Tensor | None
    rank_scale: Tensor | None
    local_lse: Tensor | None
    seed: Tensor | None
    top_k: int
    index_heads: int
    weight_heads: int
    normalize: str
    scale: float
    force_first: int
    force_last: int
    inverse: bool
    deterministic: bool
    backend: str


class AttentionArgs(NamedTuple):
    """The arguments of `hsa::chunk_attention`, in order."""

    q: Tensor
    k: Tensor
    v: Tensor
    indices: Tensor
    weights: Tensor | None
    local_out: Tensor | None
    local_weight: Tensor | None
    local_lse: Tensor | None
    chunk_start: Tensor | None
    order: Tensor | None
    offsets: Tensor | None
    chunk_size: int
    scale: float
    query_block: int
    plus_one: bool
    hide_last: bool
    deterministic: bool
    backend: str
    union: float | None = None


def cast(*tensors: Tensor | None) -> tuple[Tensor | None, ...]:
    """The tensors in autocast's dtype, where autocast is on; fp64 is left alone."""
    first = next((x for x in tensors if isinstance(x, Tensor)), None)
    if first is None or first.device.type not in ("cpu", "cuda"):
        return tensors
    if not torch.is_autocast_enabled(first.device.type):
        return tensors
    dtype = torch.get_autocast_dtype(first.device.type)
    return tuple(
        x.to(dtype)
        if isinstance(x, Tensor) and x.is_floating_point() and x.dtype != torch.float64
        else x
        for x in tensors
    )


def retrieve_args(
    q_slc: Tensor,
    landmarks: Tensor,
    *,
    dims: dict[str, int],
    chunk_size: int,
    top_k: int,
    normalize: str | None,
    kv_heads: int | None,
    query_heads: int | None,
    weight_heads: str,
    chunk_bias: Tensor | None,
    rank_scale: Tensor | None,
    local_lse: Tensor | None,
    window: int | None,
    q_offset: int | Tensor,
    query_block: int,
    packing: checks.Packing,
    scale: float | None,
    noise_seed: int | Tensor | None,
    force_first: int,
    force_last: int,
    inverse: bool,
    deterministic: bool,
    backend: str,
    qkv: tuple[Tensor, Tensor, Tensor] | None = None,
) -> RetrieveArgs:
    """Check one retrieval and build the arguments of its op.

    `dims` may hold sizes that are known already (B, and C where the keys fix it) and gains B, R,
    C, Hr, Hm, Dr and K. Attention to `qkv` that will follow is estimated before anything is
    copied here.
    """
    validate.chunk_size(chunk_size)
    validate.one_of("normalize", normalize, (*validate.NORMALIZATIONS, None))
    validate.one_of("weight_heads", weight_heads, ("kv", "query"))
    validate.one_of("backend", backend, validate.BACKENDS)
    validate.number("scale", scale)
    validate.flag("deterministic", deterministic)
    validate.at_least("top_k", top_k, 1)
    validate.at_least("query_block", query_block, 1)
    validate.at_least("force_first", force_first, 0)
    validate.at_least("force_last", force_last, 0)
    if force_first + force_last > top_k:
        raise InputError(
            f"force_first={force_first} and force_last={force_last} fill more slots than "
            f"top_k={top_k}: force fewer chunks or raise top_k"
        )
    if window is not None:
        validate.at_least("window", window, 1, validate.POSITION_LIMIT)
    validate.shape(dims, "q_slc", q_slc, "B R Hr Dr")
    validate.shape(dims, "landmarks", landmarks, "B C Hm Dr")
    validate.retrieval_dim(dims["Dr"])
    validate.divides(("landmarks", dims["Hm"]), ("q_slc", dims["Hr"]))
    if chunk_bias is not None:
        validate.shape(dims, "chunk_bias", chunk_bias, "B C Hm")
    checks.check_normalize(dims, normalize, rank_scale, local_lse)
    if kv_heads is not None:
        validate.at_least("kv_heads", kv_heads, 1)
    heads = validate.selection_heads(
        dims["Hr"],
        kv_heads,
        query_heads,
        None if local_lse is None else local_lse.shape[2],
        weight_heads,
    )
    side = {"chunk_bias": chunk_bias, "rank_scale": rank_scale, "local_lse": local_lse}
    checks.check_tensors({"q_slc": q_slc, "landmarks": landmarks}, side, backend)
    checks.check_packing(packing, dims, query_block, chunk_size, ("q_slc", q_slc))
    sequences = None if packing.q is None else len(packing.q) - 1
    validate.offsets("q_offset", q_offset, sequences, ("q_slc", q_slc))
    slots = dims["B"] * dims["R"] * max(heads) * top_k
    validate.countable("the number of selected slots, B * R * heads * top_k,", slots)
    dims["K"] = top_k
    estimate_retrieve(q_slc, landmarks, dims, heads, backend)
    if qkv is not None:
        estimate_attention(*qkv, dims, *heads, backend)

    wide = accumulator(q_slc.dtype)
    lo, hi = visibility.intervals(
        batch=dims["B"],
        rows=dims["R"],
        chunks=dims["C"],
        chunk_size=chunk_size,
        device=q_slc.device,
        window=window,
        q_offset=q_offset,
        query_block=query_block,
        cu_seqlens_q=packing.q,
        cu_seqlens_kv=packing.kv,
    )
    if rank_scale is not None:
        rank_scale = rank_scale.to(wide).expand(dims["B"], dims["R"], heads[1]).contiguous()
    if local_lse is not None:
        local_lse = local_lse.to(wide).repeat_interleave(heads[1] // local_lse.shape[2], dim=2)
    return RetrieveArgs(
        q_slc=q_slc.contiguous(),
        landmarks=landmarks.contiguous(),
        lo=lo,
        hi=hi,
        chunk_bias=None if chunk_bias is None else chunk_bias.to(wide).contiguous(),
        rank_scale=rank_scale,
        local_lse=local_lse,
        seed=None if noise_seed is None else _seed(noise_seed, q_slc.device),
        top_k=top_k,
        index_heads=heads[0],
        weight_heads=heads[1],
        normalize=normalize or "none",
        scale=scale_of(scale, dims["Dr"]),
        force_first=force_first,
        force_last=force_last,
        inverse=inverse,
        deterministic=deterministic,
        backend=backend,
    )


def attention_args(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    indices: Tensor,
    weights: Tensor | None,
    *,
    local_out: Tensor | None,
    local_weight: Tensor | None,
    local_lse: Tensor | None,
    chunk_size: int,
    scale: float | None,
    query_block: int,
    cu_seqlens_kv: Tensor | None,
    chunks: int,
    inverse: tuple[Tensor, Tensor] | None,
    plus_one: bool,
    hide_last: bool,
    deterministic: bool,
    backend: str,
) -> AttentionArgs:
    """The arguments of the attention op, for inputs that have been checked."""
    wide = accumulator(q.dtype)
    start = None
    if cu_seqlens_kv is not None:
        start = visibility.chunk_starts(
            cu_seqlens_kv, chunks=chunks, chunk_size=chunk_size, kv_tokens=k.shape[1]
        )
    return AttentionArgs(
        q=q.contiguous(),
        k=k.contiguous(),
        v=v.contiguous(),
        # Clamped first: a number that does not fit 32 bits must not wrap into a valid one.
        indices=indices.clamp(-2, 2**31 - 1).to(torch.int32).contiguous(),
        weights=None if weights is None else weights.to(wide).contiguous(),
        local_out=None if local_out is None else local_out.contiguous(),
        local_weight=None if local_weight is None else local_weight.to(wide).contiguous(),
        local_lse=None if local_lse is None else local_lse.to(wide).contiguous(),
        chunk_start=start,
        order=None if inverse is None else inverse[0],
        offsets=None if inverse is None else inverse[1],
        chunk_size=chunk_size,
        scale=scale_of(scale, q.shape[3]),
        query_block=query_block,
        plus_one=plus_one,
        hide_last=hide_last,
        deterministic=deterministic,
        backend=backend,
    )


def estimate_retrieve(
    q_slc: Tensor,
    landmarks: Tensor,
    dims: Mapping[str, int],
    heads: tuple[int, int],
    backend: str,
) -> int:
    """Bytes that a retrieval allocates, its gradients included; checked unless tracing."""
    row_slots = dims["B"] * dims["R"] * dims["K"]
    size = 4 * row_slots * (heads[0] + heads[1] + dims["Hr"])
    size += _copies(q_slc, landmarks)
    if backend == "reference":
        size += INTERPRETED_SCORE_BYTES * dims["B"] * dims["R"] * dims["Hr"] * dims["C"]
    if torch.is_grad_enabled():
        size += _gradients(q_slc, landmarks)
        if landmarks.requires_grad:
            size += 4 * row_slots * heads[0]
    return _require("retrieve", size, q_slc.device)


def estimate_attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    dims: Mapping[str, int],
    index_heads: int,
    weight_heads: int,
    backend: str,
) -> int:
    """Bytes that chunk attention allocates, its gradients included; checked unless tracing."""
    size = q.numel() * q.itemsize + _copies(q, k, v)
    if backend == "reference":  # the output of every slot, in fp32
        size += 4 * q.numel() * dims["K"]
    if torch.is_grad_enabled():
        row_slots = dims["B"] * dims["R"] * dims["K"]
        size += _gradients(q, k, v) + 4 * row_slots * weight_heads
        if k.requires_grad or v.requires_grad:
            size += 4 * row_slots * index_heads
    return _require("chunk_attention", size, q.device)


def _require(what: str, size: int, device: torch.device) -> int:
    if not torch.compiler.is_compiling():
        memory.require(what, size, device)
    return size


def _copies(*tensors: Tensor) -> int:
    return sum(x.numel() * x.itemsize for x in tensors if not x.is_contiguous())


def _gradients(*tensors: Tensor) -> int:
    return sum(x.numel() * x.itemsize for x in tensors if x.requires_grad)


def scale_of(scale: float | None, dim: int) -> float:
    """The scale of logits over `dim` dims: the given one, or ``1 / sqrt(dim)``."""
    if scale is None:
        return default_scale(dim)
    return float(scale)


def _seed(seed: int | Tensor, device: torch.device) -> Tensor:
    """The noise seed as i32[1] on the device, without waiting for it."""
    if isinstance(seed, Tensor):
        validate.integral("noise_seed", seed)
        validate.same_device(("noise_seed", seed), {})
        if seed.numel() != 1:
            raise InputError(f"noise_seed has {seed.numel()} elements: give one integer")
        return seed.reshape(1).to(device=device, dtype=torch.int32, non_blocking=True)
    if isinstance(seed, bool) or not isinstance(seed, int | torch.SymInt):
        raise InputError(f"noise_seed={seed!r} is a {type(seed).__name__}: give a whole number")
    wrapped = (seed + 2**31) % 2**32 - 2**31  # its low 32 bits, as a signed number
    return torch.full((1,), wrapped, dtype=torch.int32, device=device)
