"""Prints tile programs as TVMScript for CPUs, and loads them: the door to this back end.

The printed file is a Python module: `import` lines and one class with a ``T.prim_func`` per
kernel. Prefixes carry meaning: ``p_`` tensors, ``n_`` their sizes, ``i_`` program and loop
indices, ``b_`` tiles, whose buffers are flat.
"""

from __future__ import annotations

from pathlib import Path

from hsa_compiler.codegen import tvm_build
from hsa_compiler.codegen.tvm_build import MODULE_START as MODULE_START
from hsa_compiler.codegen.tvm_build import TVMLaunch
from hsa_compiler.codegen.tvm_printer import KernelPrinter
from hsa_compiler.schedules.problem import Target
from hsa_compiler.schedules.schedule import Schedule
from hsa_compiler.tile.ir import TileProgram

#: LLVM names of CPUs with 512-bit vectors start like this; all others get 256-bit code.
_WIDE = (
    "znver4",
    "znver5",
    "skylake-avx512",
    "cascadelake",
    "cooperlake",
    "icelake",
    "tigerlake",
    "rocketlake",
    "sapphirerapids",
    "emeraldrapids",
    "graniterapids",
    "diamondrapids",
    "x86-64-v4",
)


def vector_width(target: Target) -> int:
    """fp32 lanes of the vectors that are printed for a CPU."""
    return 16 if target.arch.startswith(_WIDE) else 8


def generate(program: TileProgram, schedule: Schedule, target: Target) -> str:
    """The TVMScript module of a tile program.

    Raises `IllegalSchedule` where the program needs atomics between programs, a while loop or
    running sums of a tile with two axes.
    """
    functions = [
        KernelPrinter(
            kernel,
            lanes=schedule.lanes,
            unroll=schedule.unroll,
            threads=target.threads,
            width=vector_width(target),
        ).text()
        for kernel in program.kernels
    ]
    head = f'"""Generated for {target}; schedule: {schedule}."""\n\n'
    head += "from tvm.script import ir as I\nfrom tvm.script import tirx as T\n\n\n"
    return f"{head}{MODULE_START}\nclass Module:\n" + "\n".join(functions)


def load(
    path: Path, program: TileProgram, schedule: Schedule, target: Target
) -> tuple[TVMLaunch, ...]:
    """Compile a generated file: one launch per kernel. Raises `BackendError`."""
    return tvm_build.load(path, program, schedule, target)


def compile_ahead(path: Path, program: TileProgram, schedule: Schedule, target: Target) -> None:
    """Compile a generated file and keep the library beside it. Raises `BackendError`."""
    tvm_build.load(path, program, schedule, target)


def host_target(threads: int | None = None) -> Target:
    """This machine's CPU, with all its cores or `threads` of them. Raises `BackendError`."""
    return tvm_build.host_target(threads)
