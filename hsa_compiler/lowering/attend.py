"""Forward attention to the selected chunks: one program per token (token order) or per tile of
neighbouring tokens (union order) and head program; `walks` says which chunks it passes.

With external weights every chunk is softmaxed by itself and added with its weight. The joint
softmax keeps a running maximum over all chunks instead, because a chunk's weight is then
``exp(lse_c - total_lse)``. Chunks larger than `chunk_tile` are walked in sub-tiles, the chunk's
own softmax rescaled as its maximum grows.
"""

from __future__ import annotations

from hsa_compiler.lowering.common import LN2, LOG2E, LoweredGroup, Lowering
from hsa_compiler.lowering.heads import AttendShape, ChunkTiles, QueryRows
from hsa_compiler.lowering.walks import (
    Walk,
    make_walk,
    tile_rows,
    tokens_per_tile,
    union_launches,
)
from hsa_compiler.tile.builder import TileBuilder
from hsa_compiler.tile.ir import Pointer, Size, Var


def lower_attend(low: Lowering) -> LoweredGroup:
    """``attend + fuse [+ merge_local]`` or ``attend + fuse_joint`` -> one kernel, in union order
    after the one that lists the unions."""
    tokens = tokens_per_tile(low)
    op = low.op("attend")
    shape = AttendShape.of(low, op)
    b = TileBuilder("attend")
    dtype = low.caps.operand(op.operand("q").type.dtype)  # type: ignore[union-attr]

    q = low.operand(b, op, "q")
    keys, values = low.operand(b, op, "k"), low.operand(b, op, "v")
    indices = low.operand(b, op, "indices")
    chunk_start = low.optional(b, op, "chunk_start")

    rows = tile_rows(b, shape, tokens)
    tiles = ChunkTiles(
        b, shape, keys, values, chunk_start, rows.batch, shape.kv_head(rows.program), dtype
    )
    b_q = b.load(q, rows.tile(), rows.mask_tile(), name="b_q").to(dtype)
    walk = make_walk(low, b, rows, indices)
    attend = _attend_joint if low.find("fuse_joint") else _attend_weighted
    b_out = attend(low, b, rows, tiles, walk, b_q)
    b.store(_output(low, b), rows.tile(), b_out, rows.mask_tile())
    launch = b.finish((Size.of("L").cdiv(tokens), shape.programs, "B"))
    return LoweredGroup((*union_launches(low, shape, indices), launch))


def _output(low: Lowering, b: TileBuilder) -> Pointer:
    merge = low.find("merge_local")
    if merge is not None:
        return low.result(b, merge, "merged", "out")
    return low.result(b, low.find("fuse") or low.op("fuse_joint"), "out")


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


def _attend_weighted(
    low: Lowering, b: TileBuilder, rows: QueryRows, tiles: ChunkTiles, walk: Walk, b_q: Var
) -> Var:
    shape = rows.shape
    walk.use_weights(low.operand(b, low.op("fuse"), "weights"))
    acc = b.full((rows.count, shape.head_dim), 0.0, "fp32", "b_acc")
    with b.loop(
        0, walk.steps, name="i_step", carry=[("b_out", acc)], stages=low.schedule.stages
    ) as loop:
        (b_out,) = loop.carried
        chunk = walk.enter(loop.index)
        b_w = walk.weight()
        if shape.key_tiles == 1:
            offsets = tiles.offsets(chunk, 0)
            b_k, b_v = tiles.load_keys(offsets), tiles.load_values(offsets)
            b_p, rcp = whole_chunk_softmax(b, shape, tiles.logits(b_q, b_k, 0))
            b_p = b.binary("mul", b_p, (rcp * b_w).as_column, "b_p").to(tiles.dtype)
            loop.yield_(b.dot(b_p, b_v, b_out))
        else:
            part, rcp = _attend_sub_tiles(b, rows, tiles, b_q, chunk)
            loop.yield_(b_out + part * (rcp * b_w).as_column)
    (b_out,) = loop.carried
    merge = low.find("merge_local")
    if merge is None:
        return b_out
    local_out = low.operand(b, merge, "local_out")
    local_weight = low.operand(b, merge, "local_weight")
    b_local = b.load(local_out, rows.tile(), rows.mask_tile(), name="b_local").to("fp32")
    b_wl = b.load(local_weight, rows.per_weight_head(), rows.mask(), name="b_local_w")
    return b_out + b_wl.as_column * b_local


