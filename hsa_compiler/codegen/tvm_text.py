"""Expressions of generated TVMScript: text that knows its dtype, its vector lanes and how tightly
its outermost operator binds, so that generated code carries no needless brackets or casts."""

from __future__ import annotations

import math
from dataclasses import dataclass

#: Tile dtypes as they are computed with: half precision is storage only.
COMPUTE = {
    "fp32": "float32",
    "bf16": "float32",
    "fp16": "float32",
    "i32": "int32",
    "i64": "int64",
    "u32": "uint32",
    "bool": "bool",
}
#: Tile dtypes as they lie in tensors; bf16 is its 16 bits, because TVM's own vector casts of
#: bfloat16 convert the bits as if they were a number (seen in 0.27).
STORAGE = {**COMPUTE, "bf16": "uint16", "fp16": "float16", "bool": "uint8"}
BYTES = {"float32": 4, "int32": 4, "int64": 8, "uint32": 4, "uint16": 2, "float16": 2, "uint8": 1}

_ATOM = 9
_RANKS = {
    "<": 0, "<=": 0, ">": 0, ">=": 0, "==": 0, "!=": 0,
    "|": 1, "^": 2, "&": 3, "<<": 4, ">>": 4, "+": 5, "-": 5, "*": 6, "/": 6, "//": 6, "%": 6,
}  # fmt: skip


@dataclass(frozen=True)
class X:
    """A scalar (lanes 1) or vector expression; `value` where it is a known number."""

    text: str
    dtype: str
    lanes: int = 1
    rank: int = _ATOM
    value: int | float | None = None

    def at(self, rank: int) -> str:
        """The text as an operand of an operator of `rank`."""
        return self.text if self.rank > rank else f"({self.text})"


def typed(dtype: str, lanes: int) -> str:
    """``float32x16``, or ``float32`` for a scalar."""
    return dtype if lanes == 1 else f"{dtype}x{lanes}"


def const(value: int | float | bool, dtype: str) -> X:
    """A number of a compute dtype."""
    if dtype == "float32":
        value = float(value)
        text = repr(value) if math.isfinite(value) else f'"{value}"'
        return X(f"T.float32({text})", dtype, value=value)
    if dtype == "bool":
        return X(f"T.bool({bool(value)})", dtype, value=int(value))
    value = int(value)
    if dtype == "int32":
        return X(str(value), dtype, rank=_ATOM if value >= 0 else 7, value=value)
    return X(f"T.{dtype}({value})", dtype, value=value)


def name(text: str, dtype: str, lanes: int = 1) -> X:
    """A variable."""
    return X(text, dtype, lanes)


def _operand(x: X, other: X, rank: int) -> str:
    """`x` beside `other` in an operator: numbers need no type where the other operand has one."""
    if x.value is not None and other.value is None and x.dtype == other.dtype != "bool":
        if x.dtype == "float32" and math.isfinite(x.value):
            return repr(x.value) if x.value >= 0 else f"({x.value!r})"
        if x.dtype != "float32" and 0 <= x.value < 2**31:
            return repr(x.value)
    return x.at(rank)


def infix(op: str, a: X, b: X) -> X:
    """``a op b``; a scalar operand is broadcast by the parser."""
    rank = _RANKS[op]
    dtype = "bool" if rank == 0 else "int64" if "int64" in (a.dtype, b.dtype) else a.dtype
    left, right = _operand(a, b, rank - 1), _operand(b, a, rank)
    if rank == 0:  # comparisons do not chain
        left = _operand(a, b, rank)
    return X(f"{left} {op} {right}", dtype, max(a.lanes, b.lanes), rank)


def _fold(op: str, a: X, b: X) -> X | None:
    """Integer arithmetic on numbers, done now; int32 stays in its range."""
    if a.value is None or b.value is None or a.dtype not in ("int32", "int64"):
        return None
    x, y = int(a.value), int(b.value)
    if op in ("//", "%") and y == 0:
        return None
    result = {
        "+": x + y,
        "-": x - y,
        "*": x * y,
        "//": x // y if y else 0,
        "%": x % y if y else 0,
    }[op]
    dtype = "int64" if "int64" in (a.dtype, b.dtype) else a.dtype
    return const(result, dtype) if abs(result) < 2**31 or dtype == "int64" else None


def _is(x: X, value: int) -> bool:
    return x.value == value and x.dtype in ("int32", "int64")


