"""Forward attention to the selected chunks, token order: one program per token and head program
walks the token's slots.

With external weights every chunk is softmaxed by itself and added with its weight. The joint
softmax keeps a running maximum over all slots instead, because a chunk's weight is then
``exp(lse_c - total_lse)``. Chunks larger than `chunk_tile` are walked in sub-tiles, the chunk's
own softmax rescaled as its maximum grows.
"""

from __future__ import annotations

from hsa_compiler.lowering.common import (
    LN2,
    LOG2E,
    LoweredGroup,
    Lowering,
    count_valid,
)
from hsa_compiler.lowering.heads import AttendShape, ChunkTiles, QueryRows
from hsa_compiler.tile.builder import TileBuilder
from hsa_compiler.tile.ir import Pointer, Size, Var


def lower_attend(low: Lowering) -> LoweredGroup:
    """``attend + fuse [+ merge_local]`` or ``attend + fuse_joint`` -> one kernel."""
    low.need_order("token")
    op = low.op("attend")
    shape = AttendShape.of(low, op)
    b = TileBuilder("attend")
    dtype = low.caps.operand(op.operand("q").type.dtype)  # type: ignore[union-attr]

    q = low.operand(b, op, "q")
    keys, values = low.operand(b, op, "k"), low.operand(b, op, "v")
    indices = low.operand(b, op, "indices")
    chunk_start = low.optional(b, op, "chunk_start")

    i_token, i_program = b.program_id(0, "i_token"), b.program_id(1, "i_program")
    i_batch = b.program_id(2, "i_batch")
    rows = QueryRows(b, shape, i_batch, i_token, i_program)
    i_row = i_token if shape.query_block == 1 else i_token // shape.query_block
    tiles = ChunkTiles(
        b, shape, keys, values, chunk_start, i_batch, shape.kv_head(i_program), dtype
    )
    slots = slot_base(b, shape, i_batch, i_row, shape.index_head(i_program), shape.index_heads)
    b_q = b.load(q, rows.tile(), rows.mask_tile(), name="b_q").to(dtype)

    walk = _walk_joint if low.find("fuse_joint") else _walk_weighted
    b_out = walk(low, b, shape, rows, tiles, indices, slots, i_row, b_q)
    b.store(_output(low, b), rows.tile(), b_out, rows.mask_tile())
    return LoweredGroup((b.finish((Size.of("L"), shape.programs, "B")),))


def _output(low: Lowering, b: TileBuilder) -> Pointer:
    merge = low.find("merge_local")
    if merge is not None:
        return low.result(b, merge, "merged", "out")
    return low.result(b, low.find("fuse") or low.op("fuse_joint"), "out")


def slot_base(
    b: TileBuilder, shape: AttendShape, batch: Var, row: Var, head: Var | int, heads: int
) -> Var:
    """Offset of slot 0 in a ``[B, R, heads, K]`` tensor."""
    place = (batch * b.scalar("R")).to("i64") + row
    return (place * heads + head) * shape.top_k


def load_weights(
    low: Lowering,
    b: TileBuilder,
    shape: AttendShape,
    rows: QueryRows,
    weights: Pointer,
    row: Var,
    slot: Var,
) -> Var:
    """A slot's fusion weight: a scalar where all rows share it, else ``[padded_rows]``."""
    if shape.weight_heads <= shape.programs:
        first = shape.weight_head(rows.program * shape.rows)
        base = slot_base(b, shape, rows.batch, row, first, shape.weight_heads)
        return b.load(weights, base + slot, name="b_w")
    offsets = rows.per_weight_head(row) * shape.top_k + slot
    return b.load(weights, offsets, rows.mask(), name="b_w")


def close_softmax(b: TileBuilder, shape: AttendShape, m: Var, total: Var) -> Var:
    """1 over a denominator that is relative to the maximum `m`, with the optional ``+ 1``."""
    if shape.plus_one:
        total = total + b.exp2(-m)
    return b.binary("div", 1.0, total, "b_rcp_l")


