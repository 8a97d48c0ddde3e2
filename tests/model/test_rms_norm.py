"""RMSNorm: its own gradient on CPUs beside torch's, and what it keeps for it."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from hsa_compiler.model.rms_norm import RMSNorm
from tests.model.saved import saved_bytes


def norm_of(dim: int, dtype: torch.dtype = torch.float64) -> RMSNorm:
    torch.manual_seed(0)
    norm = RMSNorm(dim, 1e-6).to(dtype)
    norm.weight.data.uniform_(0.5, 1.5)
    return norm


SHAPES: dict[str, Callable[[Tensor], Tensor]] = {
    "heads": lambda x: x,
    "one row": lambda x: x[0, 0, 0],
    "no rows": lambda x: x[:, :0],
    "a part of a wider tensor": lambda x: x[:, :, 1],
    "turned": lambda x: x.transpose(0, 2),
}


@pytest.mark.parametrize("shape", SHAPES)
def test_it_is_torchs_with_torchs_gradients(shape: str) -> None:
    norm, x = norm_of(16), torch.randn(2, 5, 3, 16, dtype=torch.float64, requires_grad=True)
    part = SHAPES[shape](x)
    out, expected = norm(part), F.rms_norm(part, (16,), norm.weight, norm.eps)
    torch.testing.assert_close(out, expected)
    # The gradient of a sum is an expanded number.
    for grad in (torch.randn_like(out), torch.ones((), dtype=out.dtype).expand(out.shape)):
        found = torch.autograd.grad(out, (x, norm.weight), grad, retain_graph=True)
        wanted = torch.autograd.grad(expected, (x, norm.weight), grad, retain_graph=True)
        torch.testing.assert_close(found, wanted)


def test_rows_of_zeros_stay_zero() -> None:
    norm, x = norm_of(16), torch.zeros(3, 16, dtype=torch.float64, requires_grad=True)
    out = norm(x)
    out.sum().backward()
    assert (out == 0).all()
    assert x.grad is not None
    assert x.grad.isfinite().all()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_normed_in_fp32(dtype: torch.dtype) -> None:
    norm = norm_of(16, torch.float32)
    x = (300 * torch.randn(4, 16)).to(dtype).requires_grad_()  # its square has no fp16
    out = norm(x)
    assert out.dtype == dtype
    expected = F.rms_norm(x.float(), (16,), norm.weight, norm.eps)
    torch.testing.assert_close(out, expected.to(dtype))
    out.float().square().mean().backward()
    assert x.grad is not None
    assert x.grad.dtype == dtype
    assert norm.weight.grad is not None
    assert norm.weight.grad.dtype == torch.float32


def test_it_keeps_its_input_and_a_number_a_row() -> None:
    norm, x = norm_of(64), torch.randn(10, 64, dtype=torch.float64, requires_grad=True)
    assert saved_bytes(lambda: norm(x)) == 8 * (10 * 64 + 64 + 10)


def test_a_second_derivative_is_refused() -> None:
    norm, x = norm_of(16), torch.randn(3, 16, dtype=torch.float64, requires_grad=True)
    (grad,) = torch.autograd.grad(norm(x).square().sum(), x, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        grad.sum().backward()
