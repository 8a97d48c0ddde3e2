"""Loops that load tiles rounds ahead: copies to shared memory are on the way while earlier rounds
compute.

With S stages there are S buffers for every tile. A round waits for its own copies, then starts
those of the round S - 1 later into the buffers that the round before has left. What their addresses
are computed of is computed again, ahead; numbers that these are loaded from are loaded another
round earlier, so that starting copies waits for nothing.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hsa_compiler.codegen import tvm_text as tx
from hsa_compiler.codegen.cuda.intrinsics import COMMIT, WAIT
from hsa_compiler.codegen.cuda.layout import Layout
from hsa_compiler.codegen.cuda.memory import async_width, print_direct_load
from hsa_compiler.codegen.cuda.shared import SharedBuffer
from hsa_compiler.codegen.cuda.tiles import STORED, i32
from hsa_compiler.codegen.cuda.values import statements
from hsa_compiler.codegen.tvm_text import COMPUTE, X
from hsa_compiler.tile.ir import AtomicAdd, Barrier, For, Let, Operand, Store, Var

if TYPE_CHECKING:
    from hsa_compiler.codegen.cuda.printer import Printer


@dataclass(frozen=True)
class Staged:
    """What is loaded ahead: `loads` of tiles, `slices` in program order that compute their
    addresses, and those of them that load and are `early`."""

    loads: tuple[Let, ...]
    slices: tuple[Let, ...]
    early: tuple[Let, ...]


def staged(printer: Printer, loop: For) -> Staged | None:
    """What a loop can load ahead, if it asks for that."""
    if loop.stages < 2:
        return None
    written = {
        stmt.pointer for stmt in statements(loop.body) if isinstance(stmt, (Store, AtomicAdd))
    }
    if any(isinstance(stmt, Barrier) for stmt in statements(loop.body)):
        return None
    body = {stmt.var: stmt for stmt in loop.body if isinstance(stmt, Let)}
    inside = {stmt.var for stmt in statements(loop.body) if isinstance(stmt, Let)} | {*loop.carried}
    loads: list[Let] = []
    needed: set[Var] = set()

    def gather(x: Operand | None, found: set[Var]) -> bool:
        """Add the lets of the body that `x` is computed of; whether all can be computed ahead."""
        if not isinstance(x, Var) or x not in inside or x in found:
            return True
        let = body.get(x)
        if let is None or (x.shape and not _is_cheap(printer, let)):
            return False
        if let.op == "load" and let.attrs["pointer"] in written:
            return False
        found.add(x)
        return all(gather(arg, found) for arg in let.args)

    for let in body.values():
        if not printer.assignment.is_direct(let) or let.attrs["pointer"] in written:
            continue
        if not async_width(printer.tiles, let, printer.assignment.domains[let]):
            continue
        found: set[Var] = set()
        if all(gather(arg, found) for arg in let.args):
            loads.append(let)
            needed |= found
    if not loads:
        return None
    slices = tuple(let for let in body.values() if let.var in needed)
    fetched = {let.var for let in slices if let.op == "load"}
    early = tuple(let for let in slices if let.op == "load" and not _depends(let, fetched, body))
    return Staged(tuple(loads), slices, early)


def print_staged(printer: Printer, loop: For, plan: Staged) -> None:
    """The loop; carried variables have their first values already."""
    tiles, writer, count = printer.tiles, printer.writer, loop.stages
    start, stop = (tiles.scalar(x, "int32") for x in (loop.start, loop.stop))
    for let in plan.loads:
        name = writer.fresh(f"s_{let.var.name.removeprefix('b_')}")
        shape, dtype = let.var.shape, STORED[let.var.dtype]
        swizzled = let.var in printer.assignment.swizzled
        tiles.in_shared[let.var] = tiles.shared.stages(name, shape, dtype, count, swizzled)
    ahead = _Ahead(printer, loop, plan, stop)
    tiles.shared.wait()
    ahead.fetch(start)
    for early in range(count - 1):
        ahead.copy(tx.add(start, i32(early * loop.step)), i32(early))
    since = tiles.shared.begin_loop()
    index = writer.fresh(loop.index.name)
    with writer.block(printer.loop_header(loop, index)):
        printer.index_of(loop, index, start)
        place = X(index, "int32")
        turn = tx.sub(place, start) if loop.step == 1 else X(f"{index}_round", "int32")
        tiles.run(WAIT, i32(count - 2))
        tiles.shared.wait()
        later = tx.add(place, i32((count - 1) * loop.step))
        ahead.copy(later, tx.mod(tx.add(turn, i32(count - 1)), i32(count)))
        stage = tx.mod(turn, i32(count))
        for let in plan.loads:
            row = tx.mul(stage, i32(let.var.shape[0]))
            tiles.stage_rows[let.var] = writer.bind(f"{let.var.name}_row", row)
        tiles.scalars[loop.index] = place
        printer.round(loop)
    # Copies of rounds that do not come are none, but their groups are open.
    tiles.run(WAIT, i32(0))
    tiles.shared.end_loop(since)


class _Ahead:
    """Prints the parts that run ahead."""

    def __init__(self, printer: Printer, loop: For, plan: Staged, stop: X) -> None:
        self.printer, self.loop, self.plan, self.stop = printer, loop, plan, stop
        tiles = printer.tiles
        self.scalars = {
            let.var: tiles.allocate(f"{let.var.name}_ahead", 1, COMPUTE[let.var.dtype])
            for let in plan.early
            if not let.var.shape
        }
        self.registers = {
            (let.var, layout): tiles.allocate(
                f"{let.var.name}_ahead", layout.registers, STORED[let.var.dtype]
            )
            for let in plan.early
            if let.var.shape
            for layout in printer.assignment.layouts[let.var]
        }

    def fetch(self, index: X) -> None:
        """Load what the addresses of a round are computed of, if that round comes."""
        plan, printer, tiles = self.plan, self.printer, self.printer.tiles
        if not plan.early:
            return
        body = {let.var: let for let in plan.slices}
        needed: set[Var] = set()
        for let in plan.early:
            _collect(let, body, needed)
        with self._round(index):
            for let in plan.slices:
                if let.var not in needed:
                    continue
                saved = self._redirect() if let in plan.early else {}
                printer.let(let)
                if let.var in self.scalars:
                    name = self.scalars[let.var]
                    printer.writer.line(f"{name}[0] = {tiles.scalars[let.var].text}")
                tiles.buffers.update(saved)

    def copy(self, index: X, stage: X) -> None:
        """Start the copies of a round into a stage's buffers, then fetch for the round after."""
        plan, printer, tiles = self.plan, self.printer, self.printer.tiles
        with self._round(index):
            saved = self._redirect()
            for let in plan.slices:
                if let in plan.early:
                    if let.var in self.scalars:
                        name = self.scalars[let.var]
                        tiles.scalars[let.var] = X(f"{name}[0]", COMPUTE[let.var.dtype])
                else:
                    printer.let(let)
            for let in plan.loads:
                row = tx.mul(stage, i32(let.var.shape[0]))
                buffer: SharedBuffer = tiles.in_shared[let.var]
                print_direct_load(tiles, let, printer.assignment.domains[let], buffer, row)
            tiles.buffers.update(saved)
        tiles.run(COMMIT)
        self.fetch(tx.add(index, i32(self.loop.step)))

    def _redirect(self) -> dict[tuple[Var, Layout], str]:
        """Early tiles are in their own registers from now on; where they were before."""
        tiles = self.printer.tiles
        saved = {key: tiles.kept(*key) for key in self.registers}
        tiles.buffers.update(self.registers)
        return saved

    def _round(self, index: X) -> AbstractContextManager[None]:
        """Lines for the round of an index, if it comes."""
        self.printer.tiles.scalars[self.loop.index] = index
        return self.printer.tiles.when(tx.infix("<", index, self.stop))


def _is_cheap(printer: Printer, let: Let) -> bool:
    """Whether every thread can compute a tile ahead by itself."""
    return let.var in printer.values.cloneable or let.var in printer.values.inlined


def _depends(let: Let, fetched: set[Var], body: dict[Var, Let]) -> bool:
    """Whether a load's address is computed of what other loads give."""
    return any(
        isinstance(arg, Var)
        and arg in body
        and (arg in fetched or _depends(body[arg], fetched, body))
        for arg in let.args
    )


def _collect(let: Let, body: dict[Var, Let], needed: set[Var]) -> None:
    needed.add(let.var)
    for arg in let.args:
        if isinstance(arg, Var) and arg in body and arg not in needed:
            _collect(body[arg], body, needed)