def whole_chunk_softmax(b: TileBuilder, shape: AttendShape, logits: Var) -> tuple[Var, Var]:
    """Unnormalised ``exp2(logits - max)`` ``[rows, S]`` and ``1 / denominator`` ``[rows]``."""
    b_m = b.max(logits, 1, "b_m")
    if shape.plus_one:
        b_m = b.maximum(b_m, 0.0, "b_m")
    b_p = b.exp2(logits - b_m.as_column, "b_p")
    return b_p, close_softmax(b, shape, b_m, b.sum(b_p, 1, "b_l"))


def _walk_weighted(
    low: Lowering,
    b: TileBuilder,
    shape: AttendShape,
    rows: QueryRows,
    tiles: ChunkTiles,
    indices: Pointer,
    slots: Var,
    i_row: Var,
    b_q: Var,
) -> Var:
    weights = low.operand(b, low.op("fuse"), "weights")
    acc = b.full((shape.padded_rows, shape.head_dim), 0.0, "fp32", "b_acc")
    n_slots = count_valid(b, indices, slots, shape.top_k, low.caps.pad(shape.top_k))
    with b.loop(
        0, n_slots, name="i_slot", carry=[("b_out", acc)], stages=low.schedule.stages
    ) as loop:
        (b_out,) = loop.carried
        chosen = b.load(indices, slots + loop.index, name="chunk")
        chunk = b.maximum(chosen, 0, "chunk")
        b_w = load_weights(low, b, shape, rows, weights, i_row, loop.index)
        # A slot may be empty in the middle of a caller's own list: its weight counts as 0.
        b_w = b.where(chosen >= 0, b_w, 0.0, "b_w")
        if shape.key_tiles == 1:
            offsets = tiles.offsets(chunk, 0)
            b_k, b_v = tiles.load_keys(offsets), tiles.load_values(offsets)
            b_p, rcp = whole_chunk_softmax(b, shape, tiles.logits(b_q, b_k, 0))
            b_p = b.binary("mul", b_p, (rcp * b_w).as_column, "b_p").to(tiles.dtype)
            loop.yield_(b.dot(b_p, b_v, b_out))
        else:
            part, rcp = _attend_sub_tiles(b, shape, tiles, b_q, chunk)
            loop.yield_(b_out + part * (rcp * b_w).as_column)
    (b_out,) = loop.carried
    merge = low.find("merge_local")
    if merge is None:
        return b_out
    local_out = low.operand(b, merge, "local_out")
    local_weight = low.operand(b, merge, "local_weight")
    b_local = b.load(local_out, rows.tile(), rows.mask_tile(), name="b_local").to("fp32")
    b_wl = b.load(local_weight, rows.per_weight_head(i_row), rows.mask(), name="b_local_w")
    return b_out + b_wl.as_column * b_local


def _attend_sub_tiles(
    b: TileBuilder, shape: AttendShape, tiles: ChunkTiles, b_q: Var, chunk: Var
) -> tuple[Var, Var]:
    """A chunk's unnormalised output ``[rows, D]`` and ``1 / denominator``, in sub-tiles."""
    carry = [
        ("b_part", b.full((shape.padded_rows, shape.head_dim), 0.0, "fp32", "b_part")),
        ("b_m", b.full((shape.padded_rows,), shape.first_maximum, "fp32", "b_m")),
        ("b_l", b.full((shape.padded_rows,), 0.0, "fp32", "b_l")),
    ]
    with b.loop(0, shape.key_tiles, name="i_tile", carry=carry) as loop:
        b_part, b_m, b_l = loop.carried
        loop.yield_(*_online_step(b, tiles, b_q, chunk, loop.index, b_part, b_m, b_l))
    b_part, b_m, b_l = loop.carried
    return b_part, close_softmax(b, shape, b_m, b_l)


