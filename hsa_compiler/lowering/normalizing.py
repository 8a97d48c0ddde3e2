"""Weights of slots from their scores, for one row ``[K]`` or a tile of rows ``[K, rows]``: slots
lie along axis 0, so that the same lines serve both."""

from __future__ import annotations

from dataclasses import dataclass

from hsa_compiler.ir import Op
from hsa_compiler.lowering.common import LN2, LOG2E, Lowering
from hsa_compiler.tile.builder import TileBuilder
from hsa_compiler.tile.ir import Var


@dataclass(frozen=True)
class Slots:
    """Scores of slots, which of them are filled, and their numbers from the newest on; rows lie
    along axis 1. Unfilled slots may stand anywhere and have any score."""

    b: TileBuilder
    score: Var
    valid: Var
    number: Var

    def over(self, x: Var) -> Var:
        """A number per row beside the slots."""
        return x.as_row if x.shape else x


@dataclass(frozen=True)
class Weights:
    """Weights of slots, 0 where unfilled, and of the local branch where there is one."""

    slots: Var
    local: Var | None


def normalize(low: Lowering, op: Op, slots: Slots, place: Var, mask: Var | None) -> Weights:
    """The op's weights of one weight head.

    `place`, of the rows and this head in a ``[B, R, Hw]`` tensor, and `mask` (rows that exist) are
    scalars, or ``[rows]``.
    """
    b = slots.b
    x = b.where(slots.valid, slots.score, float("-inf"), "b_x")
    rank_scale = low.optional(b, op, "rank_scale")
    if rank_scale is not None:
        scale = b.load(rank_scale, place, mask, name="b_rank")
        x = x + slots.over(scale) * slots.number.to("fp32")
    local_lse = low.optional(b, op, "local_lse")
    b_lse = None if local_lse is None else b.load(local_lse, place, mask, name="b_local_lse")
    kind = str(op.attr("kind"))
    if kind == "stick_breaking":
        return Weights(_stick_breaking(slots, x), None)
    weights = _softmax(slots, x, 0.0 if kind == "softmax_off_by_one" else b_lse)
    return Weights(weights, None if b_lse is None else _local_weight(slots, x, b_lse))


def _softmax(slots: Slots, x: Var, extra: Var | float | None) -> Var:
    """Softmax over slots, with an optional extra logit; 0 where nothing is chosen."""
    b = slots.b
    top = b.maximum(b.max(x), -1e30 if extra is None else extra, "b_max")
    top = b.maximum(top, -1e30, "b_max")
    b_e = b.exp2((x - slots.over(top)) * LOG2E, "b_e")
    total = b.sum(b_e)
    if extra is not None:
        shifted = (extra - top) * LOG2E if isinstance(extra, Var) else -top * LOG2E
        total = total + b.exp2(shifted)
    # An empty row sums to 0 and divides by 1.
    return b_e / slots.over(b.where(total > 0.0, total, 1.0))


def _local_weight(slots: Slots, x: Var, local_lse: Var) -> Var:
    """The share of the local branch: 1 where no chunk is chosen."""
    b = slots.b
    top = b.maximum(b.maximum(b.max(x), local_lse), -1e30, "b_max")
    total = b.sum(b.exp2((x - slots.over(top)) * LOG2E))
    mine = b.exp2((local_lse - top) * LOG2E)
    share = mine / b.where(total + mine > 0.0, total + mine, 1.0)
    return b.where(total > 0.0, share, 1.0, "b_local_w")


def _stick_breaking(slots: Slots, x: Var) -> Var:
    """``w_k = exp(x_k - sum over j <= k of softplus(x_j))``; empty slots break off nothing."""
    b = slots.b
    safe = b.where(slots.valid, x, 0.0, "b_x")
    b_sp = b.where(slots.valid, softplus(b, safe), 0.0, "b_sp")
    b_w = b.exp2((safe - b.cumsum(b_sp)) * LOG2E)
    return b.where(slots.valid, b_w, 0.0, "b_w")


def softplus(b: TileBuilder, x: Var) -> Var:
    """``log(1 + exp(x))`` without overflow."""
    tail = b.log2(b.exp2(-b.unary("abs", x) * LOG2E) + 1.0) * LN2
    return b.maximum(x, 0.0) + tail
