"""The public door of decoding: `hsa_decode`, one step of `hsa_attention` on a cache.

    out = hsa_decode(q, k, v, q_slc, landmarks, kv_len=kv_len, chunk_size=64, top_k=64)

Sizes as in `api`; Lmax tokens and Cmax chunks are what the cache can hold, S the chunk size.
"""

from __future__ import annotations

import torch
from torch import Tensor

from hsa_compiler.errors import InputError
from hsa_compiler.runtime import checks, decode_op, prepare, validate
from hsa_compiler.runtime.api import Backend, Normalize, WeightHeads
from hsa_compiler.runtime.op_support import accumulator, refuse_transforms

#: Tokens of one call: what a step of speculative decoding may check at once.
MAX_TOKENS = 64


def hsa_decode(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    q_slc: Tensor,
    landmarks: Tensor,
    *,
    kv_len: Tensor,
    chunk_size: int,
    top_k: int,
    block_table: Tensor | None = None,
    normalize: Normalize = "softmax",
    weight_heads: WeightHeads = "kv",
    chunk_bias: Tensor | None = None,
    rank_scale: Tensor | None = None,
    local_out: Tensor | None = None,
    local_lse: Tensor | None = None,
    window: int | None = None,
    scale: float | None = None,
    backend: Backend = "auto",
) -> Tensor:
    """Hierarchical sparse attention of a sequence's last tokens to its cache (arXiv 2511.23319).

    `hsa_attention` for inference: what it computes for the last Lq of kv_len tokens, on memory that
    holds more than them. The length is read on the device and no launch depends on it, so that one
    captured CUDA graph serves a growing cache.

    Args:
        q: [B, Lq, Hq, D] queries of the last Lq tokens, 1 to 64, fp32, bf16 or fp16; D one of 16,
            32, 64, 128, 256. Query i has position ``kv_len - Lq + i``.
        k, v: [B, Lmax, H, D], contiguous, same dtype; H divides Hq. With block_table pools of
            blocks [blocks, block_size, H, D], block_size a multiple of chunk_size.
        q_slc: [B, Lq, Hr, Dr] retrieval queries in q's dtype; Hr is 1, H or Hq (Hq needs per-query
            weights).
        landmarks: [B, Cmax, Hm, Dr], contiguous, q's dtype, Cmax = Lmax // S; paged, a pool
            [blocks, block_size // S, Hm, Dr]. Hm divides Hr.
        kv_len: int32 [B] on q's device: tokens in the cache, the Lq new ones included. Chunk c must
            be in memory once it is visible: ``(c + 1) * S <= position``; nothing else is read.
        chunk_size, top_k, normalize, weight_heads, window: as for `hsa_attention`.
        block_table: int32 [B, N] on q's device: block n of a sequence lies in pool block
            ``block_table[b, n]``. Entries past the sequence's end are not read. None: no pages.
        chunk_bias: [B, Cmax, Hm], added to the scores; not with block_table.
        rank_scale: a tensor with one element, as for `retrieve`.
        local_out, local_lse: [B, Lq, Hq, D] and [B, Lq, Hq] (or H, or 1), both exactly with
            ``normalize="lse_mix"``.
        scale: of the attention logits; default ``1 / sqrt(D)`` (scores: ``1 / sqrt(Dr)``).
        backend: as for `retrieve`.

    Returns:
        out [B, Lq, Hq, D] in q's dtype; rows that see no chunk are exactly 0 (or local_out).

    Raises:
        InputError: shapes, dtypes, devices, layouts or options that do not fit; a gradient is
            asked for; before any launch. Values of kv_len and block_table are not looked at.
        MemoryEstimateError: workspaces do not fit into memory.
        BackendError: the back end is missing.

    Autocast is not applied: it would copy the cache.
    """
    tensors = {"q": q, "k": k, "v": v, "q_slc": q_slc, "landmarks": landmarks}
    optional = {"chunk_bias": chunk_bias, "rank_scale": rank_scale, "local_out": local_out}
    optional["local_lse"] = local_lse
    dims, cache_size = _check_cache(q, k, v, landmarks, kv_len, block_table, chunk_size)
    _refuse_gradients({**tensors, **optional})
    _check_options(normalize, weight_heads, top_k, window, scale, backend, local_out)
    dims["R"] = dims["L"]
    validate.shape(dims, "q_slc", q_slc, "B R Hr Dr")
    validate.retrieval_dim(dims["Dr"])
    validate.divides(("landmarks", dims["Hm"]), ("q_slc", dims["Hr"]))
    data = dict(tensors)
    if local_out is not None:
        validate.shape(dims, "local_out", local_out, "B L Hq D")
        data["local_out"] = local_out
    if chunk_bias is not None:
        if block_table is not None:
            raise InputError(
                "chunk_bias with block_table: the bias has no pages; give a contiguous cache, or "
                "add the bias to the landmarks (one more dim that the query holds as 1)"
            )
        validate.shape({**dims, "C": cache_size}, "chunk_bias", chunk_bias, "B C Hm")
    checks.check_normalize(dims, normalize, rank_scale, local_lse)
    side = {"chunk_bias": chunk_bias, "rank_scale": rank_scale, "local_lse": local_lse}
    checks.check_tensors(data, side, backend)
    index_heads, heads = validate.selection_heads(
        dims["Hr"],
        dims["H"],
        dims["Hq"],
        None if local_lse is None else local_lse.shape[2],
        weight_heads,
    )
    validate.countable(
        "the number of scores, B * Lq * heads * Cmax,",
        dims["B"] * dims["L"] * index_heads * cache_size,
    )
    wide = accumulator(q.dtype)
    if rank_scale is not None:
        rank_scale = rank_scale.to(wide).expand(dims["B"], dims["L"], heads)
    if local_lse is not None and local_lse.shape[2] != heads:
        local_lse = local_lse.repeat_interleave(heads // local_lse.shape[2], dim=2)
    args = (
        *(q, k, v, q_slc, landmarks, kv_len, block_table),
        None if chunk_bias is None else chunk_bias.to(wide),
        rank_scale,
        local_out,
        None if local_lse is None else local_lse.to(wide),
        *(chunk_size, top_k, index_heads, heads, normalize, window or 0),
        prepare.scale_of(None, dims["Dr"]),
        prepare.scale_of(scale, dims["D"]),
        backend,
    )
    refuse_transforms("hsa_decode", args)
    out: Tensor = decode_op.decode(*args)
    return out


def _check_cache(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    landmarks: Tensor,
    kv_len: Tensor,
    block_table: Tensor | None,
    chunk_size: int,
) -> tuple[dict[str, int], int]:
    """Shapes of the queries and the cache; the dims, and how many chunks the cache can hold."""
    validate.chunk_size(chunk_size)
    dims: dict[str, int] = {}
    validate.shape(dims, "q", q, "B L Hq D")
    if not 1 <= dims["L"] <= MAX_TOKENS:
        raise InputError(
            f"q has {dims['L']} tokens: hsa_decode takes 1 to {MAX_TOKENS}; use hsa_attention with "
            "q_offset for more"
        )
    validate.shape(dims, "kv_len", kv_len, "B")
    tables = {"kv_len": kv_len}
    if block_table is None:
        validate.shape(dims, "k", k, "B Lkv H D")
        validate.shape(dims, "v", v, "B Lkv H D")
        dims["C"] = dims["Lkv"] // chunk_size
        validate.shape(dims, "landmarks", landmarks, "B C Hm Dr")
        chunks = dims["C"]
    else:
        validate.shape(dims, "block_table", block_table, "B N")
        validate.shape(dims, "k", k, "blocks block_size H D")
        validate.shape(dims, "v", v, "blocks block_size H D")
        size = dims["block_size"]
        if size < 1 or size % chunk_size:
            raise InputError(
                f"k and v have blocks of {size} tokens: give a multiple of chunk_size={chunk_size},"
                " so that no chunk lies in two blocks"
            )
        dims["chunks"] = size // chunk_size
        validate.shape(dims, "landmarks", landmarks, "blocks chunks Hm Dr")
        tables["block_table"] = block_table
        chunks = dims["N"] * dims["chunks"]
        dims["Lkv"] = dims["N"] * size
    validate.countable("the number of tokens that the cache can hold", dims["Lkv"])
    validate.head_dim(dims["D"])
    validate.query_heads(dims["Hq"], dims["H"])
    validate.same_device(("q", q), dict(tables))
    for name, table in tables.items():
        if table.dtype != torch.int32:
            raise InputError(f"{name} is {str(table.dtype)[6:]}: give an int32 tensor")
    for name, x in (("k", k), ("v", v), ("landmarks", landmarks)):
        if not x.is_contiguous():
            raise InputError(
                f"{name} is not contiguous (strides {list(x.stride())}): a copy of the cache in "
                f"every step would cost more than the step; lay it out as {list(x.shape)}"
            )
    return dims, chunks


def _check_options(
    normalize: str,
    weight_heads: str,
    top_k: int,
    window: int | None,
    scale: float | None,
    backend: str,
    local_out: Tensor | None,
) -> None:
    validate.one_of("normalize", normalize, validate.NORMALIZATIONS)
    validate.one_of("weight_heads", weight_heads, ("kv", "query"))
    validate.one_of("backend", backend, validate.BACKENDS)
    validate.number("scale", scale)
    validate.at_least("top_k", top_k, 1)
    if window is not None:
        validate.at_least("window", window, 1)
    checks.check_mixed(normalize, local_out)


def _refuse_gradients(tensors: dict[str, Tensor | None]) -> None:
    """Raise where autograd would want a gradient of the result."""
    if not torch.is_grad_enabled():
        return
    for name, x in tensors.items():
        if x is not None and x.requires_grad:
            raise InputError(
                f"{name} requires a gradient, and hsa_decode has none: call it under "
                "torch.inference_mode() or torch.no_grad(), or train with hsa_attention"
            )
