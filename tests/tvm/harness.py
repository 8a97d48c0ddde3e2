"""Builds a kernel with the tile builder, runs it through TVM and through the interpreter, and
compares every tensor."""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import torch

from hsa_compiler.codegen import tvm
from hsa_compiler.schedules.schedule import Schedule
from hsa_compiler.tile.builder import TileBuilder
from hsa_compiler.tile.ir import Kernel, TileProgram
from hsa_compiler.tile.verify import check
from tests.tvm.interpreter import interpret

NAMES = {
    torch.float32: "fp32",
    torch.bfloat16: "bf16",
    torch.float16: "fp16",
    torch.int32: "i32",
    torch.int64: "i64",
}


def build(
    body: Callable[[TileBuilder], None], grid: Sequence[int | str], name: str = "kernel"
) -> TileProgram:
    """A program of one kernel; its pointers are bound to values of their own names."""
    b = TileBuilder(name)
    body(b)
    kernel = b.finish(grid)
    return check(TileProgram((kernel,), {p.name: p.name for p in kernel.pointers}))


def launch(
    program: TileProgram,
    schedule: Schedule | None = None,
    threads: int = 2,
    arch: str | None = None,
) -> Callable[[Mapping[str, torch.Tensor], Mapping[str, int], tuple[int, ...]], None]:
    """The compiled kernel of a program of one, for this machine or for code it runs as well."""
    schedule = schedule or Schedule()
    target = tvm.host_target(threads)
    if arch is not None:
        target = dataclasses.replace(target, arch=arch)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "kernel.py"
        path.write_text(tvm.generate(program, schedule, target))
        (run,) = tvm.load(path, program, schedule, target)
    return run


def run_both(
    program: TileProgram,
    tensors: Mapping[str, torch.Tensor],
    dims: Mapping[str, int] | None = None,
    schedule: Schedule | None = None,
    threads: int = 2,
    tolerance: float = 1e-6,
    arch: str | None = None,
) -> dict[str, torch.Tensor]:
    """Run and compare; the tensors as TVM left them. Floats may differ by `tolerance` of the
    largest number of their tensor."""
    (kernel,) = program.kernels
    dims = dims or {}
    scalars = {s.name: s.size.evaluate(dims) for s in kernel.scalars}
    grid = tuple(size.evaluate(dims) for size in kernel.grid)
    expected = {name: tensor.clone() for name, tensor in tensors.items()}
    found = {name: tensor.clone() for name, tensor in tensors.items()}
    interpret(kernel, expected, scalars, grid)
    launch(program, schedule, threads, arch)(found, scalars, grid)
    for name, tensor in found.items():
        compare(name, tensor, expected[name], tolerance)
    return found


def compare(name: str, found: torch.Tensor, expected: torch.Tensor, tolerance: float) -> None:
    """Equal, or for floats nearly so; infinities and NaN must be in the same places."""
    if not found.is_floating_point():
        assert torch.equal(found, expected), f"{name}: {found} instead of {expected}"
        return
    if found.dtype != torch.float32:
        tolerance = max(tolerance, 1e-2 if found.dtype == torch.bfloat16 else 1e-3)
    finite = expected.isfinite()
    scale = float(expected[finite].abs().max()) if finite.any() else 1.0
    torch.testing.assert_close(
        found,
        expected,
        rtol=tolerance,
        atol=tolerance * scale,
        equal_nan=True,
        msg=lambda text: f"{name}: {text}",
    )


def kernel_of(program: TileProgram) -> Kernel:
    """Its only kernel."""
    (kernel,) = program.kernels
    return kernel


def randn(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    """Normal numbers, the same for the same seed."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator).to(dtype)


def randint(
    low: int, high: int, *shape: int, seed: int = 0, dtype: torch.dtype = torch.int32
) -> torch.Tensor:
    """Integers in [low, high)."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(low, high, shape, generator=generator).to(dtype)
