"""Prints tile programs as Triton kernels, and loads them.

The printed file is a plain Python module: a person can open it, step through it under Triton's
interpreter and profile it. Prefixes carry meaning: ``p_`` pointers, ``t_`` tensor descriptors,
``i_`` program and loop indices, ``o_`` offsets, ``m_`` masks, ``b_`` blocks.
"""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

from hsa_compiler.errors import TileError
from hsa_compiler.schedules.problem import Target
from hsa_compiler.schedules.schedule import Schedule
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
    TileProgram,
    Var,
    While,
)

DTYPES = {
    "fp32": "tl.float32",
    "bf16": "tl.bfloat16",
    "fp16": "tl.float16",
    "i32": "tl.int32",
    "i64": "tl.int64",
    "u32": "tl.uint32",
    "bool": "tl.int1",
}
_INFIX = {
    "add": "+",
    "sub": "-",
    "mul": "*",
    "div": "/",
    "floordiv": "//",
    "mod": "%",
    "and": "&",
    "or": "|",
    "xor": "^",
    "shl": "<<",
    "shr": ">>",
    "eq": "==",
    "ne": "!=",
    "lt": "<",
    "le": "<=",
    "gt": ">",
    "ge": ">=",
}
_CALLS = {
    "exp2": "tl.exp2",
    "log2": "tl.log2",
    "abs": "tl.abs",
    "minimum": "tl.minimum",
    "maximum": "tl.maximum",
    "where": "tl.where",
    "trans": "tl.trans",
    "merge_top_k": "merge_top_k",
}

_MERGE_TOP_K = '''
@triton.jit
def merge_top_k(running, fresh):
    """The K largest of running [M, K] (descending) and fresh [M, N >= K], descending."""
    K: tl.constexpr = running.shape[1]
    if fresh.shape[1] > K:
        top = tl.topk(fresh, K)
    else:
        top = tl.sort(fresh, descending=True)
    # Paired with the other list reversed, the larger of each pair are the K largest of both.
    best = tl.maximum(running, tl.flip(top, 1))
    return tl.sort(best, descending=True)

'''


def generate(program: TileProgram, schedule: Schedule, target: Target) -> str:
    """The Triton module of a tile program: one ``@triton.jit`` function per launch."""
    interpret = target.arch == "interpret"
    overlapped = overlaps(program, target)
    kernels = [_Printer(kernel, interpret, overlapped).text() for kernel in program.kernels]
    needs_merge = any("merge_top_k(" in text for text in kernels)
    head = f'"""Generated for {target}; schedule: {schedule}."""\n\n'
    head += "import triton\nimport triton.language as tl\n"
    if any("libdevice." in text for text in kernels):
        head += "from triton.language.extra import libdevice\n"
    head += "\n"
    return head + (_MERGE_TOP_K if needs_merge else "") + "\n\n".join(["", *kernels]).lstrip("\n")


def overlaps(program: TileProgram, target: Target) -> bool:
    """Whether launches start before those before them have ended (programmatic dependent launch,
    from Hopper on): each lets the next begin at once and waits for the results before its own."""
    return program.overlapped and target.arch.startswith("sm_") and int(target.arch[3:]) >= 90


