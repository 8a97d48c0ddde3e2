"""Gradients of attention that are gathered by token: of the queries, the fusion weights and the
local branch. Token order, everything recomputed from q, k, v, the weights and d_out.

A weight's gradient is D summed over the query heads that share it. Where they belong to several
programs (several KV heads, or the tokens of a query block) each program writes its part and a
second kernel adds them.
"""

from __future__ import annotations

from hsa_compiler.ir import Op
from hsa_compiler.lowering.attend import load_weights, slot_base
from hsa_compiler.lowering.common import LOG2E, LoweredGroup, Lowering, below, count_valid
from hsa_compiler.lowering.heads import AttendShape, ChunkTiles, QueryRows
from hsa_compiler.lowering.recompute import JointRows, WeightedRows, load_total_lse
from hsa_compiler.tile.builder import TileBuilder
from hsa_compiler.tile.ir import Kernel, Pointer, Size, Var, Workspace


def lower_attend_grad_q(low: Lowering) -> LoweredGroup:
    """-> the token-order kernel, then the sums over programs that share a weight."""
    low.need_order("token")
    b = TileBuilder("attend_grad_q")
    kernel = _GradQ(low, b)
    kernel.run()
    main = b.finish((Size.of("L"), kernel.shape.programs, "B"))
    return LoweredGroup((main, *kernel.sums), zeroed=tuple(kernel.zeroed))


