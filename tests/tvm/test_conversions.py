"""Sums that become outputs by launches of their own, for kernels that run without the runtime."""

from __future__ import annotations

import pytest
import torch

from hsa_compiler.lowering.conversions import with_conversions
from hsa_compiler.tile.builder import TileBuilder
from hsa_compiler.tile.ir import Kernel, Size, TileProgram, Workspace
from tests.tvm.harness import launch


def summing_kernel() -> Kernel:
    b = TileBuilder("summing")
    b.pointer("d_k", "bf16")
    b.pointer("d_k_sum", "fp32")
    return b.finish((1,))


def program() -> TileProgram:
    space = Workspace("d_k_sum", "fp32", Size.of("L") * 8, zeroed=True)
    bindings, sums = {"d_k": "d_k"}, {"d_k": "d_k_sum"}
    return TileProgram((summing_kernel(),), bindings, (space,), (), sums)


@pytest.mark.parametrize("rows", [1, 127, 128, 129, 700])
def test_every_element_is_rounded_once(rows: int) -> None:
    converted = with_conversions(program())
    assert [kernel.name for kernel in converted.kernels] == ["summing", "store_d_k"]
    assert not converted.accumulators
    *_, kernel = converted.kernels
    alone = TileProgram((kernel,), {"d_k": "d_k", "d_k_sum": "d_k_sum"})
    sums = torch.randn(rows * 8)
    out = torch.full((rows * 8,), float("nan"), dtype=torch.bfloat16)
    dims = {"L": rows}
    scalars = {scalar.name: scalar.size.evaluate(dims) for scalar in kernel.scalars}
    grid = tuple(size.evaluate(dims) for size in kernel.grid)
    launch(alone)({"d_k": out, "d_k_sum": sums}, scalars, grid)
    assert torch.equal(out, sums.bfloat16())


def test_a_program_without_sums_stays_itself() -> None:
    plain = TileProgram((summing_kernel(),), {"d_k": "d_k", "d_k_sum": "d_k_sum"})
    assert with_conversions(plain) is plain
