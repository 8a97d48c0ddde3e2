"""Reductions and running sums: one bit of an axis at a time, wherever it is held.

Partners in a step differ in one bit. If registers hold it they are two registers of a thread; if
lanes do, they meet by a shuffle; warps meet in shared memory.
"""

from __future__ import annotations

from collections.abc import Callable

from hsa_compiler.codegen import tvm_text as tx
from hsa_compiler.codegen.cuda.layout import LANE_BITS, Bit, Layout, log2
from hsa_compiler.codegen.cuda.tiles import ZERO, Tiles, gather, i32
from hsa_compiler.codegen.tvm_text import X
from hsa_compiler.tile.ir import Let, Var

_INFINITE = {"float32": float("inf"), "int32": 2**31 - 1, "int64": 2**63 - 1, "uint32": 2**32 - 1}
#: Bits of a chain of registers from which on it is cut in two.
_LONG = 3
_LOWEST = {"float32": float("-inf"), "int32": -(2**31), "int64": -(2**63), "uint32": 0}


def _start(op: str, dtype: str) -> X:
    """What changes nothing."""
    if op == "sum":
        return tx.const(0, dtype)
    value = (_LOWEST if op == "max" else _INFINITE)[dtype]
    if value == -(2**63):
        return X('T.min_value("int64")', dtype)
    return tx.const(value, dtype)


def _both(op: str, a: X, b: X) -> X:
    return tx.add(a, b) if op == "sum" else tx.call(op, a, b)


def print_reduction(tiles: Tiles, let: Let, domain: Layout, registers: str) -> None:
    """``registers = sum | max | min`` of a tile along an axis, or of groups of neighbours."""
    (source,) = let.args
    op, dtype = _joining(let), tx.COMPUTE[let.var.dtype]
    dropped = _dropped(let)
    kept = [i for i, bit in enumerate(domain.regs) if not dropped(bit)]
    count = 1 << len(kept)
    met = [i for i, bit in enumerate(domain.regs) if dropped(bit)]
    # Two chains of half the length: a thread waits for every link of one.
    halves = met[-1:] if len(met) >= _LONG else []
    whole = registers
    if halves:
        whole = tiles.allocate(f"{let.var.name}_halves", 2 * count, dtype)
    with tiles.unrolled(count << len(halves)) as r:
        tiles.writer.line(f"{whole}[{r.text}] = {_start(op, dtype).text}")
    with tiles.unrolled(domain.registers) as r:
        to = X(f"{whole}[{gather(r, [*kept, *halves], domain).text}]", dtype)
        value = tiles.element(source, domain, r, dtype)
        tiles.writer.line(f"{to.text} = {_both(op, to, value).text}")
    if halves:
        with tiles.unrolled(count) as r:
            pair = [X(f"{whole}[{tx.add(r, i32(n)).text}]", dtype) for n in (0, count)]
            tiles.writer.line(f"{registers}[{r.text}] = {_both(op, *pair).text}")
    for i, bit in enumerate(domain.lanes):
        if bit is not None and dropped(bit):
            with tiles.unrolled(count) as r:
                mine = X(f"{registers}[{r.text}]", dtype)
                other = tiles.shuffle(mine, 1 << i)
                tiles.writer.line(f"{mine.text} = {_both(op, mine, other).text}")
    if any(bit is not None and dropped(bit) for bit in domain.warps):
        _across_warps(tiles, let, domain, registers, count)


def _joining(let: Let) -> str:
    """What joins two elements."""
    return "sum" if let.op == "sum_groups" else let.op


def _dropped(let: Let) -> Callable[[Bit], bool]:
    """Whether a bit of the tile is summed up."""
    if let.op == "sum_groups":
        low = log2(let.attrs["size"])
        return lambda bit: bit[1] < low
    axis = let.attrs["axis"]
    return lambda bit: bit[0] == axis


