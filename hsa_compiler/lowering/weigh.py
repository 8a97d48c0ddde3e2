"""Weights of the selected chunks and the gradient back to retrieval queries: one program per
retrieval row and head, over the row's K slots at once.

The scores of the selected chunks are computed again from their landmarks: K dot products a row,
instead of L x C scores kept in memory.
"""

from __future__ import annotations

from hsa_compiler.lowering.common import LOG2E, LoweredGroup, Lowering, below, both, share_head
from hsa_compiler.lowering.memory import Paging, memory
from hsa_compiler.lowering.normalizing import Slots, normalize
from hsa_compiler.tile.builder import TileBuilder
from hsa_compiler.tile.ir import Kernel, Pointer, Var


class SlotRow:
    """One retrieval row: its slots, and the score, landmark and index heads of a program, which
    stands for one of `heads` heads; `at` are its row, head and batch where they are no grid axes.
    """

    def __init__(
        self, low: Lowering, b: TileBuilder, heads: int, at: tuple[Var, Var, Var] | None = None
    ) -> None:
        self.low, self.b, self.heads = low, b, heads
        self.score_heads, self.landmark_heads = low.dim("Hr"), low.dim("Hm")
        self.index_heads, self.dim, self.top_k = low.index_heads, low.dim("Dr"), low.dim("K")
        self.i_row, self.i_head, self.i_batch = at or (
            b.program_id(0, "i_row"),
            b.program_id(1, "i_head"),
            b.program_id(2, "i_batch"),
        )
        self.place = (self.i_batch * b.scalar("R")).to("i64") + self.i_row
        self.score_head = share_head(self.i_head, self.score_heads, heads)
        self.landmark_head = share_head(self.score_head, self.landmark_heads, self.score_heads)
        self.kept = low.caps.pad(self.top_k)
        self.o_slot = b.arange(self.kept, "o_slot")
        self.m_slot = below(self.o_slot, self.top_k, self.kept)
        self.step = min(low.caps.pad(self.dim), low.schedule.dim_block)

    def load_chosen(self, indices: Pointer) -> None:
        """Read the row's chunk numbers; `valid` marks slots that hold one."""
        head = share_head(self.score_head, self.index_heads, self.score_heads)
        base = (self.place * self.index_heads + head) * self.top_k
        chosen = self.b.load(indices, base + self.o_slot, self.m_slot, other=-1, name="b_chosen")
        self.chosen, self.valid = chosen, chosen >= 0

    def slots(self, head: Var | int, heads: int) -> Var:
        """Offsets [K] into a ``[B, R, heads, K]`` tensor."""
        return (self.place * heads + head) * self.top_k + self.o_slot

    def landmarks(
        self, pointer: Pointer, start: Var, paging: Paging | None = None
    ) -> tuple[Var, Var, Var | None]:
        """Landmarks ``[K, step]`` of the slots from dim `start` on, the dims, and their mask."""
        b = self.b
        o_dim = start + b.arange(self.step, "o_dim")
        m_dim = None if self.dim % self.step == 0 else o_dim < self.dim
        if paging is None:
            chunk = (self.i_batch * b.scalar("C")).to("i64") + self.chosen
        else:
            chunk = paging.place(self.i_batch, self.chosen, self.valid)
        base = (chunk * self.landmark_heads + self.landmark_head) * self.dim
        mask = both(b, self.valid.as_column, None if m_dim is None else m_dim.as_row)
        b_l = b.load(pointer, base.as_column + o_dim.as_row, mask, name="b_lmk").to("fp32")
        return b_l, o_dim, m_dim

    def query_base(self) -> Var:
        """Offset of this row's retrieval query in ``[B, R, Hr, Dr]``."""
        return (self.place * self.score_heads + self.score_head) * self.dim


def lower_weigh(low: Lowering) -> LoweredGroup:
    """``score + gather + normalize`` -> one kernel."""
    return LoweredGroup((weigh_kernel(low),))


