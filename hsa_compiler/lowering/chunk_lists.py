"""Chunk order: how programs share out the lists of (row, slot) pairs of an inverse index.

- One program per chunk walks its whole list and owns the chunk's result.
- `split` = n: programs take n consecutive pairs of the sorted pair list each, whatever chunks they
  belong to, so that all have equal work; a program walks the chunks its pairs touch.
- `window` = n: one program per chunk and window of n rows, all chunks of a window side by side. A
  row is read for each of its chunks; read within a short time, it comes from the cache.
- `window` with ``combine="owned"``: one program per window walks all chunks, so that the rows'
  results are its own, and it can add their parts in memory without atomics. Where chunks have sums
  too there are `copies` programs, each with as many windows one after the other and a copy of the
  sums to itself, which another launch adds up.

With either of the second and third, several programs add a chunk's parts into an fp32 accumulator
with atomics.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from hsa_compiler.ir import Op
from hsa_compiler.lowering.common import Lowering
from hsa_compiler.schedules.legality import shares_chunks
from hsa_compiler.tile.builder import TileBuilder
from hsa_compiler.tile.ir import Pointer, Size, Var, Workspace

#: Entries of a pair list that one step of a search looks at.
_PROBES_BITS = 6
_PROBES = 1 << _PROBES_BITS


@dataclass(frozen=True)
class ChunkLists:
    """The lists of one problem: `heads` index heads, `top_k` slots per row."""

    low: Lowering
    b: TileBuilder
    order: Pointer
    offsets: Pointer
    heads: int
    top_k: int
    #: Of the targets: outputs to be zeroed first, and the fp32 buffers of others, by role.
    zeroed: list[str] = field(default_factory=list)
    accumulators: dict[str, str] = field(default_factory=dict)

    @property
    def split(self) -> int:
        """Pairs per program; 0 = whole lists."""
        return self.low.schedule.split

    @property
    def window(self) -> int:
        """Rows per window; 0 = all."""
        return self.low.schedule.window

    @property
    def shared(self) -> bool:
        """Whether several programs work on a chunk."""
        return shares_chunks(self.low.schedule)

    @property
    def owns_rows(self) -> bool:
        """Whether a program walks all chunks of its window of rows."""
        return self.low.schedule.combine == "owned"

    @property
    def copies(self) -> int:
        """Programs that have a copy of all chunks' sums each; 0 where sums are shared or owned."""
        return self.low.schedule.copies

    def _windows(self) -> Size:
        return Size.of("R").cdiv(self.window)

    def check(self) -> None:
        """Refuse other orders, and parts that this target could not combine."""
        self.low.need_order("chunk")
        if self.shared:
            self.low.need_atomics()

    def programs(self) -> Size:
        """Programs that share out one index head's lists."""
        if self.owns_rows:
            return Size.of(self.copies) if self.copies else self._windows()
        if self.window:
            return Size.of("C") * self._windows()
        if not self.split:
            return Size.of("C")
        return (Size.of("R") * self.top_k).cdiv(self.split)

    def pair_base(self, batch: Var, head: Var | int) -> Var:
        """Offset of an index head's pair list in `order`."""
        pairs = self.b.scalar("R").to("i64") * self.top_k
        return (batch * self.heads + head) * pairs

    def bounds(self, chunk: Var, batch: Var, head: Var | int) -> tuple[Var, Var]:
        """Where a chunk's list starts and ends in the sorted pair list of an index head."""
        return self._bounds(self._offsets_row(batch, head), chunk)

    def _offsets_row(self, batch: Var, head: Var | int) -> Var:
        """Offset of an index head's row in `offsets`."""
        # In int64 throughout: heads * (C + 1) may pass 2**31 for long memories.
        return (batch * self.heads + head).to("i64") * (self.b.scalar("C") + 1)

    def _bounds(self, row: Var, chunk: Var) -> tuple[Var, Var]:
        first = self.b.load(self.offsets, row + chunk, name="first")
        return first, self.b.load(self.offsets, row + chunk + 1, name="last")

    def target(self, op: Op, role: str, size: Size) -> Pointer:
        """Where a result of `size` elements is written: the output itself, or, when programs add
        atomically into a half-precision output, an fp32 buffer that stands in for it."""
        out = self.low.result(self.b, op, role)
        if not self.shared:
            return out
        if out.dtype == "fp32":
            self.zeroed.append(role)
            return out
        space = Workspace(f"{role}_sum", "fp32", size, zeroed=True)
        self.accumulators[role] = space.name
        return self.low.workspace(self.b, space)

    def put(self, target: Pointer, offset: Var, value: Var, mask: Var | None = None) -> None:
        """Write a chunk's result, or add a program's part of it."""
        write = self.b.atomic_add if self.shared else self.b.store
        write(target, offset, value, mask)

    def walk(
        self, work: Var, batch: Var, head: Var | int, visit: Callable[[Var, Var, Var], None]
    ) -> None:
        """Emit ``visit(chunk, first_pair, last_pair)`` for every chunk of program `work`."""
        b = self.b
        row = self._offsets_row(batch, head)
        if not self.shared:
            visit(work, *self._bounds(row, work))
            return
        if self.owns_rows:
            with self._windows_of(work) as window, b.loop(0, b.scalar("C"), name="chunk") as loop:
                self._visit(loop.index, window, row, batch, head, visit)
            return
        if self.window:
            n_chunks = b.scalar("C")
            self._visit(work % n_chunks, work // n_chunks, row, batch, head, visit)
            return
        begin = work * self.split
        total = b.load(self.offsets, row + b.scalar("C"), name="n_pairs")
        # Not begin + split, which may pass 2**31 at the end of a list that does not.
        end = begin + b.minimum(total - begin, self.split)
        with b.when(begin < end):
            low_chunk = self._chunk_of(row, begin)
            high_chunk = self._chunk_of(row, end - 1)
            with b.loop(low_chunk, high_chunk + 1, name="chunk") as loop:
                first, last = self._bounds(row, loop.index)
                visit(loop.index, b.maximum(first, begin), b.minimum(last, end))

    @contextmanager
    def _windows_of(self, work: Var) -> Iterator[Var]:
        """The windows that program `work` owns, one after the other."""
        if not self.copies:
            yield work
            return
        b = self.b
        each = b.scalar("windows_each", self._windows().cdiv(self.copies))
        last = b.minimum((work + 1) * each, b.scalar("n_windows", self._windows()))
        with b.loop(work * each, last, name="window") as loop:
            yield loop.index

    def _visit(
        self,
        chunk: Var,
        window: Var,
        row: Var,
        batch: Var,
        head: Var | int,
        visit: Callable[[Var, Var, Var], None],
    ) -> None:
        """The pairs of a chunk that belong to a window's rows, if there are any."""
        base = self.pair_base(batch, head)
        begin, end = self._of_rows(base, *self._bounds(row, chunk), window * self.window)
        with self.b.when(begin < end):
            visit(chunk, begin, end)

    def _chunk_of(self, row: Var, pair: Var) -> Var:
        """The chunk in whose list a pair stands: the last one that starts at or before it."""
        b = self.b
        steps = b.scalar("search_steps", Size.of("C").bits())
        zero = b.full((), 0, "i32", "low_chunk")
        top = b.maximum(b.scalar("C"), 1, "high_chunk")
        carry = [("low_chunk", zero), ("high_chunk", top)]
        with b.loop(0, steps, name="i_search", carry=carry) as loop:
            low_chunk, high_chunk = loop.carried
            middle = (low_chunk + high_chunk) // 2
            starts = b.load(self.offsets, row + middle, name="starts")
            before = starts <= pair
            loop.yield_(b.where(before, middle, low_chunk), b.where(before, high_chunk, middle))
        return loop.carried[0]

    def _of_rows(self, base: Var, first: Var, last: Var, row: Var) -> tuple[Var, Var]:
        """The part of a chunk's list ``first .. last - 1`` that belongs to a window's rows, `row`
        the first of them.

        Pair ids ascend inside a list: every step looks at `_PROBES` entries at equal distances and
        goes on between two of them, for both ends at once.
        """
        b = self.b
        steps = b.scalar("list_steps", (Size.of("R") * self.top_k).bits().cdiv(_PROBES_BITS))
        end = b.minimum(row + self.window, b.scalar("R"), "last_row")
        keys = (row * self.top_k, end * self.top_k)
        o_probe = b.arange(_PROBES, "o_probe")
        carry = [("low_1", first), ("high_1", last), ("low_2", first), ("high_2", last)]
        with b.loop(0, steps, name="i_search", carry=carry) as loop:
            narrowed: list[Var] = []
            for key, low, high in zip(keys, loop.carried[::2], loop.carried[1::2], strict=True):
                stride = (high - low + (_PROBES - 1)) // _PROBES
                place = low + o_probe * stride
                inside = place < high
                b_pair = b.load(self.order, base + place, inside, name="b_pair")
                before = b.where(inside & (b_pair < key), 1, b.full((_PROBES,), 0, "i32", "b_zero"))
                count = b.sum(before, 0, "n_before")
                low_next = b.where(count > 0, low + (count - 1) * stride + 1, low, "low")
                narrowed += [low_next, b.minimum(high, low + count * stride, "high")]
            loop.yield_(*narrowed)
        return loop.carried[0], loop.carried[2]
