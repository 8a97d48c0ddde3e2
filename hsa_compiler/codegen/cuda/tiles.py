"""What the printers of single ops share: registers, places of elements, calls of intrinsics."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from hsa_compiler.codegen import tvm_text as tx
from hsa_compiler.codegen.cuda.assign import Assignment, operand_layout
from hsa_compiler.codegen.cuda.intrinsics import (
    EXP2,
    MUL_RN,
    PROXY_FENCE,
    RECIPROCAL,
    SHUFFLE,
    WAIT,
    Intrinsic,
)
from hsa_compiler.codegen.cuda.layout import LANE_BITS, Layout
from hsa_compiler.codegen.cuda.shared import GROUP, PANEL, PIECE, SharedBuffer, SharedMemory
from hsa_compiler.codegen.tvm_elements import operand_dtype, pure
from hsa_compiler.codegen.tvm_text import COMPUTE, X
from hsa_compiler.codegen.tvm_writer import Writer
from hsa_compiler.errors import TileError
from hsa_compiler.tile.ir import Let, Operand, Var

#: Tile dtypes as registers and tensors hold them.
STORED = {**COMPUTE, "bf16": "bfloat16", "fp16": "float16"}
HALVES = {"bfloat16": "bf16", "float16": "fp16"}


ZERO = tx.const(0, "int32")


@dataclass(frozen=True)
class Register(X):
    """A register number: ``base << shift``, so that places need not be taken apart again."""

    base: X = ZERO
    shift: int = 0

    @classmethod
    def of(cls, base: X, count: int) -> X:
        """The first of the `base`-th group of `count` registers."""
        first = tx.mul(base, i32(count))
        if first.value is not None:
            return first
        return cls(first.text, "int32", 1, first.rank, None, base, count.bit_length() - 1)


def i32(value: int) -> X:
    """An index."""
    return tx.const(value, "int32")


class Tiles:
    """The state of one kernel's printing."""

    def __init__(
        self, assignment: Assignment, writer: Writer, places: Mapping[str, int] | None
    ) -> None:
        self.assignment, self.values, self.writer = assignment, assignment.values, writer
        self.warps = assignment.warps
        self.shared = SharedMemory(self._barrier, places)
        #: Register buffers: elements, dtype and a note, by name.
        self.registers: dict[str, tuple[int, str, str]] = {}
        #: The buffers of kept tiles by layout.
        self.buffers: dict[tuple[Var, Layout], str] = {}
        #: The copies of tiles that matrix products read.
        self.in_shared: dict[Var, SharedBuffer] = {}
        #: Stage of a pipelined buffer that holds the tile, as a row offset.
        self.stage_rows: dict[Var, X] = {}
        self.scalars: dict[Var, X] = {}
        self.intrinsics: dict[str, Intrinsic] = {}
        #: Whether copies to shared memory are on the way that nobody has waited for.
        self.arriving = False
        #: Whether buffers were written, since the threads last waited, that `wgmma` reads.
        self.unfenced = False
        self._places: dict[tuple[object, int], X] = {}
        self.head: list[str] = []

    def arrive(self) -> None:
        """Wait for this thread's copies to shared memory."""
        if self.arriving:
            self.run(WAIT, ZERO)
        self.arriving = False

    def _barrier(self) -> None:
        self.arrive()
        if self.unfenced:
            self.run(PROXY_FENCE)
        self.unfenced = False
        self.writer.line("T.cuda.cta_sync()")

    # -- registers ------------------------------------------------------------------------------
    def allocate(self, name: str, count: int, dtype: str, note: str = "") -> str:
        """A new register buffer."""
        name = self.writer.fresh(name)
        self.registers[name] = (count, dtype, note)
        return name

    def kept(self, var: Var, layout: Layout) -> str:
        """The register buffer of a kept tile in a layout, made when first asked for."""
        key = (var, layout)
        if key not in self.buffers:
            note = f"{var.dtype}{list(var.shape)}"
            self.buffers[key] = self.allocate(var.name, layout.registers, STORED[var.dtype], note)
        return self.buffers[key]

    @contextmanager
    def unrolled(self, count: int, name: str = "r") -> Iterator[X]:
        """A loop over registers; its variable, or 0 where there is one alone."""
        if count == 1:
            yield ZERO
            return
        with self.writer.block(f"for {name} in T.unroll({count}):"):
            yield X(name, "int32")

    # -- places ---------------------------------------------------------------------------------
    def place(self, layout: Layout, axis: int, r: X) -> X:
        """Where along an axis register `r` of this thread's elements is."""
        owners = {i: bit[1] for i, bit in enumerate(layout.threads) if bit and bit[0] == axis}
        key = (tuple(sorted(owners.items())), axis)
        if key not in self._places:
            found = _gather(X("tid", "int32"), owners, len(layout.threads))
            if found.value is None:
                name = self.writer.fresh(f"o_axis{axis}")
                self.head.append(f"{name}: T.let = {found.text}")
                found = X(name, "int32")
            self._places[key] = found
        mine = {i: bit[1] for i, bit in enumerate(layout.regs) if bit[0] == axis}
        return tx.add(self._places[key], _gather(r, mine, len(layout.regs)))

    def first_replica(self, layout: Layout) -> X | None:
        """The condition that no other thread with a lower number holds the same; None where all
        threads differ."""
        bits = layout.replicated
        if not bits:
            return None
        mask = sum(1 << i for i in bits)
        if mask == (1 << (LANE_BITS + len(layout.warps))) - 1:
            return X("tid == 0", "bool", rank=0)
        return X(f"tid & {mask} == 0", "bool", rank=0)

    @staticmethod
    def within(layout: Layout, r: X, shape: tuple[int, ...]) -> X:
        """The register of a tile that is broadcast along axes where `shape` is 1."""
        kept = [i for i, bit in enumerate(layout.regs) if shape[bit[0]] > 1]
        return gather(r, kept, layout)

    # -- values ---------------------------------------------------------------------------------
    def scalar(self, x: Operand, dtype: str) -> X:
        """A scalar operand; a number gets `dtype`."""
        if not isinstance(x, Var):
            return tx.const(x, dtype)
        return self.scalars.get(x) or X(x.name, COMPUTE[x.dtype])

    def element(self, x: Operand, layout: Layout, r: X, dtype: str = "") -> X:
        """The element of `x` that belongs to register `r` of a layout, in its compute dtype."""
        if not isinstance(x, Var) or not x.shape:
            return self.scalar(x, dtype)
        if x.shape != layout.shape:
            r, layout = self.within(layout, r, x.shape), layout.within(x.shape)
        if x not in self.values.inlined:
            return tx.cast(self.stored(x, layout, r), COMPUTE[x.dtype])
        let = self.values.let(x)
        assert let is not None
        return self.compute(let, layout, r)

    def stored(self, var: Var, layout: Layout, r: X) -> X:
        """A kept tile's element as it is stored."""
        name = self.buffers.get((var, layout))
        if name is None:
            raise TileError(f"{var.name} is not held in the layout {layout}")
        return X(f"{name}[{r.text}]", STORED[var.dtype])

    def compute(self, let: Let, layout: Layout, r: X) -> X:
        """An element of an element-wise op, a view, or a tile that needs no operands."""
        op, attrs, dtype = let.op, let.attrs, COMPUTE[let.var.dtype]
        if op == "full":
            return tx.const(attrs["value"], dtype)
        if op == "arange":
            return self.place(layout, 0, r)
        if op in ("expand", "trans", "broadcast"):
            (source,) = let.args
            inner = layout
            if isinstance(source, Var) and source.shape and op != "broadcast":
                inner = operand_layout(let, source, layout)
            return self.element(source, inner, r, dtype)
        if op == "repeat":
            (source,) = let.args
            assert isinstance(source, Var)
            inner = operand_layout(let, source, layout)
            low = attrs["times"].bit_length() - 1
            kept = [i for i, bit in enumerate(layout.regs) if bit[1] >= low]
            return self.element(source, inner, gather(r, kept, layout))
        kind = COMPUTE[let.var.dtype] if op in ("cast", "bitcast") else operand_dtype(let)
        return self.apply(let, [self.element(arg, layout, r, kind) for arg in let.args])

    def apply(self, let: Let, values: list[X]) -> X:
        """An element-wise op of evaluated operands."""
        if let.op == "exp2":
            return self.call(EXP2, *values)
        if let.op == "div" and values[0].value == 1 and let.var.dtype == "fp32":
            return self.call(RECIPROCAL, values[1])
        if let.op == "log2":
            return tx.call("log2", *values)
        if let.op == "mul_rn":
            return self.call(MUL_RN, *values)
        if let.op == "where":
            dtype = COMPUTE[let.var.dtype]
            values = [values[0], *(tx.cast(v, dtype) for v in values[1:])]
        elif let.op not in ("cast", "bitcast"):
            values = [tx.cast(v, operand_dtype(let)) for v in values]
        if let.op == "cast" and let.var.dtype in ("bf16", "fp16"):
            # Rounded, even where it is read in fp32 again.
            return tx.cast(tx.cast(values[0], STORED[let.var.dtype]), "float32")
        return pure(let, values)

    def narrowed(self, x: Operand, layout: Layout, r: X, dtype: str) -> X:
        """An element as it is stored in `dtype`, rounded once."""
        if isinstance(x, Var) and x.shape:
            if (
                x.shape == layout.shape
                and x not in self.values.inlined
                and (STORED[x.dtype] == dtype)
            ):
                return self.stored(x, layout, r)
            let = self.values.let(x)
            if (
                x in self.values.inlined
                and let is not None
                and (let.op == "cast" and STORED[x.dtype] == dtype)
            ):
                return self.narrowed(let.args[0], layout, r, dtype)
        wide = "float32" if dtype in HALVES else dtype
        return narrow(tx.cast(self.element(x, layout, r, wide), wide), dtype)

    # -- calls ----------------------------------------------------------------------------------
    def call(self, what: Intrinsic, *args: X) -> X:
        """A call of an intrinsic with a result."""
        returns = f', return_type="{what.returns}"' if what.returns != "void" else ""
        texts = "".join(f", {arg.text}" for arg in args)
        self.intrinsics[what.constant] = what
        text = f'T.cuda.func_call("{what.name}"{texts}, source_code={what.constant}{returns})'
        return X(text, what.returns)

    def write_shared(self, buffer: SharedBuffer) -> None:
        """Call before the threads write to a buffer."""
        self.shared.write(buffer)
        self.unfenced |= buffer.swizzled

    def run(self, what: Intrinsic, *args: X) -> None:
        """A call of an intrinsic as a statement."""
        self.writer.line(self.call(what, *args).text)

    def shuffle(self, x: X, mask: int) -> X:
        """The value of the lane whose number differs in the bits of `mask`."""
        if x.dtype == "bool":
            moved = self.call(SHUFFLE["int32"], tx.cast(x, "int32"), i32(mask))
            return tx.infix("!=", moved, ZERO)
        if x.dtype in ("bfloat16", "float16"):
            raise TileError("half precision is exchanged in fp32")
        return self.call(SHUFFLE[x.dtype], x, i32(mask))

    # -- scopes ---------------------------------------------------------------------------------
    @contextmanager
    def when(self, condition: X | None) -> Iterator[None]:
        """An ``if``, or nothing where there is no condition."""
        if condition is None or condition.value == 1:
            yield
            return
        with self.writer.block(f"if {condition.text}:"):
            yield

    def loop_over(self, layout: Layout, body: Callable[[X], None]) -> None:
        """`body` for every register of a layout."""
        with self.unrolled(layout.registers) as r:
            body(r)


