"""Compiles kernels ahead of their first launch, in parallel processes that touch no GPU.

What such a process builds lies where the first launch looks for it: in the cache of generated
sources, in Triton's own cache, or, for a CPU, beside the source. A compilation that hangs is killed
after its time-out, with the compilers that it called; so is every one when the process that asked
for it ends, however it ends.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from multiprocessing.context import BaseContext
from typing import Generic, TypeVar

from pebble import ProcessExpired, ProcessPool

from hsa_compiler.compiler import build_ahead
from hsa_compiler.errors import BackendError
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
    """A call in another process.

    `works` says whether the processes that it may run in are there.
    """

    future: Future[R]
    timeout: float
    tick: Callable[[], None]
    works: Callable[[], bool] = lambda: True

    @property
    def is_done(self) -> bool:
        """Whether `outcome` need not wait."""
        return self.future.done()

    def outcome(self) -> R | CandidateFailed:
        """What it gave, or why it failed; waits for it. Raises BackendError where it cannot run."""
        while wait([self.future], TICK).not_done:
            self.tick()
            if not self.works():
                raise _cannot_start()
        error = self.future.exception()
        if isinstance(error, BrokenProcessPool):  # whatever was to run, it was not at fault
            raise _cannot_start() from error
        return self.future.result() if error is None else _cause(error, self.timeout)


class CompilePool:
    """Processes that compile; started when first needed, ended with the context.

    They are copies of one process that has imported what a compilation needs, where the system has
    such (a fork server), else spawned. Either way a script that uses them is a file, and keeps what
    it does under ``if __name__ == "__main__"``. A process that is killed is replaced.

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
        """Call a module's function for one item, within `timeout` seconds once its turn comes.

        Raises BackendError where no process can be started.
        """
        try:
            if self._pool is not None and not self._pool.active:
                self._end()  # a process was killed while none had anything to do
            if self._pool is None:
                self._pool = ProcessPool(
                    self.workers,
                    initializer=_begin,
                    initargs=(dict(os.environ),),
                    context=_context(),
                )
            future: Future[R] = self._pool.schedule(function, args=(item,), timeout=timeout)
        except BrokenProcessPool as error:
            raise _cannot_start() from error
        pool = self._pool
        return Running(future, timeout, self._tick, lambda: pool.active)

    def begin_build(self, job: Job, timeout: float = COMPILE_TIMEOUT) -> Running[None]:
        """Compile a job meanwhile."""
        return self.begin(_build, job, timeout)

    def __enter__(self) -> CompilePool:
        return self

    def __exit__(self, *_: object) -> None:
        self._end()

    def _end(self) -> None:
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


def _cannot_start() -> BackendError:
    return BackendError(
        "the compiling processes ended before they could begin: their output says why, unless they "
        "were killed. A script that compiles must be a file, not standard input, and keep what it "
        'does under `if __name__ == "__main__"`'
    )


def _context() -> BaseContext:
    """How processes are started: torch and Triton are imported once for all of them."""
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["__main__", *PRELOADED])
    return context


def _begin(environment: Mapping[str, str]) -> None:
    """What a compiling process does first. The fork server has the environment of its start, not of
    the pool's; and compilers that a process called end with it."""
    os.environ.clear()
    os.environ.update(environment)
    os.setsid()
    signal.signal(signal.SIGTERM, lambda *_: _end_group())
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """The process that asked is the parent, by a pipe; by its id it is the fork server."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    _end_group()


def _end_group() -> None:
    os.killpg(0, signal.SIGKILL)


def _build(job: Job) -> None:
    build_ahead(job.problem, job.schedule, job.target)
