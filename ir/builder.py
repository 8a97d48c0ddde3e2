"""Builds programs op by op, inferring every result type from the op table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from .core import Op, Program, TensorType, Value, make_op, prune
from .dims import Dim
from .errors import IRError
from .spec import OPS
from .verifier import infer_results, verify


class Builder:
    """Collects inputs and ops; `finish` verifies and returns the program.

    b = Builder("probe")
    q = b.input("q", "bf16", "B R Hr Dr")
    lmk = b.input("landmarks", "bf16", "B C Hm Dr")
    scores = b.emit("score", q=q, landmarks=lmk, scale=0.125)
    program = b.finish(scores)
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.inputs: list[Value] = []
        self.ops: list[Op] = []
        self._names: set[str] = set()

    def input(self, name: str, dtype: str, dims: str | Sequence[Dim]) -> Value:
        """A program input; dims as a sequence or in one string with spaces between."""
        if name in self._names:
            raise IRError(f"program {self.name}: value {name} is defined twice")
        shape = (
            tuple(int(d) if d.isdigit() else d for d in dims.split())
            if isinstance(dims, str)
            else tuple(dims)
        )
        value = Value(name, TensorType(dtype, shape))
        self._names.add(name)
        self.inputs.append(value)
        return value

    def add_input(self, value: Value) -> Value:
        """The value as an input, unless it is one already."""
        return (
            value
            if value in self.inputs
            else self.input(value.name, value.type.dtype, value.type.shape)
        )

    def append(self, op: Op) -> Op:
        """An op whose results have their names and types already."""
        self._names |= {value.name for value in op.results}
        self.ops.append(op)
        return op

    def op(
        self,
        kind: str,
        /,
        *,
        names: Mapping[str, str] | None = None,
        dims: Mapping[str, Dim] | None = None,
        **given: Any,
    ) -> Op:
        """Appends an op and returns it.

        `given` holds operands and attributes by name (None: absent); `names` the names of results
        (default: the table's); `dims` the sizes of letters that stand in results only (default:
        the letter). Taken names get a number. Raises IRError.
        """
        if kind not in OPS:
            raise IRError(f"op {kind}: expected one of {', '.join(OPS)}")
        operands = {k: v for k, v in given.items() if isinstance(v, Value)}
        attrs = {k: v for k, v in given.items() if v is not None and not isinstance(v, Value)}
        draft = make_op(kind, operands, (), attrs)
        results = [
            Value(self._fresh((names or {}).get(name, name)), type_)
            for name, type_ in infer_results(draft, dims or {})
        ]
        return self.append(make_op(kind, operands, results, attrs))

    def emit(
        self,
        kind: str,
        /,
        *,
        names: Mapping[str, str] | None = None,
        dims: Mapping[str, Dim] | None = None,
        **given: Any,
    ) -> Value:
        """As `op`, returning the op's first result."""
        return self.op(kind, names=names, dims=dims, **given).results[0]

    def finish(self, *outputs: Value) -> Program:
        """The verified program with these outputs, without ops and inputs they do not need."""
        return verify(prune(Program(self.name, tuple(self.inputs), tuple(self.ops), outputs)))

    def _fresh(self, name: str) -> str:
        number, candidate = 1, name
        while candidate in self._names:
            number += 1
            candidate = f"{name}_{number}"
        self._names.add(candidate)
        return candidate
