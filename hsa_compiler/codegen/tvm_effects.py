"""Writes to tensors: stores and exclusive additions."""

from __future__ import annotations

from collections.abc import Callable

from hsa_compiler.codegen import tvm_text as tx
from hsa_compiler.codegen.tvm_elements import At
from hsa_compiler.codegen.tvm_math import to_storage
from hsa_compiler.codegen.tvm_text import COMPUTE, STORAGE, X
from hsa_compiler.codegen.tvm_tiles import Tiles
from hsa_compiler.codegen.tvm_transpose import block_width, print_transposed
from hsa_compiler.schedules.schedule import IllegalSchedule
from hsa_compiler.tile.ir import AtomicAdd, Operand, Store, Var


def print_store(tiles: Tiles, stmt: Store) -> None:
    """Write a tile; masked lanes that are neighbours in memory in one instruction."""

    def write(at: tuple[At, ...], value: X) -> None:
        where = tiles.elements.index(stmt.offset, _own(stmt.offset, at)).expression
        condition, mask = tiles.elements.masks(stmt.mask, _own(stmt.mask, at))
        lanes = max(where.lanes, 1 if mask is None else mask.lanes)

        def line() -> None:
            raw = to_storage(tiles.writer, tx.broadcast(value, lanes), stmt.pointer.dtype)
            target = f"p_{stmt.pointer.name}"
            if mask is None:
                tiles.writer.line(f"{target}[{where.text}] = {raw.text}")
            else:
                args = f"{target}, {raw.text}, {where.text}, {mask.text}"
                tiles.writer.line(f"T.masked_store({args})")

        _when(tiles, condition, line)

    shape, lanes = _domain(tiles, stmt, masked_lanes=True)
    across = lanes is not None and _lies_across(tiles, stmt.value, shape, lanes)
    if lanes is not None and across:
        dtype = COMPUTE[stmt.pointer.dtype]
        print_transposed(tiles, shape, lanes, dtype, lambda at: _value(tiles, stmt, at), write)
    else:
        tiles.over(shape, lanes, lambda at: write(at, _value(tiles, stmt, at)))


def _lies_across(tiles: Tiles, value: Operand, shape: tuple[int, ...], lanes: int) -> bool:
    """Whether a tile is contiguous along the axis that its tensor is not."""
    if not isinstance(value, Var) or value.shape != shape or not block_width(shape, tiles.width):
        return False
    contiguous = tiles.layout.contiguous_axis(value)
    return contiguous == 1 - lanes and tiles.places.vectorises(value, 1 - lanes)


def print_atomic_add(tiles: Tiles, stmt: AtomicAdd, kernel: str) -> None:
    """Add a tile, element by element. Raises `IllegalSchedule` where programs could collide."""
    if not stmt.exclusive:
        raise IllegalSchedule(
            "target",
            f"{kernel} adds into {stmt.pointer.name} from several programs at once; CPU kernels "
            "have no atomics, use a schedule with combine=none",
        )
    dtype = stmt.pointer.dtype

    def add(at: tuple[At, ...]) -> None:
        where = tiles.elements.index(stmt.offset, _own(stmt.offset, at)).expression
        value = _value(tiles, stmt, at)
        condition, _ = tiles.elements.masks(stmt.mask, _own(stmt.mask, at))

        def line() -> None:
            raw = X(f"p_{stmt.pointer.name}[{where.text}]", STORAGE[dtype], where.lanes)
            old = tx.halves_to_float(raw, dtype)
            new = to_storage(tiles.writer, tx.add(old, tx.broadcast(value, where.lanes)), dtype)
            tiles.writer.line(f"{raw.text} = {new.text}")

        _when(tiles, condition, line)

    shape, lanes = _domain(tiles, stmt, masked_lanes=False)
    tiles.over(shape, lanes, add)


def _when(tiles: Tiles, condition: X | None, line: Callable[[], None]) -> None:
    if condition is None:
        line()
    else:
        with tiles.writer.block(f"if {condition.text}:"):
            line()


def _value(tiles: Tiles, stmt: Store | AtomicAdd, at: tuple[At, ...]) -> X:
    return tiles.elements.element(stmt.value, _own(stmt.value, at), COMPUTE[stmt.pointer.dtype])


def _own(x: Operand | None, at: tuple[At, ...]) -> tuple[At, ...]:
    """The place in an operand that broadcasts: scalars have none."""
    return at if isinstance(x, Var) and x.shape else ()


def _domain(
    tiles: Tiles, stmt: Store | AtomicAdd, masked_lanes: bool
) -> tuple[tuple[int, ...], int | None]:
    """The shape a write walks over, and the axis whose lanes are neighbours in memory."""
    places, offset, value, mask = tiles.places, stmt.offset, stmt.value, stmt.mask
    shape = offset.shape
    if isinstance(value, Var) and value.shape:
        shape = tuple(map(max, shape, value.shape)) if shape else value.shape
    form = tiles.elements.linear(offset)
    for axis in reversed(range(len(shape))):
        if shape[axis] == 1 or not form.axes or form.axes[axis].value != 1:
            continue
        parts = (offset, value) if mask is None else (offset, value, mask)
        if places.lane_terms(offset, axis) or not all(places.vectorises(p, axis) for p in parts):
            continue
        if masked_lanes or mask is None or axis not in places.axes(mask):
            return shape, axis
    return shape, None
