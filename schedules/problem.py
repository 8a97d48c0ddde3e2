"""What one kernel is compiled for: a kernel group, its static dims, and a target."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from hsa_compiler.ir import KernelGroup

#: Dims that stay run-time arguments of a kernel; every other dim is compiled in.
DYNAMIC_DIMS = ("B", "L", "Lkv", "C", "R", "P", "N")


@dataclass(frozen=True)
class Problem:
    """A kernel group with its static dims bound, e.g. ``(("D", 64), ("Hq", 16), ...)``.

    Equal problems share one compiled kernel. Data dtypes stand in the group's types.
    """

    group: KernelGroup
    dims: tuple[tuple[str, int], ...]

    @classmethod
    def of(cls, group: KernelGroup, dims: Mapping[str, int]) -> Problem:
        """Bind a group to the static part of `dims`; dynamic and unused dims are dropped."""
        names = group.program.dim_names()
        static = {n: int(v) for n, v in dims.items() if n not in DYNAMIC_DIMS and n in names}
        return cls(group, tuple(sorted(static.items())))

    def __getitem__(self, dim: str) -> int:
        return dict(self.dims)[dim]

    def get(self, dim: str, default: int) -> int:
        """The static dim, or `default` where the group does not mention it."""
        return dict(self.dims).get(dim, default)

    @property
    def kind(self) -> str:
        """The kernel's name, one of `schedules.schedule.KERNELS`."""
        return self.group.kind


@dataclass(frozen=True)
class Target:
    """A back end and the architecture it compiles for.

    ``Target("triton", "sm_90")``, ``Target("triton", "interpret")`` (Triton's interpreter, on
    CPU tensors), ``Target("cuda", "sm_90")`` (CUDA through TVM), ``Target("tvm", "znver4", 2)`` (an
    LLVM CPU name and its thread count).
    """

    backend: str
    arch: str
    threads: int = 1

    def __str__(self) -> str:
        return f"{self.backend}:{self.arch}"
