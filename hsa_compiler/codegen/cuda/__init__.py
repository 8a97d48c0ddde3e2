"""Prints tile programs as TVMScript for CUDA, and builds them: the door to this back end.

values    which tiles are kept in registers
layout    who holds which element
products  how matrix products are computed, and where their factors lie
assign    a layout for every kept tile
printer   TVMScript; `tiles`, `convert`, `memory`, `reduce`, `dot`, `top_k` print single ops
pipeline  loops that load tiles rounds ahead
build     libraries with nvcc's binaries inside, and launches
"""

from __future__ import annotations

from hsa_compiler.codegen.cuda.printer import print_kernel
from hsa_compiler.codegen.tvm_build import MODULE_START
from hsa_compiler.schedules.problem import Target
from hsa_compiler.schedules.schedule import Schedule
from hsa_compiler.tile.ir import TileProgram


def generate(program: TileProgram, schedule: Schedule, target: Target) -> str:
    """The TVMScript module of a tile program: the device functions it calls, and a function per
    launch.

    Raises `IllegalSchedule` where the program reads blocks through tensor descriptors, or needs
    more shared memory than the target has.
    """
    printed = [print_kernel(kernel, schedule, target) for kernel in program.kernels]
    head = f'"""Generated for {target}; schedule: {schedule}."""\n\n'
    head += "from tvm.script import ir as I\nfrom tvm.script import tirx as T\n\n"
    used = {name: x for _, intrinsics in printed for name, x in intrinsics.items()}
    for name, intrinsic in used.items():
        head += f'{name} = r"""{intrinsic.source}"""\n'
    return f"{head}\n\n{MODULE_START}\nclass Module:\n" + "\n".join(text for text, _ in printed)
