"""What both backward attention kernels recompute for a tile of query rows and one chunk.

With external weights ``wP = w softmax(S)`` and ``dS = wP (dP - D)``, ``D = rowsum(P dP)``; in the
joint softmax ``wP = exp(S - total_lse)`` and ``dS = wP (dP - delta)``. Neither includes the
logit scale, which is applied once to the finished sums.
"""

from __future__ import annotations

from dataclasses import dataclass

from hsa_compiler.lowering.attend import close_softmax, grow_maximum, whole_chunk_softmax
from hsa_compiler.lowering.common import LOG2E, Lowering
from hsa_compiler.lowering.heads import ChunkTiles, QueryRows
from hsa_compiler.lowering.pair_rows import PairRows
from hsa_compiler.tile.builder import TileBuilder
from hsa_compiler.tile.ir import Pointer, Var


@dataclass(frozen=True)
class Stats:
    """Of one chunk's softmax, ``[rows]`` each: 1 / denominator, and D."""

    rcp: Var
    d_weight: Var


@dataclass(frozen=True)
class WeightedRows:
    """Rows whose chunk weight (a scalar or ``[rows]``) comes from outside."""

    tiles: ChunkTiles
    weight: Var

    @property
    def b(self) -> TileBuilder:
        """The kernel under construction."""
        return self.tiles.b

    def tile_stats(self, b_s: Var, b_dp: Var) -> tuple[Stats, Var]:
        """Statistics of a chunk held whole, and its unnormalised exponentials."""
        b = self.b
        b_p, rcp, _ = whole_chunk_softmax(self.tiles, b_s)
        # Threads that hold copies of a row add other rows' products to it in different order: were
        # they contracted into multiply-adds, the copies would differ by a rounding.
        d_weight = b.binary("mul_rn", b.sum(b_p * b_dp, 1), rcp, "b_dw")
        return Stats(rcp, d_weight), b_p

    def chunk_stats(self, b_q: Var, b_do: Var, chunk: Var) -> tuple[Stats, Var]:
        """Statistics of a chunk walked in sub-tiles, rescaled as the maximum grows, and its
        maximum in base 2 ``[rows]``."""
        b, tiles, n = self.b, self.tiles, b_q.shape[0]
        shape = tiles.shape
        carry = [
            ("b_m", b.full((n,), shape.first_maximum, "fp32", "b_m")),
            ("b_l", b.full((n,), 0.0, "fp32", "b_l")),
            ("b_dw", b.full((n,), 0.0, "fp32", "b_dw")),
        ]
        with b.loop(0, shape.key_tiles, name="i_tile", carry=carry) as loop:
            b_m, b_l, b_dw = loop.carried
            offsets = tiles.offsets(chunk, loop.index)
            b_k, b_v = tiles.load_keys(offsets), tiles.load_values(offsets)
            b_s = tiles.logits(b_q, b_k, loop.index)
            b_dp = b.dot(b_do, b_v.t, name="b_dp")
            new_m, rescale, b_p = grow_maximum(tiles, b_s, b_m)
            loop.yield_(new_m, b_l * rescale + b.sum(b_p, 1), b_dw * rescale + b.sum(b_p * b_dp, 1))
        b_m, b_l, b_dw = loop.carried
        rcp = close_softmax(b, shape, b_m, b_l)
        return Stats(rcp, b.binary("mul_rn", b_dw, rcp, "b_dw")), b_m * shape.exponent

    def query_grads(
        self, b_q: Var, b_do: Var, b_k: Var, b_v: Var, b_dq: Var | None = None
    ) -> tuple[Var, Var]:
        """Of a chunk held whole: ``dS K``, added to `b_dq` where given, and D by row."""
        b, tiles = self.b, self.tiles
        b_dp = b.dot(b_do, b_v.t, name="b_dp")
        stats, b_p = self.tile_stats(tiles.logits(b_q, b_k, 0), b_dp)
        b_ds = self.gradients(stats, b_p, b_dp)
        return b.dot(b_ds.to(tiles.dtype), b_k, b_dq), stats.d_weight

    def tiled_query_grads(
        self, b_q: Var, b_do: Var, chunk: Var, b_dq: Var | None = None
    ) -> tuple[Var, Var]:
        """The same for a chunk walked in sub-tiles."""
        b, tiles = self.b, self.tiles
        stats, maximum = self.chunk_stats(b_q, b_do, chunk)
        if b_dq is None:
            b_dq = b.full((b_q.shape[0], tiles.shape.head_dim), 0.0, "fp32", "b_dq")
        with b.loop(0, tiles.shape.key_tiles, name="i_tile", carry=[("b_dq", b_dq)]) as loop:
            offsets = tiles.offsets(chunk, loop.index)
            b_k, b_v = tiles.load_keys(offsets), tiles.load_values(offsets)
            b_p = tiles.power(tiles.logits(b_q, b_k, loop.index), maximum)
            b_ds = self.gradients(stats, b_p, b.dot(b_do, b_v.t, name="b_dp"))
            loop.yield_(b.dot(b_ds.to(tiles.dtype), b_k, loop.carried[0]))
        return loop.carried[0], stats.d_weight

    def weighted(self, stats: Stats, b_p: Var) -> Var:
        """``wP`` of a tile, given its unnormalised exponentials."""
        return self.b.binary("mul", b_p, (stats.rcp * self.weight).as_column, "b_wp")

    def gradients(self, stats: Stats, b_p: Var, b_dp: Var) -> Var:
        """``dS`` of a tile: ``P (w dP - w D)``, a multiply-add and a product an element."""
        factor = stats.rcp * self.weight
        inner = b_dp * factor.as_column - (stats.d_weight * factor).as_column
        return self.b.binary("mul", b_p, inner, "b_ds")


