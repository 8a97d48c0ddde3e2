"""A readable, stable text form of tile programs, e.g. for ``show --stage tile``.

kernel attend(q: fp32*, k: fp32*, Lkv: i32 = Lkv)  grid (L, 1, B)
  i_token: i32 = program_id{axis=0}
  b_q: fp32[16, 64] = load(x_3){pointer=q, other=0}
  for i_slot in 0..n_slots carry b_out = b_acc:
    ...
    yield b_dot
  store out[x_9] = b_out
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from hsa_compiler.tile.ir import (
    AtomicAdd,
    Descriptor,
    For,
    If,
    Kernel,
    Let,
    Operand,
    Pointer,
    Stmt,
    Store,
    TileProgram,
    Var,
    While,
)


def text(program: TileProgram) -> str:
    """The whole program; equal programs give equal text."""
    lines: list[str] = []
    for role, value in sorted(program.bindings.items()):
        lines.append(f"bind {role} = {value}")
    for space in program.workspaces:
        zeroed = ", zeroed" if space.zeroed else ""
        lines.append(f"workspace {space.name}: {space.dtype}[{space.size}]{zeroed}")
    lines += [f"zeroed {role}" for role in program.zeroed]
    for role, name in sorted(program.accumulators.items()):
        lines.append(f"accumulate {role} in {name}")
    for kernel in program.kernels:
        lines += ["", *kernel_lines(kernel)]
    return "\n".join(lines).lstrip("\n") + "\n"


def kernel_lines(kernel: Kernel) -> Iterator[str]:
    """The lines of one kernel."""
    params = [f"{p.name}: {p.dtype}*" for p in kernel.pointers]
    params += [_descriptor(d) for d in kernel.descriptors]
    params += [f"{s.name}: i32 = {s.size}" for s in kernel.scalars]
    grid = ", ".join(map(str, kernel.grid))
    yield f"kernel {kernel.name}({', '.join(params)})  grid ({grid})"
    yield from _block(kernel.body, "  ")


def _descriptor(descriptor: Descriptor) -> str:
    axes = ", ".join(map(str, descriptor.axes))
    return f"{descriptor.name}: {descriptor.tensor.dtype}[n, {axes}] by {list(descriptor.block)}"


def _block(body: Sequence[Stmt], indent: str) -> Iterator[str]:
    for stmt in body:
        yield from (indent + line for line in _statement(stmt))


def _statement(stmt: Stmt) -> Iterator[str]:
    if isinstance(stmt, Let):
        args = ", ".join(map(_operand, stmt.args))
        call = stmt.op + (f"({args})" if args else "")
        yield f"{_typed(stmt.var)} = {call}{_attrs(stmt)}"
    elif isinstance(stmt, Store):
        yield f"store {_target(stmt)} = {_operand(stmt.value)}{_mask(stmt)}"
    elif isinstance(stmt, AtomicAdd):
        exclusive = " exclusive" if stmt.exclusive else ""
        yield f"atomic{exclusive} {_target(stmt)} += {_operand(stmt.value)}{_mask(stmt)}"
    elif isinstance(stmt, For):
        yield from _loop(stmt)
    elif isinstance(stmt, While):
        yield f"while {_carry(stmt)}:"
        yield from _body(stmt)
    elif isinstance(stmt, If):
        yield f"if {stmt.condition.name}:"
        yield from _block(stmt.body, "  ")
    else:
        yield "barrier"


def _loop(stmt: For) -> Iterator[str]:
    bounds = f"{_operand(stmt.start)}..{_operand(stmt.stop)}"
    step = f" step {stmt.step}" if stmt.step != 1 else ""
    stages = f" stages {stmt.stages}" if stmt.stages != 1 else ""
    carry = f" carry {_carry(stmt)}" if stmt.carried else ""
    yield f"for {stmt.index.name} in {bounds}{step}{stages}{carry}:"
    yield from _body(stmt)


def _carry(stmt: For | While) -> str:
    return ", ".join(
        f"{_typed(var)} = {_operand(init)}"
        for var, init in zip(stmt.carried, stmt.inits, strict=True)
    )


def _body(stmt: For | While) -> Iterator[str]:
    yield from _block(stmt.body, "  ")
    if stmt.yields:
        yield f"  yield {', '.join(map(_operand, stmt.yields))}"


def _typed(var: Var) -> str:
    shape = str(list(var.shape)) if var.shape else ""
    return f"{var.name}: {var.dtype}{shape}"


def _operand(x: Operand) -> str:
    return x.name if isinstance(x, Var) else repr(x)


def _target(stmt: Store | AtomicAdd) -> str:
    return f"{stmt.pointer.name}[{_operand(stmt.offset)}]"


def _mask(stmt: Store | AtomicAdd) -> str:
    return "" if stmt.mask is None else f" where {stmt.mask.name}"


def _attrs(stmt: Let) -> str:
    def show(value: Any) -> str:
        return value.name if isinstance(value, (Pointer, Descriptor)) else repr(value)

    parts = [f"{name}={show(value)}" for name, value in stmt.attrs.items()]
    if not parts or stmt.op in ("cast", "bitcast", "broadcast"):
        return ""
    return "{" + ", ".join(parts) + "}"
