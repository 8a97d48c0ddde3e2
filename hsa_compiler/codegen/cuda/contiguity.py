"""How far offsets run through neighbouring addresses, read off the expressions that compute them.

Along an axis, in blocks of a few elements that start at multiples of their number, an integer tile
either stays the same (step 0), counts up (step 1), or does something else (step None). What it is
at the start of a block is a multiple of some power of two.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from hsa_compiler.codegen.cuda.values import Values
from hsa_compiler.tile.ir import Let, Operand, Var

_ANY = 1 << 20
#: Instead of an axis: what single elements are multiples of.
_NONE = -1


@dataclass(frozen=True)
class _Run:
    step: int | None
    multiple: int


_UNKNOWN = _Run(None, 1)


class Contiguity:
    """Answers questions about one kernel's offsets and masks."""

    def __init__(self, values: Values) -> None:
        self.values = values

    def vector(self, offset: Operand, mask: Operand | None, axis: int, most: int) -> int:
        """The longest block along `axis`, up to `most` elements, whose offsets count up from a
        multiple of its length, and for which the mask is the same throughout."""
        width = most
        shape = offset.shape if isinstance(offset, Var) else ()
        width = min(width, shape[axis]) if shape else 1
        while width > 1:
            run = self._run(offset, axis, width, {})
            steady = mask is None or self._run(mask, axis, width, {}).step == 0
            if run.step == 1 and run.multiple % width == 0 and steady:
                return width
            width //= 2
        return 1

    def _run(self, x: Operand, axis: int, width: int, known: dict[tuple[Var, int], _Run]) -> _Run:
        if not isinstance(x, Var):
            return _Run(0, _power(x) if isinstance(x, int) else 1)
        key = (x, axis)
        if key not in known:
            let = self.values.let(x)
            if let is not None:
                known[key] = self._let(let, axis, width, known)
            else:
                known[key] = _UNKNOWN if x.shape else _Run(0, 1)
        return known[key]

    def _let(self, let: Let, axis: int, width: int, known: dict[tuple[Var, int], _Run]) -> _Run:
        op, shape = let.op, let.var.shape

        def run(x: Operand, along: int = axis) -> _Run:
            return self._run(x, along, width, known)

        if op == "arange":
            return _Run(1, width) if axis != _NONE else _Run(0, 1)
        if op == "full":
            value = let.attrs["value"]
            return _Run(0, _power(value) if isinstance(value, int) else 1)
        if op == "expand":
            return run(let.args[0], _NONE if axis in (_NONE, let.attrs["axis"]) else 0)
        if op == "trans":
            return run(let.args[0], _NONE if axis == _NONE else 1 - axis)
        if op in ("cast", "broadcast"):
            return run(let.args[0])
        if op == "repeat":
            inner = run(let.args[0], _NONE)
            steady = axis == _NONE or let.attrs["times"] % width == 0
            return _Run(0 if steady else None, inner.multiple)
        args = [run(x) for x in let.args]
        if not shape or op in ("load", "sum", "max", "min"):
            steady = not shape or axis == _NONE or (op == "load" and all(map(_steady, args)))
            multiple = _scalar_multiple(op, args)
            return _Run(0 if steady else None, multiple)
        return _combine(op, args, let.args, width)


def _steady(run: _Run) -> bool:
    return run.step == 0


def _scalar_multiple(op: str, args: list[_Run]) -> int:
    if op == "mul":
        return min(_ANY, args[0].multiple * args[1].multiple)
    if op in ("add", "sub"):
        return min(arg.multiple for arg in args)
    return 1


def _combine(op: str, args: list[_Run], operands: Iterable[Operand], width: int) -> _Run:
    """The run of an element-wise op of runs."""
    first, *others = args
    second = others[0] if others else _Run(0, 1)
    number = tuple(operands)[-1]
    if op in ("add", "sub"):
        steps = (first.step, second.step)
        step: int | None = None
        if None not in steps:
            total = first.step + (second.step if op == "add" else -second.step)  # type: ignore
            step = total if total in (0, 1) else None
        return _Run(step, min(first.multiple, second.multiple))
    if op == "mul":
        multiple = min(_ANY, first.multiple * second.multiple)
        if first.step == second.step == 0:
            return _Run(0, multiple)
        return _Run(1 if number == 1 else None, multiple)
    if op in ("floordiv", "mod") and isinstance(number, int) and number % width == 0:
        if first.step == 1 and first.multiple % width == 0:
            # A block lies between two multiples of the divisor.
            return _Run(0, 1) if op == "floordiv" else _Run(1, width)
        if first.step == 0 and op == "mod":
            return _Run(0, min(first.multiple, _power(number)))
    if op in ("lt", "ge") and first.step == 1 and second.step == 0:
        # Both bounds are multiples of the block: all of it is on one side.
        same = first.multiple % width == 0 and second.multiple % width == 0
        return _Run(0 if same else None, 1)
    if all(arg.step == 0 for arg in args):
        return _Run(0, 1)
    return _UNKNOWN


def _power(value: int) -> int:
    """The largest power of two that divides a number."""
    return value & -value if value else _ANY
