"""Prints one element, or one vector of neighbouring elements, of a tile."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from hsa_compiler.codegen import tvm_math
from hsa_compiler.codegen import tvm_text as tx
from hsa_compiler.codegen.tvm_index import ZERO, Linearizer
from hsa_compiler.codegen.tvm_layout import Buffer, Layout
from hsa_compiler.codegen.tvm_text import COMPUTE, X
from hsa_compiler.codegen.tvm_uses import VIEWS
from hsa_compiler.codegen.tvm_writer import Writer
from hsa_compiler.errors import TileError
from hsa_compiler.tile.ir import COMPARE, Let, Operand, Var

_INFIX = {
    "add": "+", "sub": "-", "mul": "*", "mul_rn": "*", "div": "/", "floordiv": "//", "mod": "%",
    "and": "&", "or": "|", "xor": "^", "shl": "<<", "shr": ">>",
    "eq": "==", "ne": "!=", "lt": "<", "le": "<=", "gt": ">", "ge": ">=",
}  # fmt: skip
_FOLDED = {
    "add": tx.add, "sub": tx.sub, "mul": tx.mul, "mul_rn": tx.mul,
    "floordiv": tx.floordiv, "mod": tx.mod,
}  # fmt: skip
_LINEAR = frozenset(("arange", "full", "add", "sub", "mul", "cast"))


@dataclass(frozen=True)
class At:
    """A place along one axis: `lanes` neighbours from `base` on, known from block `depth` on."""

    base: X
    lanes: int = 1
    depth: int = 0


@dataclass(frozen=True)
class Index:
    """Where in a tensor or buffer: `lanes` places from `base` on, `stride` apart; or, with stride
    None, `base` is itself a vector of places."""

    base: X
    stride: X | None
    lanes: int

    @property
    def expression(self) -> X:
        """The scalar or vector of places."""
        if self.stride is None or self.lanes == 1:
            return self.base
        if self.stride.value == 0:
            return self.base
        return tx.ramp(self.base, self.stride, self.lanes)

    @property
    def contiguous(self) -> bool:
        """Whether the lanes are neighbours in memory."""
        return self.lanes > 1 and self.stride is not None and self.stride.value == 1


class Elements:
    """Evaluates operands at places; see `element`."""

    def __init__(self, layout: Layout, writer: Writer, scalar: Callable[[Operand, str], X]) -> None:
        self.layout, self.uses, self.writer = layout, layout.uses, writer
        self.scalar = scalar
        self.stored = layout.places.stored
        self.linear = Linearizer(layout.uses, scalar, lambda var: var in self.stored)
        #: The block of the statement being printed: nothing is bound further out.
        self.home = 0
        #: Copies to read instead of the tiles' own buffers.
        self.instead: dict[Var, Buffer] = {}

    # -- reading --------------------------------------------------------------------------------
    def element(self, x: Operand, at: tuple[At, ...], dtype: str) -> X:
        """`x` at a place, in its compute dtype; a number gets `dtype`."""
        if not isinstance(x, Var) or not x.shape:
            return self.scalar(x, dtype)
        at = tuple(place if n > 1 else At(ZERO) for n, place in zip(x.shape, at, strict=True))
        buffer = self.instead.get(x) or self.layout.buffers.get(x)
        if buffer is not None:
            return self.read(buffer, at, x.dtype)
        known = self.writer.recall((x, at))
        if known is not None:
            return known
        let = self.uses.let(x)
        assert let is not None
        depth = self._depth(x, at)
        return self._bound(let, at, self.compute(let, at, depth), depth)

    def read(self, buffer: Buffer, at: tuple[At, ...], dtype: str = "") -> X:
        """A buffer's element; stored bools become bools again."""
        index = self.place(buffer, at)
        lanes = index.expression.lanes
        value = X(f"{buffer.name}[{index.expression.text}]", buffer.dtype, lanes)
        return tx.infix("!=", value, ZERO) if dtype == "bool" else value

    @staticmethod
    def place(buffer: Buffer, at: tuple[At, ...]) -> Index:
        """The index of a buffer's element."""
        base, stride, lanes = ZERO, ZERO, 1
        for place, step in zip(at, buffer.strides, strict=False):
            factor = tx.const(step, "int32")
            base = tx.add(base, tx.mul(place.base, factor))
            if place.lanes > 1 and step:
                stride, lanes = factor, place.lanes
        return Index(base, stride, lanes)

    def index(self, x: Operand, at: tuple[At, ...]) -> Index:
        """An integer operand at a place, kept apart into base and step between lanes."""
        form = self.linear(x)
        base, stride, lanes = form.base, ZERO, 1
        for term in form.terms:
            value = self.element(term.tile, tuple(at[a] for a in term.axes), "int32")
            base = tx.add(base, tx.mul(value, term.factor))
        # Scalars are added last: a vector is made as late as possible.
        for place, factor in zip(at, form.axes, strict=False):
            base = tx.add(base, tx.mul(place.base, factor))
            if place.lanes > 1 and factor.value != 0:
                stride, lanes = factor, place.lanes
        if base.lanes == 1:
            return Index(base, stride, lanes)
        if lanes > 1:
            base = tx.add(base, tx.ramp(ZERO, stride, lanes))
        return Index(base, None, base.lanes)

    # -- computing ------------------------------------------------------------------------------
    def _bound(self, let: Let, at: tuple[At, ...], value: X, depth: int) -> X:
        """`value` as a variable where that saves work or makes shorter lines. Vectors of bool
        cannot be bound: TVM's bounds analysis fails on them (seen in 0.27)."""
        free = let.op in VIEWS or let.op in ("arange", "full") or value.text.startswith("T.Ramp")
        simple = value.value is not None or value.rank > 8 and "(" not in value.text
        if free or simple or (value.dtype == "bool" and value.lanes > 1):
            return value
        linear = let.op in _LINEAR and value.dtype in ("int32", "int64")
        moves = depth < self.writer.depth and not linear
        if not (moves or len(self.uses.infos[let.var].uses) > 1 or len(value.text) > 80):
            return value
        # Hashes reuse every step; see Writer.keep.
        bind = self.writer.keep if value.dtype == "uint32" else self.writer.bind
        value = bind(let.var.name, value, depth)
        self.writer.remember((let.var, at), value, depth)
        return value

    def _depth(self, var: Var, at: tuple[At, ...]) -> int:
        return max([self.home, *(at[axis].depth for axis in self.layout.places.axes(var))])

    def compute(self, let: Let, at: tuple[At, ...], depth: int) -> X:
        """An element of an element-wise let, even if its tile is stored."""
        op, args, dtype = let.op, let.args, COMPUTE[let.var.dtype]
        if op in VIEWS:
            return self.element(args[0], self._view(let, at), dtype)
        if op == "full":
            return tx.const(let.attrs["value"], dtype)
        if op in _LINEAR and dtype in ("int32", "int64") and let.var.shape:
            form = self.linear(let.var)
            if not any(term.tile is let.var for term in form.terms):
                return self.index(let.var, at).expression
        if op == "load":
            return self.load(let, at)
        values = self._operands(let, at)
        if op == "exp2":
            return tvm_math.exp2(self.writer, values[0], depth)
        if op == "log2":
            return tvm_math.log2(self.writer, values[0], depth)
        return pure(let, values)

    def _operands(self, let: Let, at: tuple[At, ...]) -> list[X]:
        dtype = operand_dtype(let)
        values = [self.element(arg, at, dtype) for arg in let.args]
        if let.op == "where":
            return [values[0], *(tx.cast(v, dtype) for v in values[1:])]
        return values if let.op in ("cast", "bitcast") else [tx.cast(v, dtype) for v in values]

    @staticmethod
    def _view(let: Let, at: tuple[At, ...]) -> tuple[At, ...]:
        if let.op == "trans":
            return at[::-1]
        if let.op == "expand":
            return (at[1 - let.attrs["axis"]],)
        (source,) = let.args
        return at if isinstance(source, Var) and source.shape else ()

    # -- loads ----------------------------------------------------------------------------------
    def load(self, let: Let, at: tuple[At, ...]) -> X:
        """A load at a place: masks that do not differ between lanes become conditions, the others
        predicate the lanes."""
        pointer, other = let.attrs["pointer"], let.attrs["other"]
        index = self.index(let.args[0], at)
        condition, lane_mask = self.masks(let.args[1] if let.args[1:] else None, at)
        where, dtype = index.expression, tx.STORAGE[pointer.dtype]
        default = tx.const(other, COMPUTE[pointer.dtype])
        if lane_mask is None:
            raw = X(f"p_{pointer.name}[{where.text}]", dtype, where.lanes)
        elif index.contiguous:
            lanes = tx.typed(dtype, where.lanes)
            text = f'T.masked_load("{lanes}", p_{pointer.name}, {where.text}, {lane_mask.text})'
            raw = X(text, dtype, where.lanes)
        else:
            raise TileError(f"load of {pointer.name}: masked lanes that are not neighbours")
        value = tx.halves_to_float(raw, pointer.dtype)
        if lane_mask is not None:
            # Lanes that are masked off hold anything.
            value = tx.select(lane_mask, value, default)
        return value if condition is None else tx.if_then_else(condition, value, default)

    def masks(self, mask: Operand | None, at: tuple[At, ...]) -> tuple[X | None, X | None]:
        """The parts of a conjunction that are the same in all lanes, and the part that differs."""
        uniform: X | None = None
        varying: X | None = None
        for part in [] if mask is None else self.conjuncts(mask, at):
            if part.value is not None and part.value:
                continue
            if part.lanes == 1:
                uniform = part if uniform is None else tx.both(uniform, part)
            else:
                varying = part if varying is None else tx.both(varying, part)
        return uniform, varying

    def conjuncts(self, mask: Operand, at: tuple[At, ...]) -> list[X]:
        """The operands of nested ``and``."""
        let = self.uses.let(mask) if isinstance(mask, Var) and mask.shape else None
        if let is not None and let.var not in self.stored:
            at = tuple(p if n > 1 else At(ZERO) for n, p in zip(let.var.shape, at, strict=True))
            if let.op == "and":
                return [part for arg in let.args for part in self.conjuncts(arg, at)]
            if let.op in VIEWS:
                return self.conjuncts(let.args[0], self._view(let, at))
        return [self.element(mask, at, "bool")]


