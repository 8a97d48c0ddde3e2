"""Matrix products: on the matrix unit for half precision, by warps or by four of them together, and
by multiply-adds for fp32 and for tiles that are smaller than its blocks."""

from __future__ import annotations

from hsa_compiler.codegen import tvm_text as tx
from hsa_compiler.codegen.cuda.convert import matrix_place
from hsa_compiler.codegen.cuda.intrinsics import (
    HOLD,
    HOLD_PAIRS,
    LOAD_MATRIX,
    MATRIX_DESCRIPTOR,
    MMA,
    WARPGROUP_FENCE,
    WARPGROUP_WAIT,
    warpgroup_mma,
)
from hsa_compiler.codegen.cuda.layout import Layout, left_operand
from hsa_compiler.codegen.cuda.products import WARP_ROWS, WARPGROUP
from hsa_compiler.codegen.cuda.shared import PANEL, PIECE, SharedBuffer
from hsa_compiler.codegen.cuda.tiles import (
    STORED,
    ZERO,
    Register,
    Tiles,
    address,
    element_place,
    i32,
)
from hsa_compiler.codegen.tvm_text import X
from hsa_compiler.schedules.hardware import WARP
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
    products = tiles.assignment.products
    if not in_place and (acc is not None or not products.by_warpgroups(let)):
        with tiles.unrolled(layout.registers) as r:
            start = tx.const(0.0, "float32")
            if acc is not None:
                start = tiles.element(acc, layout, r, "float32")
            tiles.writer.line(f"{registers}[{r.text}] = {start.text}")
    if products.by_warpgroups(let):
        _warpgroups(tiles, let, layout, registers, acc is not None)
    elif products.by_matrix_unit(let):
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
    from_shared = tiles.assignment.products.left_from_shared(let)
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


def _warpgroups(tiles: Tiles, let: Let, layout: Layout, registers: str, accumulate: bool) -> None:
    """Blocks of 64 rows, all columns and a depth of 16: one of every warpgroup, then their next."""
    a, b = let.args[:2]
    assert isinstance(a, Var)
    assert isinstance(b, Var)
    columns, deep = let.var.shape[1], a.shape[1] // 16
    block, groups = WARP_ROWS * WARPGROUP, tiles.warps // WARPGROUP
    held = columns // 2
    down = layout.registers // held
    right = _operand(tiles, b)
    from_shared = tiles.assignment.products.left_from_shared(let)
    if from_shared:
        left = _operand(tiles, a)
    else:
        fragments = _left(tiles, a, left_operand(layout, a.shape[1]))
        tiles.run(HOLD_PAIRS, address(fragments, ZERO), i32(4 * down * deep))
    multiply = warpgroup_mma(a.dtype, columns, left[1] if from_shared else None, not right[1])
    if accumulate:
        tiles.run(HOLD, address(registers, ZERO), i32(layout.registers))
    tiles.run(WARPGROUP_FENCE)
    with tiles.unrolled(deep, "k") as k, tiles.unrolled(down, "m") as m:
        depth = tx.mul(k, i32(16))
        if from_shared:
            row = tx.mul(m, i32(block * groups))
            if groups > 1:
                group = tx.floordiv(X("tid", "int32"), i32(WARP * WARPGROUP))
                row = tx.add(row, tx.mul(group, i32(block)))
            given = _matrix(tiles, left, row, depth, left[1])
        else:
            given = address(fragments, tx.mul(tx.add(tx.mul(m, i32(deep)), k), i32(8)))
        other = _matrix(tiles, right, ZERO, depth, not right[1])
        more = tx.const(True, "bool") if accumulate else tx.infix(">", k, ZERO)
        tiles.run(multiply, address(registers, tx.mul(m, i32(held))), given, other, more)
    tiles.run(WARPGROUP_WAIT)
    tiles.run(HOLD, address(registers, ZERO), i32(layout.registers))


def _matrix(
    tiles: Tiles, operand: tuple[SharedBuffer, bool, X], across: X, depth: X, flipped: bool
) -> X:
    """What the matrix unit is told of an operand in shared memory from a place across the depth
    on: of depth rows where `flipped`, else of depth columns."""
    buffer, _, row = operand
    if flipped:
        place, ahead = element_place(buffer, row, across), element_place(buffer, depth, ZERO)
    else:
        place = element_place(buffer, tx.add(row, across), ZERO)
        ahead = element_place(buffer, ZERO, depth)
    # Panels follow each other along the columns: along the depth, one block needs only one.
    panel = buffer.rows * PANEL // PIECE if flipped else 1
    pieces = tx.floordiv(ahead, i32(PIECE))
    return tiles.call(MATRIX_DESCRIPTOR, address(buffer.name, place), pieces, i32(panel))


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
    return element_place(buffer, tx.add(row, rows), columns)


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
        place = element_place(buffer, tx.add(first, i), j)
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
