"""Several processes that tune one run, each on a GPU of its own: of this machine or of others.

One conducts: it opens the studies, measures the defaults, ends each kernel's search, races the
finalists on its own device and writes the configs. The others only add trials to what is open; who
evaluates a point is settled in the study (`history`). They may come and go: of one that is killed
the candidate in flight is lost, and tried again.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

import optuna
import torch

from hsa_compiler.errors import HSAError, InputError
from hsa_compiler.schedules.cost_model import roofline
from hsa_compiler.schedules.hardware import detect
from hsa_compiler.threads import usable_cpus
from hsa_compiler.tuner.claims import is_open
from hsa_compiler.tuner.kernel_bench import BenchInfo, BenchTask
from hsa_compiler.tuner.setting import Setting, Turn, explained, open_setting
from hsa_compiler.tuner.storage import newest_study
from hsa_compiler.tuner.tune import Plan, explore
from hsa_compiler.tuner.worker import CandidateFailed
from hsa_compiler.tuner.worker_main import die_with

if TYPE_CHECKING:
    from hsa_compiler.tuner.search import Search
    from hsa_compiler.tuner.session import Request, View

#: How often a process that helps looks whether a run has begun.
POLL_SECONDS = 1.0
#: Seconds that processes have to end by themselves.
GRACE_SECONDS = 10.0


def devices(request: Request) -> list[str]:
    """The GPUs that search side by side, the conductor's first.

    Raises InputError where there are not so many, or not of one model: their times would stand in
    one study.
    """
    if request.workers == 1:
        return [request.device]
    if request.workers < 1:
        raise InputError(f"--workers {request.workers}: give a number of GPUs from 1 on")
    device = torch.device(request.device)
    if device.type != "cuda":
        raise InputError(
            f"--workers {request.workers} on {request.device}: candidates that are timed side by "
            "side on one CPU disturb each other; leave --workers out, compiling is spread over its "
            "cores anyway"
        )
    first, count = device.index or 0, torch.cuda.device_count()
    if first + request.workers > count:
        raise InputError(
            f"--workers {request.workers} from {request.device} on: this machine has {count} GPUs"
        )
    names = [f"cuda:{first + number}" for number in range(request.workers)]
    models = {name: detect(name).name for name in names}
    if len(set(models.values())) > 1:
        found = ", ".join(f"{name} is {model}" for name, model in models.items())
        raise InputError(
            f"--workers {request.workers}: {found}; GPUs of different models are tuned one by one"
        )
    return names


@contextmanager
def helpers(request: Request, note: Callable[[str], None]) -> Iterator[None]:
    """Processes on the other GPUs that add trials meanwhile; how one of them ended too early is
    noted."""
    others = devices(request)[1:]
    compiling = (request.compile_workers or usable_cpus()) // request.workers
    context = multiprocessing.get_context("spawn")
    started = []
    for name in others:
        mine = replace(request, device=name, workers=1, compile_workers=max(1, compiling))
        # No daemon: those may not have the processes that compile. `_help` ends with its parent.
        process = context.Process(target=_help, args=(mine, os.getpid()))
        process.start()
        started.append((name, process))
    try:
        yield
    finally:
        deadline = time.monotonic() + GRACE_SECONDS
        try:
            for name, process in started:
                process.join(max(0.0, deadline - time.monotonic()))
                if process.exitcode:
                    note(f"the process on {name} ended with exit code {process.exitcode}")
        finally:
            for _, process in started:
                process.kill()
                process.join()


def _help(request: Request, parent: int) -> None:
    """The body of a helping process; Ctrl-C reaches it as it reaches its parent."""
    die_with(parent)
    with contextlib.suppress(KeyboardInterrupt):
        try:
            contribute(request, Quiet())
        except HSAError as error:
            raise SystemExit(f"{request.device}: {error}") from error


class Quiet:
    """Shows nothing."""

    def begin(self, *_: object) -> None: ...

    def update(self, search: Search, stage: str) -> None: ...

    def end(self, *_: object) -> None: ...

    def note(self, text: str) -> None: ...

    def tick(self) -> None: ...


def contribute(request: Request, view: View) -> int:
    """Add trials to the runs that another process conducts in the same storage, as long as it
    searches; how many were added. It waits for a run to begin as long as the effort may last.

    Raises InputError where no run of these kernels is open, and as `run` does.
    """
    added = 0
    spent: set[str] = set()
    devices(request)
    with (
        open_setting(request, view) as at,
        explained(at.storage_spec, "what was measured is kept there"),
        helpers(request, view.note),
    ):
        until = time.monotonic() + at.limits.seconds
        if _open_study(at, spent) is None:
            view.note(
                f"no run of these kernels and shapes on {at.hardware.name} is open in "
                f"{at.storage_spec}: waiting for one, {at.limits.seconds:.0f} s at most"
            )
        while time.monotonic() < until:
            found = _open_study(at, spent)
            if found is None and spent:
                break
            if found is None:
                time.sleep(POLL_SECONDS)
                continue
            number, study = found
            spent.add(study.study_name)
            view.begin(Turn(at.plans[number], number, len(at.plans), until, until, at.limits))
            added += _add_trials(at, at.plans[number], study, until)
    if not spent:
        raise InputError(
            f"{at.storage_spec} has no open run of these kernels and shapes on "
            f"{at.hardware.name}: start `autotune` with the same options first"
        )
    return added


def _add_trials(at: Setting, plan: Plan, study: optuna.Study, until: float) -> int:
    """Evaluate candidates of an open run until it is closed; how many."""
    search = at.search(plan, study, conducts=False)

    def goes_on() -> bool:
        return is_open(study) and time.monotonic() < until

    try:
        task = BenchTask(plan.task, at.limits)
        info: BenchInfo = at.worker.setup(task, at.limits.setup_timeout)
        floor = roofline(plan.task.problem, plan.task.sizes, info.hardware)
        search.set_floor(floor, record=False)
        explore(plan, search, at.worker, at.limits, goes_on, at.view, at.compiler)
    except CandidateFailed as error:
        at.view.note(f"{plan.task.kernel} {plan.task.shape.name}: {error.kind}: {error}")
    return search.trials_here


def _open_study(at: Setting, spent: Collection[str]) -> tuple[int, optuna.Study] | None:
    """The first plan whose newest run is open and is not `spent`, and that run."""
    for number, plan in enumerate(at.plans):
        study = newest_study(at.storage, plan.study_name())
        if study is not None and study.study_name not in spent and is_open(study):
            return number, study
    return None