def operand_dtype(let: Let) -> str:
    """The compute dtype in which a let's operands meet."""
    dtypes = [arg.dtype for arg in let.args if isinstance(arg, Var)]
    if let.op == "where":
        return COMPUTE[let.var.dtype]
    if "i64" in dtypes:
        return "int64"
    return COMPUTE[dtypes[0]]


def pure(let: Let, values: list[X]) -> X:
    """An element-wise op of evaluated operands."""
    op, dtype = let.op, COMPUTE[let.var.dtype]
    if op in _FOLDED:
        return _FOLDED[op](*values)
    if op in _INFIX:
        if dtype == "bool" and op == "and":
            return tx.both(*values)
        if dtype == "bool" and op not in COMPARE:
            lanes = max(v.lanes for v in values)
            values = [tx.broadcast(v, lanes) for v in values]
        return tx.infix(_INFIX[op], *values)
    if op in ("minimum", "maximum"):
        return tx.call(op[:3], *values)
    if op == "where":
        return tx.select(*values)
    if op == "cast":
        if dtype == "bool" and values[0].dtype != "bool":
            return tx.infix("!=", values[0], tx.const(0, values[0].dtype))
        return tx.cast(values[0], dtype)
    if op == "bitcast":
        return tx.reinterpret(values[0], dtype)
    if op == "neg":
        minus = tx.const(-1, values[0].dtype)
        return tx.infix("*", values[0], minus)
    if op == "abs":
        if values[0].dtype == "float32":
            return tx.call("abs", values[0])
        negative = tx.infix("<", values[0], tx.const(0, values[0].dtype))
        return tx.select(negative, tx.sub(tx.const(0, dtype), values[0]), values[0])
    raise TileError(f"the TVM printer does not know the op {op!r}")
