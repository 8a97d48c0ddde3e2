"""Loops over the elements of tiles, and assignments to buffers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from hsa_compiler.codegen import tvm_text as tx
from hsa_compiler.codegen.tvm_elements import At, Elements
from hsa_compiler.codegen.tvm_index import ONE, ZERO
from hsa_compiler.codegen.tvm_layout import COL, Buffer, Layout
from hsa_compiler.codegen.tvm_text import X
from hsa_compiler.codegen.tvm_writer import Writer

Read = Callable[[tuple[At, ...]], X]


class Tiles:
    """What all printers of tile ops need.

    `width`: lanes of the widest vectors; `unroll`: accumulators of a matrix product; `scratch`:
    the small buffers that were asked for, by purpose, size and dtype.
    """

    def __init__(
        self, layout: Layout, writer: Writer, elements: Elements, width: int, unroll: int
    ) -> None:
        self.layout, self.places, self.uses = layout, layout.places, layout.uses
        self.writer, self.elements = writer, elements
        self.width, self.unroll = width, unroll
        self.scratch: dict[tuple[str, int, str], str] = {}

    # -- buffers --------------------------------------------------------------------------------
    def temporary(self, name: str, size: int, dtype: str) -> str:
        """A small scratch buffer, shared by all statements that ask for the same one."""
        key = (name, size, dtype)
        if key not in self.scratch:
            self.scratch[key] = self.writer.fresh(name)
        return self.scratch[key]

    @staticmethod
    def vector(buffer: str, number: X, lanes: int, dtype: str) -> X:
        """Vector `number` of a scratch buffer."""
        place = tx.ramp(tx.mul(number, tx.const(lanes, "int32")), ONE, lanes)
        return X(f"{buffer}[{place.text}]", dtype, lanes)

    def set(self, target: X, value: X) -> None:
        """Assign to a place in a buffer."""
        value = tx.broadcast(tx.cast(value, target.dtype), target.lanes)
        self.writer.line(f"{target.text} = {value.text}")

    def assign(self, buffer: Buffer, at: tuple[At, ...], value: X) -> None:
        """Assign one element or vector of a tile."""
        index = self.elements.place(buffer, at)
        where = index.expression
        self.set(X(f"{buffer.name}[{where.text}]", buffer.dtype, where.lanes), value)

    @staticmethod
    def lane_axis(buffer: Buffer) -> int | None:
        """The axis along which a buffer's neighbours lie."""
        if not buffer.shape:
            return None
        axis = 0 if buffer.order == COL or len(buffer.shape) == 1 else 1
        return 1 - axis if len(buffer.shape) == 2 and buffer.shape[axis] == 1 else axis

    def fill(self, buffer: Buffer, value: Read, lanes: int | None, note: str = "") -> None:
        """Assign every element of a tile, vectors along the axis `lanes`."""
        if note:
            self.writer.line(f"# {buffer.name} = {note}")
        self.over(buffer.shape, lanes, lambda at: self.assign(buffer, at, value(at)))

    # -- loops ----------------------------------------------------------------------------------
    def over(
        self,
        shape: tuple[int, ...],
        lanes: int | None,
        body: Callable[[tuple[At, ...]], None],
    ) -> None:
        """Print `body` for every place of a tile, `lanes` being the axis of vectors."""

        def walk(at: tuple[At, ...]) -> None:
            axis = len(at)
            if axis == len(shape):
                body(at)
                return
            for start, count, width in self.pieces(shape[axis], axis == lanes):
                with self.loop("mn"[axis], count, start, width) as place:
                    walk((*at, place))

        walk(())

    def pieces(self, size: int, vector: bool) -> list[tuple[int, int, int]]:
        """(start, count, lanes): an axis as vectors of full width and shorter ones at its end."""
        if not vector:
            return [(0, size, 1)]
        result = []
        if size >= self.width:
            result.append((0, size // self.width, self.width))
        rest = size % self.width
        if rest:
            lanes = rest & -rest
            result.append((size - rest, rest // lanes, lanes))
        return result

    @contextmanager
    def loop(self, name: str, count: int, start: int = 0, lanes: int = 1) -> Iterator[At]:
        """A loop over `count` places, `lanes` apart, from `start` on; no loop where count is 1."""
        first = tx.const(start, "int32")
        if count == 1:
            yield At(first, lanes, self.writer.depth)
            return
        with self.writer.block(f"for {name} in range({count}):") as depth:
            step = tx.mul(tx.name(name, "int32"), tx.const(lanes, "int32"))
            yield At(tx.add(step, first), lanes, depth)

    @contextmanager
    def unrolled(self, count: int, name: str = "u") -> Iterator[X]:
        """A loop that is unrolled, so that its places in scratch buffers are numbers."""
        if count == 1:
            yield ZERO
            return
        with self.writer.block(f"for {name} in T.unroll({count}):"):
            yield tx.name(name, "int32")
