"""Compiles kernels ahead of their first launch, in parallel processes that touch no GPU.

What such a process builds lies where the first launch looks for it: in the cache of generated
sources, in Triton's own cache, or, for a CPU, beside the source. A compilation that hangs is killed
after its time-out.
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterable
from concurrent.futures import Future, wait
from dataclasses import dataclass
from typing import TypeVar

from pebble import ProcessExpired, ProcessPool

from hsa_compiler.compiler import build_ahead
from hsa_compiler.schedules.problem import Problem, Target
from hsa_compiler.schedules.schedule import Schedule
from hsa_compiler.threads import usable_cpus
from hsa_compiler.tuner.bench import failure_kind
from hsa_compiler.tuner.worker import TICK, CandidateFailed

T = TypeVar("T")
R = TypeVar("R")

#: Seconds after which a compilation is killed, where nobody says otherwise.
COMPILE_TIMEOUT = 120.0


@dataclass(frozen=True)
class Job:
    """A kernel group under one schedule."""

    problem: Problem
    schedule: Schedule
    target: Target


class CompilePool:
    """Processes that compile; started when first needed, ended with the context.

    They are spawned: a script that uses them keeps what it does under
    ``if __name__ == "__main__"``.

    Args:
        workers: processes, 1 or more; None for one per usable CPU.
        tick: called while waiting, for a live display.
    """

    def __init__(self, workers: int | None = None, tick: Callable[[], None] = lambda: None) -> None:
        self.workers = usable_cpus() if workers is None else workers
        self._tick = tick
        self._pool: ProcessPool | None = None

    def build(
        self, jobs: Iterable[Job], timeout: float = COMPILE_TIMEOUT
    ) -> dict[Job, CandidateFailed]:
        """Compile every job, equal ones once, each within `timeout` seconds.

        Returns the cause of every failure, by job.
        """
        outcomes = self.run(_build, jobs, timeout)
        return {
            job: outcome
            for job, outcome in outcomes.items()
            if isinstance(outcome, CandidateFailed)
        }

    def run(
        self, function: Callable[[T], R], items: Iterable[T], timeout: float = COMPILE_TIMEOUT
    ) -> dict[T, R | CandidateFailed]:
        """Call a module's function for every item, equal ones once, each within `timeout` seconds.

        Returns what it gave, or why it failed, by item.
        """
        if self._pool is None:
            context = multiprocessing.get_context("spawn")
            self._pool = ProcessPool(self.workers, context=context)
        futures: dict[T, Future[R]] = {
            item: self._pool.schedule(function, args=(item,), timeout=timeout)
            for item in dict.fromkeys(items)
        }
        while wait(futures.values(), TICK).not_done:
            self._tick()
        outcomes: dict[T, R | CandidateFailed] = {}
        for item, future in futures.items():
            error = future.exception()
            outcomes[item] = future.result() if error is None else _cause(error, timeout)
        return outcomes

    def __enter__(self) -> CompilePool:
        return self

    def __exit__(self, *_: object) -> None:
        if self._pool is not None:
            self._pool.stop()  # type: ignore[no-untyped-call]
            self._pool.join()
            self._pool = None


def _cause(error: BaseException, timeout: float) -> CandidateFailed:
    if isinstance(error, TimeoutError):
        return CandidateFailed("timeout_compile", f"not compiled within {timeout:g} s")
    if isinstance(error, ProcessExpired):
        return CandidateFailed("crash", f"the compiling process ended: {error}")
    kind, _ = failure_kind(error, "compile")
    return CandidateFailed(kind, f"{type(error).__name__}: {error}")


def _build(job: Job) -> None:
    build_ahead(job.problem, job.schedule, job.target)
