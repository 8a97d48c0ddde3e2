"""Shared libraries from generated TVMScript: many kernels and the C functions around them."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from hsa_compiler.codegen import tvm_build
from hsa_compiler.errors import BackendError, InputError
from hsa_compiler.schedules.problem import Target

#: x86 vector extensions under the names that both LLVM and /proc/cpuinfo know.
_FLAGS = ("avx", "avx2", "fma", "f16c", "avx512f", "avx512bw", "avx512dq", "avx512vl")
_LINK_SECONDS = 120


@dataclass(frozen=True)
class Runtime:
    """What exported libraries need of the installed TVM: its shared libraries and C headers."""

    libraries: tuple[Path, ...]
    includes: tuple[Path, ...]


def runtime() -> Runtime:
    """The installed runtime. Raises `BackendError` where TVM is missing."""
    tvm_build.import_tvm()
    import tvm.libinfo
    import tvm_ffi.libinfo

    libraries = (tvm.libinfo.find_libtvm_runtime(), tvm_ffi.libinfo.find_libtvm_ffi())
    includes = (tvm_ffi.libinfo.find_include_path(), tvm_ffi.libinfo.find_dlpack_include_path())
    return Runtime(tuple(map(Path, libraries)), tuple(map(Path, includes)))


def cpu_target(cpu: str = "", threads: int | None = None) -> Target:
    """An LLVM CPU of this machine's instruction set with a number of threads; by default this
    machine's. Raises `InputError` for a CPU that LLVM does not know."""
    host = tvm_build.host_target(threads)
    codegen = tvm_build.import_tvm().target.codegen
    if cpu and not codegen.llvm_is_valid_cpu(cpu, codegen.llvm_get_system_triple()):
        raise InputError(
            f"--target cpu:{cpu}: LLVM knows no such CPU; leave it out for this machine's, "
            f"{host.arch}, or name one such as x86-64-v3"
        )
    return Target("tvm", cpu or host.arch, host.threads)


def cpu_flags(target: Target) -> tuple[str, ...]:
    """The vector extensions that code for the target may use, as /proc/cpuinfo names them."""
    tvm = tvm_build.import_tvm()
    llvm = tvm.target.Target({"kind": "llvm", "mcpu": target.arch})
    known = {str(feature) for feature in tvm.target.codegen.llvm_get_cpu_features(llvm)}
    return tuple(flag for flag in _FLAGS if flag in known)


def require_c_compiler() -> str:
    """The C compiler. Raises `BackendError` where there is none, or not the platform."""
    if not sys.platform.startswith("linux"):
        raise BackendError(f"export --target cpu builds on Linux alone, this is {sys.platform}")
    compiler = tvm_build.c_compiler()
    if compiler is None:
        raise BackendError(
            "export --target cpu needs a C compiler to link with, and there is no cc, gcc or "
            "clang: install one, e.g. `apt-get install gcc`"
        )
    return compiler


def build_library(library: Path, sources: Mapping[str, str], c_file: Path, target: Target) -> None:
    """Compile generated modules and one C file into a shared library.

    Args:
        library: where it goes; the C file's own headers are searched for beside it.
        sources: generated modules by the prefix of their kernels: ``k`` under the prefix ``p_``
            becomes the symbol ``__tvm_ffi_p_k``, TVM's calling convention.
        c_file: C11 source that calls these symbols.

    Raises:
        BackendError: TVM refuses a module, or the C compiler fails.
    """
    compiler, tvm, needed = require_c_compiler(), tvm_build.import_tvm(), runtime()
    functions = {}
    with tvm_build.building(library.name, target):
        for prefix, source in sources.items():
            for variable, function in tvm_build.parse(tvm, source).functions.items():
                name = prefix + variable.name_hint
                functions[tvm.ir.GlobalVar(name)] = function.with_attr("global_symbol", name)
        module = tvm_build.compile_module(tvm, tvm.IRModule(functions), target)
        object_file = c_file.with_suffix(".kernels.o")
        module.write_to_file(str(object_file), "o")
    command = [compiler, "-shared", "-fPIC", "-O2", "-std=gnu11", "-Wall", "-Wno-unused"]
    command += [f"-I{folder}" for folder in (library.parent, *needed.includes)]
    command += ["-o", str(library), str(c_file), str(object_file)]
    for path in needed.libraries:
        command += [f"-L{path.parent}", f"-l{path.stem.removeprefix('lib')}"]
    # The runtime is looked for beside the library too; a symbol that is nowhere is an error now.
    command += ["-lm", f"-Wl,-soname,{library.name}", "-Wl,-rpath,$ORIGIN", "-Wl,-z,defs"]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=_LINK_SECONDS, check=False
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise BackendError(f"{compiler} could not link {library.name}: {error}") from error
    if done.returncode:
        raise BackendError(f"{compiler} could not link {library.name}: {done.stderr.strip()}")