@dataclass(frozen=True)
class JointRows:
    """Rows of a joint softmax: ``total_lse`` in base 2 and delta, ``[rows]`` each."""

    tiles: ChunkTiles
    total: Var
    delta: Var

    def query_grads(
        self, b_q: Var, b_do: Var, chunk: Var, keys_and_values: tuple[Var, Var] | None
    ) -> Var:
        """``dS K`` of a chunk whose keys and values are loaded, or that is walked in sub-tiles."""
        b, tiles = self.tiles.b, self.tiles
        if keys_and_values:
            b_k, b_v = keys_and_values
            b_dp = b.dot(b_do, b_v.t, name="b_dp")
            _, b_ds = self.gradients(tiles.logits(b_q, b_k, 0), b_dp)
            return b.dot(b_ds.to(tiles.dtype), b_k, name="b_part")
        zero = b.full((b_q.shape[0], tiles.shape.head_dim), 0.0, "fp32", "b_part")
        with b.loop(0, tiles.shape.key_tiles, name="i_tile", carry=[("b_part", zero)]) as loop:
            offsets = tiles.offsets(chunk, loop.index)
            b_k, b_v = tiles.load_keys(offsets), tiles.load_values(offsets)
            b_dp = b.dot(b_do, b_v.t, name="b_dp")
            _, b_ds = self.gradients(tiles.logits(b_q, b_k, loop.index), b_dp)
            loop.yield_(b.dot(b_ds.to(tiles.dtype), b_k, loop.carried[0]))
        return loop.carried[0]

    def gradients(self, b_s: Var, b_dp: Var) -> tuple[Var, Var]:
        """``wP`` and ``dS`` of a tile."""
        b, b_wp = self.tiles.b, self.tiles.power(b_s, self.total)
        return b_wp, b.binary("mul", b_wp, b_dp - self.delta.as_column, "b_ds")


def joint_row_grads(low: Lowering, b: TileBuilder, rows: QueryRows, b_do: Var) -> tuple[Var, Var]:
    """What the gradients of a joint softmax need once a row: total LSE in base 2, and delta. The
    local branch's gradients are written."""
    grad, row_dot = low.op("fuse_joint_grad"), low.op("row_dot")
    out, d_out = row_dot.operand("a"), grad.operand("d_out")
    assert out is not None and d_out is not None
    name = "a" if out.name != d_out.name else "b"

    def load(pointer: Pointer, name: str) -> Var:
        return b.load(pointer, rows.tile(), rows.mask_tile(), name=name).to("fp32")

    b_do = b_do.to("fp32")
    b_out = load(low.operand(b, row_dot, name, "out"), "b_out")
    delta = b.sum(b_out * b_do, 1, "b_delta")
    total_lse = low.operand(b, grad, "total_lse")
    total = load_total_lse(b, total_lse, rows.per_head(), rows.mask())
    local = low.find("local_joint_grad")
    if local is not None:
        b_local = load(low.operand(b, local, "local_out"), "b_local")
        local_lse = low.operand(b, local, "local_lse")
        b_lse = b.load(local_lse, rows.per_head(), rows.mask(), name="b_local_lse")
        b_wl = b.exp2(b_lse * LOG2E - total, "b_local_w")
        d_local = low.result(b, local, "d_local_out")
        b.store(d_local, rows.tile(), b_wl.as_column * b_do, rows.mask_tile())
        # Not sum(local * d_out) - delta: both are large where the local branch has the weight.
        d_lse = b_wl * b.sum((b_local - b_out) * b_do, 1)
        b.store(low.result(b, local, "d_local_lse"), rows.per_head(), d_lse, rows.mask())
    return total, delta


def load_joint_rows(low: Lowering, tiles: ChunkTiles, rows: PairRows, delta: Pointer) -> JointRows:
    """Total LSE and `delta` of every row of a step's pairs."""
    b = tiles.b
    total_lse = low.operand(b, low.op("fuse_joint_grad"), "total_lse")
    total = load_total_lse(b, total_lse, rows.per_head(), rows.mask)
    return JointRows(tiles, total, b.load(delta, rows.per_head(), rows.mask, name="b_delta"))


def load_total_lse(b: TileBuilder, total_lse: Pointer, offsets: Var, mask: Var | None) -> Var:
    """The saved total LSE in base 2; rows that saw nothing get a value no logit reaches, so that
    their exponentials are 0 and not NaN."""
    total = b.load(total_lse, offsets, mask, name="b_total")
    return b.where(total > float("-inf"), total * LOG2E, 1e30, "b_total")
