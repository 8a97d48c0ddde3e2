"""Planned schedules built for their target, which need not be here, and what they take of it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from hsa_compiler.codegen import triton_export
from hsa_compiler.compiler import build_ahead
from hsa_compiler.export import cuda
from hsa_compiler.planning.forecast import Forecast
from hsa_compiler.schedules.hardware import KIB, Hardware
from hsa_compiler.schedules.problem import Problem, Target
from hsa_compiler.schedules.rates import programs_that_fit
from hsa_compiler.schedules.schedule import Schedule
from hsa_compiler.tuner.compile_pool import CompilePool
from hsa_compiler.tuner.worker import CandidateFailed

#: Shared memory that the driver keeps of every program, and the step in which a thread's registers
#: are given out (sm_80 and newer).
DRIVER_BYTES = KIB
REGISTER_STEP = 8


@dataclass(frozen=True)
class Job:
    """A kernel group under one schedule, and the device that it must fit."""

    problem: Problem
    schedule: Schedule
    target: Target
    row: Hardware


@dataclass(frozen=True)
class Launch:
    """What one launch of a kernel group takes: registers and bytes of stack of a thread, bytes of
    shared memory of a program, and how many programs then share a multiprocessor."""

    name: str
    registers: int
    stack_bytes: int
    shared_bytes: int
    resident: int


#: The launches of a built schedule (a CPU's say nothing), or why it cannot be built.
Outcome = tuple[Launch, ...] | CandidateFailed
Built = dict[tuple[Problem, Schedule], Outcome]


def build_all(forecasts: Iterable[Forecast], target: Target, row: Hardware) -> Built:
    """Build every candidate, in parallel processes; equal kernels of several shapes once.

    Raises:
        BackendError: the target's compiler is missing.
    """
    if target.backend == "triton":
        triton_export.require_compiler()
    jobs = [
        Job(forecast.task.problem, candidate.schedule, target, row)
        for forecast in forecasts
        for candidate in forecast.candidates
    ]
    with CompilePool() as pool:
        outcomes = pool.run(build, jobs)
    return {(job.problem, job.schedule): outcome for job, outcome in outcomes.items()}


def build(job: Job) -> tuple[Launch, ...]:
    """Build one job and read what its launches take.

    Raises:
        IllegalSchedule: it does not fit the device.
        BackendError: the compiler fails.
    """
    if job.target.backend == "tvm":
        build_ahead(job.problem, job.schedule, job.target)
        return ()
    generated = cuda.build(job.problem, job.schedule, job.target, job.row)
    return tuple(_launch(triton_export.resources(binary), job.row) for binary in generated.binaries)


def _launch(taken: triton_export.Resources, row: Hardware) -> Launch:
    registers = -(-taken.registers // REGISTER_STEP) * REGISTER_STEP
    shared = taken.shared_bytes + DRIVER_BYTES
    resident = programs_that_fit(row, taken.threads, registers, shared)
    return Launch(taken.name, taken.registers, taken.stack_bytes, taken.shared_bytes, resident)
