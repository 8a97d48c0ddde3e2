"""Loads generated Triton modules, launches them, and compiles them for GPUs that are not here."""

from __future__ import annotations

import functools
import importlib.util
import logging
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

import torch

from hsa_compiler.codegen.triton import overlaps
from hsa_compiler.errors import BackendError
from hsa_compiler.schedules.problem import Target
from hsa_compiler.schedules.schedule import IllegalSchedule, Schedule
from hsa_compiler.tile.ir import Descriptor, Kernel, TileProgram

log = logging.getLogger(__name__)

#: Bytes that the addresses of tensors are multiples of: where the copy engine finds the start of
#: one, and what kernels are compiled for. Triton compiles others for tensors that start elsewhere.
POINTER_ALIGNMENT = 16
_I32_END = 2**31
_SIGNATURE = {"fp32": "*fp32", "bf16": "*bf16", "fp16": "*fp16", "i32": "*i32", "i64": "*i64"}


def import_triton() -> Any:
    """The triton module; `BackendError` where it is not installed."""
    try:
        import triton
    except ImportError as error:
        raise BackendError(
            "Triton is not installed; it needs Linux: pip install 'triton>=3.6'"
        ) from error
    return triton


def interpreting() -> bool:
    """Whether this process runs Triton kernels in its interpreter."""
    return bool(import_triton().knobs.runtime.interpret)


@dataclass(frozen=True)
class TritonLaunch:
    """One kernel, ready to launch. Triton compiles it on the first launch.

    Later launches go to the compiled kernel directly: Triton's own way there looks at every
    argument again, for several times as long as the launch takes. What it would find is known:
    sizes are not specialised on, and pointers only on their alignment.
    """

    function: Any
    kernel: Kernel
    options: Mapping[str, int]
    _compiled: dict[int, Any] = field(default_factory=dict, repr=False)

    def __call__(
        self, tensors: Mapping[str, torch.Tensor], scalars: Mapping[str, int], grid: tuple[int, ...]
    ) -> None:
        """Launch over `grid`; tensors by pointer name, scalars by name."""
        args: list[Any] = [tensors[pointer.name] for pointer in self.kernel.pointers]
        device = args[0].get_device()
        usual = all(x.data_ptr() % POINTER_ALIGNMENT == 0 for x in args)
        args += [_describe(d, tensors[d.name]) for d in self.kernel.descriptors]
        sizes = [scalars[scalar.name] for scalar in self.kernel.scalars]
        args += sizes
        usual = usual and all(size < _I32_END for size in sizes)
        compiled = self._compiled.get(device) if usual else None
        if compiled is not None:
            compiled[(*grid, 1, 1)[:3]](*args)
            return
        compiled = self._first(grid, args)
        if usual and compiled is not None:
            self._compiled[device] = compiled

    def _first(self, grid: tuple[int, ...], args: list[Any]) -> Any:
        """Launch through Triton, which compiles where it has to; the compiled kernel."""
        try:
            return self.function[grid](*args, **self.options)
        except Exception as error:
            _raise_refusal(self.kernel.name, error)
            raise


def _raise_refusal(name: str, error: Exception) -> None:
    """Raise `IllegalSchedule` where Triton's error says that a schedule does not fit the GPU."""
    errors = import_triton().runtime.errors
    if isinstance(error, errors.OutOfResources):
        raise IllegalSchedule(_resource(error), f"{name}: {error}") from error
    if isinstance(error, errors.PTXASError):
        # Its message goes on with the whole assembly.
        found = re.search(r"^ptxas .*$", str(error), re.MULTILINE)
        reason = found.group() if found else str(error).splitlines()[0]
        raise IllegalSchedule("ptxas", f"{name}: {reason}") from error
    # A pass of Triton that gives up prints its reason and leaves no more than this.
    if isinstance(error, RuntimeError) and "PassManager::run failed" in str(error):
        raise IllegalSchedule("triton", f"{name}: a pass of Triton failed") from error


