"""Forward attention to the selected chunks: one program per token (token order) or per tile of
neighbouring tokens (union order) and head program; `walks` says which chunks it passes. Chunk order
is in `chunk_attend`.

With external weights every chunk is softmaxed by itself and added with its weight. The joint
softmax keeps a running maximum over all chunks instead, because a chunk's weight is then
``exp(lse_c - total_lse)``. Chunks larger than `chunk_tile` are walked in sub-tiles, the chunk's
own softmax rescaled as its maximum grows.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

from hsa_compiler.ir import Op
from hsa_compiler.lowering.common import LN2, LOG2E, LOWEST, LoweredGroup, Lowering
from hsa_compiler.lowering.heads import AttendShape, ChunkTiles, QueryRows
from hsa_compiler.lowering.memory import memory
from hsa_compiler.lowering.walks import (
    Walk,
    make_walk,
    tile_rows,
    tokens_per_tile,
    union_launches,
)
from hsa_compiler.tile.builder import TileBuilder
from hsa_compiler.tile.ir import Size, Var


def lower_attend(low: Lowering) -> LoweredGroup:
    """``attend + fuse [+ merge_local]`` or ``attend + fuse_joint`` -> one kernel, in union order
    after the one that lists the unions."""
    tokens = tokens_per_tile(low)
    op = low.op("attend")
    shape = AttendShape.of(low, op)
    b = TileBuilder("attend")
    q, indices = low.operand(b, op, "q"), low.operand(b, op, "indices")
    rows = tile_rows(b, shape, tokens)
    tiles = chunk_tiles(low, rows, op).in_blocks(low)
    b_q = rows.load(low, q, "b_q").to(tiles.dtype)
    walk = make_walk(low, b, rows, indices)
    kind = JointAttend if low.find("fuse_joint") else WeightedAttend
    kernel = kind(low, b, rows)
    walk.run(kernel.start, partial(kernel.loop, tiles, walk, b_q), kernel.finish)
    launch = b.finish((Size.of("L").cdiv(tokens), shape.programs, "B"))
    return LoweredGroup((*union_launches(low, shape, indices), launch))


def chunk_tiles(low: Lowering, rows: QueryRows, op: Op) -> ChunkTiles:
    """The keys and values that a program's rows attend to."""
    b, shape = rows.b, rows.shape
    keys, paging = memory(low, b, op, "k")
    values, _ = memory(low, b, op, "v")
    start = low.optional(b, op, "chunk_start")
    head, dtype = shape.kv_head(rows.program), low.caps.operand(op["q"].type.dtype)
    return ChunkTiles(b, shape, keys, values, start, rows.batch, head, dtype, paging)


def close_softmax(b: TileBuilder, shape: AttendShape, m: Var, total: Var) -> Var:
    """1 over a denominator that is relative to the maximum `m`, with the optional ``+ 1``."""
    if shape.plus_one:
        total = total + b.exp2(m * -shape.exponent)
    return b.binary("div", 1.0, total, "b_rcp_l")


def whole_chunk_softmax(tiles: ChunkTiles, logits: Var) -> tuple[Var, Var, Var]:
    """Unnormalised ``exp(logits - max)`` ``[rows, S]``, ``1 / denominator`` ``[rows]`` and the
    maximum ``[rows]`` in base 2."""
    b, shape = tiles.b, tiles.shape
    b_m = b.max(logits, 1, "b_m")
    if shape.plus_one:
        b_m = b.maximum(b_m, 0.0, "b_m")
    base = b_m * shape.exponent
    b_p = tiles.power(logits, base)
    return b_p, close_softmax(b, shape, b_m, b.sum(b_p, 1, "b_l")), base


