"""Compiles kernels ahead of their first launch, in parallel processes that touch no GPU.

What such a process builds lies where the first launch looks for it: in the cache of generated
sources, in Triton's own cache, or, for a CPU, beside the source. A compilation that hangs is killed
after its time-out.
"""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future, wait
from dataclasses import dataclass
from multiprocessing.context import BaseContext
from typing import Generic, TypeVar

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
#: Imported once, before processes are copied.
PRELOADED = ("hsa_compiler.tuner.compile_pool", "hsa_compiler.codegen.triton_build", "triton")


@dataclass(frozen=True)
class Job:
    """A kernel group under one schedule."""

    problem: Problem
    schedule: Schedule
    target: Target


@dataclass(frozen=True)
class Running(Generic[R]):
    """A call in another process."""

    future: Future[R]
    timeout: float
    tick: Callable[[], None]

    @property
    def is_done(self) -> bool:
        """Whether `outcome` need not wait."""
        return self.future.done()

    def outcome(self) -> R | CandidateFailed:
        """What it gave, or why it failed; waits for it."""
        while wait([self.future], TICK).not_done:
            self.tick()
        error = self.future.exception()
        return self.future.result() if error is None else _cause(error, self.timeout)


class CompilePool:
    """Processes that compile; started when first needed, ended with the context.

    They are copies of one process that has imported what a compilation needs, where the system has
    such (a fork server), else spawned. Either way a script that uses them keeps what it does under
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
        begun = {item: self.begin(function, item, timeout) for item in dict.fromkeys(items)}
        return {item: running.outcome() for item, running in begun.items()}

    def begin(self, function: Callable[[T], R], item: T, timeout: float) -> Running[R]:
        """Call a module's function for one item, within `timeout` seconds once its turn comes."""
        if self._pool is None:
            self._pool = ProcessPool(
                self.workers,
                initializer=_take_environment,
                initargs=(dict(os.environ),),
                context=_context(),
            )
        future: Future[R] = self._pool.schedule(function, args=(item,), timeout=timeout)
        return Running(future, timeout, self._tick)

    def begin_build(self, job: Job, timeout: float = COMPILE_TIMEOUT) -> Running[None]:
        """Compile a job meanwhile."""
        return self.begin(_build, job, timeout)

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


def _context() -> BaseContext:
    """How processes are started: torch and Triton are imported once for all of them."""
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["__main__", *PRELOADED])
    return context


def _take_environment(environment: Mapping[str, str]) -> None:
    """The fork server has the environment of its start, not of the pool's."""
    os.environ.clear()
    os.environ.update(environment)


def _build(job: Job) -> None:
    build_ahead(job.problem, job.schedule, job.target)
