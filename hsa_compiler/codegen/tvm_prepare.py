"""Simplifies a kernel before it is printed for a CPU: loops that run once become their bodies,
what does not change in a loop moves out of it, and what nobody reads is dropped."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from hsa_compiler.schedules.schedule import IllegalSchedule
from hsa_compiler.tile.ir import (
    AtomicAdd,
    Barrier,
    For,
    If,
    Kernel,
    Let,
    Operand,
    Stmt,
    Store,
    Var,
    While,
)


def prepare(kernel: Kernel) -> tuple[Stmt, ...]:
    """The kernel's body after all three passes.

    Raises `IllegalSchedule`, kind ``"target"``, for what the printer does not have.
    """
    body = _UnwrapLoops().block(kernel.body)
    body = _hoist(body, written_pointers(body))
    return _drop_unused(body)


def written_pointers(body: Iterable[Stmt]) -> frozenset[str]:
    """Names of the pointers that a block stores to: their loads must not move."""
    names: set[str] = set()
    for stmt in body:
        if isinstance(stmt, Store | AtomicAdd):
            names.add(stmt.pointer.name)
        elif isinstance(stmt, For | If):
            names |= written_pointers(stmt.body)
    return frozenset(names)


def operands(stmt: Stmt) -> tuple[Operand, ...]:
    """What a statement itself reads, without the statements inside it; yields are read inside."""
    if isinstance(stmt, Let):
        return stmt.args
    if isinstance(stmt, Store | AtomicAdd):
        mask = () if stmt.mask is None else (stmt.mask,)
        return (stmt.offset, stmt.value, *mask)
    if isinstance(stmt, For):
        return (stmt.start, stmt.stop, *stmt.inits)
    if isinstance(stmt, If):
        return (stmt.condition,)
    return ()


# -- loops that run once ------------------------------------------------------------------------
class _UnwrapLoops:
    """Before -> after::

    for i in range(0, 64, 64), acc = zero:      acc_2 = dot(q, k, zero)
        acc_2 = dot(q, k, acc)              ->
        yield acc_2
    """

    def __init__(self) -> None:
        self.renamed: dict[Var, Operand] = {}

    def block(self, body: Sequence[Stmt]) -> tuple[Stmt, ...]:
        return tuple(new for stmt in body for new in self.statement(stmt))

    def read(self, x: Any) -> Any:
        return self.renamed.get(x, x) if isinstance(x, Var) else x

    def statement(self, stmt: Stmt) -> tuple[Stmt, ...]:
        read = self.read
        if isinstance(stmt, Let):
            if stmt.op == "cumsum" and len(stmt.var.shape) > 1:
                raise IllegalSchedule("target", "TVM's printer has running sums of one axis only")
            return (Let(stmt.var, stmt.op, tuple(map(read, stmt.args)), stmt.attrs),)
        if isinstance(stmt, Store):
            value, mask = read(stmt.value), read(stmt.mask)
            return (Store(stmt.pointer, read(stmt.offset), value, mask),)
        if isinstance(stmt, AtomicAdd):
            value, mask = read(stmt.value), read(stmt.mask)
            return (AtomicAdd(stmt.pointer, read(stmt.offset), value, mask, stmt.exclusive),)
        if isinstance(stmt, If):
            return (If(read(stmt.condition), self.block(stmt.body)),)
        if isinstance(stmt, Barrier):
            return ()
        if isinstance(stmt, While):
            raise IllegalSchedule("target", "TVM's printer has no while loops")
        start, stop, inits = read(stmt.start), read(stmt.stop), tuple(map(read, stmt.inits))
        if isinstance(start, int) and isinstance(stop, int) and 0 < stop - start <= stmt.step:
            self.renamed.update(zip(stmt.carried, inits, strict=True))
            index = Let(stmt.index, "full", (), {"value": start})
            body = self.block(stmt.body)
            finals = [read(value) for value in stmt.yields]
            self.renamed.update(zip(stmt.carried, finals, strict=True))
            return (index, *body)
        body = self.block(stmt.body)
        yields = tuple(map(read, stmt.yields))
        return (replace(stmt, start=start, stop=stop, inits=inits, body=body, yields=yields),)


# -- loop-invariant statements ------------------------------------------------------------------
def _hoist(body: Sequence[Stmt], written: frozenset[str]) -> tuple[Stmt, ...]:
    """Move lets whose operands come from outside a loop to just before it. A load would then also
    run where the loop does not, so it gets the loop's condition as a further mask."""
    result: list[Stmt] = []
    for stmt in body:
        if isinstance(stmt, If):
            result.append(If(stmt.condition, _hoist(stmt.body, written)))
        elif isinstance(stmt, For):
            outside, loop = _hoist_from(stmt, written)
            result += [*outside, loop]
        else:
            result.append(stmt)
    return tuple(result)


