"""Candidates on their way through the compiling processes, ahead of their measurement.

On a GPU the next ones are compiled while others are measured. On a CPU that would disturb what is
measured: a batch is compiled, then measured.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch

from hsa_compiler.schedules.schedule import Schedule
from hsa_compiler.tuner.compile_pool import CompilePool, Job, Running
from hsa_compiler.tuner.effort import Effort
from hsa_compiler.tuner.search import Search
from hsa_compiler.tuner.worker import CandidateFailed

if TYPE_CHECKING:
    from hsa_compiler.tuner.tune import Plan

#: Candidates on their way at most where later ones depend on the times of earlier ones, and for
#: each compiling process where they do not.
AHEAD, QUEUED = 12, 2


class Builds:
    """The candidates of a search that are being compiled."""

    def __init__(self, plan: Plan, effort: Effort, pool: CompilePool) -> None:
        self._plan = plan
        self._effort = effort
        self._pool = pool
        self._meanwhile = torch.device(plan.task.device).type != "cpu"
        self._running: dict[Schedule, Running[None]] = {}

    def ask(self, search: Search) -> None:
        """Begin with what the search will give next."""
        for point in [*self._running]:
            if search.was_tried(point):  # what another process took first is not waited for
                del self._running[point]
        if self._running and not self._meanwhile:
            return
        count = min(self._pool.workers, AHEAD)
        if search.enumerating:
            count = self._pool.workers * QUEUED
        for point in search.upcoming(count):
            if point not in self._running:
                job = _job(self._plan, point)
                self._running[point] = self._pool.begin_build(job, self._effort.compile_timeout)

    def is_done(self, schedule: Schedule) -> bool:
        """Whether `finish` need not wait."""
        awaited = [schedule] if self._meanwhile else [*self._running]
        return all(self._running[point].is_done for point in awaited if point in self._running)

    def finish(self, schedule: Schedule) -> None:
        """Wait until a candidate is compiled. Raises CandidateFailed where it cannot be."""
        if not self._meanwhile:
            for running in self._running.values():
                running.outcome()
        if schedule not in self._running:
            return  # one that an earlier run left: the worker compiles it
        outcome = self._running.pop(schedule).outcome()
        if isinstance(outcome, CandidateFailed):
            raise outcome


def side_by_side(
    plan: Plan, points: Sequence[Schedule], effort: Effort, pool: CompilePool
) -> dict[Schedule, CandidateFailed | None]:
    """Compile candidates of a plan in parallel: why each failed, or None."""
    jobs = {point: _job(plan, point) for point in points}
    failed = pool.build(jobs.values(), effort.compile_timeout)
    return {point: failed.get(job) for point, job in jobs.items()}


def _job(plan: Plan, point: Schedule) -> Job:
    return Job(plan.task.problem, point, plan.target)
