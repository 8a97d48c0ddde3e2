"""Gives every kept tile of a kernel a layout, and says in which others it is read.

Products anchor the layouts of what they read and write. The others follow from what they are
computed of, or else from who reads them; what neither reaches gets neighbouring lanes for
neighbouring elements.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from hsa_compiler.codegen.cuda import layout as lo
from hsa_compiler.codegen.cuda.contiguity import Contiguity
from hsa_compiler.codegen.cuda.layout import Layout
from hsa_compiler.codegen.cuda.products import Products
from hsa_compiler.codegen.cuda.values import ELEMENTWISE, Values, operands
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
    While,
)

BYTES = {"fp32": 4, "bf16": 2, "fp16": 2, "i32": 4, "i64": 8, "u32": 4, "bool": 1}
#: Bytes of the widest load or store.
VECTOR_BYTES = 16


def operand_layout(let: Let, arg: Var, layout: Layout) -> Layout:
    """In which layout an inlined or element-wise op reads an operand to be in `layout` itself."""
    if let.op == "expand":
        return layout.without(let.attrs["axis"])
    if let.op == "trans":
        return layout.transposed()
    if let.op == "repeat":
        return layout.grouped(let.attrs["times"])
    return layout.within(arg.shape)


class Assignment:
    """The result: `homes` of tiles that are not cloneable, `domains` of statements that loop over
    registers, `layouts` of every tile in order, the tiles that matrix products read from shared
    memory (`shared`), and those that lie there as ``wgmma`` reads them (`swizzled`)."""

    def __init__(
        self,
        kernel: Kernel,
        values: Values,
        warps: int,
        registers: int = 0,
        warpgroups: bool = False,
    ) -> None:
        self.values, self.warps = values, warps
        self.contiguity = Contiguity(values)
        self.products = Products(values, warps, registers, warpgroups)
        self.homes: dict[Var, Layout] = {}
        self.domains: dict[Stmt, Layout] = {}
        self.layouts: dict[Var, list[Layout]] = {}
        self.shared: set[Var] = set()
        self.swizzled: set[Var] = set()
        self._events = list(_events(kernel.body))
        self._find_shared()
        self._anchor()
        self._resolve()
        self._collect()

    # -- questions ------------------------------------------------------------------------------
    def demands(self, x: Operand | None, layout: Layout) -> Iterator[tuple[Var, Layout]]:
        """The kept tiles that printing `x` in `layout` reads, and their layouts."""
        if not isinstance(x, Var) or not x.shape:
            return
        layout = layout.within(x.shape)
        if x not in self.values.inlined:
            yield x, layout
            return
        let = self.values.let(x)
        assert let is not None
        for arg in let.args:
            if isinstance(arg, Var) and arg.shape:
                yield from self.demands(arg, operand_layout(let, arg, layout))

    def is_direct(self, let: Let) -> bool:
        """Whether a load goes to shared memory, from where registers are filled."""
        return let.op == "load" and let.var in self.shared and let.var not in self.values.cloneable

    def width(self, offset: Operand, mask: Operand | None, dtype: str, axis: int) -> int:
        """Elements in the widest access along an axis."""
        return self.contiguity.vector(offset, mask, axis, VECTOR_BYTES // BYTES[dtype])

    def coalesced(self, offset: Var, mask: Operand | None, dtype: str) -> Layout:
        """Lanes along the axis in which addresses are neighbours."""
        if not offset.shape:
            return lo.coalesced((), self.warps)
        widths = [self.width(offset, mask, dtype, axis) for axis in range(len(offset.shape))]
        fast = max(range(len(widths)), key=lambda axis: (widths[axis], axis))
        return lo.coalesced(offset.shape, self.warps, widths[fast], fast)

    # -- anchors --------------------------------------------------------------------------------
    def _find_shared(self) -> None:
        for kind, stmt in self._events:
            if kind == "run":
                found = set(self.products.factors(stmt))
                self.shared |= found
                if isinstance(stmt, Let) and found and self.products.by_warpgroups(stmt):
                    self.swizzled |= found

    def _anchor(self) -> None:
        for kind, stmt in self._events:
            if kind != "run" or not isinstance(stmt, Let):
                continue
            shape = stmt.var.shape
            if stmt.op == "dot":
                self._settle(stmt, self.products.result(stmt))
            elif stmt.op == "merge_top_k":
                self._settle(stmt, lo.ranking(shape[0], shape[1], self.warps))
            elif stmt.op == "load" and len(shape) == 2:
                readers = self.values.readers(stmt.var)
                if any(isinstance(use.stmt, Let) and use.stmt.op == "dot" for use in readers):
                    self._settle(stmt, self._default(stmt))

    # -- the search -----------------------------------------------------------------------------
    def _resolve(self) -> None:
        while True:
            while sum(self._forward(kind, stmt) for kind, stmt in self._events):
                pass
            if self._backward():
                continue
            left = next((s for _, s in self._events if not self._is_settled(s)), None)
            if left is None:
                return
            if isinstance(left, (For, While)):
                for var in left.carried:
                    if var.shape and var not in self.homes:
                        self.homes[var] = lo.balanced(var.shape, self.warps)
                        break
            else:
                self._settle(left, self._default(left))

    def _is_settled(self, stmt: Stmt) -> bool:
        if isinstance(stmt, (For, While)):
            return all(var in self.homes for var in stmt.carried if var.shape)
        return not self._has_domain(stmt) or stmt in self.domains

    def _has_domain(self, stmt: Stmt) -> bool:
        if isinstance(stmt, (Store, AtomicAdd)):
            return True
        if not isinstance(stmt, Let):
            return False
        if not stmt.var.shape:
            return stmt.op in REDUCE
        return stmt.var not in self.values.inlined and stmt.var not in self.values.cloneable

    def _default(self, stmt: Stmt) -> Layout:
        if isinstance(stmt, Let) and stmt.op == "load":
            offset = stmt.args[0]
            assert isinstance(offset, Var)
            mask = stmt.args[1] if stmt.args[1:] else None
            return self.coalesced(offset, mask, stmt.var.dtype)
        return lo.balanced(_domain_shape(stmt), self.warps)

    def _settle(self, stmt: Stmt, domain: Layout) -> None:
        if isinstance(stmt, Let) and stmt.op == "cumsum":
            domain = lo.within_warps(domain, stmt.attrs["axis"])
        self.domains[stmt] = domain
        if isinstance(stmt, Let) and stmt.var.shape:
            self.homes[stmt.var] = result_layout(stmt, domain)

    def _forward(self, kind: str, stmt: Stmt) -> bool:
        """Settle a statement by what it is computed of."""
        if isinstance(stmt, (For, While)):
            changed = False
            for var, init, value in zip(stmt.carried, stmt.inits, stmt.yields, strict=True):
                if var.shape and var not in self.homes:
                    found = self._pull(value) or (self._pull(init) if kind == "end" else None)
                    if found is not None:
                        self.homes[var] = found
                        changed = True
            return changed
        if self._is_settled(stmt):
            return False
        found = self._natural(stmt)
        if found is None:
            return False
        self._settle(stmt, found)
        return True

    def _natural(self, stmt: Stmt) -> Layout | None:
        if isinstance(stmt, Let) and stmt.op == "load":
            return None
        if isinstance(stmt, Store) and len(stmt.offset.shape) == 2:
            best = self.coalesced(stmt.offset, stmt.mask, stmt.pointer.dtype)
            if best.vector(_fast_axis(best)) > 1:
                return best
        shape = _domain_shape(stmt)
        order = (1, 0) if isinstance(stmt, (Store, AtomicAdd)) else range(len(operands(stmt)))
        for index in order:
            found = self._pull(operands(stmt)[index])
            if found is not None and found.shape == shape:
                return found
        return None

    def _pull(self, x: Operand | None) -> Layout | None:
        """The layout that `x` is in by what it is computed of, where that is settled."""
        if not isinstance(x, Var) or not x.shape:
            return None
        if x not in self.values.inlined:
            return None if x in self.values.cloneable else self.homes.get(x)
        let = self.values.let(x)
        assert let is not None
        for arg in let.args:
            found = self._pull(arg)
            if found is None:
                continue
            if let.op == "expand":
                return found.inserted(let.attrs["axis"])
            if let.op == "trans":
                return found.transposed()
            if let.op in ELEMENTWISE and found.shape == x.shape:
                return found
        return None

    def _backward(self) -> bool:
        """Settle by who reads them all statements that a settled one reads."""
        wanted = self._wanted()
        changed = False
        for _, stmt in reversed(self._events):
            if isinstance(stmt, (For, While)):
                for var in stmt.carried:
                    if var.shape and var not in self.homes and wanted.get(var):
                        self.homes[var] = wanted[var][0]
                        changed = True
            elif isinstance(stmt, Let) and not self._is_settled(stmt) and wanted.get(stmt.var):
                self._settle(stmt, _domain_of(stmt, wanted[stmt.var][0]))
                changed = True
        return changed

    def _wanted(self) -> dict[Var, list[Layout]]:
        """The layouts in which settled statements read the kept tiles."""
        wanted: dict[Var, list[Layout]] = {}

        def want(x: Operand | None, layout: Layout) -> None:
            for leaf, found in self.demands(x, layout):
                layouts = wanted.setdefault(leaf, [])
                if found not in layouts:
                    layouts.append(found)

        for kind, stmt in reversed(self._events):
            if isinstance(stmt, (For, While)):
                # Inits are read before the loop, yields at its end.
                for var, x in zip(
                    stmt.carried, stmt.yields if kind == "end" else stmt.inits, strict=True
                ):
                    if var in self.homes:
                        want(x, self.homes[var])
            elif isinstance(stmt, Let) and stmt.var in self.values.cloneable:
                if stmt.var not in self.values.inlined:
                    if stmt.var in self.shared and not wanted.get(stmt.var):
                        wanted[stmt.var] = [lo.coalesced(stmt.var.shape, self.warps)]
                    for layout in wanted.get(stmt.var, ()):
                        for arg in stmt.args:
                            if isinstance(arg, Var) and arg.shape:
                                want(arg, operand_layout(stmt, arg, layout))
            elif stmt in self.domains:
                for read, layout in self.reads(stmt):
                    want(read, layout)
        return wanted

    def reads(self, stmt: Stmt) -> Iterator[tuple[Operand | None, Layout]]:
        """What a statement reads from registers, and how."""
        domain = self.domains[stmt]
        if not isinstance(stmt, Let):
            for x in operands(stmt):
                yield x, domain
        elif stmt.op == "dot":
            a = stmt.args[0]
            assert isinstance(a, Var)
            products = self.products
            if products.by_matrix_unit(stmt) and not products.left_from_shared(stmt):
                yield a, lo.left_operand(domain, a.shape[1])
            for acc in stmt.args[2:]:
                yield acc, domain
        elif stmt.op == "merge_top_k":
            running, fresh = stmt.args
            assert isinstance(fresh, Var)
            yield running, domain
            yield fresh, lo.extended(domain, fresh.shape[1])
        else:
            for x in stmt.args:
                yield x, domain

    def _collect(self) -> None:
        for var, layouts in self._wanted().items():
            let, home = self.values.let(var), self.homes.get(var)
            direct = let is not None and self.is_direct(let)
            self.layouts[var] = [x for x in layouts if direct or x != home]
        for var, home in self.homes.items():
            let = self.values.let(var)
            read = self.layouts.setdefault(var, [])
            if let is None or not self.is_direct(let):
                read.insert(0, home)


def result_layout(let: Let, domain: Layout) -> Layout:
    """The layout of a let's result when it loops over the registers of `domain`."""
    if let.op in REDUCE:
        return domain.without(let.attrs["axis"])
    if let.op == "sum_groups":
        return domain.grouped(let.attrs["size"])
    return domain