class _GradQ:
    def __init__(self, low: Lowering, b: TileBuilder) -> None:
        op = low.op("attend_grad_q")
        self.low, self.b, self.op = low, b, op
        self.shape = shape = AttendShape.of(low, op)
        self.sums: list[Kernel] = []
        self.zeroed: list[str] = []
        self.i_token, self.i_program = b.program_id(0, "i_token"), b.program_id(1, "i_program")
        self.i_batch = b.program_id(2, "i_batch")
        block = shape.query_block
        self.i_row = self.i_token if block == 1 else self.i_token // block
        self.rows = QueryRows(b, shape, self.i_batch, self.i_token, self.i_program)
        q_value = op.operand("q")
        assert q_value is not None
        self.tiles = ChunkTiles(
            b,
            shape,
            low.operand(b, op, "k"),
            low.operand(b, op, "v"),
            low.optional(b, op, "chunk_start"),
            self.i_batch,
            shape.kv_head(self.i_program),
            low.caps.operand(q_value.type.dtype),
        )

    def load(self, pointer: Pointer, name: str) -> Var:
        """This program's rows of a ``[B, L, Hq, D]`` tensor."""
        return self.b.load(pointer, self.rows.tile(), self.rows.mask_tile(), name=name)

    def run(self) -> None:
        b, low, shape, dtype = self.b, self.low, self.shape, self.tiles.dtype
        indices = low.operand(b, self.op, "indices")
        joint = low.find("fuse_joint_grad")
        d_out = low.operand(b, joint or low.op("fuse_grad_parts"), "d_out")
        b_q = self.load(low.operand(b, self.op, "q"), "b_q").to(dtype)
        b_do = self.load(d_out, "b_do")
        joint_rows = self._joint_rows(b_do) if joint else None
        weights = None if joint else low.operand(b, low.op("fuse_grad_parts"), "weights")
        if low.find("merge_local_grad"):
            self._local_grad(b_do)
        b_do = b_do.to(dtype)
        slots = slot_base(
            b,
            shape,
            self.i_batch,
            self.i_row,
            shape.index_head(self.i_program),
            shape.index_heads,
        )
        n_slots = count_valid(b, indices, slots, shape.top_k, low.caps.pad(shape.top_k))
        zero = b.full((shape.padded_rows, shape.head_dim), 0.0, "fp32", "b_dq")
        with b.loop(
            0, n_slots, name="i_slot", carry=[("b_dq", zero)], stages=low.schedule.stages
        ) as loop:
            (b_dq,) = loop.carried
            chosen = b.load(indices, slots + loop.index, name="chunk")
            chunk = b.maximum(chosen, 0, "chunk")
            if joint_rows is not None:
                loop.yield_(self._joint_slot(joint_rows, b_q, b_do, b_dq, chosen, chunk))
            else:
                assert weights is not None
                b_w = load_weights(low, b, shape, self.rows, weights, self.i_row, loop.index)
                b_w = b.where(chosen >= 0, b_w, 0.0, "b_w")
                rows = WeightedRows(b, shape, b_w)
                b_dq, d_weight = self._weighted_slot(rows, b_q, b_do, b_dq, chunk)
                self._store_weight_grad(d_weight, loop.index, chosen)
                loop.yield_(b_dq)
        (b_dq,) = loop.carried
        b.store(
            low.result(b, self.op, "d_q"),
            self.rows.tile(),
            b_dq * shape.scale,
            self.rows.mask_tile(),
        )

    # -- one slot -----------------------------------------------------------------------------
    def _weighted_slot(
        self, rows: WeightedRows, b_q: Var, b_do: Var, b_dq: Var, chunk: Var
    ) -> tuple[Var, Var]:
        b, shape, tiles = self.b, self.shape, self.tiles
        if shape.key_tiles == 1:
            offsets = tiles.offsets(chunk, 0)
            b_k, b_v = tiles.load_keys(offsets), tiles.load_values(offsets)
            b_dp = b.dot(b_do, b_v.t, name="b_dp")
            stats, b_p = rows.tile_stats(tiles.logits(b_q, b_k, 0), b_dp)
            _, b_ds = rows.gradients(stats, b_p, b_dp)
            return b.dot(b_ds.to(tiles.dtype), b_k, b_dq), stats.d_weight
        stats, maximum = rows.chunk_stats(tiles, b_q, b_do, chunk)
        with b.loop(0, shape.key_tiles, name="i_tile", carry=[("b_dq", b_dq)]) as loop:
            offsets = tiles.offsets(chunk, loop.index)
            b_k, b_v = tiles.load_keys(offsets), tiles.load_values(offsets)
            b_p = rows.exponentials(maximum, tiles.logits(b_q, b_k, loop.index))
            _, b_ds = rows.gradients(stats, b_p, b.dot(b_do, b_v.t, name="b_dp"))
            loop.yield_(b.dot(b_ds.to(tiles.dtype), b_k, loop.carried[0]))
        return loop.carried[0], stats.d_weight

    def _joint_slot(
        self, rows: JointRows, b_q: Var, b_do: Var, b_dq: Var, chosen: Var, chunk: Var
    ) -> Var:
        b, shape, tiles = self.b, self.shape, self.tiles
        with b.loop(0, shape.key_tiles, name="i_tile", carry=[("b_dq", b_dq)]) as loop:
            offsets = tiles.offsets(chunk, loop.index)
            b_k, b_v = tiles.load_keys(offsets), tiles.load_values(offsets)
            b_s = tiles.logits(b_q, b_k, loop.index)
            _, b_ds = rows.gradients(b_s, b.dot(b_do, b_v.t, name="b_dp"))
            b_ds = b.where(chosen >= 0, b_ds, 0.0, "b_ds")
            loop.yield_(b.dot(b_ds.to(tiles.dtype), b_k, loop.carried[0]))
        return loop.carried[0]

    def _joint_rows(self, b_do: Var) -> JointRows:
        """Load the total LSE, compute and return delta, and do the local branch's gradients."""
        b, low, rows = self.b, self.low, self.rows
        grad, row_dot = low.op("fuse_joint_grad"), low.op("row_dot")
        out = row_dot.operand("a")
        d_out = grad.operand("d_out")
        assert out is not None and d_out is not None
        name = "a" if out.name != d_out.name else "b"
        b_out = self.load(low.operand(b, row_dot, name, "out"), "b_out").to("fp32")
        delta = b.sum(b_out * b_do.to("fp32"), 1, "b_delta")
        total_lse = low.operand(b, grad, "total_lse")
        total = load_total_lse(b, total_lse, rows.per_head(), rows.mask())
        if low.is_output(row_dot, "delta"):
            b.store(low.result(b, row_dot, "delta"), rows.per_head(), delta, rows.mask())
        local = low.find("local_joint_grad")
        if local is not None:
            b_local = self.load(low.operand(b, local, "local_out"), "b_local").to("fp32")
            local_lse = low.operand(b, local, "local_lse")
            b_lse = b.load(local_lse, rows.per_head(), rows.mask(), name="b_local_lse")
            b_wl = b.exp2(b_lse * LOG2E - total, "b_local_w")
            d_local = b_wl.as_column * b_do.to("fp32")
            b.store(low.result(b, local, "d_local_out"), rows.tile(), d_local, rows.mask_tile())
            d_lse = b_wl * (b.sum(b_local * b_do.to("fp32"), 1) - delta)
            b.store(low.result(b, local, "d_local_lse"), rows.per_head(), d_lse, rows.mask())
        return JointRows(b, total, delta)

    # -- gradients of what several rows share ---------------------------------------------------
    def _local_grad(self, b_do: Var) -> None:
        b, low, rows = self.b, self.low, self.rows
        op = low.op("merge_local_grad")
        b_local = self.load(low.operand(b, op, "local_out"), "b_local").to("fp32")
        local_weight = low.operand(b, op, "local_weight")
        b_wl = b.load(local_weight, rows.per_weight_head(self.i_row), rows.mask(), name="b_wl")
        d_local = b_wl.as_column * b_do.to("fp32")
        b.store(low.result(b, op, "d_local_out"), rows.tile(), d_local, rows.mask_tile())
        d_weight = b.sum(b_local * b_do.to("fp32"), 1, "b_dwl")
        target, width = self._shared_target("d_local_weight", op, 1)
        self._store_shared(target, width, d_weight, 1, None)

    def _store_weight_grad(self, d_weight: Var, slot: Var, chosen: Var) -> None:
        op = self.low.find("fuse_grad_weights")
        if op is None:
            return
        target, width = self._shared_target("d_weights", op, self.shape.top_k)
        d_weight = self.b.where(chosen >= 0, d_weight, 0.0, "b_dw")
        self._store_shared(target, width, d_weight, self.shape.top_k, slot)

    def _shared_target(self, role: str, op: Op, k: int) -> tuple[Pointer, int]:
        """Where gradients of shared weights go, and its heads per token: the output itself
        (zeroed, since empty slots are never visited), or the parts that a second kernel adds."""
        low, shape = self.low, self.shape
        per_row = shape.weight_heads > shape.programs
        width = shape.query_heads if per_row else shape.programs
        if width == shape.weight_heads and shape.query_block == 1:
            self.zeroed.append(role)
            return low.result(self.b, op, role), width
        size = Size.of("B") * "L" * (width * k)
        space = Workspace(f"{role}_parts", "fp32", size, zeroed=True)
        if space.name not in low.workspaces:
            self.sums.append(_sum_parts(low, shape, space, role, op, width, k))
        return low.workspace(self.b, space), width

    def _store_shared(
        self, target: Pointer, width: int, per_head: Var, k: int, slot: Var | None
    ) -> None:
        b, rows, shape = self.b, self.rows, self.shape
        if width == shape.query_heads and width != shape.programs:
            offsets, value, mask = rows.per_head() * k, per_head, rows.mask()
        else:
            token = (rows.batch * b.scalar("L")).to("i64") + rows.token
            offsets = (token * width + rows.program) * k
            value, mask = b.sum(per_head, 0), None
        b.store(target, offsets if slot is None else offsets + slot, value, mask)


