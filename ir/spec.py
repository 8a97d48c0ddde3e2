"""The op table: operands, results, shapes, dtypes, attributes and meaning of every op, once.

A row reads `name: dtype[dims]`. The letters of `dims` are local to the op: the same letter means
the same size. `T` is the program's data dtype; "?" marks an optional operand; `name?x` is a
result that is present exactly when operand `x` is, or attribute `x` is true. Letters that stand
in results only (the index heads of `select`) are chosen by whoever builds the op. `[...]` is any
shape, the same wherever it stands.

Heads divide each other: query head hq uses KV head hq*H//Hq, weight head hq*Hw//Hq and index head
hq*Hi//Hq; weight head hw uses score head hw*Hr//Hw; score head hr uses landmark head hr*Hm//Hr
and index head hr*Hi//Hr. Token t of an op with `query_block` uses retrieval row t//query_block.
An empty slot has index -1, logit and lse -inf, weight 0, and passes no gradient.

`group` is the kernel an op belongs to; None marks an op that every kernel reading it recomputes,
so that its results (scores, one output per slot, their gradients) never reach memory. No op belongs
to `retrieve` and `attend_grad`: they are `select` and `weigh`, and the two gradients of `attend`,
together, where fusion finds that they may be one kernel.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

from .op_spec import DTYPES, FLOATS, Attr, Check, OpSpec, Scalar, patterns

__all__ = ["DTYPES", "FLOATS", "GROUP_KINDS", "NORMALIZATIONS", "OPS", "OpSpec", "Scalar"]

GROUP_KINDS = (
    "retrieve",
    "select",
    "weigh",
    "invert_index",
    "attend",
    "attend_grad_q",
    "attend_grad_kv",
    "attend_grad",
    "weigh_grad",
    "landmark_grad",
)  # in the order of their dependencies

OPS: dict[str, OpSpec] = {}


def _op(
    kind: str,
    operands: str,
    results: str,
    does: str,
    *,
    group: str | None,
    attrs: Mapping[str, Attr] | None = None,
    divides: tuple[tuple[str, str], ...] = (),
    check: Check | None = None,
) -> None:
    OPS[kind] = OpSpec(
        kind,
        patterns(operands),
        patterns(results),
        dict(attrs or {}),
        group,
        divides,
        check,
        does,
    )


# ------------------------------------------------------------------------------ attributes
_SCALE = {"scale": Attr(float)}
_ROWS = {"query_block": Attr(int, 1, least=1)}
_ATTEND = {
    "chunk": Attr(int, least=1),  # tokens in a chunk
    "scale": Attr(float),
    **_ROWS,
    "plus_one": Attr(bool, False),  # 1 + sum(exp) in the inner denominator
    "hide_last": Attr(bool, False),  # the chunk's last token is not attended to
}
_INVERSE = "order?: i32[B,Hi,R*K]; offsets?: i32[B,Hi,C+1]"
NORMALIZATIONS = ("softmax", "stick_breaking", "softmax_off_by_one", "lse_mix")
_KIND = {"kind": Attr(str, "softmax", NORMALIZATIONS)}


def _check_select(operands: Collection[str], attrs: Mapping[str, Scalar]) -> str | None:
    forced = int(attrs["force_first"]) + int(attrs["force_last"])
    if forced > int(attrs["k"]):
        return f"expected force_first + force_last <= k = {attrs['k']}, given {forced}"
    return None


def _check_normalize(operands: Collection[str], attrs: Mapping[str, Scalar]) -> str | None:
    kind = attrs["kind"]
    if ("local_lse" in operands) != (kind == "lse_mix"):
        return f"operand local_lse: expected exactly with kind 'lse_mix', given kind {kind!r} " + (
            "with it" if "local_lse" in operands else "without it"
        )
    if "rank_scale" in operands and kind not in ("softmax", "lse_mix"):
        return (
            "operand rank_scale: expected only with kind 'softmax' or 'lse_mix', "
            f"given kind {kind!r}"
        )
    return None


def _check_normalize_grad(operands: Collection[str], attrs: Mapping[str, Scalar]) -> str | None:
    kind = attrs["kind"]
    if ("logits" in operands) != (kind == "stick_breaking"):
        return (
            f"operand logits: expected exactly with kind 'stick_breaking', given kind "
            f"{kind!r} " + ("with it" if "logits" in operands else "without it")
        )
    if ("local_weight" in operands) != (kind == "lse_mix"):
        return f"operand local_weight: expected exactly with kind 'lse_mix', given kind {kind!r}"
    if not {"d_weights", "d_local_weight"} & set(operands):
        return "operand d_weights: expected d_weights, d_local_weight or both, given neither"
    if "d_local_weight" in operands and kind != "lse_mix":
        return f"operand d_local_weight: expected only with kind 'lse_mix', given kind {kind!r}"
    if attrs["rank_scale"] and kind not in ("softmax", "lse_mix"):
        return f"attribute rank_scale: expected only with softmax or lse_mix, given kind {kind!r}"
    return None


def _check_inverse(operands: Collection[str], attrs: Mapping[str, Scalar]) -> str | None:
    if ("order" in operands) != ("offsets" in operands):
        return "operands order and offsets: expected both or neither, given one"
    return None


def _check_local(operands: Collection[str], attrs: Mapping[str, Scalar]) -> str | None:
    if ("local_out" in operands) != ("local_lse" in operands):
        return "operands local_out and local_lse: expected both or neither, given one"
    return None


# ------------------------------------------------------------------------- visibility, memory
_op(
    "interval",
    "kv_len: i32[B]",
    "lo: i32[B,R]; hi: i32[B,R]",
    """The visible chunks of the last R of kv_len tokens: row r has position t = kv_len - R + r.

    lo = 0; hi = max(t, 0) // chunk, with a window > 0 at most max((t - window) // chunk + 1, 0).
    kv_len is read where the kernel runs, so that one captured launch serves a growing cache.""",
    attrs={"chunk": Attr(int, least=1), "window": Attr(int, 0, least=0)},
    group=None,
)

_op(
    "page",
    "pool: T[P,Z,H,D]; table: i32[B,N]",
    "rows: T[B,M,H,D]",
    """Rows that lie in pages: row m of b is pool[table[b, m // Z], m % Z]; M = N * Z.

    Never stored: kernels look addresses up in the table. Entries out of range must not be read.""",
    group=None,
)

# ------------------------------------------------------------------------------- retrieval
_op(
    "score",
    "q: T[B,R,Hr,Dr]; landmarks: T[B,C,Hm,Dr]; bias?: fp32[B,C,Hm]",
    "scores: fp32[B,R,Hr,C]",
    "scale * q . landmark + bias",
    attrs=_SCALE,
    divides=(("Hm", "Hr"),),
    group=None,
)

_op(
    "select",
    "scores: fp32[B,R,Hr,C]; lo: i32[B,R]; hi: i32[B,R]; seed?: i32[1]; row_lse?: fp32[B,R,Hr]",
    "indices: i32[B,R,Hi,K]",
    """The k best visible chunks (lo <= c < hi), newest (largest) first, then -1.

    A chunk's value: per score head s, or exp(s - row_lse); over the Hr//Hi heads of an index head
    their max, sum, or the first alone ("single"); + Gumbel noise where a seed is given. Forced
    chunks (the first and last so many visible ones) rank above all; of equal values the newer
    chunk wins; a value of -inf is never chosen unless forced. Not differentiable.
    Noise, in u32: mix(x): x ^= x>>16; x *= 0x7feb352d; x ^= x>>15; x *= 0x846ca68b; x ^= x>>16;
    row = (b*R + r)*Hi + h; bits = mix(c + mix(row + mix(seed)));
    u = ((bits>>9) + 0.5) * 2^-23 (exact in fp32, never 0 or 1); noise = -log(-log(u)).""",
    attrs={
        "k": Attr(int, least=1),
        "reduce": Attr(str, "max", ("max", "sum", "single")),
        "force_first": Attr(int, 0, least=0),
        "force_last": Attr(int, 0, least=0),
    },
    divides=(("Hi", "Hr"),),
    check=_check_select,
    group="select",
)

_op(
    "gather",
    "scores: fp32[B,R,Hr,C]; indices: i32[B,R,Hi,K]",
    "slots: fp32[B,R,Hr,K]",
    "The scores of the chosen chunks; -inf at empty slots.",
    divides=(("Hi", "Hr"),),
    group="weigh",
)

_op(
    "normalize",
    "logits: fp32[B,R,Hx,K]; rank_scale?: fp32[B,R,Hw]; local_lse?: fp32[B,R,Hw]",
    "weights: fp32[B,R,Hw,K]; local_weight?local_lse: fp32[B,R,Hw]",
    """Weights of the slots of a row, from x = logits + rank_scale * slot number (newest = 0).

    softmax; softmax_off_by_one: one more logit 0; lse_mix: one more logit local_lse, whose weight
    is local_weight; stick_breaking: w_k = exp(x_k - sum over j <= k of softplus(x_j)).
    A row of empty slots: weights 0, local_weight 1.""",
    attrs=_KIND,
    divides=(("Hx", "Hw"),),
    check=_check_normalize,
    group="weigh",
)

# ------------------------------------------------------------------------------- attention
_op(
    "attend",
    "q: T[B,L,Hq,D]; k: T[B,Lkv,H,D]; v: T[B,Lkv,H,D]; indices: i32[B,R,Hi,K]; "
    f"chunk_start?: i32[C]; {_INVERSE}",
    "parts: T[B,L,Hq,K,D]; lse: fp32[B,L,Hq,K]",
    """softmax(scale * q K_c^T) V_c for each slot's chunk by itself, and the log of its denominator.

    Chunk c holds the kv tokens chunk_start[c] .. + chunk - 1 (absent: c * chunk). order and offsets
    say nothing new: they are invert_index of the indices, for kernels that walk chunks.""",
    attrs=_ATTEND,
    divides=(("H", "Hq"), ("Hi", "Hq")),
    check=_check_inverse,
    group=None,
)

_op(
    "fuse",
    "weights: fp32[B,R,Hw,K]; parts: T[B,L,Hq,K,D]",
    "out: T[B,L,Hq,D]",
    "sum over slots of weight * part",
    attrs=_ROWS,
    divides=(("Hw", "Hq"),),
    group="attend",
)

_op(
    "merge_local",
    "out: T[B,L,Hq,D]; local_out: T[B,L,Hq,D]; local_weight: fp32[B,R,Hw]",
    "merged: T[B,L,Hq,D]",
    "out + local_weight * local_out",
    attrs=_ROWS,
    divides=(("Hw", "Hq"),),
    group="attend",
)

_op(
    "fuse_joint",
    "parts: T[B,L,Hq,K,D]; lse: fp32[B,L,Hq,K]; local_out?: T[B,L,Hq,D]; local_lse?: fp32[B,L,Hq]",
    "out: T[B,L,Hq,D]; total_lse: fp32[B,L,Hq]",
    """Joint softmax over all slots: sum of exp(lse - total_lse) * part, and the local branch alike.

    total_lse = logsumexp over the slots and local_lse; -inf, and out 0, where nothing is seen.
    total_lse is saved for the backward pass and takes no gradient.""",
    check=_check_local,
    group="attend",
)

# ------------------------------------------------------------------------------- gradients
_op(
    "add",
    "a: fp32[...]; b: fp32[...]",
    "sum: fp32[...]",
    "a + b, where slots, weights or local_weight receive two gradients",
    group="weigh_grad",
)

_op(
    "invert_index",
    "indices: i32[B,R,Hi,K]",
    "order: i32[B,Hi,R*K]; offsets: i32[B,Hi,C+1]",
    """Which (row, slot) pairs chose each chunk, by counting sort.

    order lists pair ids r*K + slot by chunk, ascending inside a chunk; offsets are the exclusive
    prefix counts. Entries past offsets[C] are unspecified (the interpreter writes -1).""",
    group="invert_index",
)

_op(
    "scatter_add",
    "d_slots: fp32[B,R,Hr,K]; indices: i32[B,R,Hi,K]",
    "d_scores: fp32[B,R,Hr,C]",
    "The gradient of gather: slots added into a row of C zeros. Never stored.",
    divides=(("Hi", "Hr"),),
    group=None,
)

_op(
    "score_grad_q",
    "d_scores: fp32[B,R,Hr,C]; landmarks: T[B,C,Hm,Dr]",
    "d_q: T[B,R,Hr,Dr]",
    "scale * sum over chunks of d_score * landmark",
    attrs=_SCALE,
    divides=(("Hm", "Hr"),),
    group="weigh_grad",
)

_op(
    "score_grad_landmarks",
    "d_scores: fp32[B,R,Hr,C]; q: T[B,R,Hr,Dr]; order: i32[B,Hi,R*K]; offsets: i32[B,Hi,C+1]",
    "d_landmarks: T[B,C,Hm,Dr]; d_bias?bias: fp32[B,C,Hm]",
    """scale * sum over rows of d_score * q; d_bias the sum of d_score.

    order and offsets list the rows whose d_score may differ from 0.""",
    attrs={**_SCALE, "bias": Attr(bool, False)},
    divides=(("Hm", "Hr"), ("Hi", "Hr")),
    group="landmark_grad",
)

_op(
    "normalize_grad",
    "weights: fp32[B,R,Hw,K]; d_weights?: fp32[B,R,Hw,K]; logits?: fp32[B,R,Hx,K]; "
    "local_weight?: fp32[B,R,Hw]; d_local_weight?: fp32[B,R,Hw]",
    "d_logits: fp32[B,R,Hx,K]; d_rank_scale?rank_scale: fp32[B,R,Hw]; "
    "d_local_lse?local_weight: fp32[B,R,Hw]",
    """From the weights alone; stick_breaking needs the logits too.

    dot = sum of w * dw (+ local_weight * d_local_weight). All but stick_breaking: dx = w (dw - dot)
    and d_local_lse = local_weight (d_local_weight - dot); stick_breaking:
    dx_i = w_i dw_i - sigmoid(x_i) * sum over k >= i of w_k dw_k.
    d_logits = dx summed over the weight heads of a logit head; d_rank_scale = sum of slot * dx.""",
    attrs={**_KIND, "rank_scale": Attr(bool, False)},
    divides=(("Hx", "Hw"),),
    check=_check_normalize_grad,
    group="weigh_grad",
)

_op(
    "fuse_grad_weights",
    "d_out: T[B,L,Hq,D]; parts: T[B,L,Hq,K,D]",
    "d_weights: fp32[B,R,Hw,K]",
    "d_out . part, summed over the tokens of a row and the query heads of a weight head",
    attrs=_ROWS,
    divides=(("Hw", "Hq"),),
    group="attend_grad_q",
)

_op(
    "fuse_grad_parts",
    "d_out: T[B,L,Hq,D]; weights: fp32[B,R,Hw,K]",
    "d_parts: T[B,L,Hq,K,D]",
    "weight * d_out",
    attrs=_ROWS,
    divides=(("Hw", "Hq"),),
    group=None,
)

_op(
    "merge_local_grad",
    "d_out: T[B,L,Hq,D]; local_out: T[B,L,Hq,D]; local_weight: fp32[B,R,Hw]",
    "d_local_out: T[B,L,Hq,D]; d_local_weight: fp32[B,R,Hw]",
    "local_weight * d_out;  d_out . local_out summed as in fuse_grad_weights",
    attrs=_ROWS,
    divides=(("Hw", "Hq"),),
    group="attend_grad_q",
)

_op(
    "row_dot",
    "a: T[B,L,Hq,D]; b: T[B,L,Hq,D]",
    "delta: fp32[B,L,Hq]",
    "a . b: with (out, d_out) the term that every slot of a joint softmax subtracts",
    group="attend_grad_q",
)

_op(
    "fuse_joint_grad",
    "d_out: T[B,L,Hq,D]; parts: T[B,L,Hq,K,D]; lse: fp32[B,L,Hq,K]; total_lse: fp32[B,L,Hq]; "
    "delta: fp32[B,L,Hq]",
    "d_parts: T[B,L,Hq,K,D]; d_lse: fp32[B,L,Hq,K]",
    """With w = exp(lse - total_lse): w * d_out and w * (d_out . part - delta).

    Inside a chunk both together are dS = w P (dP - delta): one pass, nothing kept per slot.""",
    group=None,
)

_op(
    "local_joint_grad",
    "d_out: T[B,L,Hq,D]; delta: fp32[B,L,Hq]; total_lse: fp32[B,L,Hq]; local_out: T[B,L,Hq,D]; "
    "local_lse: fp32[B,L,Hq]",
    "d_local_out: T[B,L,Hq,D]; d_local_lse: fp32[B,L,Hq]",
    "fuse_joint_grad for the local branch: its output and its lse",
    group="attend_grad_q",
)

_op(
    "attend_grad_q",
    "q: T[B,L,Hq,D]; k: T[B,Lkv,H,D]; v: T[B,Lkv,H,D]; indices: i32[B,R,Hi,K]; "
    f"chunk_start?: i32[C]; {_INVERSE}; d_parts: T[B,L,Hq,K,D]; d_lse?: fp32[B,L,Hq,K]",
    "d_q: T[B,L,Hq,D]",
    """With P = exp(S - lse), dP = d_part V^T: dS = P (dP - rowsum(P dP) + d_lse); scale * dS K.""",
    attrs=_ATTEND,
    divides=(("H", "Hq"), ("Hi", "Hq")),
    check=_check_inverse,
    group="attend_grad_q",
)

_op(
    "attend_grad_kv",
    "q: T[B,L,Hq,D]; k: T[B,Lkv,H,D]; v: T[B,Lkv,H,D]; order: i32[B,Hi,R*K]; "
    "offsets: i32[B,Hi,C+1]; chunk_start?: i32[C]; d_parts: T[B,L,Hq,K,D]; "
    "d_lse?: fp32[B,L,Hq,K]",
    "d_k: T[B,Lkv,H,D]; d_v: T[B,Lkv,H,D]",
    "dS as in attend_grad_q: scale * dS^T q and P^T d_part, summed over the pairs of each chunk",
    attrs=_ATTEND,
    divides=(("H", "Hq"), ("Hi", "Hq")),
    group="attend_grad_kv",
)
