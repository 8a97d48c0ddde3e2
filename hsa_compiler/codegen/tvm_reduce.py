"""Sums and extremes along an axis, running sums, and groups of neighbours."""

from __future__ import annotations

from collections.abc import Callable

from hsa_compiler.codegen import tvm_text as tx
from hsa_compiler.codegen.tvm_elements import At
from hsa_compiler.codegen.tvm_layout import COL, Buffer
from hsa_compiler.codegen.tvm_text import COMPUTE, X
from hsa_compiler.codegen.tvm_tiles import Read, Tiles
from hsa_compiler.codegen.tvm_writer import Writer
from hsa_compiler.tile.ir import Let, Var

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


def horizontal(writer: Writer, op: str, vector: X, lanes: int = 1) -> X:
    """A vector folded in halves until `lanes` are left."""
    while vector.lanes > max(lanes, 2):
        half = vector.lanes // 2
        low, high = (
            X(f'T.{part}("{tx.typed(vector.dtype, half)}", {vector.text})', vector.dtype, half)
            for part in ("vectorlow", "vectorhigh")
        )
        vector = writer.bind(f"{op}_{half}", combine(op, low, high))
    if vector.lanes == lanes:
        return vector
    first, second = (X(f"T.Shuffle([{vector.text}], [{i}])", vector.dtype) for i in (0, 1))
    return combine(op, first, second)


def print_scalar_reduction(tiles: Tiles, let: Let) -> X:
    """``sum``, ``max`` or ``min`` of a tile with one axis."""
    reduction = _Reduction(tiles, let)
    return reduction.along_lanes(lambda at: at, reduction.vectorises(0))


def print_reduction(tiles: Tiles, let: Let) -> None:
    """``sum``, ``max`` or ``min`` along one of two axes, of a tile that may be computed here."""
    reduction = _Reduction(tiles, let)
    source, kept = reduction.source, 1 - reduction.axis
    out = tiles.layout.buffers[let.var]
    lanes = 0 if tiles.layout.natural_order(source) == COL else 1
    if source in tiles.layout.buffers:
        lanes = tiles.lane_axis(tiles.layout.buffers[source]) or 0
    tiles.writer.line(f"# {out.name} = {let.op} of {source.name} along axis {reduction.axis}")
    size = (source.shape[kept],)
    if lanes == kept and source.shape[kept] > 1 and reduction.vectorises(kept):
        tiles.over(size, 0, lambda at: reduction.beside_lanes(out, at[0]))
        return
    vector = reduction.vectorises(reduction.axis)

    def one(at: tuple[At, ...]) -> None:
        value = reduction.along_lanes(lambda place: reduction.pair(at[0], place[0]), vector)
        tiles.assign(out, at, value)

    tiles.over(size, None, one)