def narrow(x: X, dtype: str) -> X:
    """An element of a compute dtype as it is stored."""
    return X(f'T.Cast("{dtype}", {x.text})', dtype) if dtype in HALVES else tx.cast(x, dtype)


def address(name: str, index: X) -> X:
    """A pointer to a buffer's element."""
    return X(f"T.address_of({name}[{index.text}])", "handle")


def element_place(buffer: SharedBuffer, row: X, column: X) -> X:
    """Where an element lies in a buffer; where that is swizzled, pieces of 8 stay neighbours."""
    if not buffer.swizzled:
        return tx.add(tx.mul(row, i32(buffer.pitch)), column)
    panel = tx.mul(tx.floordiv(column, i32(PANEL)), i32(buffer.rows * PANEL))
    flips = tx.mul(tx.mod(row, i32(GROUP)), i32(PIECE))
    column = tx.mod(column, i32(PANEL))
    if flips.value != 0:
        column = tx.infix("^", column, flips)
    return tx.add(tx.add(panel, tx.mul(row, i32(PANEL))), column)


def gather(r: X, positions: Sequence[int], layout: Layout) -> X:
    """The number whose bits are these bits of a layout's register number, lowest first."""
    return _gather(r, {i: n for n, i in enumerate(positions)}, len(layout.regs))


def _gather(x: X, moves: Mapping[int, int], bits: int) -> X:
    """The number in which bit ``moves[i]`` is bit i of `x`, a number of so many bits, and all
    others are 0."""
    if x.value is not None:
        return i32(sum((int(x.value) >> i & 1) << to for i, to in moves.items()))
    if isinstance(x, Register):
        shift = x.shift
        above = {i - shift: to for i, to in moves.items() if i >= shift}
        return _gather(x.base, above, bits - shift)
    result = ZERO
    left = sorted(moves)
    while left:
        start = left[0]
        length = 1
        while (
            length < len(left)
            and left[length] == start + length
            and moves[start + length] == moves[start] + length
        ):
            length += 1
        part = tx.floordiv(x, i32(1 << start))
        if start + length < bits:
            part = tx.mod(part, i32(1 << length))
        result = tx.add(result, tx.mul(part, i32(1 << moves[start])))
        left = left[length:]
    return result
