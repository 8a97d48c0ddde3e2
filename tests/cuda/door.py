"""The public door with CPU tensors and kernels for CUDA: they run in the emulator."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from hsa_compiler.codegen.cuda import build
from hsa_compiler.compiler import compile_kernel
from hsa_compiler.runtime import dispatch
from hsa_compiler.schedules import hardware
from hsa_compiler.schedules.problem import Target
from tests.cuda import emulator

ARCH = "sm_90"


@contextmanager
def emulated() -> Iterator[None]:
    """``backend="tvm"`` compiles for a GPU inside, and runs on the CPU."""
    emulator.require()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(build, "load", emulator.load)
        patch.setattr(dispatch, "target_of", lambda backend, device: Target("cuda", ARCH))
        patch.setattr(hardware, "detect", lambda device: hardware.named("nvidia_h100_80gb_hbm3"))
        compile_kernel.cache_clear()
        yield
    compile_kernel.cache_clear()
