"""Top-k by a threshold: rows of scores are compared with a number instead of being sorted.

1. One pass over the chunks keeps, in each of `block` lanes, the two largest values it met. The K-th
   largest of these, found by bisection, is a lower bound of the K-th largest value of the row, and
   a tight one: chunks spread over the lanes, so that few of them come third in one of them.
2. A second pass computes the scores again and appends the chunks that reach the bound to the row's
   list, newest first: a chunk's place is the number of newer ones that do, which a matrix product
   with a triangle of ones counts. The list holds `capacity` entries.
3. Bisection on the list gives the K-th largest value itself; chunks above it, and the newest of
   those that equal it, are chosen. They are in order already, so that a running count is a chosen
   chunk's slot and nothing is sorted.

Only a tile of rows whose list overflows (more equal scores than it holds, or large ones all in one
lane) takes more passes: bisection over the chunks themselves until every list holds.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from hsa_compiler.lowering.common import Lowering
from hsa_compiler.lowering.ranking import Ranking, order_bits
from hsa_compiler.schedules.footprint import fewest_lanes, list_capacity
from hsa_compiler.schedules.schedule import IllegalSchedule
from hsa_compiler.tile.builder import TileBuilder
from hsa_compiler.tile.ir import Pointer, Size, Var, Workspace

_LARGEST = 3.4028234663852886e38
_INFINITY = float("inf")
#: 2**23: a whole number added to it stands in the low bits of the sum.
_MAGIC, _MAGIC_BITS = 8388608.0, 0x4B000000
#: The fewest columns of a matrix product.
_FEWEST_COLUMNS = 16


@dataclass(frozen=True)
class Chosen:
    """A tile of candidates ``[capacity, tokens]``, newest first: which are chosen, their chunk
    numbers, values and slots; and how many are chosen, ``[tokens]``."""

    mask: Var
    chunk: Var
    value: Var
    slot: Var
    count: Var


class Threshold:
    """The kernel up to the chosen candidates of a tile of rows."""

    def __init__(self, low: Lowering, b: TileBuilder) -> None:
        if not low.caps.while_loops:
            raise IllegalSchedule(
                "target",
                f"{low.problem.kind} with top_k='threshold' needs while loops, which this target "
                "does not have; use top_k='merge'",
            )
        self.low, self.b = low, b
        self.top_k = low.dim("K")
        self.block = max(low.schedule.chunk_block, fewest_lanes(self.top_k))
        self.capacity = list_capacity(self.top_k)
        self.rank = Ranking(low, b, self.block)
        self.tokens = self.rank.tokens
        self.first, last = self.rank.bounds()
        seen = b.maximum(last - self.first, 0, "n_seen")
        self.blocks = (seen + (self.block - 1)) // self.block
        tiles, heads = Size.of("R").cdiv(self.tokens), self.rank.index_heads
        size = tiles * self.tokens * heads * "B" * self.capacity
        self.list = low.workspace(b, Workspace("candidates", "i64", size))
        n_tiles = b.scalar("n_tiles", tiles)
        tile = (self.rank.i_batch * heads + self.rank.i_head).to("i64") * n_tiles
        self.list_base = (tile + self.rank.i_tile) * (self.tokens * self.capacity)
        # Entry by entry, each for all rows: a thread then searches the lists of few rows.
        self.list_row = b.arange(self.tokens, "o_row")

    def run(self) -> Chosen:
        """Both passes and the exact selection."""
        b = self.b
        lanes = self._lane_maxima()
        largest = b.max(lanes[0], 1, "b_largest")
        bound = self._bound(lanes, largest)
        limit = order_bits(bound).as_column
        count = self._append(lambda rank, chunk: rank >= limit)
        count = self._relieve(count, bound, largest)
        b.barrier()
        return self._choose(count, bound, largest)

    def store_slots(
        self, pointer: Pointer, heads: int, head: Var, chosen: Chosen, values: Var, missing: float
    ) -> None:
        """Write values of the chosen chunks to their slots of a ``[B, R, heads, K]`` tensor, and
        `missing` to slots that nothing was chosen for."""
        b, rank = self.b, self.rank
        first = rank.i_tile * self.tokens + rank.i_batch * rank.n_rows
        base = (first.to("i64") * heads + head) * self.top_k
        row = (b.arange(self.tokens, "o_row") * (heads * self.top_k)).as_row
        b.store(pointer, base + (row + chosen.slot), values, chosen.mask)
        short = b.where(rank.m_row, chosen.count, self.top_k)
        with b.when(b.reduce("min", short, 0, "n_least") < self.top_k):
            slot = b.arange(self.low.caps.pad(self.top_k), "o_slot").as_column
            empty = (slot >= chosen.count.as_row) & (slot < self.top_k) & rank.m_row.as_row
            nothing = b.full(empty.shape, missing, pointer.dtype, "b_none")
            b.store(pointer, base + (row + slot), nothing, empty)

    def store_indices(self, chosen: Chosen) -> None:
        """Write the chosen chunks to their slots, and -1 to the others."""
        rank = self.rank
        indices = self.low.result(self.b, rank.op, "indices")
        self.store_slots(indices, rank.index_heads, rank.i_head, chosen, chosen.chunk, -1)

    # -- passes over the chunks ---------------------------------------------------------------
    def _ranks(self, o_chunk: Var, value: Var) -> Var:
        """Values as they compete: -inf out of sight, +inf where forced."""
        b, chunk = self.b, o_chunk.as_row
        raised = self._raised(chunk, value, 1)
        return b.where(self.rank.visible(chunk), raised, -_INFINITY, "b_rank")

    def _raised(self, chunk: Var, value: Var, axis: int) -> Var:
        forced = self.rank.forced(chunk, axis)
        if forced is None:
            return value
        return self.b.where(forced, _INFINITY, self.b.minimum(value, _LARGEST))

    def _chunks(self, step: Var) -> Var:
        """Block `step` of the chunks, counted from the newest: their numbers, newest first."""
        newest = self.first + (self.blocks - step) * self.block - 1
        return newest - self.b.arange(self.block, "o_chunk")

    def _lane_maxima(self) -> tuple[Var, Var]:
        """The largest and the second largest value of every lane, ``[tokens, block]`` each."""
        b = self.b
        none = b.full((self.tokens, self.block), -_INFINITY, "fp32", "b_none")
        with b.loop(
            0,
            self.blocks,
            name="i_block",
            carry=[("b_first", none), ("b_second", none)],
            stages=self.low.schedule.stages,
        ) as loop:
            first, second = loop.carried
            o_chunk = self._chunks(loop.index)
            rank = self._ranks(o_chunk, self.rank.values(o_chunk))
            loop.yield_(b.maximum(first, rank), b.maximum(second, b.minimum(first, rank)))
        first, second = loop.carried
        return first, second

    def _append(self, reaches: Callable[[Var, Var], Var]) -> Var:
        """Write the chunks that `reaches` (ranks, chunk numbers) lets through to the lists; how
        many there are, ``[tokens]``, though a list takes `capacity` of them."""
        b, n = self.b, self.block
        o_lane = b.arange(n, "o_lane")
        triangle = b.where(o_lane.as_column < o_lane.as_row, 1.0, b.full((n, n), 0.0, "fp16"))
        ones = b.full((n, _FEWEST_COLUMNS), 1.0, "fp16", "b_ones")
        start = b.full((self.tokens,), 0, "i32", "b_count")
        with b.loop(
            0,
            self.blocks,
            name="i_block",
            carry=[("b_count", start)],
            stages=self.low.schedule.stages,
        ) as loop:
            count = loop.carried[0]
            o_chunk = self._chunks(loop.index)
            value = self.rank.values(o_chunk)
            taken = reaches(self._ranks(o_chunk, value), o_chunk.as_row)
            before = b.minimum(count, self.capacity).to("fp32") + _MAGIC
            before = b.broadcast(before.as_column, (self.tokens, n))
            flags = taken.to("fp16")
            place = b.bitcast(b.dot(flags, triangle, before), "i32") - _MAGIC_BITS
            entry = (o_chunk.to("i64") << 32).as_row | b.bitcast(value, "u32").to("i64")
            room = taken & (place < self.capacity)
            # A scalar and small numbers: 64-bit addresses would fill the registers.
            offset = b.where(room, place * self.tokens + self.list_row.as_column, -1, "o_entry")
            b.store(self.list, self.list_base + offset, entry, offset >= 0)
            loop.yield_(count + b.max(b.dot(flags, ones), 1).to("i32"))
        return loop.carried[0]

    def _relieve(self, count: Var, bound: Var, largest: Var) -> Var:
        """The counts after lists that overflow were written again, with a bound on value and
        chunk number together that between K and `capacity` chunks reach."""
        b = self.b
        full = (b.max(count, 0, "n_most") > self.capacity).to("i32")
        with b.loop(0, full, name="i_again", carry=[("b_count", count)]) as loop:
            tied, chunks = bound.to("i64") << 32, self.rank.n_chunks
            above = (order_bits(largest).to("i64") << 32) + chunks
            above = b.where(loop.carried[0] > self.capacity, above, tied + 1)
            more = b.max((above > tied + 1).to("i32")) > 0
            step = b.full((), 0, "i32", "i_step")
            carry = [("b_low", tied), ("b_high", above), ("i_step", step)]
            with b.repeat_while(more, carry=carry) as search:
                low, high, step = search.carried
                # Most likely too many chunks have the very value of the bound.
                first = (high > low + 1) & step.eq(0)
                middle = b.where(first, tied + (1 << 32), _between(low, high))
                reached = self._count(middle)
                enough = reached >= self.top_k
                done = enough & (reached <= self.capacity)
                below = b.where(first, tied + chunks, middle)
                new_low = b.where(enough, middle, low)
                new_high = b.where(enough, b.where(done, middle + 1, high), below)
                more = b.max((new_high > new_low + 1).to("i32")) > 0
                search.yield_(new_low, new_high, step + 1, more)
            limit = search.carried[0].as_column
            b.barrier()  # other threads may have written the same entries
            loop.yield_(self._append(lambda rank, chunk: _key(rank, chunk) >= limit))
        return loop.carried[0]

    def _count(self, limit: Var) -> Var:
        """How many chunks' keys reach `limit`, ``[tokens]``."""
        b = self.b
        start = b.full((self.tokens,), 0, "i32", "b_reached")
        with b.loop(0, self.blocks, name="i_block", carry=[("b_reached", start)]) as loop:
            o_chunk = self._chunks(loop.index)
            rank = self._ranks(o_chunk, self.rank.values(o_chunk))
            reached = _key(rank, o_chunk.as_row) >= limit.as_column
            loop.yield_(loop.carried[0] + b.sum(reached.to("i32"), 1))
        return loop.carried[0]

    # -- selection inside a tile --------------------------------------------------------------
    def _bound(self, lanes: tuple[Var, ...], largest: Var) -> Var:
        """The integer (see `order_bits`) of a bound that K of the lanes' values reach, and few
        more, ``[tokens]``; below everything where the lanes hold no K of them."""
        b, none = self.b, -_INFINITY
        held = least = None
        for tile in lanes:
            finite = tile > none
            count = b.sum(finite.to("i32"), 1)
            lowest = b.reduce("min", b.where(finite, tile, _INFINITY), 1, "b_least")
            held = count if held is None else held + count
            least = lowest if least is None else b.minimum(least, lowest)
        assert held is not None and least is not None
        low = order_bits(b.where(held >= self.top_k, least, -_LARGEST))
        few = max(1, self.top_k // 8)
        return self._search(_Rows(lanes, 1, by_value=True), low, order_bits(largest) + 1, few)

    def _search(self, rows: _Rows, low: Var, high: Var, spare: int) -> Var:
        """The integer of a bound, ``low <= bound < high``, that K to ``K + spare`` elements of
        each row reach, or of the K-th largest element where there is no such bound.

        `low` is reached by K elements, or by all of a row that has fewer, `high` by fewer than K.
        Bisection of the bits needs 32 steps at most, whatever the values are; that of the values
        fewer, where they are of one size.
        """
        b = self.b
        # Rows of K elements or fewer have nothing to search.
        high = b.where(rows.reaching(low) > self.top_k, high, low)
        more = b.max((high > low + 1).to("i32")) > 0
        step = b.full((), 0, "i32", "i_step")
        carry = [("b_low", low), ("b_high", high), ("i_step", step)]
        with b.repeat_while(more, carry=carry) as loop:
            low, high, step = loop.carried
            middle = _between(low, high)
            if rows.by_value:
                value = order_bits(order_bits(low) * 0.5 + order_bits(high) * 0.5)
                # Infinities have no middle.
                value = b.minimum(b.maximum(value, low), high - 1)
                middle = b.where((step & 3) < 3, value, middle)
            count = rows.reaching(middle)
            enough = count >= self.top_k
            done = enough & (count <= self.top_k + spare)
            new_low = b.where(enough, b.maximum(middle, low), low)
            new_high = b.where(enough, b.where(done, new_low + 1, high), middle)
            more = b.max((new_high > new_low + 1).to("i32")) > 0
            loop.yield_(new_low, new_high, step + 1, more)
        return loop.carried[0]

    def _choose(self, count: Var, bound: Var, largest: Var) -> Chosen:
        """The K best of the lists."""
        b = self.b
        o_entry = b.arange(self.capacity, "o_entry").as_column
        present = o_entry < count.as_row
        offset = o_entry * self.tokens + self.list_row.as_row
        entry = b.load(self.list, self.list_base + offset, present, name="b_entry")
        chunk = (entry >> 32).to("i32")
        value = b.bitcast(entry.to("u32"), "fp32", "b_value")
        rank = b.where(present, self._raised(chunk, value, 0), -_INFINITY, "b_rank")
        rows = _Rows((rank,), 0, by_value=False)
        last = order_bits(self._search(rows, bound, order_bits(largest) + 1, 0)).as_row
        above, equal = rank > last, rank.eq(last)
        spare = self.top_k - b.sum(above.to("i32"), 0)
        chosen = above | (equal & (b.cumsum(equal.to("i32"), 0) <= spare.as_row))
        flags = chosen.to("i32")
        return Chosen(chosen, chunk, value, b.cumsum(flags, 0) - 1, b.sum(flags, 0))


@dataclass(frozen=True)
class _Rows:
    """Tiles of numbers to search, whose rows lie along `axis`; `by_value`, where they are spread
    like scores and a search starts far from its end."""

    tiles: tuple[Var, ...]
    axis: int
    by_value: bool

    def reaching(self, bound: Var) -> Var:
        """How many numbers of each row reach a bound, an integer of `order_bits`."""
        value = order_bits(bound)
        limit = value.as_column if self.axis else value.as_row
        counts = [tile.builder.sum((tile >= limit).to("i32"), self.axis) for tile in self.tiles]
        return sum(counts[1:], counts[0])


def _between(low: Var, high: Var) -> Var:
    """``floor((low + high) / 2)``, which does not overflow."""
    return (low & high) + ((low ^ high) >> 1)


def _key(rank: Var, chunk: Var) -> Var:
    """Value and chunk number as one i64: the newer chunk is the larger of equals."""
    b = rank.builder
    key = (order_bits(b.where(rank.eq(0.0), 0.0, rank)).to("i64") << 32) | chunk.to("i64")
    return b.where(rank > -_INFINITY, key, -(2**63) + 1)
