"""Kernels compiled ahead of time with Triton, and how to launch them without it."""

from __future__ import annotations

import math
import re
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hsa_compiler.codegen import triton_build
from hsa_compiler.errors import BackendError
from hsa_compiler.schedules.problem import Target
from hsa_compiler.schedules.schedule import IllegalSchedule, Schedule
from hsa_compiler.tile.ir import Descriptor, Kernel, Size, TileProgram

#: Kinds of parameters as PTX declares them.
_PTX_TYPES = {"pointer": "u64", "scratch": "u64", "i64": "u64", "i32": "u32", "tensor_map": "b8"}
_TOOL_SECONDS = 60
_PARAMETER = re.compile(r"\.param\s+(?:\.align\s+\d+\s+)?\.(\w+)")


@dataclass(frozen=True)
class Binary:
    """One kernel's cubin, its parameters in order, and what a launch of it needs.

    A parameter is ``{"kind": "pointer", "name"}``, ``{"kind": "i32" | "i64", "value"}``,
    ``{"kind": "tensor_map", ...}`` (a CUtensorMap, passed by value) or ``{"kind": "scratch"}`` (a
    NULL pointer). Names and values are those of the tile program.
    """

    symbol: str
    cubin: bytes
    parameters: tuple[dict[str, object], ...]
    threads: int
    shared_bytes: int
    overlapped: bool


@dataclass(frozen=True)
class Resources:
    """What a binary takes: registers and bytes of stack (spilled registers, local arrays) of a
    thread, threads and bytes of shared memory of a program."""

    name: str
    registers: int
    stack_bytes: int
    threads: int
    shared_bytes: int


def require_compiler() -> None:
    """Raises `BackendError` where Triton is missing, or interprets in this process."""
    if triton_build.interpreting():
        raise BackendError(
            "compiling ahead of time needs Triton's compiler, and TRITON_INTERPRET is set: unset "
            "it and run again"
        )


def compile_binaries(
    path: Path,
    program: TileProgram,
    schedule: Schedule,
    target: Target,
    counts: Mapping[str, Size],
    shared_limit: int,
) -> tuple[Binary, ...]:
    """Compile a generated file for a GPU that need not be here.

    Args:
        path: the generated module.
        counts: elements of the tensors that are read through descriptors, by pointer name.
        shared_limit: bytes of shared memory that a block of the GPU can have.

    Raises:
        IllegalSchedule: the kernel does not fit the GPU.
        BackendError: Triton is missing, interprets, or gives a kernel that this module does not
            know how to launch.
    """
    require_compiler()
    try:
        compiled = triton_build.compile_ahead(path, program, schedule, target)
    except (BackendError, IllegalSchedule):
        raise
    except (
        Exception
    ) as error:  # Triton and LLVM raise many kinds for an architecture unknown to them
        raise BackendError(f"Triton could not build {path.name} for {target}: {error}") from error
    pairs = zip(program.kernels, compiled, strict=True)
    return tuple(_binary(kernel, found, counts, shared_limit) for kernel, found in pairs)


def resources(binary: Binary) -> Resources:
    """What the assembler gave a binary, read back by the `cuobjdump` that comes with Triton.

    Raises:
        BackendError: the tool is missing or does not understand the binary.
    """
    try:
        tool = triton_build.import_triton().knobs.nvidia.cuobjdump.path
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, f"{binary.symbol}.cubin")
            path.write_bytes(binary.cubin)
            command = [tool, "-res-usage", str(path)]
            done = subprocess.run(
                command, capture_output=True, text=True, timeout=_TOOL_SECONDS, check=False
            )
    except (RuntimeError, OSError, subprocess.SubprocessError) as error:
        raise BackendError(f"cuobjdump could not read {binary.symbol}: {error}") from error
    usage = rf"Function {re.escape(binary.symbol)}:\s+REG:(\d+) STACK:(\d+)"
    found = re.search(usage, done.stdout)
    if found is None:
        raise BackendError(
            f"cuobjdump names no registers of {binary.symbol}: {done.stderr or done.stdout}"
        )
    return Resources(
        name=binary.symbol,
        registers=int(found[1]),
        stack_bytes=int(found[2]),
        threads=binary.threads,
        shared_bytes=binary.shared_bytes,
    )


