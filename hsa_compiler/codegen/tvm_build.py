"""Builds generated TVMScript with LLVM for a CPU and launches it. TVM is imported only when
something is built."""

from __future__ import annotations

import hashlib
import logging
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from hsa_compiler.codegen.tvm_text import STORAGE
from hsa_compiler.errors import BackendError
from hsa_compiler.schedules.problem import Target
from hsa_compiler.schedules.schedule import Schedule
from hsa_compiler.threads import settle_tvm, tvm_threads
from hsa_compiler.tile.ir import Kernel, TileProgram

Launch = Callable[[Mapping[str, torch.Tensor], Mapping[str, int], tuple[int, ...]], None]

_LOG = logging.getLogger(__name__)
#: Where the part of a generated file begins that TVM parses.
MODULE_START = "@I.ir_module"
_VIEWS = {"uint16": torch.uint16, "uint8": torch.uint8}
# TVM's name of a pipeline without storage rewriting: merged buffers would not become registers.
_PIPELINE = "tirx"


def import_tvm() -> Any:
    """The tvm module; `BackendError` where it is not installed."""
    settle_tvm()
    try:
        import tvm
    except ImportError as error:
        raise BackendError(
            "TVM is not installed; it runs the kernels on CPUs: pip install 'apache-tvm>=0.27'"
        ) from error
    return tvm


def host_target(threads: int | None = None) -> Target:
    """This machine's CPU and `threads` threads: by default as many as TVM was told to have."""
    tvm = import_tvm()
    cpu = str(tvm.target.codegen.llvm_get_system_cpu())
    return Target("tvm", cpu, tvm_threads() if threads is None else threads)


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
    """Compile a generated file, or load what was compiled from the same text before; one launch
    per kernel of `program`.

    Raises `BackendError` where TVM is missing or refuses the file.
    """
    tvm = import_tvm()
    text = path.read_text(encoding="utf-8")
    digest = hashlib.sha256(text.encode()).hexdigest()[:8]
    library = path.with_name(f"{path.stem}.{digest}.so")
    module = _load_library(tvm, library)
    if module is None:
        module = _compile(tvm, path, text, target)
        _keep_library(module, library)
    return tuple(TVMLaunch(module[kernel.name], kernel) for kernel in program.kernels)


def _compile(tvm: Any, path: Path, text: str, target: Target) -> Any:
    with building(str(path), target):
        return compile_module(tvm, parse(tvm, text), target)


@contextmanager
def building(what: str, target: Target) -> Iterator[None]:
    """TVM raises many kinds of errors; all of them mean that `what` does not build."""
    try:
        yield
    except Exception as error:
        raise BackendError(f"TVM could not build {what} for {target}: {error}") from error


def parse(tvm: Any, text: str) -> Any:
    """The IRModule in a generated file."""
    return tvm.script.from_source(text[text.index(MODULE_START) :])


def compile_module(tvm: Any, module: Any, target: Target) -> Any:
    """A runtime module from an IRModule, optimised for the target's CPU."""
    llvm = tvm.target.Target({"kind": "llvm", "mcpu": target.arch})
    return tvm.compile(module, target=llvm, tir_pipeline=_PIPELINE).mod


def c_compiler() -> str | None:
    """The C compiler that links, if there is one."""
    return shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")


# -- compiled kernels, kept beside their source -------------------------------------------------
def _load_library(tvm: Any, library: Path) -> Any:
    """The module in a shared library; None where there is none, or one that does not load."""
    if not library.is_file():
        return None
    try:
        os.utime(library)
        return tvm.runtime.load_module(str(library))
    except (OSError, RuntimeError) as error:
        _LOG.warning("compiling again: %s does not load (%s)", library, error)
        return None


def _keep_library(module: Any, library: Path) -> None:
    """Link a compiled module, where there is a C compiler to link with: reading it back takes
    milliseconds. Without one, or in a folder that cannot be written, every process compiles."""
    linker = c_compiler()
    if linker is None:
        return
    try:
        with tempfile.TemporaryDirectory(dir=library.parent, prefix=".new-") as folder:
            object_file, linked = Path(folder, "kernel.o"), Path(folder, "kernel.so")
            module.write_to_file(str(object_file), "o")
            command = [linker, "-shared", "-o", str(linked), str(object_file)]
            done = subprocess.run(command, capture_output=True, timeout=60, check=False)
            if done.returncode == 0:
                os.replace(linked, library)
    except (OSError, subprocess.SubprocessError) as error:
        _LOG.debug("%s is not kept: %s", library, error)
