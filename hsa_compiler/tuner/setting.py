"""What every process of a run has: its device, plans, storage, worker and compiling processes."""

from __future__ import annotations

import contextlib
import os
import random
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import optuna
import torch
from optuna.storages import BaseStorage

from hsa_compiler.cache import KernelCache
from hsa_compiler.errors import ConfigError, InputError
from hsa_compiler.folders import require_writable
from hsa_compiler.runtime.dispatch import resolve_backend
from hsa_compiler.schedules.hardware import Hardware, detect
from hsa_compiler.schedules.schedule import IllegalSchedule, Schedule
from hsa_compiler.tuner.claims import BEAT_SECONDS, close_study, is_open, keep_open
from hsa_compiler.tuner.compile_pool import CompilePool
from hsa_compiler.tuner.effort import Effort, effort
from hsa_compiler.tuner.results import KernelResult
from hsa_compiler.tuner.search import Search
from hsa_compiler.tuner.storage import (
    default_journal,
    open_storage,
    require_storage,
    storage_errors,
    studies_folder,
)
from hsa_compiler.tuner.tune import Plan
from hsa_compiler.tuner.worker import Worker
from hsa_compiler.tuner.workload import Task

if TYPE_CHECKING:
    from hsa_compiler.tuner.session import Request, View

KERNEL_BENCH = "hsa_compiler.tuner.kernel_bench:KernelBench"
#: Seeds are below this; NumPy takes 32 bits, and a resumed search adds what was tried.
SEEDS = 2**31


@dataclass(frozen=True)
class Turn:
    """A kernel's turn, the `number`-th from 0 of `total`; deadlines are on `time.monotonic`."""

    plan: Plan
    number: int
    total: int
    deadline: float
    run_deadline: float
    limits: Effort


@dataclass
class Setting:
    """What every process of a run has."""

    request: Request
    view: View
    limits: Effort
    backend: str
    hardware: Hardware
    storage_spec: str
    storage: BaseStorage
    plans: list[Plan]
    refused: list[KernelResult]
    worker: Worker
    pool: CompilePool
    searching: Search | None = None
    #: Studies that this process conducts, and when it last said so.
    conducted: list[optuna.Study] = field(default_factory=list)
    said: float = 0.0

    @property
    def compiler(self) -> CompilePool | None:
        """The pool where there is something to compile."""
        return self.pool if self.request.bench == KERNEL_BENCH else None

    def search(self, plan: Plan, study: optuna.Study, conducts: bool) -> Search:
        """The search of one kernel; the candidate in flight is kept alive while a worker works.

        Only who `conducts` the study must measure the defaults. Whoever helps has an order and
        proposals of its own: it would compile what others are measuring.
        """
        own = random.Random(0 if conducts else os.getpid())

        def mixed(points: Sequence[Schedule]) -> list[Schedule]:
            return own.sample(points, len(points))

        self.searching = Search(
            plan.space,
            study,
            starts=plan.starts if conducts else mixed(plan.starts),
            needed=plan.defaults if conducts else (),
            trials=self.limits.trials,
            sampler=self.request.sampler,
            seed=self.request.seed if conducts else own.randrange(SEEDS),
            rank=plan.rank if conducts else mixed,
            enumerate_below=self.limits.enumerate_below,
        )
        return self.searching

    def tick(self) -> None:
        """Called a few times a second while the worker is busy."""
        self.view.tick()
        if self.searching is not None:
            self.searching.beat()
        if self.conducted and time.monotonic() - self.said > BEAT_SECONDS:
            self.said = time.monotonic()
            for study in self.conducted:
                if is_open(study):  # not one whose search has ended, and whose finalists race
                    keep_open(study)

    def conduct(self, studies: Sequence[optuna.Study]) -> None:
        """Open studies to other processes. Raises InputError where one conducts them already."""
        for study in studies:
            if is_open(study):
                raise InputError(
                    f"another process tunes {study.study_name} just now: --contribute helps it, or "
                    "wait until it ends"
                )
        for study in studies:
            keep_open(study)
        self.conducted, self.said = list(studies), time.monotonic()

    def close(self, study: optuna.Study) -> None:
        """End a study that this process conducts."""
        if study in self.conducted:
            self.conducted.remove(study)
            close_study(study)


def require_caches() -> None:
    """Raise ConfigError unless studies, logs and kernels can be kept."""
    for folder in (studies_folder(), KernelCache().folder):
        require_writable("the cache folder", folder, "set XDG_CACHE_HOME to one that can")


@contextmanager
def open_setting(request: Request, view: View, out: Path | None = None) -> Iterator[Setting]:
    """Look at everything that can be wrong before anything is launched or written."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    limits = effort(request.effort)
    backend = resolve_backend("auto", torch.device(request.device))
    hardware = detect(request.device)
    storage_spec = request.storage or str(default_journal(hardware.slug))
    require_storage(storage_spec)
    for folder in [] if out is None else [out, out / hardware.slug]:
        if folder == out or folder.exists():
            require_writable("--out", folder, "give another folder")
    require_caches()
    storage = open_storage(storage_spec)
    plans, refused = _plans(request.tasks(), backend, hardware)
    log = studies_folder() / f"{hardware.slug}-worker-{os.getpid()}.log"

    def tick() -> None:
        at.tick()

    with (
        Worker(request.bench, log, limits.setup_timeout, tick) as worker,
        CompilePool(request.compile_workers, tick) as pool,
    ):
        at = Setting(
            request,
            view,
            limits,
            backend,
            hardware,
            storage_spec,
            storage,
            plans,
            refused,
            worker,
            pool,
        )
        try:
            yield at
        finally:
            with contextlib.suppress(*storage_errors()):
                for study in list(at.conducted):
                    at.close(study)


@contextmanager
def explained(storage_spec: str, kept: str) -> Iterator[None]:
    """Raise one ConfigError, which says what is `kept`, for whatever a storage raises when it
    cannot be written any more."""
    try:
        yield
    except BrokenPipeError:
        raise  # whoever reads the output has gone
    except storage_errors() as error:
        raise ConfigError(
            f"the records of this run in {storage_spec} cannot be written any more ({error}); "
            f"{kept}"
        ) from error


def _plans(
    tasks: Sequence[Task], backend: str, hardware: Hardware
) -> tuple[list[Plan], list[KernelResult]]:
    """Plans, the smallest space first, and the results of tasks that have no legal schedule."""
    plans, results = [], []
    for task in tasks:
        try:
            plans.append(Plan.of(task, backend, hardware))
        except IllegalSchedule as error:
            message = f"no schedule fits this device: {error}"
            name = task.shape.name
            results.append(KernelResult(task.kernel, name, task.locality, "failed", message))
    return sorted(plans, key=lambda plan: len(plan.order)), results
