"""Matrix products in every layout of operands and results, and reductions along both axes."""

from __future__ import annotations

import itertools

import pytest
import torch

from hsa_compiler.errors import TileError
from hsa_compiler.schedules.schedule import Schedule
from hsa_compiler.tile.builder import TileBuilder
from hsa_compiler.tile.ir import Var
from tests.tvm.harness import build, randn, run_both


def place(b: TileBuilder, rows: int, cols: int) -> Var:
    return (b.arange(rows) * cols).as_column + b.arange(cols).as_row


def dots(m: int, k: int, n: int, dtype: str = "fp32"):
    """Products of stored, transposed, masked and computed operands, with and without a sum."""

    def body(b: TileBuilder) -> None:
        a, at = b.pointer("a", dtype), b.pointer("at", dtype)
        c, ct = b.pointer("c", dtype), b.pointer("ct", dtype)
        out = b.pointer("out", "fp32")
        lefts = [
            b.load(a, place(b, m, k)).to("fp32"),
            b.load(at, place(b, k, m)).to("fp32").t,
            b.load(a, place(b, m, k), (b.arange(m) < m - 1).as_column).to("fp32") * 0.5,
        ]
        rights = [
            b.load(c, place(b, k, n)).to("fp32"),
            b.load(ct, place(b, n, k)).to("fp32").t,
            b.load(c, place(b, k, n), (b.arange(n) < n - 1).as_row).to("fp32"),
        ]
        base = place(b, m, n)
        for i, (x, y) in enumerate(itertools.product(lefts, rights)):
            result = b.dot(x, y, b.load(out, base + i * m * n) * 2.0 if i % 2 else None)
            b.store(out, base + i * m * n, result)

    return body


def operands(m: int, k: int, n: int, dtype: torch.dtype) -> dict[str, torch.Tensor]:
    shapes = {"a": (m, k), "at": (k, m), "c": (k, n), "ct": (n, k)}
    tensors = {
        name: randn(*shape, seed=i, dtype=dtype) for i, (name, shape) in enumerate(shapes.items())
    }
    return {**tensors, "out": randn(9, m, n, seed=9)}


@pytest.mark.parametrize(
    ("shape", "lanes", "unroll"),
    [
        ((16, 64, 64), "rows", 8),
        ((16, 32, 48), "cols", 16),
        ((64, 16, 64), "rows", 16),
        ((3, 7, 5), "rows", 8),
        ((1, 24, 10), "rows", 4),
        ((20, 9, 1), "cols", 2),
        ((2, 64, 3), "cols", 1),
    ],
)
def test_dots_of_all_layouts(shape: tuple[int, int, int], lanes: str, unroll: int) -> None:
    dtype = torch.bfloat16 if shape[0] == 20 else torch.float32
    name = "bf16" if shape[0] == 20 else "fp32"
    program = build(dots(*shape, dtype=name), (1,))
    schedule = Schedule(lanes=lanes, unroll=unroll)
    run_both(program, operands(*shape, dtype), schedule=schedule, tolerance=3e-6)


@pytest.mark.parametrize(("lanes", "arch"), [("rows", None), ("cols", None), ("rows", "generic")])
def test_attention_of_one_tile(lanes: str, arch: str | None) -> None:
    """Scores, softmax, weighted values, and the products of its gradient over rows."""
    rows, keys, dim = 12, 32, 16

    def body(b: TileBuilder) -> None:
        q, k, v, do = (b.pointer(n, "fp32") for n in ("q", "k", "v", "do"))
        out, dk, dv = (b.pointer(n, "fp32") for n in ("out", "dk", "dv"))
        b_q, b_do = b.load(q, place(b, rows, dim)), b.load(do, place(b, rows, dim))
        b_k, b_v = b.load(k, place(b, keys, dim)), b.load(v, place(b, keys, dim))
        b_s = b.dot(b_q, b_k.t) * 0.3
        b_p = b.exp2(b_s - b.max(b_s, 1).as_column)
        b_p = b_p / b.sum(b_p, 1).as_column
        b_dp = b.dot(b_do, b_v.t)
        b_ds = b_p * (b_dp - b.sum(b_p * b_dp, 1).as_column)
        b.store(out, place(b, rows, dim), b.dot(b_p, b_v))
        b.store(dk, place(b, keys, dim), b.dot(b_ds.t, b_q))
        b.store(dv, place(b, keys, dim), b.dot(b_p.t, b_do))

    names = {"q": rows, "k": keys, "v": keys, "do": rows, "out": rows, "dk": keys, "dv": keys}
    tensors = {n: randn(r, dim, seed=i) for i, (n, r) in enumerate(names.items())}
    schedule = Schedule(lanes=lanes)
    run_both(build(body, (1,)), tensors, schedule=schedule, tolerance=3e-6, arch=arch)


@pytest.mark.parametrize(("rows", "cols"), [(16, 64), (5, 33), (1, 8), (48, 3)])
def test_reductions_along_both_axes(rows: int, cols: int) -> None:
    def body(b: TileBuilder) -> None:
        x, out = b.pointer("x", "fp32"), b.pointer("out", "fp32")
        ints = b.pointer("ints", "i32")
        b_x = b.load(x, place(b, rows, cols))
        b.store(out, b.arange(cols), b.sum(b_x, 0))
        b.store(out, b.arange(rows) + cols, b.max(b_x * b_x, 1))
        # The same of a tile that lies transposed in memory.
        b_t = b.load(x, b.arange(cols).as_row * rows + b.arange(rows).as_column)
        b.store(out, b.arange(rows) + cols + rows, b.sum(b_t + 1.0, 1))
        b.store(out, b.arange(cols) + cols + 2 * rows, b.reduce("min", b_t, 0))
        flat = b.load(x, b.arange(rows * cols))
        end = b.full((), 2 * cols + 2 * rows, "i32")
        b.store(out, end, b.sum(flat) + b.max(flat) * b.reduce("min", flat))
        positive = b.where(flat > 0.0, b.arange(rows * cols), -1)
        b.store(ints, b.full((), 0, "i32"), b.max(positive))
        b.store(ints, b.arange(rows * cols) + 1, b.cumsum(positive))

    tensors = {
        "x": randn(rows, cols),
        "out": torch.zeros(2 * cols + 2 * rows + 1),
        "ints": torch.zeros(rows * cols + 1, dtype=torch.int32),
    }
    run_both(build(body, (1,)), tensors, tolerance=3e-6)


@pytest.mark.parametrize(("groups", "size"), [(4, 16), (3, 5), (1, 8), (6, 2)])
def test_groups_of_neighbours(groups: int, size: int) -> None:
    def body(b: TileBuilder) -> None:
        x, out = b.pointer("x", "fp32"), b.pointer("out", "fp32")
        b_x = b.load(x, b.arange(groups * size))
        b_sums = b.sum_groups(b_x * 2.0, size)
        b.store(out, b.arange(groups), b_sums)
        b.store(out, b.arange(groups * size) + groups, b.repeat(b_sums + 1.0, size) - b_x)

    tensors = {"x": randn(groups * size), "out": torch.zeros(groups + groups * size)}
    run_both(build(body, (1,)), tensors, tolerance=3e-6)


def test_groups_must_fill_a_tile() -> None:
    def body(b: TileBuilder) -> None:
        b.sum_groups(b.arange(10), 4)

    with pytest.raises(TileError, match="groups must fill it"):
        build(body, (1,))
