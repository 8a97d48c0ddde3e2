"""Builds a kernel with the tile builder, runs its CUDA in the emulator and its tile program in the
interpreter, and compares every tensor."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path

import torch

from hsa_compiler.codegen import cuda
from hsa_compiler.schedules.problem import Target
from hsa_compiler.schedules.schedule import Schedule
from hsa_compiler.tile.ir import TileProgram
from tests.cuda import emulator
from tests.tvm.harness import compare
from tests.tvm.interpreter import interpret

TARGET = Target("cuda", "sm_90")


def run_both(
    program: TileProgram,
    tensors: Mapping[str, torch.Tensor],
    dims: Mapping[str, int] | None = None,
    warps: int = 4,
    tolerance: float = 1e-5,
    target: Target = TARGET,
) -> dict[str, torch.Tensor]:
    """Run and compare; the tensors as the emulated kernel left them."""
    emulator.require()
    (kernel,) = program.kernels
    dims = dims or {}
    scalars = {s.name: s.size.evaluate(dims) for s in kernel.scalars}
    grid = tuple(size.evaluate(dims) for size in kernel.grid)
    expected = {name: tensor.clone() for name, tensor in tensors.items()}
    found = {name: tensor.clone() for name, tensor in tensors.items()}
    interpret(kernel, expected, scalars, grid)
    schedule = Schedule(warps=warps)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "kernel.py"
        path.write_text(cuda.generate(program, schedule, target))
        (run,) = emulator.load(path, program, schedule, target)
    run(found, scalars, grid)
    for name, tensor in found.items():
        compare(name, tensor, expected[name], tolerance)
    return found
