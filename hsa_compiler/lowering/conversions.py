"""Launches in place of what the runtime does after a tile program: fp32 sums become outputs."""

from __future__ import annotations

import dataclasses

from hsa_compiler.tile.builder import TileBuilder
from hsa_compiler.tile.ir import Kernel, Pointer, TileProgram, Workspace
from hsa_compiler.tile.verify import check

#: Elements that one program converts.
_BLOCK = 1024


def with_conversions(program: TileProgram) -> TileProgram:
    """The program without accumulators: its last launches convert them.

    before: kernels (k), accumulators {d_k: d_k_sum}
    after:  kernels (k, store_d_k), accumulators {}
    """
    if not program.accumulators:
        return program
    spaces = {space.name: space for space in program.workspaces}
    pointers = {p.name: p for kernel in program.kernels for p in kernel.pointers}
    conversions = tuple(
        _conversion(pointers[role], spaces[name]) for role, name in program.accumulators.items()
    )
    return check(
        dataclasses.replace(program, kernels=(*program.kernels, *conversions), accumulators={})
    )


def _conversion(out: Pointer, space: Workspace) -> Kernel:
    b = TileBuilder(f"store_{out.name}")
    blocks = space.size.cdiv(_BLOCK)
    block = b.program_id(0, "i_block")
    # Elements are counted with 64 bits; a block and what is left for the last fit into 32.
    last = b.scalar("last_block", blocks - 1)
    rest = b.scalar("rest", space.size - (blocks - 1) * _BLOCK)
    lane = b.arange(_BLOCK, "o_lane")
    offset = block.to("i64") * _BLOCK + lane
    mask = lane < b.where(block < last, _BLOCK, rest)
    value = b.load(b.pointer(space.name, space.dtype), offset, mask)
    b.store(b.pointer(out.name, out.dtype), offset, value, mask)
    return b.finish((blocks,))
