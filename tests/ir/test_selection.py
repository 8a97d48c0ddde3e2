"""Which chunks are selected: ties, dropped and forced chunks, noise."""

from __future__ import annotations

import pytest
import torch

from hsa_compiler.ir import interpret
from hsa_compiler.ir.programs import (
    RetrieveOptions,
    retrieve_program,
)
from tests.ir.helpers import (
    assert_close,
    dims_of,
    random_values,
    ranges,
)
from tests.naive import (
    naive_gumbel,
    naive_retrieve,
)


def test_ties_go_to_the_newer_chunk_and_dropped_chunks_stay_out() -> None:
    dims = dims_of(64, batch=1, score=1, landmark=1, index=1, weight=1)
    program = retrieve_program(RetrieveOptions(3, 1.0, bias=True, dtype="fp32"))
    bias = torch.zeros(1, 8, 1, dtype=torch.float64)
    bias[0, 6] = -torch.inf
    values = random_values(program, dims, chunk_bias=bias, **ranges(dims))
    values["q_slc"] = torch.zeros_like(values["q_slc"])
    indices = interpret(program, values, dims)["indices"][0, :, 0]
    assert indices[63].tolist() == [5, 4, 3]
    assert indices[30].tolist() == [2, 1, 0]
    assert indices[17].tolist() == [1, 0, -1]
    assert indices[7].tolist() == [-1, -1, -1]


@pytest.mark.parametrize("reduce", ["max", "sum", "single"])
@pytest.mark.parametrize("normalized", [False, True])
def test_forced_chunks_and_row_lse(reduce: str, normalized: bool) -> None:
    dims = dims_of(70, score=4, index=2, top_k=4)
    program = retrieve_program(
        RetrieveOptions(
            4,
            0.5,
            normalize=None,
            reduce=reduce,
            row_lse=normalized,
            force_first=1,
            force_last=2,
            dtype="fp32",
        )
    )
    values = random_values(program, dims, **ranges(dims))
    ours = interpret(program, values, dims)["indices"]
    theirs = naive_retrieve(
        values["q_slc"],
        values["landmarks"],
        values["lo"],
        values["hi"],
        top_k=4,
        normalize=None,
        index_heads=2,
        scale=0.5,
        reduce=reduce,
        row_lse=values.get("row_lse"),
        force_first=1,
        force_last=2,
    ).indices
    assert torch.equal(ours, theirs)
    assert bool((ours[:, 69, :, :2] == torch.tensor([7, 6])).all())
    assert bool((ours[:, 69, :, 3] == 0).all())


@pytest.mark.parametrize("seed", [0, 7, -1])
def test_gumbel_noise_depends_on_the_seed_alone(seed: int) -> None:
    dims = dims_of(40)
    program = retrieve_program(RetrieveOptions(3, 0.1, noise=True, dtype="fp32"))
    values = random_values(
        program, dims, seed=torch.tensor([seed], dtype=torch.int32), **ranges(dims)
    )
    ours = interpret(program, values, dims)
    theirs = naive_retrieve(
        values["q_slc"],
        values["landmarks"],
        values["lo"],
        values["hi"],
        top_k=3,
        scale=0.1,
        noise=naive_gumbel(seed, dims["B"], dims["R"], 2, dims["C"]),
    )
    assert torch.equal(ours["indices"], theirs.indices)
    assert_close(ours["weights"], theirs.weights)  # the noise is not in the weights
    again = interpret(program, values, dims)
    assert all(torch.equal(ours[name], again[name]) for name in ours)
    other = interpret(program, {**values, "seed": torch.tensor([seed + 1])}, dims)
    assert not torch.equal(ours["indices"], other["indices"])


def test_noise_is_finite_in_fp32() -> None:
    from hsa_compiler.ir.reference import gumbel_noise

    noise = gumbel_noise(3, torch.Size([1, 256, 2, 256]), torch.float32, torch.device("cpu"))
    assert bool(noise.isfinite().all())
    assert abs(float(noise.mean()) - 0.5772) < 0.02
