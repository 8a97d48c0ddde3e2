"""How a program of an attention kernel walks the chunks of its query rows.

Token order: the rows are the query heads of one token, the walk its slots. Union order: the rows
are those of several neighbouring tokens, the walk the distinct chunks that any of them chose; a row
that did not choose a chunk passes over it with weight 0, so that a key or value that is no finite
number reaches the tile's other rows too. The union of every tile of tokens is built by a launch of
its own just before.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

from hsa_compiler.lowering.common import Lowering, below, both, count_valid
from hsa_compiler.lowering.heads import AttendShape, QueryRows
from hsa_compiler.tile.builder import Loop, TileBuilder
from hsa_compiler.tile.ir import Kernel, Pointer, Size, Var, Workspace

Start = Callable[[], list[tuple[str, Var]]]
Body = Callable[[list[tuple[str, Var]]], tuple[Var, ...]]
Finish = Callable[..., None]

#: Comparisons of a tile's pairs with each other that a warp of `_list_unions` holds at once: 32 a
#: thread, in registers.
_COMPARED = 1024


def tokens_per_tile(low: Lowering) -> int:
    """Tokens of one program: 1 in token order."""
    low.need_order("token", "union")
    return low.schedule.tokens if low.schedule.order == "union" else 1


def tile_rows(b: TileBuilder, shape: AttendShape, tokens: int) -> QueryRows:
    """The query rows of this program: of token (or tile of `tokens` tokens) `program_id(0)`."""
    i_tile = b.program_id(0, "i_token" if tokens == 1 else "i_tile")
    i_program, i_batch = b.program_id(1, "i_program"), b.program_id(2, "i_batch")
    first = i_tile if tokens == 1 else b.binary("mul", i_tile, tokens, "first_token")
    return QueryRows(b, shape, i_batch, first, i_program, tokens)


def union_launches(low: Lowering, shape: AttendShape, indices: Pointer) -> tuple[Kernel, ...]:
    """What must run before a kernel that walks unions."""
    return (_list_unions(low, shape, indices),) if low.schedule.order == "union" else ()


def make_walk(low: Lowering, b: TileBuilder, rows: QueryRows, indices: Pointer) -> Walk:
    """The walk of the schedule's loop order."""
    return OwnSlots(low, b, rows, indices) if rows.tokens == 1 else Union(low, b, rows, indices)


