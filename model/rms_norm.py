"""RMSNorm in little memory on every device."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable


class NormedRows(torch.autograd.Function):
    """x / rms(x) * weight with a gradient that keeps x and one number a row."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, eps: float) -> Tensor:
        """x [..., dim], weight [dim] -> [..., dim]."""
        norm = torch.linalg.vector_norm(x, dim=-1, keepdim=True)
        inverse = norm.square_().div_(x.shape[-1]).add_(eps).rsqrt_()
        ctx.save_for_backward(x, weight, inverse)
        normed: Tensor = x.mul(inverse).mul_(weight)
        return normed

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, None]:
        """Gradients of x and weight."""
        x, weight, inverse = ctx.saved_tensors
        unit = x * inverse
        grad_weight = (grad * unit).reshape(-1, len(weight)).sum(0)
        grad_unit = grad * weight
        along = (grad_unit * unit).mean(-1, keepdim=True)
        return grad_unit.addcmul_(unit, along, value=-1).mul_(inverse), grad_weight, None


class RMSNorm(nn.Module):
    """x / rms(x) * weight over the last dim, in fp32; the result has x's dtype."""

    def __init__(self, dim: int, eps: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(dim))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        """[..., dim] -> [..., dim]."""
        wide = x.float() if x.dtype in (torch.float16, torch.bfloat16) else x
        # `F.rms_norm` is one such kernel on GPUs; on CPUs it is a chain of operations that keep
        # twice as much and take twice as long.
        if x.device.type == "cpu":
            normed: Tensor = NormedRows.apply(wide, self.weight, self.eps)  # type: ignore[no-untyped-call]
        else:
            normed = F.rms_norm(wide, self.weight.shape, self.weight, self.eps)
        return normed.to(x.dtype)
