"""The interpreter and the derived backward programs against naive HSA, in float64."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hsa_compiler.ir import differentiate, interpret
from hsa_compiler.ir.programs import (
    AttentionOptions,
    RetrieveOptions,
    chunk_attention_program,
    hsa_program,
    retrieve_program,
)
from tests.ir.helpers import (
    assert_close,
    assert_same_gradients,
    by_groups,
    choose,
    dims_of,
    random_values,
    ranges,
    run,
)
from tests.naive import (
    chunk_starts,
    naive_chunk_attention,
    naive_hsa,
    naive_retrieve,
)

KINDS = ("softmax", "stick_breaking", "softmax_off_by_one", "lse_mix")


@st.composite
def cases(draw: st.DrawFn) -> dict:
    kv = draw(st.sampled_from([1, 2]))
    heads = kv * draw(st.sampled_from([1, 2, 3]))
    score = draw(st.sampled_from(sorted({1, kv, heads})))
    weight = draw(st.sampled_from(sorted({n for n in (1, kv, heads) if n % score == 0})))
    joint = draw(st.booleans())
    kind = None if joint else draw(st.sampled_from(KINDS))
    block = draw(st.sampled_from([1, 1, 8]))
    window = draw(st.sampled_from([None, 5, 13]))
    ranked = kind in ("softmax", "lse_mix") and draw(st.booleans())
    retrieve = RetrieveOptions(
        draw(st.integers(1, 5)),
        0.7,
        normalize=kind,
        bias=draw(st.booleans()),
        rank_scale=ranked,
        reduce=draw(st.sampled_from(["max", "sum", "single"])),
        dtype="fp32",
    )
    attention = AttentionOptions(
        8,
        0.4,
        joint=joint,
        local=draw(st.booleans()) if joint else kind == "lse_mix",
        query_block=block,
        plus_one=draw(st.booleans()),
        hide_last=draw(st.booleans()),
        dtype="fp32",
    )
    length = draw(st.sampled_from([1, 9, 30]))
    dims = dims_of(
        length,
        heads=heads,
        kv=kv,
        score=score,
        weight=weight,
        top_k=retrieve.top_k,
        index=draw(
            st.sampled_from(
                sorted({n for n in (1, kv, score) if score % n == 0 and heads % n == 0})
            )
        ),
        landmark=draw(st.sampled_from(sorted({1, score}))),
        length_kv=draw(st.sampled_from([length, 8, 43])),
        query_block=block,
    )
    return {
        "retrieve": retrieve,
        "attention": attention,
        "dims": dims,
        "window": window,
        "q_offset": draw(st.sampled_from([0, 0, 11])),
        "seed": draw(st.integers(0, 99)),
    }


@settings(max_examples=80)
@given(cases())
def test_every_combination_of_options_matches_naive_hsa(case: dict) -> None:
    r, a, dims = case["retrieve"], case["attention"], case["dims"]
    program = hsa_program(r, a)
    values = random_values(
        program,
        dims,
        case["seed"],
        **ranges(dims, window=case["window"], q_offset=case["q_offset"], query_block=a.query_block),
    )
    ours = run(program, values, dims)
    selection = naive_retrieve(
        values["q_slc"],
        values["landmarks"],
        values["lo"],
        values["hi"],
        top_k=r.top_k,
        normalize=r.normalize,
        index_heads=dims["Hi"],
        weight_heads=dims["Hw"],
        scale=r.scale,
        reduce=r.reduce,
        chunk_bias=values.get("chunk_bias"),
        rank_scale=values.get("rank_scale"),
        local_lse=None if a.joint else values.get("local_lse"),
    )
    out = naive_chunk_attention(
        values["q"],
        values["k"],
        values["v"],
        selection.indices,
        selection.weights,
        chunk_size=8,
        scale=a.scale,
        local_out=values.get("local_out"),
        local_lse=values.get("local_lse"),
        local_weight=selection.local_weight,
        query_block=a.query_block,
        plus_one=a.plus_one,
        hide_last=a.hide_last,
    )
    assert torch.equal(ours["indices"], selection.indices)
    assert_same_gradients(ours["out"], out, values)


@pytest.mark.parametrize("kind", KINDS)
def test_gradients_of_weights_slots_and_local_weight(kind: str) -> None:
    dims = dims_of(score=2, weight=4)
    options = RetrieveOptions(3, 0.5, normalize=kind, rank_scale=kind == "softmax", dtype="fp32")
    program = retrieve_program(options)
    values = random_values(program, dims, **ranges(dims))
    of = ["weights", "slots"] + ["local_weight"] * (kind == "lse_mix")
    ours = run(program, values, dims, of)
    theirs = naive_retrieve(
        values["q_slc"],
        values["landmarks"],
        values["lo"],
        values["hi"],
        top_k=3,
        normalize=kind,
        scale=0.5,
        weight_heads=4,
        rank_scale=values.get("rank_scale"),
        local_lse=values.get("local_lse"),
    )
    full = theirs.indices >= 0  # slots hold -inf elsewhere
    ours["slots"] = torch.where(full, ours["slots"], 0)
    named = {
        "weights": theirs.weights,
        "slots": torch.where(full, theirs.scores, 0),
        "local_weight": theirs.local_weight,
    }
    assert_same_gradients([ours[n] for n in of], [named[n] for n in of], values)


@pytest.mark.parametrize("joint", [False, True])
@pytest.mark.parametrize("block", [1, 8])
def test_chunk_attention_adds_up_duplicates(joint: bool, block: int) -> None:
    dims = dims_of(index=4, weight=4, query_block=block)
    program = chunk_attention_program(
        AttentionOptions(8, 0.4, joint=joint, local=True, query_block=block, dtype="fp32")
    )
    indices = choose(dims)
    values = random_values(program, dims, indices=indices)
    theirs = naive_chunk_attention(
        values["q"],
        values["k"],
        values["v"],
        indices,
        values.get("weights"),
        chunk_size=8,
        scale=0.4,
        local_out=values["local_out"],
        local_lse=values.get("local_lse"),
        local_weight=values.get("local_weight"),
        query_block=block,
    )
    empty = indices < 0
    assert_same_gradients(run(program, values, dims)["out"], theirs, values)
    if not joint:  # weights of empty slots neither count nor receive gradients
        backward = differentiate(program)
        grads = interpret(backward, {**values, "d_out": torch.ones_like(values["q"])}, dims)
        assert bool((grads["d_weights"].transpose(2, 3)[empty.transpose(2, 3)] == 0).all())


@pytest.mark.parametrize("joint", [False, True])
def test_packed_sequences(joint: bool) -> None:
    cu_q, cu_kv = [0, 3, 21, 40], [0, 7, 29, 48]
    starts = chunk_starts(cu_kv, 8)
    dims = dims_of(40, length_kv=48, batch=1, top_k=2) | {"C": len(starts)}
    assert starts.tolist() == [7, 15, 29, 37]
    program = hsa_program(
        RetrieveOptions(2, 5**-0.5, normalize=None if joint else "softmax", dtype="fp32"),
        AttentionOptions(8, 6**-0.5, joint=joint, packed=True, dtype="fp32"),
    )
    values = random_values(
        program,
        dims,
        chunk_start=starts,
        **ranges(dims, cu_seqlens_q=cu_q, cu_seqlens_kv=cu_kv, q_offset=3),
    )
    theirs, selection = naive_hsa(
        *(values[n] for n in ("q", "k", "v", "q_slc", "landmarks")),
        chunk_size=8,
        top_k=2,
        normalize=None if joint else "softmax",
        q_offset=3,
        cu_seqlens_q=cu_q,
        cu_seqlens_kv=cu_kv,
    )
    ours = run(program, values, dims)
    assert torch.equal(ours["indices"], selection.indices)
    assert_same_gradients(ours["out"], theirs, values)
    alone, _ = naive_hsa(  # the last sequence by itself
        values["q"][:, 21:],
        values["k"][:, 29:],
        values["v"][:, 29:],
        values["q_slc"][:, 21:],
        values["landmarks"][:, 2:],
        chunk_size=8,
        top_k=2,
        q_offset=3,
        normalize=None if joint else "softmax",
    )
    assert_close(ours["out"][:, 21:], alone)


@pytest.mark.parametrize(
    ("kind", "local"),
    [
        ("softmax", False),
        ("stick_breaking", False),
        ("softmax_off_by_one", False),
        ("lse_mix", True),
        (None, False),
        (None, True),
    ],
)
@pytest.mark.parametrize("length_kv", [5, 64])
def test_tokens_that_see_nothing(kind: str | None, local: bool, length_kv: int) -> None:
    """Exact zeros (or the local output) and zero gradients; also with no chunk at all."""
    dims = dims_of(8, length_kv=length_kv)
    program = hsa_program(
        RetrieveOptions(3, 0.5, normalize=kind, dtype="fp32"),
        AttentionOptions(8, 0.4, joint=kind is None, local=local, dtype="fp32"),
    )
    values = random_values(program, dims, **ranges(dims))
    outputs = run(program, values, dims)
    assert bool((outputs["indices"] == -1).all())
    assert torch.equal(
        outputs["out"], values["local_out"] if local else torch.zeros_like(values["q"])
    )
    outputs["out"].sum().backward()
    for name, value in values.items():
        if value.requires_grad:
            expected = torch.ones_like(value) if name == "local_out" else torch.zeros_like(value)
            no_path = kind is None and name in ("q_slc", "landmarks")
            assert value.grad is None if no_path else torch.equal(value.grad, expected), name


def test_local_branch_that_saw_nothing_is_ignored() -> None:
    dims = dims_of(20)
    program = chunk_attention_program(
        AttentionOptions(8, 0.4, joint=True, local=True, dtype="fp32")
    )
    nothing = torch.full((2, 20, 4), -torch.inf, dtype=torch.float64)
    indices = choose(dims)
    indices[:, :5] = -1
    values = random_values(program, dims, indices=indices, local_lse=nothing)
    ours = run(program, values, dims)
    assert bool((ours["out"][:, :5] == 0).all())
    assert bool((ours["total_lse"][:, :5] == -torch.inf).all())
    theirs = naive_chunk_attention(
        values["q"], values["k"], values["v"], indices, None, chunk_size=8, scale=0.4
    )
    assert_same_gradients(ours["out"], theirs, values)


@pytest.mark.parametrize("dtype", ["fp32", "bf16", "fp16"])
def test_precisions(dtype: str) -> None:
    """Outputs come in their type's dtype; nothing is rounded before."""
    dims = dims_of(40)
    program = hsa_program(
        RetrieveOptions(3, 0.4, dtype=dtype), AttentionOptions(8, 0.4, dtype=dtype)
    )
    storage = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}[dtype]
    values = {
        name: x.detach().to(storage) if x.is_floating_point() else x
        for name, x in random_values(program, dims, **ranges(dims)).items()
    }
    outputs = interpret(program, values, dims)
    exact = interpret(program, values, dims, dtype=torch.float64)
    assert outputs["out"].dtype == storage
    assert outputs["weights"].dtype == torch.float32
    assert outputs["indices"].dtype == torch.int32
    assert exact["out"].dtype == exact["weights"].dtype == torch.float64
    assert torch.equal(outputs["indices"], exact["indices"])
    assert_close(
        outputs["out"].double(), exact["out"], {"fp32": 1e-6, "bf16": 4e-3, "fp16": 5e-4}[dtype]
    )
    assert_close(outputs["weights"].double(), exact["weights"], 1e-6)


def test_order_and_offsets_list_pairs_by_chunk() -> None:
    dims = dims_of(20)
    indices = choose(dims)
    program = differentiate(chunk_attention_program(AttentionOptions(8, 0.4, dtype="fp32")))
    index = next(op for op in program.ops if op.kind == "invert_index")
    listing = program.with_outputs([value.name for value in index.results])
    found = by_groups(listing, {"indices": indices}, dims)
    for b in range(2):
        for h in range(2):
            flat = indices[b, :, h].flatten().tolist()
            listed = [[p for p, c in enumerate(flat) if c == chunk] for chunk in range(dims["C"])]
            counts = [sum(map(len, listed[:c])) for c in range(dims["C"] + 1)]
            assert found["offsets"][b, h].tolist() == counts
            assert found["order"][b, h, : counts[-1]].tolist() == [
                pair for pairs in listed for pair in pairs
            ]
            assert bool((found["order"][b, h, counts[-1] :] == -1).all())
