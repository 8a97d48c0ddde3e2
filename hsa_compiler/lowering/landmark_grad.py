"""Gradients of landmarks and chunk biases, chunk order: a chunk sums the retrieval queries of the
rows that chose it, weighted with their slot gradients. Programs take `dim_block` dims each."""

from __future__ import annotations

from hsa_compiler.lowering.chunk_lists import ChunkLists
from hsa_compiler.lowering.common import LoweredGroup, Lowering, both, share_head
from hsa_compiler.tile.builder import TileBuilder
from hsa_compiler.tile.ir import Size, Var


def lower_landmark_grad(low: Lowering) -> LoweredGroup:
    """``scatter_add + score_grad_landmarks`` -> one kernel."""
    b = TileBuilder("landmark_grad")
    kernel = _LandmarkGrad(low, b)
    kernel.run()
    lists = kernel.lists
    heads = kernel.score_heads if lists.shared else kernel.heads
    launch = b.finish((lists.programs() * kernel.dim_tiles, heads, "B"))
    return LoweredGroup((launch,), tuple(lists.zeroed), lists.accumulators)


class _LandmarkGrad:
    def __init__(self, low: Lowering, b: TileBuilder) -> None:
        self.low, self.b = low, b
        self.op = op = low.op("score_grad_landmarks")
        self.score_heads, self.heads = low.dim("Hr"), low.dim("Hm")
        self.index_heads, self.dim = low.index_heads, low.dim("Dr")
        self.lists = ChunkLists(
            low,
            b,
            low.operand(b, op, "order"),
            low.operand(b, op, "offsets"),
            self.index_heads,
            low.dim("K"),
        )
        self.lists.check()
        self.pairs = low.schedule.pairs
        self.step = min(low.caps.pad(self.dim), low.schedule.dim_block)
        self.dim_tiles = -(-self.dim // self.step)
        self.q = low.operand(b, op, "q")
        self.d_slots = low.operand(b, low.op("scatter_add"), "d_slots")
        per_head = Size.of("B") * "C" * self.heads
        self.d_landmarks = self.lists.target(op, "d_landmarks", per_head * self.dim)
        with_bias = low.is_output(op, "d_bias")
        self.d_bias = self.lists.target(op, "d_bias", per_head) if with_bias else None

    def run(self) -> None:
        b = self.b
        work, i_head = b.program_id(0, "i_work"), b.program_id(1, "i_head")
        i_batch = b.program_id(2, "i_batch")
        i_tile: Var | int = 0
        if self.dim_tiles > 1:
            work, i_tile = work // self.dim_tiles, work % self.dim_tiles
        o_dim = b.arange(self.step, "o_dim") + i_tile * self.step
        m_dim = None if self.dim % self.step == 0 else o_dim < self.dim
        if self.lists.shared:
            head = self._index_head(i_head)
            landmark_head = i_head * self.heads // self.score_heads

            def visit(chunk: Var, first: Var, last: Var) -> None:
                sums = [init for _, init in self._zeros()]
                sums = self._sum(i_batch, i_head, head, first, last, o_dim, m_dim, sums)
                self._store(i_batch, landmark_head, i_tile, chunk, o_dim, m_dim, sums)

            self.lists.walk(work, i_batch, head, visit)
            return
        group = self.score_heads // self.heads
        with b.loop(0, group, name="i_member", carry=self._zeros()) as loop:
            score_head = i_head * group + loop.index
            head = self._index_head(score_head)
            sums = list(loop.carried)

            def visit_own(chunk: Var, first: Var, last: Var) -> None:
                sums[:] = self._sum(i_batch, score_head, head, first, last, o_dim, m_dim, sums)

            self.lists.walk(work, i_batch, head, visit_own)
            loop.yield_(*sums)
        self._store(i_batch, i_head, i_tile, work, o_dim, m_dim, list(loop.carried))

    def _index_head(self, score_head: Var) -> Var | int:
        return share_head(score_head, self.index_heads, self.score_heads)

    def _zeros(self) -> list[tuple[str, Var]]:
        sums = [("b_dl", self.b.full((self.step,), 0.0, "fp32", "b_dl"))]
        if self.d_bias is not None:
            sums.append(("b_db", self.b.full((), 0.0, "fp32", "b_db")))
        return sums

    def _sum(
        self,
        i_batch: Var,
        score_head: Var,
        head: Var | int,
        first: Var,
        last: Var,
        o_dim: Var,
        m_dim: Var | None,
        sums: list[Var],
    ) -> list[Var]:
        """A chunk's sums over the pairs ``first .. last - 1`` of one score head."""
        b, lists = self.b, self.lists
        carry = list(zip(("b_dl", "b_db"), sums, strict=False))
        with b.loop(
            first, last, self.pairs, name="i_pair", carry=carry, stages=self.low.schedule.stages
        ) as loop:
            place = loop.index + b.arange(self.pairs, "o_pair")
            m_pair = place < last
            base = lists.pair_base(i_batch, head)
            pair = b.load(lists.order, base + place, m_pair, name="b_pair")
            row, slot = pair // lists.top_k, pair % lists.top_k
            place_head = (i_batch * b.scalar("R")).to("i64") + row
            place_head = place_head * self.score_heads + score_head
            b_ds = b.load(self.d_slots, place_head * lists.top_k + slot, m_pair, name="b_ds")
            offsets = (place_head * self.dim).as_column + o_dim.as_row
            mask = both(b, m_pair.as_column, None if m_dim is None else m_dim.as_row)
            b_q = b.load(self.q, offsets, mask, name="b_q").to("fp32")
            results = [loop.carried[0] + b.sum(b_q * b_ds.as_column, 0)]
            if self.d_bias is not None:
                results.append(loop.carried[1] + b.sum(b_ds, 0))
            loop.yield_(*results)
        return list(loop.carried)

    def _store(
        self,
        i_batch: Var,
        landmark_head: Var,
        i_tile: Var | int,
        chunk: Var,
        o_dim: Var,
        m_dim: Var | None,
        sums: list[Var],
    ) -> None:
        b = self.b
        place = ((i_batch * b.scalar("C")).to("i64") + chunk) * self.heads + landmark_head
        b_dl = sums[0] * float(self.op.attr("scale"))
        self.lists.put(self.d_landmarks, place * self.dim + o_dim, b_dl, m_dim)
        if self.d_bias is None:
            return
        if isinstance(i_tile, int):
            self.lists.put(self.d_bias, place, sums[1])
        else:
            # Every dim tile has the whole sum; the first one writes it.
            with b.when(i_tile.eq(0)):
                self.lists.put(self.d_bias, place, sums[1])
