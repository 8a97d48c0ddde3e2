"""Compiles the kernels of a run before anything is timed, in parallel processes."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import torch

from hsa_compiler.benchmarks.rows import Row, Suite
from hsa_compiler.runtime.dispatch import select_schedule
from hsa_compiler.runtime.forms import choose_form
from hsa_compiler.tuner.compile_pool import CompilePool, Job
from hsa_compiler.tuner.workload import executables


def compile_rows(
    rows: Sequence[Row],
    suite: Suite,
    device: torch.device,
    workers: int,
    say: Callable[[str], None],
) -> None:
    """Compile what retrieval and attention of every row will launch.

    What fails fails again in its row, where it is recorded.
    """
    jobs = [
        Job(problem, choice.schedule, target)
        for row in rows
        for executable in executables(row.shape, suite.backward)
        for group in choose_form(
            executable.forms, row.shape.dims, device, "auto", deterministic=False
        ).groups
        for problem, target, choice in [select_schedule(group, row.shape.dims, device, "auto")]
    ]
    start = time.perf_counter()
    with CompilePool(workers) as pool:
        failed = pool.build(jobs)
    for job, reason in failed.items():
        say(f"{job.problem.kind} {job.schedule}: {' '.join(str(reason).split())[:160]}")
    seconds = time.perf_counter() - start
    say(f"compiled {len(set(jobs))} kernel groups in {seconds:.0f} s, {workers} at a time")
