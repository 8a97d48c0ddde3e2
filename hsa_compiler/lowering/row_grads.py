"""Chunk order: the gradients that belong to rows, of the queries, the fusion weights and the local
branch, as the rows of a chunk pass by.

Of d_q every (row, slot) pair gives a part (`partials`); a weight's gradient is whole within its
pair. What is done once a row stands in the kernels around the walk: before it delta of a joint
softmax, after it the sum of the parts.
"""

from __future__ import annotations

from hsa_compiler.ir import Op
from hsa_compiler.lowering.common import Lowering, both
from hsa_compiler.lowering.heads import AttendShape, ChunkTiles
from hsa_compiler.lowering.pair_rows import PairRows
from hsa_compiler.lowering.partials import Partials
from hsa_compiler.lowering.recompute import JointRows, joint_row_grads, load_joint_rows
from hsa_compiler.lowering.walks import tile_rows
from hsa_compiler.lowering.weight_grads import WeightGrads
from hsa_compiler.tile.builder import TileBuilder
from hsa_compiler.tile.ir import Kernel, Pointer, Size, Var, Workspace


class RowGrads:
    """Where the kernel under construction in `b` leaves them; `op` is ``attend_grad_q``.

    With `shared_tiles` programs share out a chunk's sub-tiles, so that a pair has a part for each.
    """

    def __init__(
        self,
        low: Lowering,
        b: TileBuilder,
        op: Op,
        shape: AttendShape,
        shared_tiles: bool = False,
    ) -> None:
        self.low, self.b, self.op, self.shape = low, b, op, shape
        self.joint = low.find("fuse_joint_grad")
        self.source = self.joint or low.op("fuse_grad_parts")
        tiles = shape.key_tiles if shared_tiles else 1
        self.parts = Partials.of(low, op, shape, "d_q", tiles=tiles)
        self.grads = WeightGrads(low, shape)
        weight_op = low.find("fuse_grad_weights")
        self._d_weights = (
            self.grads.target(b, "d_weights", weight_op, shape.top_k) if weight_op else None
        )
        self.before = () if self.joint is None else (self._joint_rows(),)

    @property
    def zeroed(self) -> tuple[str, ...]:
        """Outputs to be zeroed first."""
        return tuple(self.grads.zeroed)

    def joint_rows(self, tiles: ChunkTiles, rows: PairRows) -> JointRows:
        """What the pairs of a step know of their rows' joint softmax."""
        return load_joint_rows(self.low, tiles, rows, self._delta(self.b))

    def put_queries(self, rows: PairRows, part: Var, tile: Var | int = 0) -> None:
        """Leave ``dS K`` [count, D] of a step's pairs and of one of the shared sub-tiles."""
        self.parts.put(self.b, rows, part * self.shape.scale, tile)

    def put_weights(self, rows: PairRows, d_weight: Var, tile: Var | int = 0) -> None:
        """Leave D [count] of a step's pairs; of the programs that share a chunk's sub-tiles, which
        all know it, the first does."""
        if self._d_weights is None:
            return
        b, grads = self.b, self.grads
        per_list = grads.per_list(rows, d_weight)
        slot, mask = rows.slot, rows.mask
        if not grads.by_row:
            _, slot, mask = rows.per_pair()
        if isinstance(tile, Var):
            mask = both(b, mask, b.broadcast(tile < 1, slot.shape, "m_first"))
        place = grads.lists(rows) * self.shape.top_k + slot
        b.store(self._d_weights, place, per_list, mask)

    def after(self) -> tuple[Kernel, ...]:
        """The kernel that sums d_q and does what is done once a row, and sums of weights' parts."""
        low, grads = self.low, self.grads
        b, rows, total = self.parts.sum("sum_d_q")
        if low.find("merge_local_grad"):
            d_out = low.operand(b, self.source, "d_out")
            b_do = b.load(d_out, rows.tile(), rows.mask_tile(), name="b_do")
            grads.put_local(b, rows, b_do)
        b.store(low.result(b, self.op, "d_q"), rows.tile(), total, rows.mask_tile())
        return (self.parts.launch(b), *grads.sums)

    def _joint_rows(self) -> Kernel:
        """The kernel that computes delta, and the gradients of the local branch, row by row."""
        low, b = self.low, TileBuilder("joint_rows")
        rows = tile_rows(b, self.shape, self.parts.tokens)
        d_out = low.operand(b, low.op("fuse_joint_grad"), "d_out")
        b_do = b.load(d_out, rows.tile(), rows.mask_tile(), name="b_do")
        _, delta = joint_row_grads(low, b, rows, b_do)
        b.store(self._delta(b), rows.per_head(), delta, rows.mask())
        return self.parts.launch(b)

    def _delta(self, b: TileBuilder) -> Pointer:
        """Where delta lies: an output of the group, or a buffer of its own."""
        row_dot = self.low.op("row_dot")
        if self.low.is_output(row_dot, "delta"):
            return self.low.result(b, row_dot, "delta")
        size = Size.of("B") * "L" * self.shape.query_heads
        return self.low.workspace(b, Workspace("delta_rows", "fp32", size))
