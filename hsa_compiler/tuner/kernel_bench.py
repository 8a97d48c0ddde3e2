"""The bench of real kernels: compile with `compile_kernel`, gate, time. Runs in the worker."""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from hsa_compiler.compiler import CompiledKernel, compile_kernel
from hsa_compiler.configs import data_dtype
from hsa_compiler.runtime.dispatch import resolve_backend, target_of
from hsa_compiler.schedules.hardware import Hardware, calibrated, detect
from hsa_compiler.schedules.locality import measured_union
from hsa_compiler.schedules.problem import Problem, Target
from hsa_compiler.schedules.schedule import Schedule
from hsa_compiler.tuner.correctness import (
    TOLERANCE,
    CorruptedMemory,
    Reference,
    check_witness,
    checksums,
    poison,
    poisoned_outputs,
)
from hsa_compiler.tuner.effort import Effort
from hsa_compiler.tuner.measure import (
    Clock,
    CpuClock,
    CudaClock,
    Run,
    Sentinel,
    Timing,
    race,
    screen_steadily,
)
from hsa_compiler.tuner.nvml import Gpu
from hsa_compiler.tuner.workload import GateCase, Task, gate_cases, timing_values

log = logging.getLogger(__name__)

Compile = Callable[[Problem, Schedule, Target], CompiledKernel]


@dataclass(frozen=True)
class BenchTask:
    """What the worker is told of one kernel."""

    task: Task
    effort: Effort


@dataclass(frozen=True)
class BenchInfo:
    """What the worker tells back of the selection it times on and of the device.

    `union` is the measured union of 16 neighbours over K; `hardware` has rates as measured here.
    """

    union: float
    hardware: Hardware


@dataclass(frozen=True)
class _Checked:
    case: GateCase
    outputs: dict[str, Tensor]
    reference: Reference


class KernelBench:
    """Evaluates schedules of one kernel at a time on one device.

    `compile` makes a launchable kernel of a schedule.
    """

    def __init__(self, compile: Compile = compile_kernel) -> None:
        self._compile = compile

    def setup(self, bench_task: BenchTask) -> BenchInfo:
        """Make inputs, float64 references and the clock; the previous kernel's are dropped."""
        task = bench_task.task
        self._effort = bench_task.effort
        self._task = task
        self._device = torch.device(task.device)
        self._target = target_of(resolve_backend("auto", self._device), self._device)
        self._group = task.problem.group
        self._tolerance = TOLERANCE[_tolerance_dtype(task)]
        self._cases: list[_Checked] = []
        self._values: dict[str, Tensor] = {}
        self._outputs: dict[str, Tensor] = {}
        self._witness: dict[str, Tensor] | None = None
        for case in gate_cases(task, self._device):
            outputs = poisoned_outputs(self._group, case.dims, self._device)
            reference = Reference(self._group, case.values, case.dims, self._tolerance)
            self._cases.append(_Checked(case, outputs, reference))
        self._values = timing_values(task, self._device)
        self._outputs = poisoned_outputs(self._group, task.shape.dims, self._device)
        self._read_only = [*self._values.values()]
        for checked in self._cases:
            self._read_only += [*checked.case.values.values(), *checked.reference.tensors]
        self._intact = checksums(self._read_only)
        self._clock = _clock(self._device, task.warm_l2)
        gpu = _gpu(task.device) if self._device.type == "cuda" else None
        self._sentinel = Sentinel(_fixed_work(self._device), self._clock, gpu)
        indices = self._values.get("indices")
        union = 0.0 if indices is None else measured_union(indices)
        return BenchInfo(union, _measured_hardware(task.device))

    def evaluate(
        self, schedule: Schedule, best_ms: float | None, stage: Callable[[str], None]
    ) -> tuple[Timing, float]:
        """Compile, check and time a candidate; any exception means that it failed."""
        run, error = self._prepare(schedule, stage)
        timing = screen_steadily(run, self._clock, self._effort, best_ms, self._sentinel)
        return timing, error

    def race(
        self,
        schedules: Mapping[str, Schedule],
        rounds: int,
        seconds: float,
        seed: int,
        other_l2: bool,
    ) -> dict[str, list[float]]:
        """Check candidates once more, then time them against each other."""
        runs = {name: self._prepare(schedule)[0] for name, schedule in schedules.items()}
        clock = _clock(self._device, not self._task.warm_l2) if other_l2 else self._clock
        return race(runs, clock, rounds, seconds, seed)

    def _prepare(
        self, schedule: Schedule, stage: Callable[[str], None] = lambda _: None
    ) -> tuple[Run, float]:
        kernel = self._compile(self._task.problem, schedule, self._target)
        error = 0.0
        for number, checked in enumerate(self._cases):
            poison(checked.outputs)
            kernel.launch({**checked.case.values, **checked.outputs}, checked.case.dims)
            self._finish()
            if number == 0:
                stage("run")  # Triton compiles on the first launch
            error = max(error, checked.reference.check(checked.outputs))
        values, dims = {**self._values, **self._outputs}, self._task.shape.dims
        poison(self._outputs)
        kernel.launch(values, dims)
        self._finish()
        if self._witness is None:
            self._witness = {name: x.clone() for name, x in self._outputs.items()}
        else:
            check_witness(self._group, self._outputs, self._witness, self._tolerance)
        if checksums(self._read_only) != self._intact:
            raise CorruptedMemory("wrote to its inputs, or to other memory beside its outputs")
        return functools.partial(kernel.launch, values, dims), error

    def _finish(self) -> None:
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)


def _clock(device: torch.device, warm_l2: bool) -> Clock:
    return CudaClock(device, warm_l2) if device.type == "cuda" else CpuClock()


def _fixed_work(device: torch.device) -> Run:
    """A product of some tens of microseconds on a GPU, of about a millisecond on a CPU."""
    size = 2048 if device.type == "cuda" else 512
    dtype = torch.bfloat16 if device.type == "cuda" else torch.float32
    left, right = (torch.ones(size, size, dtype=dtype, device=device) for _ in range(2))
    out = torch.empty_like(left)

    def run() -> None:
        torch.mm(left, right, out=out)

    return run


@functools.cache
def _gpu(device: str) -> Gpu | None:
    return Gpu.find(torch.device(device), log.warning)


@functools.cache
def _measured_hardware(device: str) -> Hardware:
    return calibrated(detect(device), device)


def _tolerance_dtype(task: Task) -> str:
    dtype = data_dtype(task.problem.group.program)
    return dtype if dtype in TOLERANCE else task.shape.dtype
