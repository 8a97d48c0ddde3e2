"""Runs the CUDA source of generated kernels on the CPU: see ``emulator.h``."""

from __future__ import annotations

import ctypes
import functools
import hashlib
import platform
import re
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch

from hsa_compiler.codegen.cuda import build
from hsa_compiler.folders import cache_folder
from hsa_compiler.schedules.problem import Target
from hsa_compiler.schedules.schedule import Schedule
from hsa_compiler.tile.ir import Kernel, TileProgram

HEADER = Path(__file__).with_name("emulator.h")
COMPILE = ("g++", "-O1", "-std=c++17", "-w", "-fPIC")
_KERNEL = re.compile(
    r'extern "C" __global__ void __launch_bounds__\((\d+)\) (\w+)_kernel\(([^)]*)\) \{'
)
_SHARED = re.compile(r"extern __shared__ [^;]*?(\w+)\[\];")


def require() -> None:
    """Skips where there is no compiler for the emulator."""
    if shutil.which("g++") is None or platform.machine() != "x86_64":
        pytest.skip("the emulator needs g++ on x86-64")


@dataclass(frozen=True)
class EmulatedLaunch:
    """One kernel, to be run on CPU tensors."""

    function: Any
    kernel: Kernel
    parameters: tuple[str, ...]

    def __call__(
        self, tensors: Mapping[str, torch.Tensor], scalars: Mapping[str, int], grid: tuple[int, ...]
    ) -> None:
        """Run every block of the grid."""
        values: dict[str, Any] = {f"grid_{i}": int(n) for i, n in enumerate(grid)}
        values |= {name: int(value) for name, value in scalars.items()}
        for pointer in self.kernel.pointers:
            values[f"p_{pointer.name}_ptr"] = tensors[pointer.name].data_ptr()
        args = [
            ctypes.c_void_p(values[name]) if name.startswith("p_") else ctypes.c_int(values[name])
            for name in self.parameters
        ]
        self.function(*((*grid, 1, 1)[:3]), *args)


def load(
    path: Path, program: TileProgram, schedule: Schedule, target: Target
) -> tuple[EmulatedLaunch, ...]:
    """What `build.load` returns, for the CPU."""
    text = path.read_text()
    folder = cache_folder() / "emulated"
    folder.mkdir(parents=True, exist_ok=True)
    digest = hashlib.sha256((text + HEADER.read_text()).encode()).hexdigest()[:16]
    library = folder / f"{digest}.so"
    source = library.with_suffix(".cpp")
    if not source.is_file():
        source.write_text(translate(build.cuda_source(text, target)))
    if not library.is_file():
        command = [*COMPILE, "-shared", f"-I{_precompiled(folder)}", f"-I{HEADER.parent}"]
        subprocess.run([*command, "-o", str(library), str(source)], check=True)
    loaded = ctypes.CDLL(str(library))
    signatures = {name: names for _, name, names in _signatures(source.read_text())}
    return tuple(
        EmulatedLaunch(getattr(loaded, f"run_{k.name}"), k, signatures[k.name])
        for k in program.kernels
    )


@functools.cache
def _precompiled(folder: Path) -> Path:
    """A folder with the compiled header, which takes longer than most kernels."""
    made = folder / f"{HEADER.name}.gch"
    subprocess.run([*COMPILE, "-x", "c++-header", str(HEADER), "-o", str(made)], check=True)
    return folder


def translate(cuda: str) -> str:
    """C++ that runs the kernels of CUDA source."""
    start = cuda.index('extern "C" __global__')
    body = re.sub(r'extern "C" __global__[^{};]*;', "", cuda[start:])
    body = _SHARED.sub(r"uchar* \1 = shared_base();", body)
    runs = []
    for count, name, names in _signatures(body):
        (_, _, parameters) = next(m.groups() for m in _KERNEL.finditer(body) if m[2] == name)
        passed = ", ".join(names)
        runs.append(
            f'extern "C" void run_{name}(int x, int y, int z, {parameters}) {{\n'
            "  int number = 0;\n"
            "  for (blockIdx.z = 0; blockIdx.z < z; ++blockIdx.z)\n"
            "  for (blockIdx.y = 0; blockIdx.y < y; ++blockIdx.y)\n"
            "  for (blockIdx.x = 0; blockIdx.x < x; ++blockIdx.x)\n"
            f"    emulated::run({count}, number++ % 2, [&] {{ {name}_kernel({passed}); }});\n}}\n"
        )
    head = '#include "emulator.h"\n#define __global__\n#define __launch_bounds__(n)\n'
    head += "#define __restrict__\n"
    return head + body + "\n" + "\n".join(runs)


def _signatures(source: str) -> list[tuple[int, str, tuple[str, ...]]]:
    found = []
    for match in _KERNEL.finditer(source):
        names = tuple(part.split()[-1].lstrip("*") for part in match[3].split(","))
        found.append((int(match[1]), match[2], names))
    return found