def _across_warps(tiles: Tiles, let: Let, domain: Layout, registers: str, count: int) -> None:
    """Every warp writes what it has, and reads what all of them have."""
    dropped, op, dtype = _dropped(let), _joining(let), tx.COMPUTE[let.var.dtype]
    meeting = [i for i, bit in enumerate(domain.warps) if bit is not None and dropped(bit)]
    result = domain.remapped(
        let.var.shape or (1,), lambda bit: None if dropped(bit) else _renamed(let, bit)
    )
    parts = 1 << len(meeting)
    shape = (parts, let.var.size)
    name = tiles.writer.fresh(f"s_{let.var.name}")
    scratch = tiles.shared.buffer(name, shape, dtype)
    tid = X("tid", "int32")
    part = ZERO
    for n, i in enumerate(meeting):
        bit = tx.mod(tx.floordiv(tid, i32(1 << (LANE_BITS + i))), i32(2))
        part = tx.add(part, tx.mul(bit, i32(1 << n)))

    def place(row: X, r: X) -> str:
        column = tiles.place(result, 0, r)
        return tx.add(tx.mul(row, i32(scratch.pitch)), column).text

    tiles.shared.write(scratch)
    # Replicas that are not the parts themselves write once.
    spare = [i for i in result.replicated if i - LANE_BITS not in meeting]
    mask = sum(1 << i for i in spare)
    first = X(f"tid & {mask} == 0", "bool", rank=0) if mask else None
    with tiles.when(first), tiles.unrolled(count) as r:
        tiles.writer.line(f"{name}[{place(part, r)}] = {registers}[{r.text}]")
    tiles.shared.read(scratch)
    with tiles.unrolled(count) as r:
        mine = X(f"{registers}[{r.text}]", dtype)
        tiles.writer.line(f"{mine.text} = {name}[{place(ZERO, r)}]")
        for n in range(1, parts):
            other = X(f"{name}[{place(i32(n), r)}]", dtype)
            tiles.writer.line(f"{mine.text} = {_both(op, mine, other).text}")


def _renamed(let: Let, bit: tuple[int, int]) -> tuple[int, int]:
    if let.op == "sum_groups":
        return (0, bit[1] - log2(let.attrs["size"]))
    return (0, bit[1])


def print_cumsum(tiles: Tiles, let: Let, layout: Layout, registers: str) -> None:
    """Running sums along an axis that lies within warps: blocks of 1, 2, 4, ... elements are
    joined; the later of two adds the total of the earlier to all of its sums."""
    (source,) = let.args
    assert isinstance(source, Var)
    axis, dtype = let.attrs["axis"], tx.COMPUTE[let.var.dtype]
    total = tiles.allocate(f"{let.var.name}_total", layout.registers, dtype)
    with tiles.unrolled(layout.registers) as r:
        value = tiles.element(source, layout, r, dtype)
        tiles.writer.line(f"{registers}[{r.text}] = {value.text}")
        tiles.writer.line(f"{total}[{r.text}] = {registers}[{r.text}]")
    size = log2(layout.shape[axis])
    for bit in ((axis, n) for n in range(size)):
        if bit in layout.regs:
            half = 1 << layout.regs.index(bit)
            with tiles.unrolled(layout.registers // 2) as r:
                low, high = register_pair(r, half)
                _add(tiles, f"{registers}[{high.text}]", f"{total}[{low.text}]")
                _add(tiles, f"{total}[{low.text}]", f"{total}[{high.text}]")
                tiles.writer.line(f"{total}[{high.text}] = {total}[{low.text}]")
        else:
            mask = 1 << layout.lanes.index(bit)
            with tiles.unrolled(layout.registers) as r:
                mine = X(f"{total}[{r.text}]", dtype)
                other = tiles.allocate("other", 1, dtype)
                tiles.writer.line(f"{other}[0] = {tiles.shuffle(mine, mask).text}")
                with tiles.writer.block(f"if lane & {mask} != 0:"):
                    _add(tiles, f"{registers}[{r.text}]", f"{other}[0]")
                _add(tiles, mine.text, f"{other}[0]")


def _add(tiles: Tiles, to: str, value: str) -> None:
    tiles.writer.line(f"{to} = {to} + {value}")


def register_pair(r: X, half: int) -> tuple[X, X]:
    """The `r`-th pair of register numbers that differ in the bit of value `half` alone."""
    low = (
        tx.add(tx.mul(tx.floordiv(r, i32(half)), i32(2 * half)), tx.mod(r, i32(half)))
        if half > 1
        else tx.mul(r, i32(2))
    )
    return low, tx.add(low, i32(half))
