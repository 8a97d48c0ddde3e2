"""What is kept, where it is held, how far addresses run: passes over tile programs."""

from __future__ import annotations

import pytest

from hsa_compiler.codegen.cuda import layout as lo
from hsa_compiler.codegen.cuda.assign import Assignment
from hsa_compiler.codegen.cuda.contiguity import Contiguity
from hsa_compiler.codegen.cuda.values import Values
from hsa_compiler.compiler import lower_kernel
from hsa_compiler.schedules.defaults import generic
from hsa_compiler.schedules.problem import Target
from hsa_compiler.tile.builder import TileBuilder
from hsa_compiler.tile.ir import Kernel, Let, Var
from tests import problems


def lets(kernel: Kernel) -> dict[str, Let]:
    """The lets of a kernel by name."""
    values = Values(kernel)
    return {var.name: info.let for var, info in values.infos.items() if info.let is not None}


@pytest.fixture(scope="module")
def attend() -> Kernel:
    problem, _ = problems.make("attend")
    schedule = generic("attend", "cuda").replace(order="union", tokens=4)
    (kernel,) = (
        k
        for k in lower_kernel(problem, schedule, Target("cuda", "sm_80")).kernels
        if k.name == "attend"
    )
    return kernel


def test_keys_and_values_go_to_shared_memory_and_queries_to_registers(attend: Kernel) -> None:
    values = Values(attend)
    found = Assignment(attend, values, 4)
    named = lets(attend)
    assert {var.name for var in found.shared} == {"b_k", "b_v"}
    assert all(found.is_direct(named[name]) for name in ("b_k", "b_v"))
    assert not found.layouts[named["b_k"].var]
    scores = found.homes[named["b_s"].var]
    assert scores == lo.accumulator((64, 64), 4)
    assert found.layouts[named["b_q"].var][1:] == [lo.left_operand(scores, 128)]


def test_probabilities_are_an_operand_as_they_come(attend: Kernel) -> None:
    found = Assignment(attend, Values(attend), 4)
    named = lets(attend)
    assert found.layouts[named["b_p_2"].var] == [found.homes[named["b_s"].var]]
    # Every row of a tile's weights is where its scores are: lanes that share a row share its slots.
    assert found.homes[named["b_w"].var].registers == 1
    assert found.homes[named["b_weights"].var].registers == 1


def test_warpgroups_hold_rows_and_read_swizzled_keys(attend: Kernel) -> None:
    found = Assignment(attend, Values(attend), 4, warpgroups=True)
    named = lets(attend)
    assert {var.name for var in found.swizzled} == {"b_k", "b_v"}
    scores = found.homes[named["b_s"].var]
    assert scores == lo.warpgroup_accumulator((64, 64), 4)
    assert found.layouts[named["b_q"].var][1:] == [lo.left_operand(scores, 128)]
    # Too few rows for eight warps.
    assert not Assignment(attend, Values(attend), 8, warpgroups=True).swizzled


@pytest.mark.parametrize(("registers", "held"), [(0, True), (168, True), (128, False)])
def test_queries_stay_in_shared_memory_where_registers_are_few(
    attend: Kernel, registers: int, held: bool
) -> None:
    found = Assignment(attend, Values(attend), 4, registers, warpgroups=True)
    assert ("b_q" in {var.name for var in found.swizzled}) is not held


def test_many_rows_of_queries_stay_in_shared_memory(attend: Kernel) -> None:
    found = Assignment(attend, Values(attend), 1)
    assert "b_q" in {var.name for var in found.shared}


def test_addresses_are_computed_where_they_are_used(attend: Kernel) -> None:
    values = Values(attend)
    kept = {var.name for var in values.infos if var.shape and var not in values.inlined}
    assert not {name for name in kept if name.startswith("o_")}
    assert not {var for var in values.infos if var.name in kept and var.dtype == "i64"}


def check_vector(expected: int, make: object, most: int = 8) -> None:
    """The longest access of an offset that `make` builds along the last axis."""
    b = TileBuilder("kernel")
    offset, mask = make(b)  # type: ignore[operator]
    out = b.pointer("out", "bf16")
    b.store(out, offset, b.load(b.pointer("x", "bf16"), offset, mask), mask)
    values = Values(b.finish([1]))
    found = Contiguity(values).vector(offset, mask, len(offset.shape) - 1, most)
    assert found == expected


def matrix(b: TileBuilder, rows: Var, stride: int, columns: int) -> Var:
    return (rows * stride).as_column + b.arange(columns).as_row


def test_rows_of_a_matrix_run_on() -> None:
    check_vector(8, lambda b: (matrix(b, b.arange(16), 64, 32), None))
    check_vector(4, lambda b: (matrix(b, b.arange(16), 20, 32), None))
    check_vector(1, lambda b: (matrix(b, b.arange(16), 7, 32), None))
    check_vector(2, lambda b: (matrix(b, b.arange(16), 64, 2), None))
    check_vector(8, lambda b: (matrix(b, b.scalar("L") + b.arange(16), 64, 32), None))
    check_vector(1, lambda b: (b.scalar("L") + matrix(b, b.arange(16), 64, 32), None))
    check_vector(8, lambda b: (b.scalar("L") * 8 + matrix(b, b.arange(16), 64, 32), None))


def test_rows_may_be_anywhere() -> None:
    def chosen(b: TileBuilder) -> tuple[Var, None]:
        rows = b.load(b.pointer("rows", "i32"), b.arange(16))
        return matrix(b, rows, 64, 32), None

    check_vector(8, chosen)


def test_columns_out_of_order_do_not_run_on() -> None:
    check_vector(1, lambda b: ((b.arange(16).as_column + (b.arange(32) * 2).as_row), None))
    check_vector(8, lambda b: ((b.arange(64) // 16) * 32 + b.arange(64) % 16, None))
    check_vector(4, lambda b: ((b.arange(64) // 4) * 32 + b.arange(64) % 4, None))


def test_masks_must_not_cut_an_access() -> None:
    def masked(limit: int, along: int) -> object:
        def make(b: TileBuilder) -> tuple[Var, Var]:
            o_row, o_col = b.arange(16), b.arange(32)
            offset = (o_row * 64).as_column + o_col.as_row
            bound = (o_row < limit).as_column if along == 0 else (o_col < limit).as_row
            return offset, bound

        return make

    check_vector(8, masked(5, 0))
    check_vector(8, masked(24, 1))
    check_vector(4, masked(20, 1))
    check_vector(1, masked(5, 1))
