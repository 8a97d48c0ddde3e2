"""Moves tiles: between layouts, and between registers and shared memory."""

from __future__ import annotations

from hsa_compiler.codegen import tvm_text as tx
from hsa_compiler.codegen.cuda.assign import VECTOR_BYTES
from hsa_compiler.codegen.cuda.intrinsics import COPY, LOAD_MATRIX
from hsa_compiler.codegen.cuda.layout import Layout, is_permutation
from hsa_compiler.codegen.cuda.shared import SIZES, SharedBuffer
from hsa_compiler.codegen.cuda.tiles import (
    ZERO,
    Register,
    Tiles,
    address,
    element_place,
    gather,
    i32,
)
from hsa_compiler.codegen.tvm_text import X
from hsa_compiler.tile.ir import Var


def convert(tiles: Tiles, var: Var, source: Layout, target: Layout) -> None:
    """Fill the registers of `var` in the layout `target` from those in `source`."""
    have, want = tiles.kept(var, source), tiles.kept(var, target)
    if is_permutation(source, target):
        order = [target.regs.index(bit) for bit in source.regs]
        with tiles.unrolled(target.registers) as r:
            tiles.writer.line(f"{want}[{r.text}] = {have}[{gather(r, order, target).text}]")
        return
    dtype = tiles.registers[have][1]
    name = tiles.writer.fresh(f"s_{var.name}")
    scratch = tiles.shared.buffer(name, var.shape, dtype)
    to_shared(tiles, have, source, scratch)
    from_shared(tiles, want, target, scratch)


def to_shared(
    tiles: Tiles, registers: str, layout: Layout, to: SharedBuffer, row: X = ZERO
) -> None:
    """Write a tile to shared memory, to rows from `row` on, every element once."""
    tiles.write_shared(to)
    width = _width(layout, to)
    with tiles.when(tiles.first_replica(layout)), tiles.unrolled(layout.registers // width) as r:
        start = Register.of(r, width)
        place = _place(tiles, layout, start, to, row)
        if width == 1:
            tiles.writer.line(f"{to.name}[{place.text}] = {registers}[{start.text}]")
        else:
            copy = COPY[width * SIZES[to.dtype]]
            tiles.run(copy, address(to.name, place), address(registers, start))


def from_shared(
    tiles: Tiles,
    registers: str,
    layout: Layout,
    source: SharedBuffer,
    row: X = ZERO,
    flipped: bool = False,
) -> None:
    """Read a tile, the transposed one where `flipped`, that begins at a row of a buffer."""
    tiles.shared.read(source)
    if flipped:
        layout = layout.transposed()
    if _is_matrix(layout, source, flipped):
        _matrices(tiles, registers, layout, source, row, flipped)
        return
    width = _width(layout, source)
    with tiles.unrolled(layout.registers // width) as r:
        start = Register.of(r, width)
        place = _place(tiles, layout, start, source, row)
        if width == 1:
            tiles.writer.line(f"{registers}[{start.text}] = {source.name}[{place.text}]")
        else:
            copy = COPY[width * SIZES[source.dtype]]
            tiles.run(copy, address(registers, start), address(source.name, place))


def _place(tiles: Tiles, layout: Layout, r: X, buffer: SharedBuffer, row: X = ZERO) -> X:
    axes = [tiles.place(layout, axis, r) for axis in range(len(layout.shape))]
    first = tx.add(row, axes[0]) if len(axes) == 2 else ZERO
    return element_place(buffer, first, axes[-1])


def _width(layout: Layout, buffer: SharedBuffer) -> int:
    """Neighbours that are moved in one access."""
    most = VECTOR_BYTES // SIZES[buffer.dtype]
    width = min(layout.vector(len(layout.shape) - 1), most)
    return width if buffer.dtype != "bool" else 1


def _is_matrix(layout: Layout, buffer: SharedBuffer, flipped: bool) -> bool:
    """Whether registers are those of operand A, so that ``ldmatrix`` fills eight of them."""
    if SIZES[buffer.dtype] != 2 or len(layout.shape) != 2:
        return False
    row, col = (1, 0) if flipped else (0, 1)
    lanes = ((col, 1), (col, 2), (row, 0), (row, 1), (row, 2))
    return layout.lanes == lanes and layout.regs[:3] == ((col, 0), (row, 3), (col, 3))


def _matrices(
    tiles: Tiles, registers: str, layout: Layout, source: SharedBuffer, row: X, flipped: bool
) -> None:
    """Fill operand A from blocks of 16 x 16, four matrices of 8 x 8 each."""
    with tiles.unrolled(layout.registers // 8) as r:
        place = matrix_place(tiles, layout, source, row, flipped, Register.of(r, 8))
        tiles.run(
            LOAD_MATRIX[flipped],
            address(registers, Register.of(r, 8)),
            address(source.name, place),
        )


def matrix_place(
    tiles: Tiles, layout: Layout, source: SharedBuffer, row: X, flipped: bool, start: X
) -> X:
    """Where the lane's row of the four matrices begins that fill eight registers of operand A from
    `start` on; the layout is that of the tile as it lies in shared memory."""
    lane = X("lane", "int32")
    low = tx.mod(lane, i32(8))
    first, second = (
        tx.mul(tx.mod(tx.floordiv(lane, i32(step)), i32(2)), i32(8)) for step in (8, 16)
    )
    # Matrices in the order of registers: rows + 8 comes before columns + 8.
    if flipped:
        down, along = tx.add(low, second), first
    else:
        down, along = tx.add(low, first), second
    warps = Layout(layout.shape, layout.regs, (None,) * 5, layout.warps)
    rows = tx.add(tx.add(row, tiles.place(warps, 0, start)), down)
    columns = tx.add(tiles.place(warps, 1, start), along)
    return element_place(source, rows, columns)