class OwnSlots:
    """Token order: `steps` slots of one token, empty ones among them where a caller left gaps."""

    def __init__(self, low: Lowering, b: TileBuilder, rows: QueryRows, indices: Pointer) -> None:
        shape = rows.shape
        self.b, self.rows, self.indices = b, rows, indices
        self.stages = low.schedule.stages
        index_head = shape.index_head(rows.program)
        self.slots = rows.slots(rows.first_token, index_head, shape.index_heads)
        self.steps = count_valid(b, indices, self.slots, shape.top_k, low.caps.pad(shape.top_k))

    def run(self, start: Start, body: Body, finish: Finish) -> None:
        """Emit the loop from its start values, and the end."""
        finish(*body(start()))

    def loop(self, carry: list[tuple[str, Var]], tiles: int = 1) -> AbstractContextManager[Loop]:
        """The loop over the steps, or over `tiles` sub-tiles of each."""
        steps = self.steps if tiles == 1 else self.steps * tiles
        return self.b.loop(0, steps, name="i_step", carry=carry, stages=self.stages)

    def use_weights(self, weights: Pointer) -> None:
        """The fusion weights that `weight` reads."""
        self.weights = weights

    def enter(self, step: Var) -> Var:
        """Begin a step; its chunk, which is 0 for an empty slot."""
        self.slot = step
        self.chosen = self.b.load(self.indices, self.slots + step, name="chunk")
        return self.b.maximum(self.chosen, 0, "chunk")

    def weight(self) -> Var:
        """The chunk's fusion weight: a scalar where all rows share it, else ``[rows]``."""
        b, rows, shape = self.b, self.rows, self.rows.shape
        if shape.own_weights:
            offsets = rows.per_weight_head() * shape.top_k + self.slot
            b_w = b.load(self.weights, offsets, rows.mask(), name="b_w")
        else:
            head = shape.weight_head(rows.program * shape.rows)
            base = rows.slots(rows.first_token, head, shape.weight_heads)
            b_w = b.load(self.weights, base + self.slot, name="b_w")
        # A slot may be empty in the middle of a caller's own list: its weight counts as 0.
        return b.where(self.chosen >= 0, b_w, 0.0, "b_w")

    def visible(self, b_s: Var) -> Var:
        """Logits, -inf where a row did not choose the chunk."""
        return self.b.where(self.chosen >= 0, b_s, float("-inf"), "b_s")

    def counted(self, x: Var) -> Var:
        """``x[rows]`` or ``x[rows, n]``, as often as a row chose the chunk in this step."""
        return self.b.where(self.chosen >= 0, x, 0.0, x.name)

    def repeated(self, b_p: Var) -> Var:
        """The same for a tile that is 0 already where a row did not choose the chunk."""
        return b_p

    def grad_carry(self) -> list[tuple[str, Var]]:
        """What the loop carries for gradients of weights."""
        return []

    def put_weight_grad(
        self, target: Pointer, lists: Var, d_weight: Var, carried: list[Var]
    ) -> list[Var]:
        """Write this step's gradient, one number per list of K slots: ``[rows]`` or a scalar."""
        d_weight = self.b.where(self.chosen >= 0, d_weight, 0.0, "b_dw")
        mask = self.rows.mask() if d_weight.shape else None
        self.b.store(target, lists * self.rows.shape.top_k + self.slot, d_weight, mask)
        return carried

    def finish_weight_grads(self, target: Pointer, lists: Var, carried: list[Var]) -> None:
        """Write what the loop carried."""