def _hoist_from(loop: For, written: frozenset[str]) -> tuple[list[Stmt], For]:
    body = _hoist(loop.body, written)
    inside: set[Var] = {loop.index, *loop.carried}
    outside: list[Stmt] = []
    kept: list[Stmt] = []
    runs: Var | None = None
    for stmt in body:
        if isinstance(stmt, For):
            inside.update(stmt.carried)
        if not isinstance(stmt, Let) or not _movable(stmt, inside, written):
            if isinstance(stmt, Let):
                inside.add(stmt.var)
            kept.append(stmt)
            continue
        if stmt.op == "load" and not _always_runs(loop):
            if runs is None:
                runs = Var("runs", "bool", (), stmt.var.builder)
                outside.append(Let(runs, "lt", (loop.start, loop.stop), {}))
            stmt = _guarded(stmt, runs, outside)
        outside.append(stmt)
    return outside, replace(loop, body=tuple(kept))


def _movable(stmt: Let, inside: set[Var], written: frozenset[str]) -> bool:
    if any(isinstance(arg, Var) and arg in inside for arg in stmt.args):
        return False
    if stmt.op == "load":
        return bool(stmt.var.shape) and stmt.attrs["pointer"].name not in written
    return True


def _always_runs(loop: For) -> bool:
    return isinstance(loop.start, int) and isinstance(loop.stop, int) and loop.start < loop.stop


def _guarded(load: Let, runs: Var, outside: list[Stmt]) -> Let:
    offset, *masks = load.args
    mask: Var = runs
    if masks:
        (old,) = masks
        assert isinstance(old, Var)
        mask = Var(f"{load.var.name}_mask", "bool", old.shape, old.builder)
        outside.append(Let(mask, "and", (old, runs), {}))
    return Let(load.var, "load", (offset, mask), load.attrs)


# -- unused statements --------------------------------------------------------------------------
def _drop_unused(body: Sequence[Stmt]) -> tuple[Stmt, ...]:
    """Drop lets that nothing reads, again and again until none is left."""
    while True:
        counts: dict[Var, int] = {}
        _count(body, counts)
        smaller = _keep_used(body, counts)
        if _size(smaller) == _size(body):
            return smaller
        body = smaller


def _count(body: Sequence[Stmt], counts: dict[Var, int]) -> None:
    for stmt in body:
        read = operands(stmt)
        if isinstance(stmt, For):
            read = (*read, *stmt.yields)
        for x in read:
            if isinstance(x, Var):
                counts[x] = counts.get(x, 0) + 1
        if isinstance(stmt, For | If):
            _count(stmt.body, counts)


def _keep_used(body: Sequence[Stmt], counts: Mapping[Var, int]) -> tuple[Stmt, ...]:
    result: list[Stmt] = []
    for stmt in body:
        if isinstance(stmt, Let) and not counts.get(stmt.var):
            continue
        if isinstance(stmt, For):
            inner = _keep_used(stmt.body, counts)
            if not inner and not stmt.carried:
                continue
            stmt = replace(stmt, body=inner)
        elif isinstance(stmt, If):
            inner = _keep_used(stmt.body, counts)
            if not inner:
                continue
            stmt = If(stmt.condition, inner)
        result.append(stmt)
    return tuple(result)


def _size(body: Sequence[Stmt]) -> int:
    return sum(1 + (_size(s.body) if isinstance(s, For | If) else 0) for s in body)