def grow_maximum(tiles: ChunkTiles, logits: Var, b_m: Var) -> tuple[Var, Var, Var]:
    """A running softmax sees more logits: the new maximum, what sums so far are multiplied with,
    and the unnormalised exponentials."""
    b, shape = tiles.b, tiles.shape
    new_m = b.maximum(b_m, b.max(logits, 1), "b_new_m")
    rescale = b.exp2((b_m - new_m) * shape.exponent, "b_rescale")
    return new_m, rescale, tiles.power(logits, new_m * shape.exponent)


def store_weighted(low: Lowering, b: TileBuilder, rows: QueryRows, b_out: Var) -> None:
    """Write finished rows, after adding the local branch where there is one."""
    merge = low.find("merge_local")
    op, result = (low.op("fuse"), "out") if merge is None else (merge, "merged")
    if merge is not None:
        local_weight = low.operand(b, merge, "local_weight")
        b_wl = b.load(local_weight, rows.per_weight_head(), rows.mask(), name="b_local_w")
        b_out = b_out + b_wl.as_column * load_local(low, b, rows, merge)
    b.store(low.result(b, op, result, "out"), rows.tile(), b_out, rows.mask_tile())


def store_joint(
    low: Lowering, b: TileBuilder, rows: QueryRows, b_out: Var, b_m: Var, b_l: Var
) -> None:
    """Write the rows of a joint softmax and its total LSE, after adding the local branch where
    there is one: `b_out` and the denominator `b_l` are relative to the maximum `b_m`, in base 2."""
    fuse = low.op("fuse_joint")
    local_lse = low.optional(b, fuse, "local_lse")
    if local_lse is not None:
        b_lse = b.load(local_lse, rows.per_head(), rows.mask(), name="b_local_lse") * LOG2E
        # A row that saw no chunk gets the local output as it is, not a rounded quotient.
        b_m = b.where(b_l > 0.0, b_m, LOWEST, "b_m")
        new_m = b.maximum(b_m, b_lse, "b_new_m")
        rescale = b.exp2(b_m - new_m, "b_rescale")
        b_wl = b.exp2(b_lse - new_m, "b_local_w")
        b_out = b_out * rescale.as_column + b_wl.as_column * load_local(low, b, rows, fuse)
        b_m, b_l = new_m, b_l * rescale + b_wl
    seen = b_l > 0.0
    safe_l = b.where(seen, b_l, 1.0, "b_safe_l")
    if low.is_output(fuse, "total_lse"):
        total = b.where(seen, (b_m + b.log2(safe_l)) * LN2, float("-inf"), "b_total")
        b.store(low.result(b, fuse, "total_lse"), rows.per_head(), total, rows.mask())
    b_out = b_out * b.where(seen, 1.0 / safe_l, 0.0).as_column
    b.store(low.result(b, fuse, "out"), rows.tile(), b_out, rows.mask_tile())


def load_local(low: Lowering, b: TileBuilder, rows: QueryRows, op: Op) -> Var:
    """The local branch's output for these rows, fp32."""
    local_out = low.operand(b, op, "local_out")
    return b.load(local_out, rows.tile(), rows.mask_tile(), name="b_local").to("fp32")


@dataclass(frozen=True)
class AttendKernel:
    """A kernel's query rows: `start` gives what its loop carries, `loop` walks and returns the
    final values, `finish` writes the results."""

    low: Lowering
    b: TileBuilder
    rows: QueryRows


