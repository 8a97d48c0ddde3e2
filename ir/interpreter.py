"""Runs any program in PyTorch, on any device and in any precision: the meaning of the IR."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from . import reference_attention  # noqa: F401  (adds its functions to the table)
from .core import Program
from .dims import Dim, evaluate, is_name
from .errors import IRError
from .reference import FUNCTIONS, Call
from .verifier import verify

TORCH_DTYPES = {
    "fp32": torch.float32,
    "bf16": torch.bfloat16,
    "fp16": torch.float16,
    "fp64": torch.float64,
    "i32": torch.int32,
    "i64": torch.int64,
    "u32": torch.uint32,
    "bool": torch.bool,
}


def interpret(
    program: Program,
    values: Mapping[str, Tensor],
    dims: Mapping[str, int] | None = None,
    dtype: torch.dtype | None = None,
) -> dict[str, Tensor]:
    """The program's outputs by name.

    `values` holds a tensor for every input (others are ignored), of any float dtype where the
    type is a float one; `dims` numbers for the dims that no input carries, such as Hi and Hw.
    Everything is computed in `dtype` (default: fp64 if a float input is fp64, else fp32) and
    nothing is rounded on the way: outputs alone take their type's dtype, or fp64 if computed so.
    Raises IRError for a missing input or dim, and for shapes that do not fit.
    """
    given = {value.name: _given(program, value.name, values) for value in program.inputs}
    sizes = bind_dims(program, {name: tuple(x.shape) for name, x in given.items()}, dims)
    verify(program, sizes)
    if dtype is None:
        double = any(x.dtype == torch.float64 for x in given.values())
        dtype = torch.float64 if double else torch.float32
    env: dict[str, Tensor] = {}
    for value in program.inputs:
        tensor = given[value.name]
        if tensor.is_floating_point() != value.type.is_float:
            raise IRError(
                f"program {program.name}: input {value.name}: expected {value.type}, "
                f"given a tensor of {tensor.dtype}"
            )
        env[value.name] = tensor.to(dtype) if value.type.is_float else tensor
    for op in program.ops:
        operands = {name: env[value.name] for name, value in op.operands}
        results = FUNCTIONS[op.kind](Call(op, operands, sizes))
        results = results if isinstance(results, tuple) else (results,)
        env.update(zip((value.name for value in op.results), results, strict=True))
    outputs = {}
    for value in program.outputs:
        keep = dtype == torch.float64 and value.type.is_float
        outputs[value.name] = env[value.name].to(dtype if keep else TORCH_DTYPES[value.type.dtype])
    return outputs


def bind_dims(
    program: Program, shapes: Mapping[str, tuple[int, ...]], dims: Mapping[str, int] | None = None
) -> dict[str, int]:
    """A number for every dim of the program, from the shapes of its inputs, `dims` and top-k."""
    sizes = dict(dims or {})
    carried: list[tuple[str, Dim, int]] = []
    for value in program.inputs:
        shape = shapes[value.name]
        if len(shape) != len(value.type.shape):
            raise IRError(
                f"program {program.name}: input {value.name}: expected {value.type}, "
                f"given shape {list(shape)}"
            )
        carried += [(value.name, dim, n) for dim, n in zip(value.type.shape, shape, strict=True)]
    for op in program.ops:
        if op.kind == "select":
            carried.append(("k of select", op.results[0].type.shape[3], int(op.attr("k"))))
    carried.sort(key=lambda item: not is_name(item[1]))  # names first: they fix "R*K"
    for name, dim, number in carried:
        known = (
            sizes.setdefault(dim, number)
            if isinstance(dim, str) and is_name(dim)
            else evaluate(dim, sizes)
        )
        if known != number:
            raise IRError(
                f"program {program.name}: {name}: expected {dim} = {known}, given {number}"
            )
    missing = sorted(program.dim_names() - sizes.keys())
    if missing:
        raise IRError(f"program {program.name}: no value given for dims {', '.join(missing)}")
    return sizes


def _given(program: Program, name: str, values: Mapping[str, Tensor]) -> Tensor:
    if name not in values:
        raise IRError(f"program {program.name}: input {name}: expected a tensor, given none")
    return values[name]
