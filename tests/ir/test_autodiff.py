"""Which kernels the programs become, and what goes in and out of each."""

from __future__ import annotations

import pytest
import torch

from hsa_compiler.ir import (
    Program,
    differentiate,
    fuse_groups,
    interpret,
    saved_for_backward,
    verify,
)
from hsa_compiler.ir.programs import (
    AttentionOptions,
    RetrieveOptions,
    chunk_attention_program,
    hsa_program,
    retrieve_program,
)
from tests.ir.helpers import by_groups, choose, dims_of, random_values

BACKWARD = ["invert_index", "attend_grad_q", "attend_grad_kv", "weigh_grad", "landmark_grad"]


def shape_of(program: Program) -> dict[str, tuple[set[str], set[str]]]:
    return {
        group.kind: (
            {v.name for v in group.program.inputs},
            {v.name for v in group.program.outputs},
        )
        for group in fuse_groups(program)
    }


def test_external_weights() -> None:
    program = hsa_program(RetrieveOptions(8, 0.5), AttentionOptions(64, 0.5))
    forward = shape_of(program)
    assert list(forward) == ["select", "weigh", "attend"]
    assert forward["weigh"] == ({"q_slc", "landmarks", "indices"}, {"slots", "weights"})
    assert forward["attend"] == ({"q", "k", "v", "indices", "weights"}, {"out"})

    backward = differentiate(program, of=["out"])
    assert saved_for_backward(program, backward) == ("indices", "weights")
    groups = shape_of(backward)
    assert list(groups) == BACKWARD
    assert groups["attend_grad_q"] == (
        {"q", "k", "v", "indices", "weights", "d_out"},
        {"d_q", "d_weights"},
    )
    assert groups["attend_grad_kv"] == (
        {"q", "k", "v", "order", "offsets", "weights", "d_out"},
        {"d_k", "d_v"},
    )
    assert groups["weigh_grad"] == (
        {"weights", "d_weights", "indices", "landmarks"},
        {"d_slots", "d_q_slc"},
    )
    assert groups["landmark_grad"] == (
        {"d_slots", "indices", "q_slc", "order", "offsets"},
        {"d_landmarks"},
    )


def test_an_inverse_index_of_the_forward_pass_serves_every_gradient() -> None:
    program = hsa_program(
        RetrieveOptions(8, 0.5, inverse=True), AttentionOptions(64, 0.5, inverse=True)
    )
    forward = shape_of(program)
    assert list(forward) == ["select", "weigh", "invert_index", "attend"]
    inverse = {"order", "offsets"}
    assert forward["invert_index"] == ({"indices"}, inverse)
    assert inverse <= forward["attend"][0]
    backward = differentiate(program, of=["out"])
    assert saved_for_backward(program, backward) == ("indices", "order", "offsets", "weights")
    groups = shape_of(backward)
    assert list(groups) == BACKWARD[1:]
    for kind in ("attend_grad_q", "attend_grad_kv", "landmark_grad"):
        assert inverse <= groups[kind][0]


def test_joint_softmax_needs_no_second_pass() -> None:
    program = chunk_attention_program(AttentionOptions(64, 0.5, joint=True, local=True))
    backward = differentiate(program)
    assert saved_for_backward(program, backward) == ("out", "total_lse")
    groups = shape_of(backward)
    assert list(groups) == BACKWARD[:3]
    common = {"q", "k", "v", "indices", "total_lse", "d_out"}
    assert groups["attend_grad_q"] == (
        common | {"out", "local_out", "local_lse"},
        {"d_q", "delta", "d_local_out", "d_local_lse"},
    )
    assert groups["attend_grad_kv"] == (common | {"delta", "order", "offsets"}, {"d_k", "d_v"})


def test_keys_and_values_alone_are_one_kernel_and_its_index() -> None:
    program = chunk_attention_program(AttentionOptions(64, 0.5, joint=True))
    groups = shape_of(differentiate(program, wrt=["k", "v"]))
    assert list(groups) == ["invert_index", "attend_grad_kv"]
    assert {"out", "d_out"} <= groups["attend_grad_kv"][0]


