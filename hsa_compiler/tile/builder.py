"""Writes a tile program statement by statement, checking every op as it is added."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from hsa_compiler.errors import TileError
from hsa_compiler.tile.ir import (
    ARITHMETIC,
    BITWISE,
    COMPARE,
    FLOATS,
    REDUCE,
    AtomicAdd,
    Barrier,
    Descriptor,
    For,
    If,
    Kernel,
    Let,
    Operand,
    Pointer,
    Scalar,
    Size,
    SizeLike,
    Stmt,
    Store,
    Var,
    While,
)


class Repeated:
    """A loop under construction: set `yields` before the ``with`` block ends."""

    def __init__(self, carried: tuple[Var, ...]) -> None:
        self.carried = carried
        self.yields: tuple[Operand, ...] = ()

    def yield_(self, *values: Operand) -> None:
        """The carried variables' next values."""
        self.yields = values


class Loop(Repeated):
    """A `For` under construction."""

    def __init__(self, index: Var, carried: tuple[Var, ...]) -> None:
        super().__init__(carried)
        self.index = index


class TileBuilder:
    """Builds one `Kernel`. Names given to ops become the names in generated source."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._pointers: dict[str, Pointer] = {}
        self._scalars: dict[str, Scalar] = {}
        self._descriptors: dict[str, Descriptor] = {}
        #: Pointers that are read or written, not only declared.
        self._accessed: set[str] = set()
        self._blocks: list[list[Stmt]] = [[]]
        self._used: dict[str, int] = {}

    # -- parameters ---------------------------------------------------------------------------
    def pointer(self, name: str, dtype: str) -> Pointer:
        """Declare (or fetch again) the pointer parameter ``p_<name>``."""
        return self._pointers.setdefault(name, Pointer(name, dtype))

    def scalar(self, name: str, size: SizeLike | None = None) -> Var:
        """Declare (or fetch again) an i32 parameter; `size` defaults to the dim of that name."""
        if name not in self._scalars:
            self._scalars[name] = Scalar(name, Size.of(name if size is None else size))
            self._used[name] = 1
        return Var(name, "i32", (), self)

    def descriptor(
        self, tensor: Pointer, axes: tuple[int, ...], block: tuple[int, ...]
    ) -> Descriptor:
        """Declare (or fetch again) the descriptor parameter ``t_<name>`` of a tensor."""
        if not axes or len(block) != len(axes) + 1:
            raise TileError(f"descriptor of {tensor.name}: block {block} of an array [n, *{axes}]")
        descriptor = Descriptor(tensor, axes, block)
        found = self._descriptors.setdefault(tensor.name, descriptor)
        if found != descriptor:
            raise TileError(f"{tensor.name} is read as {found} and as {descriptor}")
        return found

    def finish(self, grid: Sequence[SizeLike]) -> Kernel:
        """The finished kernel over `grid`; a tensor read in blocks alone is no pointer of it."""
        (body,) = self._blocks
        blocks_alone = self._descriptors.keys() - self._accessed
        return Kernel(
            self.name,
            tuple(p for p in self._pointers.values() if p.name not in blocks_alone),
            tuple(self._scalars.values()),
            tuple(Size.of(g) for g in grid),
            tuple(body),
            tuple(self._descriptors.values()),
        )

    # -- values -------------------------------------------------------------------------------
    def program_id(self, axis: int, name: str) -> Var:
        """This program's place along a grid axis (i32 scalar)."""
        return self._let("program_id", (), "i32", (), name, axis=axis)

    def arange(self, size: int, name: str = "o") -> Var:
        """[0, 1, ..., size - 1] as i32."""
        return self._let("arange", (), "i32", (size,), name, size=size)

    def full(self, shape: tuple[int, ...], value: float, dtype: str, name: str = "b_full") -> Var:
        """A tile (or scalar, shape ()) of one value."""
        return self._let("full", (), dtype, shape, name, value=value)

    def load(
        self,
        pointer: Pointer,
        offset: Var,
        mask: Var | None = None,
        other: float = 0,
        name: str | None = None,
    ) -> Var:
        """Read ``pointer + offset``; `other` where the mask is false."""
        self._check_access(pointer, offset, mask)
        args = (offset,) if mask is None else (offset, mask)
        hint = name or f"b_{pointer.name}"
        return self._let(
            "load", args, pointer.dtype, offset.shape, hint, pointer=pointer, other=other
        )

    def load_block(
        self, descriptor: Descriptor, start: Sequence[Operand], name: str | None = None
    ) -> Var:
        """Read the block at ``start``, an i32 number for each axis; 0 where the tensor ends."""
        if self._descriptors.get(descriptor.name) != descriptor:
            raise TileError(f"{descriptor.name} is no descriptor of {self.name}")
        if len(start) != len(descriptor.block):
            raise TileError(f"{descriptor.name} has {len(descriptor.block)} axes, got {len(start)}")
        for x in start:
            if isinstance(x, Var) and (x.shape or x.dtype != "i32"):
                raise TileError(f"start of {descriptor.name} is {x.dtype}{x.shape}, needed i32")
        hint = name or f"b_{descriptor.name}"
        dtype, tile = descriptor.tensor.dtype, descriptor.tile
        return self._let("load_block", tuple(start), dtype, tile, hint, descriptor=descriptor)

    def unary(self, op: str, x: Var, name: str | None = None) -> Var:
        """neg, exp2, log2 or abs, element-wise."""
        if op in ("exp2", "log2") and x.dtype != "fp32":
            raise TileError(f"{op} needs fp32, got {x.dtype} ({x.name})")
        return self._let(op, (x,), x.dtype, x.shape, name or "x")

    def exp2(self, x: Var, name: str | None = None) -> Var:
        """2 ** x."""
        return self.unary("exp2", x, name)

    def log2(self, x: Var, name: str | None = None) -> Var:
        """Base-2 logarithm."""
        return self.unary("log2", x, name)

    def binary(self, op: str, x: Operand, y: Operand, name: str | None = None) -> Var:
        """An arithmetic, bitwise or comparing op with broadcasting."""
        dtype = self._common_dtype(op, x, y)
        shape = self._broadcast(op, _shape(x), _shape(y))
        if op in COMPARE:
            result = "bool"
        elif op in ARITHMETIC or op in BITWISE:
            result = dtype
        else:
            raise TileError(f"unknown op {op!r}")
        if op in BITWISE and dtype in FLOATS:
            raise TileError(f"{op} needs integers or bools, got {dtype}")
        if op == "div" and dtype not in FLOATS:
            raise TileError(f"div needs floats, got {dtype}; use floordiv")
        return self._let(op, (x, y), result, shape, name or "x")

    def maximum(self, x: Operand, y: Operand, name: str | None = None) -> Var:
        """The larger of both."""
        return self.binary("maximum", x, y, name)

    def minimum(self, x: Operand, y: Operand, name: str | None = None) -> Var:
        """The smaller of both."""
        return self.binary("minimum", x, y, name)

    def where(self, condition: Var, x: Operand, y: Operand, name: str | None = None) -> Var:
        """x where the condition holds, y elsewhere."""
        dtype = self._common_dtype("where", x, y)
        shape = self._broadcast("where", _shape(x), _shape(y))
        shape = self._broadcast("where", condition.shape, shape)
        return self._let("where", (condition, x, y), dtype, shape, name or "x")

    def cast(self, x: Var, dtype: str, name: str | None = None) -> Var:
        """Converted to `dtype`; the same variable when nothing changes."""
        if x.dtype == dtype:
            return x
        return self._let("cast", (x,), dtype, x.shape, name or x.name, dtype=dtype)

    def bitcast(self, x: Var, dtype: str, name: str | None = None) -> Var:
        """The same 32 bits read as another dtype."""
        return self._let("bitcast", (x,), dtype, x.shape, name or "x", dtype=dtype)

    def expand(self, x: Var, axis: int) -> Var:
        """[N] -> [1, N] (axis 0) or [N, 1] (axis 1)."""
        if len(x.shape) != 1:
            raise TileError(f"expand needs one axis, got {x.shape} ({x.name})")
        shape = (1, x.shape[0]) if axis == 0 else (x.shape[0], 1)
        return self._let("expand", (x,), x.dtype, shape, x.name, axis=axis)

    def broadcast(self, x: Var, shape: tuple[int, ...], name: str | None = None) -> Var:
        """Repeat along axes of size 1 (or a scalar everywhere)."""
        if self._broadcast("broadcast", x.shape, shape) != shape:
            raise TileError(f"cannot broadcast {x.shape} to {shape} ({x.name})")
        return self._let("broadcast", (x,), x.dtype, shape, name or x.name, shape=shape)

    def trans(self, x: Var) -> Var:
        """[M, N] -> [N, M]."""
        if len(x.shape) != 2:
            raise TileError(f"trans needs two axes, got {x.shape} ({x.name})")
        return self._let("trans", (x,), x.dtype, (x.shape[1], x.shape[0]), f"{x.name}_t")

    def reduce(self, op: str, x: Var, axis: int = 0, name: str | None = None) -> Var:
        """sum, max or min along an axis, which disappears."""
        if op not in REDUCE or not 0 <= axis < len(x.shape):
            raise TileError(f"cannot reduce {x.name}{x.shape} by {op!r} along axis {axis}")
        shape = tuple(n for i, n in enumerate(x.shape) if i != axis)
        return self._let(op, (x,), x.dtype, shape, name or f"{x.name}_{op}", axis=axis)

    def sum(self, x: Var, axis: int = 0, name: str | None = None) -> Var:
        """Sum along an axis."""
        return self.reduce("sum", x, axis, name)

    def max(self, x: Var, axis: int = 0, name: str | None = None) -> Var:
        """Maximum along an axis."""
        return self.reduce("max", x, axis, name)

    def cumsum(self, x: Var, axis: int = 0, name: str | None = None) -> Var:
        """Inclusive running sum along an axis."""
        if not 0 <= axis < len(x.shape):
            raise TileError(f"cannot cumsum {x.name}{x.shape} along axis {axis}")
        return self._let("cumsum", (x,), x.dtype, x.shape, name or f"{x.name}_cumsum", axis=axis)

    def repeat(self, x: Var, times: int, name: str | None = None) -> Var:
        """[N] -> [N * times], each element `times` in a row; itself for 1."""
        if len(x.shape) != 1 or times < 1:
            raise TileError(f"repeat needs one axis and 1 or more, got {x.shape} and {times}")
        if times == 1:
            return x
        return self._let("repeat", (x,), x.dtype, (x.size * times,), name or x.name, times=times)

    def sum_groups(self, x: Var, size: int, name: str | None = None) -> Var:
        """[N] -> [N / size], the sums of `size` neighbours each; itself for 1."""
        if len(x.shape) != 1 or size < 1 or x.size % size:
            raise TileError(f"sum_groups of {x.name}{x.shape} by {size}: groups must fill it")
        if size == 1:
            return x
        shape = (x.size // size,)
        return self._let("sum_groups", (x,), x.dtype, shape, name or f"{x.name}_sum", size=size)

    def dot(self, a: Var, b: Var, acc: Var | None = None, name: str | None = None) -> Var:
        """a[M, K] b[K, N] (+ acc) in fp32; fp32 operands are multiplied exactly (IEEE)."""
        if len(a.shape) != 2 or len(b.shape) != 2 or a.shape[1] != b.shape[0]:
            raise TileError(f"dot of {a.name}{a.shape} and {b.name}{b.shape}")
        if a.dtype != b.dtype or not a.is_float:
            raise TileError(f"dot of {a.dtype} and {b.dtype}; both must be the same float dtype")
        shape = (a.shape[0], b.shape[1])
        if acc is not None and (acc.shape != shape or acc.dtype != "fp32"):
            raise TileError(f"dot accumulator is {acc.dtype}{acc.shape}, needed fp32{shape}")
        args = (a, b) if acc is None else (a, b, acc)
        return self._let("dot", args, "fp32", shape, name or "b_dot")

    def merge_top_k(self, running: Var, fresh: Var, name: str | None = None) -> Var:
        """Of ``running[M, K]`` (descending) and ``fresh[M, N]``, the K largest, descending."""
        same = running.dtype == fresh.dtype == "i64"
        if not same or len(running.shape) != 2 or running.shape[0] != fresh.shape[0]:
            raise TileError(
                f"merge_top_k of {running.dtype}{running.shape} and {fresh.dtype}{fresh.shape}"
            )
        args = (running, fresh)
        return self._let("merge_top_k", args, "i64", running.shape, name or "b_top")

    # -- effects ------------------------------------------------------------------------------
    def store(self, pointer: Pointer, offset: Var, value: Operand, mask: Var | None = None) -> None:
        """Write `value` (converted to the pointer's dtype) where the mask holds."""
        self._check_access(pointer, offset, mask)
        if isinstance(value, Var):
            self._broadcast("store", offset.shape, value.shape)
            value = self.cast(value, pointer.dtype)
        self._blocks[-1].append(Store(pointer, offset, value, mask))

    def atomic_add(
        self,
        pointer: Pointer,
        offset: Var,
        value: Operand,
        mask: Var | None = None,
        exclusive: bool = False,
    ) -> None:
        """Add in memory; `exclusive` as in `AtomicAdd`."""
        self._check_access(pointer, offset, mask)
        if isinstance(value, Var) and value.dtype != pointer.dtype:
            raise TileError(f"atomic_add of {value.dtype} into {pointer.dtype} {pointer.name}")
        self._blocks[-1].append(AtomicAdd(pointer, offset, value, mask, exclusive))

    def barrier(self) -> None:
        """Order this program's stores before its later loads."""
        self._blocks[-1].append(Barrier())

    @contextmanager
    def loop(
        self,
        start: Operand,
        stop: Operand,
        step: int = 1,
        *,
        name: str = "i",
        carry: Sequence[tuple[str, Var]] = (),
        stages: int = 1,
    ) -> Iterator[Loop]:
        """``with b.loop(0, n, carry=[("b_acc", zeros)]) as loop``: use ``loop.index`` and
        ``loop.carried`` inside and end with ``loop.yield_(...)``; afterwards ``loop.carried``
        holds the final values."""
        index = Var(self._fresh(name), "i32", (), self)
        carried = tuple(Var(self._fresh(n), init.dtype, init.shape, self) for n, init in carry)
        loop = Loop(index, carried)
        self._blocks.append([])
        yield loop
        body = self._blocks.pop()
        _check_yields(carried, loop.yields)
        inits = tuple(init for _, init in carry)
        self._blocks[-1].append(
            For(index, start, stop, step, stages, carried, inits, tuple(body), loop.yields)
        )

    @contextmanager
    def repeat_while(
        self, condition: Var, *, carry: Sequence[tuple[str, Var]] = ()
    ) -> Iterator[Repeated]:
        """``with b.repeat_while(more, carry=[("b_lo", lo)]) as loop``: as `loop`, for as long as
        the scalar bool holds; ``loop.carried`` leaves it out, ``loop.yield_`` gives it last."""
        self._check_condition("repeat_while", condition)
        carried = tuple(Var(self._fresh(n), init.dtype, init.shape, self) for n, init in carry)
        loop = Repeated((*carried, Var(self._fresh("more"), "bool", (), self)))
        every, loop.carried = loop.carried, carried
        self._blocks.append([])
        yield loop
        body = self._blocks.pop()
        _check_yields(every, loop.yields)
        inits = (*(init for _, init in carry), condition)
        self._blocks[-1].append(While(every, inits, tuple(body), loop.yields))

    @contextmanager
    def when(self, condition: Var) -> Iterator[None]:
        """Run the block where a scalar condition holds."""
        self._check_condition("when", condition)
        self._blocks.append([])
        yield
        body = self._blocks.pop()
        self._blocks[-1].append(If(condition, tuple(body)))

    # -- internals ----------------------------------------------------------------------------
    def _fresh(self, name: str) -> str:
        # A hint may itself be a numbered name: number its stem on.
        stem = re.sub(r"_\d+$", "", name)
        count = self._used.get(stem, 0)
        self._used[stem] = count + 1
        return stem if count == 0 else f"{stem}_{count}"

    def _let(
        self,
        op: str,
        args: tuple[Operand, ...],
        dtype: str,
        shape: tuple[int, ...],
        name: str,
        /,
        **attrs: Any,
    ) -> Var:
        var = Var(self._fresh(name), dtype, shape, self)
        self._blocks[-1].append(Let(var, op, args, attrs))
        return var

    def _check_condition(self, what: str, condition: Var) -> None:
        if condition.shape or condition.dtype != "bool":
            raise TileError(f"{what} needs a scalar bool, got {condition.dtype}{condition.shape}")

    def _check_access(self, pointer: Pointer, offset: Var, mask: Var | None) -> None:
        if self._pointers.get(pointer.name) != pointer:
            raise TileError(f"{pointer.name} is not a parameter of {self.name}")
        self._accessed.add(pointer.name)
        if offset.dtype not in ("i32", "i64"):
            raise TileError(f"offset of {pointer.name} is {offset.dtype}, needed i32 or i64")
        if mask is not None:
            if mask.dtype != "bool":
                raise TileError(f"mask of {pointer.name} is {mask.dtype}, needed bool")
            self._broadcast("mask", offset.shape, mask.shape)

    def _common_dtype(self, op: str, x: Operand, y: Operand) -> str:
        if not isinstance(x, Var) and not isinstance(y, Var):
            raise TileError(f"{op} of two constants: compute it in Python")
        if not isinstance(x, Var) or not isinstance(y, Var):
            var, other = (x, y) if isinstance(x, Var) else (y, x)
            assert isinstance(var, Var)
            if isinstance(other, float) and not var.is_float:
                raise TileError(f"{op} of {var.dtype} {var.name} and the float {other}")
            return var.dtype
        if x.dtype == y.dtype:
            return x.dtype
        if {x.dtype, y.dtype} == {"i32", "i64"}:
            return "i64"
        raise TileError(f"{op} of {x.dtype} {x.name} and {y.dtype} {y.name}: cast one of them")

    def _broadcast(self, op: str, a: tuple[int, ...], b: tuple[int, ...]) -> tuple[int, ...]:
        if not a or not b:
            return a or b
        if len(a) != len(b) or any(m != n and 1 not in (m, n) for m, n in zip(a, b, strict=True)):
            raise TileError(f"{op}: shapes {a} and {b} do not broadcast")
        return tuple(max(m, n) for m, n in zip(a, b, strict=True))


def _check_yields(carried: tuple[Var, ...], yields: tuple[Operand, ...]) -> None:
    if len(yields) != len(carried):
        raise TileError(f"loop carries {len(carried)} values, yields {len(yields)}")
    for var, value in zip(carried, yields, strict=True):
        if not isinstance(value, Var) or (value.dtype, value.shape) != (var.dtype, var.shape):
            raise TileError(f"loop carries {var.name} {var.dtype}{var.shape}, yields {value}")
        if value in carried and value is not var:
            raise TileError(f"loop yields carried {value.name} as {var.name}: copy it first")


def _shape(x: Operand) -> tuple[int, ...]:
    return x.shape if isinstance(x, Var) else ()
