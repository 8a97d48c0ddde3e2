"""What a call may look like: every check that runs before anything is launched.

Each failure is one `InputError` that says what was given, what is allowed and what to do.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable

import torch
from torch import Tensor

from hsa_compiler.errors import InputError
from hsa_compiler.schedules.schedule import KERNELS

CHUNK_SIZES = (16, 32, 64, 128)
HEAD_DIMS = (16, 32, 64, 128, 256)
MAX_RETRIEVAL_DIM = 2048
NORMALIZATIONS = ("softmax", "stick_breaking", "softmax_off_by_one", "lse_mix")
BACKENDS = ("auto", "triton", "tvm", "reference")
DTYPES = (torch.float32, torch.bfloat16, torch.float16)
INDEX_LIMIT = 2**31
#: Positions are 64-bit; below this limit no sum of two wraps.
POSITION_LIMIT = 2**62
#: The largest fp32 number: kernels scale in fp32, where a larger one is infinite.
LARGEST_SCALE = torch.finfo(torch.float32).max


def one_of(name: str, value: object, allowed: tuple[object, ...]) -> None:
    """Raise unless `value` is one of `allowed`, which are strings or None."""
    # Arrays and tensors compare element by element, so they are not compared at all.
    if not isinstance(value, str | None) or value not in allowed:
        raise InputError(f"{name}={value!r}: give one of {', '.join(map(repr, allowed))}")


def kernels(names: Iterable[str]) -> None:
    """Raise unless every name is that of a kernel."""
    unknown = [name for name in names if name not in KERNELS]
    if unknown:
        raise InputError(f"unknown kernels {', '.join(unknown)}: choose from {', '.join(KERNELS)}")


def is_whole(text: str) -> bool:
    """Whether a user's text is a whole number of at most 18 plain digits: others, such as a
    superscript, are digits to `str.isdigit` but not to `int`."""
    return text.isascii() and text.isdigit() and len(text) <= 18


def chunk_size(value: int, name: str = "chunk_size") -> None:
    """Raise unless S is a whole number that the kernels are written for."""
    at_least(name, value, 1)
    if value not in CHUNK_SIZES:
        raise InputError(f"{name}={value}: give one of {', '.join(map(str, CHUNK_SIZES))}")


def flag(name: str, value: object) -> None:
    """Raise unless `value` is True or False."""
    if not isinstance(value, bool):
        raise InputError(
            f"{name}={value!r} is a {type(value).__name__}: give True or False, a Python bool"
        )


def at_least(name: str, value: int, low: int, limit: int = INDEX_LIMIT) -> None:
    """Raise unless the whole number `value` is `low` or larger, and below `limit`."""
    if isinstance(value, bool) or not isinstance(value, int | torch.SymInt):
        raise InputError(
            f"{name}={value!r} is a {type(value).__name__}: give a whole number, a Python int"
        )
    if value < low:
        raise InputError(f"{name}={value}: give {low} or more")
    if value >= limit:
        raise InputError(f"{name}={value}: give less than {limit}")


def number(name: str, value: object) -> None:
    """Raise unless `value` is None or a real number that is finite in fp32."""
    if value is None:
        return
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise InputError(
            f"{name}={value!r} is a {type(value).__name__}: give a number or None (a Python float)"
        )
    if not abs(value) <= LARGEST_SCALE:  # NaN is not, either
        raise InputError(f"{name}={value!r}: give a finite number or None")


def tensor(name: str, x: object) -> None:
    """Raise unless `x` is a tensor."""
    if not isinstance(x, Tensor):
        raise InputError(f"{name} is a {type(x).__name__}: give a torch.Tensor")


def shape(dims: dict[str, int], name: str, x: Tensor, axes: str) -> None:
    """Check the layout and rank of `x`, and bind or compare its axes.

    Args:
        dims: sizes known so far by axis name; axes met for the first time are added.
        name: what the caller calls this tensor.
        x: the tensor.
        axes: axis names separated by blanks, e.g. ``"B L Hq D"``; a number stands for itself.
    """
    tensor(name, x)
    if x.is_nested or x.layout != torch.strided or x.is_quantized:
        kind = "nested" if x.is_nested else "quantised" if x.is_quantized else str(x.layout)
        raise InputError(
            f"{name} is a {kind} tensor: give a dense, strided one "
            "(packed sequences go through cu_seqlens_q and cu_seqlens_kv)"
        )
    names = axes.split()
    if x.dim() != len(names):
        raise InputError(
            f"{name} has shape {_sizes(x)}, {x.dim()} axes: give {len(names)}, [{_commas(axes)}]"
        )
    for axis, size in zip(names, x.shape, strict=True):
        expected = int(axis) if axis.isdigit() else dims.setdefault(axis, size)
        if size != expected:
            known = ", ".join(f"{n}={dims[n]}" for n in names if n in dims)
            raise InputError(
                f"{name} has shape {_sizes(x)}, but [{_commas(axes)}] with {known} is needed: "
                f"its axis {axis} is {size}, not {expected}"
            )


def same_device(reference: tuple[str, Tensor], others: dict[str, Tensor | None]) -> None:
    """Raise unless every tensor lives on the device of `reference`, a CPU or CUDA one."""
    name, first = reference
    if first.device.type not in ("cpu", "cuda"):
        raise InputError(f"{name} is on {first.device}: move the tensors to a CPU or CUDA device")
    for other, x in others.items():
        if x is not None and x.device != first.device:
            raise InputError(
                f"{other} is on {x.device}, but {name} is on {first.device}: "
                "move all tensors to one device"
            )


def same_dtype(tensors: dict[str, Tensor], backend: str) -> None:
    """Raise unless all tensors share one dtype that the kernels take.

    fp64 is taken by the reference back end only.
    """
    allowed = (*DTYPES, torch.float64) if backend == "reference" else DTYPES
    names = ", ".join(tensors)
    given = ", ".join(f"{name}: {_dtype(x.dtype)}" for name, x in tensors.items())
    dtypes = {x.dtype for x in tensors.values()}
    if len(dtypes) > 1:
        raise InputError(f"{names} have different dtypes ({given}): cast them to one of them")
    for dtype in dtypes:
        if dtype not in allowed:
            raise InputError(
                f"{names} are {_dtype(dtype)}: give {', '.join(map(_dtype, allowed))}"
                + ("" if dtype != torch.float64 else ' (fp64 needs backend="reference")')
            )


def floating(name: str, x: Tensor | None) -> None:
    """Raise unless `x` is absent or a floating-point tensor (it is cast to fp32)."""
    if x is None:
        return
    tensor(name, x)
    if not x.dtype.is_floating_point:
        raise InputError(f"{name} is {_dtype(x.dtype)}: give a floating-point tensor")


def integral(name: str, x: Tensor | None) -> None:
    """Raise unless `x` is absent or an int32 or int64 tensor."""
    if x is None:
        return
    tensor(name, x)
    if x.dtype not in (torch.int32, torch.int64):
        raise InputError(f"{name} is {_dtype(x.dtype)}: give an int32 or int64 tensor")


def head_dim(size: int) -> None:
    """Raise unless D is one that the kernels are written for."""
    if size not in HEAD_DIMS:
        raise InputError(
            f"the head dim D of q, k and v is {size}: give one of "
            f"{', '.join(map(str, HEAD_DIMS))} (pad q, k and v with zeros and set scale)"
        )


def retrieval_dim(size: int) -> None:
    """Raise unless Dr is one that the kernels are written for."""
    if size % 16 != 0 or not 16 <= size <= MAX_RETRIEVAL_DIM:
        raise InputError(
            f"the retrieval dim Dr of q_slc and landmarks is {size}: give a multiple of 16 "
            f"from 16 to {MAX_RETRIEVAL_DIM} (pad both with zeros and set scale)"
        )


def query_heads(heads: int, kv_heads: int) -> None:
    """Raise unless Hq is a multiple of H."""
    if kv_heads < 1 or heads < 1 or heads % kv_heads:
        raise InputError(
            f"q has {heads} heads and k, v have {kv_heads}: the number of query heads must be "
            "a multiple of the number of KV heads, and at least 1"
        )


def divides(few: tuple[str, int], many: tuple[str, int]) -> None:
    """Raise unless the head count of `few` divides that of `many`."""
    if few[1] < 1 or many[1] % few[1]:
        raise InputError(
            f"{few[0]} has {few[1]} heads and {many[0]} has {many[1]}: "
            "the first must divide the second"
        )


def selection_heads(
    score_heads: int,
    kv_heads: int | None,
    query_heads: int | None,
    lse_heads: int | None,
    weight_heads: str,
) -> tuple[int, int]:
    """How many index heads (Hi) and weight heads (Hw) a retrieval gives.

    With Hr = Hq > H the score heads of a KV head share one set of chunks (the largest score of the
    group counts), and the weights must be per query head.

    Args:
        score_heads: Hr.
        kv_heads: H, or None where retrieval stands alone.
        query_heads: Hq, or None where retrieval stands alone.
        lse_heads: heads of local_lse (``lse_mix`` only), or None.
        weight_heads: ``"kv"`` or ``"query"``.

    Returns:
        Hi, Hw.
    """
    kv = score_heads if kv_heads is None else kv_heads
    allowed = sorted({1, kv} | ({query_heads} if query_heads is not None else set()))
    if query_heads is None and kv_heads is not None and score_heads % kv == 0:
        allowed.append(score_heads)
    if score_heads not in allowed:
        raise InputError(
            f"q_slc has Hr={score_heads} heads: give 1 (shared by all), H={kv} (one per KV head)"
            + (f" or Hq={query_heads} (one per query head)" if query_heads is not None else "")
        )
    index_heads = min(score_heads, kv)
    if weight_heads == "query":
        heads = query_heads if query_heads is not None else max(score_heads, lse_heads or 1)
    elif lse_heads is not None and lse_heads > kv:
        heads = lse_heads  # mixed with a window branch's LSE per query head
    elif score_heads > kv:
        raise InputError(
            f"q_slc has Hr={score_heads} heads but weight_heads='kv' asks for {kv} weights a "
            "token: pass weight_heads='query', or one score head per KV head"
        )
    else:
        heads = kv
    if query_heads is not None and heads not in (kv, query_heads):
        raise InputError(f"local_lse has {lse_heads} heads: give 1, H={kv} or Hq={query_heads}")
    divides(("q_slc", score_heads), ("the weights", heads))
    if lse_heads is not None:
        divides(("local_lse", lse_heads), ("the weights", heads))
    return index_heads, heads


def offsets(
    name: str, q_offset: int | Tensor, sequences: int | None, beside: tuple[str, Tensor]
) -> None:
    """Raise unless `q_offset` is 0 or more, or an integer tensor with one or N elements.

    It must lie on the device of the tensor `beside`; torch adds a scalar from the CPU to any.
    """
    if isinstance(q_offset, Tensor):
        integral(name, q_offset)
        if q_offset.dim() > 0 or q_offset.device.type != "cpu":
            same_device(beside, {name: q_offset})
        allowed = (1,) if sequences is None else (1, sequences)
        if q_offset.numel() not in allowed:
            raise InputError(
                f"{name} has {q_offset.numel()} elements: give {' or '.join(map(str, allowed))}"
            )
        if readable(q_offset):
            low, high = (int(x) for x in torch.aminmax(q_offset))
            if low < 0 or high >= POSITION_LIMIT:
                raise InputError(
                    f"{name}={q_offset.tolist()}: give 0 or more, less than {POSITION_LIMIT}"
                )
        return
    at_least(name, q_offset, 0, POSITION_LIMIT)


def cu_seqlens(name: str, x: Tensor, batch: int, tokens: int | None) -> None:
    """Check the table of packed sequence starts.

    Args:
        name: what the caller calls it.
        x: integer [N + 1]; its values are compared on a CPU only (reading them from a GPU would
            stall it): 0 first, never falling, `tokens` last.
        batch: B, which must be 1.
        tokens: tokens of the packed batch; None where the call does not know.
    """
    integral(name, x)
    if x.dim() != 1 or x.shape[0] < 2:
        raise InputError(
            f"{name} has shape {_sizes(x)}: give [N + 1], the starts of N sequences and their end"
        )
    if batch != 1:
        raise InputError(
            f"{name} was given with a batch of {batch}: pack all sequences along the token axis "
            "of one batch entry, [1, L, heads, dim]"
        )
    if not readable(x):
        return
    values = x.tolist()
    last = values[-1] if tokens is None else tokens
    if values[0] != 0 or values[-1] != last or values != sorted(values):
        raise InputError(
            f"{name}={values if len(values) < 10 else [*values[:4], '...', *values[-2:]]}: "
            f"give 0 first, {last} (the number of tokens) last, and never fall"
        )


def packed_chunks(cu_seqlens_kv: Tensor, chunk_size: int, chunks: int) -> None:
    """Raise unless C is the number of chunks of all packed sequences (checked on a CPU only)."""
    if not readable(cu_seqlens_kv):
        return
    count = sum(packed_counts(cu_seqlens_kv, chunk_size))
    if count != chunks:
        raise InputError(
            f"landmarks has C={chunks} chunks, but the sequences of cu_seqlens_kv have "
            f"{count} complete chunks of {chunk_size} tokens: give one landmark for each"
        )


def packed_counts(cu_seqlens_kv: Tensor, chunk_size: int) -> list[int]:
    """How many complete chunks each packed sequence has; reads the tensor."""
    starts = cu_seqlens_kv.tolist()
    return [(end - start) // chunk_size for start, end in itertools.pairwise(starts)]


def indices_in_range(indices: Tensor, chunks: int) -> None:
    """Raise unless every index is -1 or a chunk that exists.

    Checked on CPU tensors; on a GPU the check would stall the stream, and an index of C or more
    reads memory past the keys.
    """
    if indices.device.type != "cpu" or indices.numel() == 0:
        return
    low, high = (int(x) for x in torch.aminmax(indices))
    if low < -1 or high >= chunks:
        raise InputError(
            f"selection.indices reach from {low} to {high}: give chunk numbers below "
            f"C={chunks} (Lkv // chunk_size), or -1 for an empty slot"
        )


def countable(name: str, count: int) -> None:
    """Raise unless `count` elements can be numbered with 32 bits."""
    if count >= INDEX_LIMIT:
        raise InputError(
            f"{name} is {count}, past the limit of 2^31 - 1: split the batch or the sequence"
        )


def readable(x: Tensor) -> bool:
    """Whether values can be looked at without a device sync or a graph break."""
    return (
        not torch.compiler.is_compiling()
        and x.device.type == "cpu"
        and type(x) in (Tensor, torch.nn.Parameter)
    )


def _dtype(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def _sizes(x: Tensor) -> str:
    return str(list(x.shape))


def _commas(axes: str) -> str:
    return ", ".join(axes.split())
