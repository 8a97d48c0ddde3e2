"""Selection, streamed: a tile of retrieval rows passes over blocks of landmarks and keeps its K
best chunks; no score reaches memory.

A candidate is one 64-bit integer: the score's bits, made to order like the score, above the chunk
number. Its order is the selection's order - larger score first, the newer chunk on a tie - so
merging, tie-breaking and forced chunks are all one integer comparison.
"""

from __future__ import annotations

from hsa_compiler.lowering.common import LN2, LOG2E, LoweredGroup, Lowering, below, both
from hsa_compiler.lowering.memory import memory, visible
from hsa_compiler.tile.builder import TileBuilder
from hsa_compiler.tile.ir import Size, Var

# Below every candidate; one above the smallest i64, whose literal some compilers misread.
EMPTY = -(2**63) + 1
_FORCED = 0x7FFFFFFF


def lower_select(low: Lowering) -> LoweredGroup:
    """``score + select`` -> one kernel."""
    b = TileBuilder("select")
    kernel = SelectTile(low, b)
    kernel.run()
    rows = Size.of("R").cdiv(kernel.tokens)
    return LoweredGroup((b.finish((rows, kernel.index_heads, "B")),))


class SelectTile:
    """A tile of retrieval rows of one index head: what its chunks score, and its best ones."""

    def __init__(self, low: Lowering, b: TileBuilder) -> None:
        self.low, self.b = low, b
        self.score, self.op = low.op("score"), low.op("select")
        q_value = self.score.operand("q")
        assert q_value is not None
        self.dtype = low.caps.operand(q_value.type.dtype)
        self.q = low.operand(b, self.score, "q")
        self.landmarks, self.paging = memory(low, b, self.score, "landmarks")
        self.bias = low.optional(b, self.score, "bias")
        self.seed = low.optional(b, self.op, "seed")
        self.row_lse = low.optional(b, self.op, "row_lse")
        self.score_heads, self.landmark_heads = low.dim("Hr"), low.dim("Hm")
        self.index_heads = low.dim("Hi")
        self.dim = low.dim("Dr")
        self.top_k = low.dim("K")
        self.kept = low.caps.pad(self.top_k)
        self.tokens = low.schedule.tokens
        self.block = max(low.schedule.chunk_block, self.kept)
        self.i_tile, self.i_head = self.tile_and_head()
        self.i_batch = b.program_id(2, "i_batch")
        self.n_rows, self.n_chunks = b.scalar("R"), b.scalar("C")
        self.o_row = self.i_tile * self.tokens + b.arange(self.tokens, "o_row")
        self.m_row = self.o_row < self.n_rows
        self.place = (self.i_batch * self.n_rows).to("i64") + self.o_row

    def tile_and_head(self) -> tuple[Var, Var]:
        """The program's tile of rows and index head."""
        return self.b.program_id(0, "i_tile"), self.b.program_id(1, "i_head")

    def interval(self) -> tuple[Var, Var, Var, Var]:
        """The rows' visible intervals lo and hi, and the blocks that hold all of them: first, a
        multiple of the block, and last."""
        b = self.b
        b_lo, b_hi = visible(self.low, b, self.i_batch, self.o_row, self.m_row)
        far = b.where(b_hi > b_lo, b_lo, self.n_chunks)
        first = b.reduce("min", far, 0, "first")
        last = b.max(b_hi, 0, "last")
        if self.low.find("interval") is not None:
            # Past the cache's length a block table names no page and memory holds anything.
            self.n_chunks = last
        return b_lo, b_hi, first // self.block * self.block, last

    def run(self) -> None:
        b = self.b
        b_lo, b_hi, first, last = self.interval()
        empty = b.full((self.tokens, self.kept), EMPTY, "i64", "b_best")
        with b.loop(
            first,
            last,
            self.block,
            name="i_chunk",
            carry=[("b_best", empty)],
            stages=self.low.schedule.stages,
        ) as loop:
            o_chunk = loop.index + b.arange(self.block, "o_chunk")
            value = self.values(o_chunk)
            keys = self._keys(value, o_chunk, b_lo, b_hi)
            loop.yield_(b.merge_top_k(loop.carried[0], keys))
        self._store(loop.carried[0])

    def values(self, o_chunk: Var) -> Var:
        """What chunks are ranked by, ``[tokens, block]``: scores over the group, with noise."""
        b = self.b
        group = self.score_heads // self.index_heads
        reduce = self.op.attr("reduce")
        value: Var | None = None
        for member in range(1 if reduce == "single" else group):
            one = self._score(self.i_head * group + member, o_chunk)
            if value is None:
                value = one
            else:
                value = value + one if reduce == "sum" else b.maximum(value, one)
        assert value is not None
        if self.seed is not None:
            value = value + self._noise(o_chunk)
        # -0.0 and 0.0 are the same score but not the same bits.
        return b.where(value.eq(0.0), 0.0, value, "b_value")

    def _score(self, head: Var, o_chunk: Var) -> Var:
        b, low = self.b, self.low
        heads = self.landmark_heads
        landmark_head = head if heads == self.score_heads else head * heads // self.score_heads
        m_chunk = o_chunk < self.n_chunks
        chunk_place = (self.i_batch * b.scalar("C")).to("i64") + o_chunk
        row_base = (self.place * self.score_heads + head) * self.dim
        place = chunk_place
        if self.paging is not None:
            place = self.paging.place(self.i_batch, o_chunk, m_chunk)
        chunk_base = (place * heads + landmark_head) * self.dim
        step = min(low.caps.pad(self.dim), low.schedule.dim_block)
        zero = b.full((self.tokens, self.block), 0.0, "fp32", "b_score")
        with b.loop(0, self.dim, step, name="i_dim", carry=[("b_score", zero)]) as loop:
            o_dim = loop.index + b.arange(step, "o_dim")
            m_dim = None if self.dim % step == 0 else o_dim < self.dim
            m_q: Var | None = self.m_row.as_column
            m_k: Var | None = m_chunk.as_column
            if m_dim is not None:
                m_q, m_k = both(b, m_q, m_dim.as_row), both(b, m_k, m_dim.as_row)
            b_q = b.load(self.q, row_base.as_column + o_dim.as_row, m_q, name="b_q")
            b_l = b.load(self.landmarks, chunk_base.as_column + o_dim.as_row, m_k, name="b_lmk")
            loop.yield_(self.product(b_q, b_l, loop.carried[0]))
        score = loop.carried[0] * float(self.score.attr("scale"))
        if self.bias is not None:
            offsets = chunk_place * heads + landmark_head
            score = score + b.load(self.bias, offsets, m_chunk, name="b_bias").as_row
        if self.row_lse is not None:
            offsets = self.place * self.score_heads + head
            b_lse = b.load(self.row_lse, offsets, self.m_row, name="b_lse")
            score = b.exp2((score - b_lse.as_column) * LOG2E)
        return score

    def product(self, b_q: Var, b_l: Var, acc: Var) -> Var:
        """``acc[tokens, block]`` plus the products of queries and landmarks over some dims."""
        return self.b.dot(b_q.to(self.dtype), b_l.to(self.dtype).t, acc)

    def _noise(self, o_chunk: Var) -> Var:
        """Gumbel noise from a counter: a hash of (seed, row, head, chunk), nothing drawn."""
        b = self.b
        assert self.seed is not None
        seed = _mix(b, b.load(self.seed, b.full((), 0, "i32", "o_seed"), name="seed").to("u32"))
        row = (self.i_batch * self.n_rows + self.o_row) * self.index_heads + self.i_head
        rows = _mix(b, row.to("u32") + seed)
        bits = _mix(b, rows.as_column + o_chunk.to("u32").as_row)
        uniform = ((bits >> 9).to("fp32") + 0.5) * 2.0**-23
        return -(b.log2(b.log2(uniform) * -LN2) * LN2)

    def _keys(self, value: Var, o_chunk: Var, b_lo: Var, b_hi: Var) -> Var:
        """Candidates ``[tokens, block]`` i64; `EMPTY` where a chunk cannot be chosen."""
        ordered, allowed = self.ranks(value, o_chunk, b_lo, b_hi)
        key = (ordered.to("i64") << 32) | o_chunk.as_row.to("i64")
        return self.b.where(allowed, key, EMPTY, "b_key")

    def ranks(self, value: Var, o_chunk: Var, b_lo: Var, b_hi: Var) -> tuple[Var, Var]:
        """Values ``[tokens, block]`` as integers of the same order, and which may be chosen."""
        b = self.b
        chunk, lo, hi = o_chunk.as_row, b_lo.as_column, b_hi.as_column
        visible = (chunk >= lo) & (chunk < hi)
        bits = b.bitcast(value, "i32")
        # Negative floats order backwards as integers: flip all but their sign.
        ordered = bits ^ ((bits >> 31) & 0x7FFFFFFF)
        allowed = visible & (value > float("-inf"))
        force_first, force_last = self.op.attr("force_first"), self.op.attr("force_last")
        forced: Var | None = None
        if force_first:
            forced = chunk < lo + int(force_first)
        if force_last:
            newest = chunk >= hi - int(force_last)
            forced = newest if forced is None else forced | newest
        if forced is not None:
            forced = forced & visible
            ordered = b.where(forced, _FORCED, ordered)
            allowed = allowed | forced
        return ordered, allowed

    def _store(self, best: Var) -> None:
        """Order the chosen chunks newest first and write them; empty slots are -1."""
        b = self.b
        o_slot = b.arange(self.kept, "o_slot")
        m_slot = below(o_slot, self.top_k, self.kept)
        chosen: Var = best > EMPTY
        if m_slot is not None:
            # A padded tile keeps more than K: the surplus is dropped before the re-ordering.
            chosen = chosen & m_slot.as_row
        chunk = b.where(chosen, best & 0xFFFFFFFF, -1, "b_chunk")
        none = b.full((self.tokens, self.kept), -1, "i64", "b_none")
        newest_first = b.merge_top_k(none, chunk)
        base = (self.place * self.index_heads + self.i_head) * self.top_k
        mask = self.m_row.as_column
        if m_slot is not None:
            mask = mask & m_slot.as_row
        indices = self.low.result(b, self.op, "indices")
        b.store(indices, base.as_column + o_slot.as_row, newest_first.to("i32"), mask)


def _mix(b: TileBuilder, x: Var) -> Var:
    """A 32-bit integer hash in which every input bit moves every output bit."""
    x = x ^ (x >> 16)
    x = x * 0x7FEB352D
    x = x ^ (x >> 15)
    x = x * 0x846CA68B
    return x ^ (x >> 16)
