"""Loops with carried tiles and scalars, conditions, launches, exclusive additions, top-k."""

from __future__ import annotations

import pytest
import torch

from hsa_compiler.codegen import tvm
from hsa_compiler.schedules.problem import Target
from hsa_compiler.schedules.schedule import IllegalSchedule, Schedule
from hsa_compiler.tile.builder import TileBuilder
from hsa_compiler.tile.ir import Var
from tests.tvm.harness import build, launch, randint, randn, run_both


def place(b: TileBuilder, rows: int, cols: int) -> Var:
    return (b.arange(rows) * cols).as_column + b.arange(cols).as_row


@pytest.mark.parametrize("lanes", ["rows", "cols"])
def test_carried_tiles_of_a_running_softmax(lanes: str) -> None:
    rows, keys, dim = 8, 16, 24

    def body(b: TileBuilder) -> None:
        q, k, out, ends = (b.pointer(n, "fp32") for n in ("q", "k", "out", "ends"))
        steps = b.scalar("steps")
        b_q = b.load(q, place(b, rows, dim))
        carry = [
            ("b_out", b.full((rows, dim), 0.0, "fp32")),
            ("b_m", b.full((rows,), -1e30, "fp32")),
            ("b_l", b.full((rows,), 0.0, "fp32")),
        ]
        with b.loop(b.program_id(0, "i"), steps, name="i_step", carry=carry) as loop:
            b_out, b_m, b_l = loop.carried
            b_k = b.load(k, place(b, keys, dim) + loop.index * keys * dim)
            b_s = b.dot(b_q, b_k.t)
            new_m = b.maximum(b_m, b.max(b_s, 1))
            rescale = b.exp2(b_m - new_m)
            b_p = b.exp2(b_s - new_m.as_column)
            b_out = b.dot(b_p, b_k, b_out * rescale.as_column)
            loop.yield_(b_out, new_m, b_l * rescale + b.sum(b_p, 1))
        b_out, b_m, b_l = loop.carried
        base = b.program_id(0, "i") * rows * dim
        b.store(out, base + place(b, rows, dim), b_out)
        b.store(ends, b.program_id(0, "i") * 2 * rows + b.arange(rows), b_m)
        b.store(ends, b.program_id(0, "i") * 2 * rows + rows + b.arange(rows), b_l)

    tensors = {
        "q": randn(rows, dim),
        "k": randn(3, keys, dim, seed=1),
        "out": torch.zeros(5, rows, dim),
        "ends": torch.zeros(5, 2, rows),
    }
    # Programs 3 and 4 never enter the loop: its variables keep their start values.
    schedule = Schedule(lanes=lanes)
    run_both(build(body, (5,)), tensors, {"steps": 3}, schedule, tolerance=3e-6)


def test_next_values_that_need_the_old_ones_are_not_written_over_them() -> None:
    n = 24

    def body(b: TileBuilder) -> None:
        x, out = b.pointer("x", "fp32"), b.pointer("out", "fp32")
        b_x = b.load(x, b.arange(n))
        first = b_x * 2.0
        carry = [("b_a", first), ("b_b", first), ("n_a", b.full((), 1, "i32"))]
        carry += [("n_b", b.full((), 1, "i32"))]
        with b.loop(0, b.scalar("steps"), carry=carry) as loop:
            b_a, b_b, n_a, n_b = loop.carried
            new_a = b_a + b_b.to("fp32") * 0.5
            # Reads the old b_a after new_a exists.
            new_b = b_a - b_b * n_a.to("fp32") + new_a * 0.125
            loop.yield_(new_a, new_b, n_a + n_b, n_a * 2 - n_b)
        b_a, b_b, n_a, n_b = loop.carried
        b.store(out, b.arange(n), b_a)
        b.store(out, b.arange(n) + n, b_b + first)
        b.store(out, b.full((), 2 * n, "i32"), (n_a * 100 + n_b).to("fp32"))

    tensors = {"x": randn(n), "out": torch.zeros(2 * n + 1)}
    program = build(body, (1,))
    for steps in (0, 1, 4):
        run_both(program, tensors, {"steps": steps}, tolerance=1e-5)


def test_nested_loops_carry_through_and_conditions_guard() -> None:
    rows, cols = 4, 16

    def body(b: TileBuilder) -> None:
        x, out, log = b.pointer("x", "fp32"), b.pointer("out", "fp32"), b.pointer("log", "i32")
        counts = b.pointer("counts", "i32")
        zero = b.full((rows, cols), 0.0, "fp32")
        with b.loop(0, b.scalar("outer"), carry=[("b_sum", zero)], name="i_outer") as outer:
            count = b.load(counts, outer.index)
            with b.loop(1, count, 2, carry=[("b_part", outer.carried[0])], name="i") as inner:
                b_x = b.load(x, place(b, rows, cols) + inner.index)
                weight = (outer.index + 1).to("fp32")
                inner.yield_(inner.carried[0] + b_x * weight)
                with b.when((inner.index % 3).eq(0) & (outer.index > 0)):
                    b.store(log, inner.index, outer.index * 10 + inner.index)
            outer.yield_(inner.carried[0])
        with b.loop(0, 64, 64, name="once", carry=[("b_last", outer.carried[0])]) as once:
            once.yield_(once.carried[0] * 2.0 + once.index.to("fp32"))
        b.store(out, place(b, rows, cols), once.carried[0])

    tensors = {
        "x": randn(rows * cols + 16),
        "out": torch.zeros(rows, cols),
        "log": torch.zeros(16, dtype=torch.int32),
        "counts": torch.tensor([6, 0, 11, 1], dtype=torch.int32),
    }
    program = build(body, (1,))
    for outer in (4, 0):
        run_both(program, tensors, {"outer": outer}, tolerance=1e-5)


