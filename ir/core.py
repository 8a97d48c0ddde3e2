"""The program IR: what to compute.

    program ::= "program" name "(" [value {"," value}] ")" "{" {op} "return" [name {"," name}] "}"
    op      ::= value {"," value} "=" kind "(" [operand {"," operand}] ")" ["{" attr {"," attr} "}"]
    value   ::= name ":" type
    operand ::= name "=" name                            (the operand's name, the value's name)
    attr    ::= name "=" (int | float | "true" | "false" | quoted string)
    type    ::= dtype "[" dim {"," dim} "]"
    dtype   ::= "fp32" | "bf16" | "fp16" | "fp64" | "i32" | "i64" | "u32" | "bool"
    dim     ::= name | int | sums of products of them    ("C+1", "R*K")

Values are assigned once. Which operands, attributes and results a kind has, and what it computes,
stands in `spec.py`. Everything here is frozen and hashable; the text form is canonical (operands
and attributes in table order, defaults left out), so equal programs have equal text and hash.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property

from .dims import Dim, dim_names, substitute
from .errors import IRError
from .spec import DTYPES, FLOATS, OPS, OpSpec, Scalar


@dataclass(frozen=True)
class TensorType:
    """A dtype and symbolic dims, as in fp32[B,R,Hr,C]; tensors are contiguous in this order."""

    dtype: str
    shape: tuple[Dim, ...]

    def __post_init__(self) -> None:
        if self.dtype not in DTYPES:
            raise IRError(f"type: expected a dtype of {', '.join(DTYPES)}, given {self.dtype!r}")
        # Canonical dims ("K*2" is "2*K"), so that equal types have equal text.
        object.__setattr__(self, "shape", tuple(substitute(dim, {}) for dim in self.shape))

    @property
    def is_float(self) -> bool:
        return self.dtype in FLOATS

    def __str__(self) -> str:
        return f"{self.dtype}[{','.join(map(str, self.shape))}]"


@dataclass(frozen=True)
class Value:
    """A named tensor: a program input or the result of one op."""

    name: str
    type: TensorType

    def __str__(self) -> str:
        return f"{self.name}: {self.type}"


@dataclass(frozen=True)
class Op:
    """One operation of the table in `spec.py`; absent optional operands are left out."""

    kind: str
    operands: tuple[tuple[str, Value], ...]
    results: tuple[Value, ...]
    attrs: tuple[tuple[str, Scalar], ...] = ()

    @property
    def spec(self) -> OpSpec:
        """The op's row of the table; raises IRError for a kind that is not in it."""
        if self.kind not in OPS:
            raise IRError(f"op {self.kind}: expected one of {', '.join(OPS)}")
        return OPS[self.kind]

    def operand(self, name: str) -> Value | None:
        """The value given for an operand; None where an optional one is absent."""
        if self.spec.operand(name) is None:
            raise IRError(f"op {self.kind}: has no operand {name!r}")
        return next((value for key, value in self.operands if key == name), None)

    def __getitem__(self, name: str) -> Value:
        """The value of an operand that must be there; raises IRError where it is not."""
        value = self.operand(name)
        if value is None:
            raise IRError(f"op {self.kind}: operand {name}: expected a value, given none")
        return value

    def result(self, name: str) -> Value | None:
        """The result of this table name; None where it is not present (see `spec.py`)."""
        given = {key for key, _ in self.operands}
        present = [p.name for p in self.spec.results_of(given, self.all_attrs)]
        if name not in present:
            if name not in [p.name for p in self.spec.results]:
                raise IRError(f"op {self.kind}: has no result {name!r}")
            return None
        return self.results[present.index(name)]

    def attr(self, name: str) -> Scalar:
        """The value of an attribute, its default where it was not given."""
        if name not in self.spec.attrs:
            raise IRError(f"op {self.kind}: has no attribute {name!r}")
        value = dict(self.attrs).get(name, self.spec.attrs[name].default)
        if value is None:
            raise IRError(f"op {self.kind}: attribute {name} must be given")
        return value

    @property
    def all_attrs(self) -> dict[str, Scalar]:
        """Every attribute of the op's kind, defaults filled in."""
        return {name: self.attr(name) for name in self.spec.attrs}

    def __str__(self) -> str:
        results = ", ".join(map(str, self.results))
        operands = ", ".join(f"{name}={value.name}" for name, value in self.operands)
        attrs = ", ".join(f"{name}={_literal(value)}" for name, value in self.attrs)
        return f"{results} = {self.kind}({operands})" + (f" {{{attrs}}}" if attrs else "")


