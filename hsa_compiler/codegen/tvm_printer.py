"""Prints one kernel of a tile program as a TVMScript function for a CPU.

Programs are dealt out to threads in turn, which balances causal work; every thread has its own
tile buffers. Tiles become loops over vectors of neighbouring elements along the axis that their
buffer keeps contiguous.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from hsa_compiler.codegen import tvm_text as tx
from hsa_compiler.codegen.tvm_dot import print_dot
from hsa_compiler.codegen.tvm_effects import print_atomic_add, print_store
from hsa_compiler.codegen.tvm_elements import Elements
from hsa_compiler.codegen.tvm_index import ZERO
from hsa_compiler.codegen.tvm_layout import COL, Buffer, Layout
from hsa_compiler.codegen.tvm_prepare import prepare
from hsa_compiler.codegen.tvm_reduce import (
    print_cumsum,
    print_reduction,
    print_repeat,
    print_scalar_reduction,
    print_sum_groups,
)
from hsa_compiler.codegen.tvm_text import BYTES, COMPUTE, STORAGE, X
from hsa_compiler.codegen.tvm_tiles import Read, Tiles
from hsa_compiler.codegen.tvm_top_k import print_merge_top_k
from hsa_compiler.codegen.tvm_transpose import block_width, print_transposed
from hsa_compiler.codegen.tvm_uses import Uses
from hsa_compiler.codegen.tvm_writer import Writer
from hsa_compiler.errors import TileError
from hsa_compiler.tile.ir import (
    REDUCE,
    AtomicAdd,
    For,
    If,
    Kernel,
    Let,
    Operand,
    Stmt,
    Store,
    Var,
)

#: Loop variables of the printer itself; tile variables get other names.
_RESERVED = ("m", "n", "k", "u", "r", "x", "y", "j", "tid", "pid")
_GRID = ("grid_0", "grid_1", "grid_2")


class KernelPrinter:
    """`lanes`: what vector lanes should hold, ``"rows"`` or ``"cols"``; `width` lanes per vector,
    `unroll` accumulators per matrix product, `threads` threads."""

    def __init__(
        self, kernel: Kernel, *, lanes: str, unroll: int, threads: int, width: int
    ) -> None:
        self.kernel, self.threads = kernel, threads
        self.body = prepare(kernel)
        self.uses = Uses(self.body)
        taken = {*_RESERVED, *_GRID, *(s.name for s in kernel.scalars)}
        taken |= {f"{a}{p.name}{b}" for p in kernel.pointers for a, b in _POINTER_NAMES}
        self.layout = Layout(self.uses, self.body, lanes, frozenset(taken))
        self.writer = Writer((*taken, *(b.name for b in self.layout.buffers.values())))
        self.values: dict[Var, X] = {}
        self.elements = Elements(self.layout, self.writer, self.scalar)
        self.tiles = Tiles(self.layout, self.writer, self.elements, width, unroll)

    # -- the function ---------------------------------------------------------------------------
    def text(self) -> str:
        """The whole function, indented as a method."""
        self.block(self.body)
        kernel, threads = self.kernel, self.threads
        grid = _GRID[: len(kernel.grid)]
        params = [f"{p.name}_ptr: T.handle" for p in kernel.pointers]
        params += [f"{name}: T.int32" for name in (*(s.name for s in kernel.scalars), *grid)]
        lines = ["@T.prim_func", f"def {kernel.name}("]
        lines += [f"    {param}," for param in params]
        lines += ["):", f"    # grid: ({', '.join(map(str, kernel.grid))})"]
        lines += [f"    n_{p.name} = T.int64()" for p in kernel.pointers]
        for p in kernel.pointers:
            dtype = STORAGE[p.dtype]
            args = f'{p.name}_ptr, (n_{p.name},), "{dtype}", align={BYTES[dtype]}'
            lines.append(f"    p_{p.name} = T.match_buffer({args})")
        kind = "T.parallel" if threads > 1 else "range"
        lines.append(f"    for tid in {kind}({threads}):")
        lines += [f"        {line}" for line in self._allocations()]
        programs = f"({' * '.join(grid)} - tid + {threads - 1}) // {threads}"
        lines.append(f"        for j in range({programs}):")
        lines.append(f"            pid: T.let = j * {threads} + tid")
        return "\n".join(f"    {line}" for line in lines) + "\n" + self.writer.text(4) + "\n"

    def _allocations(self) -> list[str]:
        buffers = {b.name: b for b in self.layout.buffers.values()}
        buffers |= {b.name: b for b in self.layout.copies.values()}
        lines = [
            f'{b.name} = T.alloc_buffer(({b.size},), "{b.dtype}", scope="global"){_note(b)}'
            for b in buffers.values()
        ]
        for (_, size, dtype), name in self.tiles.scratch.items():
            lines.append(f'{name} = T.alloc_buffer(({size},), "{dtype}", scope="global")')
        for name, (size, dtype) in self.writer.kept.items():
            lines.append(f'{name} = T.alloc_buffer(({size},), "{dtype}", scope="global")')
        return lines

    # -- scalars --------------------------------------------------------------------------------
    def scalar(self, x: Operand, dtype: str) -> X:
        """A rank-0 operand."""
        if not isinstance(x, Var):
            return tx.const(x, dtype)
        if x in self.values:
            return self.values[x]
        if x in self.layout.buffers:
            buffer = self.layout.buffers[x]
            value = X(f"{buffer.name}[0]", buffer.dtype)
            return tx.infix("!=", value, ZERO) if x.dtype == "bool" else value
        return X(x.name, COMPUTE[x.dtype])

    def _scalar_let(self, let: Let) -> None:
        var = let.var
        if let.op == "program_id":
            value = self._program_id(let.attrs["axis"])
        elif let.op in REDUCE:
            value = print_scalar_reduction(self.tiles, let)
        else:
            value = self.elements.compute(let, (), self.writer.depth)
        if let.op == "load" or not (value.value is not None or self._inlined(let, value)):
            # Hashes reuse every step; see Writer.keep.
            bind = self.writer.keep if value.dtype == "uint32" else self.writer.bind
            value = bind(var.name, value)
        self.values[var] = value

    def _inlined(self, let: Let, value: X) -> bool:
        """Whether a scalar is printed in the only expression that reads it, or is a name."""
        if value.rank > 8 and value.text.isidentifier():
            return True
        uses, home = self.uses.infos[let.var].uses, self.uses.infos[let.var].loops
        if len(uses) != 1 or len(value.text) > 60 or let.op in ("program_id", *REDUCE):
            return False
        (use,) = uses
        return isinstance(use.stmt, Let) and not use.stmt.var.shape and use.loops == home

    def _program_id(self, axis: int) -> X:
        grid = self.kernel.grid
        single = [size.op == "int" and int(size.args[0]) == 1 for size in grid]
        if single[axis]:
            return ZERO
        value = X("pid", "int32")
        before = [tx.name(_GRID[i], "int32") for i in range(axis) if not single[i]]
        if before:
            product = before[0]
            for size in before[1:]:
                product = tx.mul(product, size)
            value = tx.call("truncdiv", value, product)
        if not all(single[axis + 1 :]):
            value = tx.call("truncmod", value, tx.name(_GRID[axis], "int32"))
        return value

    # -- statements -----------------------------------------------------------------------------
    def block(self, body: Sequence[Stmt]) -> None:
        """Print statements into the innermost open block."""
        for stmt in body:
            self._begin()
            if isinstance(stmt, Let):
                self._let(stmt)
            elif isinstance(stmt, Store):
                print_store(self.tiles, stmt)
            elif isinstance(stmt, AtomicAdd):
                print_atomic_add(self.tiles, stmt, self.kernel.name)
            elif isinstance(stmt, For):
                self._for(stmt)
            elif isinstance(stmt, If):
                self._if(stmt)
            else:
                raise TileError(f"the TVM printer does not know {type(stmt).__name__}")

    def _begin(self) -> None:
        """A statement begins: nothing is bound outside its block, no old value is reused."""
        self.elements.home = self.writer.depth
        self.writer.forget()

    def _let(self, let: Let) -> None:
        var = let.var
        if not var.shape:
            self._scalar_let(let)
            return
        if var not in self.layout.buffers:
            return
        buffer = self.layout.buffers[var]
        if let.op == "dot":
            print_dot(self.tiles, let)
        elif let.op in REDUCE:
            print_reduction(self.tiles, let)
        elif let.op == "cumsum":
            print_cumsum(self.tiles, let)
        elif let.op == "repeat":
            print_repeat(self.tiles, let)
        elif let.op == "sum_groups":
            print_sum_groups(self.tiles, let)
        elif let.op == "merge_top_k":
            print_merge_top_k(self.tiles, let)
        else:
            self.writer.line(f"# {buffer.name} = {let.op} {list(var.shape)}")
            self._fill(
                buffer,
                lambda at: self.elements.compute(let, at, self.writer.depth),
                lambda axis: self.layout.places.let_vectorises(let, axis),
                self.layout.made_along(let),
            )
        if var in self.layout.copies:
            self._begin()
            copy, dtype = self.layout.copies[var], COMPUTE[var.dtype]
            self.writer.line(f"# {copy.name} = {buffer.name}, transposed in memory")
            self._fill(
                copy,
                lambda at: self.elements.element(var, at, dtype),
                lambda axis: True,
                self.tiles.lane_axis(buffer),
            )

    def _fill(
        self,
        buffer: Buffer,
        value: Read,
        vectorises: Callable[[int], bool],
        along: int | None,
    ) -> None:
        """Assign a tile whose value is contiguous `along` an axis, its buffer maybe not."""
        lanes = self.tiles.lane_axis(buffer)
        across = lanes is not None and along == 1 - lanes and vectorises(along)
        if lanes is not None and across and block_width(buffer.shape, self.tiles.width):
            print_transposed(
                self.tiles,
                buffer.shape,
                lanes,
                buffer.dtype,
                value,
                lambda at, x: self.tiles.assign(buffer, at, x),
            )
            return
        if lanes is not None and not vectorises(lanes):
            lanes = None
        self.tiles.fill(buffer, value, lanes)

    # -- control flow ---------------------------------------------------------------------------
    def _for(self, stmt: For) -> None:
        for var, init in zip(stmt.carried, stmt.inits, strict=True):
            self._copy(var, init)
        start, stop = self.scalar(stmt.start, "int32"), self.scalar(stmt.stop, "int32")
        name = self.writer.fresh(stmt.index.name)
        bound: X | None = None
        if stmt.step == 1 and start.value == 0:
            header = f"for {name} in range({stop.text}):"
        else:
            # Loops count from 0: TVM's code generator fails on some other starts (seen in 0.27).
            count = tx.add(tx.sub(stop, start), tx.const(stmt.step - 1, "int32"))
            count = tx.floordiv(count, tx.const(stmt.step, "int32"))
            counter = self.writer.fresh(f"{name}_step")
            header = f"for {counter} in range({count.text}):"
            step = tx.mul(tx.name(counter, "int32"), tx.const(stmt.step, "int32"))
            bound = tx.add(start, step)
        with self.writer.block(header):
            if bound is not None:
                self.writer.line(f"{name}: T.let = {bound.text}")
            self.values[stmt.index] = X(name, "int32")
            self.block(stmt.body)
            pairs = list(zip(stmt.carried, stmt.yields, strict=True))
            # Scalars last: the tiles may still be computed from the old ones.
            for var, final in sorted(pairs, key=lambda pair: not pair[0].shape):
                if final is not var:
                    self._begin()
                    self._copy(var, final)

    def _copy(self, var: Var, x: Operand) -> None:
        """Assign the whole of a carried variable."""
        layout, dtype = self.layout, COMPUTE[var.dtype]
        buffer = layout.buffers[var]
        if not var.shape:
            self.tiles.assign(buffer, (), self.scalar(x, dtype))
            return
        assert isinstance(x, Var)
        if x in layout.buffers and layout.owner(x) is layout.owner(var):
            return
        self._fill(
            buffer,
            lambda at: self.elements.element(x, at, dtype),
            lambda axis: layout.places.vectorises(x, axis),
            layout.contiguous_axis(x),
        )

    def _if(self, stmt: If) -> None:
        condition = self.scalar(stmt.condition, "bool")
        if condition.value is not None:
            if condition.value:
                self.block(stmt.body)
            return
        with self.writer.block(f"if {condition.text}:"):
            self.block(stmt.body)


_POINTER_NAMES = (("p_", ""), ("n_", ""), ("", "_ptr"))


def _note(buffer: Buffer) -> str:
    if len(buffer.shape) != 2 or 1 in buffer.shape:
        return ""
    return f"  # {list(buffer.shape)}{', transposed' if buffer.order == COL else ''}"
