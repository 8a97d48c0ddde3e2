"""The gradients of attention as one kernel and as two, on a GPU."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from hsa_compiler import Selection, chunk_attention
from hsa_compiler.runtime import record
from tests.drawn_schedules import OneForm, store

REPEATS = 20
HEADS = [(16, 16), (16, 4), (16, 1)]


def gradients(
    form: str, heads: tuple[int, int], deterministic: bool, device: str = "cuda", tokens: int = 8192
) -> list[Tensor]:
    """The gradients of q, k, v and the weights in one form, in bf16."""
    query_heads, kv_heads = heads
    generator = torch.Generator(device=device).manual_seed(0)

    def drawn(*shape: int) -> Tensor:
        return torch.randn(1, tokens, *shape, generator=generator, device=device)

    q, k, v = (drawn(count, 64).bfloat16() for count in (query_heads, kv_heads, kv_heads))
    weights = drawn(kv_heads, 8).softmax(-1)
    chunks, size = tokens // 64, (1, tokens, kv_heads, 8)
    indices = torch.randint(-1, chunks, size, generator=generator, device=device)
    leaves = [x.requires_grad_() for x in (q, k, v, weights)]
    record.forget()
    with store(OneForm(form)):
        out = chunk_attention(
            q,
            k,
            v,
            Selection(indices, weights),
            chunk_size=64,
            deterministic=deterministic,
            backend="triton",
        )
        found = list(torch.autograd.grad(out.float().square().sum(), leaves))
    kernels = {row.kernel for row in record.used()}
    assert ("attend_grad" in kernels) == (form == "fused")
    return found


@pytest.mark.parametrize("deterministic", [False, True])
@pytest.mark.parametrize("heads", HEADS, ids=str)
def test_both_forms_agree(heads: tuple[int, int], deterministic: bool) -> None:
    fused = gradients("fused", heads, deterministic)
    for x, y in zip(fused, gradients("split", heads, deterministic), strict=True):
        assert float((x.float() - y.float()).norm()) <= 1e-2 * float(y.float().norm())


@pytest.mark.parametrize("heads", HEADS, ids=str)
def test_a_deterministic_kernel_repeats_bit_by_bit(heads: tuple[int, int]) -> None:
    first = gradients("fused", heads, deterministic=True)
    for _ in range(REPEATS):
        again = gradients("fused", heads, deterministic=True)
        assert all(torch.equal(x, y) for x, y in zip(first, again, strict=True))
