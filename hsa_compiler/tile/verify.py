"""Checks a finished tile program: every variable is assigned before it is used, inside its
scope and once; names are unique per kernel; every pointer is bound or a workspace."""

from __future__ import annotations

from collections.abc import Iterable

from hsa_compiler.errors import TileError
from hsa_compiler.tile.ir import (
    AtomicAdd,
    For,
    If,
    Kernel,
    Let,
    Operand,
    Stmt,
    Store,
    TileProgram,
    Var,
    While,
)


def check(program: TileProgram) -> TileProgram:
    """The same program; raises `TileError` naming kernel and variable where a rule is broken."""
    spaces = {space.name for space in program.workspaces}
    for kernel in program.kernels:
        for pointer in (*kernel.pointers, *(d.tensor for d in kernel.descriptors)):
            if pointer.name not in program.bindings and pointer.name not in spaces:
                raise TileError(f"{kernel.name}: pointer {pointer.name} is bound to nothing")
        if not 1 <= len(kernel.grid) <= 3:
            raise TileError(f"{kernel.name}: a grid has 1 to 3 axes, got {len(kernel.grid)}")
        _Scope(kernel).block(kernel.body, {scalar.name for scalar in kernel.scalars})
    for role, space in program.accumulators.items():
        if role not in program.bindings or space not in spaces:
            raise TileError(f"accumulator {space} of {role}: both must be declared")
    return program


class _Scope:
    """Walks a kernel with the set of names that are visible at each place."""

    def __init__(self, kernel: Kernel) -> None:
        self.kernel = kernel
        self.assigned: set[str] = set()

    def block(self, body: Iterable[Stmt], visible: set[str]) -> set[str]:
        visible = set(visible)
        for stmt in body:
            if isinstance(stmt, Let):
                self.uses(stmt.args, visible)
                self.assign(stmt.var, visible)
            elif isinstance(stmt, (Store, AtomicAdd)):
                self.uses((stmt.offset, stmt.value), visible)
                self.uses(() if stmt.mask is None else (stmt.mask,), visible)
            elif isinstance(stmt, For):
                self.uses((stmt.start, stmt.stop), visible)
                self.loop(stmt, visible)
            elif isinstance(stmt, While):
                self.loop(stmt, visible)
            elif isinstance(stmt, If):
                self.uses((stmt.condition,), visible)
                self.block(stmt.body, visible)
        return visible

    def loop(self, stmt: For | While, visible: set[str]) -> None:
        self.uses(stmt.inits, visible)
        for var in stmt.carried:
            self.assign(var, visible)
        inner = set(visible)
        if isinstance(stmt, For):
            self.assign(stmt.index, inner)
        self.uses(stmt.yields, self.block(stmt.body, inner))

    def uses(self, operands: Iterable[Operand], visible: set[str]) -> None:
        for operand in operands:
            if isinstance(operand, Var) and operand.name not in visible:
                raise TileError(
                    f"{self.kernel.name}: {operand.name} is used where it is not assigned"
                )

    def assign(self, var: Var, visible: set[str]) -> None:
        if var.name in self.assigned:
            raise TileError(f"{self.kernel.name}: {var.name} is assigned twice")
        self.assigned.add(var.name)
        visible.add(var.name)
