"""Sums and extremes along an axis, running sums, and the running top-k."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hsa_compiler.codegen import tvm_text as tx
from hsa_compiler.codegen.tvm_elements import At
from hsa_compiler.codegen.tvm_layout import COL
from hsa_compiler.codegen.tvm_text import COMPUTE, X
from hsa_compiler.codegen.tvm_writer import Writer
from hsa_compiler.tile.ir import Let, Var

if TYPE_CHECKING:
    from hsa_compiler.codegen.tvm_printer import KernelPrinter

_LOWEST = {"float32": float("-inf"), "int32": -(2**31), "int64": -(2**63) + 1, "uint32": 0}
_HIGHEST = {"float32": float("inf"), "int32": 2**31 - 1, "int64": 2**63 - 1, "uint32": 2**32 - 1}


def combine(op: str, a: X, b: X) -> X:
    """Two partial results."""
    return tx.add(a, b) if op == "sum" else tx.call(op, a, b)


def identity(op: str, dtype: str) -> X:
    """What leaves a partial result as it is."""
    if op == "sum":
        return tx.const(0, dtype)
    return tx.const((_LOWEST if op == "max" else _HIGHEST)[dtype], dtype)


def horizontal(writer: Writer, op: str, vector: X) -> X:
    """The lanes of a vector combined, in halves."""
    while vector.lanes > 2:
        half = vector.lanes // 2
        low, high = (
            X(f'T.{part}("{tx.typed(vector.dtype, half)}", {vector.text})', vector.dtype, half)
            for part in ("vectorlow", "vectorhigh")
        )
        vector = writer.bind(f"{op}_{half}", combine(op, low, high))
    if vector.lanes == 1:
        return vector
    first, second = (X(f"T.Shuffle([{vector.text}], [{i}])", vector.dtype) for i in (0, 1))
    return combine(op, first, second)


def print_reduction(printer: KernelPrinter, let: Let) -> None:
    """``sum``, ``max`` or ``min`` along an axis, of a tile that may be computed on the way."""
    _Reduction(printer, let).run()


class _Reduction:
    def __init__(self, printer: KernelPrinter, let: Let) -> None:
        self.printer, self.writer, self.let = printer, printer.writer, let
        (source,) = let.args
        assert isinstance(source, Var)
        self.op, self.source, self.axis = let.op, source, let.attrs["axis"]
        self.dtype = COMPUTE[source.dtype]
        self.neutral = identity(self.op, self.dtype)

    def element(self, at: tuple[At, ...]) -> X:
        return self.printer.elements.element(self.source, at, self.dtype)

    def run(self) -> None:
        source, layout = self.source, self.printer.layout
        if len(source.shape) == 1:
            value = self._along_lanes(lambda at: (at,), self._vectorises(0))
            if self.let.var.shape:
                self.printer.assign(layout.buffers[self.let.var], (), value)
            else:
                name = self.writer.bind(self.let.var.name, value)
                self.printer.values[self.let.var] = name
            return
        out, kept = layout.buffers[self.let.var], 1 - self.axis
        lanes = 0 if layout.natural_order(source) == COL else 1
        if source in layout.buffers:
            lanes = self.printer.lane_axis(layout.buffers[source]) or 0
        self.writer.line(f"# {out.name} = {self.op} of {source.name} along axis {self.axis}")
        if lanes == kept and source.shape[kept] > 1 and self._vectorises(kept):
            self.printer.over(
                (source.shape[kept],), 0, lambda at: self._beside_lanes(out, at[0]), ("m", "n")
            )
            return
        vector = self._vectorises(self.axis)

        def one(at: tuple[At, ...]) -> None:
            value = self._along_lanes(lambda place: self._pair(at[0], place), vector)
            self.printer.assign(out, at, value)

        self.printer.over((source.shape[kept],), None, one)

    def _vectorises(self, axis: int) -> bool:
        return self.printer.elements.vectorises(self.source, axis)

    def _pair(self, kept: At, reduced: At) -> tuple[At, ...]:
        return (kept, reduced) if self.axis == 1 else (reduced, kept)

    def _partial(self, lanes: int, rows: int) -> tuple[str, list[X]]:
        name = self.printer.temporary(f"partial_{lanes}", rows * lanes, self.dtype)
        places = [tx.ramp(tx.const(r * lanes, "int32"), _ONE, lanes) for r in range(rows)]
        return name, [X(f"{name}[{p.text}]", self.dtype, lanes) for p in places]

    def _accumulate(self, count: int, lanes: int, value, place_of) -> X:  # type: ignore[no-untyped-def]
        """Combine `count` values, four partial results at a time where that divides."""
        rows = 4 if count % 4 == 0 and count >= 8 else 1
        _, parts = self._partial(lanes, rows)
        start = tx.broadcast(self.neutral, lanes)
        for part in parts:
            self.writer.line(f"{part.text} = {start.text}")
        with self.writer.block(f"for n in range({count // rows}):") as depth:
            for row, part in enumerate(parts):
                step = tx.mul(tx.name("n", "int32"), tx.const(rows, "int32"))
                place = place_of(tx.add(step, tx.const(row, "int32")), depth)
                new = combine(self.op, part, tx.broadcast(value(place), lanes))
                self.writer.line(f"{part.text} = {new.text}")
        while len(parts) > 1:
            half = len(parts) // 2
            pairs = zip(parts[:half], parts[half:], strict=True)
            parts = [combine(self.op, a, b) for a, b in pairs]
        return parts[0]

    def _beside_lanes(self, out, kept: At) -> None:  # type: ignore[no-untyped-def]
        """Lanes along the axis that stays."""
        total = self._accumulate(
            self.source.shape[self.axis],
            kept.lanes,
            lambda place: self.element(self._pair(kept, place)),
            lambda base, depth: At(base, 1, depth),
        )
        self.printer.assign(out, (kept,), total)

    def _along_lanes(self, place_in, vector: bool) -> X:  # type: ignore[no-untyped-def]
        """Lanes along the axis that goes: partial results per lane, combined at the end."""
        total: X | None = None
        for start, count, lanes in self.printer.pieces(self.source.shape[self.axis], vector):
            first = tx.const(start, "int32")
            if count == 1:
                place = At(first, lanes, self.writer.depth)
                part = tx.broadcast(self.element(place_in(place)), lanes)
            else:
                part = self._accumulate(
                    count,
                    lanes,
                    lambda place: self.element(place_in(place)),
                    lambda base, depth, first=first, lanes=lanes: At(
                        tx.add(tx.mul(base, tx.const(lanes, "int32")), first), lanes, depth
                    ),
                )
            if part.lanes > 1:
                part = self.writer.bind("lanes", part)
            part = horizontal(self.writer, self.op, part)
            total = part if total is None else combine(self.op, total, part)
        return self.neutral if total is None else total


def print_cumsum(printer: KernelPrinter, let: Let) -> None:
    """Running sums of a [N] tile, one after the other."""
    (source,) = let.args
    assert isinstance(source, Var)
    dtype, out = COMPUTE[source.dtype], printer.layout.buffers[let.var]
    name = printer.temporary("running", 1, dtype)
    total = X(f"{name}[0]", dtype)
    printer.writer.line(f"{total.text} = {tx.const(0, dtype).text}")

    def step(at: tuple[At, ...]) -> None:
        value = tx.add(total, printer.elements.element(source, at, dtype))
        printer.writer.line(f"{total.text} = {value.text}")
        printer.assign(out, at, total)

    printer.over(source.shape, None, step)


def print_merge_top_k(printer: KernelPrinter, let: Let) -> None:
    """Rows of `running` (descending) take in the elements of `fresh`, rows in lanes.

    Four candidates at a time sink through the list: at each place the larger stays and the
    smaller goes on. Candidates that beat the last place of no row are passed over at once.
    """
    running, fresh = let.args
    assert isinstance(running, Var) and isinstance(fresh, Var)
    writer, elements, layout = printer.writer, printer.elements, printer.layout
    out = layout.buffers[let.var]
    if layout.owner(running) is not layout.owner(let.var):
        printer.fill(
            out, lambda at: elements.element(running, at, "int64"), printer.lane_axis(out)
        )
    (rows, kept), count = running.shape, fresh.shape[1]
    writer.line(f"# {out.name}: the {kept} largest of itself and {fresh.name}, per row")
    vector = out.order == COL and elements.vectorises(fresh, 0)
    group = 4 if count % 4 == 0 else 1

    def merge(at: tuple[At, ...]) -> None:
        row, lanes = at[0], at[0].lanes
        last = elements.read(out, (row, _at(tx.const(kept - 1, "int32"), writer)))
        name = printer.temporary(f"fresh_{lanes}", group * lanes, "int64")
        slots = [_lane_slot(name, g, lanes) for g in range(group)]
        with writer.block(f"for n in range({count // group}):") as depth:
            beats: X | None = None
            for g, slot in enumerate(slots):
                n = tx.mul(tx.name("n", "int32"), tx.const(group, "int32"))
                place = At(tx.add(n, tx.const(g, "int32")), 1, depth)
                value = elements.element(fresh, (row, place), "int64")
                writer.line(f"{slot.text} = {tx.broadcast(value, lanes).text}")
                more = tx.infix(">", slot, last)
                beats = more if beats is None else tx.infix("|", beats, more)
            assert beats is not None
            any_lane = beats.text
            if lanes > 1:
                reduce = '"llvm.vector.reduce.or"'
                any_lane = f'T.call_llvm_pure_intrin("bool", {reduce}, {beats.text})'
            with writer.block(f"if {any_lane}:"), writer.block(f"for k in range({kept}):") as d:
                place = (row, At(X("k", "int32"), 1, d))
                top = elements.read(out, place)
                for slot in slots:
                    best = writer.bind("best", tx.call("max", top, slot))
                    writer.line(f"{slot.text} = {tx.call('min', top, slot).text}")
                    top = best
                printer.assign(out, place, top)

    printer.over((rows,), 0 if vector else None, merge)


def _lane_slot(name: str, number: int, lanes: int) -> X:
    place = tx.ramp(tx.const(number * lanes, "int32"), _ONE, lanes)
    return X(f"{name}[{place.text}]", "int64", lanes)


def _at(base: X, writer: Writer) -> At:
    return At(base, 1, writer.depth)


_ONE = tx.const(1, "int32")