class WeightedAttend(AttendKernel):
    """Every chunk is softmaxed by itself and added with its weight from outside."""

    def start(self) -> list[tuple[str, Var]]:
        size = (self.rows.count, self.rows.shape.head_dim)
        return [("b_out", self.b.full(size, 0.0, "fp32", "b_out"))]

    def loop(
        self, tiles: ChunkTiles, walk: Walk, b_q: Var, carry: list[tuple[str, Var]]
    ) -> tuple[Var, ...]:
        low, b = self.low, self.b
        walk.use_weights(low.operand(b, low.op("fuse"), "weights"))
        with walk.loop(carry) as loop:
            (b_out,) = loop.carried
            chunk = walk.enter(loop.index)
            b_w = walk.weight()
            if self.rows.shape.key_tiles == 1:
                offsets = tiles.offsets(chunk, 0)
                b_k, b_v = tiles.load_keys(offsets), tiles.load_values(offsets)
                b_p, rcp, _ = whole_chunk_softmax(tiles, tiles.logits(b_q, b_k, 0))
                b_p = b.binary("mul", b_p, (rcp * b_w).as_column, "b_p").to(tiles.dtype)
                loop.yield_(b.dot(b_p, b_v, b_out))
            else:
                part, rcp, _ = attend_sub_tiles(tiles, b_q, chunk)
                loop.yield_(b_out + part * (rcp * b_w).as_column)
        return loop.carried

    def finish(self, b_out: Var) -> None:
        store_weighted(self.low, self.b, self.rows, b_out)


class JointAttend(AttendKernel):
    """One softmax over all chunks and the local branch, with a running maximum."""

    def start(self) -> list[tuple[str, Var]]:
        return _running_softmax(self.b, self.rows.shape, self.rows.count, "b_out")

    def loop(
        self, tiles: ChunkTiles, walk: Walk, b_q: Var, carry: list[tuple[str, Var]]
    ) -> tuple[Var, ...]:
        b, shape = self.b, self.rows.shape
        with walk.loop(carry, shape.key_tiles) as loop:
            step = loop.index
            tile: Var | int = 0 if shape.key_tiles == 1 else step % shape.key_tiles
            chunk = walk.enter(step if shape.key_tiles == 1 else step // shape.key_tiles)
            b_out, b_m, b_l = loop.carried
            b_out, b_m, b_l = _online_step(b, tiles, b_q, chunk, tile, b_out, b_m, b_l, walk)
            if shape.plus_one:
                # Every chosen chunk's own denominator holds the + 1, once.
                extra = walk.counted(b.exp2(b_m * -shape.exponent))
                if isinstance(tile, Var):
                    extra = b.where(tile.eq(0), extra, 0.0)
                b_l = b_l + extra
            loop.yield_(b_out, b_m, b_l)
        return loop.carried

    def finish(self, b_out: Var, b_m: Var, b_l: Var) -> None:
        base = b_m * self.rows.shape.exponent
        store_joint(self.low, self.b, self.rows, b_out, base, b_l)


def attend_sub_tiles(tiles: ChunkTiles, b_q: Var, chunk: Var) -> tuple[Var, Var, Var]:
    """A chunk's unnormalised output ``[rows, D]``, ``1 / denominator`` and the maximum in base 2,
    in sub-tiles."""
    b, shape = tiles.b, tiles.shape
    carry = _running_softmax(b, shape, b_q.shape[0], "b_part")
    with b.loop(0, shape.key_tiles, name="i_tile", carry=carry) as loop:
        b_part, b_m, b_l = loop.carried
        loop.yield_(*_online_step(b, tiles, b_q, chunk, loop.index, b_part, b_m, b_l))
    b_part, b_m, b_l = loop.carried
    return b_part, close_softmax(b, shape, b_m, b_l), b_m * shape.exponent


def _running_softmax(
    b: TileBuilder, shape: AttendShape, rows: int, name: str
) -> list[tuple[str, Var]]:
    """What a running softmax of `rows` rows starts with: output, maximum and denominator."""
    return [
        (name, b.full((rows, shape.head_dim), 0.0, "fp32", name)),
        ("b_m", b.full((rows,), shape.first_maximum, "fp32", "b_m")),
        ("b_l", b.full((rows,), 0.0, "fp32", "b_l")),
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
    new_m, rescale, b_p = grow_maximum(tiles, b_s, b_m)
    if walk is not None:
        b_p = walk.repeated(b_p)
    new_l = b_l * rescale + b.sum(b_p, 1)
    part = b.dot(b_p.to(tiles.dtype), b_v, b_part * rescale.as_column)
    return part, new_m, new_l