def weigh_kernel(low: Lowering) -> Kernel:
    """The kernel that weighs chunks which were selected before."""
    b = TileBuilder("weigh")
    score, weight_heads = low.op("score"), low.dim("Hw")
    row = SlotRow(low, b, weight_heads)
    row.load_chosen(low.operand(b, low.op("gather"), "indices"))
    q = low.operand(b, score, "q")
    landmarks, paging = memory(low, b, score, "landmarks")

    zero = b.full((row.kept,), 0.0, "fp32", "b_score")
    with b.loop(0, row.dim, row.step, name="i_dim", carry=[("b_score", zero)]) as loop:
        b_l, o_dim, m_dim = row.landmarks(landmarks, loop.index, paging)
        b_q = b.load(q, row.query_base() + o_dim, m_dim, name="b_q").to("fp32")
        loop.yield_(loop.carried[0] + b.sum(b_l * b_q.as_row, 1))
    b_score = loop.carried[0] * float(score.attr("scale"))
    bias = low.optional(b, score, "bias")
    if bias is not None:
        chunk = (row.i_batch * b.scalar("C")).to("i64") + row.chosen
        offsets = chunk * row.landmark_heads + row.landmark_head
        b_score = b_score + b.load(bias, offsets, row.valid, name="b_bias")
    write_weights(row, b.where(row.valid, b_score, float("-inf"), "b_score"))
    return b.finish(("R", weight_heads, "B"))


def write_weights(row: SlotRow, b_score: Var) -> None:
    """Store what the group returns of a weight head, given the scores of its slots (-inf at empty
    ones): slots, weights and the local branch's weight."""
    low, b, weight_heads = row.low, row.b, row.heads
    gather, op = low.op("gather"), low.op("normalize")
    if low.is_output(gather, "slots"):
        _store_slots(low, row, b_score, weight_heads)
    place = row.place * weight_heads + row.i_head
    found = normalize(low, op, Slots(b, b_score, row.valid, row.o_slot), place, None)
    weights = low.result(b, op, "weights")
    b.store(weights, row.slots(row.i_head, weight_heads), found.slots, row.m_slot)
    if found.local is not None and low.is_output(op, "local_weight"):
        b.store(low.result(b, op, "local_weight"), place, found.local)


def _store_slots(low: Lowering, row: SlotRow, b_score: Var, weight_heads: int) -> None:
    """Several weight heads may share a score head: the first of them writes its scores."""
    b, shared = row.b, weight_heads // row.score_heads
    slots = low.result(b, low.op("gather"), "slots")
    offsets = row.slots(row.score_head, row.score_heads)
    if shared == 1:
        b.store(slots, offsets, b_score, row.m_slot)
        return
    with b.when((row.i_head % shared).eq(0)):
        b.store(slots, offsets, b_score, row.m_slot)


def lower_weigh_grad(low: Lowering) -> LoweredGroup:
    """``normalize_grad [+ add] + scatter_add + score_grad_q`` -> one kernel."""
    b = TileBuilder("weigh_grad")
    score_heads = low.dim("Hr")
    row = SlotRow(low, b, score_heads)
    scatter, grad_q = low.find("scatter_add"), low.find("score_grad_q")
    assert scatter is not None
    row.load_chosen(low.operand(b, scatter, "indices"))
    b_ds = _slot_gradients(low, b, row)
    add = low.find("add")
    if add is not None:
        b_ds = b_ds + _added(low, b, row)
    d_slots = scatter.operand("d_slots")
    assert d_slots is not None
    if d_slots in low.problem.group.program.outputs:
        pointer = low.bind(b, "d_slots", d_slots.name, "fp32")
        b.store(pointer, row.slots(row.i_head, score_heads), b_ds, row.m_slot)
    b_ds = b.where(row.valid, b_ds, 0.0, "b_ds")
    if grad_q is not None:
        landmarks = low.operand(b, grad_q, "landmarks")
        d_q = low.result(b, grad_q, "d_q")
        with b.loop(0, row.dim, row.step, name="i_dim") as loop:
            b_l, o_dim, m_dim = row.landmarks(landmarks, loop.index)
            b_dq = b.sum(b_l * b_ds.as_column, 0) * float(grad_q.attr("scale"))
            b.store(d_q, row.query_base() + o_dim, b_dq, m_dim)
    return LoweredGroup((b.finish(("R", score_heads, "B")),))


