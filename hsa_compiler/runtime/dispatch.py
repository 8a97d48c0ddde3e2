"""From a kernel group and its dims to a compiled kernel: back end, target, schedule, compilation.

The schedule comes from the config store (`hsa_compiler.configs`), which says what tier answered.
A schedule that turns out illegal when it is compiled gives way to the generic one, logged once.
"""

from __future__ import annotations

import functools
import importlib.util
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypeVar

import torch
from torch import Tensor

from hsa_compiler.configs import Choice, choose
from hsa_compiler.errors import BackendError, InputError
from hsa_compiler.ir import KernelGroup
from hsa_compiler.runtime import record
from hsa_compiler.schedules import cost_model, hardware
from hsa_compiler.schedules.legality import adds_atomically, without_atomics
from hsa_compiler.schedules.problem import DYNAMIC_DIMS, Problem, Target
from hsa_compiler.schedules.schedule import IllegalSchedule, Schedule
from hsa_compiler.schedules.space import smaller_schedules
from hsa_compiler.schedules.workspace import affordable

if TYPE_CHECKING:
    from hsa_compiler.compiler import CompiledKernel

log = logging.getLogger("hsa_compiler.runtime")
Built = TypeVar("Built")

#: What each back end is called on PyPI.
PACKAGES = {
    "triton": ("triton", "triton"),
    "tvm": ("tvm", "apache-tvm"),
    "cuda": ("tvm_ffi", "apache-tvm"),
}


@dataclass
class Dispatched:
    """A kernel ready to launch, the choice that led to it, and what to try if it does not fit.

    Triton learns what a kernel really needs when it compiles it, at the first launch; a schedule
    that turns out too large for the device is replaced by the next of `fallbacks`, with a warning.
    """

    kernel: CompiledKernel
    row: record.Row
    fallbacks: list[Schedule]

    def launch(self, values: Mapping[str, Tensor], dims: Mapping[str, int]) -> None:
        """Run on the group's inputs and preallocated outputs.

        Raises:
            BackendError: no schedule of this kernel fits the device.
        """
        while True:
            try:
                return self.kernel.launch(values, dims)
            except IllegalSchedule as error:
                self._fall_back(error)

    def _fall_back(self, error: IllegalSchedule) -> None:
        old = self.kernel
        self.kernel, choice = _compile(old.problem, old.target, self.fallbacks, error)
        self.row = record.Row.of(old.problem, old.target, replace(choice, union=self.row.union))
        record.note(self.row)


def _compile(
    problem: Problem, target: Target, schedules: list[Schedule], error: IllegalSchedule
) -> tuple[CompiledKernel, Choice]:
    """The first of `schedules` that compiles, removed from the list together with those before."""
    from hsa_compiler.compiler import compile_kernel

    return first_that_fits(
        problem, target, schedules, error, lambda s: compile_kernel(problem, s, target)
    )


def first_that_fits(
    problem: Problem,
    target: Target,
    schedules: list[Schedule],
    error: IllegalSchedule,
    build: Callable[[Schedule], Built],
) -> tuple[Built, Choice]:
    """What `build` makes of the first of `schedules` that it does not refuse.

    Args:
        schedules: candidates, best first; those that were tried are removed.
        error: why the schedule that was chosen first does not fit.

    Raises:
        BackendError: when all of them raise `IllegalSchedule`.
    """
    while schedules:
        schedule = schedules.pop(0)
        log.warning("%s: %s; using the schedule %s instead", problem.kind, error, schedule)
        try:
            built = build(schedule)
        except IllegalSchedule as next_error:
            error = next_error
            continue
        reason = f"the chosen one does not fit: {error}"
        return built, Choice(schedule, "generic", None, float("inf"), reason)
    raise BackendError(
        f"no schedule of {problem.kind} fits {target} for {dict(problem.dims)}; the last one "
        f"failed with {error}"
    ) from error


def resolve_backend(backend: str, device: torch.device) -> str:
    """``"triton"``, ``"tvm"``, ``"cuda"`` or ``"reference"`` for a device.

    ``"auto"`` takes Triton for CUDA tensors and TVM for CPU tensors; ``"tvm"`` with CUDA tensors is
    ``"cuda"``, CUDA through TVM.

    Raises:
        InputError: the back end does not run on this kind of device.
        BackendError: it is not installed.
    """
    if backend == "reference":
        return backend
    name = {"cuda": "triton", "cpu": "tvm"}[device.type] if backend == "auto" else backend
    if name == "triton" and device.type == "cpu" and not _interpreting():
        raise InputError(
            "backend='triton' needs CUDA tensors, these are on the CPU: pass backend='auto' or "
            "'tvm' (or set TRITON_INTERPRET=1 before Triton is imported, to debug a kernel)"
        )
    if name == "tvm" and device.type == "cuda":
        name = "cuda"
    if not _installed(name):
        raise BackendError(
            f"backend={backend!r} needs the package {PACKAGES[name][1]}, which is not installed: "
            f"run `pip install {PACKAGES[name][1]}`, or pass backend='reference' (slow)"
        )
    return name


