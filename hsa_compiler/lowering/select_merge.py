"""The second half of a split selection: the best chunks of a row, from scores in memory.

The first half left every chunk's score and every block's best (`Spaces`). The K best chunks lie in
the K blocks with the best chunks, since each of K blocks has a chunk that beats all of another's;
ties agree, because the newer block holds the newer chunks. In the same way the K best blocks lie in
the K best groups of `fan` blocks. So the candidates of a launch are few, and it ranks them: many
programs count for every candidate how many beat it, and whoever is beaten by fewer than K is
written at that place, followed by what it holds. Nothing is sorted, and no program waits for
another.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from hsa_compiler.lowering.common import Lowering, below
from hsa_compiler.lowering.memory import visible
from hsa_compiler.lowering.ranking import order_bits
from hsa_compiler.lowering.select import EMPTY
from hsa_compiler.lowering.weigh import SlotRow, write_weights
from hsa_compiler.schedules.split import COMPARED, RANKED
from hsa_compiler.tile.builder import TileBuilder
from hsa_compiler.tile.ir import Kernel, Pointer, Size, Var, Workspace

#: Below the integer of every score; one above the smallest i32, as `EMPTY` is for 64 bits.
NO_SCORE = -(2**31) + 1
#: Comparisons of the chosen chunks with each other that are held at once.
_NEWER = 8192


class Spaces:
    """What the first half leaves to the second: of every row and index head the scores of all
    chunks, as integers of the same order, and the best one of every block."""

    def __init__(self, low: Lowering, b: TileBuilder) -> None:
        self.heads, self.block = low.index_heads, low.schedule.chunk_block
        self.most_blocks = Size.of("C").cdiv(self.block)
        rows = Size.of("B") * "R" * self.heads
        self.n_blocks = b.scalar("n_blocks", self.most_blocks)
        scores = Workspace("scores", "i32", rows * self.most_blocks * self.block)
        self.scores = low.workspace(b, scores)
        self.best = low.workspace(b, Workspace("block_best", "i32", rows * self.most_blocks))

    def first_block(self, place: Var, head: Var) -> Var:
        """The number of a row's block 0 (i64)."""
        return (place * self.heads + head) * self.n_blocks


