"""Gradients of attention that are gathered by token: of the queries, the fusion weights and the
local branch. Token or union order, everything recomputed from q, k, v, the weights and d_out.

A weight's gradient is D summed over the query heads that share it. Where they belong to several
programs (several KV heads, or the tokens of a query block) each program writes its part and a
second kernel adds them.
"""

from __future__ import annotations

from dataclasses import dataclass

from hsa_compiler.ir import Op
from hsa_compiler.lowering.common import LOG2E, LoweredGroup, Lowering, below
from hsa_compiler.lowering.heads import AttendShape, ChunkTiles, QueryRows
from hsa_compiler.lowering.recompute import JointRows, WeightedRows, load_total_lse
from hsa_compiler.lowering.walks import (
    Walk,
    make_walk,
    tile_rows,
    tokens_per_tile,
    union_launches,
)
from hsa_compiler.tile.builder import TileBuilder
from hsa_compiler.tile.ir import Kernel, Pointer, Size, Var, Workspace


def lower_attend_grad_q(low: Lowering) -> LoweredGroup:
    """-> in union order the lists of unions; the gradients; the sums over programs that share a
    weight."""
    tokens = tokens_per_tile(low)
    b = TileBuilder("attend_grad_q")
    kernel = _GradQ(low, b, tokens)
    kernel.run()
    main = b.finish((Size.of("L").cdiv(tokens), kernel.shape.programs, "B"))
    before = union_launches(low, kernel.shape, kernel.indices)
    return LoweredGroup((*before, main, *kernel.sums), zeroed=tuple(kernel.zeroed))


