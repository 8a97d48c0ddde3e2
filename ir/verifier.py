"""Checks a program against the op table; every stage verifies what it takes and what it gives."""

from __future__ import annotations

import math
from collections.abc import Mapping

from .core import Op, Program, TensorType, Value
from .dims import Dim, dim_names, evaluate, is_name, parse_dim, substitute
from .errors import IRError
from .op_spec import ANY, FLOATS, Pattern


def verify(program: Program, dims: Mapping[str, int] | None = None) -> Program:
    """Returns the program, or raises IRError naming op, operand, expected and given.

    With `dims` (a number for every name), head counts and row counts are checked as well.
    """
    defined: dict[str, Value] = {}
    where = f"program {program.name}"
    for value in program.inputs:
        _define(defined, value, where)
    for op in program.ops:
        for name, value in op.operands:
            if value.name not in defined:
                raise IRError(
                    f"{where}: op {op.kind}: operand {name}: expected an input or an "
                    f"earlier result, given {value.name}, which is not defined"
                )
            if defined[value.name] != value:
                raise IRError(
                    f"{where}: op {op.kind}: operand {name}: expected "
                    f"{defined[value.name]}, given {value}"
                )
        try:
            verify_op(op, dims)
        except IRError as error:
            raise IRError(f"{where}: {error}") from None
        for value in op.results:
            _define(defined, value, where)
    for value in program.outputs:
        if defined.get(value.name) != value:
            raise IRError(
                f"{where}: output {value.name}: expected an input or a result, given {value}"
            )
    if len({value.name for value in program.outputs}) != len(program.outputs):
        raise IRError(f"{where}: an output is named twice")
    return program


def verify_op(op: Op, dims: Mapping[str, int] | None = None) -> None:
    """Arity, attributes, dtypes and shapes of one op; raises IRError."""
    bound, dtype = _bind_operands(op)
    patterns = op.spec.results_of({name for name, _ in op.operands}, op.all_attrs)
    if len(patterns) != len(op.results):
        names = ", ".join(p.name for p in patterns)
        raise IRError(
            f"op {op.kind}: expected {len(patterns)} results ({names}), given {len(op.results)}"
        )
    for pattern, value in zip(patterns, op.results, strict=True):
        dtype = _match(op, "result", pattern, value, bound, dtype)
    if "K" in bound and "k" in op.spec.attrs and isinstance(bound["K"], int):
        _same_count(op, "K", bound["K"], "attribute k", int(op.attr("k")))
    for small, large in op.spec.divides:
        part, whole = (_number(bound.get(letter), dims) for letter in (small, large))
        if part is not None and whole is not None and (part == 0 or whole % part):
            raise IRError(
                f"op {op.kind}: expected {small} to divide {large}, given {small} = "
                f"{part}, {large} = {whole}"
            )
    if dims is not None:
        _check_sizes(op, bound, dims)


def infer_results(op: Op, dims: Mapping[str, Dim]) -> list[tuple[str, TensorType]]:
    """Names and types of the results of an op that has none yet.

    `dims` gives the letters that no operand fixes; a letter it lacks stands for itself.
    """
    bound, dtype = _bind_operands(op)
    bound = {**{name: name for name in op.spec.free_dims}, **dims, **bound}
    found = []
    for pattern in op.spec.results_of({name for name, _ in op.operands}, op.all_attrs):
        shape = tuple(substitute(dim, bound) for dim in _dims_of(pattern, int(bound.get(ANY, 0))))
        found.append(
            (
                pattern.name,
                TensorType((dtype or "fp32") if pattern.dtype == "T" else pattern.dtype, shape),
            )
        )
    return found


