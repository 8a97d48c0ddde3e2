"""Who reads what in a kernel, in what order, inside which loops."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import count

from hsa_compiler.codegen.tvm_prepare import operands
from hsa_compiler.tile.ir import For, If, Let, Stmt, Var

#: Ops that only rename the axes of their operand.
VIEWS = frozenset(("expand", "trans", "broadcast"))
#: Ops whose result has to lie in memory, because an element of it depends on many.
WHOLE = frozenset(("dot", "sum", "max", "min", "cumsum", "repeat", "sum_groups", "merge_top_k"))


@dataclass(frozen=True, eq=False)
class Use:
    """One read of a variable: operand number `index` of `stmt`, or a loop's yield."""

    stmt: Stmt
    index: int
    place: int
    loops: tuple[For, ...]
    yielded: bool = False


@dataclass(eq=False)
class Info:
    """Where a variable comes from: a `Let`, or a loop that carries it."""

    var: Var
    source: Let | For
    place: int
    loops: tuple[For, ...]
    uses: list[Use] = field(default_factory=list)

    @property
    def let(self) -> Let | None:
        """The statement that defines it, unless a loop does."""
        return self.source if isinstance(self.source, Let) else None


class Uses:
    """`infos` of all variables of a body, in program order; places number the statements, and a
    loop has a second place at its end, where its yields are read."""

    def __init__(self, body: Sequence[Stmt]) -> None:
        self.infos: dict[Var, Info] = {}
        self.ends: dict[For, int] = {}
        self._places = count()
        self._walk(body, ())

    def _walk(self, body: Sequence[Stmt], loops: tuple[For, ...]) -> None:
        for stmt in body:
            place = next(self._places)
            for index, x in enumerate(operands(stmt)):
                self._read(x, Use(stmt, index, place, loops))
            if isinstance(stmt, Let):
                self.infos[stmt.var] = Info(stmt.var, stmt, place, loops)
            elif isinstance(stmt, If):
                self._walk(stmt.body, loops)
            elif isinstance(stmt, For):
                inside = (*loops, stmt)
                self.infos[stmt.index] = Info(stmt.index, stmt, place, inside)
                for var in stmt.carried:
                    self.infos[var] = Info(var, stmt, place, inside)
                self._walk(stmt.body, inside)
                end = self.ends[stmt] = next(self._places)
                for index, x in enumerate(stmt.yields):
                    self._read(x, Use(stmt, index, end, inside, yielded=True))

    def _read(self, x: object, use: Use) -> None:
        if isinstance(x, Var) and x in self.infos:
            self.infos[x].uses.append(use)

    def let(self, var: Var) -> Let | None:
        """The let that defines a variable; None for scalar parameters and carried variables."""
        info = self.infos.get(var)
        return None if info is None else info.let

    def base(self, var: Var) -> tuple[Var, bool]:
        """What a chain of views shows, and whether it shows it transposed."""
        flipped = False
        let = self.let(var)
        while let is not None and let.op in VIEWS:
            flipped ^= let.op == "trans"
            (source,) = let.args
            if not isinstance(source, Var) or source.shape == ():
                break
            var, let = source, self.let(source)
        return var, flipped

    def in_order(self) -> list[For]:
        """All loops by where they begin."""
        starts = {
            info.source: info.place for info in self.infos.values() if isinstance(info.source, For)
        }
        return sorted(starts, key=lambda loop: starts[loop])