def _sum_parts(
    low: Lowering,
    shape: AttendShape,
    space: Workspace,
    role: str,
    op: Op,
    width: int,
    k: int,
) -> Kernel:
    """``parts[B, L, width, K]`` summed over the tokens of a row and the heads of a weight head."""
    b = TileBuilder(f"sum_{role}")
    parts, out = low.workspace(b, space), low.result(b, op, role)
    i_row, i_head, i_batch = (b.program_id(a, f"i_{n}") for a, n in enumerate(("row", "w", "b")))
    padded = low.caps.pad(k)
    o_slot = b.arange(padded, "o_slot")
    mask = below(o_slot, k, padded)
    n_tokens, per_head = b.scalar("L"), width // shape.weight_heads
    first = i_row * shape.query_block
    last = b.minimum(first + shape.query_block, n_tokens)
    total = b.full((padded,), 0.0, "fp32", "b_sum")
    with b.loop(first, last, name="i_token", carry=[("b_sum", total)]) as tokens:
        with b.loop(0, per_head, name="i_part", carry=[("b_sum", tokens.carried[0])]) as heads:
            token = (i_batch * n_tokens).to("i64") + tokens.index
            base = (token * width + i_head * per_head + heads.index) * k
            heads.yield_(heads.carried[0] + b.load(parts, base + o_slot, mask, name="b_part"))
        tokens.yield_(*heads.carried)
    row = (i_batch * b.scalar("R")).to("i64") + i_row
    base = (row * shape.weight_heads + i_head) * k
    b.store(out, base + o_slot, tokens.carried[0], mask)
    return b.finish(("R", shape.weight_heads, "B"))
