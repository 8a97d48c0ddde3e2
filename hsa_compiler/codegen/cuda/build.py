"""Builds generated TVMScript with nvcc, keeps the libraries, and launches them.

A library holds the GPU's machine code and needs no compiler to run: the runtime of TVM, two shared
libraries of it, and tvm_ffi. Nothing here needs a GPU to build for one.
"""

from __future__ import annotations

import ast
import ctypes
import functools
import hashlib
import importlib.util
import logging
import os
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from hsa_compiler.codegen.cuda.values import statements
from hsa_compiler.codegen.tvm_build import MODULE_START, c_compiler, import_tvm
from hsa_compiler.errors import BackendError
from hsa_compiler.folders import cache_folder
from hsa_compiler.schedules.hardware import has_warpgroup_products
from hsa_compiler.schedules.problem import Target
from hsa_compiler.schedules.schedule import IllegalSchedule, Schedule
from hsa_compiler.tile.ir import AtomicAdd, Kernel, Store, TileProgram

_LOG = logging.getLogger(__name__)
_PIPELINE = "tirx"
_CALLBACK = "tvm_callback_cuda_compile"
#: Bytes that the addresses of tensors are multiples of.
_ALIGNMENT = 16
_NVCC_SECONDS = 600
#: What TVM's CUDA runtime takes from the driver's library.
_DRIVER_SYMBOLS = (
    "cuDeviceGetName", "cuFuncSetAttribute", "cuGetErrorName", "cuGetErrorString",
    "cuLaunchKernelEx", "cuModuleGetFunction", "cuModuleLoadData", "cuModuleUnload",
    "cuTensorMapEncodeTiled",
)  # fmt: skip
#: What a kernel needs of TVM to run, in the order in which they load.
_RUNTIME = ("libtvm_runtime.so", "libtvm_runtime_cuda.so")
_CUBIN = b"\x7fELF"


@dataclass(frozen=True)
class CudaLaunch:
    """One compiled kernel. It runs on PyTorch's current stream, and can be captured in a graph."""

    function: Any
    kernel: Kernel
    written: frozenset[str]

    @classmethod
    def of(cls, function: Any, kernel: Kernel) -> CudaLaunch:
        """The launch of a compiled kernel."""
        writes = (s for s in statements(kernel.body) if isinstance(s, Store | AtomicAdd))
        return cls(function, kernel, frozenset(write.pointer.name for write in writes))

    def __call__(
        self, tensors: Mapping[str, torch.Tensor], scalars: Mapping[str, int], grid: tuple[int, ...]
    ) -> None:
        """Launch over `grid`; contiguous CUDA tensors by pointer name, scalars by name."""
        if 0 in grid:
            return
        given = [tensors[pointer.name].view(-1) for pointer in self.kernel.pointers]
        args = [x if x.data_ptr() % _ALIGNMENT == 0 else x.clone() for x in given]
        sizes = [int(scalars[scalar.name]) for scalar in self.kernel.scalars]
        self.function(*args, *sizes, *map(int, grid))
        for pointer, tensor, used in zip(self.kernel.pointers, given, args, strict=True):
            # Inputs may be saved by autograd, which notices every write.
            if used is not tensor and pointer.name in self.written:
                tensor.copy_(used)


def load(
    path: Path, program: TileProgram, schedule: Schedule, target: Target
) -> tuple[CudaLaunch, ...]:
    """One launch per kernel of `program`, from the library beside a generated file; it is built
    where there is none.

    Raises:
        BackendError: the runtime is missing, or there is no library and no compiler.
        IllegalSchedule: the schedule does not fit the GPU.
    """
    library = compile_ahead(path, program, schedule, target)
    ffi = _runtime()
    try:
        return _loaded(ffi, library, program)
    except BackendError as error:
        if missing_compilers():
            raise
        _LOG.warning("%s. It is built again.", error)
    library.unlink(missing_ok=True)
    return _loaded(ffi, compile_ahead(path, program, schedule, target), program)


def _loaded(ffi: Any, library: Path, program: TileProgram) -> tuple[CudaLaunch, ...]:
    try:
        module = ffi.load_module(str(library))
        return tuple(CudaLaunch.of(module[kernel.name], kernel) for kernel in program.kernels)
    except (OSError, RuntimeError, AttributeError) as error:
        raise BackendError(f"{library} does not load: {error}") from error


