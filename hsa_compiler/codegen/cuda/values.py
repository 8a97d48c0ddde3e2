"""Which tiles are kept in registers, and which are printed where they are read.

Views and cheap arithmetic on numbers that every thread can compute are *inlined*: they have no
layout of their own, and are evaluated in that of whoever reads them. All other tiles are *kept*.
A kept tile that any thread can compute or load by itself is *cloneable*: instead of being moved
between threads it is computed once in every layout that it is read in.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from hsa_compiler.tile.ir import (
    ARITHMETIC,
    BITWISE,
    COMPARE,
    AtomicAdd,
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

ELEMENTWISE = frozenset(
    (*ARITHMETIC, *BITWISE, *COMPARE, "neg", "exp2", "log2", "abs", "cast", "bitcast", "where")
)
VIEWS = frozenset(("expand", "trans", "broadcast", "repeat"))
_SOURCES = frozenset(("arange", "full"))
#: Operators in one printed expression: TVM and nvcc slow down on larger ones.
_LARGEST = 40


@dataclass(frozen=True, eq=False)
class Use:
    """One read of a variable: operand `index` of `stmt`, or a loop's yield."""

    stmt: Stmt
    index: int
    body: int
    yielded: bool = False


@dataclass(eq=False)
class Info:
    """Where a variable comes from and who reads it; `body` numbers the block it is assigned in."""

    var: Var
    source: Let | For | While
    body: int
    uses: list[Use] = field(default_factory=list)

    @property
    def let(self) -> Let | None:
        """The statement that defines it, unless a loop does."""
        return self.source if isinstance(self.source, Let) else None


def operands(stmt: Stmt) -> tuple[Operand | None, ...]:
    """What a statement reads, yields apart."""
    if isinstance(stmt, Let):
        return stmt.args
    if isinstance(stmt, (Store, AtomicAdd)):
        return (stmt.offset, stmt.value, stmt.mask)
    if isinstance(stmt, For):
        return (stmt.start, stmt.stop, *stmt.inits)
    if isinstance(stmt, While):
        return stmt.inits
    return (stmt.condition,) if isinstance(stmt, If) else ()


def statements(body: Sequence[Stmt]) -> Iterator[Stmt]:
    """All statements in program order, a block's own after the one that holds it."""
    for stmt in body:
        yield stmt
        if isinstance(stmt, (For, While, If)):
            yield from statements(stmt.body)


class Values:
    """Facts about every variable of a kernel."""

    def __init__(self, kernel: Kernel) -> None:
        self.infos: dict[Var, Info] = {}
        self._bodies = 0
        #: The number of the last block inside each block.
        self.body_ends: dict[int, int] = {}
        self._walk(kernel.body)
        self.inlined: set[Var] = set()
        self.cloneable: set[Var] = set()
        self._free: set[Var] = set()
        self._sizes: dict[Var, int] = {}
        for info in self.infos.values():
            if info.let is not None and info.var.shape:
                self._classify(info.var, info.let)

    def let(self, x: Operand | None) -> Let | None:
        """The let that defines a variable; None for parameters and what loops carry."""
        info = self.infos.get(x) if isinstance(x, Var) else None
        return None if info is None else info.let

    def base(self, x: Operand) -> tuple[Var, bool]:
        """The tile that a chain of transpositions shows, and whether it is shown transposed."""
        flipped = False
        while True:
            let = self.let(x)
            if let is None or let.op != "trans":
                assert isinstance(x, Var)
                return x, flipped
            x, flipped = let.args[0], not flipped

    def leaves(self, x: Operand | None) -> Iterator[Var]:
        """The kept tiles that printing `x` reads."""
        if not isinstance(x, Var) or not x.shape:
            return
        if x not in self.inlined:
            yield x
            return
        let = self.let(x)
        assert let is not None
        for arg in let.args:
            yield from self.leaves(arg)

    def readers(self, var: Var) -> Iterator[Use]:
        """The reads of a variable, through views of it."""
        for use in self.infos[var].uses:
            if isinstance(use.stmt, Let) and use.stmt.op in VIEWS:
                yield from self.readers(use.stmt.var)
            else:
                yield use

    # -- internals ------------------------------------------------------------------------------
    def _walk(self, body: Sequence[Stmt]) -> None:
        number = self._bodies
        self._bodies += 1
        for stmt in body:
            for index, x in enumerate(operands(stmt)):
                self._read(x, Use(stmt, index, number))
            if isinstance(stmt, Let):
                self.infos[stmt.var] = Info(stmt.var, stmt, number)
            elif isinstance(stmt, (For, While)):
                inner = self._bodies
                names = (*stmt.carried, *((stmt.index,) if isinstance(stmt, For) else ()))
                for var in names:
                    self.infos[var] = Info(var, stmt, inner)
                self._walk(stmt.body)
                for index, x in enumerate(stmt.yields):
                    self._read(x, Use(stmt, index, inner, yielded=True))
            elif isinstance(stmt, If):
                self._walk(stmt.body)
        self.body_ends[number] = self._bodies - 1

    def reads_inside(self, var: Var) -> int:
        """How often a variable is read in its own block and those inside it."""
        info = self.infos[var]
        inside = range(info.body, self.body_ends[info.body] + 1)
        return sum(use.body in inside for use in info.uses)

    def is_carried(self, var: Var) -> bool:
        """Whether a loop carries it."""
        info = self.infos.get(var)
        return info is not None and info.let is None

    def _read(self, x: Operand | None, use: Use) -> None:
        if isinstance(x, Var) and x in self.infos:
            self.infos[x].uses.append(use)

    def _classify(self, var: Var, let: Let) -> None:
        tiles = [arg for arg in let.args if isinstance(arg, Var) and arg.shape]
        size = 1 + sum(self._sizes.get(arg, 0) for arg in tiles)
        pure = let.op in ELEMENTWISE or let.op in VIEWS or let.op in _SOURCES
        free = pure and all(arg in self._free for arg in tiles)
        small = size <= _LARGEST
        loads = let.op == "load" and len(var.shape) == 1
        if (pure or loads) and all(arg in self._free or arg in self.cloneable for arg in tiles):
            self.cloneable.add(var)
        if let.op in VIEWS or (
            pure and small and not self._multiplied(var) and (free or self._read_once(var))
        ):
            self.inlined.add(var)
            self._sizes[var] = size
            if free:
                self._free.add(var)

    def _multiplied(self, var: Var) -> bool:
        """Whether it is a factor of a matrix product."""
        return any(
            isinstance(use.stmt, Let) and use.stmt.op == "dot" and use.index < 2
            for use in self.readers(var)
        )

    def _read_once(self, var: Var) -> bool:
        """Whether one statement of the same block reads it, and every element of it once."""
        info = self.infos[var]
        if len(info.uses) != 1:
            return False
        uses = list(self.readers(var))
        if len(uses) != 1:
            return False
        (use,) = uses
        stmt = use.stmt
        if use.yielded or use.body != info.body or isinstance(stmt, (For, While, If)):
            return False
        if isinstance(stmt, Let):
            if stmt.op in ("dot", "merge_top_k"):
                return False
            domain = max([stmt.var.size, *(a.size for a in stmt.args if isinstance(a, Var))])
        else:
            assert isinstance(stmt, (Store, AtomicAdd))
            domain = stmt.offset.size
        return domain == var.size