class _Printer:
    """Prints one kernel."""

    def __init__(self, kernel: Kernel, interpret: bool, overlapped: bool) -> None:
        self.kernel, self.interpret, self.overlapped = kernel, interpret, overlapped
        self.lines: list[str] = []

    def text(self) -> str:
        kernel = self.kernel
        names = [scalar.name for scalar in kernel.scalars]
        params = [f"p_{pointer.name}" for pointer in kernel.pointers]
        params += [*(f"t_{descriptor.name}" for descriptor in kernel.descriptors), *names]
        signature = textwrap.fill(", ".join(params), 92)
        body = textwrap.indent(signature, "    ")
        head = f"@triton.jit(do_not_specialize={names!r})\n"
        grid = ", ".join(map(str, kernel.grid))
        head += f"def {kernel.name}(\n{body},\n):\n    # grid: ({grid})\n"
        if self.overlapped:
            # The next launch may begin; it waits here, as this one does, for all that came before.
            self.line(1, "tl.extra.cuda.gdc_launch_dependents()")
            self.line(1, "tl.extra.cuda.gdc_wait()")
        self.block(kernel.body, 1)
        return head + "\n".join(self.lines) + "\n"

    def block(self, body: Sequence[Stmt], depth: int) -> None:
        if not body:
            self.line(depth, "pass")
        for stmt in body:
            self.statement(stmt, depth)

    def line(self, depth: int, text: str) -> None:
        self.lines.append("    " * depth + text)

    def statement(self, stmt: Stmt, depth: int) -> None:
        if isinstance(stmt, Let):
            shape = "" if len(stmt.var.shape) < 2 else f"  # {list(stmt.var.shape)}"
            self.line(depth, f"{stmt.var.name} = {self.expression(stmt)}{shape}")
        elif isinstance(stmt, Store):
            mask = "" if stmt.mask is None else f", mask={stmt.mask.name}"
            where = f"p_{stmt.pointer.name} + {stmt.offset.name}"
            self.line(depth, f"tl.store({where}, {self.operand(stmt.value)}{mask})")
        elif isinstance(stmt, AtomicAdd):
            mask = "" if stmt.mask is None else f", mask={stmt.mask.name}"
            where = f"p_{stmt.pointer.name} + {stmt.offset.name}"
            value = self.operand(stmt.value)
            self.line(depth, f'tl.atomic_add({where}, {value}{mask}, sem="relaxed")')
        elif isinstance(stmt, For):
            self.loop(stmt, depth)
        elif isinstance(stmt, While):
            # The condition comes last: Triton 3.7 fails to lay out loops whose results are fewer
            # than their inits otherwise.
            self.begin(stmt, depth)
            self.line(depth, f"while {stmt.carried[-1].name}:")
            self.rounds(stmt, depth + 1)
        elif isinstance(stmt, If):
            self.line(depth, f"if {stmt.condition.name}:")
            self.block(stmt.body, depth + 1)
        elif isinstance(stmt, Barrier):
            self.line(depth, "tl.debug_barrier()")
        else:
            raise TileError(f"the Triton printer does not know {type(stmt).__name__}")

    def loop(self, stmt: For, depth: int) -> None:
        self.begin(stmt, depth)
        start, stop = self.operand(stmt.start), self.operand(stmt.stop)
        if _runs_once(stmt):
            self.line(depth, f"{stmt.index.name} = {start}")
            inner = depth
        else:
            # Stated for every loop: an inner loop must not take up the kernel's own depth.
            bounds = f"{start}, {stop}, {stmt.step}, num_stages={stmt.stages}"
            self.line(depth, f"for {stmt.index.name} in tl.range({bounds}):")
            inner = depth + 1
        self.rounds(stmt, inner)
        if not stmt.body and not stmt.carried:
            self.line(inner, "pass")

    def begin(self, stmt: For | While, depth: int) -> None:
        for var, init in zip(stmt.carried, stmt.inits, strict=True):
            self.line(depth, f"{var.name} = {self.operand(init)}")

    def rounds(self, stmt: For | While, depth: int) -> None:
        for body_stmt in stmt.body:
            self.statement(body_stmt, depth)
        for var, value in zip(stmt.carried, stmt.yields, strict=True):
            if value is not var:
                self.line(depth, f"{var.name} = {self.operand(value)}")

    def operand(self, x: Operand) -> str:
        if isinstance(x, Var):
            return x.name
        if isinstance(x, float) and x in (float("inf"), float("-inf")):
            return f'float("{x}")'
        return repr(x)

    def expression(self, let: Let) -> str:
        args = [self.operand(arg) for arg in let.args]
        op, attrs = let.op, let.attrs
        if op in _INFIX:
            return f"{args[0]} {_INFIX[op]} {args[1]}"
        if op in _CALLS:
            return f"{_CALLS[op]}({', '.join(args)})"
        if op == "mul_rn":
            # The interpreter contracts nothing, and has no libdevice.
            return (
                f"{args[0]} * {args[1]}"
                if self.interpret
                else f"libdevice.mul_rn({', '.join(args)})"
            )
        if op == "load":
            extra = f", mask={args[1]}, other={self.operand(attrs['other'])}" if args[1:] else ""
            return f"tl.load(p_{attrs['pointer'].name} + {args[0]}{extra})"
        if op == "dot":
            return self.dot(let, args)
        if op in ("sum", "max", "min"):
            return f"tl.{op}({args[0]}, axis={attrs['axis']})"
        if op == "expand":
            return f"{args[0]}[None, :]" if attrs["axis"] == 0 else f"{args[0]}[:, None]"
        if op in ("cast", "bitcast"):
            bits = ", bitcast=True" if op == "bitcast" else ""
            return f"{args[0]}.to({DTYPES[attrs['dtype']]}{bits})"
        simple = {
            "neg": lambda: f"-{args[0]}",
            "program_id": lambda: f"tl.program_id({attrs['axis']})",
            "arange": lambda: f"tl.arange(0, {attrs['size']})",
            "full": lambda: self.full(let),
            "broadcast": lambda: f"tl.broadcast_to({args[0]}, {list(attrs['shape'])})",
            "cumsum": lambda: f"tl.cumsum({args[0]}, axis={attrs['axis']})",
            "load_block": lambda: self.load_block(let, args),
            "repeat": lambda: self.repeat(let, args[0]),
            "sum_groups": lambda: self.sum_groups(let, args[0]),
        }
        if op not in simple:
            raise TileError(f"the Triton printer does not know the op {op!r}")
        return simple[op]()

    def load_block(self, let: Let, start: list[str]) -> str:
        descriptor = let.attrs["descriptor"]
        block = f"t_{descriptor.name}.load([{', '.join(start)}])"
        if len(start) == 2:
            return block
        # Triton takes an operand that was reshaped from registers, not from shared memory.
        return f"tl.reshape({block}, {list(let.var.shape)})"

    def repeat(self, let: Let, x: str) -> str:
        (size,), times = let.var.shape, let.attrs["times"]
        pairs = f"tl.broadcast_to({x}[:, None], [{size // times}, {times}])"
        return f"tl.reshape({pairs}, [{size}])"

    def sum_groups(self, let: Let, x: str) -> str:
        (groups,), size = let.var.shape, let.attrs["size"]
        return f"tl.sum(tl.reshape({x}, [{groups}, {size}]), axis=1)"

    def full(self, let: Let) -> str:
        value = self.operand(let.attrs["value"])
        return f"tl.full({list(let.var.shape)}, {value}, {DTYPES[let.var.dtype]})"

    def dot(self, let: Let, args: list[str]) -> str:
        a, b = let.args[0], let.args[1]
        assert isinstance(a, Var) and isinstance(b, Var)
        precision = ', input_precision="ieee"' if a.dtype == "fp32" else ""
        if self.interpret and a.dtype == "bf16":
            # Triton's interpreter multiplies bf16 operands wrongly (seen in 3.6 to 3.9).
            args[:2] = [f"{arg}.to(tl.float32)" for arg in args[:2]]
        return f"tl.dot({', '.join(args)}{precision})"


def _runs_once(stmt: For) -> bool:
    start, stop = stmt.start, stmt.stop
    return isinstance(start, int) and isinstance(stop, int) and 0 < stop - start <= stmt.step
