"""The tile IR: what one kernel does, with every choice of a schedule made.

    kernel  ::= Kernel(name, params, grid, body)
    param   ::= Pointer(name, dtype)              a flat, contiguous tensor
              | Descriptor(tensor, axes, block)   the same as an array [n, *axes], read in blocks
              | Scalar(name, Size)                an i32 known at launch, a function of the dims
    stmt    ::= Let(var, op, args, attrs)         var = op(args), assigned once
              | Store(pointer, offset, value, mask)
              | AtomicAdd(pointer, offset, value, mask, exclusive)
              | For(index, start, stop, step, carried, inits, body, yields)
              | While(condition, carried, inits, body, yields)
              | If(condition, body)               scalar condition, no results
              | Barrier()
    op      ::= program_id{axis} | arange{size} | full{value}
              | load(offset[, mask]){pointer, other}
              | load_block(i, ...){descriptor}    the block that starts there, 0 outside the tensor
              | neg exp2 log2 abs (x) | cast{dtype} | bitcast{dtype}
              | add sub mul mul_rn div floordiv mod minimum maximum and or xor shl shr (x, y)
              | eq ne lt le gt ge (x, y) | where(condition, x, y)
              | expand(x){axis} | trans(x) | broadcast(x){shape}
              | sum max min (x){axis} | cumsum(x){axis}
              | repeat(x){times}                  [N] -> [N * times], each element `times` in a row
              | sum_groups(x){size}               [N] -> [N / size], sums of neighbours
              | dot(a, b[, acc])                  a[M, K] b[K, N] -> fp32[M, N]
              | merge_top_k(running, fresh)       the largest of both, per row, descending
    value   ::= a tile of a dtype with 0, 1 or 2 axes of constant size; a scalar has none

A tile program is one launch: `grid` programs, each a straight walk over `body`. Element-wise ops
broadcast like NumPy between equal ranks, and scalars broadcast to anything. A `mul_rn` is a product
that is rounded by itself, never part of a multiply-add. A `For` carries
variables: `carried[i]` starts as `inits[i]`, is rebound to `yields[i]` after every step, and holds
the last value after the loop. A `While` does the same as long as its last carried variable, a
scalar bool, holds. Nothing here knows what attention is; neither does a printer.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from hsa_compiler.tile.builder import TileBuilder

FLOATS = ("fp16", "bf16", "fp32")

ARITHMETIC = ("add", "sub", "mul", "mul_rn", "div", "floordiv", "mod", "minimum", "maximum")
BITWISE = ("and", "or", "xor", "shl", "shr")
COMPARE = ("eq", "ne", "lt", "le", "gt", "ge")
REDUCE = ("sum", "max", "min")


@dataclass(frozen=True)
class Size:
    """An integer function of the dims, evaluated on the host: ``cdiv(L, 16) * B``.

    `op` is ``"dim"`` (args: the name), ``"int"`` (args: the value) or an operator on two sizes.
    """

    op: str
    args: tuple[Any, ...]

    @classmethod
    def of(cls, value: SizeLike) -> Size:
        """A dim name, an int or a size as a size."""
        if isinstance(value, Size):
            return value
        return cls("dim", (value,)) if isinstance(value, str) else cls("int", (int(value),))

    def _with(self, op: str, other: SizeLike) -> Size:
        return Size(op, (self, Size.of(other)))

    def __add__(self, other: SizeLike) -> Size:
        return self._with("+", other)

    def __sub__(self, other: SizeLike) -> Size:
        return self._with("-", other)

    def __mul__(self, other: SizeLike) -> Size:
        return self._with("*", other)

    def cdiv(self, other: SizeLike) -> Size:
        """The quotient rounded up."""
        return self if other == 1 else self._with("cdiv", other)

    def at_least(self, other: SizeLike) -> Size:
        """The larger of both."""
        return self._with("max", other)

    def at_most(self, other: SizeLike) -> Size:
        """The smaller of both."""
        return self._with("min", other)

    def bits(self) -> Size:
        """How many halvings bring this number to 0: the steps of a binary search over it."""
        return Size("bits", (self,))

    def evaluate(self, dims: Mapping[str, int]) -> int:
        """The number for these dims; a dim that is missing raises `KeyError`."""
        if self.op == "dim":
            return int(dims[self.args[0]])
        if self.op == "int":
            return int(self.args[0])
        values: list[int] = [arg.evaluate(dims) for arg in self.args]
        return _SIZE_OPS[self.op](*values)

    def __str__(self) -> str:
        if self.op in ("dim", "int"):
            return str(self.args[0])
        if self.op in ("+", "-", "*"):
            return f"({self.args[0]} {self.op} {self.args[1]})"
        return f"{self.op}({', '.join(map(str, self.args))})"


_SIZE_OPS: Mapping[str, Callable[..., int]] = {
    "+": lambda a, b: a + b,
    "-": lambda a, b: a - b,
    "*": lambda a, b: a * b,
    "cdiv": lambda a, b: -(-a // b),
    "max": max,
    "min": min,
    "bits": int.bit_length,
}
SizeLike: TypeAlias = Size | int | str


@dataclass(frozen=True)
class Pointer:
    """A flat, contiguous tensor parameter."""

    name: str
    dtype: str


@dataclass(frozen=True)
class Descriptor:
    """A contiguous tensor seen as an array ``[n, *axes]`` of as many rows as it holds, which a
    kernel reads in blocks, `block` elements along each axis. A block is a tile of two axes: all but
    the last, and the last. A back end may leave it to a copy engine.
    """

    tensor: Pointer
    axes: tuple[int, ...]
    block: tuple[int, ...]

    @property
    def name(self) -> str:
        """The tensor's name."""
        return self.tensor.name

    @property
    def tile(self) -> tuple[int, int]:
        """Rows and columns of a block."""
        return math.prod(self.block[:-1]), self.block[-1]


