"""The function around a printed body: parameters, threads, and every buffer."""

from __future__ import annotations

from collections.abc import Mapping

from hsa_compiler.codegen.cuda.shared import MOST_ALIGN
from hsa_compiler.codegen.cuda.tiles import STORED, Tiles
from hsa_compiler.schedules.hardware import WARP
from hsa_compiler.tile.ir import Kernel

#: Parameters that give the size of the grid.
GRID = ("grid_0", "grid_1", "grid_2")
_BLOCK = ("blockIdx.x", "blockIdx.y", "blockIdx.z")


def function_text(kernel: Kernel, tiles: Tiles, places: Mapping[str, int], size: int) -> str:
    """The whole function, indented as a method, once its body is printed: `places` are the byte
    offsets of its buffers in `size` bytes of shared memory."""
    grid = GRID[: len(kernel.grid)]
    params = [f"{p.name}_ptr: T.handle" for p in kernel.pointers]
    params += [f"{name}: T.int32" for name in (*(s.name for s in kernel.scalars), *grid)]
    lines = ["@T.prim_func", f"def {kernel.name}("]
    lines += [f"    {param}," for param in params]
    lines += ["):", f"    # grid: ({', '.join(map(str, kernel.grid))})"]
    lines.append(f'    T.func_attr({{"global_symbol": "{kernel.name}", "tirx.noalias": True}})')
    lines += [f"    n_{p.name} = T.int64()" for p in kernel.pointers]
    for p in kernel.pointers:
        args = f'{p.name}_ptr, (n_{p.name},), "{STORED[p.dtype]}", align=16'
        lines.append(f"    p_{p.name} = T.match_buffer({args})")
    for name, block, extent in zip(("pid_0", "pid_1", "pid_2"), _BLOCK, grid, strict=False):
        lines.append(f'    {name} = T.launch_thread("{block}", {extent})')
    lines.append(f'    tid = T.launch_thread("threadIdx.x", {WARP * tiles.warps})')
    lines.append(f"    lane: T.let = tid % {WARP}")
    if size:
        # The same in all kernels of a file, for which CUDA has one declaration.
        lines.append(
            f'    shared = T.alloc_buffer(({size},), "uint8", scope="shared.dyn", '
            f"align={MOST_ALIGN})"
        )
    for b in tiles.shared.buffers:
        lines.append(
            f'    {b.name} = T.decl_buffer(({b.rows * b.pitch},), "{b.dtype}", '
            f'data=shared.data, byte_offset={places[b.name]}, scope="shared.dyn")'
            f"  # [{b.rows}, {b.columns}]"
        )
    for name, (count, dtype, note) in tiles.registers.items():
        note = f"  # {note}" if note else ""
        lines.append(f'    {name} = T.alloc_buffer(({count},), "{dtype}", scope="local"){note}')
    lines += [f"    {line}" for line in tiles.head]
    return "\n".join(f"    {line}" for line in lines) + "\n" + tiles.writer.text(2) + "\n"
