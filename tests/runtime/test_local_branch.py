"""Where no chunk is seen: zeros, or the local branch alone, and its gradients."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from hsa_compiler import Selection, chunk_attention, hsa_attention
from tests.runtime.door import S, hsa_inputs, rand, same_gradients


@pytest.mark.parametrize("shapes", [{"length": 0}, {"length": 9}, {"batch": 0}, {"kv_length": 0}])
@pytest.mark.parametrize("mixed", [False, True])
def test_before_the_first_chunk_there_is_only_the_local_branch(
    shapes: dict[str, int], mixed: bool
) -> None:
    leaves = hsa_inputs(**shapes)
    options: dict[str, Any] = {}
    if mixed:
        leaves["local_out"] = rand(*leaves["q"].shape, seed=7)
        leaves["local_lse"] = rand(*leaves["q"].shape[:3], seed=8)
        options["normalize"] = "lse_mix"
    out, selection = hsa_attention(
        **leaves, **options, chunk_size=S, top_k=2, backend="reference", return_selection=True
    )
    expected = leaves["local_out"] if mixed else torch.zeros_like(leaves["q"])
    assert torch.equal(out, expected)
    assert bool((selection.indices == -1).all())
    assert not selection.weights.any()
    grads = torch.autograd.grad(out.sum(), list(leaves.values()))
    for name, grad in zip(leaves, grads, strict=True):
        one = float(name == "local_out")
        assert torch.equal(grad, torch.full_like(grad, one)), name


@pytest.mark.parametrize("local", [False, True])
def test_joint_softmax_before_the_first_chunk(local: bool) -> None:
    leaves = {name: hsa_inputs(length=9)[name] for name in "qkv"}
    if local:
        leaves["local_out"] = rand(2, 9, 4, 16, seed=7)
        leaves["local_lse"] = rand(2, 9, 4, seed=8)
        with torch.no_grad():
            leaves["local_lse"][:, 0] = float("-inf")
    indices = torch.full((2, 9, 2, 3), -1)
    out = chunk_attention(**leaves, selection=indices, chunk_size=S, backend="reference")
    expected = torch.zeros_like(out)
    if local:
        expected[:, 1:] = leaves["local_out"][:, 1:]
    assert torch.equal(out, expected)
    grads = torch.autograd.grad(out.sum(), list(leaves.values()))
    for name, grad in zip(leaves, grads, strict=True):
        assert torch.equal(grad != 0, (expected != 0) & (torch.tensor(name == "local_out"))) or (
            name != "local_out" and not grad.any()
        )


def test_external_local_weights_before_the_first_chunk() -> None:
    leaves = {name: hsa_inputs(length=9)[name] for name in "qkv"}
    leaves["local_out"] = rand(2, 9, 4, 16, seed=7)
    leaves["local_weight"] = rand(2, 3, 2, seed=8)
    leaves["weights"] = rand(2, 3, 2, 2, seed=9)
    tensors = {name: leaves[name] for name in ("q", "k", "v", "local_out")}
    selection = Selection(
        torch.full((2, 3, 1, 2), -1), leaves["weights"], None, leaves["local_weight"]
    )
    out = chunk_attention(
        **tensors, selection=selection, chunk_size=S, query_block=4, backend="reference"
    )
    share = leaves["local_weight"].repeat_interleave(4, 1)[:, :9].repeat_interleave(2, 2)
    same_gradients(out, share[..., None] * leaves["local_out"], leaves)


@pytest.mark.parametrize("tokens", [1, 4])
def test_a_row_without_chunks_gets_the_local_output_exactly(tokens: int) -> None:
    # Also under "+ 1", whose running maximum starts at 0 and not at the local LSE.
    shapes = ((1, tokens, 4, 32), (1, 64, 2, 32), (1, 64, 2, 32), (1, tokens, 4, 32))
    query, keys, values, local_out = (
        rand(*shape, seed=seed).detach().float() for seed, shape in enumerate(shapes)
    )
    query.requires_grad_()
    local_lse = (rand(1, tokens, 4).detach().float() - 3.0).requires_grad_()
    indices = torch.full((1, tokens, 2, 3), -1, dtype=torch.int32)
    out = chunk_attention(
        query,
        keys,
        values,
        Selection(indices, None, None, None),
        chunk_size=16,
        plus_one=True,
        local_out=local_out,
        local_lse=local_lse,
        backend="tvm",
    )
    assert torch.equal(out, local_out)
    d_lse, d_q = torch.autograd.grad(out.sum(), [local_lse, query])
    assert not d_lse.any()
    assert not d_q.any()
