"""The public door on the reference back end in float64, against naive PyTorch, with gradients."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import torch
from torch import Tensor

from hsa_compiler import Selection, chunk_attention, hsa_attention, retrieve
from tests import naive
from tests.runtime.door import S, hsa_inputs, rand, same, same_gradients

CASES: dict[str, dict[str, Any]] = {
    "plain": {},
    "one score head": {"shapes": {"score_heads": 1}},
    "one landmark head": {"shapes": {"landmark_heads": 1}},
    "weights per query head": {"shapes": {"score_heads": 4}, "weight_heads": "query"},
    "groups of 1": {"shapes": {"heads": 2}},
    "groups of 3": {"shapes": {"heads": 6}},
    "stick breaking": {"normalize": "stick_breaking"},
    "off by one": {"normalize": "softmax_off_by_one"},
    "window": {"window": 24},
    "window smaller than a chunk": {"window": 5},
    "continued": {"shapes": {"length": 9, "kv_length": 61}, "q_offset": 52},
    "queries past the keys": {"shapes": {"length": 20, "kv_length": 32}, "q_offset": 30},
    "scale": {"scale": 0.3},
    "more slots than chunks": {"top_k": 7},
}


@pytest.mark.parametrize("name", CASES)
def test_hsa_attention_agrees_with_the_naive_one(name: str) -> None:
    options = {"top_k": 2, **CASES[name]}
    leaves = hsa_inputs(**options.pop("shapes", {}))
    leaves["chunk_bias"] = rand(*leaves["landmarks"].shape[:3], seed=6)
    out, selection = hsa_attention(
        **leaves, **options, chunk_size=S, backend="reference", return_selection=True
    )
    expected, chosen = naive.naive_hsa(**leaves, **options, chunk_size=S)
    assert torch.equal(selection.indices, chosen.indices)
    assert selection.indices.dtype == torch.int32
    same(selection.weights, chosen.weights)
    same(selection.scores, chosen.scores)
    same_gradients(out, expected, leaves)


def test_rank_scale_is_learned() -> None:
    leaves = hsa_inputs()
    leaves["rank_scale"] = torch.tensor(0.3, dtype=torch.float64, requires_grad=True)
    out = hsa_attention(**leaves, chunk_size=S, top_k=3, backend="reference")
    expected, _ = naive.naive_hsa(**leaves, chunk_size=S, top_k=3)
    same_gradients(out, expected, leaves)


@pytest.mark.parametrize("lse_heads", [1, 2, 4])
def test_lse_mix_merges_the_local_branch(lse_heads: int) -> None:
    leaves = hsa_inputs()
    leaves["local_out"] = rand(2, 50, 4, 16, seed=7)
    leaves["local_lse"] = rand(2, 50, lse_heads, seed=8)
    options = {"chunk_size": S, "top_k": 2, "normalize": "lse_mix"}
    out, selection = hsa_attention(**leaves, **options, backend="reference", return_selection=True)
    assert selection.local_weight.shape == (2, 50, max(lse_heads, 2))
    repeat = selection.local_weight.shape[2] // lse_heads
    expected, chosen = naive.naive_hsa(
        **{**leaves, "local_lse": leaves["local_lse"].repeat_interleave(repeat, 2)},
        **options,
        weight_heads="query" if lse_heads == 4 else "kv",
    )
    same(selection.local_weight, chosen.local_weight)
    same_gradients(out, expected, leaves)
    # A token that sees no chunk gets exactly the local branch.
    assert torch.equal(out[:, : S - 1], leaves["local_out"][:, : S - 1])


def test_packed_sequences_are_independent() -> None:
    cu_q, cu_kv = [0, 20, 20, 61, 70], [0, 20, 36, 84, 90]
    chunks = sum((b - a) // S for a, b in itertools.pairwise(cu_kv))
    leaves = hsa_inputs(batch=1, length=70, kv_length=90, chunks=chunks)
    tables = {"cu_seqlens_q": torch.tensor(cu_q), "cu_seqlens_kv": torch.tensor(cu_kv)}
    out = hsa_attention(**leaves, **tables, chunk_size=S, top_k=2, backend="reference")
    expected, _ = naive.naive_hsa(
        **leaves, cu_seqlens_q=cu_q, cu_seqlens_kv=cu_kv, chunk_size=S, top_k=2
    )
    same_gradients(out, expected, leaves)
    alone = hsa_attention(
        leaves["q"][:, 20:61],
        leaves["k"][:, 36:84],
        leaves["v"][:, 36:84],
        leaves["q_slc"][:, 20:61],
        leaves["landmarks"][:, 2:5],
        chunk_size=S,
        top_k=2,
        backend="reference",
    )
    same(out[:, 20:61], alone)


def test_one_table_of_sequence_starts_serves_both_sides() -> None:
    leaves = hsa_inputs(batch=1, length=40, chunks=2)
    table = torch.tensor([0, 22, 40], dtype=torch.int32)
    options = {"chunk_size": S, "top_k": 2, "backend": "reference"}
    both = hsa_attention(**leaves, **options, cu_seqlens_q=table, cu_seqlens_kv=table)
    assert torch.equal(hsa_attention(**leaves, **options, cu_seqlens_q=table), both)
    assert torch.equal(hsa_attention(**leaves, **options, cu_seqlens_kv=table), both)


def test_noise_follows_its_seed_and_changes_the_selection_alone() -> None:
    leaves = hsa_inputs(length=130)
    options = {"chunk_size": S, "top_k": 2, "backend": "reference", "kv_heads": 2}
    heads = leaves["q_slc"], leaves["landmarks"]
    noisy = retrieve(*heads, **options, noise_seed=5)
    again = retrieve(*heads, **options, noise_seed=torch.tensor(5))
    assert torch.equal(noisy.indices, again.indices)
    assert not torch.equal(noisy.indices, retrieve(*heads, **options, noise_seed=6).indices)
    assert not torch.equal(noisy.indices, retrieve(*heads, **options).indices)
    lo, hi = naive.visible_range(130, 8, S, batch=2)
    noise = naive.naive_gumbel(5, 2, 130, 2, 8)
    expected = naive.naive_retrieve(*heads, lo, hi, top_k=2, noise=noise)
    assert torch.equal(noisy.indices, expected.indices)
    same(noisy.weights, expected.weights)  # from the scores without noise


def test_large_and_negative_seeds_wrap() -> None:
    leaves = hsa_inputs(length=130)
    options = {"chunk_size": S, "top_k": 2, "backend": "reference"}
    heads = leaves["q_slc"], leaves["landmarks"]
    low = retrieve(*heads, **options, noise_seed=-1).indices
    high = retrieve(*heads, **options, noise_seed=2**32 - 1).indices
    assert torch.equal(low, high)


def test_forced_chunks_are_always_chosen() -> None:
    leaves = hsa_inputs(length=130)
    selection = retrieve(
        leaves["q_slc"],
        leaves["landmarks"],
        chunk_size=S,
        top_k=3,
        force_first=1,
        force_last=1,
        backend="reference",
    )
    last_row = selection.indices[:, -1]
    assert bool((last_row[..., 0] == 7).all())
    assert bool((last_row[..., 2] == 0).all())


def test_blocks_of_queries_share_a_row() -> None:
    leaves = hsa_inputs(length=37)
    rows = rand(2, 10, 2, 32, seed=11)
    selection = retrieve(
        rows, leaves["landmarks"], chunk_size=S, top_k=2, query_block=4, backend="reference"
    )
    lo, hi = naive.visible_range(37, 2, S, query_block=4, batch=2)
    chosen = naive.naive_retrieve(rows, leaves["landmarks"], lo, hi, top_k=2)
    assert torch.equal(selection.indices, chosen.indices)
    tensors = {name: leaves[name] for name in "qkv"}
    out = chunk_attention(
        **tensors, selection=selection, chunk_size=S, query_block=4, backend="reference"
    )
    expected = naive.naive_chunk_attention(
        **tensors, indices=chosen.indices, weights=chosen.weights, chunk_size=S, query_block=4
    )
    same_gradients(out, expected, {**tensors, "rows": rows, "landmarks": leaves["landmarks"]})


def test_score_heads_of_a_kv_head_share_a_selection() -> None:
    leaves = hsa_inputs(score_heads=4)
    selection = retrieve(
        leaves["q_slc"],
        leaves["landmarks"],
        chunk_size=S,
        top_k=1,
        kv_heads=2,
        weight_heads="query",
        backend="reference",
    )
    assert selection.indices.shape == (2, 50, 2, 1)
    assert selection.weights.shape == (2, 50, 4, 1)
    lo, hi = naive.visible_range(50, 3, S, batch=2)
    chosen = naive.naive_retrieve(
        leaves["q_slc"], leaves["landmarks"], lo, hi, top_k=1, index_heads=2
    )
    assert torch.equal(selection.indices, chosen.indices)


def test_scores_pass_gradients() -> None:
    leaves = hsa_inputs()
    selection = retrieve(
        leaves["q_slc"], leaves["landmarks"], chunk_size=S, top_k=2, backend="reference"
    )
    lo, hi = naive.visible_range(50, 3, S, batch=2)
    chosen = naive.naive_retrieve(leaves["q_slc"], leaves["landmarks"], lo, hi, top_k=2)
    seen = selection.indices >= 0

    def loss(found: Any) -> Tensor:
        return torch.where(seen, found.scores, 0).square() + torch.where(seen, found.weights, 0)

    tensors = {name: leaves[name] for name in ("q_slc", "landmarks")}
    same_gradients(loss(selection), loss(chosen), tensors)


def random_indices(batch: int, rows: int, heads: int, k: int, chunks: int) -> Tensor:
    """Indices with holes and repetitions, in no order."""
    generator = torch.Generator().manual_seed(3)
    return torch.randint(-1, chunks, (batch, rows, heads, k), generator=generator)


@pytest.mark.parametrize("local", [False, True])
@pytest.mark.parametrize("plus_one", [False, True])
@pytest.mark.parametrize("index_heads", [1, 2, 4])
def test_joint_softmax_over_bare_indices(index_heads: int, plus_one: bool, local: bool) -> None:
    leaves = {name: hsa_inputs()[name] for name in "qkv"}
    if local:
        leaves["local_out"] = rand(2, 50, 4, 16, seed=7)
        leaves["local_lse"] = rand(2, 50, 4, seed=8)
    indices = random_indices(2, 50, index_heads, 3, 3)
    options = {"chunk_size": S, "plus_one": plus_one}
    out = chunk_attention(**leaves, selection=indices, **options, backend="reference")
    expected = naive.naive_chunk_attention(**leaves, indices=indices.int(), weights=None, **options)
    same_gradients(out, expected, leaves)
    selection = Selection(indices)
    again = chunk_attention(**leaves, selection=selection, **options, backend="reference")
    assert torch.equal(out, again)


def test_external_weights_with_duplicates_add_up() -> None:
    leaves = {name: hsa_inputs()[name] for name in "qkv"}
    indices = torch.ones(2, 50, 2, 3, dtype=torch.int32)
    leaves["weights"] = rand(2, 50, 2, 3, seed=4)
    tensors = {name: leaves[name] for name in "qkv"}
    options = {"chunk_size": S, "hide_last": True, "backend": "reference"}
    out = chunk_attention(**tensors, selection=Selection(indices, leaves["weights"]), **options)
    once = chunk_attention(
        **tensors,
        selection=Selection(indices[..., :1], leaves["weights"].sum(3, keepdim=True)),
        **options,
    )
    same_gradients(out, once, leaves)


def test_tokens_without_chunks_are_exactly_zero_and_pass_no_gradient() -> None:
    leaves = hsa_inputs(length=40)
    out = hsa_attention(**leaves, chunk_size=S, top_k=2, backend="reference")
    assert torch.equal(out[:, :S], torch.zeros_like(out[:, :S]))
    grads = torch.autograd.grad(out.square().sum(), list(leaves.values()))
    for name, grad in zip(leaves, grads, strict=True):
        if name in ("q", "q_slc"):
            assert not grad[:, :S].any(), name
    assert not grads[1][:, 32:].any()  # keys of the ignored tail


def test_selection_alone_makes_no_weights() -> None:
    leaves = hsa_inputs()
    tensors = leaves["q_slc"], leaves["landmarks"]
    options = {"chunk_size": S, "top_k": 2, "backend": "reference"}
    bare = retrieve(*tensors, **options, normalize=None)
    assert bare.weights is bare.scores is bare.local_weight is None
    assert torch.equal(bare.indices, retrieve(*tensors, **options).indices)


def test_strided_inputs_give_the_same_result() -> None:
    leaves = hsa_inputs()
    options = {"chunk_size": S, "top_k": 2, "backend": "reference"}
    out = hsa_attention(**leaves, **options)
    strided = {n: x.transpose(1, 2).contiguous().transpose(1, 2) for n, x in leaves.items()}
    assert not strided["q"].is_contiguous()
    same_gradients(hsa_attention(**strided, **options), out, leaves)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_results_have_the_dtype_of_the_inputs(dtype: torch.dtype) -> None:
    leaves = {n: x.detach().to(dtype).requires_grad_() for n, x in hsa_inputs().items()}
    out, selection = hsa_attention(
        **leaves, chunk_size=S, top_k=2, backend="reference", return_selection=True
    )
    assert out.dtype == dtype
    assert selection.weights.dtype == selection.scores.dtype == torch.float32
    out.float().sum().backward()
    assert all(x.grad.dtype == dtype for x in leaves.values())