class _Reduction:
    def __init__(self, tiles: Tiles, let: Let) -> None:
        self.tiles, self.writer = tiles, tiles.writer
        (source,) = let.args
        assert isinstance(source, Var)
        self.op, self.source, self.axis = let.op, source, int(let.attrs["axis"])
        self.dtype = COMPUTE[source.dtype]

    def element(self, at: tuple[At, ...]) -> X:
        return self.tiles.elements.element(self.source, at, self.dtype)

    def vectorises(self, axis: int) -> bool:
        return self.tiles.places.vectorises(self.source, axis)

    def pair(self, kept: At, reduced: At) -> tuple[At, ...]:
        """The place in the source."""
        return (kept, reduced) if self.axis == 1 else (reduced, kept)

    def beside_lanes(self, out: Buffer, kept: At) -> None:
        """Lanes along the axis that stays."""
        total = self._accumulate(
            self.source.shape[self.axis],
            kept.lanes,
            0,
            1,
            lambda at: self.element(self.pair(kept, at[0])),
        )
        self.tiles.assign(out, (kept,), total)

    def along_lanes(self, place_in: Callable[[tuple[At, ...]], tuple[At, ...]], vector: bool) -> X:
        """Lanes along the axis that goes: partial results per lane, combined at the end."""
        total: X | None = None
        for start, count, lanes in self.tiles.pieces(self.source.shape[self.axis], vector):
            if count == 1:
                place = At(tx.const(start, "int32"), lanes, self.writer.depth)
                part = tx.broadcast(self.element(place_in((place,))), lanes)
            else:
                part = self._accumulate(
                    count, lanes, start, lanes, lambda at: self.element(place_in(at))
                )
            if part.lanes > 1:
                part = self.writer.bind("lanes", part)
            part = horizontal(self.writer, self.op, part)
            total = part if total is None else combine(self.op, total, part)
        return identity(self.op, self.dtype) if total is None else total

    def _accumulate(self, count: int, lanes: int, start: int, width: int, value: Read) -> X:
        """Combine `count` vectors of `lanes`, read at places of `width`; four partial results at
        a time where that divides, because each waits for itself."""
        rows = 4 if count % 4 == 0 and count >= 8 else 1
        name = self.tiles.temporary(f"partial_{lanes}", rows * lanes, self.dtype)
        parts = [
            self.tiles.vector(name, tx.const(row, "int32"), lanes, self.dtype)
            for row in range(rows)
        ]
        for part in parts:
            self.tiles.set(part, identity(self.op, self.dtype))
        with self.tiles.loop("n", count // rows, start, rows * width) as first:
            for row, part in enumerate(parts):
                base = tx.add(first.base, tx.const(row * width, "int32"))
                new = value((At(base, width, self.writer.depth),))
                self.tiles.set(part, combine(self.op, part, tx.broadcast(new, lanes)))
        while len(parts) > 1:
            pairs = zip(parts[::2], parts[1::2], strict=True)
            parts = [combine(self.op, a, b) for a, b in pairs]
        return parts[0]


def print_cumsum(tiles: Tiles, let: Let) -> None:
    """Running sums of a [N] tile, one after the other."""
    (source,) = let.args
    assert isinstance(source, Var)
    dtype, out = COMPUTE[source.dtype], tiles.layout.buffers[let.var]
    total = X(f"{tiles.temporary('running', 1, dtype)}[0]", dtype)
    tiles.set(total, tx.const(0, dtype))

    def step(at: tuple[At, ...]) -> None:
        tiles.set(total, tx.add(total, tiles.elements.element(source, at, dtype)))
        tiles.assign(out, at, total)

    tiles.over(source.shape, None, step)


def print_repeat(tiles: Tiles, let: Let) -> None:
    """Each element of a [N] tile several times in a row."""
    (source,) = let.args
    assert isinstance(source, Var)
    dtype, out, times = COMPUTE[source.dtype], tiles.layout.buffers[let.var], let.attrs["times"]

    def copy(at: tuple[At, ...]) -> None:
        group, member = at
        value = tiles.elements.element(source, (group,), dtype)
        tiles.assign(out, (_in_group(group, member, times),), value)

    tiles.over((source.size, times), 1, copy)


def print_sum_groups(tiles: Tiles, let: Let) -> None:
    """Sums of neighbours of a [N] tile."""
    (source,) = let.args
    assert isinstance(source, Var)
    dtype, out, size = COMPUTE[source.dtype], tiles.layout.buffers[let.var], let.attrs["size"]
    total = X(f"{tiles.temporary('group', 1, dtype)}[0]", dtype)

    def one(at: tuple[At, ...]) -> None:
        (group,) = at
        tiles.set(total, tx.const(0, dtype))
        with tiles.loop("n", size) as member:
            place = _in_group(group, member, size)
            tiles.set(total, tx.add(total, tiles.elements.element(source, (place,), dtype)))
        tiles.assign(out, at, total)

    tiles.over(let.var.shape, None, one)


def _in_group(group: At, member: At, size: int) -> At:
    """The place of a group's member."""
    first = tx.mul(group.base, tx.const(size, "int32"))
    return At(tx.add(first, member.base), member.lanes, max(group.depth, member.depth))
