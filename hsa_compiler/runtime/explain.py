"""Which schedule every kernel of a call uses, and which config tier gave it.

for row in explain(q, k, v, q_slc, landmarks, chunk_size=64, top_k=32):
    print(row)
explain_shape({"L": 8192, "Hq": 16, "H": 1, "D": 128, "S": 64, "K": 32}, device="cuda")
explain()           # what this process has run so far
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from hsa_compiler.errors import InputError
from hsa_compiler.ir import fuse_groups
from hsa_compiler.ir.interpreter import TORCH_DTYPES
from hsa_compiler.ir.programs import AttentionOptions, RetrieveOptions, default_scale
from hsa_compiler.runtime import attention_op, calls, checks, feedback, retrieve_op, validate
from hsa_compiler.runtime.dispatch import resolve_backend, select_schedule
from hsa_compiler.runtime.executor import DTYPE_NAMES, Executable, torch_wants_deterministic
from hsa_compiler.runtime.forms import choose_form
from hsa_compiler.runtime.record import Row, used

#: Dims that `explain_shape` must be given; the others have defaults.
NEEDED = ("L", "Hq", "H", "D", "S", "K")
KNOWN = (*NEEDED, "B", "Lkv", "C", "Hr", "Hm", "Dr", "Hi", "Hw")
#: Dims that may be 0: then nothing is launched.
MAY_BE_EMPTY = ("B", "L", "Lkv", "C")
DTYPES = tuple(DTYPE_NAMES[dtype] for dtype in validate.DTYPES)


def explain(
    q: Tensor | None = None,
    k: Tensor | None = None,
    v: Tensor | None = None,
    q_slc: Tensor | None = None,
    landmarks: Tensor | None = None,
    *,
    chunk_size: int = 64,
    top_k: int = 32,
    normalize: str = "softmax",
    weight_heads: str = "kv",
    device: torch.device | str | None = None,
    backend: str = "auto",
    backward: bool = True,
    deterministic: bool = False,
    packed: bool = False,
) -> list[Row]:
    """The schedule of each kernel that `hsa_attention` would use for these tensors.

    Args:
        q, k, v, q_slc, landmarks: as for `hsa_attention`; only shapes, dtypes and the device are
            looked at, so tensors on the meta device do (give `device` then). All five or none.
        chunk_size, top_k, normalize, weight_heads, backend, deterministic: as for `hsa_attention`.
        device: where the call would run; default: q's.
        backward: include the gradient kernels.
        packed: as with cu_seqlens.

    Returns:
        One `Row` per kernel in launch order; nothing is compiled or launched. Where the gradients
        of attention may be one kernel or two, their rows say which it is and why. What
        `selection_feedback` has measured counts as in a call. Without tensors:
        every kernel that this process has run so far. Empty for ``backend="reference"``, and
        where there is no token or no chunk yet.

    Raises:
        InputError: some tensors missing, or shapes, dtypes or options that do not fit; a device
            that is neither a CPU nor a GPU of this machine.
    """
    given = {"q": q, "k": k, "v": v, "q_slc": q_slc, "landmarks": landmarks}
    missing = [name for name, x in given.items() if x is None]
    if len(missing) == len(given):
        return used()
    if q is None or k is None or v is None or q_slc is None or landmarks is None:
        raise InputError(f"explain needs {', '.join(missing)} too: give all five tensors, or none")
    validate.chunk_size(chunk_size)
    validate.at_least("top_k", top_k, 1)
    validate.one_of("backend", backend, validate.BACKENDS)
    dims: dict[str, int] = {"S": chunk_size, "K": top_k}
    checks.check_qkv(dims, q, k, v)
    if not packed:
        dims["C"] = dims["Lkv"] // chunk_size
    validate.shape(dims, "q_slc", q_slc, "B L Hr Dr")
    validate.shape(dims, "landmarks", landmarks, "B C Hm Dr")
    for tensors in ({"q": q, "k": k, "v": v}, {"q_slc": q_slc, "landmarks": landmarks}):
        validate.same_dtype(tensors, backend)
    validate.one_of("weight_heads", weight_heads, ("kv", "query"))
    dims["Hi"], dims["Hw"] = validate.selection_heads(
        dims["Hr"], dims["H"], dims["Hq"], None, weight_heads
    )
    return explain_shape(
        dims,
        dtype=DTYPE_NAMES[q.dtype],
        score_dtype=DTYPE_NAMES[q_slc.dtype],
        normalize=normalize,
        device=q.device if device is None else device,
        backend=backend,
        backward=backward,
        deterministic=deterministic,
        packed=packed,
    )


def explain_shape(
    dims: Mapping[str, int],
    *,
    dtype: str = "bf16",
    score_dtype: str | None = None,
    normalize: str = "softmax",
    device: torch.device | str = "cpu",
    backend: str = "auto",
    backward: bool = True,
    deterministic: bool = False,
    packed: bool = False,
) -> list[Row]:
    """`explain` for sizes by name.

    Args:
        dims: L, Hq, H, D, S and K; further B (1), Lkv (L), C (Lkv // S), Hr (H), Hm (Hr), Dr (D),
            Hi (min(Hr, H)) and Hw (max(Hr, H)).
        dtype, score_dtype: ``"fp32"``, ``"bf16"`` or ``"fp16"`` of q, k, v and of q_slc and
            landmarks (default: the same).
        normalize, device, backend, backward, deterministic, packed: as for `explain`.

    Returns, raises: as `explain`.
    """
    validate.one_of("normalize", normalize, validate.NORMALIZATIONS)
    validate.one_of("backend", backend, validate.BACKENDS)
    device = _known_device(device)
    sizes = _complete(dims)
    if resolve_backend(backend, device) == "reference" or calls.is_empty(sizes):
        return []
    validate.one_of("dtype", dtype, DTYPES)
    if score_dtype is not None:
        validate.one_of("score_dtype", score_dtype, DTYPES)
    deterministic = deterministic or torch_wants_deterministic()  # as `Executable.run`
    chunk, top_k = sizes.pop("S"), sizes["K"]
    mixed = normalize == "lse_mix"
    retrieve = RetrieveOptions(
        top_k=top_k,
        scale=default_scale(sizes["Dr"]),
        normalize=normalize,
        inverse=backward,
        own_indices=sizes["Hi"] == sizes["Hr"],
        dtype=score_dtype or dtype,
    )
    attention = AttentionOptions(
        chunk=chunk,
        scale=default_scale(sizes["D"]),
        local=mixed,
        packed=packed,
        inverse=True,
        dtype=dtype,
    )
    key = feedback.class_of(sizes, chunk, TORCH_DTYPES[dtype], device)
    union = None if deterministic else feedback.known(key)
    # Retrieval reads no selection, and its gradients walk every chunk's list whatever it holds.
    found: list[tuple[Executable | None, float | None]] = [
        (calls.forward(retrieve), None),
        (calls.forward(attention), union),
    ]
    if backward:
        of = ("weights", "local_weight") if mixed else ("weights",)
        inputs = calls.forward(retrieve).inputs, calls.forward(attention).inputs
        wrt = [n for n in attention_op.DIFFERENTIABLE if n in inputs[1]]
        found.append((calls.backward(attention, ("out",), tuple(wrt)), union))
        wrt = [n for n in retrieve_op.DIFFERENTIABLE if n in inputs[0]]
        found.append((calls.backward(retrieve, of, tuple(wrt)), None))
    rows: list[Row] = []
    for executable, measured in found:
        if executable is None:
            continue
        how = (sizes, device, backend, deterministic, measured)
        form = choose_form(executable.forms, *how)
        for group in form.groups:
            chosen = form.explained(select_schedule(group, *how))
            if group.kind == "attend" and chosen[2].schedule.order == "chunk" and not backward:
                (index,) = fuse_groups(calls.invert().program)
                rows.append(Row.of(*select_schedule(index, *how)))
            rows.append(Row.of(*chosen))
    return rows


def _complete(dims: Mapping[str, int]) -> dict[str, int]:
    unknown = sorted(set(dims) - set(KNOWN))
    missing = [name for name in NEEDED if name not in dims]
    if unknown or missing:
        raise InputError(
            f"dims {dict(dims)}: "
            + (f"unknown {', '.join(unknown)}; " if unknown else "")
            + (f"missing {', '.join(missing)}; " if missing else "")
            + f"give {', '.join(NEEDED)} and, where needed, {', '.join(KNOWN[len(NEEDED) :])}"
        )
    for name, size in dims.items():
        validate.at_least(name, size, 0 if name in MAY_BE_EMPTY else 1)
    validate.chunk_size(dims["S"], "S")
    sizes = {"B": 1, "Lkv": dims["L"], "Hr": dims["H"], "Dr": dims["D"], **dims}
    sizes.setdefault("C", sizes["Lkv"] // sizes["S"])
    sizes.setdefault("Hm", sizes["Hr"])
    sizes.setdefault("Hi", min(sizes["Hr"], sizes["H"]))
    sizes.setdefault("Hw", max(sizes["Hr"], sizes["H"]))
    sizes["R"] = sizes["L"]
    validate.head_dim(sizes["D"])
    validate.retrieval_dim(sizes["Dr"])
    validate.query_heads(sizes["Hq"], sizes["H"])
    for few, many in (("Hm", "Hr"), ("Hr", "Hw"), ("Hi", "Hw"), ("Hw", "Hq")):
        validate.divides((few, sizes[few]), (many, sizes[many]))
    return sizes


def _known_device(given: torch.device | str) -> torch.device:
    try:
        device = torch.device(given)
    except RuntimeError:  # torch knows no such kind
        device = torch.device("meta")
    if device.type == "cpu" or (device.type == "cuda" and torch.cuda.is_available()):
        return device
    raise InputError(f"device={str(given)!r}: give 'cpu', or 'cuda' on a machine with a GPU")


__all__ = ["Row", "explain", "explain_shape", "used"]
