"""Float64 inputs of the public door, and comparisons with gradients."""

from __future__ import annotations

import torch
from torch import Tensor

S = 16


def rand(*shape: int, seed: int = 0) -> Tensor:
    """A float64 leaf, a function of its shape and seed."""
    generator = torch.Generator().manual_seed(seed + sum(shape))
    return torch.randn(*shape, generator=generator, dtype=torch.float64).requires_grad_()


def hsa_inputs(
    batch: int = 2,
    length: int = 50,
    kv_length: int | None = None,
    heads: int = 4,
    kv_heads: int = 2,
    score_heads: int = 2,
    landmark_heads: int | None = None,
    chunks: int | None = None,
) -> dict[str, Tensor]:
    """The five tensors of `hsa_attention`."""
    kv_length = length if kv_length is None else kv_length
    chunks = kv_length // S if chunks is None else chunks
    return {
        "q": rand(batch, length, heads, 16, seed=1),
        "k": rand(batch, kv_length, kv_heads, 16, seed=2),
        "v": rand(batch, kv_length, kv_heads, 16, seed=3),
        "q_slc": rand(batch, length, score_heads, 32, seed=4),
        "landmarks": rand(batch, chunks, landmark_heads or score_heads, 32, seed=5),
    }


def same(found: Tensor, expected: Tensor) -> None:
    """Equal up to float64 rounding."""
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)


def same_gradients(found: Tensor, expected: Tensor, leaves: dict[str, Tensor]) -> None:
    """Equal outputs, and equal gradients of a random projection of both."""
    same(found, expected)
    cotangent = rand(*found.shape, seed=9).detach()
    grads = torch.autograd.grad(found, list(leaves.values()), cotangent, allow_unused=True)
    wanted = torch.autograd.grad(expected, list(leaves.values()), cotangent, allow_unused=True)
    for name, grad, want in zip(leaves, grads, wanted, strict=True):
        want = torch.zeros_like(leaves[name]) if want is None else want
        grad = torch.zeros_like(leaves[name]) if grad is None else grad
        torch.testing.assert_close(grad, want, rtol=1e-9, atol=1e-9, msg=lambda m, n=name: n + m)
