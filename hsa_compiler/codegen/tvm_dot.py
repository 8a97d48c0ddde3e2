"""Matrix products: a block of results stays in registers while the depth is walked.

Each accumulator is one vector. Accumulators lie in buffers under 1 KiB whose places are numbers
after unrolling: only such buffers does LLVM turn into registers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from hsa_compiler.codegen import tvm_text as tx
from hsa_compiler.codegen.tvm_elements import At
from hsa_compiler.codegen.tvm_reduce import horizontal
from hsa_compiler.codegen.tvm_text import X
from hsa_compiler.tile.ir import Let, Var

if TYPE_CHECKING:
    from hsa_compiler.codegen.tvm_printer import KernelPrinter

_STACK_BYTES = 1024
#: Vectors side by side for a number of accumulators; the rest of them are rows.
_SIDE_BY_SIDE = {1: 1, 2: 1, 4: 2, 8: 2, 16: 4}


def print_dot(printer: KernelPrinter, let: Let) -> None:
    """``out = a b (+ acc)`` with the lanes that the layout chose."""
    dot = _Dot(printer, let)
    shapes = [list(arg.shape) for arg in let.args[:2] if isinstance(arg, Var)]
    names = [arg.name for arg in let.args[:2] if isinstance(arg, Var)]
    plus = "" if dot.acc is None else " + " + dot.acc.name
    printer.writer.line(
        f"# {dot.out.name} = {names[0]} {shapes[0]} @ {names[1]} {shapes[1]}{plus}"
    )
    if dot.lanes == "k":
        dot.along_depth()
    else:
        dot.along_results()


class _Dot:
    def __init__(self, printer: KernelPrinter, let: Let) -> None:
        self.printer, self.writer, self.elements = printer, printer.writer, printer.elements
        a, b = let.args[:2]
        assert isinstance(a, Var) and isinstance(b, Var)
        self.a, self.b, self.depth = a, b, a.shape[1]
        acc = let.args[2] if len(let.args) > 2 else None
        self.acc = acc if isinstance(acc, Var) else None
        self.lanes = printer.layout.lanes[let]
        self.out = printer.layout.buffers[let.var]
        self.home = self.writer.depth

    # -- lanes along rows or columns of the result ------------------------------------------------
    def along_results(self) -> None:
        """Lanes along M or N (x here); the other axis of the result (y) in rows of accumulators.

        The operand without x is read one element at a time, each multiplying whole vectors.
        """
        axis = 0 if self.lanes == "m" else 1
        x_size, y_size = self.out.shape[axis], self.out.shape[1 - axis]
        for start, count, width in self.printer.pieces(x_size, True):
            beside = _SIDE_BY_SIDE[self.printer.unroll]
            while count % beside:
                beside //= 2
            rows = min(self.printer.unroll // beside, y_size)
            with self._maybe_loop("x", count // beside) as (x, depth):
                base = tx.add(tx.mul(x, tx.const(beside * width, "int32")), _i32(start))
                xs = [At(tx.add(base, _i32(i * width)), width, depth) for i in range(beside)]
                whole = y_size // rows
                with self._maybe_loop("y", whole) as (y, y_depth):
                    self._block(xs, tx.mul(y, _i32(rows)), rows, y_depth)
                if y_size % rows:
                    self._block(xs, _i32(whole * rows), y_size % rows, self.writer.depth)

    def _maybe_loop(self, name: str, count: int) -> _Loop:
        return _Loop(self.printer, name, count)

    def _block(self, xs: list[At], y: X, rows: int, depth: int) -> None:
        """One block of ``rows x len(xs)`` accumulators over the whole depth."""
        width = xs[0].lanes
        most = max(1, (_STACK_BYTES - 1) // (width * 4))
        while rows % most and most > 8:
            most -= 1
        groups = [(first, min(8, rows - first)) for first in range(0, rows, 8)]
        names = {
            (i, first): self._accumulator(i * len(groups) + g, size, width)
            for i in range(len(xs))
            for g, (first, size) in enumerate(groups)
        }
        for first, size in groups:
            with self._unrolled(size) as u:
                row = At(tx.add(y, tx.add(u, _i32(first))), 1, self.writer.depth)
                for i, x in enumerate(xs):
                    self._set(names[i, first], u, width, self._initial(x, row))
        with self.writer.block(f"for k in range({self.depth}):") as k_depth:
            k = At(X("k", "int32"), 1, k_depth)
            vectors = [self._vector(x, k, i) for i, x in enumerate(xs)]
            for first, size in groups:
                with self._unrolled(size) as u:
                    row = At(tx.add(y, tx.add(u, _i32(first))), 1, self.writer.depth)
                    scalar = self._scalar(row, k)
                    if len(xs) > 1 and scalar.rank > 8 and "[" in scalar.text:
                        scalar = self.writer.bind("scalar", scalar)
                    for i, vector in enumerate(vectors):
                        old = self._get(names[i, first], u, width)
                        product = tx.mul(vector, scalar)
                        self._set(names[i, first], u, width, tx.add(old, product))
        for first, size in groups:
            with self._unrolled(size) as u:
                row = At(tx.add(y, tx.add(u, _i32(first))), 1, self.writer.depth)
                for i, x in enumerate(xs):
                    value = self._get(names[i, first], u, width)
                    self.printer.assign(self.out, self._place(x, row), value)

    def _accumulator(self, number: int, rows: int, width: int) -> str:
        name = "acc" if number == 0 else f"acc_{number}"
        return self.printer.temporary(name, rows * width, "float32")

    def _unrolled(self, rows: int) -> _Loop:
        return _Loop(self.printer, "u", rows, unrolled=True)

    def _get(self, name: str, u: X, width: int) -> X:
        place = tx.ramp(tx.mul(u, _i32(width)), _i32(1), width)
        return X(f"{name}[{place.text}]", "float32", width)

    def _set(self, name: str, u: X, width: int, value: X) -> None:
        target = self._get(name, u, width)
        self.writer.line(f"{target.text} = {tx.broadcast(value, width).text}")

    def _place(self, x: At, y: At) -> tuple[At, At]:
        return (x, y) if self.lanes == "m" else (y, x)

    def _initial(self, x: At, y: At) -> X:
        if self.acc is None:
            return tx.const(0.0, "float32")
        return self.elements.element(self.acc, self._place(x, y), "float32")

    def _vector(self, x: At, k: At, number: int) -> X:
        operand, at = (self.a, (x, k)) if self.lanes == "m" else (self.b, (k, x))
        value = self._element(operand, at, vector=True)
        return self.writer.bind("vector", value) if "[" in value.text else value

    def _scalar(self, y: At, k: At) -> X:
        operand, at = (self.b, (k, y)) if self.lanes == "m" else (self.a, (y, k))
        return self._element(operand, at, vector=False)

    def _element(self, operand: Var, at: tuple[At, At], vector: bool) -> X:
        """Vectors are read from a copy in the right order where the layout made one."""
        source, _ = self.printer.uses.base(operand)
        copy = self.printer.layout.copies.get(source)
        if vector and copy is not None and self._gathers(operand, at):
            self.elements.instead[source] = copy
        value = self.elements.element(operand, at, "float32")
        self.elements.instead.clear()
        return value

    def _gathers(self, operand: Var, at: tuple[At, At]) -> bool:
        source, flipped = self.printer.uses.base(operand)
        own = at[::-1] if flipped else at
        return not self.elements.place(self.printer.layout.buffers[source], own).contiguous

    # -- lanes along the depth --------------------------------------------------------------------
    def along_depth(self) -> None:
        """Every result is a sum over lanes: for few rows whose operands both lie along K."""
        rows, cols = self.out.shape
        block = max(n for n in (1, 2, 4, 8) if n <= self.printer.unroll and cols % n == 0)
        with self._maybe_loop("m", rows) as (m, m_depth):
            row = At(m, 1, m_depth)
            with self._maybe_loop("n", cols // block) as (n, _):
                first = tx.mul(n, _i32(block))
                self._depth_block(row, first, block)

    def _depth_block(self, row: At, first: X, block: int) -> None:
        pieces = self.printer.pieces(self.depth, True)
        names = [
            self.printer.temporary(f"acc_{width}", block * width, "float32")
            for _, _, width in pieces
        ]
        zero = tx.const(0.0, "float32")
        for (start, count, width), name in zip(pieces, names, strict=True):
            with self._unrolled(block) as u:
                self._set(name, u, width, zero)
            with self._maybe_loop("k", count) as (k, depth):
                place = At(tx.add(tx.mul(k, _i32(width)), _i32(start)), width, depth)
                vector = self._element(self.a, (row, place), vector=True)
                if "[" in vector.text:
                    vector = self.writer.bind("vector", vector)
                with self._unrolled(block) as u:
                    col = At(tx.add(first, u), 1, self.writer.depth)
                    other = self._element(self.b, (place, col), vector=True)
                    old = self._get(name, u, width)
                    self._set(name, u, width, tx.add(old, tx.mul(vector, other)))
        with self._unrolled(block) as u:
            col = At(tx.add(first, u), 1, self.writer.depth)
            total = None
            for (_, _, width), name in zip(pieces, names, strict=True):
                part = horizontal(self.writer, "sum", self._get(name, u, width))
                total = part if total is None else tx.add(total, part)
            assert total is not None
            if self.acc is not None:
                total = tx.add(self.elements.element(self.acc, (row, col), "float32"), total)
            self.printer.assign(self.out, (row, col), total)


class _Loop:
    """``with loop as ...``: a loop over `count` places, or nothing where there is only one.

    Plain loops give (place, depth of what depends on it); unrolled ones give the place.
    """

    def __init__(
        self, printer: KernelPrinter, name: str, count: int, unrolled: bool = False
    ) -> None:
        self.writer, self.name, self.count, self.unrolled = printer.writer, name, count, unrolled
        kind = "T.unroll" if unrolled else "range"
        self.block = self.writer.block(f"for {name} in {kind}({count}):") if count > 1 else None

    def __enter__(self):  # type: ignore[no-untyped-def]
        depth = self.writer.depth
        place = _i32(0)
        if self.block is not None:
            depth, place = self.block.__enter__(), X(self.name, "int32")
        return place if self.unrolled else (place, depth)

    def __exit__(self, *error: object) -> None:
        if self.block is not None:
            self.block.__exit__(*error)


def _i32(value: int) -> X:
    return tx.const(value, "int32")
