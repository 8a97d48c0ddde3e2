"""Gradients of keys and values, chunk order: a chunk stays in registers while the rows that chose
it pass by, found through the inverse index.

Rows are processed `pairs` x (query heads of a head program) at a time, which fills a matrix unit
at any head ratio. A chunk larger than `chunk_tile` is shared out over programs by sub-tiles of
its keys; each recomputes the softmax statistics of the whole chunk.
"""

from __future__ import annotations

from hsa_compiler.lowering.chunk_lists import ChunkLists
from hsa_compiler.lowering.common import LoweredGroup, Lowering
from hsa_compiler.lowering.heads import AttendShape, ChunkTiles
from hsa_compiler.lowering.pair_rows import PairRows, pairs_per_step
from hsa_compiler.lowering.recompute import JointRows, WeightedRows, load_total_lse
from hsa_compiler.tile.builder import TileBuilder
from hsa_compiler.tile.ir import Size, Var


def lower_attend_grad_kv(low: Lowering) -> LoweredGroup:
    """``attend_grad_kv`` and what it recomputes -> one kernel."""
    b = TileBuilder("attend_grad_kv")
    kernel = _GradKV(low, b)
    kernel.run()
    shape, lists = kernel.shape, kernel.lists
    heads = shape.programs if lists.shared else shape.kv_heads
    launch = b.finish((lists.programs() * shape.key_tiles, heads, "B"))
    if not lists.shared:
        # Keys after the last whole chunk belong to no program.
        return LoweredGroup((launch,), zeroed=("d_k", "d_v"))
    return LoweredGroup((launch,), tuple(lists.zeroed), lists.accumulators)