@dataclass(frozen=True)
class Program:
    """Inputs, ops in order of execution, and the values that are the result."""

    name: str
    inputs: tuple[Value, ...]
    ops: tuple[Op, ...]
    outputs: tuple[Value, ...]

    def text(self) -> str:
        """The canonical text form; `parse` reads it back to an equal program."""
        inputs = ",\n    ".join(map(str, self.inputs))
        ops = "".join(f"  {op}\n" for op in self.ops)
        outputs = ", ".join(value.name for value in self.outputs)
        return f"program {self.name}(\n    {inputs}\n) {{\n{ops}  return {outputs}\n}}\n"

    @cached_property
    def hash(self) -> str:
        """The first 16 hex digits of the sha256 of the text form."""
        return hashlib.sha256(self.text().encode()).hexdigest()[:16]

    @property
    def values(self) -> dict[str, Value]:
        """All inputs and results by name."""
        found = [*self.inputs, *(value for op in self.ops for value in op.results)]
        return {value.name: value for value in found}

    def dim_names(self) -> frozenset[str]:
        """Every name that stands in a dim of some value."""
        return frozenset(
            name
            for value in self.values.values()
            for dim in value.type.shape
            for name in dim_names(dim)
        )

    def find(self, kind: str) -> Op | None:
        """The first op of a kind, if any."""
        return next((op for op in self.ops if op.kind == kind), None)

    def with_outputs(self, names: Iterable[str]) -> Program:
        """The same program returning these values, without the ops they do not need."""
        values = self.values
        unknown = [name for name in names if name not in values]
        if unknown:
            raise IRError(
                f"program {self.name}: expected outputs among {', '.join(values)}, "
                f"given {', '.join(unknown)}"
            )
        return prune(Program(self.name, self.inputs, self.ops, tuple(values[n] for n in names)))


@dataclass(frozen=True)
class KernelGroup:
    """The ops that become one kernel, as a program of their own."""

    kind: str
    program: Program


def make_op(
    kind: str,
    operands: Mapping[str, Value | None],
    results: Iterable[Value],
    attrs: Mapping[str, Scalar | None] | None = None,
) -> Op:
    """The op in canonical form: table order, no absent operands, no attributes at their default.

    Names that the table lacks are kept, for `verify` to report.
    """
    values = [(name, value) for name, value in operands.items() if value is not None]
    settings = [(name, value) for name, value in (attrs or {}).items() if value is not None]
    spec = OPS.get(kind)
    if spec is not None:
        order = [pattern.name for pattern in spec.operands]
        values.sort(key=lambda item: _place(order, item[0]))
        settings = [
            (name, _as(spec.attrs[name].type, value) if name in spec.attrs else value)
            for name, value in settings
        ]
        settings = [
            (name, value)
            for name, value in settings
            if name not in spec.attrs or value != spec.attrs[name].default
        ]
        settings.sort(key=lambda item: _place(list(spec.attrs), item[0]))
    return Op(kind, tuple(values), tuple(results), tuple(settings))


def prune(program: Program) -> Program:
    """The program without ops and inputs that no output needs."""
    needed = {value.name for value in program.outputs}
    ops: list[Op] = []
    for op in reversed(program.ops):
        if needed & {value.name for value in op.results}:
            ops.insert(0, op)
            needed |= {value.name for _, value in op.operands}
    inputs = tuple(value for value in program.inputs if value.name in needed)
    return Program(program.name, inputs, tuple(ops), program.outputs)


def rename(program: Program, names: Mapping[str, str]) -> Program:
    """The program with some values called otherwise."""
    return _with_values(program, lambda v: Value(names.get(v.name, v.name), v.type))


def with_dims(program: Program, dims: Mapping[str, Dim]) -> Program:
    """The program with some dims replaced, e.g. by others that are known to be equal."""

    def new(value: Value) -> Value:
        shape = tuple(substitute(dim, dims) for dim in value.type.shape)
        return Value(value.name, TensorType(value.type.dtype, shape))

    return _with_values(program, new)


def _with_values(program: Program, new: Callable[[Value], Value]) -> Program:
    ops = (
        Op(
            op.kind,
            tuple((key, new(value)) for key, value in op.operands),
            tuple(map(new, op.results)),
            op.attrs,
        )
        for op in program.ops
    )
    return Program(
        program.name, tuple(map(new, program.inputs)), tuple(ops), tuple(map(new, program.outputs))
    )


def _place(order: list[str], name: str) -> int:
    return order.index(name) if name in order else len(order)


def _as(kind: type, value: Scalar) -> Scalar:
    # An int given for a float attribute would print, and so hash, differently.
    return float(value) if kind is float and type(value) is int else value


def _literal(value: Scalar) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return f'"{value}"' if isinstance(value, str) else repr(value)
