"""Which tiles of a kernel lie in memory, and which are recomputed where they are read.

Offsets, masks and cheap arithmetic stay expressions, so that loads become vector loads at linear
addresses. A tile is stored when an element of it is expensive and read more than once, when a
matrix product needs it in another layout, or when it outlives the statement it came from.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from hsa_compiler.codegen.tvm_index import Linearizer
from hsa_compiler.codegen.tvm_prepare import written_pointers
from hsa_compiler.codegen.tvm_text import X, name
from hsa_compiler.codegen.tvm_uses import VIEWS, WHOLE, Uses
from hsa_compiler.tile.ir import AtomicAdd, For, Let, Operand, Stmt, Store, Var

_FREE = frozenset(("arange", "full", "program_id", "expand", "trans", "broadcast"))
_COSTS = {"load": 2, "div": 4, "floordiv": 3, "mod": 3, "exp2": 8, "log2": 14}
_LIMIT = 1000


@dataclass(frozen=True)
class Sink:
    """A statement that evaluates a tile; `ratio`: how often each of its elements is needed."""

    stmt: Stmt
    ratio: float
    loops: tuple[For, ...]


class Places:
    """`stored`: the tiles that lie in memory. The rest is printed where it is used."""

    def __init__(self, uses: Uses, body: tuple[Stmt, ...], lanes: Mapping[Let, str]) -> None:
        self.uses, self.lanes = uses, lanes
        self.written = written_pointers(body)
        self.stored: set[Var] = set()
        self.linear = Linearizer(uses, _placeholder, lambda var: var in self.stored)
        self._axes: dict[Var, frozenset[int]] = {}
        self._whole_tiles()
        self._expensive_tiles()
        self._axes.clear()
        self._awkward_sums()

    # -- what differs along an axis -------------------------------------------------------------
    def axes(self, x: Operand) -> frozenset[int]:
        """The axes along which an operand's elements differ."""
        if not isinstance(x, Var):
            return frozenset()
        if x not in self._axes:
            self._axes[x] = self._find_axes(x) & {i for i, n in enumerate(x.shape) if n > 1}
        return self._axes[x]

    def _find_axes(self, x: Var) -> frozenset[int]:
        let = self.uses.let(x)
        if let is None or x in self.stored:
            return frozenset(range(len(x.shape)))
        if let.op == "arange":
            return frozenset((0,))
        inner = [self.axes(arg) for arg in let.args]
        if let.op == "trans":
            return frozenset(1 - a for a in inner[0])
        if let.op == "expand":
            return frozenset(1 - let.attrs["axis"] for _ in inner[0])
        return frozenset().union(*inner)

    def vectorises(self, x: Operand, axis: int) -> bool:
        """Whether neighbours along `axis` can be evaluated as one vector."""
        if not isinstance(x, Var) or not x.shape or x.shape[axis] == 1 or x in self.stored:
            return True
        let = self.uses.let(x)
        return let is None or self.let_vectorises(let, axis)

    def let_vectorises(self, let: Let, axis: int) -> bool:
        """The same for what a stored tile is computed from."""
        if let.op == "trans":
            return self.vectorises(let.args[0], 1 - axis)
        if let.op == "expand":
            return self.vectorises(let.args[0], 0)
        if let.op == "load" and let.args[1:] and axis in self.axes(let.args[1]):
            form = self.linear(let.args[0])
            if form.axes[axis].value != 1 or self.lane_terms(let.args[0], axis):
                return False
        return all(self.vectorises(arg, axis) for arg in let.args)

    def lane_terms(self, x: Operand, axis: int) -> bool:
        """Whether an offset's part that is not linear differs along `axis`."""
        for term in self.linear(x).terms:
            inner = [i for i, a in enumerate(term.axes) if a == axis]
            if any(i in self.axes(term.tile) for i in inner):
                return True
        return False

    # -- tiles that have to be stored -----------------------------------------------------------
    def _whole_tiles(self) -> None:
        for var, info in self.uses.infos.items():
            let = info.let
            if let is None:
                self.stored.add(var)
                continue
            if var.shape and (let.op in WHOLE or self._volatile(let)):
                self.stored.add(var)
            if let.op == "dot":
                for operand, axis in zip(let.args, vector_axes(self.lanes[let]), strict=False):
                    assert isinstance(operand, Var)
                    source, flipped = self.uses.base(operand)
                    if not self.direct(source, None if axis is None else axis ^ flipped):
                        self.stored.add(source)
            if let.op == "merge_top_k":
                self._store_operand(let.args[0])
        for loop in self.uses.ends:
            for value in loop.yields:
                self._store_operand(value)

    def _store_operand(self, x: Operand) -> None:
        if isinstance(x, Var) and x.shape:
            self.stored.add(x)

    def _volatile(self, let: Let) -> bool:
        """Whether a load could see another value if it ran later."""
        return let.op == "load" and let.attrs["pointer"].name in self.written

    def direct(self, var: Var, axis: int | None = None) -> bool:
        """Whether a matrix product may read this tile from its tensor: fp32, dense, unmasked, and
        contiguous along `axis` when that one lies in vector lanes."""
        let = self.uses.let(var)
        if var in self.stored or let is None or let.op != "load" or self._volatile(let):
            return False
        if var.dtype != "fp32" or len(let.args) != 1 or len(var.shape) != 2:
            return False
        offset = self.linear(let.args[0])
        return not offset.terms and (axis is None or offset.axes[axis].value == 1)

    def _awkward_sums(self) -> None:
        """Sums that a product starts from and that its lanes could not read as vectors."""
        for let, lanes in self.lanes.items():
            acc = let.args[2] if len(let.args) > 2 else None
            if isinstance(acc, Var) and not self.vectorises(acc, 0 if lanes == "m" else 1):
                self.stored.add(acc)
                self._axes.clear()

    # -- tiles that are better stored -----------------------------------------------------------
    def _expensive_tiles(self) -> None:
        """Later tiles first: once they are stored, what they are made of is read only once."""
        while True:
            costs = self.costs()
            sinks = self.sinks()
            for var, info in reversed(self.uses.infos.items()):
                if var in self.stored or not var.shape or costs[var] == 0:
                    continue
                if info.let is not None and self._better_stored(info.let, costs, sinks):
                    self.stored.add(var)
                    break
            else:
                return

    def _better_stored(
        self, let: Let, costs: dict[Var, int], sinks: dict[Var, dict[Stmt, Sink]]
    ) -> bool:
        var, cost = let.var, costs[let.var]
        home = self.uses.infos[var].loops
        own = list(sinks[var].values())
        if all(isinstance(s.stmt, Let) and s.stmt.op == "dot" for s in own) and self.direct(var):
            return False
        if let.op in VIEWS or cost < 2:
            return let.op not in VIEWS and len(own) > 3
        return len(own) > 1 or any(s.ratio > 1 or s.loops != home for s in own)

    def costs(self) -> dict[Var, int]:
        """What one element costs, in about the time of an addition; stored tiles are free."""
        costs: dict[Var, int] = {}
        for var, info in self.uses.infos.items():
            let = info.let
            if let is None or var in self.stored or not var.shape:
                costs[var] = 0
                continue
            below = sum(costs.get(arg, 0) for arg in let.args if isinstance(arg, Var))
            costs[var] = min(_LIMIT, below + self._own_cost(let))
        return costs

    def _own_cost(self, let: Let) -> int:
        if let.op in _FREE or let.op == "cast":
            return 0
        if let.op in ("add", "sub", "mul") and let.var.dtype in ("i32", "i64"):
            return 1 if self.linear(let.var).terms and let.op == "mul" else 0
        return _COSTS.get(let.op, 1)

    def sinks(self) -> dict[Var, dict[Stmt, Sink]]:
        """The statements that really evaluate each tile, through the tiles that do not store."""
        result: dict[Var, dict[Stmt, Sink]] = {var: {} for var in self.uses.infos}
        for var, info in reversed(self.uses.infos.items()):
            for use in info.uses:
                stmt = use.stmt
                if isinstance(stmt, Let) and stmt.var.shape and stmt.var not in self.stored:
                    for sink in result[stmt.var].values():
                        ratio = sink.ratio * stmt.var.size / max(var.size, 1)
                        _add(result[var], Sink(sink.stmt, ratio, sink.loops))
                else:
                    _add(result[var], Sink(stmt, _ratio(stmt, var), use.loops))
        return result