class Union:
    """Union order: `steps` distinct chunks of a tile of tokens, as `_list_unions` listed them."""

    def __init__(self, low: Lowering, b: TileBuilder, rows: QueryRows, indices: Pointer) -> None:
        shape = rows.shape
        self.b, self.rows, self.stages = b, rows, low.schedule.stages
        self.kept = low.caps.pad(shape.top_k)
        self.carries_chunks = low.caps.carried_addresses
        lists = UnionLists(shape, rows.tokens)
        index_head = shape.index_head(rows.program)
        place = lists.place(b, rows.batch, index_head, b.program_id(0, "i_list"))
        self.chunks, self.first = low.workspace(b, lists.chunks), place * lists.longest
        self.steps = b.load(low.workspace(b, lists.sizes), place, name="n_chunks")
        # Weights that every row has of its own are matched row by row, shared ones per token.
        self.by_row = shape.own_weights
        slots = self._slots(index_head, shape.index_heads)
        self.b_chosen = b.load(indices, slots, self.mask(), other=-1, name="b_chosen")

    def run(self, start: Start, body: Body, finish: Finish) -> None:
        """Emit the loop from its start values, and the end; for an empty union the end alone.

        Two branches, because the path around a loop that may not run sets the accumulators while
        the last product is in flight: ptxas then runs all products of the loop one by one (C7515).
        """
        with self.b.when(self.steps > 0):
            finish(*body(start()))
        with self.b.when(self.steps < 1):
            finish(*(init for _, init in start()))

    @contextmanager
    def loop(self, carry: list[tuple[str, Var]], tiles: int = 1) -> Iterator[Loop]:
        """The loop over the steps, or over `tiles` sub-tiles of each.

        With 3 stages or more a chunk's number is loaded one step early and carried, where the back
        end asks for that: Triton's pipeline then need not wait for it, and issues the chunk's own
        loads as many steps ahead.
        """
        b, stages = self.b, self.stages
        self._upcoming: Var | None = None
        if stages < 3 or self.rows.shape.key_tiles > 1 or not self.carries_chunks:
            count = self.steps if tiles == 1 else self.steps * tiles
            with b.loop(0, count, name="i_step", carry=carry, stages=stages) as loop:
                yield loop
            return
        ahead = ("chunk", b.load(self.chunks, self.first, name="chunk"))
        with b.loop(0, self.steps, name="i_step", carry=[*carry, ahead], stages=stages) as steps:
            *carried, self._upcoming = steps.carried
            loop = Loop(steps.index, tuple(carried))
            yield loop
            after = b.minimum(steps.index + 1, self.steps - 1)
            following = b.load(self.chunks, self.first + after, name="chunk")
            steps.yield_(*loop.yields, following)

    def use_weights(self, weights: Pointer) -> None:
        """The fusion weights that `weight` reads."""
        shape = self.rows.shape
        if self.by_row:
            slots = self._with_slots(self.rows.per_weight_head() * shape.top_k)
        else:
            head = shape.weight_head(self.rows.program * shape.rows)
            slots = self._slots(head, shape.weight_heads)
        self.b_weights = self.b.load(weights, slots, self.mask(), name="b_weights")

    def enter(self, step: Var) -> Var:
        """Begin a step; its chunk."""
        b = self.b
        chunk = self._upcoming
        if chunk is None:
            chunk = b.load(self.chunks, self.first + step, name="chunk")
        self.match = b.binary("eq", self.b_chosen, chunk, "b_match")
        self._times: Var | None = None
        return chunk

    def weight(self) -> Var:
        """The chunk's fusion weight ``[rows]``; the sum where a caller's list repeats it."""
        b = self.b
        return self._spread(b.sum(b.where(self.match, self.b_weights, 0.0), 1, "b_w"))

    def visible(self, b_s: Var) -> Var:
        """Logits, -inf where a row did not choose the chunk."""
        return self.b.where((self.times() > 0.0).as_column, b_s, float("-inf"), "b_s")

    def counted(self, x: Var) -> Var:
        """``x[rows]`` or ``x[rows, n]``, as often as a row chose the chunk."""
        times = self.times() if len(x.shape) == 1 else self.times().as_column
        # Not a product alone: x may be infinite where the row did not choose the chunk.
        return self.b.where(times > 0.0, x * times, 0.0, x.name)

    def repeated(self, b_p: Var) -> Var:
        """The same for a tile that is 0 already where a row did not choose the chunk."""
        return b_p * self.times().as_column

    def times(self) -> Var:
        """How often each row chose this step's chunk ``[rows]``."""
        if self._times is None:
            b = self.b
            ones = b.where(self.match, 1.0, b.full(self.match.shape, 0.0, "fp32", "b_zero"))
            self._times = self._spread(b.sum(ones, 1, "b_times"))
        return self._times

    # -- gradients of the weights -----------------------------------------------------------------
    def grad_carry(self) -> list[tuple[str, Var]]:
        """What the loop carries for gradients of weights: one number per list and slot."""
        lists = self.rows.count if self.by_row else self.rows.tokens
        zero = self.b.full((lists, self.kept), 0.0, "fp32", "b_dweights")
        return [("b_dweights", zero)]

    def put_weight_grad(
        self, target: Pointer, lists: Var, d_weight: Var, carried: list[Var]
    ) -> list[Var]:
        """Add this step's gradient, one number per list, in every slot that holds the chunk."""
        (total,) = carried
        return [total + self.b.where(self.match, d_weight.as_column, 0.0)]

    def finish_weight_grads(self, target: Pointer, lists: Var, carried: list[Var]) -> None:
        """Write what the loop carried."""
        offsets = self._with_slots(lists * self.rows.shape.top_k)
        self.b.store(target, offsets, carried[0], self.mask())

    def mask(self) -> Var | None:
        """Which tokens (or rows) and slots exist."""
        b, shape = self.b, self.rows.shape
        lists = self.rows.mask() if self.by_row else self.rows.token_mask()
        o_slot = b.arange(self.kept, "o_slot")
        m_slot = below(o_slot, shape.top_k, self.kept)
        column = None if lists is None else lists.as_column
        return both(b, column, None if m_slot is None else m_slot.as_row)

    def _slots(self, head: Var | int, heads: int) -> Var:
        token = self.rows.token() if self.by_row else self.rows.token_ids()
        return self._with_slots(self.rows.slots(token, head, heads))

    def _with_slots(self, base: Var) -> Var:
        return base.as_column + self.b.arange(self.kept, "o_slot").as_row

    def _spread(self, per_list: Var) -> Var:
        return per_list if self.by_row else self.b.repeat(per_list, self.rows.shape.padded_rows)


