"""The public door: `hsa_attention`, and its two halves `retrieve` and `chunk_attention`.

    out = hsa_attention(q, k, v, q_slc, landmarks, chunk_size=64, top_k=32)

    selection = retrieve(q_slc, landmarks, chunk_size=64, top_k=32, kv_heads=2)
    out = chunk_attention(q, k, v, selection, chunk_size=64)

Sizes: B batch, L query tokens, Lkv key tokens, S chunk size, C = Lkv // S chunks (the tail is
ignored), K top-k, Hq query heads, H KV heads, D head dim, Hr score heads, Hm landmark heads, Dr
retrieval dim, Hi index heads, Hw weight heads, R retrieval rows (L / query_block, rounded up).
Heads divide each other: query head hq uses KV head ``hq * H // Hq``, and so on.

Query token i of a sequence has position ``q_offset + i``, keys have positions 0 .. Lkv - 1. A chunk
is visible once it is complete and strictly past: ``(c + 1) * S <= position``. A token that sees no
chunk gets exactly 0 (or its local branch) and passes no gradient.

Sources: HSA-UltraLong arXiv 2511.23319 (sections 2 and 3), HSA arXiv 2504.16795, GCA arXiv
2410.01651, HiLS arXiv 2607.02980.
"""

from __future__ import annotations

from typing import Literal

from torch import Tensor

from hsa_compiler.runtime import (
    attention_op,
    checks,
    feedback,
    index_op,
    prepare,
    recording,
    retrieve_op,
    validate,
)
from hsa_compiler.runtime.op_support import refuse_transforms
from hsa_compiler.runtime.selection import InverseIndex, Selection, usable_inverse

Normalize = Literal["softmax", "stick_breaking", "softmax_off_by_one", "lse_mix"]
WeightHeads = Literal["kv", "query"]
Backend = Literal["auto", "triton", "tvm", "reference"]


