"""Where stored tiles lie: which of them share memory, and which axis is contiguous."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from hsa_compiler.codegen.tvm_place import Places, dot_lanes, vector_axes
from hsa_compiler.codegen.tvm_text import COMPUTE
from hsa_compiler.codegen.tvm_uses import VIEWS, WHOLE, Info, Uses
from hsa_compiler.tile.ir import For, Let, Operand, Stmt, Var

ROW, COL = "row", "col"


@dataclass(frozen=True)
class Buffer:
    """A flat buffer that holds a tile; `order` names the contiguous axis of two: ``"row"`` means
    the last one, ``"col"`` the first."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    order: str

    @property
    def size(self) -> int:
        """Number of elements."""
        size = 1
        for n in self.shape:
            size *= n
        return size

    @property
    def strides(self) -> tuple[int, ...]:
        """Elements between neighbours along each axis; 0 along axes of one element."""
        if len(self.shape) == 2:
            rows, cols = self.shape
            pair = (cols, 1) if self.order == ROW else (1, rows)
            return tuple(0 if n == 1 else s for n, s in zip(self.shape, pair, strict=True))
        return tuple(0 if n == 1 else 1 for n in self.shape)


class Layout:
    """`buffers` of all stored tiles and carried scalars, `copies` of tiles that are also needed in
    the other order, and `lanes` of every dot. `taken`: names that buffers must not have."""

    def __init__(
        self, uses: Uses, body: tuple[Stmt, ...], prefer: str, taken: frozenset[str] = frozenset()
    ) -> None:
        self.uses, self.taken = uses, taken
        lets = [info.let for info in uses.infos.values() if info.let is not None]
        self.lanes = {let: dot_lanes(let, uses, prefer) for let in lets if let.op == "dot"}
        self.places = Places(uses, body, self.lanes)
        self._owner: dict[Var, Var] = {}
        self._share_memory()
        self._orders: dict[Var, str] = {}
        self.copies: dict[Var, Buffer] = {}
        self._fixed_orders()
        wanted = self._wanted_orders()
        for var in self.stored():
            self._orders.setdefault(self.owner(var), self.natural_order(var))
        self.buffers = {var: self._buffer(var) for var in self.stored()}
        for var, order in wanted:
            if self._orders[self.owner(var)] != order and uses.infos[var].let is not None:
                old = self.buffers[var]
                self.copies[var] = Buffer(f"{old.name}_t", old.dtype, old.shape, order)

    def stored(self) -> Iterator[Var]:
        """Stored tiles and carried scalars, in program order."""
        for var, info in self.uses.infos.items():
            if var in self.places.stored and not (info.let is None and self._is_index(info)):
                yield var

    @staticmethod
    def _is_index(info: Info) -> bool:
        return isinstance(info.source, For) and info.source.index is info.var

    def _buffer(self, var: Var) -> Buffer:
        owner = self.owner(var)
        dtype = COMPUTE[owner.dtype]
        # Vectors of bool have no memory form in TVM: they are stored as numbers.
        dtype = "int32" if dtype == "bool" else dtype
        # One letter is a loop variable of the printer, which would hide the buffer.
        name = owner.name if len(owner.name) > 1 else f"{owner.name}_tile"
        return Buffer(name, dtype, owner.shape or (1,), self._orders[owner])

    # -- sharing memory -------------------------------------------------------------------------
    def owner(self, var: Var) -> Var:
        """The variable whose memory a stored tile lies in."""
        while var in self._owner:
            var = self._owner[var]
        return var

    def _members(self, var: Var) -> list[Var]:
        owner = self.owner(var)
        return [v for v in self.places.stored if self.owner(v) is owner]

    def _join(self, var: Var, into: Var) -> None:
        """Let `var` lie in `into`'s memory, unless one loop carries both."""
        if self.owner(var) is self.owner(into):
            return
        carriers = [self.uses.infos[v].source for v in (*self._members(var), *self._members(into))]
        loops = [source for source in carriers if isinstance(source, For)]
        if len(set(loops)) == len(loops):
            self._owner[self.owner(var)] = self.owner(into)

    def _share_memory(self) -> None:
        """A loop's variable takes over the memory of a start value that nothing else reads, its
        next value is written over it, and element-wise results over operands that end there."""
        loops = self.uses.in_order()
        for loop in loops:
            for var, init in zip(loop.carried, loop.inits, strict=True):
                if var.shape and isinstance(init, Var) and self._dies_at(init, loop):
                    self._join(var, init)
        for loop in reversed(loops):
            for var, final in zip(loop.carried, loop.yields, strict=True):
                if var.shape and isinstance(final, Var) and self._in_place(final, var):
                    self._join(final, var)
        for var in list(self.stored()):
            let = self.uses.let(var)
            if let is None or not var.shape or len(self._members(var)) > 1:
                continue
            for old in self._stored_operands(let):
                if self._follows(let, old):
                    self._join(var, old)
                    break

    def evaluations(self, var: Var) -> Iterator[tuple[int, Stmt]]:
        """Places and statements that really read a variable, through tiles that do not store."""
        for use in self.uses.infos[var].uses:
            stmt = use.stmt
            if isinstance(stmt, Let) and stmt.var.shape and stmt.var not in self.places.stored:
                yield from self.evaluations(stmt.var)
            else:
                yield use.place, stmt

    def _dies_at(self, var: Var, stmt: Let | For) -> bool:
        """Whether `stmt` is the last to read a stored tile, each time the tile is made."""
        if var not in self.places.stored or not var.shape:
            return False
        info, place, loops = self.uses.infos[var], self._place(stmt), self._loops(stmt)
        reads = [at for at, _ in self.evaluations(var)]
        if isinstance(info.source, For):
            # The variable inside its loop and the one after it have different last readers.
            end = self.uses.ends[info.source]
            inside = loops == info.loops
            home = info.loops if inside else info.loops[:-1]
            reads = [at for at in reads if (at <= end) == inside]
        else:
            home = info.loops
        return loops == home and max(reads, default=-1) == place and reads.count(place) == 1

    def _place(self, stmt: Let | For) -> int:
        var = stmt.var if isinstance(stmt, Let) else stmt.index
        return self.uses.infos[var].place

    def _loops(self, stmt: Let | For) -> tuple[For, ...]:
        if isinstance(stmt, Let):
            return self.uses.infos[stmt.var].loops
        return self.uses.infos[stmt.index].loops[:-1]

    def _in_place(self, final: Var, carried: Var) -> bool:
        """Whether a loop's next value may be written over its present one: everything that lies
        in the present one's memory is read before, or element by element at that moment."""
        info, loop = self.uses.infos[final], self.uses.infos[carried].source
        assert isinstance(loop, For)
        home = info.loops if info.let is not None else info.loops[:-1]
        if home != self.uses.infos[carried].loops or loop.yields.count(final) != 1:
            return False
        present = self._members(carried)
        if final not in self.places.stored or final in present:
            return False
        start, end = self.uses.infos[carried].place, self.uses.ends[loop]
        written = min(self.uses.infos[var].place for var in self._members(final))
        for var in present:
            if self.uses.infos[var].place >= written:
                return False
            for place, stmt in self.evaluations(var):
                if place < written or not start < place <= end:
                    continue
                at_once = stmt is info.let and place == written
                if not at_once or not self._aligned(info.let, var):  # type: ignore[arg-type]
                    return False
        return True

    def _follows(self, let: Let, old: Var) -> bool:
        """Whether a new tile may take over the memory of one that it is the last to read."""
        same = (old.shape, COMPUTE[old.dtype]) == (let.var.shape, COMPUTE[let.var.dtype])
        if not (same and self._dies_at(old, let) and self._aligned(let, old)):
            return False
        here, members = self.uses.infos[let.var], self._members(old)
        last = max(place for place, _ in self.evaluations(let.var))
        for var in members:
            info = self.uses.infos[var]
            if info.place >= here.place:
                return False
            if isinstance(info.source, For) and info.source in here.loops:
                # The loop's variable gets its next value at the end: from elsewhere, and after
                # the new tile's last use.
                final = info.source.yields[info.source.carried.index(var)]
                if final in members or last >= self.uses.ends[info.source]:
                    return False
        return True

    def _aligned(self, let: Let, old: Var) -> bool:
        """Whether every element of a let reads at most the same element of `old`."""
        if let.op in ("dot", "merge_top_k"):
            kept = let.args[2:] if let.op == "dot" else let.args[:1]
            others = let.args[:2] if let.op == "dot" else let.args[1:]
            if any(self._reads(arg, old) for arg in others):
                return False
            return all(self._aligned_operand(arg, old, let.var.shape) for arg in kept)
        if let.op in WHOLE or let.op in VIEWS:
            return not any(self._reads(arg, old) for arg in let.args)
        return all(self._aligned_operand(arg, old, let.var.shape) for arg in let.args)

    def _aligned_operand(self, x: Operand, old: Var, shape: tuple[int, ...]) -> bool:
        if not isinstance(x, Var) or not x.shape:
            return True
        if x is old:
            return x.shape == shape
        let = self.uses.let(x)
        if x in self.places.stored or let is None:
            return True
        return not self._reads(x, old) or (x.shape == shape and self._aligned(let, old))

    def _reads(self, x: Operand, old: Var) -> bool:
        if not isinstance(x, Var) or not x.shape:
            return False
        let = self.uses.let(x)
        if x is old or x in self.places.stored or let is None:
            return x is old
        return any(self._reads(arg, old) for arg in let.args)

    def _stored_operands(self, let: Let) -> Iterator[Var]:
        for arg in let.args:
            if not isinstance(arg, Var) or not arg.shape:
                continue
            if arg in self.places.stored:
                yield arg
            else:
                inner = self.uses.let(arg)
                if inner is not None:
                    yield from self._stored_operands(inner)

    # -- contiguous axes ------------------------------------------------------------------------
    def _fixed_orders(self) -> None:
        for let, lanes in self.lanes.items():
            self._orders.setdefault(self.owner(let.var), COL if lanes == "m" else ROW)
        for var in self.stored():
            maker = self.uses.let(var)
            if maker is not None and maker.op == "merge_top_k":
                rows = var.shape[0]
                self._orders.setdefault(self.owner(var), COL if rows % 4 == 0 else ROW)

    def _wanted_orders(self) -> list[tuple[Var, str]]:
        """Tiles and the order in which a dot reads them as vectors; the first one decides."""
        wanted: list[tuple[Var, str]] = []
        for let, lanes in self.lanes.items():
            for operand, axis in zip(let.args, vector_axes(lanes), strict=False):
                assert isinstance(operand, Var)
                source, flipped = self.uses.base(operand)
                if axis is not None and source in self.places.stored:
                    order = COL if axis ^ flipped == 0 else ROW
                    wanted.append((source, order))
                    self._orders.setdefault(self.owner(source), order)
        return wanted

    def natural_order(self, var: Var) -> str:
        """The order most of what a tile is made of has; rows where nothing says otherwise."""
        if len(var.shape) != 2:
            return ROW
        votes = {ROW: 0, COL: 0}
        for let in self._makers(var):
            self._vote_let(let, votes)
        return COL if votes[COL] > votes[ROW] else ROW

    def made_along(self, let: Let) -> int | None:
        """The axis along which what an element-wise tile is made of is contiguous."""
        votes = {ROW: 0, COL: 0}
        if len(let.var.shape) == 2:
            self._vote_let(let, votes)
        if votes[ROW] == votes[COL]:
            return None
        return 0 if votes[COL] > votes[ROW] else 1

    def contiguous_axis(self, x: Operand) -> int | None:
        """The axis along which a tile, stored or not, is contiguous."""
        if not isinstance(x, Var) or len(x.shape) != 2:
            return None
        if x in self.places.stored:
            return 0 if self._orders[self.owner(x)] == COL else 1
        let = self.uses.let(x)
        return None if let is None else self.made_along(let)

    def _makers(self, var: Var) -> Iterator[Let]:
        """The lets whose results come to lie in a tile's memory."""
        for member in self._members(var) if var in self.places.stored else [var]:
            info = self.uses.infos[member]
            if info.let is not None:
                yield info.let
            elif isinstance(info.source, For):
                final = info.source.yields[info.source.carried.index(member)]
                let = self.uses.let(final) if isinstance(final, Var) else None
                if let is not None:
                    yield let

    def _vote_let(self, let: Let, votes: dict[str, int], flipped: bool = False) -> None:
        if let.op == "load":
            axes = self.places.linear(let.args[0]).axes
            if len(axes) == 2 and 1 not in let.var.shape:
                for axis, order in ((0, COL), (1, ROW)):
                    if axes[axis].value == 1:
                        votes[_flip(order, flipped)] += 1
            return
        for arg in let.args:
            self._vote(arg, votes, flipped ^ (let.op == "trans"))

    def _vote(self, x: Operand, votes: dict[str, int], flipped: bool) -> None:
        if not isinstance(x, Var) or len(x.shape) != 2 or 1 in x.shape:
            return
        let = self.uses.let(x)
        if x in self.places.stored:
            order = self._orders.get(self.owner(x))
            if order is not None:
                votes[_flip(order, flipped)] += 4
        elif let is not None:
            self._vote_let(let, votes, flipped)


def _flip(order: str, flipped: bool) -> str:
    return order if not flipped else ROW if order == COL else COL
