"""Matrix products: a block of results stays in registers while the depth is walked.

Each accumulator is one vector. Accumulators lie in buffers under 1 KiB whose places are numbers
after unrolling: only such buffers does LLVM turn into registers.
"""

from __future__ import annotations

from hsa_compiler.codegen import tvm_text as tx
from hsa_compiler.codegen.tvm_elements import At
from hsa_compiler.codegen.tvm_reduce import horizontal
from hsa_compiler.codegen.tvm_text import X
from hsa_compiler.codegen.tvm_tiles import Tiles
from hsa_compiler.codegen.tvm_transpose import interleaved
from hsa_compiler.tile.ir import Let, Var

#: Rows of accumulators per buffer: 8 vectors of 16 fp32 lanes are 512 bytes.
_GROUP = 8
#: Vectors side by side for a number of accumulators; the rest of them are rows.
_SIDE_BY_SIDE = {1: 1, 2: 1, 4: 1, 8: 2, 16: 4}


def print_dot(tiles: Tiles, let: Let) -> None:
    """``out = a b (+ acc)`` with the lanes that the layout chose."""
    dot = _Dot(tiles, let)
    plus = "" if dot.acc is None else f" + {dot.acc.name}"
    sides = " @ ".join(f"{x.name} {list(x.shape)}" for x in (dot.a, dot.b))
    tiles.writer.line(f"# {dot.out.name} = {sides}{plus}")
    if dot.lanes == "k":
        dot.along_depth()
    else:
        dot.along_results()


