"""The same call many times over: the same to rounding, and bit by bit where determinism is asked
for."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from hsa_compiler import chunk_attention, hsa_attention

REPEATS = 100
#: Normwise difference that another order of fp32 atomic adds may make.
ROUNDING = 1e-6


def step(deterministic: bool, **shape: int) -> list[Tensor]:
    """`hsa_attention` on fixed inputs: the output and all gradients."""
    tokens, heads, kv_heads = shape["L"], shape["Hq"], shape["H"]
    sizes = {
        "q": (tokens, heads, 64),
        "k": (tokens, kv_heads, 64),
        "v": (tokens, kv_heads, 64),
        "q_slc": (tokens, 1, 64),
        "landmarks": (tokens // 64, 1, 64),
    }
    generator = torch.Generator(device="cuda").manual_seed(0)
    tensors = {
        name: torch.randn(1, *size, generator=generator, device="cuda", requires_grad=True)
        for name, size in sizes.items()
    }
    out = hsa_attention(**tensors, chunk_size=64, top_k=8, deterministic=deterministic)
    assert isinstance(out, Tensor)
    return [out.detach(), *torch.autograd.grad(out.square().sum(), list(tensors.values()))]


def repeated(call: Callable[[], list[Tensor]], same: Callable[[Tensor, Tensor], bool]) -> None:
    """Compare every repetition with the first call."""
    first = call()
    for _ in range(REPEATS):
        for x, y in zip(first, call(), strict=True):
            assert same(x, y)


@pytest.mark.parametrize(("heads", "kv_heads"), [(16, 1), (4, 4)])
def test_repeated_steps_agree_to_rounding(heads: int, kv_heads: int) -> None:
    def close(x: Tensor, y: Tensor) -> bool:
        return float((x - y).norm()) <= ROUNDING * float(x.norm())

    repeated(lambda: step(False, L=4096, Hq=heads, H=kv_heads), close)


@pytest.mark.parametrize(("heads", "kv_heads"), [(16, 1), (4, 4)])
def test_deterministic_steps_are_equal_bit_by_bit(heads: int, kv_heads: int) -> None:
    repeated(lambda: step(True, L=4096, Hq=heads, H=kv_heads), torch.equal)


def test_a_deterministic_joint_softmax_is_equal_bit_by_bit() -> None:
    generator = torch.Generator(device="cuda").manual_seed(0)
    q, k, v = (
        torch.randn(1, 2048, 4, 64, generator=generator, device="cuda", requires_grad=True)
        for _ in range(3)
    )
    indices = torch.randint(0, 32, (1, 2048, 4, 6), generator=generator, device="cuda")

    def call() -> list[Tensor]:
        out = chunk_attention(q, k, v, indices, chunk_size=64, deterministic=True)
        return [out.detach(), *torch.autograd.grad(out.square().sum(), [q, k, v])]

    repeated(call, torch.equal)
