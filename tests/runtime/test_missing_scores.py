"""Chunks whose score is no number: every back end passes them over alike."""

from __future__ import annotations

import pytest
import torch

from hsa_compiler import retrieve

S = 16


@pytest.mark.parametrize("backend", ["reference", "tvm"])
@pytest.mark.parametrize("score", [float("-inf"), float("nan")])
def test_their_slots_go_to_other_chunks(score: float, backend: str) -> None:
    generator = torch.Generator().manual_seed(0)
    q_slc = torch.randn(2, 70, 2, 32, generator=generator)
    landmarks = torch.randn(2, 4, 2, 32, generator=generator)
    bias = torch.zeros(2, 4, 2)
    bias[:, 1] = score
    selection = retrieve(
        q_slc,
        landmarks,
        chunk_size=S,
        top_k=3,
        chunk_bias=bias,
        normalize=None,
        backend=backend,
    )
    expected = torch.tensor([3, 2, 0], dtype=torch.int32)
    assert torch.equal(selection.indices[:, -1], expected.expand(2, 2, 3))