def retrieve(
    q_slc: Tensor,
    landmarks: Tensor,
    *,
    chunk_size: int,
    top_k: int,
    normalize: Normalize | None = "softmax",
    kv_heads: int | None = None,
    weight_heads: WeightHeads = "kv",
    chunk_bias: Tensor | None = None,
    rank_scale: Tensor | None = None,
    local_lse: Tensor | None = None,
    window: int | None = None,
    q_offset: int | Tensor = 0,
    query_block: int = 1,
    cu_seqlens_q: Tensor | None = None,
    cu_seqlens_kv: Tensor | None = None,
    scale: float | None = None,
    noise_seed: int | Tensor | None = None,
    force_first: int = 0,
    force_last: int = 0,
    deterministic: bool = False,
    backend: Backend = "auto",
) -> Selection:
    """Choose the top-k visible chunks of every row and weigh them (arXiv 2511.23319, section 3).

    ``s[t, c] = scale * q_slc[t] . landmarks[c] + chunk_bias[c]``; the K largest visible chunks,
    ties to the newer one, ordered newest first; weights from their scores in fp32. A chunk whose
    score is -inf (chunk_bias may mask it) or NaN is not chosen; the result shows no NaN then.

    Args:
        q_slc: [B, R, Hr, Dr] retrieval queries, fp32, bf16 or fp16; Dr a multiple of 16 up to
            2048. Hr is 1 (shared by all heads), H or Hq.
        landmarks: [B, C, Hm, Dr] chunk landmarks, same dtype; Hm divides Hr.
        chunk_size: S, one of 16, 32, 64, 128.
        top_k: K >= 1; it may exceed C.
        normalize: ``"softmax"``; ``"stick_breaking"``: ``w_k = exp(s_k - sum over j <= k of
            softplus(s_j))``, newest first; ``"softmax_off_by_one"``: an extra logit 0;
            ``"lse_mix"``: an extra logit `local_lse`; or None: indices alone.
        kv_heads: H. Where Hr > H the score heads of a KV head share one selection, by their
            largest score. None: one selection per score head.
        weight_heads: ``"kv"`` for one weight per KV head, ``"query"`` for one per score head.
        chunk_bias: [B, C, Hm], added to the scores.
        rank_scale: a tensor with one element; its product with the slot number (newest = 0) is
            added to the logits of ``"softmax"`` and ``"lse_mix"``.
        local_lse: [B, R, heads], the log-sum-exp (natural log) of the local branch, for
            ``"lse_mix"``; with Hq heads the weights are per query head.
        window: W; leaves out chunks that lie wholly in the window: also ``c * S <= t - W``.
        q_offset: position of a sequence's first token: an int, or an integer tensor with one
            element, or one per packed sequence.
        query_block: tokens per row; a row sees what its first token sees (GCA).
        cu_seqlens_q, cu_seqlens_kv: integer [N + 1], starts of N packed sequences (B = 1); chunks
            restart at each. One given serves for both.
        scale: of the scores; default ``1 / sqrt(Dr)``.
        noise_seed: adds Gumbel noise, a function of this seed alone, to the selection (never to
            the weights); an int or an integer tensor, whose low 32 bits count. None: no noise.
        force_first, force_last: so many first and last visible chunks are always chosen.
        deterministic: use no atomic adds in the gradients.
        backend: ``"auto"`` (CUDA tensors: Triton; CPU tensors: TVM), ``"triton"``, ``"tvm"`` (on
            CUDA tensors: CUDA through TVM), or ``"reference"``, the slow interpreter.

    Returns:
        Selection; weights [B, R, Hw, K] with Hw = H (or Hr) for ``"kv"``.

    Raises:
        InputError: shapes, dtypes, devices, layouts or options that do not fit.
        MemoryEstimateError: the call cannot fit into memory.
        BackendError: the back end is missing.

    Autocast casts q_slc and landmarks. Gradients reach q_slc, landmarks, chunk_bias, rank_scale
    and local_lse through the weights and scores. Values of cu_seqlens and of a q_offset tensor are
    checked on a CPU only.
    """
    q_slc, landmarks = prepare.cast(q_slc, landmarks)  # type: ignore[assignment]
    packing = checks.Packing.of(cu_seqlens_q, cu_seqlens_kv)
    args = prepare.retrieve_args(
        q_slc,
        landmarks,
        dims={},
        chunk_size=chunk_size,
        top_k=top_k,
        normalize=normalize,
        kv_heads=kv_heads,
        query_heads=None,
        weight_heads=weight_heads,
        chunk_bias=chunk_bias,
        rank_scale=rank_scale,
        local_lse=local_lse,
        window=window,
        q_offset=q_offset,
        query_block=query_block,
        packing=packing,
        scale=scale,
        noise_seed=noise_seed,
        force_first=force_first,
        force_last=force_last,
        inverse=index_op.wants_inverse(landmarks, chunk_bias),
        deterministic=deterministic,
        backend=backend,
    )
    selection = _select(args)
    recording.note(selection, args, packing, chunk_size, q_offset, query_block)
    return selection


