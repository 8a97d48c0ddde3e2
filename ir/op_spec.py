"""What a row of the op table is made of: patterns of operands and results, attributes, checks."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from functools import cached_property

from .dims import Dim, dim_names, is_name

Scalar = int | float | bool | str
FLOATS = ("fp32", "bf16", "fp16", "fp64")
ANY = "..."  # in place of dims
DTYPES = (*FLOATS, "i32", "i64", "u32", "bool")


@dataclass(frozen=True)
class Pattern:
    """One operand or result: what its type must look like."""

    name: str
    dtype: str
    dims: tuple[Dim, ...]
    optional: bool = False
    when: str | None = None

    def __str__(self) -> str:
        return f"{self.dtype}[{','.join(map(str, self.dims))}]"


@dataclass(frozen=True)
class Attr:
    """One attribute: its Python type, default (None: must be given) and allowed values."""

    type: type
    default: Scalar | None = None
    choices: tuple[Scalar, ...] = ()
    least: int | None = None


# Given the names of the operands and all attribute values: what is wrong, or None.
Check = Callable[[Collection[str], Mapping[str, Scalar]], str | None]


@dataclass(frozen=True)
class OpSpec:
    """One row of the table."""

    kind: str
    operands: tuple[Pattern, ...]
    results: tuple[Pattern, ...]
    attrs: Mapping[str, Attr]
    group: str | None
    divides: tuple[tuple[str, str], ...]
    check: Check | None
    does: str

    def operand(self, name: str) -> Pattern | None:
        return next((p for p in self.operands if p.name == name), None)

    def results_of(
        self, operands: Collection[str], attrs: Mapping[str, Scalar]
    ) -> tuple[Pattern, ...]:
        """The results an op with these operands and attribute values has, in order."""
        return tuple(
            p
            for p in self.results
            if p.when is None or p.when in operands or attrs.get(p.when) is True
        )

    @cached_property
    def free_dims(self) -> tuple[str, ...]:
        """Letters of the results that no operand's shape names, in order."""
        bound = {d for p in self.operands for d in p.dims if is_name(d)}
        found = [n for p in self.results for d in p.dims if d != ANY for n in dim_names(d)]
        return tuple(dict.fromkeys(n for n in found if n not in bound))


def patterns(text: str) -> tuple[Pattern, ...]:
    patterns = []
    for item in filter(None, (part.strip() for part in text.split(";"))):
        head, _, shape = item.partition(":")
        name, optional, when = head.partition("?")
        dtype, _, dims = shape.strip().rstrip("]").partition("[")
        patterns.append(
            Pattern(
                name,
                dtype,
                tuple(int(d) if d.isdigit() else d for d in dims.split(",")),
                optional=bool(optional),
                when=when or None,
            )
        )
    return tuple(patterns)
