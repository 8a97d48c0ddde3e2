"""The kernel of chunk order: a program's chunks, and the rows that chose each of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from hsa_compiler.ir import Op
from hsa_compiler.lowering.chunk_lists import ChunkLists
from hsa_compiler.lowering.common import Lowering
from hsa_compiler.lowering.heads import AttendShape, ChunkTiles
from hsa_compiler.lowering.pair_rows import PairRows, pairs_per_step
from hsa_compiler.schedules.schedule import IllegalSchedule
from hsa_compiler.tile.builder import Loop, TileBuilder
from hsa_compiler.tile.ir import Kernel, Var


@dataclass(frozen=True)
class ChunkWalk:
    """A kernel under construction: its op, the lists it walks, and the keys of this program.

    `owns` says that a program has its chunks to itself, for all head programs of the KV head
    `head`; else it walks the lists of head program `head`. With `shares_tiles` programs share out
    the sub-tiles of a chunk too, and `tile` is this program's; else it is 0.
    """

    low: Lowering
    b: TileBuilder
    op: Op
    shape: AttendShape
    lists: ChunkLists
    tiles: ChunkTiles
    work: Var
    head: Var
    batch: Var
    owns: bool
    tile: Var | int
    shares_tiles: bool

    @classmethod
    def of(cls, low: Lowering, kind: str, op: Op, sums: bool = False) -> ChunkWalk:
        """Start kernel `kind` over the lists of `op`; `sums`: some of its results are sums over a
        chunk's rows, so that programs which share a chunk add them atomically."""
        low.need_order("chunk")
        if op.operand("order") is None:
            raise IllegalSchedule(
                "order", f"{kind} in chunk order needs an inverse index, which its program lacks"
            )
        b, shape = TileBuilder(kind), AttendShape.of(low, op)
        order, offsets = low.operand(b, op, "order"), low.operand(b, op, "offsets")
        lists = ChunkLists(low, b, order, offsets, shape.index_heads, shape.top_k)
        if low.schedule.combine == "atomic" or (sums and lists.shared and not lists.owns_rows):
            low.need_atomics()
        owns, shares_tiles = sums and not lists.shared, sums and shape.key_tiles > 1
        if shares_tiles and lists.owns_rows:
            raise IllegalSchedule(
                "combine",
                f"{kind} with combine='owned' chunk_tile={low.schedule.chunk_tile}: programs that "
                "share a chunk's sub-tiles all add to its rows; give chunk_tile=0",
            )
        work = b.program_id(0, "i_work")
        head = b.program_id(1, "i_head" if owns else "i_program")
        batch = b.program_id(2, "i_batch")
        tile: Var | int = 0
        if shares_tiles:
            work, tile = work // shape.key_tiles, work % shape.key_tiles
        q_value = op.operand("q")
        assert q_value is not None
        tiles = ChunkTiles(
            b,
            shape,
            low.operand(b, op, "k"),
            low.operand(b, op, "v"),
            low.optional(b, op, "chunk_start"),
            batch,
            head if owns else shape.kv_head(head),
            low.caps.operand(q_value.type.dtype),
        )
        return cls(low, b, op, shape, lists, tiles, work, head, batch, owns, tile, shares_tiles)

    def walk(self, program: Var, visit: Callable[[Var, Var, Var], None]) -> None:
        """Emit ``visit(chunk, first pair, last pair)`` for the chunks of this program in the lists
        of a head program."""
        self.lists.walk(self.work, self.batch, self.shape.index_head(program), visit)

    @contextmanager
    def pairs(
        self, program: Var, first: Var, last: Var, carry: Sequence[tuple[str, Var]] = ()
    ) -> Iterator[tuple[PairRows, Loop]]:
        """A loop over the pairs ``first .. last - 1`` of a head program's list, some at a time."""
        b, shape = self.b, self.shape
        step, head = pairs_per_step(self.low, shape), shape.index_head(program)
        if shape.query_block > 1:
            first, last = first * shape.query_block, last * shape.query_block
        stages = self.low.schedule.stages
        with b.loop(first, last, step, name="i_pair", carry=carry, stages=stages) as loop:
            yield (
                PairRows(self.lists, shape, step, loop.index, last, self.batch, program, head),
                loop,
            )

    def finish(self) -> Kernel:
        """The launch."""
        work = self.lists.programs()
        if self.shares_tiles:
            work = work * self.shape.key_tiles
        heads = self.shape.kv_heads if self.owns else self.shape.programs
        return self.b.finish((work, heads, "B"))
