"""Random tile programs: what shares memory, what is recomputed and in which order a tile lies must
never change a result."""

from __future__ import annotations

import random

import pytest
import torch

from hsa_compiler.schedules.schedule import Schedule
from hsa_compiler.tile.builder import TileBuilder
from hsa_compiler.tile.ir import Var
from tests.tvm.harness import build, randn, run_both

SIZES = (1, 3, 4, 8, 16, 20)


class Program:
    """Appends random ops to a kernel; values stay near 1 so that errors stay comparable."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.sizes = self.random.sample(SIZES, 2)
        self.stores = 0

    def __call__(self, b: TileBuilder) -> None:
        self.b, self.x, self.out = b, b.pointer("x", "fp32"), b.pointer("out", "fp32")
        pool = [self.load() for _ in range(3)]
        self.block(pool, self.random.randint(4, 10), depth=0)
        for tile in pool[-4:]:
            self.store(tile)

    def shape(self) -> tuple[int, ...]:
        rows, cols = self.random.choices(self.sizes, k=2)
        return (rows,) if self.random.random() < 0.25 else (rows, cols)

    def place(self, shape: tuple[int, ...]) -> Var:
        b = self.b
        if len(shape) == 1:
            return b.arange(shape[0])
        if self.random.random() < 0.3:
            return b.arange(shape[0]).as_column + (b.arange(shape[1]) * shape[0]).as_row
        return (b.arange(shape[0]) * shape[1]).as_column + b.arange(shape[1]).as_row

    def load(self) -> Var:
        b, shape = self.b, self.shape()
        mask = None
        if self.random.random() < 0.4:
            limit = self.random.randint(0, shape[0])
            mask = b.arange(shape[0]) < limit
            if len(shape) == 2:
                mask = mask.as_column
        start = self.random.randint(0, 50)
        return b.load(self.x, self.place(shape) + start, mask, other=self.random.choice((0, 1)))

    def store(self, tile: Var) -> None:
        place = self.b.full((), 0, "i32") if tile.shape == () else self.place(tile.shape)
        self.b.store(self.out, place + self.stores * 400, tile)
        self.stores += 1

    def block(self, pool: list[Var], count: int, depth: int) -> None:
        for _ in range(count):
            if depth < 2 and self.random.random() < 0.2:
                self.loop(pool, depth)
            else:
                pool.append(self.step(pool))
            if self.random.random() < 0.1 and self.stores < 20:
                self.store(self.random.choice(pool))

    def loop(self, pool: list[Var], depth: int) -> None:
        b = self.b
        starts = self.random.sample(pool, min(len(pool), self.random.randint(1, 3)))
        steps = self.random.choice((1, 2, 3))
        bound = steps if self.random.random() < 0.3 else b.scalar(f"n_{steps}")
        carry = [(f"c_{i}", start) for i, start in enumerate(starts)]
        with b.loop(0, bound, name="i", carry=carry) as loop:
            inner = [*pool, *loop.carried]
            self.block(inner, self.random.randint(1, 5), depth + 1)
            loop.yield_(*(self.like(var, inner) for var in loop.carried))
        pool += loop.carried

    def like(self, var: Var, pool: list[Var]) -> Var:
        """A next value for a carried variable, damped."""
        same = [p for p in pool if p.shape == var.shape and p is not var]
        if not same:
            return self.b.binary("mul", var, 0.5) if self.random.random() < 0.7 else var
        other = self.random.choice(same)
        return (var + other) * 0.5 if self.random.random() < 0.6 else other * 0.75

    def step(self, pool: list[Var]) -> Var:
        b, x = self.b, self.random.choice(pool)
        kind = self.random.random()
        if kind < 0.1:
            return self.load()
        if kind < 0.3 and len(x.shape) == 2:
            return self.dot(x, pool)
        if kind < 0.4 and len(x.shape) == 2:
            op = self.random.choice(("sum", "max", "min"))
            scale = 1.0 / max(x.shape) if op == "sum" else 1.0
            return b.reduce(op, x, self.random.randrange(2)) * scale
        if kind < 0.5 and len(x.shape) == 2:
            return x.t
        if kind < 0.6:
            return b.exp2(b.minimum(x, 0.5) * 0.5)
        others = [p for p in pool if p.shape == x.shape]
        y = self.random.choice(others)
        vectors = [p for p in pool if len(p.shape) == 1]
        if len(x.shape) == 2 and vectors and self.random.random() < 0.5:
            v = self.random.choice(vectors)
            if v.shape[0] == x.shape[0]:
                y = v.as_column
            elif v.shape[0] == x.shape[1]:
                y = v.as_row
        op = self.random.choice(("add", "sub", "mul", "maximum", "where"))
        if op == "where":
            return b.where(x > 0.1, y, x * 0.5)
        result = b.binary(op, x, y)
        return result * 0.5 if op in ("add", "sub") else b.maximum(b.minimum(result, 2.0), -2.0)

    def dot(self, x: Var, pool: list[Var]) -> Var:
        b, depth = self.b, x.shape[1]
        fitting = [p for p in pool if len(p.shape) == 2 and depth in p.shape]
        y = self.random.choice(fitting)
        y = y if y.shape[0] == depth else y.t
        result = (x.shape[0], y.shape[1])
        sums = [p for p in pool if p.shape == result]
        acc = self.random.choice(sums) if sums and self.random.random() < 0.5 else None
        return b.dot(x * (1.0 / depth), y, acc)


@pytest.mark.parametrize("seed", range(24))
def test_random_programs(seed: int) -> None:
    program = build(Program(seed), (2,))
    tensors = {"x": randn(1000, seed=seed), "out": torch.zeros(60 * 400)}
    dims = {"n_1": 1, "n_2": 2, "n_3": seed % 4}
    schedule = Schedule(lanes=("rows", "cols")[seed % 2], unroll=(1, 2, 4, 8, 16)[seed % 5])
    names = {pointer.name for pointer in program.kernels[0].pointers}
    tensors = {name: tensor for name, tensor in tensors.items() if name in names}
    run_both(program, tensors, dims, schedule, tolerance=2e-5)