def _online_step(
    b: TileBuilder,
    tiles: ChunkTiles,
    b_q: Var,
    chunk: Var,
    tile: Var | int,
    b_part: Var,
    b_m: Var,
    b_l: Var,
    chosen: Var | None = None,
) -> tuple[Var, Var, Var]:
    """One sub-tile added to a running softmax: the new (output, maximum, denominator)."""
    offsets = tiles.offsets(chunk, tile)
    b_k, b_v = tiles.load_keys(offsets), tiles.load_values(offsets)
    b_s = tiles.logits(b_q, b_k, tile)
    if chosen is not None:
        b_s = b.where(chosen >= 0, b_s, float("-inf"), "b_s")
    new_m = b.maximum(b_m, b.max(b_s, 1), "b_new_m")
    rescale = b.exp2(b_m - new_m, "b_rescale")
    b_p = b.exp2(b_s - new_m.as_column, "b_p")
    new_l = b_l * rescale + b.sum(b_p, 1)
    part = b.dot(b_p.to(tiles.dtype), b_v, b_part * rescale.as_column)
    return part, new_m, new_l


def _walk_joint(
    low: Lowering,
    b: TileBuilder,
    shape: AttendShape,
    rows: QueryRows,
    tiles: ChunkTiles,
    indices: Pointer,
    slots: Var,
    i_row: Var,
    b_q: Var,
) -> Var:
    n_slots = count_valid(b, indices, slots, shape.top_k, low.caps.pad(shape.top_k))
    carry = [
        ("b_out", b.full((shape.padded_rows, shape.head_dim), 0.0, "fp32", "b_out")),
        ("b_m", b.full((shape.padded_rows,), shape.first_maximum, "fp32", "b_m")),
        ("b_l", b.full((shape.padded_rows,), 0.0, "fp32", "b_l")),
    ]
    with b.loop(
        0, n_slots * shape.key_tiles, name="i_step", carry=carry, stages=low.schedule.stages
    ) as loop:
        b_out, b_m, b_l = loop.carried
        step = loop.index
        slot = step if shape.key_tiles == 1 else step // shape.key_tiles
        tile: Var | int = 0 if shape.key_tiles == 1 else step % shape.key_tiles
        chosen = b.load(indices, slots + slot, name="chunk")
        chunk = b.maximum(chosen, 0, "chunk")
        b_out, b_m, b_l = _online_step(b, tiles, b_q, chunk, tile, b_out, b_m, b_l, chosen)
        if shape.plus_one:
            # Every chosen chunk's own denominator holds the + 1, once.
            extra = b.where(chosen >= 0, b.exp2(-b_m), 0.0)
            if isinstance(tile, Var):
                extra = b.where(tile.eq(0), extra, 0.0)
            b_l = b_l + extra
        loop.yield_(b_out, b_m, b_l)
    b_out, b_m, b_l = loop.carried

    fuse = low.op("fuse_joint")
    local_lse = low.optional(b, fuse, "local_lse")
    if local_lse is not None:
        local_out = low.operand(b, fuse, "local_out")
        b_local = b.load(local_out, rows.tile(), rows.mask_tile(), name="b_local").to("fp32")
        b_lse = b.load(local_lse, rows.per_head(), rows.mask(), name="b_local_lse") * LOG2E
        new_m = b.maximum(b_m, b_lse, "b_new_m")
        rescale = b.exp2(b_m - new_m, "b_rescale")
        b_wl = b.exp2(b_lse - new_m, "b_local_w")
        b_out = b_out * rescale.as_column + b_wl.as_column * b_local
        b_m, b_l = new_m, b_l * rescale + b_wl
    seen = b_l > 0.0
    safe_l = b.where(seen, b_l, 1.0, "b_safe_l")
    if low.is_output(fuse, "total_lse"):
        total = b.where(seen, (b_m + b.log2(safe_l)) * LN2, float("-inf"), "b_total")
        b.store(low.result(b, fuse, "total_lse"), rows.per_head(), total, rows.mask())
    return b_out * b.where(seen, 1.0 / safe_l, 0.0).as_column
