"""Matrix products: on the matrix unit for half precision, by multiply-adds for fp32 and for tiles
that are smaller than its blocks."""

from __future__ import annotations

from hsa_compiler.codegen import tvm_text as tx
from hsa_compiler.codegen.cuda.assign import uses_matrix_unit
from hsa_compiler.codegen.cuda.convert import matrix_place
from hsa_compiler.codegen.cuda.intrinsics import LOAD_MATRIX, MMA
from hsa_compiler.codegen.cuda.layout import Layout, left_operand
from hsa_compiler.codegen.cuda.shared import SharedBuffer
from hsa_compiler.codegen.cuda.tiles import STORED, ZERO, Register, Tiles, address, i32
from hsa_compiler.codegen.tvm_text import X
from hsa_compiler.tile.ir import Let, Var


def print_dot(tiles: Tiles, let: Let, layout: Layout, registers: str) -> None:
    """``registers = a b (+ acc)``; where `registers` are those of acc already, in place."""
    a, b = let.args[:2]
    assert isinstance(a, Var)
    assert isinstance(b, Var)
    acc = let.args[2] if len(let.args) > 2 else None
    plus = "" if acc is None else " + acc"
    sides = " @ ".join(f"{x.name} {list(x.shape)}" for x in (a, b))
    tiles.writer.line(f"# {let.var.name} {list(let.var.shape)} = {sides}{plus}")
    in_place = isinstance(acc, Var) and tiles.buffers.get((acc, layout)) == registers
    if not in_place:
        with tiles.unrolled(layout.registers) as r:
            start = tx.const(0.0, "float32")
            if acc is not None:
                start = tiles.element(acc, layout, r, "float32")
            tiles.writer.line(f"{registers}[{r.text}] = {start.text}")
    if uses_matrix_unit(let):
        _matrix_unit(tiles, let, layout, registers)
    else:
        _multiply_add(tiles, let, layout, registers)


def _operand(tiles: Tiles, x: Var) -> tuple[SharedBuffer, bool, X]:
    """The buffer of a factor, whether it holds the transposed one, and its first row."""
    base, flipped = tiles.values.base(x)
    buffer = tiles.in_shared[base]
    tiles.shared.read(buffer)
    return buffer, flipped, tiles.stage_rows.get(base, ZERO)


