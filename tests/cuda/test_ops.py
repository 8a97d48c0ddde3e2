"""Every op of the tile IR as CUDA, run in the emulator."""

from __future__ import annotations

import pytest
import torch

from hsa_compiler.codegen import cuda
from hsa_compiler.schedules.problem import Target
from hsa_compiler.schedules.schedule import Schedule
from hsa_compiler.tile.builder import TileBuilder
from hsa_compiler.tile.ir import Pointer, TileProgram, Var
from tests.cuda.harness import run_both
from tests.tvm.harness import build, randint, randn

TORCH = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


def place(b: TileBuilder, rows: int, columns: int) -> Var:
    """The offsets of a matrix."""
    return (b.arange(rows) * columns).as_column + b.arange(columns).as_row


def matrix(b: TileBuilder, name: str, dtype: str, rows: int, columns: int) -> Var:
    """A matrix that fills a tensor."""
    return b.load(b.pointer(name, dtype), place(b, rows, columns))


def product(
    dtype: str, flipped: str, shape: tuple[int, int, int]
) -> tuple[TileProgram, dict[str, torch.Tensor]]:
    """``out = a b + c`` of matrices, of which those in `flipped` lie transposed."""
    m, n, k = shape

    def body(b: TileBuilder) -> None:
        left = matrix(b, "a", dtype, k, m).t if "a" in flipped else matrix(b, "a", dtype, m, k)
        right = matrix(b, "b", dtype, n, k).t if "b" in flipped else matrix(b, "b", dtype, k, n)
        acc = matrix(b, "c", "fp32", m, n)
        b.store(b.pointer("out", "fp32"), place(b, m, n), b.dot(left, right, acc))

    tensors = {
        "a": randn(m * k, seed=1, dtype=TORCH[dtype]),
        "b": randn(n * k, seed=2, dtype=TORCH[dtype]),
        "c": randn(m * n, seed=3),
        "out": torch.zeros(m * n),
    }
    return build(body, [1]), tensors


def check_product(
    dtype: str, flipped: str, warps: int, shape: tuple[int, int, int], arch: str = "sm_90"
) -> str:
    """Run a product; its source."""
    program, tensors = product(dtype, flipped, shape)
    target = Target("cuda", arch)
    run_both(program, tensors, warps=warps, target=target)
    return cuda.generate(program, Schedule(warps=warps), target)


@pytest.mark.parametrize(
    ("dtype", "flipped", "warps", "shape"),
    [
        ("bf16", "", 4, (64, 32, 128)),
        ("bf16", "a", 1, (16, 16, 16)),
        ("bf16", "b", 8, (128, 64, 16)),
        ("bf16", "ab", 4, (16, 128, 64)),
        ("fp16", "", 8, (16, 128, 64)),
        ("fp16", "a", 4, (64, 32, 128)),
        ("fp16", "b", 1, (64, 32, 128)),
        ("fp16", "ab", 2, (128, 64, 16)),
        ("fp32", "", 4, (16, 16, 16)),
        ("fp32", "a", 8, (64, 32, 128)),
        ("fp32", "b", 1, (16, 128, 64)),
        ("fp32", "ab", 4, (128, 64, 16)),
    ],
)
def test_products(dtype: str, flipped: str, warps: int, shape: tuple[int, int, int]) -> None:
    check_product(dtype, flipped, warps, shape)


WARPGROUP_PRODUCTS = (
    ("bf16", "b", 4, (64, 64, 128)),
    ("fp16", "", 8, (128, 256, 64)),
    ("fp16", "a", 4, (128, 128, 64)),
    # More rows than registers hold.
    ("bf16", "", 4, (128, 64, 128)),
    ("bf16", "ab", 4, (128, 64, 128)),
)


@pytest.mark.parametrize(("dtype", "flipped", "warps", "shape"), WARPGROUP_PRODUCTS)
def test_products_of_warpgroups(
    dtype: str, flipped: str, warps: int, shape: tuple[int, int, int]
) -> None:
    assert "warpgroup_mma" in check_product(dtype, flipped, warps, shape)


@pytest.mark.parametrize(
    ("flipped", "warps", "arch"), [("", 4, "sm_90"), ("b", 8, "sm_90"), ("b", 4, "sm_80")]
)
def test_warpgroups_read_whole_panels_and_have_16_rows_a_warp(
    flipped: str, warps: int, arch: str
) -> None:
    source = check_product("bf16", flipped, warps, (64, 32, 64), arch)
    assert "mma_bf16" in source
    assert "warpgroup_mma" not in source


