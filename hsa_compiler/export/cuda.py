"""An export for NVIDIA GPUs: one cubin per launch, compiled where no GPU is needed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from hsa_compiler.codegen import triton_export
from hsa_compiler.compiler import store_source
from hsa_compiler.export.plan import Generated, Part, generate
from hsa_compiler.ir import TensorType
from hsa_compiler.ir.dims import parse_dim
from hsa_compiler.schedules.hardware import Hardware
from hsa_compiler.schedules.problem import Problem, Target
from hsa_compiler.schedules.schedule import Schedule
from hsa_compiler.tile.ir import Size


def build(problem: Problem, schedule: Schedule, target: Target, row: Hardware) -> Generated:
    """A kernel group's cubins for `target`, within what a block of `row` can hold.

    Raises:
        IllegalSchedule: the schedule does not fit.
        BackendError: Triton is missing or fails.
    """
    generated = generate(problem, schedule, target)
    tile = generated.tile
    path = store_source(problem, schedule, target, generated.source)
    values = problem.group.program.values
    static = dict(problem.dims)
    counts = {role: _count(values[name].type, static) for role, name in tile.bindings.items()}
    binaries = triton_export.compile_binaries(
        path, tile, schedule, target, counts, row.shared_per_block
    )
    return Generated(tile, generated.source, binaries)


def write_cubins(folder: Path, parts: Sequence[Part]) -> list[Path]:
    """Write ``cubin/<group>.<launch>.<kernel>.cubin`` for every launch."""
    (folder / "cubin").mkdir()
    written = []
    for part in parts:
        for number, binary in enumerate(part.generated.binaries):
            path = folder / cubin_name(part, number)
            path.write_bytes(binary.cubin)
            written.append(path)
    return written


def cubin_name(part: Part, number: int) -> str:
    """Where a launch's cubin is, relative to the export."""
    return f"cubin/{part.name}.{number}.{part.generated.binaries[number].symbol}.cubin"


def _count(kind: TensorType, static: Mapping[str, int]) -> Size:
    """The number of elements of a tensor, as a size of the dynamic dims."""
    total = Size.of(1)
    for dim in kind.shape:
        axis: Size | None = None
        for product in parse_dim(dim):
            term = Size.of(1)
            for factor in product:
                known = static.get(factor, factor) if isinstance(factor, str) else factor
                term = Size.of(known) if term == Size.of(1) else term * known
            axis = term if axis is None else axis + term
        assert axis is not None
        total = axis if total == Size.of(1) else total * axis
    return total