def _domain_of(let: Let, wanted: Layout) -> Layout:
    """A domain that gives a result in the wanted layout."""
    if let.op in REDUCE:
        return lo.widened(wanted, _domain_shape(let), let.attrs["axis"])
    if let.op == "sum_groups":
        return lo.ungrouped(wanted, let.attrs["size"])
    return wanted


def _domain_shape(stmt: Stmt) -> tuple[int, ...]:
    if isinstance(stmt, (Store, AtomicAdd)):
        shapes = [x.shape for x in (stmt.offset, stmt.value, stmt.mask) if isinstance(x, Var)]
        rank = max(map(len, shapes))
        full = [shape for shape in shapes if len(shape) == rank]
        return tuple(max(sizes) for sizes in zip(*full, strict=True))
    assert isinstance(stmt, Let)
    if stmt.op in REDUCE or stmt.op == "sum_groups":
        source = stmt.args[0]
        assert isinstance(source, Var)
        return source.shape
    return stmt.var.shape


def _fast_axis(layout: Layout) -> int:
    return layout.regs[0][0] if layout.regs else 0


def _events(body: Sequence[Stmt]) -> Iterator[tuple[str, Stmt]]:
    """Statements in program order; a loop comes again at its end."""
    for stmt in body:
        yield "run", stmt
        if isinstance(stmt, (For, While, If)):
            yield from _events(stmt.body)
        if isinstance(stmt, (For, While)):
            yield "end", stmt
