"""The sweep on Triton's interpreter, and its results against TVM's.

TRITON_INTERPRET=1 python -m pytest tests/triton_interpret
"""

from __future__ import annotations

import os

import pytest
import torch

from hsa_compiler import hsa_attention
from tests.sweep import examples, sweep_attention, sweep_hsa

pytestmark = pytest.mark.skipif(
    os.environ.get("TRITON_INTERPRET") != "1",
    reason="Triton's interpreter needs TRITON_INTERPRET=1 before Triton is imported",
)


def test_hsa_attention(request: pytest.FixtureRequest) -> None:
    sweep_hsa("triton", "cpu", examples(request, 3))


def test_chunk_attention(request: pytest.FixtureRequest) -> None:
    sweep_attention("triton", "cpu", examples(request, 4))


@pytest.mark.parametrize("normalize", ["softmax", "stick_breaking"])
def test_triton_and_tvm_agree(normalize: str) -> None:
    generator = torch.Generator().manual_seed(1)
    shapes = {
        "q": (2, 40, 6, 32),
        "k": (2, 83, 2, 32),
        "v": (2, 83, 2, 32),
        "q_slc": (2, 40, 2, 48),
        "landmarks": (2, 5, 2, 48),
    }
    tensors = {
        name: torch.randn(shape, generator=generator).requires_grad_()
        for name, shape in shapes.items()
    }
    results = {}
    for backend in ("triton", "tvm"):
        out, selection = hsa_attention(
            **tensors,
            chunk_size=16,
            top_k=3,
            normalize=normalize,
            q_offset=43,
            noise_seed=2,
            backend=backend,
            return_selection=True,
        )
        grads = torch.autograd.grad(out.square().sum(), list(tensors.values()))
        results[backend] = (out.detach(), selection.weights.detach(), *grads)
        results[f"{backend} indices"] = selection.indices
    assert torch.equal(results["triton indices"], results["tvm indices"])
    for name, ours, theirs in zip(
        ("out", "weights", *tensors), results["triton"], results["tvm"], strict=True
    ):
        error = float((ours - theirs).norm() / theirs.norm())
        assert error < 1e-5, f"{name}: {error:.3g}"