def _matrix_unit(tiles: Tiles, let: Let, layout: Layout, registers: str) -> None:
    """Blocks of 16 x 16 x 16: of b, two neighbours are loaded at once."""
    a, b = let.args[:2]
    assert isinstance(a, Var)
    assert isinstance(b, Var)
    operand = left_operand(layout, a.shape[1])
    from_shared = tiles.assignment.takes_left_from_shared(let)
    left = "" if from_shared else _left(tiles, a, operand)
    if from_shared:
        left_buffer, left_flipped, left_row = _operand(tiles, a)
        lying = operand.transposed() if left_flipped else operand
    buffer, flipped, row = _operand(tiles, b)
    # Registers of a result: 4 of a block of 16 x 8, then blocks along columns, then along rows.
    columns = sum(bit[0] == 1 for bit in layout.regs) - 1
    along, down = 1 << columns, layout.registers >> (columns + 2)
    deep = a.shape[1] // 16
    fragment = tiles.allocate(f"{b.name}_part", 8, STORED[b.dtype])
    if from_shared:
        left = tiles.allocate(f"{a.name}_part", 8 * down, STORED[a.dtype])
    with tiles.unrolled(deep, "k") as k:
        if from_shared:
            with tiles.unrolled(down, "m") as m:
                start = Register.of(tx.add(tx.mul(m, i32(deep)), k), 8)
                where = matrix_place(tiles, lying, left_buffer, left_row, left_flipped, start)
                tiles.run(
                    LOAD_MATRIX[left_flipped],
                    address(left, tx.mul(m, i32(8))),
                    address(left_buffer.name, where),
                )
        with tiles.unrolled(along // 2, "n") as n:
            place = _right_place(tiles, layout, buffer, flipped, row, k, n)
            tiles.run(
                LOAD_MATRIX[not flipped], address(fragment, ZERO), address(buffer.name, place)
            )
            with tiles.unrolled(down, "m") as m:
                first = m if from_shared else tx.add(tx.mul(m, i32(deep)), k)
                for half in range(2):
                    block = tx.add(tx.mul(m, i32(along)), tx.add(tx.mul(n, i32(2)), i32(half)))
                    tiles.run(
                        MMA[a.dtype],
                        address(registers, tx.mul(block, i32(4))),
                        address(left, tx.mul(first, i32(8))),
                        address(fragment, i32(4 * half)),
                    )


def _left(tiles: Tiles, a: Var, operand: Layout) -> str:
    """The registers of operand A."""
    inner = operand
    while a in tiles.values.inlined:
        let = tiles.values.let(a)
        assert let is not None
        assert let.op == "trans"
        (source,) = let.args
        assert isinstance(source, Var)
        a, inner = source, inner.transposed()
    return tiles.buffers[a, inner]


def _right_place(
    tiles: Tiles, layout: Layout, buffer: SharedBuffer, flipped: bool, row: X, k: X, n: X
) -> X:
    """Where the lane's row of the four matrices begins: those of depth + 8 come second, those of
    columns + 8 third and fourth."""
    lane = X("lane", "int32")
    low = tx.mod(lane, i32(8))
    second = tx.mul(tx.mod(tx.floordiv(lane, i32(8)), i32(2)), i32(8))
    third = tx.mul(tx.floordiv(lane, i32(16)), i32(8))
    # The columns of this warp.
    warp = Layout(layout.shape, (), (None,) * 5, layout.warps)
    column = tx.add(tiles.place(warp, 1, ZERO), tx.mul(n, i32(16)))
    depth = tx.mul(k, i32(16))
    if flipped:
        rows, columns = tx.add(column, tx.add(low, third)), tx.add(depth, second)
    else:
        rows, columns = tx.add(depth, tx.add(low, second)), tx.add(column, third)
    return tx.add(tx.mul(tx.add(row, rows), i32(buffer.pitch)), columns)


def _multiply_add(tiles: Tiles, let: Let, layout: Layout, registers: str) -> None:
    """Every thread multiplies a column of its rows with a row of its columns, at every depth."""
    a, b = let.args[:2]
    assert isinstance(a, Var)
    assert isinstance(b, Var)
    rows = layout.without(1)
    columns = layout.without(0)
    left, left_flipped, left_row = _operand(tiles, a)
    right, right_flipped, right_row = _operand(tiles, b)
    column_bits = len(columns.regs)
    part_a = tiles.allocate(f"{a.name}_part", rows.registers, "float32")
    part_b = tiles.allocate(f"{b.name}_part", columns.registers, "float32")

    def value(buffer: SharedBuffer, first: X, i: X, j: X) -> str:
        place = tx.add(tx.mul(tx.add(first, i), i32(buffer.pitch)), j)
        return tx.cast(X(f"{buffer.name}[{place.text}]", buffer.dtype), "float32").text

    with tiles.writer.block(f"for k in range({a.shape[1]}):"):
        k = X("k", "int32")
        with tiles.unrolled(rows.registers, "m") as m:
            at = (tiles.place(rows, 0, m), k)
            i, j = at[::-1] if left_flipped else at
            tiles.writer.line(f"{part_a}[{m.text}] = {value(left, left_row, i, j)}")
        with tiles.unrolled(columns.registers, "n") as n:
            at = (k, tiles.place(columns, 0, n))
            i, j = at[::-1] if right_flipped else at
            tiles.writer.line(f"{part_b}[{n.text}] = {value(right, right_row, i, j)}")
        with tiles.unrolled(rows.registers, "m") as m, tiles.unrolled(columns.registers, "n") as n:
            # Columns are the lower bits of the register number.
            to = f"{registers}[{tx.add(tx.mul(m, i32(1 << column_bits)), n).text}]"
            tiles.writer.line(f"{to} = {to} + {part_a}[{m.text}] * {part_b}[{n.text}]")
