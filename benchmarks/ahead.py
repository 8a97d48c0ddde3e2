"""Chooses and compiles the kernels of a run before anything is timed, in parallel processes."""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass

import torch

from hsa_compiler.benchmarks.rows import Row, Suite
from hsa_compiler.compiler import build_ahead
from hsa_compiler.configs import Choice, default_store
from hsa_compiler.errors import HSAError
from hsa_compiler.ir import KernelGroup
from hsa_compiler.runtime.dispatch import choose_schedule, resolve_backend, target_of
from hsa_compiler.runtime.forms import form_of
from hsa_compiler.schedules.hardware import Hardware, detect
from hsa_compiler.schedules.problem import Problem, Target
from hsa_compiler.schedules.schedule import IllegalSchedule
from hsa_compiler.tuner.compile_pool import CompilePool
from hsa_compiler.tuner.shapes import Shape
from hsa_compiler.tuner.worker import CandidateFailed
from hsa_compiler.tuner.workload import executables

#: Seconds for the kernels of one row.
ROW_TIMEOUT = 300.0


@dataclass(frozen=True)
class _Job:
    """The kernels of one row on one device."""

    shape: Shape
    backward: bool
    target: Target
    hardware: Hardware


@dataclass(frozen=True)
class _Done:
    """What was chosen, and why kernels were not compiled."""

    choices: Mapping[Hashable, Choice]
    refused: tuple[str, ...]


def compile_rows(
    rows: Sequence[Row],
    suite: Suite,
    device: torch.device,
    workers: int,
    say: Callable[[str], None],
) -> None:
    """Choose and compile what retrieval, attention and decoding of every row will launch.

    What fails fails again in its row, where it is recorded.
    """
    start = time.perf_counter()
    target, hardware = target_of(resolve_backend("auto", device), device), detect(str(device))
    shapes = [shape for row in rows for shape in _called(row.shape)]
    jobs = [_Job(shape, suite.backward, target, hardware) for shape in shapes]
    with CompilePool(workers) as pool:
        outcomes = pool.run(_compile, jobs, ROW_TIMEOUT)
    for job, outcome in outcomes.items():
        if isinstance(outcome, CandidateFailed):
            say(f"{job.shape.name}: {outcome}")
            continue
        default_store().remember(outcome.choices)
        for reason in outcome.refused:
            say(f"{job.shape.name}: {' '.join(reason.split())[:160]}")
    seconds = time.perf_counter() - start
    at_once = min(workers, len(rows))
    say(f"compiled the kernels of {len(rows)} rows in {seconds:.0f} s, {at_once} at a time")


def _called(shape: Shape) -> list[Shape]:
    """The calls of a row: beside decoding, attention and retrieval are measured by themselves."""
    return [shape, shape.resized(decode=False)] if shape.decode else [shape]


def _compile(job: _Job) -> _Done:
    dims, refused = job.shape.dims, []

    def select(group: KernelGroup) -> tuple[Problem, Target, Choice]:
        problem = Problem.of(group, dims)
        return problem, job.target, choose_schedule(problem, dims, job.target, job.hardware)

    for executable in executables(job.shape, job.backward):
        for group in form_of(executable.forms, dims, select, lambda: job.hardware).groups:
            problem, target, choice = select(group)
            try:
                build_ahead(problem, choice.schedule, target)
            except (HSAError, IllegalSchedule) as error:
                refused.append(f"{problem.kind} {choice.schedule}: {error}")
    return _Done(default_store().choices, tuple(refused))
