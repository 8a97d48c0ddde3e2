"""Gradients of some inputs while the others are frozen."""

from __future__ import annotations

import itertools

import pytest
import torch

from hsa_compiler import chunk_attention, hsa_attention

NAMES = ("q", "k", "v", "q_slc", "landmarks")


def _tensors() -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    shapes = ((1, 64, 2, 16), (1, 64, 1, 16), (1, 64, 1, 16), (1, 64, 1, 16), (1, 4, 1, 16))
    return {
        name: torch.randn(*shape, generator=generator)
        for name, shape in zip(NAMES, shapes, strict=True)
    }


def _gradients(free: tuple[str, ...], joint: bool, backend: str) -> dict[str, torch.Tensor]:
    tensors = {n: t.requires_grad_(n in free) for n, t in _tensors().items()}
    if joint:
        indices = torch.tensor([1, 0], dtype=torch.int32).expand(1, 64, 1, 2).contiguous()
        q, k, v = (tensors[name] for name in NAMES[:3])
        out = chunk_attention(q, k, v, indices, chunk_size=16, backend=backend)
    else:
        out = hsa_attention(*tensors.values(), chunk_size=16, top_k=2, backend=backend)
    out.square().sum().backward()
    return {name: tensors[name].grad for name in free}


@pytest.mark.parametrize("joint", [False, True])
def test_every_choice_of_frozen_inputs_gives_the_gradients_of_the_others(joint: bool) -> None:
    names = NAMES[:3] if joint else NAMES
    expected = _gradients(names, joint, "reference")
    for count in range(1, len(names) + 1):
        for free in itertools.combinations(names, count):
            for name, grad in _gradients(free, joint, "auto").items():
                error = (grad - expected[name]).norm() / expected[name].norm()
                assert error < 1e-5, f"d_{name} with {free} free: {error}"