def target_of(backend: str, device: torch.device) -> Target:
    """The target that a resolved back end compiles for on a device."""
    if backend == "tvm":
        from hsa_compiler.codegen.tvm import host_target

        return host_target()
    if device.type == "cpu":
        return Target("triton", "interpret")
    return Target(backend, hardware.detect(str(device)).arch)


def select_schedule(
    group: KernelGroup,
    dims: Mapping[str, int],
    device: torch.device,
    backend: str,
    deterministic: bool = False,
    union: float | None = None,
) -> tuple[Problem, Target, Choice]:
    """What `dispatch` would compile, without compiling it.

    Raises:
        IllegalSchedule: no schedule is deterministic, where that is asked for.
    """
    target = target_of(resolve_backend(backend, device), device)
    row = hardware.detect("cpu" if target.arch == "interpret" else str(device))
    problem = Problem.of(group, dims)
    return problem, target, choose_schedule(problem, dims, target, row, deterministic, union)


def choose_schedule(
    problem: Problem,
    dims: Mapping[str, int],
    target: Target,
    row: hardware.Hardware,
    deterministic: bool = False,
    union: float | None = None,
) -> Choice:
    """The config store's schedule for a measured `union` of selections, where there is one, without
    atomic adds where `deterministic` asks for none."""
    names = problem.group.program.dim_names()
    sizes = {name: dims[name] for name in DYNAMIC_DIMS if name in names}
    choice = replace(choose(problem, sizes, target, row, union), union=union)
    if deterministic and adds_atomically(problem.kind, choice.schedule):
        schedule = without_atomics(problem.kind, choice.schedule)
        if not affordable(problem, schedule, sizes, row):
            schedule = _planned_without_atomics(problem, sizes, row, target)
        # Its own time is not known.
        choice = replace(choice, schedule=schedule, measured=None, locality="")
        choice = choice.noted("without atomic adds, as deterministic=True asks")
    return choice


def _planned_without_atomics(
    problem: Problem, sizes: Mapping[str, int], row: hardware.Hardware, target: Target
) -> Schedule:
    for plan in cost_model.ranked(problem, sizes, row, backend=target.backend):
        if not adds_atomically(problem.kind, plan.schedule):
            return plan.schedule
    raise IllegalSchedule(
        "combine", f"no schedule of {problem.kind} without atomic adds fits {row.name}"
    )


def dispatch(
    group: KernelGroup,
    dims: Mapping[str, int],
    device: torch.device,
    backend: str,
    deterministic: bool = False,
    union: float | None = None,
    note: str = "",
) -> Dispatched:
    """Choose a schedule, compile the kernel and note the choice, `note` among its reasons.

    Args:
        group: the kernel group.
        dims: all dims of the call.
        device: where it will run.
        backend: as the caller gave it, ``"auto"`` included, but not ``"reference"``.
        deterministic: refuse schedules that add atomically.
        union: measured, of the selections; None where none was.

    Raises:
        BackendError: the back end is missing or could not build the kernel.
        InputError: the back end does not run on this device.
    """
    from hsa_compiler.compiler import compile_kernel

    try:
        problem, target, choice = select_schedule(
            group, dims, device, backend, deterministic, union
        )
    except IllegalSchedule as error:
        raise BackendError(error.message) from error
    choice = choice.noted(note)
    tried = {choice.schedule}
    fallbacks = [s for s in smaller_schedules(problem, target.backend) if s not in tried]
    try:
        kernel = compile_kernel(problem, choice.schedule, target)
    except IllegalSchedule as error:
        kernel, choice = _compile(problem, target, fallbacks, error)
    row = record.Row.of(problem, target, replace(choice, union=union))
    if record.note(row):
        log.info("%s", row)
    return Dispatched(kernel, row, fallbacks)


@functools.cache
def _installed(backend: str) -> bool:
    return importlib.util.find_spec(PACKAGES[backend][0]) is not None


def _interpreting() -> bool:
    """Whether Triton's interpreter is on."""
    if not _installed("triton"):
        return False
    from triton import knobs

    return bool(knobs.runtime.interpret)