Walk = OwnSlots | Union


class UnionLists:
    """Where the unions of all tiles of `tokens` tokens lie: `longest` places a list."""

    def __init__(self, shape: AttendShape, tokens: int) -> None:
        self.heads = shape.index_heads
        self.longest = tokens * shape.top_k
        self.tiles = Size.of("L").cdiv(tokens)
        lists = Size.of("B") * self.heads * self.tiles
        self.chunks = Workspace("union_chunks", "i32", lists * self.longest)
        self.sizes = Workspace("union_sizes", "i32", lists)

    def place(self, b: TileBuilder, batch: Var, head: Var | int, tile: Var) -> Var:
        """The number of a list (i64)."""
        n_tiles = b.scalar("n_tiles", self.tiles)
        return (batch * self.heads + head).to("i64") * n_tiles + tile


def _list_unions(low: Lowering, shape: AttendShape, indices_of: Pointer) -> Kernel:
    """The launch that lists the distinct chunks of every tile of tokens, in the order in which its
    tokens' lists first name them.

    A pair is the first of its chunk when none before it in the tile names the same; the running
    count of first pairs is their place in the list.
    """
    b = TileBuilder("union_chunks")
    tokens = low.schedule.tokens
    lists = UnionLists(shape, tokens)
    i_tile, i_head = b.program_id(0, "i_tile"), b.program_id(1, "i_head")
    i_batch = b.program_id(2, "i_batch")
    rows = QueryRows(b, shape, i_batch, i_tile * tokens, i_head, tokens)
    indices = b.pointer(indices_of.name, indices_of.dtype)
    kept = low.caps.pad(shape.top_k)
    count = tokens * kept

    def chosen(pair: Var, name: str) -> Var:
        token, slot = rows.first_token + pair // kept, pair % kept
        offsets = rows.slots(token, i_head, shape.index_heads) + slot
        mask = both(b, token < b.scalar("L"), below(slot, shape.top_k, kept))
        return b.load(indices, offsets, mask, other=-1, name=name)

    o_pair = b.arange(count, "o_pair")
    b_chosen = chosen(o_pair, "b_chosen")
    block = min(count, low.caps.pad(_COMPARED * low.schedule.warps // count or 1))
    none = b.full((count, block), 0, "i32", "b_twins")
    with b.loop(0, count, block, name="i_pair", carry=[("b_twins", none)]) as loop:
        o_other = loop.index + b.arange(block, "o_other")
        b_other = chosen(o_other, "b_other")
        twins = b_chosen.as_column.eq(b_other.as_row) & (o_other.as_row < o_pair.as_column)
        loop.yield_(b.where(twins, 1, loop.carried[0]))
    b_twins = b.max(loop.carried[0], 1, "b_twins")
    first = (b_chosen >= 0) & b_twins.eq(0)
    b_first = b.where(first, 1, b.full((count,), 0, "i32", "b_zero"), "b_first")
    place = lists.place(b, i_batch, i_head, i_tile)
    where = place * lists.longest + (b.cumsum(b_first) - 1)
    b.store(low.workspace(b, lists.chunks), where, b_chosen, first)
    b.store(low.workspace(b, lists.sizes), place, b.sum(b_first, 0, "n_chunks"))
    return b.finish((lists.tiles, lists.heads, "B"))