def _binary(kernel: Kernel, compiled: Any, counts: Mapping[str, Size], shared_limit: int) -> Binary:
    metadata = compiled.metadata
    if metadata.shared > shared_limit:
        raise IllegalSchedule(
            "shared_memory",
            f"{kernel.name}: needs {metadata.shared} bytes of shared memory, a block can have "
            f"{shared_limit}",
        )
    if metadata.global_scratch_size or metadata.profile_scratch_size or metadata.num_ctas != 1:
        raise BackendError(f"{kernel.name}: Triton wants scratch memory or clusters at its launch")
    parameters = tuple(_parameters(kernel, metadata, counts))
    declared = _declared(compiled.asm["ptx"], metadata.name)
    if declared != [_PTX_TYPES[str(p["kind"])] for p in parameters]:
        raise BackendError(
            f"{kernel.name}: Triton {metadata.triton_version} gave it the parameters {declared}, "
            f"expected {[p['kind'] for p in parameters]}"
        )
    return Binary(
        symbol=metadata.name,
        cubin=compiled.asm["cubin"],
        parameters=parameters,
        threads=32 * metadata.num_warps,
        shared_bytes=metadata.shared,
        overlapped=bool(metadata.launch_pdl),
    )


def _parameters(
    kernel: Kernel, metadata: Any, counts: Mapping[str, Size]
) -> Iterator[dict[str, object]]:
    """A kernel's parameters as Triton lays them out; a descriptor is followed by its sizes and
    strides, and two scratch pointers stand at the end."""
    for pointer in kernel.pointers:
        yield {
            "kind": "pointer",
            "name": pointer.name,
            "dtype": pointer.dtype,
            "alignment": triton_build.POINTER_ALIGNMENT,
        }
    maps = list(metadata.tensordesc_meta or ())
    if len(maps) != len(kernel.descriptors):
        raise BackendError(f"{kernel.name}: Triton lowered a descriptor to pointers")
    for descriptor, facts in zip(kernel.descriptors, maps, strict=True):
        yield from _descriptor(descriptor, facts, counts[descriptor.name])
    for scalar in kernel.scalars:
        yield {"kind": "i32", "name": scalar.name, "value": str(scalar.size)}
    yield {"kind": "scratch", "name": "global scratch"}
    yield {"kind": "scratch", "name": "profile scratch"}


def _descriptor(
    descriptor: Descriptor, facts: Mapping[str, Any], count: Size
) -> Iterator[dict[str, object]]:
    axes = descriptor.axes
    shape = [str(count.cdiv(math.prod(axes))), *map(str, axes)]
    strides = [str(math.prod(axes[i:])) for i in range(len(axes) + 1)]
    yield {
        "kind": "tensor_map",
        "name": descriptor.name,
        "dtype": descriptor.tensor.dtype,
        "shape": shape,
        "strides": strides,
        "box": [int(n) for n in facts["block_size"]],
        "swizzle": int(facts["swizzle"]),
        "element_bytes": int(facts["elem_size"]),
        "alignment": triton_build.POINTER_ALIGNMENT,
    }
    for size in shape:
        yield {"kind": "i32", "name": descriptor.name, "value": size}
    for stride in strides:
        yield {"kind": "i64", "name": descriptor.name, "value": stride}


def _declared(ptx: str, symbol: str) -> list[str]:
    """The types of an entry's parameters in PTX."""
    start = ptx.index(f".entry {symbol}(")
    return _PARAMETER.findall(ptx[start : ptx.index(")", start)])
