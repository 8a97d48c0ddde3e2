"""Loads, stores and atomic adds of tiles in global memory."""

from __future__ import annotations

from hsa_compiler.codegen import tvm_text as tx
from hsa_compiler.codegen.cuda.assign import BYTES, VECTOR_BYTES
from hsa_compiler.codegen.cuda.convert import to_shared
from hsa_compiler.codegen.cuda.intrinsics import ASYNC_COPY, ATOMIC_ADD, COPY, PACK
from hsa_compiler.codegen.cuda.layout import Layout
from hsa_compiler.codegen.cuda.shared import SharedBuffer
from hsa_compiler.codegen.cuda.tiles import (
    HALVES,
    STORED,
    ZERO,
    Register,
    Tiles,
    address,
    element_place,
    i32,
    narrow,
)
from hsa_compiler.codegen.tvm_text import X
from hsa_compiler.tile.ir import AtomicAdd, Let, Operand, Store, Var


def load_scalar(tiles: Tiles, let: Let) -> X:
    """One element, read by every thread."""
    pointer, other = let.attrs["pointer"], let.attrs["other"]
    where = tiles.scalar(let.args[0], "int32")
    value = X(f"p_{pointer.name}[{where.text}]", STORED[pointer.dtype])
    if let.args[1:]:
        default = _default(other, STORED[pointer.dtype])
        value = tx.if_then_else(tiles.scalar(let.args[1], "bool"), value, default)
    return tx.cast(value, tx.COMPUTE[pointer.dtype])