def _added(low: Lowering, b: TileBuilder, row: SlotRow) -> Var:
    """The other gradient of the slots: the one of the returned scores."""
    add = low.op("add")
    made = {value for op in low.problem.group.program.ops for value in op.results}
    value = next(v for _, v in add.operands if v not in made)
    pointer = low.bind(b, "d_scores", value.name, value.type.dtype)
    return b.load(pointer, row.slots(row.i_head, row.score_heads), row.m_slot, name="b_d_score")


def _slot_gradients(low: Lowering, b: TileBuilder, row: SlotRow) -> Var:
    """d_logits of this score head: summed over the weight heads that share it."""
    op = low.find("normalize_grad")
    if op is None:
        return b.full((row.kept,), 0.0, "fp32", "b_ds")
    shared = low.dim("Hw") // row.score_heads
    weights = low.operand(b, op, "weights")
    d_weights = low.optional(b, op, "d_weights")
    zero = b.full((row.kept,), 0.0, "fp32", "b_ds")
    with b.loop(0, shared, name="i_weight", carry=[("b_ds", zero)]) as loop:
        head = row.i_head * shared + loop.index
        offsets = row.slots(head, low.dim("Hw"))
        b_w = b.load(weights, offsets, row.m_slot, name="b_w")
        if d_weights is None:
            b_dw = b.full((row.kept,), 0.0, "fp32", "b_dw")
        else:
            b_dw = b.load(d_weights, offsets, row.m_slot, name="b_dw")
        if op.attr("kind") == "stick_breaking":
            b_dx = _stick_breaking_grad(low, b, row, b_w, b_dw)
        else:
            b_dx = _softmax_grad(low, b, row, head, b_w, b_dw)
        loop.yield_(loop.carried[0] + b_dx)
    return loop.carried[0]


def _softmax_grad(
    low: Lowering, b: TileBuilder, row: SlotRow, head: Var, b_w: Var, b_dw: Var
) -> Var:
    """``w (dw - dot)``, the same for every normalisation that divides by a sum; also the
    gradients of the extra logit and of the rank scale."""
    op = low.op("normalize_grad")
    dot = b.sum(b_w * b_dw)
    place = row.place * low.dim("Hw") + head
    local_weight = low.optional(b, op, "local_weight")
    if local_weight is not None:
        b_wl = b.load(local_weight, place, name="b_wl")
        d_local_weight = low.optional(b, op, "d_local_weight")
        b_dwl = (
            b.full((), 0.0, "fp32", "b_dwl")
            if d_local_weight is None
            else b.load(d_local_weight, place, name="b_dwl")
        )
        dot = dot + b_wl * b_dwl
        if low.is_output(op, "d_local_lse"):
            b.store(low.result(b, op, "d_local_lse"), place, b_wl * (b_dwl - dot))
    b_dx = b_w * (b_dw - dot)
    if low.is_output(op, "d_rank_scale"):
        d_rank = b.sum(b_dx * row.o_slot.to("fp32"))
        b.store(low.result(b, op, "d_rank_scale"), place, d_rank)
    return b_dx


def _stick_breaking_grad(low: Lowering, b: TileBuilder, row: SlotRow, b_w: Var, b_dw: Var) -> Var:
    """``w_i dw_i - sigmoid(x_i) * sum over k >= i of w_k dw_k``."""
    op = low.op("normalize_grad")
    logits = low.operand(b, op, "logits")
    b_x = b.load(logits, row.slots(row.i_head, row.score_heads), row.m_slot, name="b_x")
    b_x = b.where(row.valid, b_x, 0.0, "b_x")
    b_g = b_w * b_dw
    later = b.sum(b_g) - b.cumsum(b_g) + b_g
    sigmoid = 1.0 / (b.exp2(b_x * -LOG2E) + 1.0)
    return b_g - sigmoid * later
