"""Integer tiles as linear functions of their element's place.

``base + m * 64 + n`` is what makes a tile load one vector load: the printer asks for the base and
the step between lanes instead of multiplying out vectors of offsets.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from hsa_compiler.codegen import tvm_text as tx
from hsa_compiler.codegen.tvm_text import X
from hsa_compiler.codegen.tvm_uses import Uses
from hsa_compiler.tile.ir import Operand, Var

ZERO = tx.const(0, "int32")
ONE = tx.const(1, "int32")


@dataclass(frozen=True)
class Term:
    """``factor * tile[...]`` where the tile is not linear; its axis i is axis ``axes[i]`` here."""

    factor: X
    tile: Var
    axes: tuple[int, ...]


@dataclass(frozen=True)
class Linear:
    """``base + sum of axes[i] * place[i] + sum of terms``; all factors are scalars."""

    base: X
    axes: tuple[X, ...]
    terms: tuple[Term, ...] = ()

    @property
    def is_scalar(self) -> bool:
        """Whether all elements are equal."""
        return not self.terms and all(axis.value == 0 for axis in self.axes)

    def scaled(self, factor: X) -> Linear:
        """Times a scalar."""
        terms = tuple(replace(t, factor=tx.mul(t.factor, factor)) for t in self.terms)
        axes = tuple(_narrow(tx.mul(axis, factor)) for axis in self.axes)
        return Linear(tx.mul(self.base, factor), axes, terms)

    def plus(self, other: Linear) -> Linear:
        """The sum of two functions of the same axes."""
        longer, shorter = (self, other) if len(self.axes) >= len(other.axes) else (other, self)
        padded = shorter.axes or (ZERO,) * len(longer.axes)
        axes = tuple(tx.add(a, b) for a, b in zip(longer.axes, padded, strict=True))
        return Linear(tx.add(self.base, other.base), axes, self.terms + other.terms)

    def widened(self) -> Linear:
        """In int64; small constant factors stay as they are, their products cannot overflow."""
        axes = tuple(a if a.value is not None else tx.cast(a, "int64") for a in self.axes)
        terms = tuple(replace(t, factor=tx.cast(t.factor, "int64")) for t in self.terms)
        return Linear(tx.cast(self.base, "int64"), axes, terms)

    def viewed(self, op: str, axis: int) -> Linear:
        """After ``expand{axis}`` or ``trans``."""
        if op == "trans":
            place = {0: 1, 1: 0}
            axes: tuple[X, ...] = self.axes[::-1]
        else:
            place = {0: 1 - axis}
            axes = (ZERO, self.axes[0]) if axis == 0 else (self.axes[0], ZERO)
        terms = tuple(replace(t, axes=tuple(place[a] for a in t.axes)) for t in self.terms)
        return Linear(self.base, axes, terms)


def _narrow(factor: X) -> X:
    """Numbers that no place in a tile can push out of 32 bits need no int64."""
    if factor.value is None:
        return factor
    return tx.const(factor.value, "int32" if abs(factor.value) < 2**20 else "int64")


class Linearizer:
    """Reads the linear form of integer variables off their definitions.

    `scalar` prints a rank-0 operand; `stored` tells which tiles lie in memory and are therefore
    read, not recomputed.
    """

    def __init__(
        self, uses: Uses, scalar: Callable[[Operand, str], X], stored: Callable[[Var], bool]
    ) -> None:
        self.uses, self.scalar, self.stored = uses, scalar, stored

    def __call__(self, x: Operand, dtype: str = "int32") -> Linear:
        """The linear form of an i32 or i64 operand; a tile of any other kind is one term."""
        if not isinstance(x, Var) or not x.shape:
            return Linear(self.scalar(x, dtype), ())
        opaque = Linear(ZERO, (ZERO,) * len(x.shape), (Term(ONE, x, tuple(range(len(x.shape)))),))
        let = self.uses.let(x)
        if let is None or x.dtype not in ("i32", "i64") or self.stored(x):
            return opaque
        op, args = let.op, let.args
        wide = "int64" if x.dtype == "i64" else "int32"
        if op == "arange":
            return Linear(ZERO, (ONE if x.shape[0] > 1 else ZERO,))
        if op == "full":
            return Linear(tx.const(let.attrs["value"], wide), (ZERO,) * len(x.shape))
        if op in ("expand", "trans"):
            return self(args[0]).viewed(op, let.attrs.get("axis", 0))
        if op == "broadcast":
            inner = self(args[0], wide)
            return inner if inner.axes else replace(inner, axes=(ZERO,) * len(x.shape))
        if op == "cast" and isinstance(args[0], Var) and args[0].dtype in ("i32", "i64"):
            return self(args[0]).widened() if x.dtype == "i64" else opaque
        if op in ("add", "sub", "mul"):
            return self._arithmetic(op, args[0], args[1], wide, len(x.shape)) or opaque
        return opaque

    def _arithmetic(self, op: str, x: Operand, y: Operand, dtype: str, rank: int) -> Linear | None:
        a, b = self(x, dtype), self(y, dtype)
        if dtype == "int64":
            a, b = a.widened(), b.widened()
        if op == "mul":
            if not (a.is_scalar or b.is_scalar):
                return None
            result = a.scaled(b.base) if b.is_scalar else b.scaled(a.base)
        elif op == "add":
            result = a.plus(b)
        elif b.is_scalar:
            result = a.plus(replace(b, base=ZERO))
            result = replace(result, base=tx.sub(a.base, b.base))
        else:
            result = a.plus(b.scaled(tx.const(-1, "int32")))
        if len(result.axes) != rank:
            result = replace(result, axes=(ZERO,) * rank)
        return result
