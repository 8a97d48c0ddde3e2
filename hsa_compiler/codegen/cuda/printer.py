"""Prints one kernel of a tile program as a TVMScript function for CUDA: one thread block a program.

Tiles live in registers, in the layouts that `assign` gives them; a loop over ``r`` is one over a
thread's registers. Prefixes carry meaning: ``p_`` tensors, ``i_`` program and loop indices, ``o_``
places of a thread's elements, ``b_`` tiles in registers, ``s_`` tiles in shared memory.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from hsa_compiler.codegen import tvm_text as tx
from hsa_compiler.codegen.cuda.assign import Assignment
from hsa_compiler.codegen.cuda.convert import convert, from_shared, to_shared
from hsa_compiler.codegen.cuda.dot import print_dot
from hsa_compiler.codegen.cuda.frame import GRID, function_text
from hsa_compiler.codegen.cuda.intrinsics import COMMIT, PACK, Intrinsic
from hsa_compiler.codegen.cuda.layout import Layout
from hsa_compiler.codegen.cuda.memory import (
    load_scalar,
    print_atomic_add,
    print_direct_load,
    print_load,
    print_store,
)
from hsa_compiler.codegen.cuda.pipeline import print_staged, staged
from hsa_compiler.codegen.cuda.reduce import print_cumsum, print_reduction
from hsa_compiler.codegen.cuda.shared import SharedBuffer
from hsa_compiler.codegen.cuda.tiles import STORED, Tiles, address, i32, narrow
from hsa_compiler.codegen.cuda.top_k import print_merge_top_k
from hsa_compiler.codegen.cuda.values import ELEMENTWISE, VIEWS, Values
from hsa_compiler.codegen.tvm_elements import operand_dtype
from hsa_compiler.codegen.tvm_text import COMPUTE, X
from hsa_compiler.codegen.tvm_writer import Writer
from hsa_compiler.errors import TileError
from hsa_compiler.schedules.hardware import has_warpgroup_products, of_arch
from hsa_compiler.schedules.problem import Target
from hsa_compiler.schedules.schedule import IllegalSchedule, Schedule
from hsa_compiler.tile.ir import (
    REDUCE,
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

_POINTER_NAMES = (("", "_ptr"), ("p_", ""), ("n_", ""))
_RESERVED = ("tid", "lane", "warp", "r", "u", "k", "m", "n", "shared", *GRID)
#: Operators in the text of a scalar with all that it is computed of, which TVM may copy into its
#: uses: a larger one is put into a buffer, from where nothing is copied.
_LARGEST_SCALAR = 24


def print_kernel(
    kernel: Kernel, schedule: Schedule, target: Target
) -> tuple[str, dict[str, Intrinsic]]:
    """The function of a kernel, indented as a method, and the intrinsics it calls.

    Raises `IllegalSchedule` where the kernel needs what this back end has not, or more shared
    memory than a program of the target may have.
    """
    shared_bytes = of_arch(target.arch).shared_per_block
    if kernel.descriptors:
        raise IllegalSchedule(
            "target", f"{kernel.name}: this back end reads no blocks; give descriptors='none'"
        )
    values = Values(kernel)
    warpgroups = has_warpgroup_products(target.arch)
    assignment = Assignment(kernel, values, schedule.warps, schedule.registers, warpgroups)
    first = Printer(kernel, assignment, None)
    first.body()
    places, size = first.tiles.shared.arrange()
    if size > shared_bytes:
        raise IllegalSchedule(
            "shared_memory",
            f"{kernel.name}: {size} bytes of shared memory a program; there are {shared_bytes}",
        )
    final = Printer(kernel, assignment, places)
    final.body()
    return function_text(kernel, final.tiles, places, size), final.tiles.intrinsics


class Printer:
    """Prints one kernel."""

    def __init__(
        self, kernel: Kernel, assignment: Assignment, places: Mapping[str, int] | None
    ) -> None:
        self.kernel, self.assignment, self.values = kernel, assignment, assignment.values
        taken = {*_RESERVED, *(scalar.name for scalar in kernel.scalars)}
        taken |= {f"{a}{p.name}{b}" for p in kernel.pointers for a, b in _POINTER_NAMES}
        self.writer = Writer(tuple(taken))
        self.tiles = Tiles(assignment, self.writer, places)
        self._sizes: dict[Var, int] = {}

    def body(self) -> None:
        """Print all statements."""
        self.block(self.kernel.body)

    # -- statements -----------------------------------------------------------------------------
    def block(self, body: Sequence[Stmt]) -> None:
        for stmt in body:
            self.statement(stmt)

    def statement(self, stmt: Stmt) -> None:
        if stmt in self.assignment.domains:
            for x, layout in self.assignment.reads(stmt):
                self.bring(x, layout)
            for var in self.assignment.products.factors(stmt):
                if self.values.is_carried(var):
                    self.share(var)
        if isinstance(stmt, Let):
            self.let(stmt)
        elif isinstance(stmt, Store):
            print_store(self.tiles, stmt, self.assignment.domains[stmt])
        elif isinstance(stmt, AtomicAdd):
            print_atomic_add(self.tiles, stmt, self.assignment.domains[stmt])
        elif isinstance(stmt, For):
            self.loop(stmt)
        elif isinstance(stmt, While):
            self.repeat(stmt)
        elif isinstance(stmt, If):
            self.tiles.arrive()
            with self.writer.block(f"if {self.tiles.scalar(stmt.condition, 'bool').text}:"):
                self.block(stmt.body)
            self.tiles.shared.unsure()
        elif isinstance(stmt, Barrier):
            self.tiles.shared.wait()
        else:
            raise TileError(f"the CUDA printer does not know {type(stmt).__name__}")

    def let(self, let: Let) -> None:
        var = let.var
        if not var.shape:
            self.scalar_let(let)
        elif var in self.values.inlined:
            return
        elif var in self.values.cloneable:
            for layout in self.assignment.layouts.get(var, ()):
                self.compute(let, layout)
            self.share(var)
        elif self.assignment.is_direct(let):
            self.direct_load(let)
        else:
            self.compute(let, self.assignment.domains[let])
            self.define(var)

    def compute(self, let: Let, domain: Layout) -> None:
        """A kept tile in the layout that its statement gives it."""
        tiles, op = self.tiles, let.op
        if op == "dot":
            print_dot(tiles, let, domain, self.accumulator(let, domain))
            return
        if op in REDUCE or op == "sum_groups":
            home = self.assignment.homes[let.var]
            print_reduction(tiles, let, domain, tiles.kept(let.var, home))
            return
        registers = tiles.kept(let.var, domain)
        if op == "load":
            print_load(tiles, let, domain, registers)
        elif op == "cumsum":
            print_cumsum(tiles, let, domain, registers)
        elif op == "merge_top_k":
            print_merge_top_k(tiles, let, domain, registers)
        elif op in ELEMENTWISE or op in VIEWS or op in ("arange", "full"):
            self.elementwise(let, domain, registers)
        else:
            raise TileError(f"the CUDA printer does not know the op {op!r}")

    def elementwise(self, let: Let, layout: Layout, registers: str) -> None:
        tiles, dtype = self.tiles, let.var.dtype
        if dtype in PACK and _narrows(let) and layout.registers > 1:
            # Two at a time, as they are converted.
            (source,) = let.args
            with tiles.unrolled(layout.registers // 2) as r:
                first = tx.mul(r, i32(2))
                places = [tx.add(first, i32(u)) for u in range(2)]
                pair = [tiles.element(source, layout, place, "float32") for place in places]
                tiles.run(PACK[dtype], address(registers, first), *pair)
            return
        with tiles.unrolled(layout.registers) as r:
            value = narrow(tx.cast(tiles.compute(let, layout, r), COMPUTE[dtype]), STORED[dtype])
            self.writer.line(f"{registers}[{r.text}] = {value.text}")

    def accumulator(self, let: Let, layout: Layout) -> str:
        """The registers of a product: those of what it is added to, where a loop carries that and
        nobody else reads it."""
        if len(let.args) > 2:
            acc = let.args[2]
            info = self.values.infos.get(acc) if isinstance(acc, Var) else None
            if (
                info is not None
                and isinstance(info.source, For)
                and self.values.reads_inside(info.var) == 1
            ):
                place = info.source.carried.index(info.var)
                if (
                    info.source.yields[place] is let.var
                    and self.assignment.homes[info.var] == layout
                    and len(self.values.infos[let.var].uses) == 1
                    and self.values.infos[let.var].body == info.body
                ):
                    self.tiles.buffers[let.var, layout] = self.tiles.kept(info.var, layout)
        return self.tiles.kept(let.var, layout)

    def define(self, var: Var) -> None:
        """Copy a tile that was just computed to where else it is read."""
        home, *others = self.assignment.layouts[var]
        for layout in others:
            convert(self.tiles, var, home, layout)
        self.share(var)

    def bring(self, x: Operand | None, layout: Layout) -> None:
        """Convert what loops carry to the layouts in which printing `x` reads it; others were
        converted when they were computed."""
        for var, wanted in self.assignment.demands(x, layout):
            if self.values.is_carried(var) and wanted != self.assignment.homes[var]:
                convert(self.tiles, var, self.assignment.homes[var], wanted)

    def share(self, var: Var) -> None:
        """Copy a tile to shared memory, if matrix products read it there."""
        if var in self.assignment.shared:
            tiles, layout = self.tiles, self.assignment.layouts[var][0]
            buffer = self.shared_buffer(var)
            to_shared(tiles, tiles.kept(var, layout), layout, buffer)

    def shared_buffer(self, var: Var) -> SharedBuffer:
        """A buffer for a tile that matrix products read."""
        tiles = self.tiles
        name = self.writer.fresh(f"s_{var.name.removeprefix('b_')}")
        swizzled = var in self.assignment.swizzled
        tiles.in_shared[var] = tiles.shared.buffer(name, var.shape, STORED[var.dtype], swizzled)
        return tiles.in_shared[var]

    def direct_load(self, let: Let) -> None:
        """A load that shared memory takes in."""
        tiles, var = self.tiles, let.var
        if var not in tiles.stage_rows:
            buffer = self.shared_buffer(var)
            if print_direct_load(tiles, let, self.assignment.domains[let], buffer):
                tiles.run(COMMIT)
                tiles.arriving = True
        row = tiles.stage_rows.get(var, i32(0))
        for layout in self.assignment.layouts[var]:
            registers = tiles.kept(var, layout)
            from_shared(tiles, registers, layout, tiles.in_shared[var], row)

    # -- loops ----------------------------------------------------------------------------------
    def loop(self, stmt: For) -> None:
        tiles = self.tiles
        self.begin(stmt)
        tiles.arrive()
        start, stop = (tiles.scalar(x, "int32") for x in (stmt.start, stmt.stop))
        if (
            start.value is not None
            and stop.value is not None
            and (0 < stop.value - start.value <= stmt.step)
        ):
            tiles.scalars[stmt.index] = start
            self.round(stmt)
            return
        plan = staged(self, stmt)
        if plan is not None:
            print_staged(self, stmt, plan)
            return
        since = tiles.shared.begin_loop()
        index = self.writer.fresh(stmt.index.name)
        tiles.scalars[stmt.index] = X(index, "int32")
        with self.writer.block(self.loop_header(stmt, index)):
            self.index_of(stmt, index, start)
            self.round(stmt)
        tiles.shared.end_loop(since)

    def loop_header(self, stmt: For, index: str) -> str:
        """``for i in range(...)``, counting rounds where steps are longer than 1."""
        start, stop = (self.tiles.scalar(x, "int32") for x in (stmt.start, stmt.stop))
        if stmt.step == 1:
            return f"for {index} in range({start.text}, {stop.text}):"
        rounds = tx.floordiv(tx.add(tx.sub(stop, start), i32(stmt.step - 1)), i32(stmt.step))
        return f"for {index}_round in range({rounds.text}):"

    def index_of(self, stmt: For, index: str, start: X) -> None:
        """The index in a round of a loop with longer steps."""
        if stmt.step != 1:
            value = tx.add(start, tx.mul(X(f"{index}_round", "int32"), i32(stmt.step)))
            self.writer.line(f"{index}: T.let = {value.text}")

    def repeat(self, stmt: While) -> None:
        self.begin(stmt)
        self.tiles.arrive()
        since = self.tiles.shared.begin_loop()
        with self.writer.block(f"while {self.tiles.scalars[stmt.carried[-1]].text}:"):
            self.round(stmt)
        self.tiles.shared.end_loop(since)

    def begin(self, stmt: For | While) -> None:
        """What a loop carries, as it is before the first round."""
        for var, init in zip(stmt.carried, stmt.inits, strict=True):
            if not var.shape:
                value = self.tiles.scalar(init, COMPUTE[var.dtype])
                name = self.tiles.allocate(var.name, 1, COMPUTE[var.dtype])
                self.tiles.scalars[var] = X(f"{name}[0]", COMPUTE[var.dtype])
                self.writer.line(f"{name}[0] = {tx.cast(value, COMPUTE[var.dtype]).text}")
            else:
                self.bring(init, self.assignment.homes[var])
                self.assign(var, init)

    def round(self, stmt: For | While) -> None:
        """One round: the body, and what the next one starts from."""
        self.block(stmt.body)
        self.advance(stmt)

    def advance(self, stmt: For | While) -> None:
        """What a loop carries, as it is after a round: all are evaluated before any changes."""
        tiles = self.tiles
        changed = [
            (var, value)
            for var, value in zip(stmt.carried, stmt.yields, strict=True)
            if value is not var
        ]
        for var, value in changed:
            if var.shape:
                self.bring(value, self.assignment.homes[var])
        alone = len(changed) == 1
        fresh = [None if alone else self.evaluated(var, value) for var, value in changed]
        for (var, value), name in zip(changed, fresh, strict=True):
            if not var.shape:
                found = tiles.scalar(value, COMPUTE[var.dtype]) if name is None else X(name, "")
                self.writer.line(f"{tiles.scalars[var].text} = {found.text}")
            elif name is None:
                self.assign(var, value)
            else:
                home = self.assignment.homes[var]
                to = tiles.kept(var, home)
                if name != to:
                    with tiles.unrolled(home.registers) as r:
                        self.writer.line(f"{to}[{r.text}] = {name}[{r.text}]")

    def evaluated(self, var: Var, value: Operand) -> str:
        """What a loop will carry next, in registers that do not change with what it carries."""
        tiles, dtype = self.tiles, COMPUTE[var.dtype]
        own = isinstance(value, Var) and self.values.let(value) is not None
        if not var.shape:
            found = tiles.scalar(value, dtype)
            if own or found.value is not None:
                return found.text
            name = tiles.allocate(f"{var.name}_next", 1, dtype)
            self.writer.line(f"{name}[0] = {found.text}")
            return f"{name}[0]"
        home = self.assignment.homes[var]
        assert isinstance(value, Var)
        if own and (value, home) in tiles.buffers:
            return tiles.buffers[value, home]
        name = tiles.allocate(f"{var.name}_next", home.registers, STORED[var.dtype])
        self.fill(name, value, home, var.dtype)
        return name

    def assign(self, var: Var, value: Operand) -> None:
        """Fill a carried tile."""
        home = self.assignment.homes[var]
        registers = self.tiles.kept(var, home)
        if isinstance(value, Var) and self.tiles.buffers.get((value, home)) == registers:
            return
        self.fill(registers, value, home, var.dtype)

    def fill(self, registers: str, value: Operand, layout: Layout, dtype: str) -> None:
        """Registers of a value in a layout."""
        with self.tiles.unrolled(layout.registers) as r:
            found = self.tiles.narrowed(value, layout, r, STORED[dtype])
            self.writer.line(f"{registers}[{r.text}] = {found.text}")

    # -- scalars --------------------------------------------------------------------------------
    def scalar_let(self, let: Let) -> None:
        """A scalar: bound to a name, or a variable where it is large or may change."""
        tiles, var, dtype = self.tiles, let.var, COMPUTE[let.var.dtype]
        if let.op in REDUCE:
            name = tiles.allocate(var.name, 1, dtype)
            print_reduction(tiles, let, self.assignment.domains[let], name)
            tiles.scalars[var] = X(f"{name}[0]", dtype)
            return
        if let.op == "program_id":
            value = X(f"pid_{let.attrs['axis']}", "int32")
        elif let.op == "load":
            value = load_scalar(tiles, let)
        elif let.op == "full":
            value = tx.const(let.attrs["value"], dtype)
        else:
            value = tx.cast(self.scalar_value(let), dtype)
        args = [arg for arg in let.args if isinstance(arg, Var)]
        size = 1 + sum(self._sizes.get(arg, 0) for arg in args)
        own = value.text.isidentifier() or value.value is not None
        if own and not any(self.values.is_carried(arg) for arg in args):
            tiles.scalars[var] = value
            self._sizes[var] = size
        elif size > _LARGEST_SCALAR:
            name = tiles.allocate(var.name, 1, dtype)
            self.writer.line(f"{name}[0] = {value.text}")
            tiles.scalars[var] = X(f"{name}[0]", dtype)
        else:
            self._sizes[var] = size if let.op != "load" else 0
            tiles.scalars[var] = self.writer.bind(var.name, value)

    def scalar_value(self, let: Let) -> X:
        """An element-wise op of scalars."""
        cast = let.op in ("cast", "bitcast")
        kind = COMPUTE[let.var.dtype] if cast else operand_dtype(let)
        return self.tiles.apply(let, [self.tiles.scalar(arg, kind) for arg in let.args])


def _narrows(let: Let) -> bool:
    """Whether it rounds fp32 numbers."""
    source = let.args[0] if let.args else None
    return let.op == "cast" and isinstance(source, Var) and source.dtype == "fp32"