def compile_ahead(path: Path, program: TileProgram, schedule: Schedule, target: Target) -> Path:
    """The library beside a generated file, built where there is none. Raises like `load`."""
    text = path.read_text(encoding="utf-8")
    key = f"{text}\0{target.arch}\0{schedule.registers}"
    digest = hashlib.sha256(key.encode()).hexdigest()[:8]
    library = path.with_name(f"{path.stem}.{digest}.so")
    if library.is_file():
        with suppress(OSError):  # a cache of someone else, or one that is being trimmed
            os.utime(library)
        return library
    _require_compilers(path)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".new-") as folder:
        built = Path(folder, "kernel.so")
        build_library(text, target, schedule.registers, built)
        os.replace(built, library)
    return library


def build_library(text: str, target: Target, registers: int, library: Path) -> None:
    """Compile a generated module into a shared library with the GPU's machine code inside.

    Raises:
        IllegalSchedule: the assembler refuses the schedule.
        BackendError: TVM or nvcc fail otherwise, or left the machine code out.
    """
    made: list[bytes] = []

    def compile_source(code: str) -> bytes:
        made.append(_nvcc(code, target, registers))
        return made[-1]

    _provide_driver()
    with _cuda_compiler(compile_source):
        module = _compile(text, target)
        try:
            module.export_library(str(library))
        except (OSError, RuntimeError) as error:
            raise BackendError(f"cannot link {library.name}: {error}") from error
    if not made or made[0] not in library.read_bytes():
        raise BackendError(
            f"TVM left the machine code for {target.arch} out of {library.name}: it does so where "
            "its CUDA runtime does not load; is libcudart there?"
        )


def cuda_source(text: str, target: Target) -> str:
    """The CUDA source of a generated module."""
    found: list[str] = []

    def keep(code: str) -> bytes:
        found.append(code)
        return _CUBIN

    with _cuda_compiler(keep):
        module = _compile(text, target)
        return found[0] if found else str(module.mod.imports[0].inspect_source())


# -- compilation --------------------------------------------------------------------------------
def _compile(text: str, target: Target) -> Any:
    """TVM's executable of a generated module."""
    tvm = import_tvm()
    start = text.index(MODULE_START)
    constants = {
        node.targets[0].id: ast.literal_eval(node.value)
        for node in ast.parse(text[:start]).body
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name)
    }
    cuda = tvm.target.Target({"kind": "cuda", "arch": target.arch}, host={"kind": "llvm"})
    # nvcc unrolls the loops.
    options = {"tirx.UnrollLoop": {"explicit_unroll": False}}
    names = {"T": tvm.script.tirx, "I": tvm.script.ir, **constants}
    try:
        with cuda, tvm.transform.PassContext(config=options):
            module = tvm.script.from_source(text[start:], extra_vars=names)
            return tvm.compile(module, target=cuda, tir_pipeline=_PIPELINE)
    except IllegalSchedule:
        raise
    except Exception as error:
        if _refused:
            raise _refused.pop() from error
        raise BackendError(f"TVM could not build a kernel for {target}: {error}") from error


#: TVM has one CUDA compiler for the whole process: one build has it at a time. The errors of nvcc
#: lose their class on their way through TVM.
_building = threading.Lock()
_refused: list[Exception] = []


@contextmanager
def _cuda_compiler(function: Any) -> Iterator[None]:
    """TVM compiles CUDA source with `function` inside, and as before afterwards."""
    import_tvm()
    import tvm_ffi

    with _building:
        yield from _exchanged(tvm_ffi, function)


def _exchanged(tvm_ffi: Any, function: Any) -> Iterator[None]:
    _refused.clear()
    before = tvm_ffi.get_global_func(_CALLBACK, allow_missing=True)

    def call(code: str) -> bytes:
        try:
            return bytes(function(code))
        except (BackendError, IllegalSchedule) as error:
            _refused.append(error)
            raise RuntimeError(str(error)) from error

    tvm_ffi.register_global_func(_CALLBACK, call, override=True)
    try:
        yield
    finally:
        if before is not None:
            tvm_ffi.register_global_func(_CALLBACK, before, override=True)