def test_merged_local_branch() -> None:
    backward = differentiate(chunk_attention_program(AttentionOptions(64, 0.5, local=True)))
    inputs, outputs = shape_of(backward)["attend_grad_q"]
    assert {"local_out", "local_weight"} <= inputs
    assert outputs == {"d_q", "d_weights", "d_local_out", "d_local_weight"}


def test_slots_are_saved_for_stick_breaking_alone() -> None:
    for kind, saved in (
        ("softmax", ("indices", "weights")),
        ("stick_breaking", ("indices", "slots", "weights")),
        ("lse_mix", ("indices", "weights", "local_weight")),
    ):
        program = retrieve_program(RetrieveOptions(8, 0.5, normalize=kind))
        of = [v.name for v in program.outputs if "weight" in v.name]
        assert saved_for_backward(program, differentiate(program, of=of)) == saved


def test_a_second_gradient_of_a_value_is_added() -> None:
    program = retrieve_program(RetrieveOptions(8, 0.5))
    plain, both = differentiate(program, of=["weights"]), differentiate(program)
    assert plain.find("add") is None
    groups = shape_of(both)
    assert {"d_weights", "d_slots"} <= groups["weigh_grad"][0]
    assert shape_of(plain)["weigh_grad"][1] == {"d_slots", "d_q_slc"}
    assert both.find("add") is not None
    everything = differentiate(
        hsa_program(
            RetrieveOptions(8, 0.5, normalize="lse_mix"), AttentionOptions(64, 0.5, local=True)
        )
    )
    assert [op.kind for op in everything.ops].count("add") == 3
    assert shape_of(everything)["weigh_grad"][0] >= {"d_weights", "d_slots", "d_local_weight"}
    only_slots = differentiate(program, of=["slots"])
    assert only_slots.find("normalize_grad") is None
    assert [value.name for value in only_slots.outputs] == ["d_q_slc", "d_landmarks"]


@pytest.mark.parametrize("joint", [False, True])
@pytest.mark.parametrize("wrt", [["q"], ["k"], ["v", "local_out"]])
def test_gradients_of_some_inputs(wrt: list[str], joint: bool) -> None:
    """The same numbers as those of the full backward program."""
    dims = dims_of(20, chunk=8)
    program = chunk_attention_program(
        AttentionOptions(8, 0.5, joint=joint, local=True, dtype="fp32")
    )
    values = random_values(program, dims, indices=choose(dims))
    values |= interpret(program, values, dims)
    values["d_out"] = torch.randn_like(values["out"])
    every = interpret(differentiate(program), values, dims)
    some = interpret(differentiate(program, wrt), values, dims)
    assert list(some) == [f"d_{name}" for name in wrt]
    grouped = by_groups(differentiate(program, wrt), values, dims)
    assert all(torch.equal(some[name], grouped[name]) for name in some)
    assert all(torch.equal(some[name], every[name]) for name in some)


def test_unused_outputs_cost_nothing() -> None:
    program = hsa_program(RetrieveOptions(8, 0.5), AttentionOptions(64, 0.5))
    only_out = verify(program.with_outputs(["out"]))
    assert shape_of(only_out)["weigh"][1] == {"weights"}
    selection = verify(program.with_outputs(["indices"]))
    assert [group.kind for group in fuse_groups(selection)] == ["select"]
    assert {"q", "k", "v"}.isdisjoint(value.name for value in selection.inputs)


def test_scores_and_parts_never_reach_memory() -> None:
    program = hsa_program(RetrieveOptions(8, 0.5), AttentionOptions(64, 0.5))
    for stage in (program, differentiate(program)):
        for group in fuse_groups(stage):
            stored = {v.name for v in (*group.program.inputs, *group.program.outputs)}
            assert stored.isdisjoint({"scores", "parts", "lse", "d_scores", "d_parts"})
