"""The pipeline, from a kernel group to something that runs:

problem + schedule + target
    -> lower      (lowering/lower.py)     a tile program, or IllegalSchedule
    -> check      (tile/verify.py)        every rule of the tile IR
    -> generate   (codegen/)              Triton or TVM source
    -> store      (cache.py)              a real file
    -> build      (codegen/)              launchable kernels
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from functools import lru_cache
from importlib import import_module, metadata
from pathlib import Path

import torch

from hsa_compiler.cache import cache_key, default_cache
from hsa_compiler.errors import BackendError
from hsa_compiler.ir.interpreter import TORCH_DTYPES
from hsa_compiler.lowering import lower
from hsa_compiler.schedules.problem import Problem, Target
from hsa_compiler.schedules.schedule import Schedule
from hsa_compiler.tile.ir import TileProgram
from hsa_compiler.tile.verify import check

#: Per back end: the module that prints, the module that builds, and the package it needs.
BACKENDS = {
    "triton": ("hsa_compiler.codegen.triton", "hsa_compiler.codegen.triton_build", "triton"),
    "tvm": ("hsa_compiler.codegen.tvm", "hsa_compiler.codegen.tvm", "apache-tvm"),
    "cuda": ("hsa_compiler.codegen.cuda", "hsa_compiler.codegen.cuda.build", "apache-tvm"),
}
Launch = Callable[[Mapping[str, torch.Tensor], Mapping[str, int], tuple[int, ...]], None]


@dataclass(frozen=True)
class _Plan:
    """A tile program's sizes for one set of dims."""

    scalars: tuple[dict[str, int], ...]
    grids: tuple[tuple[int, ...], ...]
    workspaces: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class CompiledKernel:
    """A kernel group, compiled. `source_paths` are the generated files."""

    problem: Problem
    schedule: Schedule
    target: Target
    tile: TileProgram
    source_paths: tuple[Path, ...]
    launches: tuple[Launch, ...]
    _plans: dict[tuple[tuple[str, int], ...], _Plan] = field(default_factory=dict, repr=False)

    def reads(self, name: str) -> bool:
        """Whether it touches a value of the group; which of the inputs depends on the schedule."""
        return name in self.tile.bindings.values()

    def launch(self, values: Mapping[str, torch.Tensor], dims: Mapping[str, int]) -> None:
        """Run the group: read its inputs from `values` and write its outputs into them.

        Args:
            values: tensors by the names of the group's inputs and outputs, all contiguous and on
                one device; the outputs are allocated by the caller and fully overwritten.
            dims: every dim of the group, e.g. ``{"B": 1, "L": 8192, ...}``.
        """
        key = tuple(sorted(dims.items()))
        plan = self._plans.get(key)
        if plan is None:
            plan = self._plans[key] = self._plan(dims)
        tile = self.tile
        tensors = {role: values[name] for role, name in tile.bindings.items() if name in values}
        device = next(iter(tensors.values())).device
        for space, size in zip(tile.workspaces, plan.workspaces, strict=True):
            make = torch.zeros if space.zeroed else torch.empty
            tensors[space.name] = make(size, dtype=TORCH_DTYPES[space.dtype], device=device)
        for role in tile.zeroed:
            tensors[role].zero_()
        with _on(device):
            for run, scalars, grid in zip(self.launches, plan.scalars, plan.grids, strict=True):
                if all(grid):
                    run(tensors, scalars, grid)
        for role, space_name in tile.accumulators.items():
            output = values[tile.bindings[role]]
            output.copy_(tensors[space_name].view(output.shape))

    def _plan(self, dims: Mapping[str, int]) -> _Plan:
        kernels = self.tile.kernels
        return _Plan(
            tuple({s.name: s.size.evaluate(dims) for s in k.scalars} for k in kernels),
            tuple(tuple(size.evaluate(dims) for size in k.grid) for k in kernels),
            tuple(space.size.evaluate(dims) for space in self.tile.workspaces),
        )

    def workspace_bytes(self, dims: Mapping[str, int]) -> int:
        """Bytes of temporary buffers that a launch with these dims allocates."""
        sizes = (
            space.size.evaluate(dims) * TORCH_DTYPES[space.dtype].itemsize
            for space in self.tile.workspaces
        )
        return sum(sizes)


def lower_kernel(problem: Problem, schedule: Schedule, target: Target) -> TileProgram:
    """The verified tile program of a kernel group.

    Raises `IllegalSchedule` where the schedule does not fit the group or the target.
    """
    return check(lower(problem, schedule, target))


def generate_source(problem: Problem, schedule: Schedule, target: Target) -> str:
    """The source text that `compile_kernel` would build."""
    return print_source(lower_kernel(problem, schedule, target), schedule, target)


def print_source(tile: TileProgram, schedule: Schedule, target: Target) -> str:
    """The source text of a tile program."""
    return str(import_module(_backend(target)[0]).generate(tile, schedule, target))


def store_source(problem: Problem, schedule: Schedule, target: Target, source: str) -> Path:
    """The file in the kernel cache that holds generated source."""
    package = _backend(target)[2]
    program = f"{problem.group.program.text()}{problem.dims}{source}"
    key = cache_key(program, schedule, target, f"{package} {_version(package)}")
    return default_cache().store(problem.kind, key, source)


@lru_cache(maxsize=4096)
def compile_kernel(problem: Problem, schedule: Schedule, target: Target) -> CompiledKernel:
    """Compile a kernel group, or return the process's compiled one.

    Raises `IllegalSchedule` (the schedule cannot run), `BackendError` (the back end is missing or
    failed). Triton defers its own compilation to the first launch.
    """
    tile, path = _stored(problem, schedule, target)
    launches = import_module(_backend(target)[1]).load(path, tile, schedule, target)
    return CompiledKernel(problem, schedule, target, tile, (path,), tuple(launches))


def build_ahead(problem: Problem, schedule: Schedule, target: Target) -> None:
    """Leave the compiled kernel where the first launch on `target` finds it.

    Needs no device: another process may do it for the one that launches. Raises like
    `compile_kernel`.
    """
    tile, path = _stored(problem, schedule, target)
    import_module(_backend(target)[1]).compile_ahead(path, tile, schedule, target)


def _stored(problem: Problem, schedule: Schedule, target: Target) -> tuple[TileProgram, Path]:
    """The lowered kernel, and the file of its source."""
    tile = lower_kernel(problem, schedule, target)
    return tile, store_source(problem, schedule, target, print_source(tile, schedule, target))


def _backend(target: Target) -> tuple[str, str, str]:
    if target.backend not in BACKENDS:
        raise BackendError(
            f"no back end {target.backend!r}; there are: {', '.join(sorted(BACKENDS))}"
        )
    return BACKENDS[target.backend]


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError as error:
        raise BackendError(f"{package} is not installed: pip install {package}") from error


def _on(device: torch.device) -> AbstractContextManager[object]:
    return torch.cuda.device(device) if device.type == "cuda" else nullcontext()