def _nvcc(code: str, target: Target, registers: int) -> bytes:
    """Machine code of CUDA source."""
    compiler = shutil.which("nvcc")
    if compiler is None:
        raise BackendError("nvcc is not on the path: install the CUDA toolkit")
    with tempfile.TemporaryDirectory(prefix="hsa-nvcc-") as folder:
        source, binary = Path(folder, "kernel.cu"), Path(folder, "kernel.cubin")
        source.write_text(code, encoding="utf-8")
        # What an architecture alone has is asked for by a name of its own.
        arch = target.arch.removeprefix("sm_") + "a" * has_warpgroup_products(target.arch)
        command = [compiler, "-cubin", "-O3", "-std=c++17"]
        command += ["-gencode", f"arch=compute_{arch},code=sm_{arch}"]
        command += ["-U__CUDA_NO_HALF_OPERATORS__", "-U__CUDA_NO_HALF_CONVERSIONS__"]
        command += ["-U__CUDA_NO_BFLOAT16_OPERATORS__", "-U__CUDA_NO_BFLOAT16_CONVERSIONS__"]
        if registers:
            command.append(f"-maxrregcount={registers}")
        command += ["-o", str(binary), str(source)]
        try:
            done = subprocess.run(
                command, capture_output=True, text=True, timeout=_NVCC_SECONDS, check=False
            )
        except (OSError, subprocess.SubprocessError) as error:
            raise BackendError(f"nvcc could not run: {error}") from error
        if done.returncode:
            reason = done.stderr.strip()
            if "uses too much shared data" in reason:
                raise IllegalSchedule("shared_memory", reason)
            raise BackendError(f"nvcc failed for {target}: {reason}")
        return binary.read_bytes()


def missing_compilers() -> list[str]:
    """What would have to be installed to build kernels here."""
    return [
        name
        for name, there in (
            ("apache-tvm (pip install 'apache-tvm>=0.27')", _has_compiler()),
            ("nvcc (the CUDA toolkit)", shutil.which("nvcc")),
            ("a C compiler", c_compiler()),
        )
        if not there
    ]


def _require_compilers(path: Path) -> None:
    """Raise unless kernels can be built here."""
    missing = missing_compilers()
    if missing:
        raise BackendError(
            f"there is no library beside {path}, and to build it {', '.join(missing)} "
            "would be needed: build it where they are, with the same kernel cache"
        )


def _has_compiler() -> bool:
    return bool(_find_library("libtvm_compiler.so"))


# -- the runtime --------------------------------------------------------------------------------
def _find_library(name: str) -> Path | None:
    """A shared library of TVM, whose package need not be complete."""
    spec = importlib.util.find_spec("tvm")
    for folder in (spec.submodule_search_locations or ()) if spec is not None else ():
        path = Path(folder, "lib", name)
        if path.is_file():
            return path
    return None


@functools.cache
def _runtime() -> Any:
    """The module tvm_ffi, with TVM's CUDA runtime loaded."""
    _provide_driver()
    try:
        import tvm_ffi
    except ImportError as error:
        raise BackendError(
            "tvm_ffi is not installed; it launches kernels that TVM built: pip install "
            "'apache-tvm>=0.27'"
        ) from error
    for name in _RUNTIME:
        path = _find_library(name)
        if path is None:
            raise BackendError(f"TVM has no {name}: pip install 'apache-tvm>=0.27'")
        _load_globally(path)
    return tvm_ffi


def _load_globally(path: Path) -> None:
    try:
        ctypes.CDLL(str(path), mode=ctypes.RTLD_GLOBAL)
    except OSError as error:
        raise BackendError(f"{path} does not load: {error}") from error


@functools.cache
def _provide_driver() -> None:
    """Without the driver's library TVM's CUDA runtime does not load, and TVM then embeds source
    instead of machine code. Where there is none, a library of the same name whose functions all
    fail takes its place: kernels are built, never run."""
    try:
        ctypes.CDLL("libcuda.so.1", mode=ctypes.RTLD_GLOBAL)
        return
    except OSError:
        pass
    folder = cache_folder() / "driver"
    stub = folder / "libcuda.so.1"
    if not stub.is_file():
        _build_stub(folder, stub)
    libraries = [stub]
    if _find_library("libtvm_runtime_cuda.so") is not None:
        import tvm_ffi  # noqa: F401  # loads what the runtime needs

        libraries += [path for name in _RUNTIME if (path := _find_library(name)) is not None]
    for path in libraries:
        _load_globally(path)


def _build_stub(folder: Path, stub: Path) -> None:
    compiler = c_compiler()
    if compiler is None:
        raise BackendError("building for a GPU that is not here needs a C compiler")
    # 100 is CUDA_ERROR_NO_DEVICE.
    lines = [f"int {name}(void) {{ return 100; }}" for name in _DRIVER_SYMBOLS]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder) as temporary:
            source, built = Path(temporary, "driver.c"), Path(temporary, "driver.so")
            source.write_text("\n".join(lines) + "\n")
            command = [compiler, "-shared", "-fPIC", "-Wl,-soname,libcuda.so.1"]
            command += ["-o", str(built), str(source)]
            subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
            os.replace(built, stub)
    except (OSError, subprocess.SubprocessError) as error:
        raise BackendError(f"cannot build {stub}: {error}") from error
