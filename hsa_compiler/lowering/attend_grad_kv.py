"""Gradients of keys and values, chunk order: a chunk stays in registers while the rows that chose
it pass by, found through the inverse index; and all gradients of attention in the same walk.

Rows are processed `pairs` x (query heads of a head program) at a time, which fills a matrix unit
at any head ratio. A chunk larger than `chunk_tile` is shared out over programs by sub-tiles of
its keys; each recomputes the softmax statistics of the whole chunk.

A walk that gives the gradients of queries too reads q and d_out once and computes ``Q K^T`` and
``dO V^T`` once for both: 5 matrix products a chunk, where two kernels compute 7.
"""

from __future__ import annotations

from hsa_compiler.lowering.chunk_copies import ChunkCopies
from hsa_compiler.lowering.chunk_walk import ChunkWalk
from hsa_compiler.lowering.common import LoweredGroup, Lowering
from hsa_compiler.lowering.pair_rows import PairRows
from hsa_compiler.lowering.recompute import JointRows, WeightedRows, load_joint_rows
from hsa_compiler.lowering.row_grads import RowGrads
from hsa_compiler.tile.ir import Kernel, Pointer, Size, Var

#: The results that are sums over a chunk's rows.
_SUMS = ("d_k", "d_v")


def lower_attend_grad_kv(low: Lowering) -> LoweredGroup:
    """``attend_grad_kv`` and what it recomputes -> one kernel."""
    walk = ChunkWalk.of(low, "attend_grad_kv", low.op("attend_grad_kv"), sums=True)
    sums = _KeyGrads(walk)
    sums.run()
    return LoweredGroup((walk.finish(),), sums.zeroed, walk.lists.accumulators)


def lower_attend_grad(low: Lowering) -> LoweredGroup:
    """``attend_grad_kv``, ``attend_grad_q`` and the gradients of weights and the local branch -> of
    a joint softmax, what is done once a row; the walk, which gives d_k, d_v, d_weights and parts of
    d_q; the sum of the parts; sums over programs that share a weight."""
    walk = ChunkWalk.of(low, "attend_grad", low.op("attend_grad_kv"), sums=True)
    rows = RowGrads(low, walk.b, low.op("attend_grad_q"), walk.shape, walk.shares_tiles)
    sums = _KeyGrads(walk, rows)
    sums.run()
    kernels = (*rows.before, walk.finish(), *sums.after(), *rows.after())
    return LoweredGroup(kernels, (*sums.zeroed, *rows.zeroed), walk.lists.accumulators)


