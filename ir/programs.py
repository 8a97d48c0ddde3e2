"""Builders of the programs: retrieval, attention to the retrieved chunks, and both as one.

Inputs keep these names in every program, so that equal kernels of different methods are equal
(same hash, same tuned config):

    q_slc T[B,R,Hr,Dr]   landmarks T[B,C,Hm,Dr]   chunk_bias fp32[B,C,Hm]   lo, hi i32[B,R]
    seed i32[1]   row_lse fp32[B,R,Hr]   rank_scale fp32[B,R,Hw]   local_lse fp32[B,R,Hw]
    q T[B,L,Hq,D]   k, v T[B,Lkv,H,D]   indices i32[B,R,Hi,K]   weights fp32[B,R,Hw,K]
    order i32[B,Hi,R*K]   offsets i32[B,Hi,C+1]   chunk_start i32[C]
    local_out T[B,L,Hq,D]   local_weight fp32[B,R,Hw]
    (joint softmax) local_lse fp32[B,L,Hq]
    (decoding) kv_len i32[B]   block_table i32[B,N]
    (paged) k, v T[P,Zk,H,D]   landmarks T[P,Zc,Hm,Dr]
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from .builder import Builder
from .core import Op, Program, Value
from .errors import IRError


def default_scale(dim: int) -> float:
    """``1 / sqrt(dim)``, the scale of logits and scores over `dim` dims where none is given.

    One formula for everyone: programs whose scales differ in the last bit are different kernels.
    """
    return 1.0 / math.sqrt(dim)


@dataclass(frozen=True)
class RetrieveOptions:
    """What `retrieve_program` computes; see `select` and `normalize` in the op table.

    `normalize` None selects only. `bias`, `rank_scale`, `noise` and `row_lse` add the inputs
    chunk_bias, rank_scale, seed and row_lse; kind "lse_mix" adds local_lse. `inverse` adds the
    outputs order and offsets, the inverse index that gradients and chunk order read. `own_indices`:
    every score head has indices of its own (Hi is Hr), which lets selection and weights be one
    kernel.
    """

    top_k: int
    scale: float
    normalize: str | None = "softmax"
    reduce: str = "max"
    bias: bool = False
    rank_scale: bool = False
    noise: bool = False
    row_lse: bool = False
    force_first: int = 0
    force_last: int = 0
    inverse: bool = False
    own_indices: bool = False
    dtype: str = "bf16"


@dataclass(frozen=True)
class CacheOptions:
    """How a decoding step sees its cache: visibility from `kv_len` (`interval` in the op table;
    `window` 0 is none), and, `paged`, rows that a block table names."""

    window: int = 0
    paged: bool = False


@dataclass(frozen=True)
class AttentionOptions:
    """What `chunk_attention_program` computes; see `attend` in the op table.

    `joint`: one softmax over all chosen chunks instead of external weights. `local` adds a local
    branch: inputs local_out and local_weight (external weights) or local_lse (joint).
    `packed` adds chunk_start, `inverse` order and offsets.
    """

    chunk: int
    scale: float
    joint: bool = False
    local: bool = False
    query_block: int = 1
    plus_one: bool = False
    hide_last: bool = False
    packed: bool = False
    inverse: bool = False
    dtype: str = "bf16"


def retrieve_program(options: RetrieveOptions) -> Program:
    """Scores, selection and weights.

    Outputs: indices, slots (fp32[B,R,Hr,K], the scores of the chosen chunks) and weights, with
    kind "lse_mix" local_weight too; indices alone where `normalize` is None. With `inverse`
    order and offsets follow.
    """
    b = Builder("retrieve")
    return b.finish(*_retrieve(b, options).values())


def invert_program() -> Program:
    """The inverse index of given indices. Outputs: order and offsets."""
    b = Builder("invert")
    return b.finish(*_invert(b, b.input("indices", "i32", "B R Hi K")).values())


def chunk_attention_program(options: AttentionOptions) -> Program:
    """Attention to given chunks (input indices). Outputs: out, and total_lse where joint."""
    b = Builder("chunk_attention")
    return b.finish(*_attend(b, options, {}))


def hsa_program(
    retrieve: RetrieveOptions, attention: AttentionOptions, name: str = "hsa"
) -> Program:
    """Retrieval and attention as one program.

    Outputs: out, then total_lse where joint, then those of `retrieve_program`. With a local
    branch and external weights, local_weight comes from "lse_mix". Raises IRError where the two
    option sets do not fit each other.
    """
    if retrieve.dtype != attention.dtype:
        raise IRError(
            f"program {name}: expected one dtype for both halves, given "
            f"{retrieve.dtype} and {attention.dtype}"
        )
    if attention.joint == (retrieve.normalize is not None):
        raise IRError(
            f"program {name}: expected normalize None exactly with a joint softmax, "
            f"given {retrieve.normalize!r} with joint={attention.joint}"
        )
    if retrieve.inverse != attention.inverse:
        raise IRError(
            f"program {name}: expected inverse in both halves or neither, given "
            f"{retrieve.inverse} and {attention.inverse}"
        )
    if not attention.joint and attention.local != (retrieve.normalize == "lse_mix"):
        raise IRError(
            f"program {name}: expected a local branch exactly with 'lse_mix', given "
            f"{retrieve.normalize!r} with local={attention.local}"
        )
    b = Builder(name)
    selection = _retrieve(b, retrieve)
    return b.finish(*_attend(b, attention, selection), *selection.values())


def decode_program(
    retrieve: RetrieveOptions, attention: AttentionOptions, cache: CacheOptions
) -> Program:
    """One decoding step: `hsa_program` on a cache. Output: out."""
    if retrieve.normalize is None or attention.joint or attention.packed:
        raise IRError("program decode: expected external weights and no packed sequences")
    b = Builder("decode")
    selection = _retrieve(b, retrieve, cache, attention.chunk)
    return b.finish(*_attend(b, attention, selection, cache))


def _memory(b: Builder, name: str, dtype: str, dims: str, cache: CacheOptions | None) -> Value:
    """An input with rows along its second axis; in pages where the cache is paged."""
    if cache is None or not cache.paged:
        return b.input(name, dtype, dims)
    rows, heads, size = dims.split()[1:]
    pool = b.input(name, dtype, f"P {'Zc' if rows == 'C' else 'Zk'} {heads} {size}")
    known = next((value for value in b.inputs if value.name == "block_table"), None)
    table = known or b.input("block_table", "i32", "B N")
    return b.emit("page", pool=pool, table=table, dims={"M": rows}, names={"rows": f"all_{name}"})


def _retrieve(
    b: Builder, o: RetrieveOptions, cache: CacheOptions | None = None, chunk: int = 0
) -> dict[str, Value]:
    if o.normalize is None and o.rank_scale:
        raise IRError(
            f"program {b.name}: expected no rank_scale without a normalization, "
            "given rank_scale=True with normalize=None"
        )
    q = b.input("q_slc", o.dtype, "B R Hr Dr")
    landmarks = _memory(b, "landmarks", o.dtype, "B C Hm Dr", cache)
    scores = b.emit(
        "score",
        q=q,
        landmarks=landmarks,
        scale=o.scale,
        bias=b.input("chunk_bias", "fp32", "B C Hm") if o.bias else None,
    )
    if cache is None:
        lo, hi = b.input("lo", "i32", "B R"), b.input("hi", "i32", "B R")
    else:
        kv_len = b.input("kv_len", "i32", "B")
        lo, hi = b.op("interval", kv_len=kv_len, chunk=chunk, window=cache.window).results
    indices = b.emit(
        "select",
        scores=scores,
        lo=lo,
        hi=hi,
        seed=b.input("seed", "i32", "1") if o.noise else None,
        row_lse=b.input("row_lse", "fp32", "B R Hr") if o.row_lse else None,
        k=o.top_k,
        reduce=o.reduce,
        force_first=o.force_first,
        force_last=o.force_last,
        dims={"Hi": "Hr"} if o.own_indices else None,
    )
    inverse = _invert(b, indices) if o.inverse else {}
    if o.normalize is None:
        return {"indices": indices, **inverse}
    slots = b.emit("gather", scores=scores, indices=indices)
    weigh = b.op(
        "normalize",
        logits=slots,
        kind=o.normalize,
        rank_scale=b.input("rank_scale", "fp32", "B R Hw") if o.rank_scale else None,
        local_lse=b.input("local_lse", "fp32", "B R Hw") if o.normalize == "lse_mix" else None,
        dims={"Hw": "Hw"},
    )
    return {"indices": indices, "slots": slots, **_by_name(weigh), **inverse}


def _invert(b: Builder, indices: Value) -> dict[str, Value]:
    return _by_name(b.op("invert_index", indices=indices, dims={"C": "C"}))


def _attend(
    b: Builder,
    o: AttentionOptions,
    given: dict[str, Value],
    cache: CacheOptions | None = None,
) -> list[Value]:
    def value(name: str, dtype: str, dims: str) -> Value:
        return given[name] if name in given else b.input(name, dtype, dims)

    attend = b.op(
        "attend",
        q=b.input("q", o.dtype, "B L Hq D"),
        k=_memory(b, "k", o.dtype, "B Lkv H D", cache),
        v=_memory(b, "v", o.dtype, "B Lkv H D", cache),
        indices=value("indices", "i32", "B R Hi K"),
        chunk_start=b.input("chunk_start", "i32", "C") if o.packed else None,
        order=value("order", "i32", "B Hi R*K") if o.inverse else None,
        offsets=value("offsets", "i32", "B Hi C+1") if o.inverse else None,
        chunk=o.chunk,
        scale=o.scale,
        query_block=o.query_block,
        plus_one=o.plus_one,
        hide_last=o.hide_last,
    )
    parts, lse = attend.results
    local_out = b.input("local_out", o.dtype, "B L Hq D") if o.local else None
    if o.joint:
        local_lse = b.input("local_lse", "fp32", "B L Hq") if o.local else None
        fuse = b.op("fuse_joint", parts=parts, lse=lse, local_out=local_out, local_lse=local_lse)
        return list(fuse.results)
    weights = value("weights", "fp32", "B R Hw K")
    out = b.emit(
        "fuse",
        weights=weights,
        parts=parts,
        query_block=o.query_block,
        names={"out": "fused" if o.local else "out"},
    )
    if o.local:
        out = b.emit(
            "merge_local",
            out=out,
            local_out=local_out,
            query_block=o.query_block,
            local_weight=value("local_weight", "fp32", "B R Hw"),
            names={"merged": "out"},
        )
    return [out]


def _by_name(op: Op) -> dict[str, Value]:
    return {value.name: value for value in op.results}