class _GradQ:
    def __init__(self, low: Lowering, b: TileBuilder, tokens: int) -> None:
        op = low.op("attend_grad_q")
        self.low, self.b, self.op = low, b, op
        self.shape = shape = AttendShape.of(low, op)
        self.sums: list[Kernel] = []
        self.zeroed: list[str] = []
        self.rows = rows = tile_rows(b, shape, tokens)
        self.indices = low.operand(b, op, "indices")
        q_value = op.operand("q")
        assert q_value is not None
        self.tiles = ChunkTiles(
            b,
            shape,
            low.operand(b, op, "k"),
            low.operand(b, op, "v"),
            low.optional(b, op, "chunk_start"),
            rows.batch,
            shape.kv_head(rows.program),
            low.caps.operand(q_value.type.dtype),
        )

    def load(self, pointer: Pointer, name: str) -> Var:
        """This program's rows of a ``[B, L, Hq, D]`` tensor."""
        return self.b.load(pointer, self.rows.tile(), self.rows.mask_tile(), name=name)

    def run(self) -> None:
        b, low, rows, dtype = self.b, self.low, self.rows, self.tiles.dtype
        joint = low.find("fuse_joint_grad")
        d_out = low.operand(b, joint or low.op("fuse_grad_parts"), "d_out")
        b_q = self.load(low.operand(b, self.op, "q"), "b_q").to(dtype)
        b_do = self.load(d_out, "b_do")
        joint_rows = self._joint_rows(b_do) if joint else None
        if low.find("merge_local_grad"):
            self._local_grad(b_do)
        b_do = b_do.to(dtype)
        walk = make_walk(low, b, rows, self.indices)
        if joint is None:
            walk.use_weights(low.operand(b, low.op("fuse_grad_parts"), "weights"))
        weight_op, top_k = low.find("fuse_grad_weights"), self.shape.top_k
        grads = self._shared("d_weights", weight_op, top_k) if weight_op else None

        def start() -> list[tuple[str, Var]]:
            zero = b.full((rows.count, self.shape.head_dim), 0.0, "fp32", "b_dq")
            return [("b_dq", zero), *(walk.grad_carry() if grads else [])]

        def loop(carry: list[tuple[str, Var]]) -> tuple[Var, ...]:
            stages = low.schedule.stages
            with b.loop(0, walk.steps, name="i_step", carry=carry, stages=stages) as steps:
                b_dq, *carried = steps.carried
                chunk = walk.enter(steps.index)
                if joint_rows is not None:
                    b_dq = self._joint_chunk(joint_rows, walk, b_q, b_do, b_dq, chunk)
                else:
                    weighted = WeightedRows(self.tiles, walk.weight())
                    b_dq, d_weight = self._weighted_chunk(weighted, b_q, b_do, b_dq, chunk)
                    if grads:
                        d_weight = grads.per_list(d_weight)
                        carried = walk.put_weight_grad(grads.target, grads.lists, d_weight, carried)
                steps.yield_(b_dq, *carried)
            return steps.carried

        def finish(b_dq: Var, *carried: Var) -> None:
            if grads:
                walk.finish_weight_grads(grads.target, grads.lists, list(carried))
            d_q = low.result(b, self.op, "d_q")
            b.store(d_q, rows.tile(), b_dq * self.shape.scale, rows.mask_tile())

        walk.run(start, loop, finish)

    # -- one chunk ------------------------------------------------------------------------------
    def _weighted_chunk(
        self, rows: WeightedRows, b_q: Var, b_do: Var, b_dq: Var, chunk: Var
    ) -> tuple[Var, Var]:
        b, shape, tiles = self.b, self.shape, self.tiles
        if shape.key_tiles == 1:
            offsets = tiles.offsets(chunk, 0)
            b_k, b_v = tiles.load_keys(offsets), tiles.load_values(offsets)
            b_dp = b.dot(b_do, b_v.t, name="b_dp")
            stats, b_p = rows.tile_stats(tiles.logits(b_q, b_k, 0), b_dp)
            b_ds = rows.gradients(stats, b_p, b_dp)
            return b.dot(b_ds.to(tiles.dtype), b_k, b_dq), stats.d_weight
        stats, maximum = rows.chunk_stats(b_q, b_do, chunk)
        with b.loop(0, shape.key_tiles, name="i_tile", carry=[("b_dq", b_dq)]) as loop:
            offsets = tiles.offsets(chunk, loop.index)
            b_k, b_v = tiles.load_keys(offsets), tiles.load_values(offsets)
            b_p = tiles.power(tiles.logits(b_q, b_k, loop.index), maximum)
            b_ds = rows.gradients(stats, b_p, b.dot(b_do, b_v.t, name="b_dp"))
            loop.yield_(b.dot(b_ds.to(tiles.dtype), b_k, loop.carried[0]))
        return loop.carried[0], stats.d_weight

    def _joint_chunk(
        self, rows: JointRows, walk: Walk, b_q: Var, b_do: Var, b_dq: Var, chunk: Var
    ) -> Var:
        b, shape, tiles = self.b, self.shape, self.tiles
        with b.loop(0, shape.key_tiles, name="i_tile", carry=[("b_dq", b_dq)]) as loop:
            offsets = tiles.offsets(chunk, loop.index)
            b_k, b_v = tiles.load_keys(offsets), tiles.load_values(offsets)
            b_s = tiles.logits(b_q, b_k, loop.index)
            _, b_ds = rows.gradients(b_s, b.dot(b_do, b_v.t, name="b_dp"))
            b_ds = walk.counted(b_ds)
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
            # Not sum(local * d_out) - delta: both are large where the local branch has the weight.
            d_lse = b_wl * b.sum((b_local - b_out) * b_do.to("fp32"), 1)
            b.store(low.result(b, local, "d_local_lse"), rows.per_head(), d_lse, rows.mask())
        return JointRows(self.tiles, total, delta)

    # -- gradients of what several rows share ---------------------------------------------------
    def _local_grad(self, b_do: Var) -> None:
        b, low, rows = self.b, self.low, self.rows
        op = low.op("merge_local_grad")
        b_local = self.load(low.operand(b, op, "local_out"), "b_local").to("fp32")
        local_weight = low.operand(b, op, "local_weight")
        b_wl = b.load(local_weight, rows.per_weight_head(), rows.mask(), name="b_wl")
        d_local = b_wl.as_column * b_do.to("fp32")
        b.store(low.result(b, op, "d_local_out"), rows.tile(), d_local, rows.mask_tile())
        grads = self._shared("d_local_weight", op, 1)
        d_weight = grads.per_list(b.sum(b_local * b_do.to("fp32"), 1, "b_dwl"))
        mask = rows.mask() if grads.by_row else rows.token_mask()
        b.store(grads.target, grads.lists, d_weight, mask)

    def _shared(self, role: str, op: Op, k: int) -> _SharedGrads:
        """Where gradients of shared weights go: the output itself (zeroed, since empty slots are
        never visited), or the parts that a second kernel adds."""
        low, shape, rows = self.low, self.shape, self.rows
        by_row = shape.own_weights
        width = shape.query_heads if by_row else shape.programs
        if by_row:
            lists = rows.per_head()
        else:
            token = (rows.batch * self.b.scalar("L")).to("i64") + rows.token_ids()
            lists = token * width + rows.program
        if width == shape.weight_heads and shape.query_block == 1:
            self.zeroed.append(role)
            return _SharedGrads(rows, low.result(self.b, op, role), lists, by_row)
        size = Size.of("B") * "L" * (width * k)
        space = Workspace(f"{role}_parts", "fp32", size, zeroed=True)
        if space.name not in low.workspaces:
            self.sums.append(_sum_parts(low, shape, space, role, op, width, k))
        return _SharedGrads(rows, low.workspace(self.b, space), lists, by_row)


@dataclass(frozen=True)
class _SharedGrads:
    """Gradients of weights: the target, the number there of each of this program's lists of
    weights, and whether every row has its own list (else every token)."""

    rows: QueryRows
    target: Pointer
    lists: Var
    by_row: bool

    def per_list(self, per_row: Var) -> Var:
        """Gradients by row, summed over the rows that share a list."""
        return per_row if self.by_row else self.rows.per_token(per_row)


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