def test_three_axes_of_programs_on_any_number_of_threads() -> None:
    def body(b: TileBuilder) -> None:
        out = b.pointer("out", "i32")
        i, j, k = (b.program_id(axis, f"i_{axis}") for axis in range(3))
        b.store(out, (k * 3 + j) * b.scalar("n") + i, i + j * 100 + k * 10000)

    program = build(body, ("n", 3, "B"))
    for threads, sizes in ((1, (5, 2)), (2, (1, 1)), (3, (7, 3)), (2, (0, 2))):
        tensors = {"out": torch.full((max(1, 3 * sizes[0] * sizes[1]),), -1, dtype=torch.int32)}
        run_both(program, tensors, {"n": sizes[0], "B": sizes[1]}, threads=threads)


def test_exclusive_additions_count_collisions_and_shared_ones_are_refused() -> None:
    def body(b: TileBuilder, exclusive: bool = True) -> None:
        counts, where = b.pointer("counts", "i32"), b.pointer("where", "i32")
        sums, values = b.pointer("sums", "fp32"), b.pointer("values", "fp32")
        row = b.program_id(0, "i_row")
        with b.loop(0, 3, name="i_part") as loop:
            chosen = b.load(where, (row * 3 + loop.index) * 20 + b.arange(20))
            before = b.load(counts, row * 8 + chosen, chosen >= 0)
            b.store(where, (row * 3 + loop.index) * 20 + b.arange(20), before)
            b.barrier()
            b.atomic_add(counts, row * 8 + chosen, 1, chosen >= 0, exclusive=exclusive)
        b_v = b.load(values, place(b, 2, 32))
        b.atomic_add(sums, row * 64 + place(b, 2, 32), b_v, exclusive=exclusive)

    tensors = {
        "counts": torch.zeros(2, 8, dtype=torch.int32),
        "where": randint(-1, 8, 2, 3, 20),
        "values": randn(64),
        "sums": randn(2, 64, seed=1),
    }
    found = run_both(build(body, (2,)), tensors)
    assert found["counts"].sum() == (tensors["where"] >= 0).sum()
    shared = build(lambda b: body(b, exclusive=False), (2,))
    with pytest.raises(IllegalSchedule, match="no atomics"):
        tvm.generate(shared, Schedule(), Target("tvm", "generic", 2))


@pytest.mark.parametrize(("rows", "kept", "fresh"), [(16, 16, 16), (3, 5, 7), (8, 1, 12)])
def test_running_top_k(rows: int, kept: int, fresh: int) -> None:
    blocks = 5

    def body(b: TileBuilder) -> None:
        x, out = b.pointer("x", "i64"), b.pointer("out", "i64")
        ordered = b.pointer("ordered", "i64")
        none = b.full((rows, kept), -(2**63) + 1, "i64")
        with b.loop(0, blocks, carry=[("b_best", none)]) as loop:
            o = (b.arange(rows) * (blocks * fresh)).as_column + b.arange(fresh).as_row
            keys = b.load(x, o + loop.index * fresh)
            keys = b.where(keys > -(2**38), keys, -(2**63) + 1)
            loop.yield_(b.merge_top_k(loop.carried[0], keys))
        b.store(out, place(b, rows, kept), loop.carried[0])
        low = b.where(loop.carried[0] > -(2**62), loop.carried[0] & 0xFFFF, -1)
        b.store(ordered, place(b, rows, kept), b.merge_top_k(none, low))

    tensors = {
        "x": randint(-(2**40), 2**40, rows, blocks * fresh, dtype=torch.int64),
        "out": torch.zeros(rows, kept, dtype=torch.int64),
        "ordered": torch.zeros(rows, kept, dtype=torch.int64),
    }
    run_both(build(body, (1,)), tensors)


def test_tiles_may_be_named_like_the_loops_of_the_printer() -> None:
    def body(b: TileBuilder) -> None:
        x, out = b.pointer("x", "fp32"), b.pointer("out", "fp32")
        m = b.sum(b.load(x, place(b, 5, 16)), 1, "m")
        n = b.exp2(m * 0.1, "n")
        k = b.dot(b.load(x, place(b, 3, 5)), b.load(x, place(b, 5, 16)), name="k")
        total = b.sum(n, 0, "grid_0") + b.max(m, 0, "p_x")
        b.store(out, place(b, 3, 16), k * total + b.sum(n * m, 0, "pid"))

    tensors = {"x": randn(80), "out": torch.zeros(48)}
    run_both(build(body, (1,)), tensors, tolerance=3e-6)


def test_tensors_at_any_address() -> None:
    """Vector loads must not assume more alignment than an element's."""

    def body(b: TileBuilder) -> None:
        x, out = b.pointer("x", "fp32"), b.pointer("out", "fp32")
        b.store(out, b.arange(64), b.load(x, b.arange(64)) + 1.0)

    program = build(body, (1,))
    x, out = randn(65)[1:], torch.zeros(65)[1:]
    launch(program)({"x": x, "out": out}, {}, (1,))
    assert torch.equal(out, x + 1)