def _bind_operands(op: Op) -> tuple[dict[str, Dim], str | None]:
    """The dims of the op's letters, and its data dtype, from its operands."""
    spec = op.spec
    given = dict(op.operands)
    for name, value in given.items():
        if spec.operand(name) is None:
            allowed = ", ".join(p.name for p in spec.operands)
            raise IRError(f"op {op.kind}: operand {name}: expected one of {allowed}, given {value}")
    for name, number in op.attrs:
        if name not in spec.attrs:
            raise IRError(
                f"op {op.kind}: attribute {name}: expected one of "
                f"{', '.join(spec.attrs) or 'none'}, given {number!r}"
            )
    for name, attr in spec.attrs.items():
        number = op.attr(name)
        if type(number) is not attr.type:
            raise IRError(
                f"op {op.kind}: attribute {name}: expected {attr.type.__name__}, given {number!r}"
            )
        if attr.choices and number not in attr.choices:
            raise IRError(
                f"op {op.kind}: attribute {name}: expected one of "
                f"{', '.join(map(str, attr.choices))}, given {number!r}"
            )
        if isinstance(number, float) and not math.isfinite(number):
            raise IRError(
                f"op {op.kind}: attribute {name}: expected a finite number, given {number!r}"
            )
        if attr.least is not None and int(number) < attr.least:
            raise IRError(
                f"op {op.kind}: attribute {name}: expected at least {attr.least}, given {number!r}"
            )
    bound: dict[str, Dim] = {}
    dtype: str | None = None
    # Bare letters first: "R*K" can be checked once R and K are known from other operands.
    patterns = sorted(spec.operands, key=lambda p: any(not _plain(d) for d in p.dims))
    for pattern in patterns:
        if pattern.name in given:
            dtype = _match(op, "operand", pattern, given[pattern.name], bound, dtype)
        elif not pattern.optional:
            raise IRError(f"op {op.kind}: operand {pattern.name}: expected {pattern}, given none")
    problem = spec.check(given.keys(), op.all_attrs) if spec.check else None
    if problem:
        raise IRError(f"op {op.kind}: {problem}")
    return bound, dtype


def _match(
    op: Op, role: str, pattern: Pattern, value: Value, bound: dict[str, Dim], dtype: str | None
) -> str | None:
    """Binds the pattern's letters to the value's dims; returns the op's data dtype."""
    type_ = value.type
    allowed = (pattern.dtype,) if pattern.dtype != "T" else (dtype,) if dtype else FLOATS
    dims = _dims_of(pattern, len(type_.shape))
    fits = type_.dtype in allowed and len(type_.shape) == len(dims)
    if pattern.dims == (ANY,):
        fits = fits and bound.setdefault(ANY, len(dims)) == len(dims)
    if not fits or not all(
        _match_dim(dim, given, bound) for dim, given in zip(dims, type_.shape, strict=True)
    ):
        shape = ",".join(str(substitute(dim, bound)) for dim in dims)
        raise IRError(
            f"op {op.kind}: {role} {pattern.name}: expected {'|'.join(allowed)}"
            f"[{shape}], given {value}"
        )
    return type_.dtype if pattern.dtype == "T" else dtype


def _dims_of(pattern: Pattern, rank: int) -> tuple[Dim, ...]:
    """The pattern's dims; letters of their own where any shape will do."""
    return tuple(f"d{i}" for i in range(rank)) if pattern.dims == (ANY,) else pattern.dims


def _match_dim(pattern: Dim, given: Dim, bound: dict[str, Dim]) -> bool:
    if not is_name(pattern):
        if all(name in bound for name in dim_names(pattern)):
            return substitute(pattern, bound) == given
        if isinstance(given, int):
            return True  # a number does not tell its factors, and they are not known otherwise
        ours, theirs = parse_dim(pattern), parse_dim(given)
        return [len(p) for p in ours] == [len(p) for p in theirs] and all(
            _match_dim(a, b, bound)
            for p, q in zip(ours, theirs, strict=True)
            for a, b in zip(p, q, strict=True)
        )
    return bound.setdefault(str(pattern), given) == given


def _check_sizes(op: Op, bound: Mapping[str, Dim], dims: Mapping[str, int]) -> None:
    sizes = {letter: evaluate(dim, dims) for letter, dim in bound.items() if letter != ANY}
    if "query_block" in op.spec.attrs and {"R", "L"} <= sizes.keys():
        block = int(op.attr("query_block"))
        _same_count(op, "R", sizes["R"], f"ceil(L / {block})", -(-sizes["L"] // block))
    if "k" in op.spec.attrs:
        _same_count(op, "K", sizes["K"], "attribute k", int(op.attr("k")))


def _same_count(op: Op, what: str, given: int, source: str, expected: int) -> None:
    if given != expected:
        raise IRError(f"op {op.kind}: {what}: expected {expected} ({source}), given {given}")


def _number(dim: Dim | None, dims: Mapping[str, int] | None) -> int | None:
    if isinstance(dim, str) and dims is not None:
        return evaluate(dim, dims)
    return dim if isinstance(dim, int) else None


def _plain(dim: Dim) -> bool:
    return isinstance(dim, int) or is_name(dim) or dim == ANY


def _define(defined: dict[str, Value], value: Value, where: str) -> None:
    if not value.name.isidentifier():
        raise IRError(f"{where}: expected a name, given {value.name!r}")
    if value.name in defined:
        raise IRError(f"{where}: value {value.name} is defined twice")
    defined[value.name] = value