@pytest.mark.parametrize("shape", [(1, 32, 32), (8, 16, 16), (16, 8, 16), (16, 16, 4)])
def test_products_smaller_than_the_blocks_of_the_matrix_unit(shape: tuple[int, int, int]) -> None:
    m, n, k = shape

    def body(b: TileBuilder) -> None:
        product = b.dot(matrix(b, "a", "bf16", m, k), matrix(b, "b", "bf16", k, n))
        b.store(b.pointer("out", "fp32"), place(b, m, n), product)

    tensors = {
        "a": randn(m * k, seed=1, dtype=torch.bfloat16),
        "b": randn(n * k, seed=2, dtype=torch.bfloat16),
        "out": torch.zeros(m * n),
    }
    run_both(build(body, [1]), tensors)


@pytest.mark.parametrize("warps", [1, 4])
@pytest.mark.parametrize("dtype", ["bf16", "fp32"])
@pytest.mark.parametrize("depth", [16, 64])
def test_products_of_products(dtype: str, warps: int, depth: int) -> None:
    m, n = 64, 32

    def body(b: TileBuilder) -> None:
        q, k, v = (matrix(b, x, dtype, r, depth) for x, r in (("q", m), ("k", n), ("v", n)))
        scores = b.dot(q, k.t)
        p = b.exp2(scores - b.max(scores, 1).as_column)
        total = b.sum(p, 1)
        half = p.to(dtype)
        out = b.dot(half, v)
        b.store(b.pointer("out", "fp32"), place(b, m, depth), out / total.as_column)
        # Gradients multiply from the other side.
        b.store(b.pointer("back", "fp32"), place(b, n, depth), b.dot(half.t, q))

    tensors = {
        "q": randn(m * depth, seed=1, dtype=TORCH[dtype]),
        "k": randn(n * depth, seed=2, dtype=TORCH[dtype]),
        "v": randn(n * depth, seed=3, dtype=TORCH[dtype]),
        "out": torch.zeros(m * depth),
        "back": torch.zeros(n * depth),
    }
    run_both(build(body, [1]), tensors, warps=warps, tolerance=1e-2 if dtype == "bf16" else 1e-5)


@pytest.mark.parametrize("warps", [1, 2, 8])
@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("op", ["sum", "max", "min"])
def test_reductions(op: str, axis: int, warps: int) -> None:
    rows, columns = 16, 64

    def body(b: TileBuilder) -> None:
        x = matrix(b, "x", "fp32", rows, columns)
        lines = b.reduce(op, x, axis)
        b.store(b.pointer("lines", "fp32"), b.arange(lines.size), lines)
        b.store(b.pointer("all", "fp32"), b.full((), 0, "i32"), b.reduce(op, lines, 0))

    tensors = {
        "x": randn(rows * columns),
        "lines": torch.zeros((columns, rows)[axis]),
        "all": torch.zeros(1),
    }
    run_both(build(body, [1]), tensors, warps=warps)