def dot_lanes(let: Let, uses: Uses, prefer: str) -> str:
    """Which axis of ``a[M, K] b[K, N]`` lies in vector lanes: ``"m"``, ``"n"`` or ``"k"``.

    `prefer` is the schedule's ``lanes``: ``"rows"`` puts M there, if it fills half a vector. A sum
    over rows (``a`` is a transposed tile) always has its lanes along N; few rows times keys that
    lie along K have them along K, where nothing has to be transposed.
    """
    a, b = let.args[:2]
    assert isinstance(a, Var)
    assert isinstance(b, Var)
    (rows, depth), cols = a.shape, b.shape[1]
    _, a_flipped = uses.base(a)
    _, b_flipped = uses.base(b)
    if rows <= 4 and b_flipped and depth % 8 == 0:
        return "k"
    fills = rows % 8 == 0 or (rows > 16 and rows % 4 == 0)
    if prefer == "rows" and fills and not a_flipped:
        return "m"
    if cols % 4 == 0:
        return "n"
    if rows % 4 == 0:
        return "m"
    return "k" if depth % 4 == 0 else "n"


def vector_axes(lanes: str) -> tuple[int | None, int | None]:
    """The axes of a and b that lie in vector lanes; None: read one element at a time."""
    return {"m": (0, None), "n": (None, 1), "k": (1, 0)}[lanes]


def _add(sinks: dict[Stmt, Sink], sink: Sink) -> None:
    old = sinks.get(sink.stmt)
    if old is None or old.ratio < sink.ratio:
        sinks[sink.stmt] = sink


def _ratio(stmt: Stmt, var: Var) -> float:
    """How many times a statement reads each element of one of its operands."""
    size = var.size
    if isinstance(stmt, Store | AtomicAdd):
        size = max(stmt.offset.size, stmt.value.size if isinstance(stmt.value, Var) else 1)
    elif isinstance(stmt, Let) and stmt.op == "merge_top_k":
        size = var.size
    elif isinstance(stmt, Let) and stmt.op not in WHOLE:
        size = max(stmt.var.size, var.size)
    return size / max(var.size, 1)


def _placeholder(x: Operand, dtype: str) -> X:
    return name(x.name if isinstance(x, Var) else str(x), dtype)