def add(a: X, b: X) -> X:
    """a + b without the zeros of index arithmetic."""
    folded = _fold("+", a, b)
    if folded is not None:
        return folded
    if _is(a, 0):
        return widen(b, a)
    if _is(b, 0):
        return widen(a, b)
    if b.value is not None and b.dtype in ("int32", "int64") and b.value < 0:
        return infix("-", a, const(-b.value, b.dtype))
    return infix("+", a, b)


def sub(a: X, b: X) -> X:
    """a - b."""
    folded = _fold("-", a, b)
    if folded is not None:
        return folded
    return widen(a, b) if _is(b, 0) else infix("-", a, b)


def mul(a: X, b: X) -> X:
    """a * b without the ones of index arithmetic."""
    folded = _fold("*", a, b)
    if folded is not None:
        return folded
    for x, y in ((a, b), (b, a)):
        if _is(x, 1):
            return widen(y, x)
        if _is(x, 0):
            return const(0, widen(y, x).dtype)
    return infix("*", a, b)


def floordiv(a: X, b: X) -> X:
    """a // b, rounded down."""
    return _fold("//", a, b) or (widen(a, b) if _is(b, 1) else infix("//", a, b))


def mod(a: X, b: X) -> X:
    """a % b with the sign of b."""
    return _fold("%", a, b) or infix("%", a, b)


def widen(x: X, like: X) -> X:
    """`x` as int64 where it meets one."""
    return cast(x, "int64") if x.dtype == "int32" and like.dtype == "int64" else x


def cast(x: X, dtype: str) -> X:
    """Converted. Vectors of bool are selected instead: TVM's bounds analysis fails on their
    casts (seen in 0.27)."""
    if x.dtype == dtype:
        return x
    if x.value is not None and not (x.dtype == "float32" and dtype != "float32"):
        return const(x.value, dtype)
    if x.dtype == "bool" and x.lanes > 1:
        return select(x, const(1, dtype), const(0, dtype))
    return X(f'T.Cast("{typed(dtype, x.lanes)}", {x.text})', dtype, x.lanes)


def reinterpret(x: X, dtype: str) -> X:
    """The same bits."""
    if x.dtype == dtype:
        return x
    return X(f'T.reinterpret("{typed(dtype, x.lanes)}", {x.text})', dtype, x.lanes)


def broadcast(x: X, lanes: int) -> X:
    """A scalar in every lane."""
    return x if x.lanes == lanes else X(f"T.Broadcast({x.text}, {lanes})", x.dtype, lanes)


def ramp(base: X, stride: X, lanes: int) -> X:
    """``base + stride * [0, 1, ..., lanes - 1]``."""
    if lanes == 1:
        return base
    step = cast(stride, "int64") if base.dtype == "int64" and stride.value is None else stride
    text = str(step.value) if step.value is not None else step.text
    return X(f"T.Ramp({base.text}, {text}, {lanes})", base.dtype, lanes)


def call(function: str, *args: X) -> X:
    """An element-wise function of equally typed arguments."""
    lanes = max(arg.lanes for arg in args)
    texts = ", ".join(broadcast(arg, lanes).text for arg in args)
    return X(f"T.{function}({texts})", args[-1].dtype, lanes)


def select(condition: X, a: X, b: X) -> X:
    """a where the condition holds, else b; both are evaluated."""
    if condition.value is not None:
        return a if condition.value else b
    lanes = max(condition.lanes, a.lanes, b.lanes)
    texts = ", ".join(broadcast(x, lanes).text for x in (condition, a, b))
    return X(f"T.Select({texts})", a.dtype, lanes)


def if_then_else(condition: X, a: X, b: X) -> X:
    """Like `select` with a scalar condition, but only the chosen side is evaluated."""
    if condition.value is not None:
        return a if condition.value else broadcast(b, a.lanes)
    text = f"T.if_then_else({condition.text}, {a.text}, {broadcast(b, a.lanes).text})"
    return X(text, a.dtype, a.lanes)


def both(a: X, b: X) -> X:
    """a and b."""
    if a.lanes == b.lanes == 1:
        for x, y in ((a, b), (b, a)):
            if x.value is not None:
                return y if x.value else x
    lanes = max(a.lanes, b.lanes)
    return infix("&", broadcast(a, lanes), broadcast(b, lanes))


def halves_to_float(raw: X, dtype: str) -> X:
    """What was read from a tensor of tile dtype `dtype`, in its compute dtype."""
    if dtype == "bf16":
        wide = cast(raw, "uint32")
        return reinterpret(infix("<<", wide, const(16, "uint32")), "float32")
    if dtype == "bool":
        return infix("!=", raw, X("T.uint8(0)", "uint8"))
    return cast(raw, COMPUTE[dtype])