def chunk_attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    selection: Selection | Tensor,
    *,
    chunk_size: int,
    scale: float | None = None,
    local_out: Tensor | None = None,
    local_lse: Tensor | None = None,
    query_block: int = 1,
    cu_seqlens_kv: Tensor | None = None,
    plus_one: bool = False,
    hide_last: bool = False,
    deterministic: bool = False,
    backend: Backend = "auto",
) -> Tensor:
    """Attend to chosen chunks and fuse their outputs (arXiv 2504.16795, section 3).

    With weights: ``o = sum over slots of w_c * softmax(scale * q K_c^T) V_c``, plus
    ``local_weight * local_out``. Without (joint softmax): one softmax over all chosen chunks and
    the local branch, as in NSA, MoBA and InfLLM-v2. A chunk that is listed twice counts twice.

    Args:
        q: [B, L, Hq, D] queries, fp32, bf16 or fp16; D one of 16, 32, 64, 128, 256.
        k, v: [B, Lkv, H, D], same dtype; H divides Hq.
        selection: a Selection, or indices (int32 or int64 [B, R, Hi, K], -1 for empty slots) for
            the joint softmax. R = L / query_block, rounded up; Hi is 1, H or Hq.
        chunk_size: S, one of 16, 32, 64, 128; chunk c holds keys c * S .. c * S + S - 1.
        scale: of the attention logits; default ``1 / sqrt(D)``.
        local_out: [B, L, Hq, D], the local branch's output, with a selection made by
            ``normalize="lse_mix"`` or, with local_lse, in the joint softmax.
        local_lse: [B, L, Hq], its log-sum-exp (natural log); joint softmax only.
        query_block: tokens that share a row of the selection.
        cu_seqlens_kv: integer [N + 1], starts of packed sequences (B = 1); their chunks are
            numbered one sequence after the other.
        plus_one: 1 + sum(exp) in the denominator of every chunk.
        hide_last: no chunk's last token is attended to.
        deterministic: use no atomic adds in the gradients.
        backend: as for `retrieve`.

    Returns:
        [B, L, Hq, D], q's dtype. Rows without a chunk are exactly 0 (or the local branch).

    Raises:
        InputError: shapes, dtypes, devices, layouts or options that do not fit; chunk numbers out
            of range, on CPU tensors (on a GPU nobody looks: they read past the keys).
        MemoryEstimateError: the call cannot fit into memory.
        BackendError: the back end is missing.

    Autocast casts q, k, v and local_out. Gradients reach q, k, v, the weights, local_weight,
    local_out and local_lse.
    """
    chosen = selection if isinstance(selection, Selection) else Selection(selection)
    q, k, v, local_out = prepare.cast(q, k, v, local_out)  # type: ignore[assignment]
    dims: dict[str, int] = {}
    validate.flag("plus_one", plus_one)
    validate.flag("hide_last", hide_last)
    validate.flag("deterministic", deterministic)
    checks.check_attention(
        dims, q, k, v, local_out, chunk_size=chunk_size, scale=scale, backend=backend
    )
    indices, weights, local_weight = chosen.indices, chosen.weights, chosen.local_weight
    checks.check_selection(dims, q, indices, weights, local_weight, query_block)
    checks.check_local(dims, q, weights, local_weight, local_out, local_lse)
    packing = checks.Packing(None, cu_seqlens_kv)
    checks.check_packing(packing, dims, query_block, chunk_size, ("q", q))
    prepare.estimate_attention(q, k, v, dims, dims["Hi"], dims.get("Hw", 0), backend)
    chunks = checks.chunk_count(dims["Lkv"], chunk_size, cu_seqlens_kv)
    args = prepare.attention_args(
        q,
        k,
        v,
        indices,
        weights,
        local_out=local_out,
        local_weight=local_weight,
        local_lse=local_lse,
        chunk_size=chunk_size,
        scale=scale,
        query_block=query_block,
        cu_seqlens_kv=cu_seqlens_kv,
        chunks=chunks,
        inverse=usable_inverse(chosen, dims, chunks),
        plus_one=plus_one,
        hide_last=hide_last,
        deterministic=deterministic,
        backend=backend,
    )
    return _attend(args, chunks)


