"""What both custom ops share: refusing what has no rule, and unpacking gradients."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, NoReturn

import torch
from torch import Tensor
from torch.autograd import forward_ad

from hsa_compiler.errors import InputError


def refuse_vmap(name: str) -> Callable[..., NoReturn]:
    """A vmap rule that says what to do instead."""

    def rule(info: Any, in_dims: Any, *args: Any, **kwargs: Any) -> NoReturn:
        raise InputError(
            f"{name} has no vmap rule: put the mapped axis into the batch axis B, or loop over it"
        )

    return rule


def refuse_double_backward(name: str) -> Callable[..., NoReturn]:
    """The gradient of a gradient op: an error, raised only when it is asked for."""

    def rule(ctx: Any, *grads: Any) -> NoReturn:
        raise InputError(
            f"{name} has no second derivative: do not differentiate its gradient "
            "(create_graph=True), or use backend-free PyTorch code for that part"
        )

    return rule


def refuse_transforms(name: str, args: Iterable[object]) -> None:
    """Raise where an argument is tracked by a transform that custom ops have no rule for.

    torch itself names an internal class for `torch.func.grad`, and drops the tangents of forward
    mode without a word.
    """
    if torch.compiler.is_compiling():
        return
    for x in args:
        if isinstance(x, Tensor) and (
            torch._C._functorch.is_gradtrackingtensor(x)
            or forward_ad.unpack_dual(x).tangent is not None  # type: ignore[no-untyped-call]
        ):
            raise InputError(
                f"{name} has no rule for torch.func (grad, vjp, jvp, ...) and forward-mode AD: "
                "use torch.autograd.grad or backward()"
            )


def wanted(ctx: Any, names: Sequence[str], differentiable: Sequence[str]) -> tuple[str, ...]:
    """The inputs, among `differentiable`, whose gradient autograd asks for.

    `names` are the op's leading tensor arguments in order.
    """
    asked = zip(names, ctx.needs_input_grad, strict=False)
    return tuple(name for name, need in asked if need and name in differentiable)


def accumulator(dtype: torch.dtype) -> torch.dtype:
    """The dtype of scores, weights and log-sum-exps beside data of `dtype`."""
    return torch.float64 if dtype == torch.float64 else torch.float32


def spread(
    names: Sequence[str], wrt: Sequence[str], grads: Sequence[Tensor], arguments: int
) -> tuple[Tensor | None, ...]:
    """Gradients in the op's argument order, None where there is none."""
    by_name = dict(zip(wrt, grads, strict=True))
    found: list[Tensor | None] = [by_name.get(name) for name in names]
    return tuple(found + [None] * (arguments - len(found)))