class _Dot:
    def __init__(self, tiles: Tiles, let: Let) -> None:
        self.tiles, self.writer, self.elements = tiles, tiles.writer, tiles.elements
        a, b = let.args[:2]
        assert isinstance(a, Var)
        assert isinstance(b, Var)
        self.a, self.b, self.depth = a, b, a.shape[1]
        acc = let.args[2] if len(let.args) > 2 else None
        self.acc = acc if isinstance(acc, Var) else None
        self.lanes = tiles.layout.lanes[let]
        self.out = tiles.layout.buffers[let.var]

    # -- lanes along rows or columns of the result ------------------------------------------------
    def along_results(self) -> None:
        """Lanes along M or N (x here); the other axis of the result (y) in rows of accumulators.

        The operand without x is read one element at a time, each multiplying whole vectors.
        """
        tiles, axis = self.tiles, 0 if self.lanes == "m" else 1
        x_size, y_size = self.out.shape[axis], self.out.shape[1 - axis]
        for start, count, width in tiles.pieces(x_size, True):
            beside = _SIDE_BY_SIDE[tiles.unroll]
            while count % beside:
                beside //= 2
            rows = min(tiles.unroll // beside, y_size)
            with tiles.loop("x", count // beside, start, beside * width) as x:
                xs = [At(tx.add(x.base, _i32(i * width)), width, x.depth) for i in range(beside)]
                with tiles.loop("y", y_size // rows, lanes=rows) as y:
                    self._block(xs, y.base, rows)
                rest = y_size % rows
                if rest:
                    self._block(xs, _i32(y_size - rest), rest)

    def _block(self, xs: list[At], y: X, rows: int) -> None:
        """One block of ``rows x len(xs)`` accumulators over the whole depth."""
        tiles, width = self.tiles, xs[0].lanes
        groups = [(first, min(_GROUP, rows - first)) for first in range(0, rows, _GROUP)]
        names = {
            (i, first): self._accumulators(i * len(groups) + g, size, width)
            for i in range(len(xs))
            for g, (first, size) in enumerate(groups)
        }

        def row(first: int, u: X) -> At:
            return At(tx.add(y, tx.add(u, _i32(first))), 1, self.writer.depth)

        for first, size in groups:
            with tiles.unrolled(size) as u:
                for i, x in enumerate(xs):
                    start = self._initial(self._place(x, row(first, u)))
                    tiles.set(self._acc(names[i, first], u, width), start)
        with self.writer.block(f"for k in range({self.depth}):") as depth:
            k = At(X("k", "int32"), 1, depth)
            vectors = [self._vector(x, k) for x in xs]
            for first, size in groups:
                with tiles.unrolled(size) as u:
                    scalar = self._scalar(row(first, u), k)
                    if len(xs) > 1 and "[" in scalar.text:
                        scalar = self.writer.bind("scalar", scalar)
                    for i, vector in enumerate(vectors):
                        acc = self._acc(names[i, first], u, width)
                        tiles.set(acc, tx.add(acc, tx.mul(vector, scalar)))
        for first, size in groups:
            with tiles.unrolled(size) as u:
                for i, x in enumerate(xs):
                    acc = self._acc(names[i, first], u, width)
                    tiles.assign(self.out, self._place(x, row(first, u)), acc)

    def _accumulators(self, number: int, rows: int, width: int) -> str:
        name = "acc" if number == 0 else f"acc_{number}"
        return self.tiles.temporary(name, rows * width, "float32")

    def _acc(self, name: str, u: X, width: int) -> X:
        return self.tiles.vector(name, u, width, "float32")

    def _place(self, x: At, y: At) -> tuple[At, At]:
        return (x, y) if self.lanes == "m" else (y, x)

    def _initial(self, at: tuple[At, At]) -> X:
        if self.acc is None:
            return tx.const(0.0, "float32")
        return self.elements.element(self.acc, at, "float32")

    def _vector(self, x: At, k: At) -> X:
        operand, at = (self.a, (x, k)) if self.lanes == "m" else (self.b, (k, x))
        return self._bound(self._element(operand, at))

    def _bound(self, vector: X) -> X:
        return self.writer.bind("vector", vector) if "[" in vector.text else vector

    def _scalar(self, y: At, k: At) -> X:
        operand, at = (self.b, (k, y)) if self.lanes == "m" else (self.a, (y, k))
        return self.elements.element(operand, at, "float32")

    def _element(self, operand: Var, at: tuple[At, At]) -> X:
        """A vector, from a copy in the right order where the layout made one."""
        source, flipped = self.tiles.uses.base(operand)
        copy = self.tiles.layout.copies.get(source)
        if copy is not None:
            own = self.tiles.layout.buffers[source]
            if not self.elements.place(own, at[::-1] if flipped else at).contiguous:
                self.elements.instead[source] = copy
        value = self.elements.element(operand, at, "float32")
        self.elements.instead.clear()
        return value

    # -- lanes along the depth --------------------------------------------------------------------
    def along_depth(self) -> None:
        """Every result is a sum over lanes: for few rows whose operands both lie along K."""
        tiles, (rows, cols) = self.tiles, self.out.shape
        pieces = tiles.pieces(self.depth, True)
        most = min([tiles.unroll, _GROUP, cols, *(width for _, _, width in pieces)])
        block = max(n for n in (1, 2, 4, 8) if n <= most)
        with tiles.loop("m", rows) as row:
            with tiles.loop("n", cols // block, lanes=block) as first:
                self._depth_block(row, first.base, block, pieces)
            rest = cols % block
            if rest:
                with tiles.loop("n", rest, start=cols - rest) as first:
                    self._depth_block(row, first.base, 1, pieces)

    def _depth_block(
        self, row: At, first: X, block: int, pieces: list[tuple[int, int, int]]
    ) -> None:
        """`block` neighbouring results of one row."""
        tiles = self.tiles
        total: X | None = None
        for start, count, width in pieces:
            name = tiles.temporary(f"acc_{width}", block * width, "float32")
            with tiles.unrolled(block) as u:
                tiles.set(self._acc(name, u, width), tx.const(0.0, "float32"))
            with tiles.loop("k", count, start, width) as place:
                vector = self._bound(self._element(self.a, (row, place)))
                with tiles.unrolled(block) as u:
                    col = At(tx.add(first, u), 1, self.writer.depth)
                    other = self._element(self.b, (place, col))
                    acc = self._acc(name, u, width)
                    tiles.set(acc, tx.add(acc, tx.mul(vector, other)))
            part = self._sums(name, block, width)
            total = part if total is None else tx.add(total, part)
        assert total is not None
        at = (row, At(first, block, self.writer.depth))
        if self.acc is not None:
            total = tx.add(self.elements.element(self.acc, at, "float32"), total)
        tiles.assign(self.out, at, total)

    def _sums(self, name: str, block: int, width: int) -> X:
        """The sums over the lanes of `block` accumulators, side by side in one vector.

        A round adds the interleaved halves of vectors i and i + n/2 of n, which leaves n/2.
        """
        half = block // 2
        while half:
            with self.tiles.unrolled(half) as u:
                acc = self._acc(name, u, width)
                other = self._acc(name, tx.add(u, _i32(half)), width)
                low, high = interleaved(acc, other)
                self.tiles.set(acc, tx.add(low, high))
            half //= 2
        return horizontal(self.writer, "sum", self._acc(name, _i32(0), width), block)


def _i32(value: int) -> X:
    return tx.const(value, "int32")