def print_load(tiles: Tiles, let: Let, layout: Layout, registers: str) -> None:
    """Fill registers, several neighbours at a time where addresses and layout allow."""
    pointer = let.attrs["pointer"]
    offset, mask = let.args[0], let.args[1] if let.args[1:] else None
    dtype = STORED[pointer.dtype]
    default = _default(let.attrs["other"], dtype)
    width = _width(tiles, layout, offset, mask, pointer.dtype)
    with tiles.unrolled(layout.registers // width) as r:
        start = Register.of(r, width)
        where = tiles.element(offset, layout, start)
        condition = None if mask is None else tiles.element(mask, layout, start)
        if width == 1:
            value = X(f"p_{pointer.name}[{where.text}]", dtype)
            if condition is not None:
                value = tx.if_then_else(condition, value, default)
            tiles.writer.line(f"{registers}[{start.text}] = {value.text}")
            return
        if condition is not None:
            with tiles.unrolled(width, "u") as u:
                tiles.writer.line(f"{registers}[{tx.add(start, u).text}] = {default.text}")
        with tiles.when(condition):
            copy = COPY[width * BYTES[pointer.dtype]]
            tiles.run(copy, address(registers, start), address(f"p_{pointer.name}", where))


def async_width(tiles: Tiles, let: Let, layout: Layout) -> int:
    """Elements that one asynchronous copy of a load moves; 0 where it cannot be made of such."""
    pointer = let.attrs["pointer"]
    offset, mask = let.args[0], let.args[1] if let.args[1:] else None
    width = _width(tiles, layout, offset, mask, pointer.dtype)
    whole = layout.vector(len(layout.shape) - 1) >= width
    default = mask is not None and let.attrs["other"] != 0
    return width if width * BYTES[pointer.dtype] in ASYNC_COPY and whole and not default else 0


def print_direct_load(
    tiles: Tiles, let: Let, layout: Layout, to: SharedBuffer, row: X = ZERO
) -> bool:
    """Copy a tile to shared memory, to rows from `row` on. Whether the copies are still on the
    way when this has run: they are unless addresses are no neighbours or come with a default."""
    pointer = let.attrs["pointer"]
    offset, mask = let.args[0], let.args[1] if let.args[1:] else None
    width = async_width(tiles, let, layout)
    if not width:
        registers = tiles.kept(let.var, layout)
        print_load(tiles, let, layout, registers)
        to_shared(tiles, registers, layout, to, row)
        return False
    tiles.write_shared(to)
    with (
        tiles.when(tiles.first_replica(layout)),
        tiles.unrolled(layout.registers // width) as r,
    ):
        start = Register.of(r, width)
        where = tiles.element(offset, layout, start)
        valid = tx.const(True, "bool") if mask is None else tiles.element(mask, layout, start)
        if valid.value is None:
            # An address that is masked off may lie outside the tensor.
            where = tx.if_then_else(valid, where, tx.const(0, where.dtype))
        rows, columns = (tiles.place(layout, a, start) for a in range(2))
        place = element_place(to, tx.add(row, rows), columns)
        copy = ASYNC_COPY[width * BYTES[pointer.dtype]]
        tiles.run(copy, address(to.name, place), address(f"p_{pointer.name}", where), valid)
    return True


def print_store(tiles: Tiles, stmt: Store, layout: Layout) -> None:
    """Write every element once."""
    pointer, dtype = stmt.pointer, STORED[stmt.pointer.dtype]
    width = _width(tiles, layout, stmt.offset, stmt.mask, pointer.dtype)
    if stmt.offset.shape != layout.shape:
        width = 1
    with tiles.when(tiles.first_replica(layout)), tiles.unrolled(layout.registers // width) as r:
        start = Register.of(r, width)
        where = tiles.element(stmt.offset, layout, start)
        name = f"p_{pointer.name}"
        condition = None if stmt.mask is None else tiles.element(stmt.mask, layout, start)
        with tiles.when(condition):
            if width == 1:
                value = tiles.narrowed(stmt.value, layout, start, dtype)
                tiles.writer.line(f"{name}[{where.text}] = {value.text}")
                return
            given = stmt.value
            if (
                isinstance(given, Var)
                and STORED[given.dtype] == dtype
                and (given, layout) in tiles.buffers
            ):
                source = tiles.buffers[given, layout]
            else:
                source = _vector(tiles, given, layout, start, width, dtype)
                start = ZERO
            copy = COPY[width * BYTES[pointer.dtype]]
            tiles.run(copy, address(name, where), address(source, start))


def _vector(tiles: Tiles, value: Operand, layout: Layout, start: X, width: int, dtype: str) -> str:
    """Neighbouring elements as they are stored, in registers of their own."""
    buffer = tiles.allocate("vector", width, dtype)
    let = tiles.values.let(value)
    if dtype in HALVES and let is not None and let.op == "cast" and value in tiles.values.inlined:
        (source,) = let.args
        with tiles.unrolled(width // 2, "u") as u:
            first = tx.mul(u, i32(2))
            places = [tx.add(tx.add(start, first), i32(half)) for half in range(2)]
            pair = [tiles.element(source, layout, place, "float32") for place in places]
            tiles.run(PACK[HALVES[dtype]], address(buffer, first), *pair)
        return buffer
    with tiles.unrolled(width, "u") as u:
        element = tiles.narrowed(value, layout, tx.add(start, u), dtype)
        tiles.writer.line(f"{buffer}[{u.text}] = {element.text}")
    return buffer


def print_atomic_add(tiles: Tiles, stmt: AtomicAdd, layout: Layout) -> None:
    """Add every element once."""
    dtype = STORED[stmt.pointer.dtype]
    with tiles.when(tiles.first_replica(layout)), tiles.unrolled(layout.registers) as r:
        where = tiles.element(stmt.offset, layout, r)
        value = tiles.element(stmt.value, layout, r, dtype)
        condition = None if stmt.mask is None else tiles.element(stmt.mask, layout, r)
        with tiles.when(condition):
            tiles.run(ATOMIC_ADD, address(f"p_{stmt.pointer.name}", where), value)


def _width(tiles: Tiles, layout: Layout, offset: Operand, mask: Operand | None, dtype: str) -> int:
    """Neighbours in one access: as many as are neighbours in registers and in memory."""
    if not layout.regs:
        return 1
    axis = layout.regs[0][0]
    most = min(layout.vector(axis), VECTOR_BYTES // BYTES[dtype])
    return tiles.assignment.contiguity.vector(offset, mask, axis, most)


def _default(value: float, dtype: str) -> X:
    """A number in a storage dtype."""
    return narrow(tx.const(value, "float32" if dtype in HALVES else dtype), dtype)
