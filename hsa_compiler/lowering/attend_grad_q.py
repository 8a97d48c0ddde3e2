"""Gradients of attention that are gathered by token: of the queries, the fusion weights and the
local branch. Token or union order (chunk order: `chunk_attend`); recomputed from q, k, v, the
weights and d_out.
"""

from __future__ import annotations

from hsa_compiler.lowering.common import LoweredGroup, Lowering
from hsa_compiler.lowering.heads import AttendShape, ChunkTiles
from hsa_compiler.lowering.recompute import JointRows, WeightedRows, joint_row_grads
from hsa_compiler.lowering.walks import (
    Walk,
    make_walk,
    tile_rows,
    tokens_per_tile,
    union_launches,
)
from hsa_compiler.lowering.weight_grads import WeightGrads
from hsa_compiler.tile.builder import TileBuilder
from hsa_compiler.tile.ir import Pointer, Size, Var


def lower_attend_grad_q(low: Lowering) -> LoweredGroup:
    """-> in union order the lists of unions; the gradients; the sums over programs that share a
    weight."""
    tokens = tokens_per_tile(low)
    b = TileBuilder("attend_grad_q")
    kernel = _GradQ(low, b, tokens)
    kernel.run()
    main = b.finish((Size.of("L").cdiv(tokens), kernel.shape.programs, "B"))
    before = union_launches(low, kernel.shape, kernel.indices)
    grads = kernel.grads
    return LoweredGroup((*before, main, *grads.sums), zeroed=tuple(grads.zeroed))


class _GradQ:
    def __init__(self, low: Lowering, b: TileBuilder, tokens: int) -> None:
        op = low.op("attend_grad_q")
        self.low, self.b, self.op = low, b, op
        self.shape = shape = AttendShape.of(low, op)
        self.grads = WeightGrads(low, shape)
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
        ).in_blocks(low)

    def load(self, pointer: Pointer, name: str) -> Var:
        """This program's rows of a ``[B, L, Hq, D]`` tensor."""
        return self.b.load(pointer, self.rows.tile(), self.rows.mask_tile(), name=name)

    def run(self) -> None:
        b, low, rows, dtype = self.b, self.low, self.rows, self.tiles.dtype
        joint = low.find("fuse_joint_grad")
        d_out = low.operand(b, joint or low.op("fuse_grad_parts"), "d_out")
        b_q = rows.load(low, low.operand(b, self.op, "q"), "b_q").to(dtype)
        b_do = rows.load(low, d_out, "b_do")
        joint_rows = self._joint_rows(b_do) if joint else None
        if low.find("merge_local_grad"):
            self.grads.put_local(b, rows, b_do)
        b_do = b_do.to(dtype)
        walk = make_walk(low, b, rows, self.indices)
        if joint is None:
            walk.use_weights(low.operand(b, low.op("fuse_grad_parts"), "weights"))
        weight_op, grads = low.find("fuse_grad_weights"), self.grads
        written: tuple[Pointer, Var] | None = None
        if weight_op:
            target = grads.target(b, "d_weights", weight_op, self.shape.top_k)
            written = target, grads.lists(rows)

        def start() -> list[tuple[str, Var]]:
            zero = b.full((rows.count, self.shape.head_dim), 0.0, "fp32", "b_dq")
            return [("b_dq", zero), *(walk.grad_carry() if written else [])]

        def loop(carry: list[tuple[str, Var]]) -> tuple[Var, ...]:
            with walk.loop(carry) as steps:
                b_dq, *carried = steps.carried
                chunk = walk.enter(steps.index)
                if joint_rows is not None:
                    b_dq = self._joint_chunk(joint_rows, walk, b_q, b_do, b_dq, chunk)
                else:
                    weighted = WeightedRows(self.tiles, walk.weight())
                    if self.shape.key_tiles == 1:
                        offsets = self.tiles.offsets(chunk, 0)
                        b_k, b_v = self.tiles.load_keys(offsets), self.tiles.load_values(offsets)
                        b_dq, d_weight = weighted.query_grads(b_q, b_do, b_k, b_v, b_dq)
                    else:
                        b_dq, d_weight = weighted.tiled_query_grads(b_q, b_do, chunk, b_dq)
                    if written:
                        d_weight = grads.per_list(rows, d_weight)
                        carried = walk.put_weight_grad(*written, d_weight, carried)
                steps.yield_(b_dq, *carried)
            return steps.carried

        def finish(b_dq: Var, *carried: Var) -> None:
            if written:
                walk.finish_weight_grads(*written, list(carried))
            d_q = low.result(b, self.op, "d_q")
            b.store(d_q, rows.tile(), b_dq * self.shape.scale, rows.mask_tile())

        walk.run(start, loop, finish)

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
        """Total LSE and delta of these rows; what is done once a row is done here."""
        b, low, rows = self.b, self.low, self.rows
        total, delta = joint_row_grads(low, b, rows, b_do)
        row_dot = low.op("row_dot")
        if low.is_output(row_dot, "delta"):
            b.store(low.result(b, row_dot, "delta"), rows.per_head(), delta, rows.mask())
        return JointRows(self.tiles, total, delta)
