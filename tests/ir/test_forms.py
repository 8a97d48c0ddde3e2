"""The gradients of attention as two kernels and as one."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from hsa_compiler.ir import IRError, differentiate, fuse_groups, group_forms, interpret
from hsa_compiler.ir.programs import AttentionOptions, chunk_attention_program
from tests.ir.helpers import by_groups, choose, dims_of, random_values

WEIGHTED = AttentionOptions(4, 0.5, inverse=True)


@pytest.mark.parametrize("local", [False, True])
@pytest.mark.parametrize("joint", [False, True])
def test_one_kernel_reads_and_gives_what_two_do(joint: bool, local: bool) -> None:
    program = chunk_attention_program(dataclasses.replace(WEIGHTED, joint=joint, local=local))
    forms = group_forms(differentiate(program))
    assert list(forms) == ["split", "fused"]
    queries, keys = forms["split"]
    (both,) = forms["fused"]
    assert (queries.kind, keys.kind) == ("attend_grad_q", "attend_grad_kv")
    assert both.kind == "attend_grad"

    def names(values: object) -> set[str]:
        return {value.name for value in values}  # type: ignore[attr-defined]

    # What one kernel leaves for the other stays inside.
    between = {"delta"} if joint else set()
    inputs = names(queries.program.inputs) | names(keys.program.inputs)
    outputs = names(queries.program.outputs) | names(keys.program.outputs)
    assert names(both.program.inputs) == inputs - between
    assert names(both.program.outputs) == outputs - between


@pytest.mark.parametrize("joint", [False, True])
def test_both_forms_give_the_same_bits(joint: bool) -> None:
    options = dataclasses.replace(WEIGHTED, joint=joint, local=True)
    program = chunk_attention_program(options)
    backward = differentiate(program)
    dims = dims_of(length=9, length_kv=14, chunk=4)
    given = random_values(program, dims, indices=choose(dims))
    order, offsets = _inverse(given["indices"], dims["C"])
    values = {name: x.detach() for name, x in given.items()} | {"order": order, "offsets": offsets}
    values |= {name: x.detach() for name, x in interpret(program, values, dims).items()}
    values["d_out"] = torch.randn(values["q"].shape, dtype=torch.float64)
    split, fused = (by_groups(backward, values, dims, form) for form in group_forms(backward))
    assert list(split) == list(fused)
    assert all(torch.equal(split[name], fused[name]) for name in split)


def _inverse(indices: torch.Tensor, chunks: int) -> tuple[torch.Tensor, torch.Tensor]:
    batch, _, heads, _ = indices.shape
    flat = indices.permute(0, 2, 1, 3).reshape(batch, heads, -1)
    order = flat.masked_fill(flat < 0, chunks).argsort(dim=2, stable=True).int()
    counts = torch.stack([(flat == chunk).sum(2) for chunk in range(chunks)], 2)
    return order, torch.nn.functional.pad(counts.cumsum(2), (1, 0)).int()


@pytest.mark.parametrize(
    ("options", "wrt"),
    [
        (dataclasses.replace(WEIGHTED, inverse=False), None),
        (WEIGHTED, ["q", "weights"]),
        (WEIGHTED, ["k", "v"]),
    ],
    ids=["no inverse index", "no keys", "no queries"],
)
def test_a_program_without_both_gradients_has_one_form(
    options: AttentionOptions, wrt: list[str] | None
) -> None:
    backward = differentiate(chunk_attention_program(options), wrt)
    assert list(group_forms(backward)) == ["split"]
    with pytest.raises(IRError, match="has no fused form: expected attend_grad_q and"):
        fuse_groups(backward, "fused")


def test_a_form_that_does_not_exist_is_named() -> None:
    with pytest.raises(IRError, match="no form 'whole' of a program; there are: split, fused"):
        fuse_groups(chunk_attention_program(WEIGHTED), "whole")
