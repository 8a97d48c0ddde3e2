"""Prints one kernel of a tile program as a TVMScript function for a CPU.

Programs are dealt out to threads in turn, which balances causal work; every thread has its own
tile buffers. Tiles become loops over vectors of neighbouring elements along the axis that their
buffer keeps contiguous.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from hsa_compiler.codegen import tvm_text as tx
from hsa_compiler.codegen.tvm_dot import print_dot
from hsa_compiler.codegen.tvm_elements import At, Elements
from hsa_compiler.codegen.tvm_index import ONE, ZERO
from hsa_compiler.codegen.tvm_layout import COL, Buffer, Layout
from hsa_compiler.codegen.tvm_math import to_storage
from hsa_compiler.codegen.tvm_prepare import prepare
from hsa_compiler.codegen.tvm_reduce import print_cumsum, print_merge_top_k, print_reduction
from hsa_compiler.codegen.tvm_text import BYTES, COMPUTE, STORAGE, X
from hsa_compiler.codegen.tvm_uses import Uses
from hsa_compiler.codegen.tvm_writer import Writer
from hsa_compiler.errors import TileError
from hsa_compiler.schedules.schedule import IllegalSchedule
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
_RESERVED = ("m", "n", "k", "u", "x", "y", "j", "tid", "pid")
_GRID = ("grid_0", "grid_1", "grid_2")


class KernelPrinter:
    """`width` lanes per vector, `unroll` accumulators per matrix product, `threads` threads."""

    def __init__(
        self, kernel: Kernel, *, lanes: str, unroll: int, threads: int, width: int
    ) -> None:
        self.kernel, self.unroll, self.threads, self.width = kernel, unroll, threads, width
        self.body = prepare(kernel)
        self.uses = Uses(self.body)
        self.layout = Layout(self.uses, self.body, lanes)
        buffers = tuple(b.name for b in self.layout.buffers.values())
        parameters = [f"p_{p.name}" for p in kernel.pointers]
        parameters += [f"{p.name}_ptr" for p in kernel.pointers]
        parameters += [f"n_{p.name}" for p in kernel.pointers]
        parameters += [s.name for s in kernel.scalars]
        self.writer = Writer((*_RESERVED, *_GRID, *buffers, *parameters))
        self.values: dict[Var, X] = {}
        self.elements = Elements(self.layout, self.writer, self.scalar)
        self.scratch: dict[tuple[str, int, str], str] = {}

    # -- the function ---------------------------------------------------------------------------
    def text(self) -> str:
        """The whole function, indented as a method."""
        self.block(self.body)
        kernel, grid = self.kernel, _GRID[: len(self.kernel.grid)]
        params = [f"{p.name}_ptr: T.handle" for p in kernel.pointers]
        params += [f"{s.name}: T.int32" for s in kernel.scalars]
        params += [f"{g}: T.int32" for g in grid]
        lines = ["@T.prim_func", f"def {kernel.name}("]
        lines += [f"    {param}," for param in params]
        lines += ["):", f"    # grid: ({', '.join(map(str, kernel.grid))})"]
        lines += [f"    n_{p.name} = T.int64()" for p in kernel.pointers]
        for p in kernel.pointers:
            dtype = STORAGE[p.dtype]
            args = f'{p.name}_ptr, (n_{p.name},), "{dtype}", align={BYTES[dtype]}'
            lines.append(f"    p_{p.name} = T.match_buffer({args})")
        programs, threads = " * ".join(grid), self.threads
        lines.append(f"    for tid in T.parallel({threads}):")
        lines += [f"        {line}" for line in self._allocations()]
        lines.append(f"        for j in range(({programs} - tid + {threads - 1}) // {threads}):")
        lines.append(f"            pid: T.let = j * {threads} + tid")
        return "\n".join(f"    {line}" for line in lines) + "\n" + self.writer.text(4) + "\n"

    def _allocations(self) -> list[str]:
        seen: dict[str, Buffer] = {}
        notes: dict[str, str] = {}
        for var, buffer in self.layout.buffers.items():
            seen.setdefault(buffer.name, buffer)
            notes.setdefault(buffer.name, _note(var, buffer))
        for var, buffer in self.layout.copies.items():
            seen[buffer.name], notes[buffer.name] = buffer, _note(var, buffer)
        lines = [
            f'{b.name} = T.alloc_buffer(({b.size},), "{b.dtype}", scope="global"){notes[b.name]}'
            for b in seen.values()
        ]
        for (_, size, dtype), name in self.scratch.items():
            lines.append(f'{name} = T.alloc_buffer(({size},), "{dtype}", scope="global")')
        return lines

    def temporary(self, name: str, size: int, dtype: str) -> str:
        """A small scratch buffer, shared by all statements that ask for the same one."""
        key = (name, size, dtype)
        if key not in self.scratch:
            self.scratch[key] = self.writer.fresh(name)
        return self.scratch[key]

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
            print_reduction(self, let)
            return
        else:
            value = self.elements.compute(let, (), self.writer.depth)
        uses = self.uses.infos[var].uses
        simple = value.value is not None or value.rank > 8 and "(" not in value.text
        inline = len(uses) == 1 and len(value.text) < 60 and let.op not in ("load", "program_id")
        if inline:
            (use,) = uses
            home = self.uses.infos[var].loops
            inline = isinstance(use.stmt, Let) and not use.stmt.var.shape and use.loops == home
        moving = let.op == "load"
        self.values[var] = (
            value if (simple and not moving) or inline else self.writer.bind(var.name, value)
        )

    def _program_id(self, axis: int) -> X:
        sizes = self.kernel.grid
        if sizes[axis].op == "int" and int(sizes[axis].args[0]) == 1:
            return ZERO
        value = X("pid", "int32")
        sized = zip(_GRID[:axis], sizes, strict=False)
        before = [tx.name(grid, "int32") for grid, size in sized if str(size) != "1"]
        if before:
            product = before[0]
            for size in before[1:]:
                product = tx.mul(product, size)
            value = tx.floordiv(value, product)
        if any(str(s) != "1" for s in sizes[axis + 1 :]):
            value = tx.mod(value, tx.name(_GRID[axis], "int32"))
        return value

    # -- statements -----------------------------------------------------------------------------
    def block(self, body: Sequence[Stmt]) -> None:
        """Print statements into the innermost open block."""
        for stmt in body:
            self.elements.home = self.writer.depth
            self.writer.forget()
            if isinstance(stmt, Let):
                self._let(stmt)
            elif isinstance(stmt, Store):
                self._store(stmt)
            elif isinstance(stmt, AtomicAdd):
                self._atomic_add(stmt)
            elif isinstance(stmt, For):
                self._for(stmt)
            elif isinstance(stmt, If):
                self._if(stmt)
            else:
                raise TileError(f"the TVM printer does not know {type(stmt).__name__}")

    def _let(self, let: Let) -> None:
        var = let.var
        if not var.shape:
            self._scalar_let(let)
            return
        if var not in self.layout.buffers:
            return
        if let.op == "dot":
            print_dot(self, let)
        elif let.op in REDUCE:
            print_reduction(self, let)
        elif let.op == "cumsum":
            print_cumsum(self, let)
        elif let.op == "merge_top_k":
            print_merge_top_k(self, let)
        else:
            compute = self.elements.compute
            lanes = self.lane_axis(self.layout.buffers[var])
            if lanes is not None and not self.elements.let_vectorises(let, lanes):
                lanes = None
            self.fill(
                self.layout.buffers[var],
                lambda at: compute(let, at, self.writer.depth),
                lanes,
                let.op + " " + shape_text(var.shape),
            )
        if var in self.layout.copies:
            copy = self.layout.copies[var]
            read = self.elements.element
            dtype = COMPUTE[var.dtype]
            self.fill(copy, lambda at: read(var, at, dtype), self.lane_axis(copy), "transposed")

    @staticmethod
    def lane_axis(buffer: Buffer) -> int | None:
        """The axis along which a buffer's neighbours lie."""
        if not buffer.shape:
            return None
        axis = 0 if buffer.order == COL or len(buffer.shape) == 1 else 1
        return 1 - axis if len(buffer.shape) == 2 and buffer.shape[axis] == 1 else axis

    def fill(
        self,
        buffer: Buffer,
        value: Callable[[tuple[At, ...]], X],
        lanes: int | None,
        note: str = "",
    ) -> None:
        """Assign every element of a tile."""
        if note:
            self.writer.line(f"# {buffer.name} = {note}")

        def assign(at: tuple[At, ...]) -> None:
            self.assign(buffer, at, value(at))

        self.over(buffer.shape, lanes, assign)

    def assign(self, buffer: Buffer, at: tuple[At, ...], value: X) -> None:
        """Assign one element or vector."""
        index = self.elements.place(buffer, at)
        value = tx.broadcast(tx.cast(value, buffer.dtype), index.expression.lanes)
        self.writer.line(f"{buffer.name}[{index.expression.text}] = {value.text}")

    def over(
        self,
        shape: tuple[int, ...],
        lanes: int | None,
        body: Callable[[tuple[At, ...]], None],
        names: tuple[str, str] = ("m", "n"),
    ) -> None:
        """Print `body` for every place of a tile, `lanes` being the axis of vectors."""
        home = self.writer.depth

        def walk(at: tuple[At, ...]) -> None:
            axis = len(at)
            if axis == len(shape):
                body(at)
                return
            for start, count, width in self.pieces(shape[axis], axis == lanes):
                if count == 1:
                    walk((*at, At(tx.const(start, "int32"), width, home)))
                    continue
                with self.writer.block(f"for {names[axis]} in range({count}):") as depth:
                    step = tx.mul(tx.name(names[axis], "int32"), tx.const(width, "int32"))
                    base = tx.add(step, tx.const(start, "int32"))
                    walk((*at, At(base, width, depth)))

        walk(())

    def pieces(self, size: int, vector: bool) -> list[tuple[int, int, int]]:
        """(start, count, lanes): an axis as vectors of full width and shorter ones at its end."""
        if not vector:
            return [(0, size, 1)] if size else []
        result = []
        if size >= self.width:
            result.append((0, size // self.width, self.width))
        rest = size % self.width
        if rest:
            lanes = rest & -rest
            result.append((size - rest, rest // lanes, lanes))
        return result

    # -- effects --------------------------------------------------------------------------------
    def _store(self, stmt: Store) -> None:
        def write(at: tuple[At, ...]) -> None:
            index = self.elements.index(stmt.offset, self._own(stmt.offset, at))
            value = self._value(stmt, at)
            where = index.expression
            condition, mask = self.elements.masks(stmt.mask, self._own(stmt.mask, at))
            lanes = max(where.lanes, 1 if mask is None else mask.lanes)

            def line() -> None:
                raw = to_storage(self.writer, tx.broadcast(value, lanes), stmt.pointer.dtype)
                target = f"p_{stmt.pointer.name}"
                if mask is None:
                    self.writer.line(f"{target}[{where.text}] = {raw.text}")
                else:
                    args = f"{target}, {raw.text}, {where.text}, {mask.text}"
                    self.writer.line(f"T.masked_store({args})")

            self._when(condition, line)

        shape, lanes = self._domain(stmt, masked_lanes=True)
        self.over(shape, lanes, write)

    def _atomic_add(self, stmt: AtomicAdd) -> None:
        if not stmt.exclusive:
            raise IllegalSchedule(
                "target",
                f"{self.kernel.name} adds into {stmt.pointer.name} from several programs at "
                "once; CPU kernels have no atomics, use a schedule with combine=none",
            )

        def add(at: tuple[At, ...]) -> None:
            where = self.elements.index(stmt.offset, self._own(stmt.offset, at)).expression
            value = self._value(stmt, at)
            condition, _ = self.elements.masks(stmt.mask, self._own(stmt.mask, at))

            def line() -> None:
                raw = f"p_{stmt.pointer.name}[{where.text}]"
                old = X(raw, STORAGE[stmt.pointer.dtype], where.lanes)
                old = tx.halves_to_float(old, stmt.pointer.dtype)
                total = tx.add(old, tx.broadcast(value, where.lanes))
                new = to_storage(self.writer, total, stmt.pointer.dtype)
                self.writer.line(f"{raw} = {new.text}")

            self._when(condition, line)

        shape, lanes = self._domain(stmt, masked_lanes=False)
        self.over(shape, lanes, add)

    def _when(self, condition: X | None, line: Callable[[], None]) -> None:
        if condition is None:
            line()
        else:
            with self.writer.block(f"if {condition.text}:"):
                line()

    def _value(self, stmt: Store | AtomicAdd, at: tuple[At, ...]) -> X:
        value = stmt.value
        dtype = COMPUTE[stmt.pointer.dtype]
        place = self._own(value, at) if isinstance(value, Var) else ()
        return self.elements.element(value, place, dtype)

    @staticmethod
    def _own(x: Operand | None, at: tuple[At, ...]) -> tuple[At, ...]:
        """The place in an operand that broadcasts: scalars have none."""
        return at if isinstance(x, Var) and x.shape else ()

    def _domain(
        self, stmt: Store | AtomicAdd, masked_lanes: bool
    ) -> tuple[tuple[int, ...], int | None]:
        """The shape a write walks over, and the axis whose lanes are neighbours in memory."""
        elements, offset, value, mask = self.elements, stmt.offset, stmt.value, stmt.mask
        shape = offset.shape
        if isinstance(value, Var) and value.shape:
            shape = tuple(map(max, shape, value.shape)) if shape else value.shape
        form = elements.linear(offset)
        for axis in reversed(range(len(shape))):
            if shape[axis] == 1 or not form.axes or form.axes[axis].value != ONE.value:
                continue
            if elements.lane_terms(offset, axis):
                continue
            parts = (offset, value) if mask is None else (offset, value, mask)
            if not all(elements.vectorises(part, axis) for part in parts):
                continue
            if masked_lanes or mask is None or axis not in elements.axes(mask):
                return shape, axis
        return shape, None

    # -- control flow ---------------------------------------------------------------------------
    def _for(self, stmt: For) -> None:
        layout = self.layout
        for var, init in zip(stmt.carried, stmt.inits, strict=True):
            if not (isinstance(init, Var) and self._same_memory(init, var)):
                self._copy(var, init)
        start, stop = self.scalar(stmt.start, "int32"), self.scalar(stmt.stop, "int32")
        name = self.writer.fresh(stmt.index.name)
        index = X(name, "int32")
        if stmt.step == 1:
            bounds = stop.text if start.value == 0 else f"{start.text}, {stop.text}"
            header, bound = f"for {name} in range({bounds}):", None
        else:
            count = tx.add(tx.sub(stop, start), tx.const(stmt.step - 1, "int32"))
            count = tx.floordiv(count, tx.const(stmt.step, "int32"))
            counter = self.writer.fresh(f"{name}_step")
            header = f"for {counter} in range({count.text}):"
            step = tx.mul(tx.name(counter, "int32"), tx.const(stmt.step, "int32"))
            bound = tx.add(start, step)
        with self.writer.block(header):
            if bound is not None:
                self.writer.line(f"{name}: T.let = {bound.text}")
            self.values[stmt.index] = index
            self.block(stmt.body)
            self.elements.home = self.writer.depth
            self.writer.forget()
            for var, final in zip(stmt.carried, stmt.yields, strict=True):
                if var.shape and final is not var and not self._same_memory(final, var):
                    self._copy(var, final)
            for var, final in zip(stmt.carried, stmt.yields, strict=True):
                if not var.shape and final is not var:
                    self.assign(layout.buffers[var], (), self.scalar(final, COMPUTE[var.dtype]))

    def _same_memory(self, x: Operand, var: Var) -> bool:
        layout = self.layout
        stored = isinstance(x, Var) and x in layout.buffers
        return stored and bool(var.shape) and layout.owner(x) is layout.owner(var)  # type: ignore[arg-type]

    def _copy(self, var: Var, x: Operand) -> None:
        """Assign the whole of a carried variable."""
        buffer, dtype = self.layout.buffers[var], COMPUTE[var.dtype]
        if not var.shape:
            self.assign(buffer, (), self.scalar(x, dtype))
            return
        lanes = self.lane_axis(buffer)
        if lanes is not None and not self.elements.vectorises(x, lanes):
            lanes = None
        self.fill(buffer, lambda at: self.elements.element(x, at, dtype), lanes)

    def _if(self, stmt: If) -> None:
        condition = self.scalar(stmt.condition, "bool")
        if condition.value is not None:
            if condition.value:
                self.block(stmt.body)
            return
        with self.writer.block(f"if {condition.text}:"):
            self.block(stmt.body)


def shape_text(shape: tuple[int, ...]) -> str:
    """``[16, 64]``."""
    return f"[{', '.join(map(str, shape))}]"


def _note(var: Var, buffer: Buffer) -> str:
    if len(buffer.shape) != 2 or 1 in buffer.shape:
        return ""
    return f"  # {shape_text(var.shape)}{', transposed' if buffer.order == COL else ''}"
