"""The custom op `hsa::decode`: one decoding step on a cache, inference only.

One program, so that a step is few launches: scoring, merging and weighing, attention, combining.
Nothing is read back to the host and no launch grid depends on a value, so that one captured CUDA
graph serves a growing cache.
"""

# No `from __future__ import annotations` here: torch reads the schema off the signature.

import torch
from torch import Tensor

from hsa_compiler.ir.programs import AttentionOptions, CacheOptions, RetrieveOptions
from hsa_compiler.runtime import calls
from hsa_compiler.runtime.executor import DTYPE_NAMES
from hsa_compiler.runtime.op_support import refuse_vmap

TENSORS = (
    "q",
    "k",
    "v",
    "q_slc",
    "landmarks",
    "kv_len",
    "block_table",
    "chunk_bias",
    "rank_scale",
    "local_out",
    "local_lse",
)


@torch.library.custom_op("hsa::decode", mutates_args=())
def decode(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    q_slc: Tensor,
    landmarks: Tensor,
    kv_len: Tensor,
    block_table: Tensor | None,
    chunk_bias: Tensor | None,
    rank_scale: Tensor | None,
    local_out: Tensor | None,
    local_lse: Tensor | None,
    chunk_size: int,
    top_k: int,
    index_heads: int,
    weight_heads: int,
    normalize: str,
    window: int,
    score_scale: float,
    scale: float,
    backend: str,
) -> Tensor:
    """Retrieval and attention of the last L tokens; out [B,L,Hq,D]."""
    given = (q, k, v, q_slc, landmarks, kv_len, block_table, chunk_bias, rank_scale)
    values = dict(zip(TENSORS, (*given, local_out, local_lse), strict=True))
    dims = _dims(q, k, q_slc, landmarks, block_table, top_k, index_heads, weight_heads)
    if calls.is_empty(dims):
        # Without a chunk the local branch is all there is.
        if local_out is not None:
            return local_out.clone(memory_format=torch.contiguous_format)
        return torch.zeros_like(q, memory_format=torch.contiguous_format)
    dtype = DTYPE_NAMES[q.dtype]
    executable = calls.decode(
        RetrieveOptions(
            top_k=top_k,
            scale=score_scale,
            normalize=normalize,
            bias=chunk_bias is not None,
            rank_scale=rank_scale is not None,
            own_indices=index_heads == q_slc.shape[2],
            dtype=dtype,
        ),
        AttentionOptions(chunk_size, scale, local=local_out is not None, dtype=dtype),
        CacheOptions(window, block_table is not None),
    )
    return executable.run(values, dims, q.device, backend)["out"]


@decode.register_fake
def _decode_fake(q: Tensor, *_: object) -> Tensor:
    return torch.empty_like(q, memory_format=torch.contiguous_format)


decode.register_vmap(refuse_vmap("hsa_decode"))


def _dims(
    q: Tensor,
    k: Tensor,
    q_slc: Tensor,
    landmarks: Tensor,
    block_table: Tensor | None,
    top_k: int,
    index_heads: int,
    weight_heads: int,
) -> dict[str, int]:
    """Every dim of the program; C and Lkv are what the cache can hold."""
    batch, tokens, query_heads, dim = q.shape
    dims = {
        "B": batch,
        "L": tokens,
        "R": tokens,
        "Hq": query_heads,
        "D": dim,
        "H": k.shape[2],
        "Hr": q_slc.shape[2],
        "Dr": q_slc.shape[3],
        "Hm": landmarks.shape[2],
        "Hi": index_heads,
        "Hw": weight_heads,
        "K": top_k,
        "Lkv": k.shape[1],
        "C": landmarks.shape[1],
    }
    if block_table is None:
        return dims
    pages, blocks = k.shape[0], block_table.shape[1]
    paged = {"P": pages, "N": blocks, "Zk": k.shape[1], "Zc": landmarks.shape[1]}
    return {**dims, **paged, "Lkv": blocks * k.shape[1], "C": blocks * landmarks.shape[1]}