def _attend_sub_tiles(
    b: TileBuilder, rows: QueryRows, tiles: ChunkTiles, b_q: Var, chunk: Var
) -> tuple[Var, Var]:
    """A chunk's unnormalised output ``[rows, D]`` and ``1 / denominator``, in sub-tiles."""
    shape = rows.shape
    carry = _running_softmax(b, rows, "b_part")
    with b.loop(0, shape.key_tiles, name="i_tile", carry=carry) as loop:
        b_part, b_m, b_l = loop.carried
        loop.yield_(*_online_step(b, tiles, b_q, chunk, loop.index, b_part, b_m, b_l))
    b_part, b_m, b_l = loop.carried
    return b_part, close_softmax(b, shape, b_m, b_l)


def _running_softmax(b: TileBuilder, rows: QueryRows, name: str) -> list[tuple[str, Var]]:
    """What a running softmax starts with: output, maximum and denominator."""
    shape = rows.shape
    return [
        (name, b.full((rows.count, shape.head_dim), 0.0, "fp32", name)),
        ("b_m", b.full((rows.count,), shape.first_maximum, "fp32", "b_m")),
        ("b_l", b.full((rows.count,), 0.0, "fp32", "b_l")),
    ]


def _online_step(
    b: TileBuilder,
    tiles: ChunkTiles,
    b_q: Var,
    chunk: Var,
    tile: Var | int,
    b_part: Var,
    b_m: Var,
    b_l: Var,
    walk: Walk | None = None,
) -> tuple[Var, Var, Var]:
    """One sub-tile added to a running softmax: the new (output, maximum, denominator). With
    `walk`, rows that did not choose its chunk leave it out."""
    offsets = tiles.offsets(chunk, tile)
    b_k, b_v = tiles.load_keys(offsets), tiles.load_values(offsets)
    b_s = tiles.logits(b_q, b_k, tile)
    if walk is not None:
        b_s = walk.visible(b_s)
    new_m = b.maximum(b_m, b.max(b_s, 1), "b_new_m")
    rescale = b.exp2(b_m - new_m, "b_rescale")
    b_p = b.exp2(b_s - new_m.as_column, "b_p")
    if walk is not None:
        b_p = walk.repeated(b_p)
    new_l = b_l * rescale + b.sum(b_p, 1)
    part = b.dot(b_p.to(tiles.dtype), b_v, b_part * rescale.as_column)
    return part, new_m, new_l


def _attend_joint(
    low: Lowering, b: TileBuilder, rows: QueryRows, tiles: ChunkTiles, walk: Walk, b_q: Var
) -> Var:
    shape = rows.shape
    with b.loop(
        0,
        walk.steps * shape.key_tiles,
        name="i_step",
        carry=_running_softmax(b, rows, "b_out"),
        stages=low.schedule.stages,
    ) as loop:
        b_out, b_m, b_l = loop.carried
        step = loop.index
        tile: Var | int = 0 if shape.key_tiles == 1 else step % shape.key_tiles
        chunk = walk.enter(step if shape.key_tiles == 1 else step // shape.key_tiles)
        b_out, b_m, b_l = _online_step(b, tiles, b_q, chunk, tile, b_out, b_m, b_l, walk)
        if shape.plus_one:
            # Every chosen chunk's own denominator holds the + 1, once.
            extra = walk.counted(b.exp2(-b_m))
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
