"""Element-wise code: arithmetic, masks, gathers, conversions, elementary functions."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from hsa_compiler.schedules.schedule import Schedule
from hsa_compiler.tile.builder import TileBuilder
from hsa_compiler.tile.ir import Pointer, Var
from tests.tvm.harness import build, launch, randint, randn, run_both


def tile(b: TileBuilder, pointer: Pointer, rows: int, cols: int, name: str | None = None) -> Var:
    """A dense [rows, cols] load."""
    return b.load(pointer, place(b, rows, cols), name=name)


def place(b: TileBuilder, rows: int, cols: int) -> Var:
    return (b.arange(rows) * cols).as_column + b.arange(cols).as_row


@pytest.mark.parametrize(("rows", "cols"), [(16, 64), (3, 5), (1, 37), (7, 24)])
def test_arithmetic_broadcasts_over_rows_columns_and_scalars(rows: int, cols: int) -> None:
    def body(b: TileBuilder) -> None:
        x, out, small = b.pointer("x", "fp32"), b.pointer("out", "fp32"), b.pointer("small", "fp32")
        b_x = tile(b, x, rows, cols)
        row = b.load(small, b.arange(cols))
        col = b.load(small, b.arange(rows))
        scale = b.load(small, b.full((), 2, "i32"))
        y = (b_x - col.as_column) * row.as_row / (abs_(b, b_x) + 1.0) + scale
        y = b.where(b_x > 0.0, y, -b_x)
        y = b.maximum(b.minimum(y, 2.5), scale - 3.0)
        b.store(out, place(b, rows, cols), y)

    def abs_(b: TileBuilder, x: Var) -> Var:
        return b.unary("abs", x)

    tensors = {"x": randn(rows, cols), "small": randn(64, seed=1), "out": randn(rows, cols)}
    run_both(build(body, (1,)), tensors)


def test_integers_wrap_shift_divide_and_compare() -> None:
    n = 40

    def body(b: TileBuilder) -> None:
        x, y = b.pointer("x", "i32"), b.pointer("y", "i64")
        out32, out64, outu = b.pointer("a", "i32"), b.pointer("b", "i64"), b.pointer("c", "i64")
        o = b.arange(n)
        b_x, b_y = b.load(x, o), b.load(y, o)
        mixed = (b_x % 7) * 3 + (b_x >> 2) - (b_x << 1) + b_x // 5
        mixed = b.where((mixed < 0) | (b_x.eq(3) & (mixed > 5)), mixed ^ 255, mixed & 1023)
        b.store(out32, o, b.unary("abs", mixed))
        wide = (b_y << 20) | b_x.to("i64")
        b.store(out64, o, b.maximum(wide, b_x) & 0xFFFFFFFF)
        # A hash: unsigned 32-bit products and sums wrap, shifts are logical.
        u = b_x.to("u32")
        u = (u ^ (u >> 16)) * 0x7FEB352D
        u = (u ^ (u >> 15)) * 0x846CA68B + b.load(x, b.full((), 1, "i32")).to("u32")
        b.store(outu, o, (u ^ (u >> 16)).to("i64"))

    tensors = {
        "x": randint(-(2**30), 2**30, n),
        "y": randint(-(2**40), 2**40, n, dtype=torch.int64),
        "a": torch.zeros(n, dtype=torch.int32),
        "b": torch.zeros(n, dtype=torch.int64),
        "c": torch.zeros(n, dtype=torch.int64),
    }
    run_both(build(body, (1,)), tensors)


@pytest.mark.parametrize("lanes", ["rows", "cols"])
def test_masks_along_rows_columns_and_both(lanes: str) -> None:
    rows, cols = 6, 20

    def body(b: TileBuilder) -> None:
        x, out, where = b.pointer("x", "fp32"), b.pointer("out", "fp32"), b.pointer("where", "i32")
        limit = b.scalar("limit")
        o_row, o_col = b.arange(rows), b.arange(cols)
        chosen = b.load(where, o_row)
        valid = chosen >= 0
        # Rows are gathered; the row mask protects the address of invalid ones.
        offset = (chosen * cols).as_column + o_col.as_row
        both = valid.as_column & (o_col < limit).as_row
        b_x = b.load(x, offset, both, other=-1.5)
        b_y = b.load(x, offset, valid.as_column)
        stairs = o_col.as_row <= o_row.as_column
        b_z = b.load(x, (o_row * cols).as_column + o_col.as_row, stairs, other=float("-inf"))
        base = (o_row * cols).as_column + o_col.as_row
        b.store(out, base, b_x, both)
        b.store(out, base + rows * cols, b_y, (o_col >= 3).as_row)
        b.store(out, base + 2 * rows * cols, b_z)
        flipped = (o_col * rows).as_row + o_row.as_column
        b.store(out, flipped + 3 * rows * cols, b_x, both)

    tensors = {
        "x": randn(rows, cols),
        "where": torch.tensor([2, -1, 0, 5, -1, 1], dtype=torch.int32),
        "out": torch.full((4, rows, cols), 9.0),
    }
    program = build(body, (1,))
    run_both(program, tensors, {"limit": 13}, Schedule(lanes=lanes))
    # A load whose lanes are all masked off does not touch memory.
    empty = {**tensors, "where": torch.full((rows,), -1, dtype=torch.int32)}
    run_both(program, empty, {"limit": 0}, Schedule(lanes=lanes))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_halves_are_read_exactly_and_rounded_to_nearest_even(dtype: torch.dtype) -> None:
    n = 48
    name = "bf16" if dtype == torch.bfloat16 else "fp16"

    def body(b: TileBuilder) -> None:
        x, out, wide = b.pointer("x", name), b.pointer("out", name), b.pointer("wide", "fp32")
        y, rounded = b.pointer("y", "fp32"), b.pointer("rounded", name)
        o = b.arange(n)
        b_x = b.load(x, o).to("fp32")
        b.store(wide, o, b_x)
        b.store(out, o, b_x * 3.0, o < b.scalar("limit"))
        b.store(rounded, o, b.load(y, o))

    y = torch.cat([randn(n - 4), torch.tensor([math.inf, -math.inf, math.nan, 0.0])])
    # Half-way cases, just above and below.
    y[:6] = torch.tensor([1.00390625, 1.01171875, 1.00390637, -1.00390625, 3.4e38, 1e-30])
    if dtype == torch.float16:
        y[4] = 65519.0
    tensors = {
        "x": randn(n, dtype=dtype),
        "out": randn(n, seed=1, dtype=dtype),
        "wide": torch.zeros(n),
        "y": y,
        "rounded": torch.zeros(n, dtype=dtype),
    }
    found = run_both(build(body, (1,)), tensors, {"limit": 37})
    assert torch.equal(found["wide"], tensors["x"].float())
    assert torch.equal(found["rounded"].isnan(), y.isnan())
    exact = ~y.isnan()
    assert torch.equal(found["rounded"][exact], y.to(dtype)[exact])


def test_exp2_and_log2_are_accurate_to_fp32() -> None:
    n = 4096

    def body(b: TileBuilder) -> None:
        x, up, down = b.pointer("x", "fp32"), b.pointer("up", "fp32"), b.pointer("down", "fp32")
        o = b.program_id(0, "i") * 1024 + b.arange(1024)
        b.store(up, o, b.exp2(b.load(x, o)))
        y = b.pointer("y", "fp32")
        b.store(down, o, b.log2(b.load(y, o)))

    special = torch.tensor(
        [0.0, -0.0, 1.0, -126.0, 127.0, 128.0, 1e30, -1e30, -150.0, math.inf, -math.inf, math.nan]
    )
    x = torch.cat([torch.linspace(-126, 127.9, n - 12), special])
    near_one = 1 + randn(1000) * 1e-3
    y = torch.cat([torch.logspace(-37, 38, n - 1012), near_one, special])
    tensors = {"x": x, "y": y, "up": torch.zeros(n), "down": torch.zeros(n)}
    found = run_both(build(body, (4,)), tensors, tolerance=1)
    with np.errstate(all="ignore"):
        up, down = np.exp2(x.double().numpy()), np.log2(y.double().numpy())
    normal = (x > -126) & (x < 128)
    error = np.abs(found["up"].numpy()[normal] / up[normal] - 1)
    assert error.max() < 2e-7
    got = found["up"][x <= -127]
    assert not got.any(), "far below the range the result is 0"
    assert found["up"][x >= 128].isinf().all()
    assert found["up"].isnan().sum() == 1
    usual = np.isfinite(down) & (down != 0)
    error = np.abs(found["down"].numpy()[usual] / down[usual] - 1)
    assert error.max() < 2e-7
    assert torch.equal(found["down"].isnan(), torch.from_numpy(np.isnan(down)))
    assert torch.equal(found["down"].isinf(), torch.from_numpy(np.isinf(down)))


def test_bits_and_casts() -> None:
    n = 19

    def body(b: TileBuilder) -> None:
        x, out, keys = b.pointer("x", "fp32"), b.pointer("out", "i32"), b.pointer("keys", "i64")
        back = b.pointer("back", "fp32")
        o = b.arange(n)
        b_x = b.load(x, o)
        bits = b.bitcast(b_x, "i32")
        ordered = bits ^ ((bits >> 31) & 0x7FFFFFFF)
        b.store(out, o, ordered)
        key = (ordered.to("i64") << 32) | o.to("i64")
        b.store(keys, o, b.where(b_x > 0.5, key, -(2**63) + 1))
        flags = (b_x > 0.0) | (b_x < -1.0)
        b.store(back, o, b_x.to("i32").to("fp32") + flags.to("fp32") + (o % 2).eq(0).to("fp32"))

    tensors = {
        "x": randn(n) * 5,
        "out": torch.zeros(n, dtype=torch.int32),
        "keys": torch.zeros(n, dtype=torch.int64),
        "back": torch.zeros(n),
    }
    run_both(build(body, (1,)), tensors)


def test_offsets_past_two_to_the_31() -> None:
    rows, width = 3, 2**30

    def body(b: TileBuilder) -> None:
        x, out = b.pointer("x", "bf16"), b.pointer("out", "fp32")
        row = b.program_id(0, "i_row")
        base = row.to("i64") * b.scalar("width")
        o = b.arange(16)
        b.store(out, row * 16 + o, b.load(x, base + o).to("fp32"))

    # Only the touched pages of this array take memory (torch.empty is poisoned in tests).
    x = torch.from_numpy(np.empty(rows * width, np.uint16)).view(torch.bfloat16)
    for row in range(rows):
        x[row * width : row * width + 16] = float(row + 1)
    out = torch.zeros(rows * 16)
    launch(build(body, (rows,)))({"x": x, "out": out}, {"width": width}, (rows,))
    assert torch.equal(out, torch.arange(1.0, rows + 1).repeat_interleave(16))