@dataclass(frozen=True)
class Scalar:
    """An i32 parameter whose value is computed from the dims at every launch."""

    name: str
    size: Size


@dataclass(frozen=True, eq=False)
class Var:
    """A tile or scalar, assigned once; compared by identity. `shape` holds constant sizes."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    builder: TileBuilder = field(repr=False)

    @property
    def size(self) -> int:
        """Number of elements."""
        return math.prod(self.shape)

    @property
    def is_float(self) -> bool:
        """Whether the elements are floating point."""
        return self.dtype in FLOATS

    # Arithmetic on variables appends statements to the kernel being built.
    def __add__(self, other: Operand) -> Var:
        return self.builder.binary("add", self, other)

    def __radd__(self, other: Operand) -> Var:
        return self.builder.binary("add", other, self)

    def __sub__(self, other: Operand) -> Var:
        return self.builder.binary("sub", self, other)

    def __rsub__(self, other: Operand) -> Var:
        return self.builder.binary("sub", other, self)

    def __mul__(self, other: Operand) -> Var:
        return self.builder.binary("mul", self, other)

    def __rmul__(self, other: Operand) -> Var:
        return self.builder.binary("mul", other, self)

    def __truediv__(self, other: Operand) -> Var:
        return self.builder.binary("div", self, other)

    def __rtruediv__(self, other: Operand) -> Var:
        return self.builder.binary("div", other, self)

    def __floordiv__(self, other: Operand) -> Var:
        return self.builder.binary("floordiv", self, other)

    def __mod__(self, other: Operand) -> Var:
        return self.builder.binary("mod", self, other)

    def __and__(self, other: Operand) -> Var:
        return self.builder.binary("and", self, other)

    def __or__(self, other: Operand) -> Var:
        return self.builder.binary("or", self, other)

    def __xor__(self, other: Operand) -> Var:
        return self.builder.binary("xor", self, other)

    def __lshift__(self, other: Operand) -> Var:
        return self.builder.binary("shl", self, other)

    def __rshift__(self, other: Operand) -> Var:
        return self.builder.binary("shr", self, other)

    def __lt__(self, other: Operand) -> Var:
        return self.builder.binary("lt", self, other)

    def __le__(self, other: Operand) -> Var:
        return self.builder.binary("le", self, other)

    def __gt__(self, other: Operand) -> Var:
        return self.builder.binary("gt", self, other)

    def __ge__(self, other: Operand) -> Var:
        return self.builder.binary("ge", self, other)

    def eq(self, other: Operand) -> Var:
        """Element-wise equality (``==`` compares identity)."""
        return self.builder.binary("eq", self, other)

    def __neg__(self) -> Var:
        return self.builder.unary("neg", self)

    def to(self, dtype: str) -> Var:
        """Converted to another dtype; itself when it has it already."""
        return self.builder.cast(self, dtype)

    @property
    def as_column(self) -> Var:
        """A [M] tile as [M, 1]."""
        return self.builder.expand(self, 1)

    @property
    def as_row(self) -> Var:
        """A [N] tile as [1, N]."""
        return self.builder.expand(self, 0)

    @property
    def t(self) -> Var:
        """The transposed [N, M] tile."""
        return self.builder.trans(self)


Operand: TypeAlias = Var | int | float


@dataclass(frozen=True, eq=False)
class Let:
    """``var = op(*args)``; `attrs` as the grammar gives them per op."""

    var: Var
    op: str
    args: tuple[Operand, ...]
    attrs: Mapping[str, Any]


@dataclass(frozen=True, eq=False)
class Store:
    """Write `value` at ``pointer + offset`` where `mask` holds; offset and value broadcast."""

    pointer: Pointer
    offset: Var
    value: Operand
    mask: Var | None


@dataclass(frozen=True, eq=False)
class AtomicAdd:
    """Add `value` at ``pointer + offset`` where `mask` holds.

    `exclusive`: no other program of the launch touches these addresses, so only the lanes of this
    program can collide; a back end without atomics may then add one element after the other.
    """

    pointer: Pointer
    offset: Var
    value: Operand
    mask: Var | None
    exclusive: bool


@dataclass(frozen=True, eq=False)
class For:
    """``for index in range(start, stop, step)`` with carried variables (see the module text).

    `stages` > 1 asks for software pipelining of the loads; 1 means none.
    """

    index: Var
    start: Operand
    stop: Operand
    step: int
    stages: int
    carried: tuple[Var, ...]
    inits: tuple[Operand, ...]
    body: tuple[Stmt, ...]
    yields: tuple[Operand, ...]


@dataclass(frozen=True, eq=False)
class While:
    """Repeat `body` while `carried[-1]`, a scalar bool, holds; it is asked before every round."""

    carried: tuple[Var, ...]
    inits: tuple[Operand, ...]
    body: tuple[Stmt, ...]
    yields: tuple[Operand, ...]


@dataclass(frozen=True, eq=False)
class If:
    """Run `body` where a scalar condition holds. Nothing assigned in it is visible outside."""

    condition: Var
    body: tuple[Stmt, ...]


@dataclass(frozen=True, eq=False)
class Barrier:
    """Stores of this program before it are visible to its loads after it."""


Stmt: TypeAlias = "Let | Store | AtomicAdd | For | While | If | Barrier"


@dataclass(frozen=True, eq=False)
class Kernel:
    """One launch: `grid` (up to three sizes, the first varies fastest) times `body`."""

    name: str
    pointers: tuple[Pointer, ...]
    scalars: tuple[Scalar, ...]
    grid: tuple[Size, ...]
    body: tuple[Stmt, ...]
    descriptors: tuple[Descriptor, ...] = ()


@dataclass(frozen=True)
class Workspace:
    """A temporary device buffer: `size` elements of `dtype`, zeroed before the launches or not."""

    name: str
    dtype: str
    size: Size
    zeroed: bool = False


@dataclass(frozen=True, eq=False)
class TileProgram:
    """All launches of one kernel group, in order.

    `bindings` maps a pointer's name to the program value it stands for; other pointers are
    workspaces. `zeroed` names program outputs that must be zero before the first launch;
    `accumulators` maps an output to the fp32 workspace that is converted into it after the last.
    `overlapped`: launches are short, so that each should be under way before the one before it has
    ended, and wait for its results itself; a target that cannot runs them one after the other.
    """

    kernels: tuple[Kernel, ...]
    bindings: Mapping[str, str]
    workspaces: tuple[Workspace, ...] = ()
    zeroed: tuple[str, ...] = ()
    accumulators: Mapping[str, str] = field(default_factory=dict)
    overlapped: bool = False