class _KeyGrads:
    """The walk: d_k and d_v in registers, and what `row_grads` takes of every step."""

    def __init__(self, walk: ChunkWalk, row_grads: RowGrads | None = None) -> None:
        self.walk, self.row_grads = walk, row_grads
        self.low, self.b, self.shape = walk.low, walk.b, walk.shape
        low, b = self.low, self.b
        self.q = low.operand(b, walk.op, "q")
        self.joint = low.find("fuse_joint_grad")
        self.source = self.joint or low.op("fuse_grad_parts")
        self.d_out = low.operand(b, self.source, "d_out")
        self.copies = ChunkCopies(walk, _SUMS) if walk.lists.owns_rows else None
        self.targets: dict[str, Pointer] = {}
        if self.copies is None:
            size = Size.of("B") * "Lkv" * (self.shape.kv_heads * self.shape.head_dim)
            self.targets = {role: walk.lists.target(walk.op, role, size) for role in _SUMS}

    @property
    def zeroed(self) -> tuple[str, ...]:
        """Outputs to be zeroed first."""
        # Keys after the last whole chunk belong to no program.
        return _SUMS if self.walk.owns else tuple(self.walk.lists.zeroed)

    def after(self) -> tuple[Kernel, ...]:
        """What adds the programs' sums up."""
        return () if self.copies is None else (self.copies.sum(),)

    def run(self) -> None:
        """Emit the walk."""
        b, walk, shape = self.b, self.walk, self.shape
        per_kv = shape.programs // shape.kv_heads
        if not walk.owns or per_kv == 1:

            def visit_part(chunk: Var, first: Var, last: Var) -> None:
                # Without a branch the sums of an empty list would be set beside the products of a
                # full one, and ptxas would run these one by one (C7515).
                with b.when(first < last):
                    sums = [init for _, init in self._zeros()]
                    self._store(chunk, *self._sum(chunk, walk.head, first, last, sums))

            walk.walk(walk.head, visit_part)
            return
        # One program owns a chunk's result, so it walks the lists of all head programs that
        # share the KV head.
        with b.loop(0, per_kv, name="i_program", carry=self._zeros()) as loop:
            program = walk.head * per_kv + loop.index
            results = list(loop.carried)

            def visit(chunk: Var, first: Var, last: Var) -> None:
                results[:] = self._sum(chunk, program, first, last, results)

            walk.walk(program, visit)
            loop.yield_(*results)
        if walk.tiles.chunk_start is None:
            self._store(walk.work, *loop.carried)
            return
        # A table of packed chunks may have spare entries, which name another chunk's keys. Nobody
        # chose them; what no program stores stays 0.
        with b.when(self._chosen(walk.head * per_kv, per_kv)):
            self._store(walk.work, *loop.carried)

    def _chosen(self, first_program: Var, programs: int) -> Var:
        """Whether any of the chunk's lists holds a pair."""
        b, walk = self.b, self.walk
        zero = b.full((), 0, "i32", "n_pairs")
        with b.loop(0, programs, name="i_list", carry=[("n_pairs", zero)]) as loop:
            head = self.shape.index_head(first_program + loop.index)
            first, last = walk.lists.bounds(walk.work, walk.batch, head)
            loop.yield_(loop.carried[0] + (last - first))
        return loop.carried[0] > 0

    def _zeros(self) -> list[tuple[str, Var]]:
        tile = (self.shape.key_tile, self.shape.head_dim)
        return [(n, self.b.full(tile, 0.0, "fp32", n)) for n in ("b_dk", "b_dv")]

    def _sum(
        self, chunk: Var, program: Var, first: Var, last: Var, sums: list[Var]
    ) -> tuple[Var, ...]:
        """dk and dv of one sub-tile, over the pairs ``first .. last - 1`` of the chunk's list."""
        b, walk, tiles, grads = self.b, self.walk, self.walk.tiles, self.row_grads
        dtype = tiles.dtype
        offsets = tiles.offsets(chunk, walk.tile)
        b_k, b_v = tiles.load_keys(offsets), tiles.load_values(offsets)
        carry = [("b_dk", sums[0]), ("b_dv", sums[1])]
        with walk.pairs(program, first, last, carry) as (rows, loop):
            b_dk, b_dv = loop.carried
            b_q = rows.load(self.q, "b_q").to(dtype)
            b_do = rows.load(self.d_out, "b_do").to(dtype)
            b_s = tiles.logits(b_q, b_k, walk.tile)
            b_dp = b.dot(b_do, b_v.t, name="b_dp")
            if self.joint:
                b_wp, b_ds = self._joint_rows(rows).gradients(b_s, b_dp)
            else:
                weights = self.low.operand(b, self.source, "weights")
                weighted = WeightedRows(tiles, rows.weight(weights))
                if self.shape.key_tiles == 1:
                    stats, b_p = weighted.tile_stats(b_s, b_dp)
                else:
                    stats, maximum = weighted.chunk_stats(b_q, b_do, chunk)
                    b_p = tiles.power(b_s, maximum)
                b_wp = weighted.weighted(stats, b_p)
                b_ds = weighted.gradients(stats, b_p, b_dp)
                if grads:
                    grads.put_weights(rows, stats.d_weight, walk.tile)
            b_ds = b_ds.to(dtype)
            b_dk, b_dv = b.dot(b_ds.t, b_q, b_dk), b.dot(b_wp.to(dtype).t, b_do, b_dv)
            if grads:
                grads.put_queries(rows, b.dot(b_ds, b_k, name="b_part"), walk.tile)
            loop.yield_(b_dk, b_dv)
        return loop.carried

    def _joint_rows(self, rows: PairRows) -> JointRows:
        """Total LSE and delta of every row."""
        if self.row_grads:
            return self.row_grads.joint_rows(self.walk.tiles, rows)
        assert self.joint is not None
        delta = self.low.operand(self.b, self.joint, "delta")
        return load_joint_rows(self.low, self.walk.tiles, rows, delta)

    def _store(self, chunk: Var, b_dk: Var, b_dv: Var) -> None:
        offsets = self.walk.tiles.offsets(chunk, self.walk.tile)
        for role, part in zip(_SUMS, (b_dk * self.shape.scale, b_dv), strict=True):
            if self.copies:
                self.copies.add(role, offsets, part)
            else:
                self.walk.lists.put(self.targets[role], offsets, part)
