"""Symbolic dims: an int, a name ("B"), or a sum of products ("R*K", "C+1").

dim     ::= product {"+" product}
product ::= factor {"*" factor}
factor  ::= name | natural number
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping

from .errors import IRError

Dim = int | str
_FACTOR = re.compile(r"[A-Za-z_]\w*|\d+")


def parse_dim(dim: Dim) -> tuple[tuple[Dim, ...], ...]:
    """The dim as a sum of products of factors; raises IRError on anything else."""
    if isinstance(dim, int):
        return ((dim,),)
    terms = []
    for product in dim.split("+"):
        factors = [factor.strip() for factor in product.split("*")]
        for factor in factors:
            if not _FACTOR.fullmatch(factor):
                raise IRError(
                    f"dim {dim!r}: expected a name, a number, or sums of products "
                    f"of them, given {factor!r}"
                )
        terms.append(tuple(int(f) if f.isdigit() else f for f in factors))
    return tuple(terms)


def dim_names(dim: Dim) -> tuple[str, ...]:
    """The names a dim reads, in order of appearance."""
    return tuple(f for product in parse_dim(dim) for f in product if isinstance(f, str))


def is_name(dim: Dim) -> bool:
    """Whether the dim is one bare name."""
    return isinstance(dim, str) and dim.isidentifier()


def substitute(dim: Dim, binding: Mapping[str, Dim]) -> Dim:
    """The dim with its bound names replaced and its numbers folded; an int where all are known.

    substitute("R*K", {"R": "L"}) -> "L*K";  substitute("C+1", {"C": 7}) -> 8
    """
    constant = 0
    terms: list[Dim] = []
    for product in parse_dim(dim):
        number = 1
        names: list[str] = []
        for factor in product:
            value = binding.get(factor, factor) if isinstance(factor, str) else factor
            inner = ((value,),) if value == factor else parse_dim(value)
            if len(inner) > 1:
                if len(product) > 1:
                    raise IRError(f"dim {dim!r}: cannot multiply by the sum {value!r}")
                terms += [substitute("*".join(map(str, term)), {}) for term in inner]
                number, names = 0, []
                continue
            number *= math.prod(f for f in inner[0] if isinstance(f, int))
            names += [f for f in inner[0] if isinstance(f, str)]
        if names and number:
            terms.append("*".join([str(number)] * (number != 1) + names))
        else:
            constant += number
    constant += sum(term for term in terms if isinstance(term, int))
    named = [term for term in terms if isinstance(term, str)]
    if not named:
        return constant
    return "+".join(named + [str(constant)] * (constant != 0))


def evaluate(dim: Dim, binding: Mapping[str, int]) -> int:
    """The dim as a number; raises IRError naming the dims that `binding` lacks."""
    value = substitute(dim, binding)
    if isinstance(value, str):
        missing = ", ".join(name for name in dim_names(dim) if name not in binding)
        raise IRError(f"dim {dim!r}: no value given for {missing}")
    return value
