"""Builds generated TVMScript with LLVM for a CPU and launches it. The only module that imports
TVM, and only when something is built."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from hsa_compiler.codegen.tvm_text import STORAGE
from hsa_compiler.errors import BackendError
from hsa_compiler.schedules.problem import Target
from hsa_compiler.schedules.schedule import Schedule
from hsa_compiler.tile.ir import Kernel, TileProgram

Launch = Callable[[Mapping[str, torch.Tensor], Mapping[str, int], tuple[int, ...]], None]

#: Where the part of a generated file begins that TVM parses.
MODULE_START = "@I.ir_module"
_VIEWS = {"uint16": torch.uint16, "uint8": torch.uint8}
# TVM's name of a pipeline without storage rewriting: merged buffers would not become registers.
_PIPELINE = "tirx"


def import_tvm(threads: int | None = None) -> Any:
    """The tvm module, with `threads` worker threads; `BackendError` where it is not installed."""
    try:
        import tvm
        import tvm_ffi
    except ImportError as error:
        raise BackendError(
            "TVM is not installed; it runs the kernels on CPUs: pip install 'apache-tvm>=0.27'"
        ) from error
    if threads is not None and tvm_ffi.get_global_func("runtime.NumThreads")() != threads:
        tvm_ffi.get_global_func("runtime.config_threadpool")(1, threads)
    return tvm


def host_target(threads: int | None = None) -> Target:
    """This machine's CPU, with all its cores or `threads` of them."""
    tvm = import_tvm()
    if threads is None:
        threads = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 0
        threads = threads or os.cpu_count() or 1
    return Target("tvm", str(tvm.target.codegen.llvm_get_system_cpu()), threads)


@dataclass(frozen=True)
class TVMLaunch:
    """One compiled kernel."""

    function: Any
    kernel: Kernel

    def __call__(
        self, tensors: Mapping[str, torch.Tensor], scalars: Mapping[str, int], grid: tuple[int, ...]
    ) -> None:
        """Launch over `grid`; contiguous CPU tensors by pointer name, scalars by name."""
        if 0 in grid:
            return
        args: list[Any] = []
        for pointer in self.kernel.pointers:
            flat = tensors[pointer.name].view(-1)
            dtype = _VIEWS.get(STORAGE[pointer.dtype])
            args.append(flat if dtype is None else flat.view(dtype))
        args += [int(scalars[scalar.name]) for scalar in self.kernel.scalars]
        self.function(*args, *map(int, grid))


def load(
    path: Path, program: TileProgram, schedule: Schedule, target: Target
) -> tuple[TVMLaunch, ...]:
    """Compile a generated file; one launch per kernel of `program`.

    Raises `BackendError` where TVM is missing or refuses the file.
    """
    tvm = import_tvm(target.threads)
    text = path.read_text(encoding="utf-8")
    try:
        module = tvm.script.from_source(text[text.index(MODULE_START) :])
        llvm = tvm.target.Target({"kind": "llvm", "mcpu": target.arch})
        built = tvm.compile(module, target=llvm, tir_pipeline=_PIPELINE)
    except Exception as error:  # TVM raises many kinds; all mean that the file does not build
        raise BackendError(f"TVM could not build {path} for {target}: {error}") from error
    return tuple(TVMLaunch(built[kernel.name], kernel) for kernel in program.kernels)
