"""Logit scales far from 1, with gaps in the chosen chunks."""

from __future__ import annotations

import pytest
import torch

from hsa_compiler import Selection, chunk_attention
from tests import naive
from tests.drawn_schedules import drawn_schedules


@pytest.mark.parametrize("schedules", ["chosen", "tiled"])
@pytest.mark.parametrize("scale", [1e9, 3e38, -1e9, 1e-40, 0.0])
def test_joint_softmax_with_gaps_takes_any_scale(scale: float, schedules: str) -> None:
    generator = torch.Generator().manual_seed(1)
    q = torch.randn(1, 5, 2, 16, generator=generator) / max(1.0, abs(scale))
    k, v = (torch.randn(1, 64, 1, 16, generator=generator) for _ in range(2))
    chosen = [[-1, 1], [0, 1], [-1, -1], [1, 1], [2, -1]]
    indices = torch.tensor(chosen, dtype=torch.int32).reshape(1, 5, 1, 2)
    d_out = torch.randn(q.shape, generator=generator)
    ours = [x.requires_grad_() for x in (q, k, v)]
    theirs = [x.detach().double().requires_grad_() for x in ours]
    with drawn_schedules(schedules, 3):
        out = chunk_attention(
            *ours, selection=Selection(indices), chunk_size=16, scale=scale, backend="tvm"
        )
        # The gradients of the queries pass the fp32 range with the scale.
        grads = torch.autograd.grad(out, ours[1:], d_out)
    expected = naive.naive_chunk_attention(*theirs, indices, None, chunk_size=16, scale=scale)
    wanted = torch.autograd.grad(expected, theirs[1:], d_out.double())
    torch.testing.assert_close(out.double(), expected, rtol=1e-4, atol=1e-5)
    for found, want in zip(grads, wanted, strict=True):
        torch.testing.assert_close(found.double(), want, rtol=1e-4, atol=1e-5)