def hsa_attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    q_slc: Tensor,
    landmarks: Tensor,
    *,
    chunk_size: int,
    top_k: int,
    normalize: Normalize = "softmax",
    weight_heads: WeightHeads = "kv",
    chunk_bias: Tensor | None = None,
    rank_scale: Tensor | None = None,
    local_out: Tensor | None = None,
    local_lse: Tensor | None = None,
    window: int | None = None,
    q_offset: int | Tensor = 0,
    cu_seqlens_q: Tensor | None = None,
    cu_seqlens_kv: Tensor | None = None,
    scale: float | None = None,
    noise_seed: int | Tensor | None = None,
    deterministic: bool = False,
    backend: Backend = "auto",
    return_selection: bool = False,
) -> Tensor | tuple[Tensor, Selection]:
    """Hierarchical sparse attention: `retrieve`, then `chunk_attention` (arXiv 2511.23319).

    Args:
        q: [B, L, Hq, D] queries, fp32, bf16 or fp16; D one of 16, 32, 64, 128, 256.
        k, v: [B, Lkv, H, D], same dtype; H divides Hq.
        q_slc: [B, L, Hr, Dr] retrieval queries; Hr is 1, H or Hq (Hq needs per-query weights).
        landmarks: [B, C, Hm, Dr], C = Lkv // S (packed: the chunks of all sequences), q_slc's
            dtype; Hm divides Hr.
        chunk_size, top_k, normalize, chunk_bias, rank_scale, window, q_offset, cu_seqlens_q,
            cu_seqlens_kv, noise_seed, deterministic, backend: as for `retrieve`.
        weight_heads: ``"kv"`` for one weight per KV head, ``"query"`` for one per query head.
        local_out, local_lse: [B, L, Hq, D] and [B, L, Hq] (or H, or 1) of the sliding-window
            branch; both exactly with ``normalize="lse_mix"``, which weighs the branch beside the
            chunks. An LSE per query head makes the weights per query head.
        scale: of the attention logits; default ``1 / sqrt(D)`` (scores: ``1 / sqrt(Dr)``).
        return_selection: also return what was selected.

    Returns:
        out [B, L, Hq, D] in q's dtype, or (out, Selection).

    Raises:
        InputError: shapes, dtypes, devices, layouts or options that do not fit; before any launch.
        MemoryEstimateError: the call cannot fit into memory; before any allocation.
        BackendError: the back end is missing.

    Autocast casts all five tensors and local_out. Second derivatives, vmap, the gradients of
    torch.func and forward-mode AD raise InputError.
    """
    # Without weights nothing would learn to retrieve; `retrieve` alone takes None.
    validate.one_of("normalize", normalize, validate.NORMALIZATIONS)
    validate.flag("return_selection", return_selection)
    checks.check_mixed(normalize, local_out)
    q, k, v, local_out = prepare.cast(q, k, v, local_out)  # type: ignore[assignment]
    q_slc, landmarks = prepare.cast(q_slc, landmarks)  # type: ignore[assignment]
    packing = checks.Packing.of(cu_seqlens_q, cu_seqlens_kv)
    dims: dict[str, int] = {}
    checks.check_attention(
        dims, q, k, v, local_out, chunk_size=chunk_size, scale=scale, backend=backend
    )
    dims["R"] = dims["L"]
    if packing.q is None:
        dims["C"] = dims["Lkv"] // chunk_size
    checks.check_devices(q, q_slc=q_slc, landmarks=landmarks)
    first = prepare.retrieve_args(
        q_slc,
        landmarks,
        dims=dims,
        chunk_size=chunk_size,
        top_k=top_k,
        normalize=normalize,
        kv_heads=dims["H"],
        query_heads=dims["Hq"],
        weight_heads=weight_heads,
        chunk_bias=chunk_bias,
        rank_scale=rank_scale,
        local_lse=local_lse,
        window=window,
        q_offset=q_offset,
        query_block=1,
        packing=packing,
        scale=None,
        noise_seed=noise_seed,
        force_first=0,
        force_last=0,
        inverse=index_op.wants_inverse(landmarks, chunk_bias, k, v),
        deterministic=deterministic,
        backend=backend,
        qkv=(q, k, v),
    )
    selection = _select(first)
    recording.note(selection, first, packing, chunk_size, q_offset)
    second = prepare.attention_args(
        q,
        k,
        v,
        selection.indices,
        selection.weights,
        local_out=local_out,
        local_weight=selection.local_weight,
        local_lse=None,
        chunk_size=chunk_size,
        scale=scale,
        query_block=1,
        cu_seqlens_kv=packing.kv,
        chunks=dims["C"],
        inverse=None if selection.inverse is None else selection.inverse[:2],
        plus_one=False,
        hide_last=False,
        deterministic=deterministic,
        backend=backend,
    )
    out = _attend(second, dims["C"])
    return (out, selection) if return_selection else out


def _select(args: prepare.RetrieveArgs) -> Selection:
    refuse_transforms("retrieve", args)
    weights, indices, scores, local_weight, order, offsets = retrieve_op.retrieve(*args)
    inverse = InverseIndex(order, offsets, indices, index_op.version_of(indices))
    selection = Selection(indices, inverse=inverse if args.inverse else None)
    if args.normalize == retrieve_op.SELECT_ONLY:
        return selection
    mixed = args.normalize == "lse_mix"
    return selection._replace(
        weights=weights, scores=scores, local_weight=local_weight if mixed else None
    )


def _attend(args: prepare.AttentionArgs, chunks: int) -> Tensor:
    refuse_transforms("chunk_attention", args)
    args = args._replace(union=feedback.observe(args))
    out: Tensor = attention_op.chunk_attention(*index_op.indexed(args, chunks))[0]
    return out
