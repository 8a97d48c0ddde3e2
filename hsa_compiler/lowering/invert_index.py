"""The inverse index, by counting sort in O(R K + blocks C) memory and without atomics between
programs: which (row, slot) pairs chose each chunk, ascending inside a chunk.

Rows are cut into `index_blocks` blocks. 1. Every block counts its own pairs per chunk. 2. Per
chunk, the blocks' counts become running sums. 3. Per index head, chunk totals become offsets.
4. Every block walks its rows in order and writes each pair to its place. The result does not
depend on timing, so gradients summed in list order are reproducible.
"""

from __future__ import annotations

from contextlib import AbstractContextManager

from hsa_compiler.lowering.common import LoweredGroup, Lowering, below, both
from hsa_compiler.tile.builder import Loop, TileBuilder
from hsa_compiler.tile.ir import Kernel, Pointer, Size, Var, Workspace

_LANES = 256
#: Chunks of a program that adds up counts, and the blocks of one of its steps.
_COLUMNS, _AHEAD = 128, 8


def lower_invert_index(low: Lowering) -> LoweredGroup:
    """``invert_index`` -> four kernels."""
    index = _Invert(low)
    return LoweredGroup((index.count(), index.prefix_blocks(), index.offsets(), index.place()))


class _Invert:
    def __init__(self, low: Lowering) -> None:
        self.low, self.op = low, low.op("invert_index")
        self.heads, self.top_k = low.dim("Hi"), low.dim("K")
        self.kept = low.caps.pad(self.top_k)
        # Never more blocks than a sixteenth of the rows, so that the counts stay O(R K).
        rows = Size.of("R")
        self.blocks = rows.cdiv(16).at_most(low.schedule.index_blocks).at_least(1)
        self.block_rows = rows.cdiv(self.blocks)
        size = Size.of("B") * self.heads * self.blocks * "C"
        self.counts = Workspace("counts", "i32", size.at_least(1), zeroed=True)

    def _start(self, name: str) -> tuple[TileBuilder, Var, Var, Var]:
        b = TileBuilder(name)
        return b, b.program_id(0, "i_work"), b.program_id(1, "i_head"), b.program_id(2, "i_batch")

    def _list(self, b: TileBuilder, batch: Var, head: Var) -> Var:
        """The number of a (batch, index head) list, i64."""
        return (batch * self.heads + head).to("i64")

    def _counts_row(self, b: TileBuilder, batch: Var, head: Var, block: Var) -> Var:
        lists = self._list(b, batch, head)
        return (lists * b.scalar("n_blocks", self.blocks) + block) * b.scalar("C")

    def _rows(self, b: TileBuilder, block: Var) -> tuple[Var, Var]:
        first = block * b.scalar("block_rows", self.block_rows)
        last = b.minimum(first + b.scalar("block_rows", self.block_rows), b.scalar("R"), "last")
        return first, last

    def _walk(self, b: TileBuilder, first: Var, last: Var) -> AbstractContextManager[Loop]:
        """A loop over a block's rows, `tokens` at a time."""
        return b.loop(first, last, self.low.schedule.tokens, name="i_row")

    def _chosen(
        self, b: TileBuilder, indices: Pointer, batch: Var, head: Var, row: Var, last: Var
    ) -> tuple[Var, Var]:
        """The chunks that the slots of `tokens` rows chose, row by row, and their pairs' ids; none
        of the rows from `last` on."""
        tokens = self.low.schedule.tokens
        o_pair = b.arange(tokens * self.kept, "o_pair")
        mask: Var | None
        if tokens == 1:
            o_slot, rows = o_pair, row
            mask = below(o_slot, self.top_k, self.kept)
        else:
            o_slot, rows = o_pair % self.kept, row + o_pair // self.kept
            mask = both(b, rows < last, below(o_slot, self.top_k, self.kept))
        place = (batch * b.scalar("R")).to("i64") + rows
        base = (place * self.heads + head) * self.top_k
        chosen = b.load(indices, base + o_slot, mask, other=-1, name="b_chosen")
        return chosen, rows * self.top_k + o_slot

    def count(self) -> Kernel:
        """counts[list, block, chunk]: how often a block's rows chose a chunk."""
        b, block, head, batch = self._start("count_pairs")
        indices = self.low.operand(b, self.op, "indices")
        counts = self.low.workspace(b, self.counts)
        base = self._counts_row(b, batch, head, block)
        first, last = self._rows(b, block)
        with self._walk(b, first, last) as rows:
            chosen, _ = self._chosen(b, indices, batch, head, rows.index, last)
            b.atomic_add(counts, base + chosen, 1, chosen >= 0, exclusive=True)
        return b.finish((self.blocks, self.heads, "B"))

    def prefix_blocks(self) -> Kernel:
        """counts become exclusive running sums over blocks; totals[list, chunk] their ends."""
        b, tile, head, batch = self._start("prefix_blocks")
        counts, totals = self.low.workspace(b, self.counts), self._totals(b)
        o_chunk = tile * _COLUMNS + b.arange(_COLUMNS, "o_chunk")
        mask = o_chunk < b.scalar("C")
        zero = b.full((_COLUMNS,), 0, "i32", "b_sum")
        n_blocks = b.scalar("n_blocks", self.blocks)
        carry = [("b_sum", zero)]
        with b.loop(0, n_blocks, _AHEAD, name="i_block", carry=carry) as loop:
            # All loads of a step before its first store: the step waits for memory once.
            places, found = [], []
            for at in range(_AHEAD):
                block = loop.index + at
                offsets = self._counts_row(b, batch, head, block) + o_chunk
                places.append((offsets, mask & (block < n_blocks)))
                found.append(b.load(counts, *places[-1], name="b_count"))
            b_sum = loop.carried[0]
            for place, b_count in zip(places, found, strict=True):
                b.store(counts, place[0], b_sum, place[1])
                b_sum = b_sum + b_count
            loop.yield_(b_sum)
        base = self._list(b, batch, head) * b.scalar("C")
        b.store(totals, base + o_chunk, loop.carried[0], mask)
        return b.finish((Size.of("C").cdiv(_COLUMNS), self.heads, "B"))

    def offsets(self) -> Kernel:
        """offsets[list, 0 .. C]: exclusive running sums of the totals."""
        b, _, head, batch = self._start("chunk_offsets")
        totals = self._totals(b)
        offsets = self.low.result(b, self.op, "offsets")
        n_chunks = b.scalar("C")
        source = self._list(b, batch, head) * n_chunks
        target = self._list(b, batch, head) * (n_chunks + 1)
        zero = b.full((), 0, "i32", "n_pairs")
        b.store(offsets, target, zero)
        with b.loop(0, n_chunks, _LANES, name="i_chunk", carry=[("n_pairs", zero)]) as loop:
            o_chunk = loop.index + b.arange(_LANES, "o_chunk")
            mask = o_chunk < n_chunks
            b_total = b.load(totals, source + o_chunk, mask, name="b_total")
            b_end = loop.carried[0] + b.cumsum(b_total)
            b.store(offsets, target + 1 + o_chunk, b_end, mask)
            loop.yield_(loop.carried[0] + b.sum(b_total))
        return b.finish((1, self.heads, "B"))

    def place(self) -> Kernel:
        """order[list, place] = pair id, each block from its own cursors on."""
        b, block, head, batch = self._start("place_pairs")
        indices = self.low.operand(b, self.op, "indices")
        counts = self.low.workspace(b, self.counts)
        offsets = self.low.result(b, self.op, "offsets")
        order = self.low.result(b, self.op, "order")
        cursors = self._counts_row(b, batch, head, block)
        starts = self._list(b, batch, head) * (b.scalar("C") + 1)
        pairs = self._list(b, batch, head) * b.scalar("R") * self.top_k
        lanes = self.low.schedule.tokens * self.kept
        o_pair = b.arange(lanes, "o_pair")
        first, last = self._rows(b, block)
        with self._walk(b, first, last) as rows:
            chosen, pair = self._chosen(b, indices, batch, head, rows.index, last)
            valid = chosen >= 0
            done = b.load(counts, cursors + chosen, valid, name="b_done")
            start = b.load(offsets, starts + chosen, valid, name="b_start")
            # Rows of one step, and slots of a caller's own list, may name a chunk twice: their
            # pairs keep their order.
            twins = chosen.as_column.eq(chosen.as_row) & (o_pair.as_row < o_pair.as_column)
            twins = b.where(twins, 1, b.full((lanes, lanes), 0, "i32", "b_zero"))
            where = pairs + start + done + b.sum(twins, 1, "b_twins")
            b.store(order, where, pair, valid)
            b.barrier()
            b.atomic_add(counts, cursors + chosen, 1, valid, exclusive=True)
            b.barrier()
        return b.finish((self.blocks, self.heads, "B"))

    def _totals(self, b: TileBuilder) -> Pointer:
        size = (Size.of("B") * self.heads * "C").at_least(1)
        return self.low.workspace(b, Workspace("totals", "i32", size))
