"""Compiling ahead: meanwhile on a GPU, in batches on a CPU; what others took is not waited for."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from concurrent.futures import Future

import optuna
import pytest

from hsa_compiler.schedules.hardware import host_cpu
from hsa_compiler.schedules.schedule import Schedule
from hsa_compiler.tuner.builds import AHEAD, QUEUED, Builds
from hsa_compiler.tuner.compile_pool import Job, Running
from hsa_compiler.tuner.effort import EFFORTS
from hsa_compiler.tuner.measure import Timing
from hsa_compiler.tuner.search import Search
from hsa_compiler.tuner.tune import Plan
from hsa_compiler.tuner.worker import CandidateFailed
from hsa_compiler.tuner.workload import Task
from tests.tuner.fakes import SHAPE


class Pool:
    """Compiles when told to; `finish` ends the first `count` of what is on its way."""

    def __init__(self, workers: int, wait: Callable[[], None] = lambda: None) -> None:
        self.workers = workers
        self.begun: list[Schedule] = []
        self._futures: list[Future[None]] = []
        self._wait = wait

    def begin_build(self, job: Job, timeout: float) -> Running[None]:
        future: Future[None] = Future()
        self.begun.append(job.schedule)
        self._futures.append(future)
        return Running(future, timeout, self._wait)

    def finish(self, count: int, error: Exception | None = None) -> None:
        for future in [f for f in self._futures if not f.done()][:count]:
            if error is None:
                future.set_result(None)
            else:
                future.set_exception(error)


def setting(
    pool: Pool, device: str, enumerate_below: int = 0, trials: int = 60
) -> tuple[Builds, Search]:
    plan = Plan.of(Task("attend", SHAPE, "cpu"), "tvm", host_cpu())
    search = Search(
        plan.space,
        optuna.create_study(),
        starts=plan.starts,
        trials=trials,
        enumerate_below=enumerate_below,
    )
    there = dataclasses.replace(plan, task=dataclasses.replace(plan.task, device=device))
    return Builds(there, EFFORTS["quick"], pool), search  # type: ignore[arg-type]


def measure(search: Search) -> Schedule:
    candidate = search.next()
    assert candidate is not None
    search.succeed(candidate, Timing(1.0, 0.0, 20), 1e-7)
    return candidate.schedule


def test_on_a_gpu_others_are_compiled_while_one_is_measured() -> None:
    pool = Pool(workers=4)
    builds, search = setting(pool, "cuda")
    builds.ask(search)
    assert len(pool.begun) == 4
    first = pool.begun[0]
    assert not builds.is_done(first)
    pool.finish(1)
    assert builds.is_done(first)
    builds.finish(first)
    assert measure(search) == first
    builds.ask(search)
    assert len(pool.begun) == len(set(pool.begun)) == 5  # one more, though three are on their way


def test_on_a_cpu_nothing_is_compiled_while_one_is_measured() -> None:
    pool = Pool(workers=2)
    builds, search = setting(pool, "cpu")
    builds.ask(search)
    first, second = pool.begun
    pool.finish(1)
    assert not builds.is_done(first)
    pool.finish(1)
    builds.finish(first)
    assert measure(search) == first
    builds.ask(search)
    assert len(pool.begun) == 2
    builds.finish(second)
    assert measure(search) == second
    builds.ask(search)
    assert len(pool.begun) == 4


def test_no_more_are_on_their_way_than_learn_from_each_other() -> None:
    pool = Pool(workers=64)
    builds, search = setting(pool, "cuda")
    builds.ask(search)
    assert len(pool.begun) == AHEAD
    many = Pool(workers=16)
    builds, search = setting(many, "cuda", enumerate_below=10**6, trials=10**6)
    assert search.enumerating
    builds.ask(search)
    assert len(many.begun) == 16 * QUEUED


def test_a_failure_is_raised_for_its_candidate_alone() -> None:
    pool = Pool(workers=2)
    builds, search = setting(pool, "cuda")
    builds.ask(search)
    first, second = pool.begun
    pool.finish(1, TimeoutError())
    pool.finish(1)
    with pytest.raises(CandidateFailed, match="not compiled within 20 s"):
        builds.finish(first)
    builds.finish(second)
    builds.finish(Schedule(tokens=2))  # one that was never asked for: the worker compiles it


def test_what_others_took_is_not_waited_for() -> None:
    pool = Pool(workers=3)
    builds, search = setting(pool, "cuda")
    builds.ask(search)
    taken = measure(search)  # as if another process had
    assert pool.begun[0] == taken
    builds.ask(search)
    assert len(pool.begun) == 4
    assert builds.is_done(taken)
