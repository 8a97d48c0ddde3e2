"""Attention and the gradient of its queries in chunk order: a chunk stays in registers while the
rows that chose it pass by.

It fills a matrix unit at any head ratio and whatever neighbours choose, and reads keys and values
once; but every (row, slot) pair has a part of its own of the row's result. The parts meet by
`combine`:

- ``buffer``: each pair writes its part in the data dtype, a second kernel adds a row's K parts;
- ``atomic``: parts are added into one fp32 row, a second kernel converts it. The parts of a joint
  softmax cannot be: each is normalised by itself, and weighted by its LSE when they meet.

The second kernel also does what is done once a row: the local branch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from hsa_compiler.ir import Op
from hsa_compiler.lowering.attend import (
    attend_sub_tiles,
    store_joint,
    store_weighted,
    whole_chunk_softmax,
)
from hsa_compiler.lowering.chunk_lists import ChunkLists
from hsa_compiler.lowering.common import LoweredGroup, Lowering
from hsa_compiler.lowering.heads import AttendShape, ChunkTiles
from hsa_compiler.lowering.pair_rows import PairRows, pairs_per_step
from hsa_compiler.lowering.partials import Partials
from hsa_compiler.lowering.recompute import (
    JointRows,
    WeightedRows,
    joint_row_grads,
    load_total_lse,
)
from hsa_compiler.lowering.walks import tile_rows
from hsa_compiler.lowering.weight_grads import WeightGrads
from hsa_compiler.schedules.schedule import IllegalSchedule
from hsa_compiler.tile.builder import TileBuilder
from hsa_compiler.tile.ir import Kernel, Pointer, Size, Var, Workspace


def lower_chunk_attend(low: Lowering) -> LoweredGroup:
    """``attend + fuse [+ merge_local]`` or ``attend + fuse_joint`` -> parts, and their sum."""
    walk = _ChunkWalk.of(low, "attend")
    b, tiles = walk.b, walk.tiles
    joint = low.find("fuse_joint") is not None
    q = low.operand(b, walk.op, "q")
    weights = None if joint else low.operand(b, low.op("fuse"), "weights")
    parts = Partials.of(low, walk.op, walk.shape, "out", with_lse=joint)

    def visit(chunk: Var, first: Var, last: Var) -> None:
        keys_and_values = walk.whole_chunk(chunk)
        with walk.pairs(first, last) as rows:
            b_q = rows.load(q, "b_q").to(tiles.dtype)
            b_w = None if weights is None else rows.weight(weights)
            if keys_and_values:
                b_k, b_v = keys_and_values
                b_p, rcp, base = whole_chunk_softmax(tiles, tiles.logits(b_q, b_k, 0))
                factor = rcp if b_w is None else rcp * b_w
                b_p = b.binary("mul", b_p, factor.as_column, "b_p").to(tiles.dtype)
                parts.put(b, rows, b.dot(b_p, b_v, name="b_part"))
            else:
                part, rcp, base = attend_sub_tiles(tiles, b_q, chunk)
                factor = rcp if b_w is None else rcp * b_w
                parts.put(b, rows, part * factor.as_column)
            if joint:
                parts.put_lse(b, rows, base - b.log2(rcp))

    main = walk.finish(visit)
    if joint:
        adding, rows, *sums = parts.sum_joint("sum_parts")
        store_joint(low, adding, rows, *sums)
    else:
        adding, rows, total = parts.sum("sum_parts")
        store_weighted(low, adding, rows, total)
    return LoweredGroup((main, parts.launch(adding)))


def lower_chunk_grad_q(low: Lowering) -> LoweredGroup:
    """``attend_grad_q`` and gradients of weights and the local branch -> of a joint softmax, what
    is done once a row; parts of d_q and all of d_weights; the sum of the parts; sums over programs
    that share a weight."""
    walk = _ChunkWalk.of(low, "attend_grad_q")
    b, shape, tiles = walk.b, walk.shape, walk.tiles
    joint = low.find("fuse_joint_grad")
    source = joint or low.op("fuse_grad_parts")
    q, d_out = low.operand(b, walk.op, "q"), low.operand(b, source, "d_out")
    parts, grads = Partials.of(low, walk.op, shape, "d_q"), WeightGrads(low, shape)
    weight_op = low.find("fuse_grad_weights")
    d_weights = grads.target(b, "d_weights", weight_op, shape.top_k) if weight_op else None
    before = [] if joint is None else [_joint_rows(low, shape, parts)]

    def visit(chunk: Var, first: Var, last: Var) -> None:
        keys_and_values = walk.whole_chunk(chunk)
        with walk.pairs(first, last) as rows:
            b_q = rows.load(q, "b_q").to(tiles.dtype)
            b_do = rows.load(d_out, "b_do").to(tiles.dtype)
            if joint:
                total_lse = low.operand(b, joint, "total_lse")
                total = load_total_lse(b, total_lse, rows.per_head(), rows.mask)
                delta = b.load(_delta(low, b, shape), rows.per_head(), rows.mask, name="b_delta")
                both_rows = JointRows(tiles, total, delta)
                b_part = both_rows.query_grads(b_q, b_do, chunk, keys_and_values)
                parts.put(b, rows, b_part * shape.scale)
                return
            weighted = WeightedRows(tiles, rows.weight(low.operand(b, source, "weights")))
            if keys_and_values:
                b_part, d_weight = weighted.query_grads(b_q, b_do, *keys_and_values)
            else:
                b_part, d_weight = weighted.tiled_query_grads(b_q, b_do, chunk)
            parts.put(b, rows, b_part * shape.scale)
            if d_weights:
                per_list = grads.per_list(rows, d_weight)
                slot, mask = rows.slot, rows.mask
                if not grads.by_row:
                    _, slot, mask = rows.per_pair()
                b.store(d_weights, grads.lists(rows) * shape.top_k + slot, per_list, mask)

    main = walk.finish(visit)
    adding, rows, total = parts.sum("sum_d_q")
    if low.find("merge_local_grad"):
        d_out = low.operand(adding, source, "d_out")
        b_do = adding.load(d_out, rows.tile(), rows.mask_tile(), name="b_do")
        grads.put_local(adding, rows, b_do)
    adding.store(low.result(adding, walk.op, "d_q"), rows.tile(), total, rows.mask_tile())
    kernels = (*before, main, parts.launch(adding), *grads.sums)
    return LoweredGroup(kernels, zeroed=tuple(grads.zeroed))


def _joint_rows(low: Lowering, shape: AttendShape, parts: Partials) -> Kernel:
    """The kernel that computes delta, and the gradients of the local branch, row by row."""
    b = TileBuilder("joint_rows")
    rows = tile_rows(b, shape, parts.tokens)
    d_out = low.operand(b, low.op("fuse_joint_grad"), "d_out")
    b_do = b.load(d_out, rows.tile(), rows.mask_tile(), name="b_do")
    _, delta = joint_row_grads(low, b, rows, b_do)
    b.store(_delta(low, b, shape), rows.per_head(), delta, rows.mask())
    return parts.launch(b)


def _delta(low: Lowering, b: TileBuilder, shape: AttendShape) -> Pointer:
    """Where delta lies: an output of the group, or a buffer of its own."""
    row_dot = low.op("row_dot")
    if low.is_output(row_dot, "delta"):
        return low.result(b, row_dot, "delta")
    size = Size.of("B") * "L" * shape.query_heads
    return low.workspace(b, Workspace("delta_rows", "fp32", size))


@dataclass(frozen=True)
class _ChunkWalk:
    """The kernel that walks chunks: its op, the lists it walks, and the keys of this program."""

    low: Lowering
    b: TileBuilder
    op: Op
    shape: AttendShape
    lists: ChunkLists
    tiles: ChunkTiles
    work: Var
    program: Var
    batch: Var

    @classmethod
    def of(cls, low: Lowering, kind: str) -> _ChunkWalk:
        """Start the kernel of op `kind`."""
        op = low.op(kind)
        if op.operand("order") is None:
            raise IllegalSchedule(
                "order", f"{kind} in chunk order needs an inverse index, which its program lacks"
            )
        if low.schedule.combine == "atomic":
            low.need_atomics()
        b, shape = TileBuilder(kind), AttendShape.of(low, op)
        work, program = b.program_id(0, "i_work"), b.program_id(1, "i_program")
        batch = b.program_id(2, "i_batch")
        order, offsets = low.operand(b, op, "order"), low.operand(b, op, "offsets")
        lists = ChunkLists(low, b, order, offsets, shape.index_heads, shape.top_k)
        q_value = op.operand("q")
        assert q_value is not None
        tiles = ChunkTiles(
            b,
            shape,
            low.operand(b, op, "k"),
            low.operand(b, op, "v"),
            low.optional(b, op, "chunk_start"),
            batch,
            shape.kv_head(program),
            low.caps.operand(q_value.type.dtype),
        )
        return cls(low, b, op, shape, lists, tiles, work, program, batch)

    def finish(self, visit: Callable[[Var, Var, Var], None]) -> Kernel:
        """Emit ``visit(chunk, first pair, last pair)`` for the chunks of a program; the launch."""
        head = self.shape.index_head(self.program)
        self.lists.walk(self.work, self.batch, head, visit)
        return self.b.finish((self.lists.programs(), self.shape.programs, "B"))

    def whole_chunk(self, chunk: Var) -> tuple[Var, Var] | None:
        """The chunk's keys and values, loaded once for all of its pairs; None where the schedule
        holds sub-tiles of them."""
        if self.shape.key_tiles > 1:
            return None
        offsets = self.tiles.offsets(chunk, 0)
        return self.tiles.load_keys(offsets), self.tiles.load_values(offsets)

    @contextmanager
    def pairs(self, first: Var, last: Var) -> Iterator[PairRows]:
        """A loop over the pairs ``first .. last - 1`` of the list, some at a time."""
        b, shape = self.b, self.shape
        step, head = pairs_per_step(self.low, shape), shape.index_head(self.program)
        if shape.query_block > 1:
            first, last = first * shape.query_block, last * shape.query_block
        with b.loop(first, last, step, name="i_pair", stages=self.low.schedule.stages) as loop:
            yield PairRows(
                self.lists, shape, step, loop.index, last, self.batch, self.program, head
            )