def load(
    path: Path, program: TileProgram, schedule: Schedule, target: Target
) -> tuple[TritonLaunch, ...]:
    """Import a generated module and pair its functions with the kernels of `program`."""
    wanted = target.arch == "interpret"
    if wanted != interpreting():
        raise BackendError(
            f"target {target} needs a process that "
            + ("runs" if wanted else "does not run")
            + " Triton's interpreter; TRITON_INTERPRET is read when Triton is first imported"
        )
    module = _import_file(path)
    options = _options(program, schedule, target)
    return tuple(
        TritonLaunch(getattr(module, kernel.name), kernel, options) for kernel in program.kernels
    )


def signature(kernel: Kernel) -> dict[str, str]:
    """The parameters of a generated kernel in order, with Triton's names of their types."""
    types = {f"p_{p.name}": _SIGNATURE[p.dtype] for p in kernel.pointers}
    for d in kernel.descriptors:
        types[f"t_{d.name}"] = f"tensordesc<{d.tensor.dtype}{list(d.block)}>"
    return types | {scalar.name: "i32" for scalar in kernel.scalars}


def compile_ahead(
    path: Path, program: TileProgram, schedule: Schedule, target: Target
) -> list[Any]:
    """Compile every kernel for `target` (``"sm_90"``) without running it.

    Returns Triton's compiled kernels: ``.asm["cubin"]``, ``.metadata.shared``. Works on a machine
    without a GPU, in a process that does not interpret. Raises `IllegalSchedule` where Triton or
    its assembler refuses the schedule.
    """
    triton = import_triton()
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    module = _import_file(path)
    gpu = GPUTarget("cuda", int(target.arch.removeprefix("sm_")), 32)
    options = _options(program, schedule, target)
    compiled = []
    for kernel in program.kernels:
        # Tensors are 16-byte aligned, as at run time.
        attrs = {
            (i,): [["tt.divisibility", POINTER_ALIGNMENT]] for i in range(len(kernel.pointers))
        }
        source = ASTSource(getattr(module, kernel.name), signature(kernel), {}, attrs)
        try:
            compiled.append(triton.compile(source, target=gpu, options=options))
        except Exception as error:
            _raise_refusal(kernel.name, error)
            raise
    return compiled


def _describe(descriptor: Descriptor, tensor: torch.Tensor) -> Any:
    """The argument of a descriptor parameter. Made at every launch, in a few microseconds: a cache
    would have to hold on to the tensor."""
    from triton.tools.tensor_descriptor import TensorDescriptor

    axes, block = list(descriptor.axes), list(descriptor.block)
    if tensor.numel() == 0:
        # There is no address to describe, and nothing will be read.
        tensor = tensor.new_zeros(axes)
    if tensor.data_ptr() % POINTER_ALIGNMENT:
        _note_copy(descriptor.name)
        tensor = tensor.clone(memory_format=torch.contiguous_format)
    array = tensor.view(-1, *axes)
    return TensorDescriptor(array, list(array.shape), list(array.stride()), block)


@functools.cache
def _note_copy(name: str) -> None:
    log.warning(
        "%s starts at an address that is no multiple of %d bytes, as tensor descriptors need: it "
        "is copied at every launch",
        name,
        POINTER_ALIGNMENT,
    )


def _options(program: TileProgram, schedule: Schedule, target: Target) -> dict[str, int]:
    options: dict[str, int] = {"num_warps": schedule.warps, "num_stages": schedule.stages}
    if overlaps(program, target):
        options["launch_pdl"] = True
    return {**options, "maxnreg": schedule.registers} if schedule.registers else options


def _import_file(path: Path) -> ModuleType:
    import_triton()
    name = f"hsa_compiler_generated.{path.stem}"
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise BackendError(f"cannot import the generated kernel {path}")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    sys.modules[name] = module
    return module


def _resource(error: Exception) -> str:
    return "registers" if "register" in str(error) else "shared_memory"
