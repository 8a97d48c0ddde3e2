"""Selection, streamed: a tile of retrieval rows passes over blocks of landmarks and keeps its K
best chunks; no score reaches memory. Two algorithms, as the schedule's `top_k` says.

`merge`: a candidate is one 64-bit integer, the score's bits, made to order like the score, above
the chunk number. Its order is the selection's order - larger score first, the newer chunk on a
tie - so merging, tie-breaking and forced chunks are all one integer comparison.
`threshold`: see `threshold.py`.
"""

from __future__ import annotations

from hsa_compiler.lowering.common import LoweredGroup, Lowering, below
from hsa_compiler.lowering.ranking import Ranking
from hsa_compiler.lowering.threshold import Threshold
from hsa_compiler.tile.builder import TileBuilder
from hsa_compiler.tile.ir import Kernel, Var

#: Below every candidate; one above the smallest i64, whose literal some compilers misread.
EMPTY = -(2**63) + 1


def lower_select(low: Lowering) -> LoweredGroup:
    """``score + select`` -> one kernel."""
    return LoweredGroup((select_kernel(low),))


def select_kernel(low: Lowering) -> Kernel:
    """The kernel that writes indices and nothing else."""
    b = TileBuilder("select")
    if low.schedule.top_k == "threshold":
        threshold = Threshold(low, b)
        threshold.store_indices(threshold.run())
        return b.finish(threshold.rank.grid)
    merge = _Merge(low, b)
    merge.run()
    return b.finish(merge.rank.grid)


class _Merge:
    def __init__(self, low: Lowering, b: TileBuilder) -> None:
        self.low, self.b = low, b
        self.kept = low.caps.pad(low.dim("K"))
        self.block = max(low.schedule.chunk_block, self.kept)
        self.rank = Ranking(low, b, self.block)

    def run(self) -> None:
        b, tokens = self.b, self.rank.tokens
        first, last = self.rank.bounds()
        empty = b.full((tokens, self.kept), EMPTY, "i64", "b_best")
        first = first // self.block * self.block
        with b.loop(
            first,
            last,
            self.block,
            name="i_chunk",
            carry=[("b_best", empty)],
            stages=self.low.schedule.stages,
        ) as loop:
            o_chunk = loop.index + b.arange(self.block, "o_chunk")
            loop.yield_(b.merge_top_k(loop.carried[0], self._keys(o_chunk)))
        self._store(loop.carried[0])

    def _keys(self, o_chunk: Var) -> Var:
        """Candidates ``[tokens, block]`` i64; `EMPTY` where a chunk cannot be chosen."""
        ordered, allowed = self.rank.ordered(o_chunk)
        key = (ordered.to("i64") << 32) | o_chunk.as_row.to("i64")
        return self.b.where(allowed, key, EMPTY, "b_key")

    def _store(self, best: Var) -> None:
        """Order the chosen chunks newest first and write them; empty slots are -1."""
        b, top_k = self.b, self.rank.top_k
        o_slot = b.arange(self.kept, "o_slot")
        m_slot = below(o_slot, top_k, self.kept)
        chosen: Var = best > EMPTY
        if m_slot is not None:
            # A padded tile keeps more than K: the surplus is dropped before the re-ordering.
            chosen = chosen & m_slot.as_row
        chunk = b.where(chosen, best & 0xFFFFFFFF, -1, "b_chunk")
        none = b.full((self.rank.tokens, self.kept), -1, "i64", "b_none")
        newest_first = b.merge_top_k(none, chunk)
        mask = self.rank.m_row.as_column
        if m_slot is not None:
            mask = mask & m_slot.as_row
        rank = self.rank
        base = (rank.place * rank.index_heads + rank.i_head) * top_k
        indices = self.low.result(b, rank.op, "indices")
        b.store(indices, base.as_column + o_slot.as_row, newest_first.to("i32"), mask)
