"""Selection for few rows and many chunks: many programs score the chunks of a tile of rows, later
launches choose (`select_merge`).

A program scores blocks of chunks and keeps every score, as an integer of the same order, and every
block's best one. So nothing is sorted while the landmarks stream past, and what is sorted or ranked
afterwards is small: C / block candidates, then K * block.

Programs take every `parts`-th block, so that the work is even however many chunks are visible;
those without a block leave at once.
"""

from __future__ import annotations

from hsa_compiler.lowering.common import LoweredGroup, Lowering
from hsa_compiler.lowering.ranking import Ranking
from hsa_compiler.lowering.select_merge import NO_SCORE, Spaces, knows_scores, merge_launches
from hsa_compiler.lowering.weigh import weigh_kernel
from hsa_compiler.tile.builder import TileBuilder
from hsa_compiler.tile.ir import Kernel, Size, Var


def lower_select_split(low: Lowering) -> LoweredGroup:
    """``score + select [+ gather + normalize]`` -> a launch that scores, those that choose and
    weigh, and, where weights need scores that these do not know, `weigh_kernel`."""
    scan = _Scan(low, TileBuilder("select_parts"))
    scan.run()
    kernels = (scan.finish(), *merge_launches(low))
    if low.find("normalize") and not knows_scores(low):
        kernels += (weigh_kernel(low),)
    return LoweredGroup(kernels, overlapped=True)


class _Scan(Ranking):
    """The first launch: a part of the blocks of a tile of rows."""

    def __init__(self, low: Lowering, b: TileBuilder) -> None:
        # No merged list is kept, so a block may be smaller than K.
        super().__init__(low, b, low.schedule.chunk_block)

    def run(self) -> None:
        b, parts = self.b, self.low.schedule.parts
        spaces = Spaces(self.low, b)
        first, last = self.bounds()
        rows = spaces.first_block(self.place, self.i_head)
        start = first // self.block * self.block + b.program_id(1, "i_part") * self.block
        with b.loop(start, last, parts * self.block, name="i_chunk") as loop:
            o_chunk = loop.index + b.arange(self.block, "o_chunk")
            ordered, allowed = self.ordered(o_chunk)
            b_score = b.where(allowed, ordered, NO_SCORE, "b_score")
            mask = self.m_row.as_column
            offsets = (rows * self.block).as_column + o_chunk.as_row
            b.store(spaces.scores, offsets, b_score, mask)
            best = b.max(b_score, 1, "b_best")
            b.store(spaces.best, rows + loop.index // self.block, best, self.m_row)

    def tile_and_head(self) -> tuple[Var, Var]:
        """Programs of one part lie side by side: they read the same landmarks."""
        i_rest = self.b.program_id(0, "i_rest")
        return i_rest // self.index_heads, i_rest % self.index_heads

    def product(self, b_q: Var, b_l: Var, acc: Var) -> Var:
        """One row is no matrix: its products are summed without the matrix unit."""
        if self.tokens > 1:
            return super().product(b_q, b_l, acc)
        return acc + self.b.sum(b_l.to("fp32") * b_q.to("fp32"), 1).as_row

    def finish(self) -> Kernel:
        """The launch: no more parts than blocks in the whole memory, whatever is visible."""
        parts = Size.of("C").cdiv(self.block).at_most(self.low.schedule.parts)
        tiles = Size.of("R").cdiv(self.tokens) * self.index_heads
        return self.b.finish((tiles, parts, "B"))
