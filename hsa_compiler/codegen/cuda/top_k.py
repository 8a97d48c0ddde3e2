"""The running top-k: a bitonic network whose comparisons are between places that differ in one
bit, in two registers of a thread or in two lanes."""

from __future__ import annotations

from hsa_compiler.codegen import tvm_text as tx
from hsa_compiler.codegen.cuda import layout as lo
from hsa_compiler.codegen.cuda.layout import Layout
from hsa_compiler.codegen.cuda.reduce import register_pair
from hsa_compiler.codegen.cuda.tiles import ZERO, Tiles, i32
from hsa_compiler.codegen.tvm_text import X
from hsa_compiler.tile.ir import Let, Var


def print_merge_top_k(tiles: Tiles, let: Let, layout: Layout, registers: str) -> None:
    """Rows of `running`, descending, take in those of `fresh`.

    Blocks of K of `fresh` are sorted, every second the other way round. The larger ones of two such
    neighbours are the K largest of both, and again rise and fall once, so that log2(K) steps sort
    them; the same joins the last block, ascending, with `running`.
    """
    running, fresh = let.args
    assert isinstance(running, Var)
    assert isinstance(fresh, Var)
    kept, count = running.shape[1], fresh.shape[1]
    bits = lo.log2(kept)
    wide = lo.extended(layout, count)
    name = tiles.allocate(f"{let.var.name}_new", wide.registers, "int64")
    tiles.loop_over(wide, lambda r: _set(tiles, name, r, tiles.element(fresh, wide, r)))
    network = _Network(tiles, name)
    for size in range(1, bits + 1):
        network.sort(wide, size)
    while count > kept:
        # The last bit of the register number tells the blocks of two apart: the first of them,
        # neighbours, were sorted in opposite directions.
        wide = network.larger(wide, bits)
        count //= 2
        network.sort(wide, bits)
    tiles.loop_over(
        layout,
        lambda r: _set(
            tiles,
            registers,
            r,
            tx.call("max", tiles.element(running, layout, r), X(f"{name}[{r.text}]", "int64")),
        ),
    )
    _Network(tiles, registers).sort(layout, bits, descending=True)


def _set(tiles: Tiles, name: str, r: X, value: X) -> None:
    tiles.writer.line(f"{name}[{r.text}] = {value.text}")


class _Network:
    def __init__(self, tiles: Tiles, name: str) -> None:
        self.tiles, self.name = tiles, name

    def sort(self, layout: Layout, size: int, descending: bool = False) -> None:
        """Sort blocks of ``2 ** size`` places that rise and fall once: those at even numbers
        ascending and the others descending, or all of them descending."""
        for bit in reversed(range(size)):
            self._compare(layout, bit, size, descending)

    def _compare(self, layout: Layout, bit: int, size: int, descending: bool) -> None:
        tiles = self.tiles

        def falls(r: X) -> X:
            """Whether the block that register `r` belongs to is sorted descending."""
            if descending or (1, size) not in (*layout.regs, *layout.lanes):
                return tx.const(descending, "bool")
            column = tiles.place(layout, 1, r)
            odd = tx.mod(tx.floordiv(column, i32(1 << size)), i32(2))
            return tx.infix("!=", odd, ZERO)

        if (1, bit) in layout.regs:
            half = 1 << layout.regs.index((1, bit))
            low_name, high_name = (tiles.allocate(x, 1, "int64") for x in ("low", "high"))
            with tiles.unrolled(layout.registers // 2) as r:
                a, b = register_pair(r, half)
                first, second = (X(f"{self.name}[{x.text}]", "int64") for x in (a, b))
                tiles.writer.line(f"{low_name}[0] = {tx.call('min', first, second).text}")
                tiles.writer.line(f"{high_name}[0] = {tx.call('max', first, second).text}")
                low, high = (X(f"{x}[0]", "int64") for x in (low_name, high_name))
                down = falls(a)
                _set(tiles, self.name, a, tx.select(down, high, low))
                _set(tiles, self.name, b, tx.select(down, low, high))
            return
        mask = 1 << layout.lanes.index((1, bit))
        other = tiles.allocate("other", 1, "int64")
        with tiles.unrolled(layout.registers) as r:
            mine = X(f"{self.name}[{r.text}]", "int64")
            tiles.writer.line(f"{other}[0] = {tiles.shuffle(mine, mask).text}")
            theirs = X(f"{other}[0]", "int64")
            upper = X(f"lane & {mask} != 0", "bool", rank=0)
            down = falls(r)
            if down.value is None:
                largest = tx.infix("!=", _number(upper), _number(down))
            else:
                largest = X(f"lane & {mask} == 0", "bool", rank=0) if down.value else upper
            best, least = tx.call("max", mine, theirs), tx.call("min", mine, theirs)
            _set(tiles, self.name, r, tx.select(largest, best, least))

    def larger(self, layout: Layout, bit: int) -> Layout:
        """Keep the larger one of every two places that differ in a bit, which registers hold."""
        half = layout.regs.index((1, bit))
        with self.tiles.unrolled(layout.registers // 2) as r:
            a, b = register_pair(r, 1 << half)
            first, second = (X(f"{self.name}[{x.text}]", "int64") for x in (a, b))
            _set(self.tiles, self.name, r, tx.call("max", first, second))
        rows, columns = layout.shape
        return layout.remapped(
            (rows, columns // 2),
            lambda at: None if at == (1, bit) else (at[0], at[1] - (at[0] == 1 and at[1] > bit)),
        )


def _number(condition: X) -> X:
    return tx.cast(condition, "int32")