class _GradKV:
    def __init__(self, low: Lowering, b: TileBuilder) -> None:
        self.low, self.b = low, b
        self.op = op = low.op("attend_grad_kv")
        self.shape = shape = AttendShape.of(low, op)
        self.lists = ChunkLists(
            low,
            b,
            low.operand(b, op, "order"),
            low.operand(b, op, "offsets"),
            shape.index_heads,
            shape.top_k,
        )
        self.lists.check()
        q_value = op.operand("q")
        assert q_value is not None
        self.dtype = low.caps.operand(q_value.type.dtype)
        self.pairs = pairs_per_step(low, shape)
        self.q = low.operand(b, op, "q")
        self.keys, self.values = low.operand(b, op, "k"), low.operand(b, op, "v")
        self.chunk_start = low.optional(b, op, "chunk_start")
        self.joint = low.find("fuse_joint_grad")
        source = self.joint or low.op("fuse_grad_parts")
        self.d_out = low.operand(b, source, "d_out")
        if self.joint:
            self.total_lse = low.operand(b, self.joint, "total_lse")
            self.delta = low.operand(b, self.joint, "delta")
        else:
            self.weights = low.operand(b, source, "weights")
        size = Size.of("B") * "Lkv" * (shape.kv_heads * shape.head_dim)
        self.d_k, self.d_v = (self.lists.target(op, role, size) for role in ("d_k", "d_v"))

    def run(self) -> None:
        b, shape = self.b, self.shape
        work, i_head = b.program_id(0, "i_work"), b.program_id(1, "i_head")
        i_batch = b.program_id(2, "i_batch")
        i_tile: Var | int = 0
        if shape.key_tiles > 1:
            work, i_tile = work // shape.key_tiles, work % shape.key_tiles
        if self.lists.shared:
            self._walk(work, i_tile, i_batch, i_head, shape.kv_head(i_head))
            return
        # One program owns a chunk's result, so it walks the lists of all head programs that
        # share the KV head.
        per_kv = shape.programs // shape.kv_heads
        tiles = self._tiles(i_batch, i_head)
        sums = self._zeros()
        with b.loop(0, per_kv, name="i_program", carry=sums) as loop:
            program = i_head * per_kv + loop.index
            results = list(loop.carried)
            head = shape.index_head(program)

            def visit(chunk: Var, first: Var, last: Var) -> None:
                results[:] = self._sum(
                    tiles, chunk, i_tile, i_batch, program, head, first, last, results
                )

            self.lists.walk(work, i_batch, head, visit)
            loop.yield_(*results)
        if self.chunk_start is None:
            self._store(tiles, work, i_tile, *loop.carried)
            return
        # A table of packed chunks may have spare entries, which name another chunk's keys. Nobody
        # chose them; what no program stores stays 0.
        with b.when(self._chosen(work, i_batch, i_head * per_kv, per_kv)):
            self._store(tiles, work, i_tile, *loop.carried)

    def _chosen(self, chunk: Var, i_batch: Var, first_program: Var, programs: int) -> Var:
        """Whether any of the chunk's lists holds a pair."""
        b = self.b
        zero = b.full((), 0, "i32", "n_pairs")
        with b.loop(0, programs, name="i_list", carry=[("n_pairs", zero)]) as loop:
            head = self.shape.index_head(first_program + loop.index)
            first, last = self.lists.bounds(chunk, i_batch, head)
            loop.yield_(loop.carried[0] + (last - first))
        return loop.carried[0] > 0

    def _walk(self, work: Var, i_tile: Var | int, i_batch: Var, program: Var, kv: Var) -> None:
        tiles = self._tiles(i_batch, kv)
        head = self.shape.index_head(program)

        def visit(chunk: Var, first: Var, last: Var) -> None:
            sums = [init for _, init in self._zeros()]
            results = self._sum(tiles, chunk, i_tile, i_batch, program, head, first, last, sums)
            self._store(tiles, chunk, i_tile, *results)

        self.lists.walk(work, i_batch, head, visit)

    def _tiles(self, i_batch: Var, kv_head: Var) -> ChunkTiles:
        return ChunkTiles(
            self.b,
            self.shape,
            self.keys,
            self.values,
            self.chunk_start,
            i_batch,
            kv_head,
            self.dtype,
        )

    def _zeros(self) -> list[tuple[str, Var]]:
        tile = (self.shape.key_tile, self.shape.head_dim)
        return [(n, self.b.full(tile, 0.0, "fp32", n)) for n in ("b_dk", "b_dv")]

    def _sum(
        self,
        tiles: ChunkTiles,
        chunk: Var,
        i_tile: Var | int,
        i_batch: Var,
        program: Var,
        head: Var | int,
        first: Var,
        last: Var,
        sums: list[Var],
    ) -> tuple[Var, ...]:
        """dk and dv of one sub-tile, over the pairs ``first .. last - 1`` of the chunk's list."""
        b, shape, dtype = self.b, self.shape, self.dtype
        offsets = tiles.offsets(chunk, i_tile)
        b_k, b_v = tiles.load_keys(offsets), tiles.load_values(offsets)
        carry = [("b_dk", sums[0]), ("b_dv", sums[1])]
        stages = self.low.schedule.stages
        if shape.query_block > 1:
            first, last = first * shape.query_block, last * shape.query_block
        with b.loop(first, last, self.pairs, name="i_pair", carry=carry, stages=stages) as loop:
            b_dk, b_dv = loop.carried
            rows = PairRows(self.lists, shape, self.pairs, loop.index, last, i_batch, program, head)
            b_q = rows.load(self.q, "b_q").to(dtype)
            b_do = rows.load(self.d_out, "b_do").to(dtype)
            b_s = tiles.logits(b_q, b_k, i_tile)
            b_dp = b.dot(b_do, b_v.t, name="b_dp")
            if self.joint:
                b_wp, b_ds = self._joint_rows(rows, tiles).gradients(b_s, b_dp)
            else:
                weighted = WeightedRows(tiles, rows.weight(self.weights))
                if shape.key_tiles == 1:
                    stats, b_p = weighted.tile_stats(b_s, b_dp)
                else:
                    stats, maximum = weighted.chunk_stats(b_q, b_do, chunk)
                    b_p = tiles.power(b_s, maximum)
                b_wp = weighted.weighted(stats, b_p)
                b_ds = weighted.gradients(stats, b_p, b_dp)
            loop.yield_(b.dot(b_ds.to(dtype).t, b_q, b_dk), b.dot(b_wp.to(dtype).t, b_do, b_dv))
        return loop.carried

    def _joint_rows(self, rows: PairRows, tiles: ChunkTiles) -> JointRows:
        """Total LSE and delta of every row."""
        b = self.b
        total = load_total_lse(b, self.total_lse, rows.per_head(), rows.mask)
        delta = b.load(self.delta, rows.per_head(), rows.mask, name="b_delta")
        return JointRows(tiles, total, delta)

    def _store(
        self, tiles: ChunkTiles, chunk: Var, i_tile: Var | int, b_dk: Var, b_dv: Var
    ) -> None:
        offsets = tiles.offsets(chunk, i_tile)
        self.lists.put(self.d_k, offsets, b_dk * self.shape.scale)
        self.lists.put(self.d_v, offsets, b_dv)
