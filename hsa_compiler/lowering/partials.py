"""The parts of a result in chunk order: one for every (row, slot) pair, and the kernel that brings
a row's parts together."""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass

from hsa_compiler.ir import Op
from hsa_compiler.lowering.common import LOWEST, Lowering, both
from hsa_compiler.lowering.heads import AttendShape, QueryRows
from hsa_compiler.lowering.pair_rows import PairRows
from hsa_compiler.lowering.walks import tile_rows
from hsa_compiler.schedules.footprint import BYTES, SUM_STAGES, summed_rows
from hsa_compiler.schedules.schedule import IllegalSchedule
from hsa_compiler.tile.builder import Loop, TileBuilder
from hsa_compiler.tile.ir import Kernel, Pointer, Size, Var, Workspace


@dataclass(frozen=True)
class Partials:
    """The parts of a ``[B, L, Hq, D]`` result: one for each slot of a row, in the data dtype, or
    one fp32 row that they are added into.

    Slots lie as ``[B, programs, L, K, rows, D]``: what programs side by side write, those of one
    head and window, is close together, and so is what is added up. `lse` lies alike, without D.
    Where programs share out a chunk's sub-tiles a slot has one part for each of these `tiles`:
    ``K * tiles`` in place of K.
    """

    low: Lowering
    op: Op
    shape: AttendShape
    space: Workspace
    lse: Workspace | None
    tiles: int = 1

    @classmethod
    def of(
        cls,
        low: Lowering,
        op: Op,
        shape: AttendShape,
        role: str,
        with_lse: bool = False,
        tiles: int = 1,
    ) -> Partials:
        """The buffer that the schedule asks for; `with_lse` for the parts of a joint softmax."""
        heads = Size.of("B") * "L" * shape.query_heads
        if low.schedule.combine in ("atomic", "owned"):
            if with_lse:
                raise IllegalSchedule(
                    "combine",
                    f"{low.problem.kind} of a joint softmax with combine={low.schedule.combine!r}: "
                    "its parts are weighted when they meet; give combine='buffer'",
                )
            size = heads * shape.head_dim
            return cls(low, op, shape, Workspace(f"{role}_sum", "fp32", size, zeroed=True), None)
        q_value = op.operand("q")
        assert q_value is not None
        slots = heads * (shape.top_k * tiles)
        space = Workspace(f"{role}_parts", q_value.type.dtype, slots * shape.head_dim)
        lse = Workspace(f"{role}_lse", "fp32", slots) if with_lse else None
        return cls(low, op, shape, space, lse, tiles)

    @property
    def added(self) -> bool:
        """Whether parts are added in memory."""
        return self.space.zeroed

    @property
    def tokens(self) -> int:
        """Tokens of a program that brings parts together."""
        if not self.low.caps.pow2_tiles:
            return 1
        rows = summed_rows(self.shape.head_dim, BYTES[self.space.dtype])
        return max(1, rows // self.shape.padded_rows)

    def _places(self, rows: PairRows | QueryRows, token: Var, slot: Var) -> Var:
        """The number of every row's part [count]."""
        b, shape = rows.b, rows.shape
        program = (rows.batch * shape.programs + rows.program).to("i64")
        place = (program * b.scalar("L") + token) * (shape.top_k * self.tiles) + slot
        return place * shape.rows + rows.head_row()

    def _tile(self, b: TileBuilder, places: Var) -> Var:
        """Offsets [count, D] of parts."""
        o_dim = b.arange(self.shape.head_dim, "o_dim")
        return (places * self.shape.head_dim).as_column + o_dim.as_row

    def put(self, b: TileBuilder, rows: PairRows, part: Var, tile: Var | int = 0) -> None:
        """Leave the parts [count, D] of a step's pairs, of one of the `tiles`."""
        target, mask = self.low.workspace(b, self.space), rows.mask_tile()
        if self.added:
            exclusive = self.low.schedule.combine == "owned"
            b.atomic_add(target, rows.tile(), part, mask, exclusive)
            return
        slot = rows.slot if self.tiles == 1 else rows.slot * self.tiles + tile
        b.store(target, self._tile(b, self._places(rows, rows.token, slot)), part, mask)

    def put_lse(self, b: TileBuilder, rows: PairRows, lse: Var) -> None:
        """Leave the LSEs [count] of a step's pairs, in base 2."""
        assert self.lse is not None
        places = self._places(rows, rows.token, rows.slot)
        b.store(self.low.workspace(b, self.lse), places, lse, rows.mask)

    def sum(self, name: str) -> tuple[TileBuilder, QueryRows, Var]:
        """Start the kernel that adds parts up: its rows, and their sums [count, D] in fp32."""
        b, rows, parts = self._start(name)
        if self.added:
            return b, rows, b.load(parts, rows.tile(), rows.mask_tile(), name="b_sum")
        zero = b.full((rows.count, self.shape.head_dim), 0.0, "fp32", "b_sum")
        with self._slots(b, [("b_sum", zero)]) as loop:
            places, seen = self._chosen(b, rows, loop.index)
            b_part = b.load(parts, self._tile(b, places), seen.as_column, name="b_part")
            loop.yield_(loop.carried[0] + b_part.to("fp32"))
        return b, rows, loop.carried[0]

    def sum_joint(self, name: str) -> tuple[TileBuilder, QueryRows, Var, Var, Var]:
        """Start the kernel that weighs parts by their LSEs: its rows, the sum [count, D], the
        maximum in base 2 and the denominator [count] that both are relative to."""
        assert self.lse is not None
        b, rows, parts = self._start(name)
        lse = self.low.workspace(b, self.lse)
        carry = [
            ("b_sum", b.full((rows.count, self.shape.head_dim), 0.0, "fp32", "b_sum")),
            ("b_m", b.full((rows.count,), LOWEST, "fp32", "b_m")),
            ("b_l", b.full((rows.count,), 0.0, "fp32", "b_l")),
        ]
        with self._slots(b, carry) as loop:
            b_sum, b_m, b_l = loop.carried
            places, seen = self._chosen(b, rows, loop.index)
            b_lse = b.load(lse, places, seen, other=LOWEST, name="b_lse")
            b_part = b.load(parts, self._tile(b, places), seen.as_column, name="b_part")
            new_m = b.maximum(b_m, b_lse, "b_new_m")
            rescale = b.exp2(b_m - new_m, "b_rescale")
            b_w = b.where(seen, b.exp2(b_lse - new_m), 0.0, "b_w")
            b_sum = b_sum * rescale.as_column + b_part.to("fp32") * b_w.as_column
            loop.yield_(b_sum, new_m, b_l * rescale + b_w)
        b_sum, b_m, b_l = loop.carried
        return b, rows, b_sum, b_m, b_l

    def launch(self, b: TileBuilder) -> Kernel:
        """The finished kernel, over all rows."""
        return b.finish((Size.of("L").cdiv(self.tokens), self.shape.programs, "B"))

    def _start(self, name: str) -> tuple[TileBuilder, QueryRows, Pointer]:
        b = TileBuilder(name)
        return b, tile_rows(b, self.shape, self.tokens), self.low.workspace(b, self.space)

    def _slots(self, b: TileBuilder, carry: list[tuple[str, Var]]) -> AbstractContextManager[Loop]:
        # Loads of a few steps under way at once: nothing else hides their time.
        count = self.shape.top_k * self.tiles
        return b.loop(0, count, name="i_slot", carry=carry, stages=SUM_STAGES)

    def _chosen(self, b: TileBuilder, rows: QueryRows, slot: Var) -> tuple[Var, Var]:
        """The numbers of the rows' parts of a slot (and sub-tile), and which of them exist."""
        shape, token, exists = self.shape, rows.token(), rows.mask()
        indices = self.low.operand(b, self.op, "indices")
        base = rows.slots(token, shape.index_head(rows.program), shape.index_heads)
        chunk = slot if self.tiles == 1 else slot // self.tiles
        chosen = b.load(indices, base + chunk, exists if base.shape else None, other=-1)
        seen = both(b, b.broadcast(chosen >= 0, (rows.count,), "m_seen"), exists)
        assert seen is not None
        return self._places(rows, token, slot), seen
