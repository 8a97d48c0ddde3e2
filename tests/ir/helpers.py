"""Random inputs for any program, and programs as differentiable functions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from hsa_compiler.ir import Program, differentiate, fuse_groups, group_forms, interpret
from hsa_compiler.ir.dims import evaluate
from tests.naive import visible_range


def dims_of(
    length: int = 37,
    *,
    chunk: int = 8,
    batch: int = 2,
    heads: int = 4,
    kv: int = 2,
    score: int = 2,
    landmark: int = 2,
    index: int = 2,
    weight: int = 2,
    top_k: int = 3,
    length_kv: int | None = None,
    query_block: int = 1,
) -> dict[str, int]:
    """A number for every dim of every program; small, and no two sizes of a kind alike."""
    length_kv = length if length_kv is None else length_kv
    return {
        "B": batch,
        "L": length,
        "Lkv": length_kv,
        "C": length_kv // chunk,
        "R": -(-length // query_block),
        "Hq": heads,
        "H": kv,
        "Hr": score,
        "Hm": landmark,
        "Hi": index,
        "Hw": weight,
        "D": 6,
        "Dr": 5,
        "K": top_k,
    }


def ranges(dims: Mapping[str, int], chunk: int = 8, **options: Any) -> dict[str, Tensor]:
    """The inputs lo and hi."""
    lo, hi = visible_range(dims["L"], dims["C"], chunk, batch=dims["B"], **options)
    return {"lo": lo, "hi": hi}


def choose(dims: Mapping[str, int], seed: int = 0) -> Tensor:
    """Any indices: duplicates, and empty slots anywhere."""
    generator = torch.Generator().manual_seed(seed)
    shape = [dims[d] for d in ("B", "R", "Hi", "K")]
    return torch.randint(-1, dims["C"], shape, generator=generator, dtype=torch.int32)


def random_values(
    program: Program, dims: Mapping[str, int], start: int = 0, **given: Tensor
) -> dict[str, Tensor]:
    """fp64 normal numbers for every float input that is not given; they require gradients."""
    generator = torch.Generator().manual_seed(start)
    values = {}
    for value in program.inputs:
        if value.name in given:
            values[value.name] = given[value.name]
        elif value.type.is_float:
            shape = [evaluate(dim, dims) for dim in value.type.shape]
            values[value.name] = torch.randn(
                shape, dtype=torch.float64, generator=generator
            ).requires_grad_()
    return values


def by_groups(
    program: Program, values: Mapping[str, Tensor], dims: Mapping[str, int], form: str = "split"
) -> dict[str, Tensor]:
    """The program's outputs, its kernels run one after the other."""
    env = dict(values)
    for group in fuse_groups(program, form):
        env.update(interpret(group.program, env, dims))
    return {value.name: env[value.name] for value in program.outputs}


def run(
    program: Program,
    values: Mapping[str, Tensor],
    dims: Mapping[str, int],
    of: Sequence[str] = ("out",),
) -> dict[str, Tensor]:
    """The program's outputs; those in `of` carry the gradients of the backward program.

    Both programs also run group by group, in every form, which must give the same bits.
    """
    names = [value.name for value in program.inputs]
    results = _Interpreted.apply(program, dims, tuple(of), *(values[name] for name in names))
    return {value.name: result for value, result in zip(program.outputs, results, strict=True)}


class _Interpreted(torch.autograd.Function):
    @staticmethod
    def forward(ctx, program, dims, of, *inputs):  # type: ignore[no-untyped-def]
        values = {v.name: x for v, x in zip(program.inputs, inputs, strict=True)}
        outputs = _both(program, values, dims)
        ctx.program, ctx.dims, ctx.of, ctx.values = program, dims, of, {**values, **outputs}
        ctx.mark_non_differentiable(*(x for name, x in outputs.items() if name not in of))
        return tuple(outputs.values())

    @staticmethod
    def backward(ctx, *grads):  # type: ignore[no-untyped-def]
        program = ctx.program
        backward = differentiate(program, of=ctx.of)
        values = dict(ctx.values)
        for value, grad in zip(program.outputs, grads, strict=True):
            if value.name in ctx.of:
                values[f"d_{value.name}"] = grad
        found = _both(backward, values, ctx.dims)
        return None, None, None, *(found.get(f"d_{v.name}") for v in program.inputs)


def _both(
    program: Program, values: Mapping[str, Tensor], dims: Mapping[str, int]
) -> dict[str, Tensor]:
    whole = interpret(program, values, dims)
    for form in group_forms(program):
        parts = by_groups(program, values, dims, form)
        for name, result in whole.items():
            assert torch.equal(result, parts[name]), (form, name)
    return whole


def assert_same_gradients(
    ours: Tensor | Sequence[Tensor],
    theirs: Tensor | Sequence[Tensor],
    values: Mapping[str, Tensor],
    tolerance: float = 1e-11,
) -> None:
    """Outputs, and the gradients of one random function of them, agree normwise."""
    ours, theirs = ([x] if isinstance(x, Tensor) else list(x) for x in (ours, theirs))
    weights = [torch.randn(x.shape, dtype=x.dtype) for x in ours]
    for x, y in zip(ours, theirs, strict=True):
        assert_close(x, y, tolerance)
    names = [name for name, x in values.items() if x.requires_grad]
    leaves = [values[name] for name in names]
    grads = [_gradients(side, weights, leaves) for side in (ours, theirs)]
    for name, x, y in zip(names, *grads, strict=True):
        assert_close(x, y, tolerance, f"d_{name}")


def _gradients(
    results: Sequence[Tensor], weights: Sequence[Tensor], leaves: Sequence[Tensor]
) -> list[Tensor]:
    total = sum((w * x).sum() for w, x in zip(weights, results, strict=True))
    if not total.requires_grad:  # no chunk exists: a constant
        return [torch.zeros_like(leaf) for leaf in leaves]
    return list(torch.autograd.grad(total, leaves, allow_unused=True, materialize_grads=True))


def assert_close(x: Tensor, y: Tensor, tolerance: float = 1e-11, name: str = "out") -> None:
    """Normwise, with an absolute floor; NaN never passes."""
    assert x.shape == y.shape, name
    x, y = x.detach(), y.detach()
    error = (x - y).norm() / max(1.0, float(y.norm()))
    assert error <= tolerance, f"{name}: error {float(error):.2e}"