@pytest.mark.parametrize("warps", [1, 4])
@pytest.mark.parametrize("size", [16, 256])
def test_running_sums_and_groups(size: int, warps: int) -> None:
    def body(b: TileBuilder) -> None:
        o = b.arange(size)
        x = b.load(b.pointer("x", "i32"), o)
        b.store(b.pointer("running", "i32"), o, b.cumsum(x))
        b.store(b.pointer("groups", "i32"), b.arange(size // 4), b.sum_groups(x, 4))
        b.store(b.pointer("repeated", "i32"), b.arange(size * 8), b.repeat(x + 1, 8))

    tensors = {
        "x": randint(-9, 9, size),
        "running": torch.zeros(size, dtype=torch.int32),
        "groups": torch.zeros(size // 4, dtype=torch.int32),
        "repeated": torch.zeros(size * 8, dtype=torch.int32),
    }
    run_both(build(body, [1]), tensors, warps=warps)


@pytest.mark.parametrize("warps", [1, 4])
@pytest.mark.parametrize(
    ("rows", "kept", "count"), [(16, 8, 8), (32, 32, 128), (1, 16, 64), (64, 2, 4)]
)
def test_running_top_k(rows: int, kept: int, count: int, warps: int) -> None:
    def body(b: TileBuilder) -> None:
        running = b.full((rows, kept), -(2**62), "i64")
        pointer = b.pointer("x", "i64")
        with b.loop(0, 3, carry=[("b_top", running)]) as loop:
            fresh = b.load(pointer, loop.index * (rows * count) + place(b, rows, count))
            loop.yield_(b.merge_top_k(loop.carried[0], fresh))
        b.store(b.pointer("out", "i64"), place(b, rows, kept), loop.carried[0])

    tensors = {
        "x": randint(-(2**40), 2**40, 3 * rows * count, dtype=torch.int64),
        "out": torch.zeros(rows * kept, dtype=torch.int64),
    }
    run_both(build(body, [1]), tensors, warps=warps)


@pytest.mark.parametrize("warps", [1, 4])
def test_masks_atomics_and_programs(warps: int) -> None:
    def body(b: TileBuilder) -> None:
        length = b.scalar("L")
        o = b.program_id(0, "i_block") * 32 + b.arange(32)
        x = b.load(b.pointer("x", "fp32"), o, o < length, other=2.5)
        b.store(b.pointer("out", "fp32"), o, x * 2.0, o < length)
        b.atomic_add(b.pointer("sums", "fp32"), o % 4, x, o < length)
        b.atomic_add(b.pointer("count", "i32"), b.full((), 0, "i32"), 1)

    tensors = {
        "x": randn(70),
        "out": torch.zeros(70),
        "sums": torch.zeros(4),
        "count": torch.zeros(1, dtype=torch.int32),
    }
    run_both(build(body, [3]), tensors, {"L": 70}, warps=warps)


def test_carried_tiles_change_at_once() -> None:
    def body(b: TileBuilder) -> None:
        o = b.arange(64)
        x, y = (b.load(b.pointer(name, "i32"), o) for name in "xy")
        with b.loop(0, 5, carry=[("b_x", x), ("b_y", y), ("n", b.full((), 1, "i32"))]) as loop:
            first, second, n = loop.carried
            loop.yield_(second + n, first + second, n + 1)
        for name, value in zip("xyn", loop.carried, strict=True):
            out: Pointer = b.pointer(f"out_{name}", "i32")
            b.store(out, o if name != "n" else b.full((), 0, "i32"), value)

    zeros = torch.zeros(64, dtype=torch.int32)
    tensors = {"x": randint(0, 9, 64), "y": randint(0, 9, 64, seed=1)}
    tensors |= {"out_x": zeros, "out_y": zeros, "out_n": zeros[:1]}
    run_both(build(body, [1]), tensors)


@pytest.mark.parametrize("rounds", [0, 1, 2, 5])
@pytest.mark.parametrize(("stages", "step"), [(1, 1), (2, 1), (3, 2), (4, 1)])
@pytest.mark.parametrize("dtype", ["bf16", "fp32"])
def test_loops_that_load_ahead(dtype: str, stages: int, step: int, rounds: int) -> None:
    m, n, k = 16, 32, 16

    def body(b: TileBuilder) -> None:
        count = b.scalar("n")
        q = matrix(b, "q", dtype, m, k)
        keys, chosen = b.pointer("keys", dtype), b.pointer("chosen", "i32")
        start = b.full((m, n), 0.0, "fp32")
        with b.loop(0, count, step, carry=[("b_sum", start)], stages=stages) as loop:
            chunk = b.load(chosen, loop.index)
            # Rows of their own, and some of them masked off.
            rows = b.load(b.pointer("rows", "i32"), chunk * n + b.arange(n))
            o = (rows * k).as_column + b.arange(k).as_row
            b_keys = b.load(keys, o, (rows >= 0).as_column)
            loop.yield_(b.dot(q, b_keys.t, loop.carried[0]))
        b.store(b.pointer("out", "fp32"), place(b, m, n), loop.carried[0])

    chunks = 5
    tensors = {
        "q": randn(m * k, seed=1, dtype=TORCH[dtype]),
        "keys": randn(chunks * n * k, seed=2, dtype=TORCH[dtype]),
        "chosen": randint(0, chunks, 8, seed=3),
        "rows": randint(-20, chunks * n, chunks * n, seed=4),
        "out": torch.full((m * n,), float("nan")),
    }
    run_both(build(body, [1]), tensors, {"n": rounds})
