"""The checks of a whole call, made of those in `validate`: tensors that must fit each other.

Every function binds or compares sizes in `dims`, the sizes by axis name that are known so far.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor

from hsa_compiler.errors import InputError
from hsa_compiler.runtime import validate


class Packing(NamedTuple):
    """Where packed sequences start, or two Nones."""

    q: Tensor | None
    kv: Tensor | None

    @classmethod
    def of(cls, q: Tensor | None, kv: Tensor | None) -> Packing:
        """One table serves for both sides where only one is given."""
        return cls(q if q is not None else kv, kv if kv is not None else q)


def check_tensors(
    data: Mapping[str, Tensor], side: Mapping[str, Tensor | None], backend: str
) -> None:
    """Devices and dtypes: `data` share one dtype, `side` are any floating-point tensors."""
    name = next(iter(data))
    validate.same_device((name, data[name]), {**data, **side})
    validate.same_dtype(dict(data), backend)
    for other, x in side.items():
        validate.floating(other, x)


def check_qkv(dims: dict[str, int], q: Tensor, k: Tensor, v: Tensor) -> None:
    """Shapes of the attention inputs; binds B, L, Hq, D, Lkv and H."""
    validate.shape(dims, "q", q, "B L Hq D")
    validate.shape(dims, "k", k, "B Lkv H D")
    validate.shape(dims, "v", v, "B Lkv H D")
    validate.head_dim(dims["D"])
    validate.query_heads(dims["Hq"], dims["H"])


def check_packing(
    packing: Packing,
    dims: dict[str, int],
    query_block: int,
    chunk_size: int,
    beside: tuple[str, Tensor],
) -> None:
    """Packed sequences: one batch entry, tables that fit on the device of the tensor `beside`, one
    row per token."""
    tokens = {"q": dims.get("L", dims.get("R")), "kv": dims.get("Lkv")}
    for side, table in (("q", packing.q), ("kv", packing.kv)):
        if table is not None:
            validate.cu_seqlens(f"cu_seqlens_{side}", table, dims["B"], tokens[side])
            validate.same_device(beside, {f"cu_seqlens_{side}": table})
    if packing.q is None or packing.kv is None:
        return
    if packing.q.shape != packing.kv.shape:
        raise InputError(
            f"cu_seqlens_q has {packing.q.shape[0]} entries and cu_seqlens_kv has "
            f"{packing.kv.shape[0]}: give N + 1 of each for N sequences"
        )
    if query_block != 1:
        raise InputError(
            f"query_block={query_block} with cu_seqlens: blocks of tokens would straddle "
            "sequences; pass query_block=1, or sequences of one batch"
        )
    if "C" in dims:
        validate.packed_chunks(packing.kv, chunk_size, dims["C"])


def chunk_count(kv_tokens: int, chunk_size: int, cu_seqlens_kv: Tensor | None) -> int:
    """C; for packed sequences on a GPU, whose lengths cannot be read without a stall, what it is
    at most."""
    if cu_seqlens_kv is None or not validate.readable(cu_seqlens_kv):
        return kv_tokens // chunk_size
    return sum(validate.packed_counts(cu_seqlens_kv, chunk_size))


def check_attention(
    dims: dict[str, int],
    q: Tensor,
    k: Tensor,
    v: Tensor,
    local_out: Tensor | None,
    *,
    chunk_size: int,
    scale: float | None,
    backend: str,
) -> None:
    """The checks of `chunk_attention` that need no selection; binds B, L, Hq, D, Lkv and H."""
    validate.number("scale", scale)
    validate.chunk_size(chunk_size)
    validate.one_of("backend", backend, validate.BACKENDS)
    check_qkv(dims, q, k, v)
    data = {"q": q, "k": k, "v": v}
    if local_out is not None:
        validate.shape(dims, "local_out", local_out, "B L Hq D")
        data["local_out"] = local_out
    check_tensors(data, {}, backend)


def check_selection(
    dims: dict[str, int],
    q: Tensor,
    indices: Tensor,
    weights: Tensor | None,
    local_weight: Tensor | None,
    query_block: int,
) -> None:
    """A selection that a caller hands in: shapes, head counts, dtypes; binds R, Hi, K and Hw."""
    validate.at_least("query_block", query_block, 1)
    dims["R"] = -(-dims["L"] // query_block)
    validate.shape(dims, "selection.indices", indices, "B R Hi K")
    validate.integral("selection.indices", indices)
    validate.at_least("the number of slots K of selection.indices", dims["K"], 1)
    side = {"selection.weights": weights, "selection.local_weight": local_weight}
    if weights is not None:
        validate.shape(dims, "selection.weights", weights, "B R Hw K")
    if local_weight is not None:
        validate.shape(dims, "selection.local_weight", local_weight, "B R Hw")
    validate.same_device(("q", q), {"selection.indices": indices, **side})
    for name, x in side.items():
        validate.floating(name, x)
    slots = indices.numel() if weights is None else max(indices.numel(), weights.numel())
    validate.countable("the number of selected slots, B * R * heads * K,", slots)
    heads = [("selection.indices", dims["Hi"])]
    if weights is not None:
        heads.append(("selection.weights", dims["Hw"]))
        validate.divides(heads[0], heads[1])
    for name, count in heads:
        validate.divides((name, count), ("q", dims["Hq"]))
        if count and dims["H"] % count and count % dims["H"]:
            raise InputError(
                f"{name} has {count} heads and k, v have {dims['H']}: give 1, "
                f"H={dims['H']} or Hq={dims['Hq']}"
            )


def check_inverse(dims: Mapping[str, int], inverse: object) -> None:
    """A selection's inverse index: what `retrieve` returned, for these indices' shape."""
    if not isinstance(inverse, tuple) or len(inverse) != 4:
        raise InputError("selection.inverse: give the InverseIndex that retrieve returned, or None")
    found = {**dims, "R*K": dims["R"] * dims["K"]}
    for axis, x in (("R*K", inverse[0]), ("C+1", inverse[1])):
        name = "selection.inverse.order" if axis == "R*K" else "selection.inverse.offsets"
        validate.shape(found, name, x, f"B Hi {axis}")
        if x.dtype != torch.int32:
            raise InputError(f"{name} is {x.dtype}: give what retrieve returned, or None")


def check_local(
    dims: dict[str, int],
    q: Tensor,
    weights: Tensor | None,
    local_weight: Tensor | None,
    local_out: Tensor | None,
    local_lse: Tensor | None,
) -> None:
    """The local branch must come whole, and in the form that the selection asks for."""
    if weights is not None:
        if local_lse is not None:
            raise InputError(
                "local_lse was given with a selection that has weights: the local branch's weight "
                "is selection.local_weight there (retrieve with normalize='lse_mix')"
            )
        if (local_out is None) != (local_weight is None):
            raise InputError(
                f"local_out is {_given(local_out)} and selection.local_weight is "
                f"{_given(local_weight)}: give both (retrieve with normalize='lse_mix') or neither"
            )
        return
    if local_weight is not None:
        raise InputError(
            "selection.local_weight was given without weights: the joint softmax takes local_out "
            "and local_lse"
        )
    if (local_out is None) != (local_lse is None):
        raise InputError(
            f"local_out is {_given(local_out)} and local_lse is {_given(local_lse)}: "
            "the joint softmax takes both or neither"
        )
    if local_lse is not None:
        validate.shape(dims, "local_lse", local_lse, "B L Hq")
        validate.same_device(("q", q), {"local_lse": local_lse})
        validate.floating("local_lse", local_lse)


def check_mixed(normalize: str, local_out: Tensor | None) -> None:
    """One call for both halves takes a local branch exactly where the weights are mixed with it."""
    if (local_out is not None) != (normalize == "lse_mix"):
        raise InputError(
            f"normalize={normalize!r} with local_out {_given(local_out)}: 'lse_mix' merges the "
            "local branch and needs local_out and local_lse; nothing else takes them"
        )


def check_devices(q: Tensor, **others: Tensor) -> None:
    """Both halves of a call live on one device."""
    for name, x in others.items():
        validate.tensor(name, x)
    validate.same_device(("q", q), dict(others))


def check_normalize(
    dims: dict[str, int],
    normalize: str | None,
    rank_scale: Tensor | None,
    local_lse: Tensor | None,
) -> None:
    """What a normalisation takes besides scores, and nothing else."""
    if rank_scale is not None:
        if normalize not in ("softmax", "lse_mix"):
            raise InputError(
                f"rank_scale was given with normalize={normalize!r}: it scales the logits of "
                "'softmax' and 'lse_mix' only"
            )
        if not isinstance(rank_scale, Tensor) or rank_scale.numel() != 1:
            raise InputError("rank_scale: give a tensor with one element (a learned scalar)")
        if rank_scale.dim() > 3:
            raise InputError(f"rank_scale has {rank_scale.dim()} axes: give a scalar tensor")
    if (local_lse is not None) != (normalize == "lse_mix"):
        raise InputError(
            f"normalize={normalize!r} with local_lse "
            f"{'given' if local_lse is not None else 'absent'}: 'lse_mix' needs the log-sum-exp "
            "of the local branch, and nothing else takes it"
        )
    if local_lse is not None:
        validate.shape(dims, "local_lse", local_lse, "B R Hlse")


def _given(x: Tensor | None) -> str:
    return "absent" if x is None else "given"
