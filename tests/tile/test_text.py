"""The text form of tile programs."""

from __future__ import annotations

from hsa_compiler.compiler import lower_kernel
from hsa_compiler.schedules.defaults import generic
from hsa_compiler.schedules.problem import Target
from hsa_compiler.schedules.schedule import KERNELS
from hsa_compiler.tile.builder import TileBuilder
from hsa_compiler.tile.ir import Size, TileProgram, Workspace
from hsa_compiler.tile.text import text
from tests import problems


def test_every_statement_has_a_readable_line() -> None:
    b = TileBuilder("walk")
    x, out, count = b.pointer("x", "bf16"), b.pointer("out", "fp32"), b.pointer("count", "i32")
    n = b.scalar("n", Size.of("L").cdiv(16))
    i = b.program_id(0, "i_row")
    o = b.arange(16, "o_col")
    zero = b.full((16,), 0.0, "fp32", "b_zero")
    with b.loop(0, n, 2, name="i_step", carry=[("b_sum", zero)], stages=3) as loop:
        b_x = b.load(x, o + loop.index, o < n, other=-1.0, name="b_x").to("fp32")
        with b.when(loop.index.eq(4)):
            b.atomic_add(count, i, 1, exclusive=True)
            b.barrier()
        loop.yield_(loop.carried[0] + b_x)
    b.store(out, i * 16 + o, loop.carried[0], o < n)
    with b.repeat_while(i < n, carry=[("i_next", i)]) as rounds:
        i_next = rounds.carried[0] + 1
        rounds.yield_(i_next, i_next < n)
    b.atomic_add(count, rounds.carried[0], 1)
    kernel = b.finish(("L", 2))
    space = Workspace("count", "i32", Size.of("L"), zeroed=True)
    program = TileProgram((kernel,), {"x": "x", "out": "y"}, (space,), ("out",), {"out": "count"})
    assert (
        text(program)
        == """\
bind out = y
bind x = x
workspace count: i32[L], zeroed
zeroed out
accumulate out in count

kernel walk(x: bf16*, out: fp32*, count: i32*, n: i32 = cdiv(L, 16))  grid (L, 2)
  i_row: i32 = program_id{axis=0}
  o_col: i32[16] = arange{size=16}
  b_zero: fp32[16] = full{value=0.0}
  for i_step in 0..n step 2 stages 3 carry b_sum: fp32[16] = b_zero:
    x: i32[16] = add(o_col, i_step)
    x_1: bool[16] = lt(o_col, n)
    b_x: bf16[16] = load(x, x_1){pointer=x, other=-1.0}
    b_x_1: fp32[16] = cast(b_x)
    x_2: bool = eq(i_step, 4)
    if x_2:
      atomic exclusive count[i_row] += 1
      barrier
    x_3: fp32[16] = add(b_sum, b_x_1)
    yield x_3
  x_4: i32 = mul(i_row, 16)
  x_5: i32[16] = add(x_4, o_col)
  x_6: bool[16] = lt(o_col, n)
  store out[x_5] = b_sum where x_6
  x_7: bool = lt(i_row, n)
  while i_next: i32 = i_row, more: bool = x_7:
    x_8: i32 = add(i_next, 1)
    x_9: bool = lt(x_8, n)
    yield x_8, x_9
  atomic count[i_next] += 1
"""
    )


def test_a_block_is_read_at_its_coordinates() -> None:
    b = TileBuilder("copy")
    rows = b.descriptor(b.pointer("rows", "fp16"), (4, 8), (2, 4, 8))
    b_rows = b.load_block(rows, (b.program_id(0, "i_row"), 0, 0))
    b.store(b.pointer("out", "fp16"), b.arange(8, "o_row").as_column, b_rows)
    program = TileProgram((b.finish(("L",)),), {"rows": "x", "out": "y"})
    assert (
        text(program)
        == """\
bind out = y
bind rows = x

kernel copy(out: fp16*, rows: fp16[n, 4, 8] by [2, 4, 8])  grid (L)
  i_row: i32 = program_id{axis=0}
  b_rows: fp16[8, 8] = load_block(i_row, 0, 0){descriptor=rows}
  o_row: i32[8] = arange{size=8}
  o_row_1: i32[8, 1] = expand(o_row){axis=1}
  store out[o_row_1] = b_rows
"""
    )


def test_equal_programs_give_equal_text() -> None:
    target = Target("tvm", "generic", 2)
    for kind in KERNELS:
        problem, _ = problems.make(kind)
        schedule = generic(kind, "tvm")
        first, second = (lower_kernel(problem, schedule, target) for _ in range(2))
        assert text(first) == text(second)
        assert f"kernel {first.kernels[0].name}(" in text(first)