class _Row:
    """One row and index head of a launch; `tiled`: one tile of its candidates."""

    def __init__(self, low: Lowering, name: str, tiled: bool = False) -> None:
        self.low, self.b = low, TileBuilder(name)
        b = self.b
        self.op, self.heads, self.top_k = low.op("select"), low.index_heads, low.dim("K")
        self.kept, self.block = low.caps.pad(self.top_k), low.schedule.chunk_block
        if tiled:
            # Rows may be many: only the first axis of a grid is long.
            i_rest, self.i_tile = b.program_id(0, "i_rest"), b.program_id(1, "i_tile")
            self.i_row, self.i_head = i_rest // self.heads, i_rest % self.heads
        else:
            self.i_row, self.i_head = b.program_id(0, "i_row"), b.program_id(1, "i_head")
        self.i_batch = b.program_id(2, "i_batch")
        self.place = (self.i_batch * b.scalar("R")).to("i64") + self.i_row
        #: The number of this row and head (i64).
        self.list = self.place * self.heads + self.i_head
        lo, hi = visible(low, b, self.i_batch, self.i_row, None)
        self.first, last = lo // self.block, (hi + (self.block - 1)) // self.block
        # How many candidates each launch ranks. An empty interval may lie inside a block, which
        # nobody has scored then.
        fan = low.schedule.fan
        self.blocks = self.groups = b.where(hi > lo, last - self.first, 0, "n_visible")
        self.candidates = self.blocks
        if fan > 1:
            self.groups = (self.blocks + (fan - 1)) // fan
            self.candidates = b.minimum(self.groups, self.top_k) * fan
        self.members = b.minimum(self.candidates, self.top_k) * self.block

    def space(self, name: str, dtype: str, each: int) -> Pointer:
        """A buffer with `each` elements for every row and head."""
        rows = Size.of("B") * "R" * self.heads
        return self.low.workspace(self.b, Workspace(name, dtype, rows * each))

    def store(self, b_slot: Var) -> None:
        """Write the slots ``[kept]`` (the chunk above the score, -1 where there is none) and their
        weights."""
        low, b = self.low, self.b
        o_slot = b.arange(self.kept, "o_slot")
        m_slot = below(o_slot, self.top_k, self.kept)
        b_chunk = (b_slot >> 32).to("i32")
        indices = low.result(b, self.op, "indices")
        b.store(indices, self.list * self.top_k + o_slot, b_chunk, m_slot)
        if low.find("normalize") is None or not knows_scores(low):
            return
        b_score = order_bits((b_slot & 0xFFFFFFFF).to("i32"))
        heads = low.dim("Hw")
        with b.loop(0, heads // self.heads, name="i_weight") as loop:
            head = self.i_head * (heads // self.heads) + loop.index
            row = SlotRow(low, b, heads, (self.i_row, head, self.i_batch))
            row.chosen, row.valid = b_chunk, b_chunk >= 0
            write_weights(row, b.where(row.valid, b_score, float("-inf"), "b_score"))


def knows_scores(low: Lowering) -> bool:
    """Whether what chunks are ranked by is their score: no heads reduced, no noise, none forced."""
    op = low.op("select")
    forced = op.attr("force_first") or op.attr("force_last")
    noisy = op.operand("seed") is not None or op.operand("row_lse") is not None
    return not forced and not noisy and low.dim("Hr") == low.index_heads


def merge_launches(low: Lowering) -> tuple[Kernel, ...]:
    """The launches that choose, and weigh where the group does and `knows_scores`."""
    groups = (_rank_groups(low),) if low.schedule.fan > 1 else ()
    return (*groups, _rank_blocks(low), _rank_chunks(low), _order(low))


Keys = Callable[[Var, Var], Var]


def _key(b_score: Var, number: Var) -> Var:
    """Candidates as 64-bit integers: the score above the number, which makes them distinct."""
    return (b_score.to("i64") << 32) | number.to("i64")


def _number(key: Var) -> Var:
    """The number of a candidate (i32)."""
    return (key & 0xFFFFFFFF).to("i32")


def _ranks(b: TileBuilder, mine: Var, count: Var, keys: Keys) -> Var:
    """How many of `count` candidates are larger than each of `mine`."""
    zero = b.full((mine.size, COMPARED), 0, "i32", "b_larger")
    with b.loop(0, count, COMPARED, name="i_other", carry=[("b_larger", zero)]) as loop:
        o = loop.index + b.arange(COMPARED, "o_other")
        larger = keys(o, o < count).as_row > mine.as_column
        loop.yield_(b.where(larger, loop.carried[0] + 1, loop.carried[0]))
    return b.sum(loop.carried[0], 1, "b_rank")


@contextmanager
def _ranked(row: _Row, count: Var, keys: Keys) -> Iterator[tuple[Var, Var, Var]]:
    """What this program's tile of candidates is: keys, ranks, and which are among the K best."""
    b = row.b
    start = row.i_tile * RANKED
    with b.when(start < count):
        o = start + b.arange(RANKED, "o")
        mask = o < count
        b_key = keys(o, mask)
        b_rank = _ranks(b, b_key, count, keys)
        yield b_key, b_rank, mask & (b_rank < row.top_k)


def _tiles(row: _Row, candidates: Size | int) -> Kernel:
    tiles = Size.of(candidates).cdiv(RANKED)
    return row.b.finish((Size.of("R") * row.heads, tiles, "B"))


def _rank_groups(low: Lowering) -> Kernel:
    """The ranks of groups of `fan` blocks; the K best leave the keys of their blocks."""
    row = _Row(low, "select_rank_groups", tiled=True)
    b, fan = row.b, low.schedule.fan
    spaces = Spaces(low, b)
    base = spaces.first_block(row.place, row.i_head) + row.first
    o_in = b.arange(fan, "o_in").as_row

    def best(block: Var, mask: Var) -> Var:
        return b.load(spaces.best, base + block, mask, other=NO_SCORE, name="b_best")

    def keys(o: Var, mask: Var) -> Var:
        block = (o * fan).as_column + o_in
        return b.where(mask, _key(b.max(best(block, block < row.blocks), 1), o), EMPTY, "b_key")

    with _ranked(row, row.groups, keys) as (b_key, b_rank, m_best):
        block = (_number(b_key) * fan).as_column + o_in
        b_score = best(block, m_best.as_column & (block < row.blocks))
        to = (row.list * (row.top_k * fan) + b_rank * fan).as_column + o_in
        keys_of = row.space("block_keys", "i64", row.top_k * fan)
        b.store(keys_of, to, _key(b_score, block), m_best.as_column)
    return _tiles(row, spaces.most_blocks.cdiv(fan))


def _rank_blocks(low: Lowering) -> Kernel:
    """The ranks of blocks, all or those of the chosen groups, by their best chunks; the K best
    leave the keys of their chunks."""
    row = _Row(low, "select_rank_blocks", tiled=True)
    b, block, fan = row.b, row.block, low.schedule.fan
    spaces = Spaces(low, b)
    base = spaces.first_block(row.place, row.i_head) + row.first

    def keys(o: Var, mask: Var) -> Var:
        if fan > 1:
            each = row.top_k * fan
            keys_of = row.space("block_keys", "i64", each)
            return b.load(keys_of, row.list * each + o, mask, other=EMPTY, name="b_key")
        b_best = b.load(spaces.best, base + o, mask, other=NO_SCORE, name="b_best")
        return b.where(mask, _key(b_best, o), EMPTY, "b_key")

    with _ranked(row, row.candidates, keys) as (b_key, b_rank, m_best):
        o_in, number = b.arange(block, "o_in").as_row, _number(b_key)
        # The last group may have places past the last block.
        exists = (m_best & (number < row.blocks)).as_column
        from_ = ((base + number) * block).as_column + o_in
        b_score = b.load(spaces.scores, from_, exists, other=NO_SCORE, name="b_score")
        chunk = ((row.first + number) * block).as_column + o_in
        to = (row.list * (row.top_k * block) + b_rank * block).as_column + o_in
        members = row.space("chunk_keys", "i64", row.top_k * block)
        b.store(members, to, _key(b_score, chunk), m_best.as_column)
    return _tiles(row, spaces.most_blocks if fan == 1 else row.top_k * fan)


def _rank_chunks(low: Lowering) -> Kernel:
    """The ranks of the chosen blocks' chunks; the K best are written at theirs."""
    row = _Row(low, "select_rank_chunks", tiled=True)
    b, each = row.b, row.top_k * row.block
    members = row.space("chunk_keys", "i64", each)

    def keys(o: Var, mask: Var) -> Var:
        return b.load(members, row.list * each + o, mask, other=EMPTY, name="b_key")

    with _ranked(row, row.members, keys) as (b_key, b_rank, m_best):
        best = row.space("best_chunks", "i64", row.top_k)
        b.store(best, row.list * row.top_k + b_rank, b_key, m_best)
    return _tiles(row, each)


def _order(low: Lowering) -> Kernel:
    """The chosen chunks, newest first, and their weights."""
    row = _Row(low, "select_order")
    b, kept, top_k = row.b, row.kept, row.top_k
    best = row.space("best_chunks", "i64", top_k)
    slots = row.space("slots_in_order", "i64", kept)
    count = b.minimum(row.members, top_k)

    def chosen(o: Var, mask: Var) -> Var:
        key = b.load(best, row.list * top_k + o, mask, other=EMPTY, name="b_key")
        # The number above the score: in the order of chunks, and the score comes along.
        swapped = ((key & 0xFFFFFFFF) << 32) | ((key >> 32) & 0xFFFFFFFF)
        return b.where((key >> 32) > NO_SCORE, swapped, -1, "b_slot")

    o_slot = b.arange(kept, "o_slot")
    b_mine = chosen(o_slot, o_slot < count)
    others = min(kept, 64, max(16, _NEWER // kept))
    zero = b.full((kept, others), 0, "i32", "b_newer")
    with b.loop(0, kept, others, name="i_other", carry=[("b_newer", zero)]) as loop:
        o = loop.index + b.arange(others, "o_other")
        newer = chosen(o, o < count).as_row > b_mine.as_column
        loop.yield_(b.where(newer, loop.carried[0] + 1, loop.carried[0]))
    b_newer = b.sum(loop.carried[0], 1, "b_newer")
    # Through memory: lanes cannot write into each other's registers.
    mine = row.list * kept
    b.store(slots, mine + b_newer, b_mine, b_mine >= 0)
    b.barrier()
    one = b.where(b_mine >= 0, b.full((kept,), 1, "i32", "b_one"), 0)
    found = o_slot < b.sum(one, 0, "n_slots")
    row.store(b.load(slots, mine + o_slot, found, other=-1, name="b_slot"))
    return b.finish(("R", row.heads, "B"))
