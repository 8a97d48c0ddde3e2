"""What retrieval ranks chunks by, for a tile of retrieval rows: scores, their reduction over a
group of heads, noise, visibility. Shared by every algorithm that selects."""

from __future__ import annotations

from hsa_compiler.lowering.common import LN2, LOG2E, Lowering, both
from hsa_compiler.lowering.memory import memory, visible
from hsa_compiler.tile.builder import TileBuilder
from hsa_compiler.tile.ir import Size, Var

#: The integer of a forced chunk: above that of every score.
_FORCED = 0x7FFFFFFF
#: Most elements a row of queries may have, over the heads of a group, to be held through a kernel.
_HELD_DIMS = 256


class Ranking:
    """A kernel's tile of retrieval rows of one index head, and the values of chunks for them."""

    def __init__(self, low: Lowering, b: TileBuilder, block: int) -> None:
        self.low, self.b, self.block = low, b, block
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
        self.index_heads = low.index_heads
        self.dim, self.top_k = low.dim("Dr"), low.dim("K")
        self.tokens = low.schedule.tokens
        self.step = min(low.caps.pad(self.dim), low.schedule.dim_block)
        group = self.score_heads // self.index_heads
        self.members = 1 if self.op.attr("reduce") == "single" else group
        self.i_tile, self.i_head = self.tile_and_head()
        self.i_batch = b.program_id(2, "i_batch")
        self.n_rows, self.n_chunks = b.scalar("R"), b.scalar("C")
        self.o_row = self.i_tile * self.tokens + b.arange(self.tokens, "o_row")
        self.m_row = self.o_row < self.n_rows
        self.place = (self.i_batch * self.n_rows).to("i64") + self.o_row
        # Rows past the end see the empty interval [0, 0).
        self.b_lo, self.b_hi = visible(low, b, self.i_batch, self.o_row, self.m_row)
        self.held = self._hold_queries()

    @property
    def grid(self) -> tuple[Size, int, str]:
        """One program per tile of rows, index head and batch element."""
        return Size.of("R").cdiv(self.tokens), self.index_heads, "B"

    def tile_and_head(self) -> tuple[Var, Var]:
        """The program's tile of rows and index head."""
        return self.b.program_id(0, "i_tile"), self.b.program_id(1, "i_head")

    def bounds(self) -> tuple[Var, Var]:
        """The chunks ``[first, last)`` that some row of the tile sees (scalars); no other is read
        afterwards."""
        b = self.b
        far = b.where(self.b_hi > self.b_lo, self.b_lo, self.n_chunks)
        first, last = b.reduce("min", far, 0, "first"), b.max(self.b_hi, 0, "last")
        if self.low.find("interval") is not None:
            # Past the cache's length a block table names no page and memory holds anything.
            self.n_chunks = last
        return first, last

    def visible(self, chunk: Var) -> Var:
        """Which rows see which chunks; `chunk` is a row or a tile of chunk numbers."""
        return (chunk >= self.b_lo.as_column) & (chunk < self.b_hi.as_column)

    def forced(self, chunk: Var, axis: int = 1) -> Var | None:
        """Which chunks are chosen whatever their value, where visible; None without any. `chunk`
        is a tile in which a row's chunks lie along `axis`, or a part of one."""
        first, last = int(self.op.attr("force_first")), int(self.op.attr("force_last"))
        lo, hi = (x.as_column if axis else x.as_row for x in (self.b_lo, self.b_hi))
        forced = chunk < lo + first if first else None
        if last:
            newest = chunk >= hi - last
            forced = newest if forced is None else forced | newest
        return forced

    def values(self, o_chunk: Var) -> Var:
        """What chunks are ranked by, ``[tokens, block]``: scores over the group, with noise."""
        b = self.b
        group = self.score_heads // self.index_heads
        reduce = self.op.attr("reduce")
        value: Var | None = None
        for member in range(self.members):
            one = self._score(member, self.i_head * group + member, o_chunk)
            if value is None:
                value = one
            else:
                value = value + one if reduce == "sum" else b.maximum(value, one)
        assert value is not None
        return value if self.seed is None else value + self._noise(o_chunk)

    def ordered(self, o_chunk: Var) -> tuple[Var, Var]:
        """Values ``[tokens, block]`` as integers of the same order, forced chunks above all, and
        which chunks may be chosen."""
        b, chunk = self.b, o_chunk.as_row
        value = self.values(o_chunk)
        # -0.0 and 0.0 are the same score but not the same bits.
        value = b.where(value.eq(0.0), 0.0, value, "b_value")
        seen = self.visible(chunk)
        ordered, allowed = order_bits(value), seen & (value > float("-inf"))
        forced = self.forced(chunk)
        if forced is not None:
            forced = forced & seen
            ordered = b.where(forced, _FORCED, ordered)
            allowed = allowed | forced
        return ordered, allowed

    def product(self, b_q: Var, b_l: Var, acc: Var) -> Var:
        """``acc[tokens, block]`` plus the products of queries and landmarks over some dims."""
        return self.b.dot(b_q, b_l.t, acc)

    def _row_base(self, head: Var) -> Var:
        return (self.place * self.score_heads + head) * self.dim

    def _hold_queries(self) -> list[Var]:
        """The queries of every head of the group, where they are few enough to be kept."""
        if self.step < self.dim or self.step * self.members > _HELD_DIMS:
            return []
        heads = self.score_heads // self.index_heads
        o_dim = self.b.arange(self.step, "o_dim")
        return [
            self._load_queries(self.i_head * heads + member, o_dim)
            for member in range(self.members)
        ]

    def _load_queries(self, head: Var, o_dim: Var) -> Var:
        mask = both(self.b, self.m_row.as_column, self._dim_mask(o_dim))
        offsets = self._row_base(head).as_column + o_dim.as_row
        return self.b.load(self.q, offsets, mask, name="b_q").to(self.dtype)

    def _dim_mask(self, o_dim: Var) -> Var | None:
        return None if self.dim % self.step == 0 else (o_dim < self.dim).as_row

    def _score(self, member: int, head: Var, o_chunk: Var) -> Var:
        b = self.b
        heads = self.landmark_heads
        landmark_head = head if heads == self.score_heads else head * heads // self.score_heads
        m_chunk = o_chunk < self.n_chunks
        chunk_place = (self.i_batch * b.scalar("C")).to("i64") + o_chunk
        place = chunk_place
        if self.paging is not None:
            place = self.paging.place(self.i_batch, o_chunk, m_chunk)
        chunk_base = (place * heads + landmark_head) * self.dim
        zero = b.full((self.tokens, self.block), 0.0, "fp32", "b_score")
        # Blocks of chunks are what is pipelined, unless a row is itself walked in blocks.
        stages = self.low.schedule.stages if self.dim > self.step else 1
        with b.loop(
            0, self.dim, self.step, name="i_dim", carry=[("b_score", zero)], stages=stages
        ) as loop:
            o_dim = loop.index + b.arange(self.step, "o_dim")
            b_q = self.held[member] if self.held else self._load_queries(head, o_dim)
            mask = both(b, m_chunk.as_column, self._dim_mask(o_dim))
            b_l = b.load(
                self.landmarks, chunk_base.as_column + o_dim.as_row, mask, name="b_lmk"
            ).to(self.dtype)
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


def order_bits(x: Var) -> Var:
    """fp32 as an i32 that orders like it, and back: negative floats order backwards as integers,
    so all but their sign is flipped."""
    b = x.builder
    bits = b.bitcast(x, "i32") if x.is_float else x
    flipped = bits ^ ((bits >> 31) & 0x7FFFFFFF)
    return flipped if x.is_float else b.bitcast(flipped, "fp32")


def _mix(b: TileBuilder, x: Var) -> Var:
    """A 32-bit integer hash in which every input bit moves every output bit."""
    x = x ^ (x >> 16)
    x = x * 0x7FEB352D
    x = x ^ (x >> 15)
    x = x * 0x846CA68B
    return x ^ (x >> 16)
