"""Attention and the gradient of its queries in chunk order: a chunk stays in registers while the
rows that chose it pass by.

It fills a matrix unit at any head ratio and whatever neighbours choose, and reads keys and values
once; but every (row, slot) pair has a part of its own of the row's result. The parts meet by
`combine`:

- ``buffer``: each pair writes its part in the data dtype, a second kernel adds a row's K parts;
- ``atomic``: parts are added into one fp32 row, a second kernel converts it. The parts of a joint
  softmax cannot be: each is normalised by itself, and weighted by its LSE when they meet.
- ``owned``: the same without atomics, by programs that have a window of rows to themselves.

The second kernel also does what is done once a row: the local branch.
"""

from __future__ import annotations

from hsa_compiler.lowering.attend import (
    attend_sub_tiles,
    store_joint,
    store_weighted,
    whole_chunk_softmax,
)
from hsa_compiler.lowering.chunk_walk import ChunkWalk
from hsa_compiler.lowering.common import LoweredGroup, Lowering
from hsa_compiler.lowering.partials import Partials
from hsa_compiler.lowering.recompute import WeightedRows
from hsa_compiler.lowering.row_grads import RowGrads
from hsa_compiler.tile.ir import Var


def lower_chunk_attend(low: Lowering) -> LoweredGroup:
    """``attend + fuse [+ merge_local]`` or ``attend + fuse_joint`` -> parts, and their sum."""
    walk = ChunkWalk.of(low, "attend", low.op("attend"))
    b, tiles = walk.b, walk.tiles
    joint = low.find("fuse_joint") is not None
    q = low.operand(b, walk.op, "q")
    weights = None if joint else low.operand(b, low.op("fuse"), "weights")
    parts = Partials.of(low, walk.op, walk.shape, "out", with_lse=joint)

    def visit(chunk: Var, first: Var, last: Var) -> None:
        keys_and_values = _whole_chunk(walk, chunk)
        with walk.pairs(walk.head, first, last) as (rows, _):
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

    walk.walk(walk.head, visit)
    main = walk.finish()
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
    walk = ChunkWalk.of(low, "attend_grad_q", low.op("attend_grad_q"))
    b, tiles = walk.b, walk.tiles
    grads = RowGrads(low, b, walk.op, walk.shape)
    q, d_out = low.operand(b, walk.op, "q"), low.operand(b, grads.source, "d_out")

    def visit(chunk: Var, first: Var, last: Var) -> None:
        keys_and_values = _whole_chunk(walk, chunk)
        with walk.pairs(walk.head, first, last) as (rows, _):
            b_q = rows.load(q, "b_q").to(tiles.dtype)
            b_do = rows.load(d_out, "b_do").to(tiles.dtype)
            if grads.joint:
                joint_rows = grads.joint_rows(tiles, rows)
                grads.put_queries(rows, joint_rows.query_grads(b_q, b_do, chunk, keys_and_values))
                return
            weighted = WeightedRows(tiles, rows.weight(low.operand(b, grads.source, "weights")))
            if keys_and_values:
                b_part, d_weight = weighted.query_grads(b_q, b_do, *keys_and_values)
            else:
                b_part, d_weight = weighted.tiled_query_grads(b_q, b_do, chunk)
            grads.put_queries(rows, b_part)
            grads.put_weights(rows, d_weight)

    walk.walk(walk.head, visit)
    return LoweredGroup((*grads.before, walk.finish(), *grads.after()), zeroed=grads.zeroed)


def _whole_chunk(walk: ChunkWalk, chunk: Var) -> tuple[Var, Var] | None:
    """The chunk's keys and values, loaded once for all of its pairs; None where the schedule
    holds sub-tiles of them."""
    if walk.shape.key_tiles > 1:
        return None
    offsets = walk.tiles.offsets(chunk, 0)
    return walk.tiles.load_keys(offsets), walk.tiles.load_values(offsets)
